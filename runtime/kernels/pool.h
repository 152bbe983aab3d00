/* Pooling over windows, channels last. */
#ifndef GRAFT_KERNELS_POOL_H
#define GRAFT_KERNELS_POOL_H

#include "kernels/kernels.h"

struct gr_pooling {
    int h, w, c; /* input */
    int oh, ow;  /* output (ceil mode is already in it) */
    int kh, kw, sh, sw;
    int top, left, bottom, right; /* padding; average pooling counts padded pixels when count_padding */
    bool count_padding;
};

/* Max: padding never wins. `argmax` [n,oh,ow,c] (bytes: position inside the window, kh*kw <= 255) may be NULL
 * in inference. */
void gr_max_pool_forward(const struct gr_pooling *pool, int n, const float *x, float *y, uint8_t *argmax);
void gr_max_pool_backward(const struct gr_pooling *pool, int n, const uint8_t *argmax, const float *gy,
                          float *gx, bool accumulate);

/* Average, as PyTorch counts it: with count_padding the divisor is the window's part inside the padded photo.
 */
void gr_avg_pool_forward(const struct gr_pooling *pool, int n, const float *x, float *y);
void gr_avg_pool_backward(const struct gr_pooling *pool, int n, const float *gy, float *gx, bool accumulate);

/* Adaptive average to oh x ow: window i covers floor(i*h/oh) .. ceil((i+1)*h/oh)-1. Global pooling is 1 x 1.
 */
void gr_adaptive_avg_forward(int n, int h, int w, int c, int oh, int ow, const float *x, float *y);
void gr_adaptive_avg_backward(int n, int h, int w, int c, int oh, int ow, const float *gy, float *gx,
                              bool accumulate);
/* Adaptive max: argmax holds positions h*w as int32. */
void gr_adaptive_max_forward(int n, int h, int w, int c, int oh, int ow, const float *x, float *y,
                             int32_t *argmax);
void gr_adaptive_max_backward(int n, int h, int w, int c, int oh, int ow, const int32_t *argmax,
                              const float *gy, float *gx, bool accumulate);

#endif
