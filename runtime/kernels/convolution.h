/* 2-D convolution (cross-correlation, as everywhere in deep learning) in its three passes. */
#ifndef GRAFT_KERNELS_CONVOLUTION_H
#define GRAFT_KERNELS_CONVOLUTION_H

#include "kernels/kernels.h"

/* One convolution's geometry, per photo. Output (oh, ow) is given, so padding at the bottom and right is
 * implied. */
struct gr_convolution {
    int h, w, c;   /* input height, width, channels */
    int oh, ow, k; /* output height, width, channels */
    int kh, kw;    /* kernel */
    int sh, sw;    /* stride */
    int dh, dw;    /* dilation */
    int top, left; /* padding before the first row and column */
    int groups;    /* divides c and k; groups == c == k is depthwise */
    float low,
        high; /* bounds of the inputs, for kernels of int8: others are cut off. Not looked at elsewhere */
};

enum gr_convolution_kernel {
    GR_CONV_SEGMENT,  /* any geometry, groups included: tiles of pixels along the segments of kernel rows */
    GR_CONV_WINOGRAD, /* 3x3, stride 1: a quarter of the multiplications, with slightly larger rounding errors
                       */
    GR_CONV_DEPTHWISE, /* groups == c == k: channels as vector lanes */
    GR_CONV_KERNELS,   /* so many in float32; those behind have reduced precision and a forward pass alone */
    GR_CONV_SEGMENT_BF16 = GR_CONV_KERNELS, /* groups 1: as segment, with inputs and weights rounded */
    GR_CONV_SEGMENT_INT8, /* groups 1: in integers, exact but for the rounding of inputs and weights */
    GR_CONV_ALL_KERNELS
};

enum gr_precision gr_convolution_precision(enum gr_convolution_kernel kernel);

/* Whether a kernel can do this geometry, and its name for the plan's table ("segment", "winograd",
 * "depthwise", "segment bf16", "segment int8"). */
bool gr_convolution_fits(enum gr_convolution_kernel kernel, const struct gr_convolution *conv);
const char *gr_convolution_kernel_name(enum gr_convolution_kernel kernel);

/* Whether a kernel sums up the products of the definition alone, in float32, so that it rounds as a direct
 * computation does. */
bool gr_convolution_exact(enum gr_convolution_kernel kernel);

/* Estimated seconds of one pass over `n` photos with `threads` threads; a pure function of its arguments and
 * the SIMD level (never a timing), so that the choice repeats. */
double gr_convolution_cost(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                           int threads);

/* Floats of the packed copy of the weights that the forward and backward-data passes read. */
size_t gr_convolution_packed(enum gr_convolution_kernel kernel, const struct gr_convolution *conv);
/* Packs weights [K, C/groups, kH, kW] (file layout); each output channel is multiplied by scale[k] on the way
 * when `scale` is not NULL (a folded batch norm). */
void gr_convolution_pack(enum gr_convolution_kernel kernel, const struct gr_convolution *conv,
                         const float *weights, const float *scale, float *packed);

/* Bytes of scratch that the forward pass, and with `backward` any pass, needs for up to `n` photos at the
 * present thread count. */
size_t gr_convolution_scratch(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                              bool backward);

/* Whether a kernel takes prologues and gives statistics; and, then, how many partial sums (norm.h) a forward
 * pass over exactly `n` photos makes. */
bool gr_convolution_takes_norms(enum gr_convolution_kernel kernel, const struct gr_convolution *conv);
int64_t gr_convolution_partials(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n);

/* y[n,oh,ow,k] = epilogue(conv(prologue(x[n,h,w,c]))). prologue may be NULL. */
void gr_convolution_forward(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                            const float *x, const struct gr_prologue *prologue, const float *packed,
                            const struct gr_epilogue *epilogue, float *y, void *scratch);

/* Given gy[n,oh,ow,k], the gradients with respect to
 *   the inputs   gx[n,h,w,c] = (accumulate ? gx : 0) + ...
 *   the weights  gw[K, C/groups, kH, kW] (file layout, overwritten)
 *   the biases   gb[K], likewise.
 * Each may be NULL: not wanted. x and prologue, as in the forward pass, are read for gw alone, packed for gx
 * alone. Sums over photos and pixels are cut into blocks that depend on n and the geometry alone, so the
 * result does not depend on the number of threads. */
void gr_convolution_backward(enum gr_convolution_kernel kernel, const struct gr_convolution *conv, int n,
                             const float *x, const struct gr_prologue *prologue, const float *gy,
                             const float *packed, float *gx, bool accumulate, float *gw, float *gb,
                             void *scratch);

#endif
