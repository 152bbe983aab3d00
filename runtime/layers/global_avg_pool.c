/* Average over all pixels of a channel. */
#include "base/status.h"
#include "kernels/pool.h"
#include "layers/pooling.h"

struct global_avg_pool_options {
    bool keep;
};

static const struct gr_option global_avg_pool_option_table[] = {
    {"keep", GR_OPTION_BOOL, offsetof(struct global_avg_pool_options, keep), false, 0, 0, 1},
    {.name = NULL},
};

static int global_avg_pool_shape(const struct gr_layer *layer, const struct gr_shape *in,
                                 struct gr_shape *out) {
    const struct global_avg_pool_options *o = layer->options;
    GR_TRY(gr_layer_wants_photo(layer, *in));
    *out = (struct gr_shape){in->c, 1, 1, !o->keep};
    return GR_OK;
}

static int global_avg_pool_forward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0];
    gr_adaptive_avg_forward(pass->n, in.h, in.w, in.c, 1, 1, pass->x[0], pass->y);
    return GR_OK;
}

static int global_avg_pool_backward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0];
    if (pass->gx[0])
        gr_adaptive_avg_backward(pass->n, in.h, in.w, in.c, 1, 1, pass->gy, pass->gx[0], pass->accumulate[0]);
    return GR_OK;
}

static int global_avg_pool_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct global_avg_pool_options *o = layer->options;
    gr_global_pool_operators("GlobalAveragePool", o->keep, to);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_global_avg_pool = {
    .name = "global_avg_pool",
    .summary = "average over all pixels, flat [C]; keep = true gives [C,1,1]",
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct global_avg_pool_options),
    .options = global_avg_pool_option_table,
    .shape = global_avg_pool_shape,
    .forward = global_avg_pool_forward,
    .backward = global_avg_pool_backward,
    .operators = global_avg_pool_operators,
};
