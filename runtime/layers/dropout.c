/* Inverted dropout: in training each value is zero with probability p, and the others are scaled by 1/(1-p).
 */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"

struct dropout_options {
    float p;
};

static const struct gr_option dropout_option_table[] = {
    {"p", GR_OPTION_FLOAT, offsetof(struct dropout_options, p), false, 0.5, 0, 0.999},
    {.name = NULL},
};

static bool drops(const struct gr_layer *layer, bool training) {
    return training && !layer->frozen;
}

static int dropout_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    (void)layer;
    *out = *in;
    return GR_OK;
}

/* saved: the mask, a byte for each value. */
static void dropout_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                          const struct gr_want *want, int kernel, struct gr_needs *out) {
    (void)kernel;
    if (drops(layer, want->training))
        out->saved = (size_t)geometry->n * (size_t)gr_shape_size(geometry->out);
}

static int dropout_forward(const struct gr_pass *pass) {
    const struct dropout_options *o = pass->layer->options;
    struct gr_shape shape = pass->geometry->out;
    if (drops(pass->layer, pass->training))
        gr_dropout_forward(gr_pass_count(pass, shape), o->p, pass->key, pass->x[0], pass->y, pass->saved);
    else
        gr_pass_copy(pass, shape, pass->x[0], pass->y, false);
    return GR_OK;
}

static int dropout_backward(const struct gr_pass *pass) {
    const struct dropout_options *o = pass->layer->options;
    struct gr_shape shape = pass->geometry->out;
    if (!pass->gx[0])
        return GR_OK;
    if (drops(pass->layer, pass->training))
        gr_dropout_backward(gr_pass_count(pass, shape), o->p, pass->saved, pass->gy, pass->gx[0],
                            pass->accumulate[0]);
    else
        gr_pass_gradient_on(pass, 0);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_dropout = {
    .name = "dropout",
    .summary = "zeroes each value with probability p in training; nothing otherwise",
    .traits = GR_TRAIT_IDENTITY | GR_TRAIT_IMPURE | GR_TRAIT_INPLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct dropout_options),
    .options = dropout_option_table,
    .shape = dropout_shape,
    .needs = dropout_needs,
    .forward = dropout_forward,
    .backward = dropout_backward,
};
