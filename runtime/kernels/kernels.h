/* The kernel set: which instruction set the numeric kernels use, and the conventions that all of them share.
 *
 * Kernels take floats and give floats. They know no tensor, no layer and no error: sizes were checked by the
 * caller. Activations are NHWC: element (n,h,w,c) of an [N,C,H,W] batch lies at ((n*H + h)*W + w)*C + c.
 * Kernels spread their work over the pool of base/threads.h by themselves; their results do not depend on the
 * number of threads unless a comment says so. `scratch` is memory that a kernel may overwrite; its size comes
 * from the function named in the comment, and scratch of another call may be handed in again without
 * clearing. */
#ifndef GRAFT_KERNELS_KERNELS_H
#define GRAFT_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gr_simd { GR_SIMD_BASELINE, GR_SIMD_AVX2, GR_SIMD_AVX512 };

/* The level in use: the best that the processor has, or the one named by the environment variable GRAFT_SIMD
 * ("baseline", "avx2", "avx512") if the processor has it. Fixed at the first call, which also holds OpenBLAS
 * to one thread and runs one small product through it, so that its buffers exist. */
enum gr_simd gr_simd(void);
const char *gr_simd_name(void); /* "baseline", "avx2" or "avx512" */
const char *gr_blas_name(void); /* OpenBLAS version and the core that it chose, for the lock file */

/* How exactly the products of a convolution are computed. Sums and everything in memory are float32 always.
 */
enum gr_precision {
    GR_FLOAT32,
    GR_BF16, /* weights and inputs are rounded to bfloat16: 8 significant bits */
    GR_INT8, /* weights in 255 steps for each output channel, inputs in 256 steps between bounds (calibrated)
              */
};
const char *gr_precision_name(enum gr_precision precision); /* "float32", "bf16", "int8" */
/* The precision of this name; false: there is none. */
bool gr_precision_find(const char *name, enum gr_precision *out);
/* Whether the processor has instructions for it and the SIMD level allows them. Where not, results are the
 * same but for the rounding of sums, and nothing is gained. */
bool gr_precision_native(enum gr_precision precision);

/* Activations: y = f(x). `a` is the slope of leaky_relu; the others have no parameter. */
enum gr_activation {
    GR_IDENTITY,
    GR_RELU,
    GR_RELU6,
    GR_LEAKY_RELU,
    GR_SIGMOID,
    GR_TANH,
    GR_HARDSIGMOID, /* min(max(x + 3, 0), 6) / 6 */
    GR_SILU,        /* x * sigmoid(x) */
    GR_HARDSWISH,   /* x * hardsigmoid(x) */
};

/* What a convolution or a linear layer does to each result before it stores it, in this order:
 * y = f(sum + bias[k] + residual). */
struct gr_epilogue {
    const float *bias;     /* [K], or NULL */
    const float *residual; /* laid out as the output, or NULL */
    enum gr_activation activation;
    float a;           /* the activation's parameter */
    float *statistics; /* convolutions without residual and activation only: partial sums of the results, for
                          gr_statistics_merge (norm.h); NULL: not wanted */
};

/* What a convolution does to each input before it uses it: x' = f(x * scale[c] + shift[c]), a batch norm and
 * its activation that are never stored. Padding stays 0. f is one of gr_activation_simple. */
struct gr_prologue {
    const float *scale, *shift; /* [C] */
    enum gr_activation activation;
    float a;
};

/* Whether f is cheap enough to be computed wherever its argument is read: identity and the piecewise linear
 * ones. */
static inline bool gr_activation_simple(enum gr_activation f) {
    return f == GR_IDENTITY || f == GR_RELU || f == GR_RELU6 || f == GR_LEAKY_RELU;
}

#endif
