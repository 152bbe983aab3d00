/* Points in a plane: all pairs push each other away, some pull. */
#ifndef GRAFT_KERNELS_POINTS_H
#define GRAFT_KERNELS_POINTS_H

#include "kernels/kernels.h"

/* Arrays of coordinates have room for a multiple of so many; what is beyond the last point lies far away
 * (1e12, where its square and that of a point can be multiplied) and weighs nothing. Pairs come in
 * multiples of so many too. */
enum { GR_POINTS_PITCH = 32, GR_POINTS_PAIRS = 16 };

/* force[i] = sum over j of w^2 (p_i - p_j), as [n,2], and weight[i] = sum over j != i of w, where w = 1 / (1
 * + |p_i - p_j|^2): the repulsion of t-SNE before it is divided by the sum of all weights (van der Maaten and
 * Hinton 2008). x and y [pitch]. */
void gr_points_repel(int64_t n, int64_t pitch, const float *x, const float *y, float *force, float *weight);

/* force[i] = sum over the pairs k of point i of near[k] w (p_i - p_to[k]), as [n,2]: ends[i - 1]..ends[i],
 * from 0 for the first; a multiple of GR_POINTS_PAIRS, filled up with near = 0. */
void gr_points_attract(int64_t n, const int64_t *ends, const int32_t *to, const float *near, const float *x,
                       const float *y, float *force);

#endif
