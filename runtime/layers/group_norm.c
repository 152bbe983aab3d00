/* Group normalisation (Wu and He 2018): each photo's channels are normalised in groups; no batch statistics.
 */
#include "base/status.h"
#include "kernels/norm.h"
#include "layers/parts.h"
#include "net/operators.h"

struct group_norm_options {
    int groups;
    float eps;
};

static const struct gr_option group_norm_option_table[] = {
    {"groups", GR_OPTION_INT, offsetof(struct group_norm_options, groups), true, 0, 1, GR_LAYER_MAX_CHANNELS},
    {"eps", GR_OPTION_FLOAT, offsetof(struct group_norm_options, eps), false, 1e-5, 0, 1},
    {.name = NULL},
};

static int group_norm_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct group_norm_options *o = layer->options;
    char got[48];
    if (in->c % o->groups)
        return gr_fail(GR_ERROR_SHAPE, "groups = %d must divide the channels of the input %s", o->groups,
                       gr_layer_shape_text(*in, got));
    *out = *in;
    return gr_layer_channels_fit(layer, "weight", *in);
}

static int group_norm_parameters(const struct gr_layer *layer, const struct gr_shape *in,
                                 struct gr_param_spec *out) {
    (void)layer;
    out[0] = (struct gr_param_spec){.role = "weight", .rank = 1, .shape = {in->c}, .init = GR_INIT_ONES};
    out[1] = (struct gr_param_spec){.role = "bias", .rank = 1, .shape = {in->c}};
    return 2;
}

/* saved: mean and 1/std of every photo's groups. */
static void group_norm_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                             const struct gr_want *want, int kernel, struct gr_needs *out) {
    const struct group_norm_options *o = layer->options;
    (void)kernel;
    bool backward = want->param_gradient || want->input_gradient;
    out->keep = backward ? GR_KEEP_INPUTS : GR_KEEP_NOTHING;
    out->scratch = backward ? gr_group_norm_scratch(geometry->n, geometry->out.c) : 0;
    out->saved = 2 * sizeof(float) * (size_t)geometry->n * (size_t)o->groups;
}

static int group_norm_forward(const struct gr_pass *pass) {
    const struct group_norm_options *o = pass->layer->options;
    struct gr_shape shape = pass->geometry->out;
    float *mean = pass->saved, *inverse_std = mean + (int64_t)pass->geometry->n * o->groups;
    gr_group_norm_forward(pass->n, shape.h * shape.w, shape.c, o->groups, o->eps, pass->x[0],
                          gr_layer_floats(pass->layer, "weight"), gr_layer_floats(pass->layer, "bias"),
                          pass->y, mean, inverse_std);
    return GR_OK;
}

static int group_norm_backward(const struct gr_pass *pass) {
    const struct group_norm_options *o = pass->layer->options;
    struct gr_shape shape = pass->geometry->out;
    const float *mean = pass->saved, *inverse_std = mean + (int64_t)pass->geometry->n * o->groups;
    gr_group_norm_backward(pass->n, shape.h * shape.w, shape.c, o->groups, pass->x[0], mean, inverse_std,
                           gr_layer_floats(pass->layer, "weight"), pass->gy, pass->gx[0], pass->accumulate[0],
                           gr_pass_gradient(pass, 0), gr_pass_gradient(pass, 1), pass->scratch);
    return GR_OK;
}

/* Each group as one channel of an instance normalisation, which all operator sets have; their own group
 * normalisation came late and meant two things. A 0 in a shape keeps that dimension, the batch. */
static int group_norm_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct group_norm_options *o = layer->options;
    struct gr_shape shape = layer->shape;
    int64_t grouped[] = {0, o->groups, -1}, whole[] = {0, shape.c, shape.h, shape.w}, groups[] = {o->groups};
    gr_operator(to, "Reshape", "grouped");
    gr_operator_input(to, 0);
    gr_operator_integers(to, "grouped_shape", 3, grouped);
    gr_operator(to, "InstanceNormalization", "normal");
    gr_operator_value(to, "grouped");
    gr_operator_filled(to, "ones", 1, groups, 1);
    gr_operator_filled(to, "zeros", 1, groups, 0);
    gr_operator_float(to, "epsilon", o->eps);
    gr_operator(to, "Reshape", "whole");
    gr_operator_value(to, "normal");
    gr_operator_integers(to, "shape", shape.flat ? 2 : 4, whole);
    gr_operator(to, "Mul", "scaled");
    gr_operator_value(to, "whole");
    gr_operator_channels(to, "weight");
    gr_operator(to, "Add", NULL);
    gr_operator_value(to, "scaled");
    gr_operator_channels(to, "bias");
    return GR_OK;
}

const struct gr_layer_kind gr_layer_group_norm = {
    .name = "group_norm",
    .summary = "group normalisation; weight and bias [C]",
    .traits = GR_TRAIT_INPLACE,
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct group_norm_options),
    .options = group_norm_option_table,
    .shape = group_norm_shape,
    .parameters = group_norm_parameters,
    .needs = group_norm_needs,
    .forward = group_norm_forward,
    .backward = group_norm_backward,
    .operators = group_norm_operators,
};
