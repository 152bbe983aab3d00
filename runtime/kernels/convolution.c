#include "kernels/convolution.h"

#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/norm.h"
#include "kernels/tables.h"

static const struct gr_convolution_passes *const kernels[GR_CONV_ALL_KERNELS] = {
    [GR_CONV_DEPTHWISE] = &gr_convolution_depthwise,
    [GR_CONV_SEGMENT] = &gr_convolution_segment,
    [GR_CONV_WINOGRAD] = &gr_convolution_winograd,
    [GR_CONV_SEGMENT_BF16] = &gr_convolution_segment_bf16,
    [GR_CONV_SEGMENT_INT8] = &gr_convolution_segment_int8,
};

bool gr_convolution_fits(enum gr_convolution_kernel kernel, const struct gr_convolution *conv) {
    return kernels[kernel]->fits(conv);
}

const char *gr_convolution_kernel_name(enum gr_convolution_kernel kernel) {
    return kernels[kernel]->name;
}

bool gr_convolution_exact(enum gr_convolution_kernel kernel) {
    return !kernels[kernel]->transforms && kernels[kernel]->precision == GR_FLOAT32;
}

enum gr_precision gr_convolution_precision(enum gr_convolution_kernel kernel) {
    return kernels[kernel]->precision;
}

double gr_convolution_cost(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                           int threads) {
    return kernels[kernel]->cost(conv, n, threads);
}

size_t gr_convolution_packed(enum gr_convolution_kernel kernel, const struct gr_convolution *conv) {
    return kernels[kernel]->packed(conv);
}

void gr_convolution_pack(enum gr_convolution_kernel kernel, const struct gr_convolution *conv,
                         const float *weights, const float *scale, float *packed) {
    kernels[kernel]->pack(conv, weights, scale, packed);
}

size_t gr_convolution_scratch(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                              bool backward) {
    const struct gr_convolution_passes *k = kernels[kernel];
    size_t most = 0; /* the way work is cut does not make it grow evenly with the batch */
    for (int batch = 1; batch <= n; batch++) {
        size_t floats =
            backward || !k->scratch_forward ? k->scratch(conv, batch) : k->scratch_forward(conv, batch);
        most = floats > most ? floats : most;
    }
    return most * sizeof(float);
}

bool gr_convolution_takes_norms(enum gr_convolution_kernel kernel, const struct gr_convolution *conv) {
    return kernels[kernel]->partials(conv, 1) > 0;
}

int64_t gr_convolution_partials(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n) {
    return kernels[kernel]->partials(conv, n);
}

void gr_convolution_forward(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                            const float *x, const struct gr_prologue *prologue, const float *packed,
                            const struct gr_epilogue *epilogue, float *y, void *scratch) {
    kernels[kernel]->forward(conv, n, x, prologue, packed, epilogue, y, scratch);
}

void gr_convolution_backward(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                             const float *x, const struct gr_prologue *prologue, const float *gy,
                             const float *packed, float *gx, bool accumulate, float *gw, float *gb,
                             void *scratch) {
    const struct gr_convolution_passes *k = kernels[kernel];
    if (gb)
        gr_channel_sum((int64_t)n * conv->oh * conv->ow, conv->k, gy, gb);
    if (k->backward) {
        if (gx || gw)
            k->backward(conv, n, x, prologue, gy, packed, gx, accumulate, gw, scratch);
        return;
    }
    if (gw)
        k->backward_weights(conv, n, x, prologue, gy, gw, scratch);
    if (gx)
        k->backward_data(conv, n, gy, packed, gx, accumulate, scratch);
}

double gr_model_flops(void) {
    static const double flops[] = {
        [GR_SIMD_BASELINE] = 30e9, [GR_SIMD_AVX2] = 120e9, [GR_SIMD_AVX512] = 220e9};
    return flops[gr_simd()];
}

double gr_model_bandwidth(int threads) {
    return threads > 1 ? 45e9 : 30e9;
}

