/* All values of a photo as one row, in C,H,W order: what the weights of a linear layer after it expect. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

static int flatten_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    (void)layer;
    GR_TRY(gr_layer_shape_limit(*in));
    *out = (struct gr_shape){(int)gr_shape_size(*in), 1, 1, true};
    return GR_OK;
}

/* With one pixel or one channel both orders are the same. */
static bool reorders(struct gr_shape in) {
    return in.h * in.w > 1 && in.c > 1;
}

/* scratch: the reordered gradient, for an input that collects several gradients. */
static void flatten_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                          const struct gr_want *want, int kernel, struct gr_needs *out) {
    struct gr_shape in = geometry->in[0];
    (void)layer, (void)kernel;
    if (want->input_gradient && reorders(in))
        out->scratch = sizeof(float) * (size_t)geometry->n * (size_t)gr_shape_size(in);
}

static int flatten_forward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0];
    if (reorders(in))
        gr_nhwc_to_nchw(pass->n, in.c, in.h * in.w, pass->x[0], pass->y);
    else
        gr_pass_copy(pass, in, pass->x[0], pass->y, false);
    return GR_OK;
}

static int flatten_backward(const struct gr_pass *pass) {
    struct gr_shape in = pass->geometry->in[0];
    float *gx = pass->gx[0];
    if (!gx)
        return GR_OK;
    if (!reorders(in)) {
        gr_pass_copy(pass, in, pass->gy, gx, pass->accumulate[0]);
        return GR_OK;
    }
    float *to = pass->accumulate[0] ? pass->scratch : gx;
    gr_nchw_to_nhwc(pass->n, in.c, in.h * in.w, pass->gy, to);
    if (to != gx)
        gr_accumulate(gr_pass_count(pass, in), to, gx);
    return GR_OK;
}

static int flatten_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    gr_operator(to, "Flatten", NULL);
    gr_operator_input(to, 0);
    gr_operator_int(to, "axis", 1);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_flatten = {
    .name = "flatten",
    .summary = "[C,H,W] as one row of C*H*W values, in that order",
    .inputs_min = 1,
    .inputs_max = 1,
    .shape = flatten_shape,
    .needs = flatten_needs,
    .forward = flatten_forward,
    .backward = flatten_backward,
    .operators = flatten_operators,
};
