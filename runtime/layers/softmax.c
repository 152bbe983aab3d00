/* Softmax over the channels of each pixel. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

static int softmax_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    (void)layer;
    *out = *in;
    return GR_OK;
}

static void softmax_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                          const struct gr_want *want, int kernel, struct gr_needs *out) {
    (void)layer, (void)geometry, (void)kernel;
    if (want->input_gradient)
        out->keep = GR_KEEP_OUTPUT;
}

static int softmax_forward(const struct gr_pass *pass) {
    struct gr_shape shape = pass->geometry->out;
    gr_softmax(gr_pass_rows(pass, shape), shape.c, pass->x[0], pass->y);
    return GR_OK;
}

static int softmax_backward(const struct gr_pass *pass) {
    struct gr_shape shape = pass->geometry->out;
    if (pass->gx[0])
        gr_softmax_backward(gr_pass_rows(pass, shape), shape.c, pass->y, pass->gy, pass->gx[0],
                            pass->accumulate[0]);
    return GR_OK;
}

static int softmax_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    gr_operator(to, "Softmax", NULL);
    gr_operator_input(to, 0);
    gr_operator_int(to, "axis", 1);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_softmax = {
    .name = "softmax",
    .summary = "exp(x) over its sum along the channels",
    .traits = GR_TRAIT_INPLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .shape = softmax_shape,
    .needs = softmax_needs,
    .forward = softmax_forward,
    .backward = softmax_backward,
    .operators = softmax_operators,
};
