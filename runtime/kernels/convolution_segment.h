/* What the passes of the segment kernel share. Private to this room.
 *
 * In NHWC a kernel row of a window is one contiguous run of floats (a segment), so a convolution needs no
 * im2col: a tile's rows point into the photo and its terms walk along the segments (tables.h). Where windows
 * hang over the photo's edge, the lines that a chunk reads are copied once into a frame of zeros, so that no
 * tile has edges. */
#ifndef GRAFT_KERNELS_CONVOLUTION_SEGMENT_H
#define GRAFT_KERNELS_CONVOLUTION_SEGMENT_H

#include "kernels/convolution_parts.h"

/* The lines of outputs that chunks take: part of a photo's, or those of several whole photos. */
struct gr_lines {
    struct gr_axis rows, columns;
    int channels;         /* of a pixel that is read */
    int n;                /* photos */
    int photos, lines;    /* of a chunk at most; photos > 1 only with all lines */
    int parts;            /* chunks of a photo */
    bool framed;          /* chunks copy what they read */
    int before;           /* columns of zeros before the photo's */
    int frame_columns;    /* pixels of a framed row */
    int64_t frame_floats; /* of one photo's lines */
};

/* Cuts the lines so that a chunk has about `pixels` outputs and reads at most `floats`, unless a single line
 * reads more. `frame`: copy even where no window hangs over an edge. */
struct gr_lines gr_lines_cut(const struct gr_axis *rows, const struct gr_axis *columns, int channels, int n,
                             int64_t pixels, int64_t floats, bool frame);
int64_t gr_lines_chunks(const struct gr_lines *lines);
/* Floats that a chunk's frames take, with room for a vector behind the last one; 0 when nothing is framed. */
size_t gr_lines_floats(const struct gr_lines *lines);

/* What one chunk reads: the first tap of output (photo, line, column) lies at x + photo * x_photo + line *
 * x_line + column * x_pixel, and the next kernel row x_tap_row, the next kernel column x_tap floats behind.
 */
struct gr_lines_view {
    int photo, photos; /* first and count */
    int line, lines;
    const float *x;
    int64_t x_photo, x_line, x_pixel, x_tap_row, x_tap;
};
/* With a prologue the lines must be framed. */
struct gr_lines_view gr_lines_open(const struct gr_lines *lines, int64_t chunk, const float *x,
                                   const struct gr_prologue *prologue, float *frames);

/* Weights for tiles: [groups][panels of out channels][taps][in channels][width], the last panel's width
 * rounded up to whole vectors. */
size_t gr_segment_floats(int taps, int inner, int outer, int groups);
/* Where a panel begins, as floats from the group's first, and its width in memory. */
int64_t gr_segment_panel(int taps, int inner, int outer, int panel, int *width);

/* The weights' gradient, and the floats of scratch that it needs. */
void gr_segment_backward_weights(const struct gr_convolution *conv, int n, const float *x,
                                 const struct gr_prologue *prologue, const float *gy, float *gw,
                                 float *scratch);
size_t gr_segment_gradient_floats(const struct gr_convolution *conv, int n);

#endif
