/* Linear layer: y[n,out] = x[n,in] W^T + b, with W [out,in]. */
#include <string.h>
#include "base/status.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/norm.h"
#include "layers/parts.h"
#include "net/operators.h"

struct linear_options {
    int out;
    bool bias;
};

static const struct gr_option linear_option_table[] = {
    {"out", GR_OPTION_INT, offsetof(struct linear_options, out), true, 0, 1, GR_LAYER_MAX_CHANNELS},
    {"bias", GR_OPTION_BOOL, offsetof(struct linear_options, bias), false, 1, 0, 1},
    {.name = NULL},
};

static int linear_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct linear_options *o = layer->options;
    const struct gr_param *weight = gr_layer_param(layer, "weight");
    char text[96], got[48];
    if (!in->flat)
        return gr_fail(
            GR_ERROR_SHAPE,
            "linear needs a flat input such as [512], got %s; put flatten or global_avg_pool before it",
            gr_layer_shape_text(*in, got));
    if (weight && weight->tensor.shape[1] != in->c)
        return gr_fail(GR_ERROR_SHAPE, "its weight %s is for %lld features, got the input %s",
                       gr_format_shape(weight->tensor.rank, weight->tensor.shape, text),
                       (long long)weight->tensor.shape[1], gr_layer_shape_text(*in, got));
    *out = (struct gr_shape){o->out, 1, 1, true};
    return gr_layer_shape_limit(*out);
}

static int linear_parameters(const struct gr_layer *layer, const struct gr_shape *in,
                             struct gr_param_spec *out) {
    const struct linear_options *o = layer->options;
    out[0] = (struct gr_param_spec){
        .role = "weight",
        .rank = 2,
        .shape = {o->out, in->c},
        .decays = true,
        .init = GR_INIT_UNIFORM,
        .fan_in = in->c,
        .fan_out = o->out,
    };
    out[1] = (struct gr_param_spec){
        .role = "bias",
        .rank = 1,
        .shape = {o->out},
        .init = GR_INIT_UNIFORM,
        .fan_in = in->c,
        .fan_out = o->out,
    };
    return o->bias ? 2 : 1;
}

static void linear_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                         const struct gr_want *want, int kernel, struct gr_needs *out) {
    (void)layer, (void)kernel;
    out->keep = want->param_gradient ? GR_KEEP_INPUTS : GR_KEEP_NOTHING;
    out->packed = want->folded ? (size_t)geometry->in[0].c * (size_t)geometry->out.c : 0;
}

/* Products read the file layout as well as any other, so a copy is made only to multiply by a scale: the
 * weights of a linear layer can be most of a network's. */
static void linear_pack(const struct gr_layer *layer, const struct gr_geometry *geometry, int kernel,
                        const float *scale, float *packed) {
    int64_t in = geometry->in[0].c, out = geometry->out.c;
    const float *weight = gr_layer_floats(layer, "weight");
    (void)kernel;
    for (int64_t k = 0; k < out; k++)
        gr_scale(in, scale ? scale[k] : 1.0f, weight + k * in, packed + k * in);
}

static const float *weight_of(const struct gr_pass *pass) {
    return pass->packed ? pass->packed : gr_layer_floats(pass->layer, "weight");
}

static int linear_forward(const struct gr_pass *pass) {
    int n = pass->n, in = pass->geometry->in[0].c, out = pass->geometry->out.c;
    const struct gr_epilogue *epilogue = pass->epilogue;
    int64_t count = (int64_t)n * out;
    float *y = pass->y;
    for (int i = 0; epilogue->bias && i < n; i++)
        memcpy(y + (int64_t)i * out, epilogue->bias, sizeof(float) * (size_t)out);
    gr_gemm_parallel(false, true, n, out, in, 1.0f, pass->x[0], in, weight_of(pass), in,
                     epilogue->bias ? 1.0f : 0.0f, y, out);
    if (epilogue->residual)
        gr_add(count, y, epilogue->residual, y);
    if (epilogue->activation != GR_IDENTITY)
        gr_activation_forward(epilogue->activation, epilogue->a, count, y, y);
    return GR_OK;
}

static int linear_backward(const struct gr_pass *pass) {
    int n = pass->n, in = pass->geometry->in[0].c, out = pass->geometry->out.c;
    float *gw = gr_pass_gradient(pass, 0), *gb = gr_pass_gradient(pass, 1);
    if (gw)
        gr_gemm_parallel(true, false, out, in, n, 1.0f, pass->gy, out, pass->x[0], in, 0.0f, gw, in);
    if (gb)
        gr_channel_sum(n, out, pass->gy, gb);
    if (pass->gx[0])
        gr_gemm_parallel(false, false, n, in, out, 1.0f, pass->gy, out, weight_of(pass), in,
                         pass->accumulate[0] ? 1.0f : 0.0f, pass->gx[0], in);
    return GR_OK;
}

static int64_t linear_multiply_adds(const struct gr_layer *layer, const struct gr_shape *in,
                                    struct gr_shape out) {
    (void)layer;
    return (int64_t)in->c * out.c;
}

static int linear_operators(const struct gr_layer *layer, struct gr_operators *to) {
    (void)layer;
    gr_operator(to, "Gemm", NULL);
    gr_operator_input(to, 0);
    gr_operator_param(to, "weight");
    gr_operator_param(to, "bias");
    gr_operator_int(to, "transB", 1);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_linear = {
    .name = "linear",
    .summary = "y = W x + b on a flat input; weight [out, in], bias [out]",
    .traits = GR_TRAIT_EPILOGUE | GR_TRAIT_SCALED,
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct linear_options),
    .options = linear_option_table,
    .shape = linear_shape,
    .parameters = linear_parameters,
    .needs = linear_needs,
    .pack = linear_pack,
    .forward = linear_forward,
    .backward = linear_backward,
    .multiply_adds = linear_multiply_adds,
    .operators = linear_operators,
};