struct gr_axis gr_axis_forward(int inputs, int outputs, int kernel, int stride, int dilation, int padding) {
    return (struct gr_axis){.outputs = outputs,
                            .out_step = 1,
                            .inputs = inputs,
                            .in_first = -padding,
                            .in_step = stride,
                            .taps = kernel,
                            .tap_step = 1,
                            .tap_stride = dilation};
}

static int common_divisor(int a, int b) {
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

struct gr_axis gr_axis_backward(int inputs, int outputs, int kernel, int stride, int dilation, int padding,
                                int phase) {
    /* Pixel p feeds output (p + padding - tap*dilation) / stride where that divides: taps `step` apart. Taken
     * from the highest tap down, outputs go up. */
    int step = stride / common_divisor(stride, dilation), tap = 0;
    struct gr_axis axis = {.outputs = phase < inputs ? (inputs - phase + stride - 1) / stride : 0,
                           .out_first = phase,
                           .out_step = stride,
                           .inputs = outputs,
                           .in_step = 1,
                           .tap_step = -step,
                           .tap_stride = step * dilation / stride};
    while (tap < step && (phase + padding - tap * dilation) % stride)
        tap++;
    if (tap < step && tap < kernel) {
        axis.taps = (kernel - 1 - tap) / step + 1;
        axis.tap_first = tap + (axis.taps - 1) * step;
        axis.in_first = (phase + padding - axis.tap_first * dilation) / stride;
    }
    return axis;
}

struct gr_taps gr_axis_taps(const struct gr_axis *axis, int i) {
    int at = axis->in_first + i * axis->in_step, stride = axis->tap_stride;
    struct gr_taps taps = {0, axis->taps};
    if (at < 0)
        taps.first = (-at + stride - 1) / stride;
    if (at + (axis->taps - 1) * stride >= axis->inputs)
        taps.last = at < axis->inputs ? (axis->inputs - 1 - at) / stride + 1 : 0;
    taps.first = taps.first < axis->taps ? taps.first : axis->taps;
    taps.last = taps.last > taps.first ? taps.last : taps.first;
    return taps;
}

struct gr_taps gr_axis_interior(const struct gr_axis *axis) {
    int first = 0, last = axis->outputs;
    while (first < last && axis->in_first + first * axis->in_step < 0)
        first++;
    while (last > first &&
           axis->in_first + (last - 1) * axis->in_step + (axis->taps - 1) * axis->tap_stride >= axis->inputs)
        last--;
    return (struct gr_taps){first, last};
}

struct unpacking {
    int k, cg, taps, slots, run;
    const float *local;
    float *gw;
};

static void unpack_chunk(void *context, int64_t chunk, int worker) {
    const struct unpacking *u = context;
    int64_t each = (int64_t)u->cg * u->taps, slot_floats = (int64_t)u->k * each;
    int64_t last = (chunk + 1) * u->run < u->k ? (chunk + 1) * u->run : u->k;
    (void)worker;
    for (int64_t k = chunk * u->run; k < last; k++)
        for (int tap = 0; tap < u->taps; tap++) {
            const float *from = u->local + k * each + (int64_t)tap * u->cg;
            float *to = u->gw + k * each + tap;
            for (int c = 0; c < u->cg; c++) {
                float sum = from[c];
                for (int slot = 1; slot < u->slots; slot++)
                    sum += from[slot * slot_floats + c];
                to[(int64_t)c * u->taps] = sum;
            }
        }
}

void gr_unpack_gradient(int k, int cg, int taps, int slots, const float *local, float *gw) {
    struct unpacking u = {k, cg, taps, slots, 1, local, gw};
    u.run = 1 + 8192 / (cg * taps * slots);
    gr_parallel(gr_pieces(k, u.run), unpack_chunk, &u);
}

void gr_apply_epilogue(const struct gr_epilogue *epilogue, int64_t row, int64_t rows, int first, int count,
                       int k, float *y) {
    struct gr_epilogue part = *epilogue;
    if (!part.bias && !part.residual && part.activation == GR_IDENTITY)
        return;
    part.bias = part.bias ? part.bias + first : NULL;
    gr_elementwise_kernels()->epilogue(
        rows, count, k, &part, part.residual ? part.residual + row * k + first : NULL, y + row * k + first);
}
