/* The elementwise activations: one exported kind each, over the functions of kernels/elementwise.h. */
#include "base/status.h"
#include "kernels/elementwise.h"
#include "layers/parts.h"
#include "net/operators.h"

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

static int one_operator(struct gr_operators *to, const char *type) {
    gr_operator(to, type, NULL);
    gr_operator_input(to, 0);
    return GR_OK;
}

static int relu_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    return one_operator(to, "Relu");
}

static int relu6_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    one_operator(to, "Clip");
    gr_operator_filled(to, "min", 0, NULL, 0);
    gr_operator_filled(to, "max", 0, NULL, 6);
    return GR_OK;
}

static int leaky_relu_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct leaky_relu_options *o = layer->options;
    one_operator(to, "LeakyRelu");
    gr_operator_float(to, "alpha", o->slope);
    return GR_OK;
}

static int sigmoid_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    return one_operator(to, "Sigmoid");
}

static int tanh_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    return one_operator(to, "Tanh");
}

static int hardsigmoid_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    one_operator(to, "HardSigmoid");
    gr_operator_float(to, "alpha", 1.0f / 6);
    gr_operator_float(to, "beta", 0.5f);
    return GR_OK;
}

static int silu_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    gr_operator(to, "Sigmoid", "sigmoid");
    gr_operator_input(to, 0);
    gr_operator(to, "Mul", NULL);
    gr_operator_input(to, 0);
    gr_operator_value(to, "sigmoid");
    return GR_OK;
}

static int hardswish_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    return one_operator(to, "HardSwish");
}

#define ACTIVATION(kind_name, formula)                                                                       \
    .name = #kind_name, .summary = formula, .traits = GR_TRAIT_INPLACE, .inputs_min = 1, .inputs_max = 1,    \
    .shape = activation_shape, .needs = activation_needs, .forward = activation_forward,                     \
    .backward = activation_backward, .activation = kind_name##_function, .operators = kind_name##_operators

const struct gr_layer_kind gr_layer_relu = {ACTIVATION(relu, "max(x, 0)")};
const struct gr_layer_kind gr_layer_relu6 = {ACTIVATION(relu6, "min(max(x, 0), 6)")};
const struct gr_layer_kind gr_layer_leaky_relu = {
    ACTIVATION(leaky_relu, "x above 0, slope * x below"),
    .options_size = sizeof(struct leaky_relu_options),
    .options = leaky_relu_option_table,
};
const struct gr_layer_kind gr_layer_sigmoid = {ACTIVATION(sigmoid, "1 / (1 + exp(-x))")};
const struct gr_layer_kind gr_layer_tanh = {ACTIVATION(tanh, "hyperbolic tangent")};
const struct gr_layer_kind gr_layer_hardsigmoid = {ACTIVATION(hardsigmoid, "min(max(x + 3, 0), 6) / 6")};
const struct gr_layer_kind gr_layer_silu = {ACTIVATION(silu, "x * sigmoid(x)")};
const struct gr_layer_kind gr_layer_hardswish = {ACTIVATION(hardswish, "x * hardsigmoid(x)")};
