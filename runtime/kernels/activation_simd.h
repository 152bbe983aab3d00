/* Activations on vectors, for the *_simd.c files: y = f(x) and f'. The functions take the activation as a
 * constant, so that each caller gets a loop without branches. */
#ifndef GRAFT_KERNELS_ACTIVATION_SIMD_H
#define GRAFT_KERNELS_ACTIVATION_SIMD_H

#include "kernels/kernels.h"
#include "kernels/simd.h"

GR_ALWAYS gr_vec gr_sigmoid(gr_vec x) {
    return 1.0f / (1.0f + gr_exp(-x));
}

/* Near 0 a polynomial (Cephes), since 1 - 2/(e^2x + 1) would cancel. */
GR_ALWAYS gr_vec gr_hyperbolic_tangent(gr_vec x) {
    gr_ivec sign = (gr_ivec)x & INT32_MIN;
    gr_vec magnitude = (gr_vec)((gr_ivec)x & INT32_MAX);
    gr_vec z = x * x;
    gr_vec p = gr_splat(-5.70498872745e-3f);
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    gr_vec small = x + x * (p * z);
    gr_vec large = 1.0f - 2.0f / (gr_exp(2.0f * magnitude) + 1.0f);
    large = (gr_vec)((gr_ivec)large | sign);
    return gr_select(magnitude < 0.625f, small, large);
}

GR_ALWAYS gr_vec gr_hardsigmoid(gr_vec x) {
    return gr_min(gr_max(x + 3.0f, gr_splat(0)), gr_splat(6)) * (1.0f / 6.0f);
}

GR_ALWAYS gr_vec gr_activate(enum gr_activation f, float a, gr_vec x) {
    switch (f) {
    case GR_IDENTITY:
        return x;
    case GR_RELU:
        return gr_max(x, gr_splat(0));
    case GR_RELU6:
        return gr_min(gr_max(x, gr_splat(0)), gr_splat(6));
    case GR_LEAKY_RELU:
        return gr_select(x < 0.0f, x * a, x);
    case GR_SIGMOID:
        return gr_sigmoid(x);
    case GR_TANH:
        return gr_hyperbolic_tangent(x);
    case GR_HARDSIGMOID:
        return gr_hardsigmoid(x);
    case GR_SILU:
        return x * gr_sigmoid(x);
    case GR_HARDSWISH:
        return x * gr_hardsigmoid(x);
    }
    return x;
}

/* f' from y for the activations of gr_activation_from_output, else from x. */
GR_ALWAYS gr_vec gr_slope(enum gr_activation f, float a, gr_vec kept) {
    const gr_vec zero = gr_splat(0), one = gr_splat(1);
    switch (f) {
    case GR_IDENTITY:
        return one;
    case GR_RELU:
        return gr_select(kept > 0.0f, one, zero);
    case GR_RELU6:
        return gr_select((kept > 0.0f) & (kept < 6.0f), one, zero);
    case GR_LEAKY_RELU:
        return gr_select(kept > 0.0f, one, gr_splat(a));
    case GR_SIGMOID:
        return kept * (1.0f - kept);
    case GR_TANH:
        return 1.0f - kept * kept;
    case GR_HARDSIGMOID:
        return gr_select((kept > 0.0f) & (kept < 1.0f), gr_splat(1.0f / 6.0f), zero);
    case GR_SILU: {
        gr_vec s = gr_sigmoid(kept);
        return s * (1.0f + kept * (1.0f - s));
    }
    case GR_HARDSWISH:
        return gr_select(kept <= -3.0f, zero, gr_select(kept < 3.0f, kept * (1.0f / 3.0f) + 0.5f, one));
    }
    return one;
}

/* Calls `body` with the activation as a constant. */
#define GR_EACH_ACTIVATION(f, body)                                                                          \
    switch (f) {                                                                                             \
    case GR_IDENTITY:                                                                                        \
        body(GR_IDENTITY);                                                                                   \
        break;                                                                                               \
    case GR_RELU:                                                                                            \
        body(GR_RELU);                                                                                       \
        break;                                                                                               \
    case GR_RELU6:                                                                                           \
        body(GR_RELU6);                                                                                      \
        break;                                                                                               \
    case GR_LEAKY_RELU:                                                                                      \
        body(GR_LEAKY_RELU);                                                                                 \
        break;                                                                                               \
    case GR_SIGMOID:                                                                                         \
        body(GR_SIGMOID);                                                                                    \
        break;                                                                                               \
    case GR_TANH:                                                                                            \
        body(GR_TANH);                                                                                       \
        break;                                                                                               \
    case GR_HARDSIGMOID:                                                                                     \
        body(GR_HARDSIGMOID);                                                                                \
        break;                                                                                               \
    case GR_SILU:                                                                                            \
        body(GR_SILU);                                                                                       \
        break;                                                                                               \
    case GR_HARDSWISH:                                                                                       \
        body(GR_HARDSWISH);                                                                                  \
        break;                                                                                               \
    }

/* The same for the simple ones (gr_activation_simple), which convolutions apply themselves. */
#define GR_EACH_SIMPLE_ACTIVATION(f, body)                                                                   \
    switch (f) {                                                                                             \
    case GR_RELU:                                                                                            \
        body(GR_RELU);                                                                                       \
        break;                                                                                               \
    case GR_RELU6:                                                                                           \
        body(GR_RELU6);                                                                                      \
        break;                                                                                               \
    case GR_LEAKY_RELU:                                                                                      \
        body(GR_LEAKY_RELU);                                                                                 \
        break;                                                                                               \
    default:                                                                                                 \
        body(GR_IDENTITY);                                                                                   \
    }

#endif
