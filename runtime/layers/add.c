/* Sum of two activations of one shape: the end of a residual block. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

static int add_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    char a[48], b[48];
    (void)layer;
    if (in[0].c != in[1].c || in[0].h != in[1].h || in[0].w != in[1].w || in[0].flat != in[1].flat)
        return gr_fail(GR_ERROR_SHAPE, "add needs two inputs of one shape, got %s and %s",
                       gr_layer_shape_text(in[0], a), gr_layer_shape_text(in[1], b));
    *out = in[0];
    return GR_OK;
}

static int add_forward(const struct gr_pass *pass) {
    gr_add(gr_pass_count(pass, pass->geometry->out), pass->x[0], pass->x[1], pass->y);
    return GR_OK;
}

static int add_backward(const struct gr_pass *pass) {
    gr_pass_gradient_on(pass, 0);
    gr_pass_gradient_on(pass, 1);
    return GR_OK;
}

static int add_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    gr_operator(to, "Add", NULL);
    gr_operator_input(to, 0);
    gr_operator_input(to, 1);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_add = {
    .name = "add",
    .summary = "sum of two inputs of one shape",
    .traits = GR_TRAIT_ADD | GR_TRAIT_INPLACE,
    .inputs_min = 2,
    .inputs_max = 2,
    .shape = add_shape,
    .forward = add_forward,
    .backward = add_backward,
    .operators = add_operators,
};
