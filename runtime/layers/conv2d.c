/* 2-D convolution: stride, dilation, groups (depthwise too), padding on four sides or TensorFlow's "same". */
#include "base/status.h"
#include "kernels/convolution.h"
#include "kernels/norm.h"
#include "layers/parts.h"
#include "net/operators.h"

struct conv2d_options {
    int out;
    int kernel[2], stride[2], dilation[2];
    struct gr_padding padding;
    int groups;
    bool bias;
};

#define FIELD(name) offsetof(struct conv2d_options, name)
static const struct gr_option conv2d_option_table[] = {
    {"out", GR_OPTION_INT, FIELD(out), true, 0, 1, GR_LAYER_MAX_CHANNELS},
    {"kernel", GR_OPTION_PAIR, FIELD(kernel), true, 0, 1, GR_LAYER_MAX_SIDE},
    {"stride", GR_OPTION_PAIR, FIELD(stride), false, 1, 1, GR_LAYER_MAX_SIDE},
    {"padding", GR_OPTION_PADDING, FIELD(padding), false, 0, 0, GR_LAYER_MAX_SIDE},
    {"dilation", GR_OPTION_PAIR, FIELD(dilation), false, 1, 1, GR_LAYER_MAX_SIDE},
    {"groups", GR_OPTION_INT, FIELD(groups), false, 1, 1, GR_LAYER_MAX_CHANNELS},
    {"bias", GR_OPTION_BOOL, FIELD(bias), false, 1, 0, 1},
    {.name = NULL},
};
#undef FIELD

static struct gr_window window_of(const struct conv2d_options *o) {
    return (struct gr_window){
        .kernel = {o->kernel[0], o->kernel[1]},
        .stride = {o->stride[0], o->stride[1]},
        .dilation = {o->dilation[0], o->dilation[1]},
        .padding = o->padding,
    };
}

static int conv2d_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct conv2d_options *o = layer->options;
    const struct gr_param *weight = gr_layer_param(layer, "weight");
    char text[96], got[48];
    GR_TRY(gr_layer_wants_photo(layer, *in));
    if (in->c % o->groups || o->out % o->groups)
        return gr_fail(GR_ERROR_SHAPE, "groups = %d must divide the channels of the input %s and out = %d",
                       o->groups, gr_layer_shape_text(*in, got), o->out);
    if (weight && weight->tensor.shape[1] * o->groups != in->c)
        return gr_fail(GR_ERROR_SHAPE, "its weight %s is for %lld channels, got the input %s",
                       gr_format_shape(weight->tensor.rank, weight->tensor.shape, text),
                       (long long)weight->tensor.shape[1] * o->groups, gr_layer_shape_text(*in, got));
    struct gr_window window = window_of(o);
    out->c = o->out;
    GR_TRY(gr_window_output(&window, *in, out));
    return gr_layer_shape_limit(*out);
}

static int conv2d_parameters(const struct gr_layer *layer, const struct gr_shape *in,
                             struct gr_param_spec *out) {
    const struct conv2d_options *o = layer->options;
    int64_t area = (int64_t)o->kernel[0] * o->kernel[1];
    int64_t fan_in = in->c / o->groups * area, fan_out = o->out / o->groups * area;
    if (fan_in > INT32_MAX || fan_out > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "a %dx%d kernel over %d channels is too large", o->kernel[0],
                       o->kernel[1], in->c);
    out[0] = (struct gr_param_spec){
        .role = "weight",
        .rank = 4,
        .shape = {o->out, in->c / o->groups, o->kernel[0], o->kernel[1]},
        .decays = true,
        .init = GR_INIT_HE,
        .fan_in = (int)fan_in,
        .fan_out = (int)fan_out,
    };
    out[1] = (struct gr_param_spec){
        .role = "bias",
        .rank = 1,
        .shape = {o->out},
        .init = GR_INIT_UNIFORM,
        .fan_in = (int)fan_in,
        .fan_out = (int)fan_out,
    };
    return o->bias ? 2 : 1;
}

static struct gr_convolution convolution_of(const struct gr_layer *layer,
                                            const struct gr_geometry *geometry) {
    const struct conv2d_options *o = layer->options;
    struct gr_shape in = geometry->in[0], out = geometry->out;
    struct gr_window window = window_of(o);
    struct gr_padding padding = gr_window_padding(&window, in, out);
    return (struct gr_convolution){
        .h = in.h,
        .w = in.w,
        .c = in.c,
        .oh = out.h,
        .ow = out.w,
        .k = out.c,
        .kh = o->kernel[0],
        .kw = o->kernel[1],
        .sh = o->stride[0],
        .sw = o->stride[1],
        .dh = o->dilation[0],
        .dw = o->dilation[1],
        .top = padding.top,
        .left = padding.left,
        .groups = o->groups,
        .low = geometry->low,
        .high = geometry->high,
    };
}

static void conv2d_convolution(const struct gr_layer *layer, const struct gr_geometry *geometry,
                               struct gr_convolution *out) {
    *out = convolution_of(layer, geometry);
}

