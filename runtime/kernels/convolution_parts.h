/* What the convolution kernels share. Private to this room.
 *
 * A pass that writes one side from the other is a gather: every output pixel reads a window of input pixels,
 * along rows and columns independently. For the forward pass the windows start `stride` pixels apart.
 * Backward-data is a gather too: seen from the photo's pixel, the taps that reach it depend on its position
 * modulo the stride (its phase), so for each phase the pixels form a stride-1 problem over the outputs'
 * gradient. Every pixel is then written by one chunk, once, whatever the stride, dilation or overlap. */
#ifndef GRAFT_KERNELS_CONVOLUTION_PARTS_H
#define GRAFT_KERNELS_CONVOLUTION_PARTS_H

#include "kernels/convolution.h"

/* Output i of `outputs` lies at position out_first + i*out_step; its tap m of `taps` reads input position
 * in_first + i*in_step + m*tap_stride (nothing when that is outside 0..inputs-1) and weighs it with kernel
 * index tap_first + m*tap_step. */
struct gr_axis {
    int outputs, out_first, out_step;
    int inputs, in_first, in_step;
    int taps, tap_first, tap_step, tap_stride;
};

struct gr_axis gr_axis_forward(int inputs, int outputs, int kernel, int stride, int dilation, int padding);
/* The pixels phase, phase + stride, ... of an axis of `inputs` pixels, gathered from `outputs` gradients. */
struct gr_axis gr_axis_backward(int inputs, int outputs, int kernel, int stride, int dilation, int padding,
                                int phase);

/* The taps of output i that lie inside: first..last-1. */
struct gr_taps {
    int first, last;
};
struct gr_taps gr_axis_taps(const struct gr_axis *axis, int i);

/* The outputs whose taps all lie inside: first..last-1 (first == last when there is none). */
struct gr_taps gr_axis_interior(const struct gr_axis *axis);

/* gw[k, cg, T] = sum over slots of local[slot][k, T, cg]. */
void gr_unpack_gradient(int k, int cg, int taps, int slots, const float *local, float *gw);
/* Applies the epilogue to `rows` rows of channels first..first+count-1 of an output with k channels; y is the
 * whole output, `row` the first row. */
void gr_apply_epilogue(const struct gr_epilogue *epilogue, int64_t row, int64_t rows, int first, int count,
                       int k, float *y);

/* Whether a depthwise convolution is of the small kind that strips can do (tables.h). */
bool gr_depthwise_strips(const struct gr_convolution *conv);

/* Floats rounded up to whole cache lines. */
static inline size_t gr_whole_lines(size_t floats) {
    return (floats + 15) & ~(size_t)15;
}

/* One kernel: the functions behind convolution.h. `scratch` is in floats. */
struct gr_convolution_passes {
    const char *name;
    bool transforms; /* sums up transformed values: rounding errors are larger than those of plain sums */
    enum gr_precision precision; /* other than float32: no backward passes */
    bool (*fits)(const struct gr_convolution *conv);
    double (*cost)(const struct gr_convolution *conv, int n, int threads);
    size_t (*packed)(const struct gr_convolution *conv);
    void (*pack)(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed);
    size_t (*scratch)(const struct gr_convolution *conv, int n);
    size_t (*scratch_forward)(const struct gr_convolution *conv, int n); /* NULL: as scratch */
    /* Partial sums that forward makes of its results; 0: it has neither statistics nor prologues here. */
    int64_t (*partials)(const struct gr_convolution *conv, int n);
    void (*forward)(const struct gr_convolution *conv, int n, const float *x,
                    const struct gr_prologue *prologue, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch);
    void (*backward_data)(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch);
    void (*backward_weights)(const struct gr_convolution *conv, int n, const float *x,
                             const struct gr_prologue *prologue, const float *gy, float *gw, float *scratch);
    /* NULL, or it stands for both of these: gx and gw may be NULL. */
    void (*backward)(const struct gr_convolution *conv, int n, const float *x,
                     const struct gr_prologue *prologue, const float *gy, const float *packed, float *gx,
                     bool accumulate, float *gw, float *scratch);
};

extern const struct gr_convolution_passes gr_convolution_depthwise;
extern const struct gr_convolution_passes gr_convolution_segment;
extern const struct gr_convolution_passes gr_convolution_winograd;
extern const struct gr_convolution_passes gr_convolution_segment_bf16;
extern const struct gr_convolution_passes gr_convolution_segment_int8;

/* Peak floating-point operations a second of one thread at the SIMD level, and bytes a second of memory for
 * `threads`, as used by the cost model. */
double gr_model_flops(void);
double gr_model_bandwidth(int threads);

#endif
