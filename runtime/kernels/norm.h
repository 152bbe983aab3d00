/* Normalisation: batch norm with batch statistics, group norm. rows = N*H*W, channels last. Sums are cut into
 * blocks that depend on the sizes alone and merged in double, so results do not depend on the number of
 * threads. The output may lie over the input, and gx over gy. */
#ifndef GRAFT_KERNELS_NORM_H
#define GRAFT_KERNELS_NORM_H

#include "kernels/kernels.h"

/* Per-channel mean[c] and biased variance[c] of x[rows,c] (two-level Chan/Welford merge). */
void gr_channel_statistics(int64_t rows, int c, const float *x, float *mean, float *variance);

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

/* Group norm (Wu and He 2018) over each photo's group of c/groups channels: keeps mean and inverse_std
 * [n,groups]. */
void gr_group_norm_forward(int n, int pixels, int c, int groups, float eps, const float *x,
                           const float *weight, const float *bias, float *y, float *mean, float *inverse_std);
void gr_group_norm_backward(int n, int pixels, int c, int groups, const float *x, const float *mean,
                            const float *inverse_std, const float *weight, const float *gy, float *gx,
                            bool accumulate, float *gweight, float *gbias);

#endif