static int conv2d_kernels(const struct gr_layer *layer, const struct gr_geometry *geometry,
                          struct gr_kernel_choice *out) {
    struct gr_convolution conv = convolution_of(layer, geometry);
    bool reduced = false; /* then the same kernel in float32 is no candidate */
    int count = 0;
    for (int kernel = GR_CONV_KERNELS; kernel < GR_CONV_ALL_KERNELS; kernel++)
        reduced |=
            gr_convolution_precision(kernel) == geometry->precision && gr_convolution_fits(kernel, &conv);
    for (int kernel = 0; kernel < GR_CONV_ALL_KERNELS && count < GR_MAX_KERNELS; kernel++) {
        enum gr_precision precision = gr_convolution_precision(kernel);
        bool wanted = (precision == geometry->precision || precision == GR_FLOAT32) &&
                      (!geometry->exact || gr_convolution_exact(kernel));
        if (wanted && !(reduced && kernel == GR_CONV_SEGMENT) && gr_convolution_fits(kernel, &conv))
            out[count++] = (struct gr_kernel_choice){
                .id = kernel,
                .name = gr_convolution_kernel_name(kernel),
                .seconds = gr_convolution_cost(kernel, &conv, geometry->n, geometry->threads),
            };
    }
    return count;
}

static void conv2d_needs(const struct gr_layer *layer, const struct gr_geometry *geometry,
                         const struct gr_want *want, int kernel, struct gr_needs *out) {
    struct gr_convolution conv = convolution_of(layer, geometry);
    out->keep = want->param_gradient ? GR_KEEP_INPUTS : GR_KEEP_NOTHING;
    out->scratch =
        gr_convolution_scratch(kernel, &conv, geometry->n, want->param_gradient || want->input_gradient);
    out->packed = gr_convolution_packed(kernel, &conv);
    out->takes_norms = gr_convolution_takes_norms(kernel, &conv);
}

static void conv2d_pack(const struct gr_layer *layer, const struct gr_geometry *geometry, int kernel,
                        const float *scale, float *packed) {
    struct gr_convolution conv = convolution_of(layer, geometry);
    gr_convolution_pack(kernel, &conv, gr_layer_floats(layer, "weight"), scale, packed);
}

static int conv2d_forward(const struct gr_pass *pass) {
    struct gr_convolution conv = convolution_of(pass->layer, pass->geometry);
    gr_convolution_forward(pass->kernel, &conv, pass->n, pass->x[0], pass->prologue, pass->packed,
                           pass->epilogue, pass->y, pass->scratch);
    return GR_OK;
}

static int conv2d_backward(const struct gr_pass *pass) {
    struct gr_convolution conv = convolution_of(pass->layer, pass->geometry);
    float *gw = gr_pass_gradient(pass, 0), *gb = gr_pass_gradient(pass, 1);
    gr_convolution_backward(pass->kernel, &conv, pass->n, pass->x[0], pass->prologue, pass->gy, pass->packed,
                            pass->gx[0], pass->accumulate[0], gw, gb, pass->scratch);
    return GR_OK;
}

static int64_t conv2d_partials(const struct gr_layer *layer, const struct gr_geometry *geometry, int kernel,
                               int n) {
    struct gr_convolution conv = convolution_of(layer, geometry);
    return gr_convolution_partials(kernel, &conv, n);
}

static int64_t conv2d_multiply_adds(const struct gr_layer *layer, const struct gr_shape *in,
                                    struct gr_shape out) {
    const struct conv2d_options *o = layer->options;
    return gr_shape_size(out) * (in->c / o->groups) * o->kernel[0] * o->kernel[1];
}

static int conv2d_operators(const struct gr_layer *layer, struct gr_operators *to) {
    const struct conv2d_options *o = layer->options;
    struct gr_window window = window_of(o);
    struct gr_padding padding = gr_window_padding(&window, gr_operator_shape(to, 0), layer->shape);
    gr_operator(to, "Conv", NULL);
    gr_operator_input(to, 0);
    gr_operator_param(to, "weight");
    gr_operator_param(to, "bias");
    gr_operator_pair(to, "dilations", o->dilation);
    gr_operator_int(to, "group", o->groups);
    gr_operator_pair(to, "kernel_shape", o->kernel);
    gr_operator_pads(to, &padding);
    gr_operator_pair(to, "strides", o->stride);
    return GR_OK;
}

const struct gr_layer_kind gr_layer_conv2d = {
    .name = "conv2d",
    .summary = "2-D convolution; weight [out, in/groups, kH, kW], bias [out]",
    .traits = GR_TRAIT_EPILOGUE | GR_TRAIT_SCALED,
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct conv2d_options),
    .options = conv2d_option_table,
    .shape = conv2d_shape,
    .parameters = conv2d_parameters,
    .kernels = conv2d_kernels,
    .needs = conv2d_needs,
    .partials = conv2d_partials,
    .pack = conv2d_pack,
    .forward = conv2d_forward,
    .backward = conv2d_backward,
    .convolution = conv2d_convolution,
    .multiply_adds = conv2d_multiply_adds,
    .operators = conv2d_operators,
};
