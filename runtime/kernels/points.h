/* Points in a plane that push each other away, all pairs of them. */
#ifndef GRAFT_KERNELS_POINTS_H
#define GRAFT_KERNELS_POINTS_H

#include "kernels/kernels.h"

/* Arrays of coordinates have room for a multiple of so many; what is beyond the last point lies far away
 * (1e18), where it weighs nothing. */
enum { GR_POINTS_PITCH = 32 };

/* force[i] = sum over j of w^2 (p_i - p_j), as [n,2], and weight[i] = sum over j != i of w, where w = 1 / (1
 * + |p_i - p_j|^2): the repulsion of t-SNE before it is divided by the sum of all weights (van der Maaten and
 * Hinton 2008). x and y [pitch]. */
void gr_points_repel(int64_t n, int64_t pitch, const float *x, const float *y, float *force, float *weight);

#endif
