/* bfloat16: the upper half of a float32, 8 bits of precision with the same exponents. */
#ifndef GRAFT_KERNELS_BFLOAT16_H
#define GRAFT_KERNELS_BFLOAT16_H

#include "kernels/kernels.h"

/* y = x rounded to the nearest bfloat16, to even between two; NaN stays NaN. The arrays do not overlap. */
void gr_bfloat16_store(int64_t count, const float *x, uint16_t *y);

/* The same for rows of c channels of which only f(x * scale[c] + shift[c]) and its derivative will be
 * computed again, f one of gr_activation_simple. Where rounding to the nearest would carry a number over one
 * of f's corners, it is rounded the other way instead, so that the derivative is that of the float32 number.
 */
void gr_bfloat16_store_for(const struct gr_prologue *reader, int64_t rows, int c, const float *x,
                           uint16_t *y);

/* y = x, exactly. x may lie in y's own memory, in its upper half: at y + count/2 floats or behind that. */
void gr_bfloat16_load(int64_t count, const uint16_t *x, float *y);

#endif
