/* Inputs side by side, as the channels of one output. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

static int concat_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    char a[48], b[48];
    int64_t channels = 0;
    for (int i = 0; i < layer->input_count; i++) {
        if (in[i].h != in[0].h || in[i].w != in[0].w || in[i].flat != in[0].flat)
            return gr_fail(GR_ERROR_SHAPE,
                           "concat needs inputs of one height and width, got %s and %s (input %d)",
                           gr_layer_shape_text(in[0], a), gr_layer_shape_text(in[i], b), i + 1);
        channels += in[i].c;
    }
    if (channels > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "concat: %lld channels are too many", (long long)channels);
    *out = in[0];
    out->c = (int)channels;
    return gr_layer_shape_limit(*out);
}

static int concat_forward(const struct gr_pass *pass) {
    struct gr_shape out = pass->geometry->out;
    int64_t rows = gr_pass_rows(pass, out);
    for (int i = 0, first = 0; i < pass->layer->input_count; i++) {
        int channels = pass->geometry->in[i].c;
        gr_copy_channels(rows, channels, pass->x[i], channels, 0, pass->y, out.c, first, false);
        first += channels;
    }
    return GR_OK;
}

static int concat_backward(const struct gr_pass *pass) {
    struct gr_shape out = pass->geometry->out;
    int64_t rows = gr_pass_rows(pass, out);
    for (int i = 0, first = 0; i < pass->layer->input_count; i++) {
        int channels = pass->geometry->in[i].c;
        if (pass->gx[i])
            gr_copy_channels(rows, channels, pass->gy, out.c, first, pass->gx[i], channels, 0,
                             pass->accumulate[i]);
        first += channels;
    }
    return GR_OK;
}

static int concat_operators(const struct gr_layer *layer, struct gr_operators *to) {
    gr_operator(to, "Concat", NULL);
    for (int i = 0; i < layer->input_count; i++)
        gr_operator_input(to, i);
    gr_operator_int(to, "axis", 1);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_concat = {
    .name = "concat",
    .summary = "the channels of all inputs, one after the other",
    .inputs_min = 1,
    .inputs_max = GR_MAX_INPUTS,
    .shape = concat_shape,
    .forward = concat_forward,
    .backward = concat_backward,
    .operators = concat_operators,
};
