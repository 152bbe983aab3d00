/* Kernels that touch each float once. `count` is in floats; arrays do not overlap unless they are equal. */
#ifndef GRAFT_KERNELS_ELEMENTWISE_H
#define GRAFT_KERNELS_ELEMENTWISE_H

#include "kernels/kernels.h"

/* y = f(x); y may be x. */
void gr_activation_forward(enum gr_activation f, float a, int64_t count, const float *x, float *y);

/* Whether f'(x) can be had from y = f(x) alone, so that x need not be kept. For leaky_relu that takes a slope
 * that is not negative. */
bool gr_activation_from_output(enum gr_activation f);

/* gx = (accumulate ? gx : 0) + gy * f'. `kept` is y if gr_activation_from_output(f), else x. gx may be gy. */
void gr_activation_backward(enum gr_activation f, float a, int64_t count, const float *kept, const float *gy,
                            float *gx, bool accumulate);

void gr_add(int64_t count, const float *a, const float *b, float *y);      /* y = a + b; y may be a or b */
void gr_multiply(int64_t count, const float *a, const float *b, float *y); /* y = a * b; y may be a or b */
void gr_accumulate(int64_t count, const float *x, float *y);               /* y += x */
void gr_scale(int64_t count, float factor, const float *x, float *y);      /* y = factor * x; y may be x */

/* y[rows,c] = x[rows,c] * scale[c] + shift[c]; y may be x; shift may be NULL. */
void gr_scale_shift(int64_t rows, int c, const float *x, const float *scale, const float *shift, float *y);

/* y[n,h*w,c] = x[n,h*w,c] * s[n,c] (squeeze-excite), and its two gradients: gx (+)= gy * s, gs[n,c] (+)= sum
 * over pixels of gy * x. Either gradient may be NULL. */
void gr_channel_multiply(int n, int pixels, int c, const float *x, const float *s, float *y);
void gr_channel_multiply_backward(int n, int pixels, int c, const float *x, const float *s, const float *gy,
                                  float *gx, bool accumulate_x, float *gs, bool accumulate_s);

/* Copies between layouts: [N,C,P] <-> [N,P,C], P pixels. */
void gr_nchw_to_nhwc(int n, int c, int pixels, const float *x, float *y);
void gr_nhwc_to_nchw(int n, int c, int pixels, const float *x, float *y);

/* Copies or adds a channel range: y[row, y_first + i] (=, +=) x[row, x_first + i], i < channels (concat). */
void gr_copy_channels(int64_t rows, int channels, const float *x, int x_stride, int x_first, float *y,
                      int y_stride, int y_first, bool accumulate);

/* Row softmax y[rows,c] of x / its gradient gx (+)= y * (gy - sum(gy * y)). y may be x. */
void gr_softmax(int64_t rows, int c, const float *x, float *y);
void gr_softmax_backward(int64_t rows, int c, const float *y, const float *gy, float *gx, bool accumulate);

/* Inverted dropout: mask byte and scale 1/(1-p). The mask of element i depends on (key, i) alone. */
void gr_dropout_forward(int64_t count, float p, const uint32_t key[4], const float *x, float *y,
                        uint8_t *mask);
void gr_dropout_backward(int64_t count, float p, const uint8_t *mask, const float *gy, float *gx,
                         bool accumulate);

/* Sum of squares, in double, in fixed blocks (bit-stable for any thread count). */
double gr_sum_squares(int64_t count, const float *x);

#endif
