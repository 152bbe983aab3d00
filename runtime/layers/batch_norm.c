/* Batch normalisation (Ioffe and Szegedy 2015). A trainable layer in training mode normalises with the
 * batch's own statistics and moves the running ones; otherwise the running statistics are constants. */
#include <math.h>
#include "base/status.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "layers/parts.h"
#include "net/operators.h"

struct batch_norm_options {
    float eps, momentum;
    bool affine;
};

#define FIELD(name) offsetof(struct batch_norm_options, name)
static const struct gr_option batch_norm_option_table[] = {
    {"eps", GR_OPTION_FLOAT, FIELD(eps), false, 1e-5, 0, 1},
    {"momentum", GR_OPTION_FLOAT, FIELD(momentum), false, 0.1, 0, 1},
    {"affine", GR_OPTION_BOOL, FIELD(affine), false, 1, 0, 1},
    {.name = NULL},
};
#undef FIELD

static int batch_norm_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    *out = *in;
    return gr_layer_channels_fit(layer, "running_mean", *in);
}

static int batch_norm_parameters(const struct gr_layer *layer, const struct gr_shape *in,
                                 struct gr_param_spec *out) {
    const struct batch_norm_options *o = layer->options;
    int count = 0;
    if (o->affine) {
        out[count++] =
            (struct gr_param_spec){.role = "weight", .rank = 1, .shape = {in->c}, .init = GR_INIT_ONES};
        out[count++] = (struct gr_param_spec){.role = "bias", .rank = 1, .shape = {in->c}};
    }
    out[count++] =
        (struct gr_param_spec){.role = "running_mean", .rank = 1, .shape = {in->c}, .buffer = true};
    out[count++] = (struct gr_param_spec){
        .role = "running_var", .rank = 1, .shape = {in->c}, .buffer = true, .init = GR_INIT_ONES};
    out[count++] = (struct gr_param_spec){.role = "num_batches_tracked", .dtype = GR_I64, .buffer = true};
    return count;
}

static bool uses_batch(const struct gr_layer *layer, bool training) {
    return training && !layer->frozen && !layer->fixed_norm;
}

/* With batch statistics, backward needs the input for both gradients; with fixed ones, only for weight's.
 * saved: scale and shift, then mean and 1/std of the batch. scratch: a number a channel. */
static void batch_norm_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                             const struct gr_want *want, int kernel, struct gr_needs *out) {
    const struct batch_norm_options *o = layer->options;
    size_t channels = (size_t)geometry->out.c;
    bool batch = uses_batch(layer, want->training);
    bool keep = batch ? want->param_gradient || want->input_gradient : want->param_gradient && o->affine;
    (void)kernel;
    out->statistics = batch;
    out->keep = keep ? GR_KEEP_INPUTS : GR_KEEP_NOTHING;
    out->saved = (batch ? 4 : 2) * channels * sizeof(float);
    out->scratch = channels * sizeof(float);
}

/* scale = weight / sqrt(variance + eps), shift = bias - mean * scale. */
static void affine_of(const struct gr_layer *layer, const float *mean, const float *variance, float *scale,
                      float *shift) {
    const struct batch_norm_options *o = layer->options;
    const float *weight = gr_layer_floats(layer, "weight"), *bias = gr_layer_floats(layer, "bias");
    int64_t channels = gr_tensor_count(&gr_layer_param(layer, "running_mean")->tensor);
    for (int64_t c = 0; c < channels; c++) {
        double s = (weight ? weight[c] : 1.0) / sqrt((double)variance[c] + o->eps);
        scale[c] = (float)s;
        shift[c] = (float)((bias ? bias[c] : 0.0) - mean[c] * s);
    }
}

static void batch_norm_affine(const struct gr_layer *layer, float *scale, float *shift) {
    affine_of(layer, gr_layer_floats(layer, "running_mean"), gr_layer_floats(layer, "running_var"), scale,
              shift);
}

/* running = (1 - momentum) * running + momentum * batch, where the variance is the unbiased one. */
static void move_statistics(const struct gr_layer *layer, int64_t rows, const float *mean,
                            const float *variance) {
    const struct batch_norm_options *o = layer->options;
    struct gr_param *running_mean = gr_layer_param(layer, "running_mean");
    struct gr_param *running_var = gr_layer_param(layer, "running_var");
    struct gr_param *batches = gr_layer_param(layer, "num_batches_tracked");
    float *m = gr_tensor_floats(&running_mean->tensor), *v = gr_tensor_floats(&running_var->tensor);
    int64_t channels = gr_tensor_count(&running_mean->tensor);
    double unbiased = (double)rows / (double)(rows - 1), momentum = o->momentum;
    for (int64_t c = 0; c < channels; c++) {
        m[c] = (float)((1 - momentum) * m[c] + momentum * mean[c]);
        v[c] = (float)((1 - momentum) * v[c] + momentum * unbiased * variance[c]);
    }
    gr_tensor_integers(&batches->tensor)[0]++;
    gr_param_touch(running_mean);
    gr_param_touch(running_var);
    gr_param_touch(batches);
}

