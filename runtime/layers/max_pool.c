/* Maximum over windows; padding never wins. */
#include "base/status.h"
#include "layers/pooling.h"

static const struct gr_option max_pool_option_table[] = {GR_POOLING_OPTIONS, {.name = NULL}};

enum { MAX_PLACES = 255 }; /* a byte holds the place of the maximum inside its window */

static int max_pool_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct gr_pooling_options *o = layer->options;
    if ((int64_t)o->kernel[0] * o->kernel[1] > MAX_PLACES)
        return gr_fail(
            GR_ERROR_SHAPE,
            "kernel %dx%d is too large: a max_pool window may have up to %d pixels (global_max_pool has "
            "no limit)",
            o->kernel[0], o->kernel[1], MAX_PLACES);
    return gr_pooling_shape(layer, in, out);
}

/* saved: the place of every maximum, a byte each; nothing else is read by backward. */
static void max_pool_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                           const struct gr_want *want, int kernel, struct gr_needs *out) {
    (void)layer, (void)kernel;
    if (want->input_gradient)
        out->saved = (size_t)geometry->n * (size_t)gr_shape_size(geometry->out);
}

static int max_pool_forward(const struct gr_pass *pass) {
    struct gr_pooling pool = gr_pooling_of(pass->layer, pass->geometry);
    gr_max_pool_forward(&pool, pass->n, pass->x[0], pass->y, pass->saved);
    return GR_OK;
}

static int max_pool_backward(const struct gr_pass *pass) {
    struct gr_pooling pool = gr_pooling_of(pass->layer, pass->geometry);
    if (pass->gx[0])
        gr_max_pool_backward(&pool, pass->n, pass->saved, pass->gy, pass->gx[0], pass->accumulate[0]);
    return GR_OK;
}

static int max_pool_operators(const struct gr_layer *layer, struct gr_operators *to) {
    return gr_pooling_operators(layer, "MaxPool", false, to);
}

const struct gr_layer_kind gr_layer_max_pool = {
    .name = "max_pool",
    .summary = "maximum over windows; stride defaults to the kernel's size",
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct gr_pooling_options),
    .options = max_pool_option_table,
    .shape = max_pool_shape,
    .needs = max_pool_needs,
    .forward = max_pool_forward,
    .backward = max_pool_backward,
    .operators = max_pool_operators,
};
