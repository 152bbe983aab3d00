/* What the passes of the Winograd kernel share; see convolution_winograd.c. Private to this room. */
#ifndef GRAFT_KERNELS_CONVOLUTION_WINOGRAD_H
#define GRAFT_KERNELS_CONVOLUTION_WINOGRAD_H

#include "kernels/convolution_parts.h"
#include "kernels/tables.h"

enum {
    GR_WINOGRAD_POINTS = 36,
    GR_WINOGRAD_SIDE = 4,               /* of a tile of outputs */
    GR_WINOGRAD_BATCH_FLOATS = 5 << 18, /* of the planes of both sides in a batch of tiles */
    GR_WINOGRAD_LEAST_TILES = 96,       /* in a batch: below, making U would be felt */
    GR_WINOGRAD_TILES = 8,              /* transformed by a chunk */
    GR_WINOGRAD_BLOCK = 128,            /* inner channels whose taps and U stay in the second cache */
};

/* The inputs of a pass, and the tiles that its outputs (or their gradient) are cut into. */
struct gr_winograd {
    const struct gr_convolution *conv;
    const float *x;
    const struct gr_prologue *prologue;
    int rows, columns; /* tiles of a photo */
    int64_t tiles;     /* of all photos */
};
struct gr_winograd gr_winograd_of(const struct gr_convolution *conv, int n, const float *x,
                                  const struct gr_prologue *prologue);

/* Where a tile's photo and its outputs begin. */
struct gr_winograd_place {
    int64_t photo;
    int row, column;
};
struct gr_winograd_place gr_winograd_place(const struct gr_winograd *w, int64_t tile);

/* The transforms of some tiles: channel c of tile i at point e is at[e * plane + c / P * panel + i * row + c
 * % P] with P = GR_WINOGRAD_PANEL. Either all channels of a tile lie side by side, or the panels of P
 * channels lie `apart`, so that whoever walks over tiles (the weights' gradient) finds them close by, however
 * many channels there are. */
struct gr_winograd_planes {
    float *at;
    int row;
    int64_t panel, plane;
};
struct gr_winograd_planes gr_winograd_planes(int tiles, int channels, bool apart); /* at is NULL */
size_t gr_winograd_floats(const struct gr_winograd_planes *planes);

/* From a plane's begin to channel c of its first tile. */
static inline int64_t gr_winograd_at(const struct gr_winograd_planes *planes, int c) {
    return c / GR_WINOGRAD_PANEL * planes->panel + c % GR_WINOGRAD_PANEL;
}

/* The next `floats` of scratch, up to a whole line; NULL where there is no scratch yet and sizes alone are
 * asked for. */
float *gr_winograd_take(float *scratch, size_t *used, size_t floats);

/* v[to - from tiles] = B^T x B of tiles from..to-1. */
void gr_winograd_inputs(const struct gr_winograd *w, int64_t from, int64_t to,
                        const struct gr_winograd_planes *v, int at);

/* Asks memory for the 4x4 pixels of a photo from (row, column) on, and for those that tiles from..to-1 read
 * of x and the ones above and to the left of them did not. */
void gr_winograd_fetch(int h, int w, int c, const float *photo, int row, int column);
void gr_winograd_fetch_inputs(const struct gr_winograd *w, int64_t from, int64_t to);

/* Rows of a tile of products; the pointers behind the last one stay inside. */
void gr_winograd_rows(struct gr_tile *tile, int count, const float *x, int64_t x_row, float *y,
                      int64_t y_row);

/* y_e = x_e u for tiles from..to-1 and outer channels first..first+width-1, u[length][width]; `c`: the first
 * one of the inner channels, a multiple of the panel. From the second ones on it is added. */
struct gr_winograd_block {
    int e, from, to, c, length, first, width;
    const float *u;
};
void gr_winograd_multiply(const struct gr_winograd_planes *x, const struct gr_winograd_planes *y,
                          const struct gr_winograd_block *block);

/* y = x U for all points of a batch of tiles, where U is made of the packed taps on the way; with `back`, y =
 * x U^T. `workers`: gr_winograd_worker_floats() for each thread. */
struct gr_winograd_products {
    const struct gr_convolution *conv;
    const float *packed;
    bool back;
    struct gr_winograd_planes x, y;
    float *workers;
    int count; /* tiles */
    int run, splits, rows_each;
};
void gr_winograd_products(struct gr_winograd_products *p);
size_t gr_winograd_worker_floats(bool back);

/* taps[length][9][width], those of outputs k..k+length-1 and inputs first..first+width-1, from the packed
 * ones; k is a multiple of GR_WINOGRAD_BLOCK, and length at most that. */
const float *gr_winograd_turned(const struct gr_convolution *conv, const float *packed, int first, int width,
                                int k, int length, float *taps);

/* Floats of the packed weights, and of as many gradients: [panels of k][C][9][width]. */
size_t gr_winograd_packed(const struct gr_convolution *conv);
int gr_winograd_width(void); /* of a panel */
int gr_winograd_panel_width(int outer, int first);

void gr_winograd_backward(const struct gr_convolution *conv, int n, const float *x,
                          const struct gr_prologue *prologue, const float *gy, const float *packed, float *gx,
                          bool accumulate, float *gw, float *scratch);
size_t gr_winograd_backward_floats(const struct gr_convolution *conv, int n);

#endif
