/* Photos as planes of floats: what a person reckons with. */
#ifndef GRAFT_DATA_FLOATS_H
#define GRAFT_DATA_FLOATS_H

#include "data/image.h"

/* The pixels as numbers 0..1 into planes[3, h, w]. */
void gr_image_to_planes(const struct gr_image *image, float *planes);
/* A new image of planes[channels, h, w], channels 3 or 1 (grey); values are cut to 0..1, not a number becomes
 * 0. *out is the caller's. GR_ERROR_LIMIT above the limits of gr_image_create. */
int gr_image_from_planes(struct gr_image *out, int channels, int w, int h, const float *planes);

#endif
