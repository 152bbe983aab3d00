/* Average over as many windows as the output has pixels, whatever the size of the input. */
#include "base/memory.h"
#include "base/status.h"
#include "kernels/pool.h"
#include "layers/parts.h"
#include "net/operators.h"

struct adaptive_avg_pool_options {
    int size[2];
};

static const struct gr_option adaptive_avg_pool_option_table[] = {
    {"size", GR_OPTION_PAIR, offsetof(struct adaptive_avg_pool_options, size), true, 0, 1, GR_LAYER_MAX_SIDE},
    {.name = NULL},
};

static int adaptive_avg_pool_shape(const struct gr_layer *layer, const struct gr_shape *in,
                                   struct gr_shape *out) {
    const struct adaptive_avg_pool_options *o = layer->options;
    GR_TRY(gr_layer_wants_photo(layer, *in));
    *out = (struct gr_shape){in->c, o->size[0], o->size[1], false};
    return gr_layer_shape_limit(*out);
}

static int adaptive_avg_pool_forward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0], out = pass->geometry->out;
    gr_adaptive_avg_forward(pass->n, in.h, in.w, in.c, out.h, out.w, pass->x[0], pass->y);
    return GR_OK;
}

static int adaptive_avg_pool_backward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0], out = pass->geometry->out;
    if (pass->gx[0])
        gr_adaptive_avg_backward(pass->n, in.h, in.w, in.c, out.h, out.w, pass->gy, pass->gx[0],
                                 pass->accumulate[0]);
    return GR_OK;
}

/* The matrix that averages `in` values down to `out`: entry (o, i) is 1 / size where window o holds i. */
static int averages(int in, int out, bool transposed, float **made) {
    float *matrix = *made = gr_calloc((size_t)in * (size_t)out, sizeof *matrix);
    if (!matrix)
        return GR_ERROR_MEMORY;
    for (int o = 0; o < out; o++) {
        int64_t first = (int64_t)o * in / out, end = ((int64_t)(o + 1) * in + out - 1) / out;
        for (int64_t i = first; i < end; i++)
            matrix[transposed ? i * out + o : (int64_t)o * in + i] = 1.0f / (float)(end - first);
    }
    return GR_OK;
}

/* Windows of differing sizes: columns and rows averaged one after the other, by products with matrices. */
static int uneven_operators(struct gr_operators *to, struct gr_shape in, struct gr_shape out) {
    int64_t across[] = {in.w, out.w}, down[] = {out.h, in.h};
    float *columns, *rows = NULL;
    int status = averages(in.w, out.w, true, &columns);
    if (!status)
        status = averages(in.h, out.h, false, &rows);
    if (!status) {
        gr_operator(to, "MatMul", "columns");
        gr_operator_input(to, 0);
        gr_operator_floats(to, "across", 2, across, columns);
        gr_operator(to, "MatMul", NULL);
        gr_operator_floats(to, "down", 2, down, rows);
        gr_operator_value(to, "columns");
    }
    gr_free(columns);
    gr_free(rows);
    return status;
}

static int adaptive_avg_pool_operators(const struct gr_layer *layer, struct gr_operators *to) {
    struct gr_shape in = gr_operator_shape(to, 0), out = layer->shape;
    if (in.h % out.h || in.w % out.w)
        return uneven_operators(to, in, out);
    int window[] = {in.h / out.h, in.w / out.w};
    gr_operator(to, "AveragePool", NULL);
    gr_operator_input(to, 0);
    gr_operator_pair(to, "kernel_shape", window);
    gr_operator_pair(to, "strides", window);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_adaptive_avg_pool = {
    .name = "adaptive_avg_pool",
    .summary = "average down to size = {height, width}, whatever the input's size",
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct adaptive_avg_pool_options),
    .options = adaptive_avg_pool_option_table,
    .shape = adaptive_avg_pool_shape,
    .forward = adaptive_avg_pool_forward,
    .backward = adaptive_avg_pool_backward,
    .operators = adaptive_avg_pool_operators,
};