static int batch_norm_forward(const struct gr_pass *pass) {
    const struct gr_layer *layer = pass->layer;
    const struct batch_norm_options *o = layer->options;
    struct gr_shape shape = pass->geometry->out;
    int64_t rows = gr_pass_rows(pass, shape);
    float *scale = pass->saved, *shift = scale + shape.c;
    if (!uses_batch(layer, pass->training)) {
        batch_norm_affine(layer, scale, shift);
    } else {
        float *mean = shift + shape.c, *spread = mean + shape.c; /* the variance, at the end 1 / std */
        if (rows < 2)
            return gr_fail(
                GR_ERROR_DATA,
                "batch statistics need more than one value a channel, got one photo of 1x1 pixels; use "
                "a larger batch, or bn = \"fixed\"");
        if (pass->partials > 0)
            gr_statistics_merge(pass->partials, shape.c, pass->statistics, mean, spread);
        else
            gr_channel_statistics(rows, shape.c, pass->x[0], mean, spread);
        affine_of(layer, mean, spread, scale, shift);
        move_statistics(layer, rows, mean, spread);
        for (int c = 0; c < shape.c; c++)
            spread[c] = (float)(1.0 / sqrt((double)spread[c] + o->eps));
    }
    if (pass->y)
        gr_norm_apply(rows, shape.c, pass->x[0], scale, shift, pass->epilogue, pass->y);
    return GR_OK;
}

static int batch_norm_backward(const struct gr_pass *pass) {
    const struct gr_layer *layer = pass->layer;
    const struct batch_norm_options *o = layer->options;
    struct gr_shape shape = pass->geometry->out;
    const float *scale = pass->saved, *shift = scale + shape.c;
    struct gr_norm_fusion norm = {.rows = gr_pass_rows(pass, shape),
                                  .c = shape.c,
                                  .x = pass->x[0],
                                  .weight = gr_layer_floats(layer, "weight"),
                                  .activation = pass->epilogue->activation,
                                  .a = pass->epilogue->a,
                                  .kept = pass->y,
                                  .scale = scale,
                                  .shift = shift,
                                  .gy = pass->gy,
                                  .gresidual = pass->gresidual,
                                  .accumulate_residual = pass->accumulate_residual,
                                  .gx = pass->gx[0],
                                  .accumulate = pass->accumulate[0],
                                  .gweight = o->affine ? gr_pass_gradient(pass, 0) : NULL,
                                  .gbias = o->affine ? gr_pass_gradient(pass, 1) : NULL};
    if (uses_batch(layer, pass->training)) {
        norm.mean = shift + shape.c;
        norm.inverse_std = norm.mean + shape.c;
    } else {
        const float *variance = gr_layer_floats(layer, "running_var");
        float *inverse_std = pass->scratch;
        for (int c = 0; c < shape.c; c++)
            inverse_std[c] = (float)(1.0 / sqrt((double)variance[c] + o->eps));
        norm.fixed = true;
        norm.mean = gr_layer_floats(layer, "running_mean");
        norm.inverse_std = inverse_std;
        if (!norm.gweight) /* the input was not kept; the kernel multiplies what it reads instead by 0 */
            norm.x = pass->gy;
    }
    gr_norm_backward_fused(&norm);
    return GR_OK;
}

/* Without parameters of its own it scales by ones and shifts by zeros. */
static int batch_norm_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct batch_norm_options *o = layer->options;
    int64_t shape[] = {layer->shape.c};
    gr_operator(to, "BatchNormalization", NULL);
    gr_operator_input(to, 0);
    if (o->affine) {
        gr_operator_param(to, "weight");
        gr_operator_param(to, "bias");
    } else {
        gr_operator_filled(to, "weight", 1, shape, 1);
        gr_operator_filled(to, "bias", 1, shape, 0);
    }
    gr_operator_param(to, "running_mean");
    gr_operator_param(to, "running_var");
    gr_operator_float(to, "epsilon", o->eps);
    gr_operator_float(to, "momentum",
                      (float)(1 - (double)o->momentum)); /* of the old value, not of the new */
    return GR_OK;
}

const struct gr_layer_kind gr_layer_batch_norm = {
    .name = "batch_norm",
    .summary = "batch normalisation; weight, bias, running_mean and running_var [C]",
    .traits =
        GR_TRAIT_IMPURE | GR_TRAIT_INPLACE | GR_TRAIT_EPILOGUE | GR_TRAIT_EPILOGUE_BACKWARD | GR_TRAIT_DEFER,
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct batch_norm_options),
    .options = batch_norm_option_table,
    .shape = batch_norm_shape,
    .parameters = batch_norm_parameters,
    .needs = batch_norm_needs,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .affine = batch_norm_affine,
    .operators = batch_norm_operators,
};
