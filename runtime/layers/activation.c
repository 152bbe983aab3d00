/* The elementwise activations: one exported kind each, over the functions of kernels/elementwise.h. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"

struct leaky_relu_options {
    float slope;
};

/* The slope may not be negative, so that the sign of x can be seen from y. */
static const struct gr_option leaky_relu_option_table[] = {
    {"slope", GR_OPTION_FLOAT, offsetof(struct leaky_relu_options, slope), false, 0.01, 0, 100},
    {.name = NULL},
};

static enum gr_activation relu_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_RELU;
}

static enum gr_activation relu6_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_RELU6;
}

static enum gr_activation leaky_relu_function(const struct gr_layer *layer, float *a) {
    const struct leaky_relu_options *o = layer->options;
    *a = o->slope;
    return GR_LEAKY_RELU;
}

static enum gr_activation sigmoid_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_SIGMOID;
}

static enum gr_activation tanh_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_TANH;
}

static enum gr_activation hardsigmoid_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_HARDSIGMOID;
}

static enum gr_activation silu_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_SILU;
}

static enum gr_activation hardswish_function(const struct gr_layer *layer, float *a) {
    (void)layer;
    *a = 0;
    return GR_HARDSWISH;
}

static int activation_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    (void)layer;
    *out = *in;
    return GR_OK;
}

static void activation_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                             const struct gr_want *want, int kernel, struct gr_needs *out) {
    float a;
    enum gr_activation f = layer->kind->activation(layer, &a);
    (void)geometry, (void)kernel;
    if (want->input_gradient)
        out->keep = gr_activation_from_output(f) ? GR_KEEP_OUTPUT : GR_KEEP_INPUTS;
}

static int activation_forward(const struct gr_pass *pass) {
    float a;
    enum gr_activation f = pass->layer->kind->activation(pass->layer, &a);
    gr_activation_forward(f, a, gr_pass_count(pass, pass->geometry->out), pass->x[0], pass->y);
    return GR_OK;
}

static int activation_backward(const struct gr_pass *pass) {
    float a;
    enum gr_activation f = pass->layer->kind->activation(pass->layer, &a);
    const float *kept = gr_activation_from_output(f) ? pass->y : pass->x[0];
    if (pass->gx[0])
        gr_activation_backward(f, a, gr_pass_count(pass, pass->geometry->out), kept, pass->gy, pass->gx[0],
                               pass->accumulate[0]);
    return GR_OK;
}

#define ACTIVATION(kind_name, formula, function)                                                             \
    .name = kind_name, .summary = formula, .traits = GR_TRAIT_INPLACE, .inputs_min = 1, .inputs_max = 1,     \
    .shape = activation_shape, .needs = activation_needs, .forward = activation_forward,                     \
    .backward = activation_backward, .activation = function

const struct gr_layer_kind gr_layer_relu = {ACTIVATION("relu", "max(x, 0)", relu_function)};
const struct gr_layer_kind gr_layer_relu6 = {ACTIVATION("relu6", "min(max(x, 0), 6)", relu6_function)};
const struct gr_layer_kind gr_layer_leaky_relu = {
    ACTIVATION("leaky_relu", "x above 0, slope * x below", leaky_relu_function),
    .options_size = sizeof(struct leaky_relu_options),
    .options = leaky_relu_option_table,
};
const struct gr_layer_kind gr_layer_sigmoid = {ACTIVATION("sigmoid", "1 / (1 + exp(-x))", sigmoid_function)};
const struct gr_layer_kind gr_layer_tanh = {ACTIVATION("tanh", "hyperbolic tangent", tanh_function)};
const struct gr_layer_kind gr_layer_hardsigmoid = {
    ACTIVATION("hardsigmoid", "min(max(x + 3, 0), 6) / 6", hardsigmoid_function)};
const struct gr_layer_kind gr_layer_silu = {ACTIVATION("silu", "x * sigmoid(x)", silu_function)};
const struct gr_layer_kind gr_layer_hardswish = {
    ACTIVATION("hardswish", "x * hardsigmoid(x)", hardswish_function)};
