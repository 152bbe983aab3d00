/* Normalisation: batch norm with batch statistics, group norm. rows = N*H*W, channels last. Sums are cut into
 * blocks that depend on the sizes alone and merged in double, so results do not depend on the number of
 * threads. The output may lie over the input, and gx over gy. */
#ifndef GRAFT_KERNELS_NORM_H
#define GRAFT_KERNELS_NORM_H

#include "kernels/kernels.h"

/* Per-channel mean[c] and biased variance[c] of x[rows,c] (two-level Chan/Welford merge). */
void gr_channel_statistics(int64_t rows, int c, const float *x, float *mean, float *variance);

/* Statistics from partial sums that whoever wrote x took on the way: each partial is GR_STATISTICS_HEAD
 * floats whose first is the number of values a channel (0: nothing), a pivot p[c] near the values, sum(x - p)
 * and sum((x - p)^2); gr_statistics_floats(c) floats in all. Merged in their order, in double (Chan et al.
 * 1983). */
enum { GR_STATISTICS_HEAD = 16 };
size_t gr_statistics_floats(int c);
void gr_statistics_merge(int64_t partials, int c, const float *statistics, float *mean, float *variance);

/* sum[c] of x[rows,c] (a bias gradient), overwritten. */
void gr_channel_sum(int64_t rows, int c, const float *x, float *sum);

/* Training batch norm, backward. xhat = (x - mean) * inverse_std. Writes gweight[c] = sum(gy * xhat) and
 * gbias[c] = sum(gy) (either may be NULL), and when gx is not NULL gx (+)= weight * inverse_std * (gy -
 * gbias/rows - xhat * gweight/rows)   (Ioffe and Szegedy 2015). weight may be NULL (1). */
void gr_batch_norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                            const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                            float *gbias);

/* The same where mean and inverse_std are constants (fixed statistics):
 * gx (+)= gy * weight * inverse_std. */
void gr_fixed_norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                            const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                            float *gbias);

/* y[rows,c] = f(x * scale[c] + shift[c] + residual): a normalisation with the sum and the activation behind
 * it in one sweep. Of the epilogue, bias is not used. y may be x or residual. The result is, bit for bit,
 * that of gr_scale_shift, gr_add and gr_activation_forward one after another. */
void gr_norm_apply(int64_t rows, int c, const float *x, const float *scale, const float *shift,
                   const struct gr_epilogue *epilogue, float *y);

/* The backward pass of y = f(norm(x) + residual). */
struct gr_norm_fusion {
    int64_t rows;
    int c;
    const float *x;                           /* [rows,c], what the norm read */
    const float *mean, *inverse_std, *weight; /* [c]; weight may be NULL (1) */
    bool fixed; /* mean and inverse_std are constants, as in gr_fixed_norm_backward */
    enum gr_activation activation;
    float a; /* the activation's parameter */
    /* What the activation's derivative is had from: y if gr_activation_from_output(activation), else what
     * went into the activation; not looked at for GR_IDENTITY. NULL when there is no residual: then it is
     * computed again, as x * scale + shift, which costs no memory traffic. */
    const float *kept;
    const float *scale, *shift; /* [c], as given to gr_norm_apply; not looked at when kept is there */
    const float *gy;            /* [rows,c], gradient of y */
    float *gresidual;           /* (+)= gradient of the residual; NULL when there is none. May be gy */
    bool accumulate_residual;
    float
        *gx; /* (+)= gradient of x, or NULL. May be gy or kept, if the residual's gradient is not that too */
    bool accumulate;
    float *gweight, *gbias; /* [c], overwritten, or NULL */
};

/* gr_activation_backward, the residual's copy or sum, and gr_batch_norm_backward (or gr_fixed_norm_backward),
 * in two sweeps: one for the sums and the residual, one for gx. gy is only written where one of the results
 * lies over it. */
void gr_norm_backward_fused(const struct gr_norm_fusion *norm);

/* Group norm (Wu and He 2018) over each photo's group of c/groups channels: keeps mean and inverse_std
 * [n,groups]. The backward pass writes gweight[c] and gbias[c] (either may be NULL), gx (+)= unless NULL, and
 * needs gr_group_norm_scratch() bytes of scratch. */
void gr_group_norm_forward(int n, int pixels, int c, int groups, float eps, const float *x,
                           const float *weight, const float *bias, float *y, float *mean, float *inverse_std);
void gr_group_norm_backward(int n, int pixels, int c, int groups, const float *x, const float *mean,
                            const float *inverse_std, const float *weight, const float *gy, float *gx,
                            bool accumulate, float *gweight, float *gbias, void *scratch);
size_t gr_group_norm_scratch(int n, int c);

#endif
