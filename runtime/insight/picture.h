/* Pictures of what is inside a network, and of photos side by side. Images are planes [3,h,w] with values
 * 0..1, as users see them. */
#ifndef GRAFT_INSIGHT_PICTURE_H
#define GRAFT_INSIGHT_PICTURE_H

#include <stdint.h>

/* Puts a tile [channels,h,w] (1: grey, or 3) into the canvas [3,canvas_h,canvas_w] with its corner at row
 * `top` and column `left` (from 0), each of its pixels `scale` pixels wide. What lies outside is cut off. */
void gr_picture_paste(int canvas_h, int canvas_w, float *canvas, int channels, int h, int w,
                      const float *tile, int64_t top, int64_t left, int scale);

/* Lays a map [h,w] over an image [3,h,w]: the image in grey, and over it the colour of each value, from 0 to
 * `largest`, the more of it the larger the value; `strength` 0..1 is how much of it at most. Values below 0
 * leave the grey image. The colours are those of viridis (van der Walt and Smith 2015), whose lightness grows
 * evenly, so that they can be told apart in any kind of colour vision and in grey. */
void gr_picture_overlay(int h, int w, const float *image, const float *map, float largest, float strength,
                        float *out);

/* For maps [n,c,positions] the largest value of each, values [n,c], and its position from 0 on, at [n,c]. */
void gr_picture_peaks(int64_t n, int64_t c, int64_t positions, const float *maps, float *values, float *at);

/* Gives each of n points [n,2] (x to the right, y upwards) a cell of its own in a grid of columns x rows, as
 * near as possible to its place when the points' extent fills the grid: cells [n], from 0, row by row from
 * the top. n <= columns * rows. GR_ERROR_MEMORY; GR_ERROR_NUMBER: a point is not finite. */
int gr_picture_snap(int64_t n, const float *points, int columns, int rows, int64_t *cells);

#endif
