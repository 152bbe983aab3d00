/* Average over as many windows as the output has pixels, whatever the size of the input. */
#include "base/status.h"
#include "kernels/pool.h"
#include "layers/parts.h"

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
};
