/* Pictures as text, for a terminal: two pixels a character, one above the other, since a character is about
 * twice as high as wide. */
#ifndef GRAFT_DATA_BLOCKS_H
#define GRAFT_DATA_BLOCKS_H

#include "base/text.h"
#include "data/image.h"

enum gr_palette {
    GR_PALETTE_24BIT, /* half blocks in the colours of the pixels */
    GR_PALETTE_256,   /* half blocks in the nearest of xterm's 256 colours */
    GR_PALETTE_DARK,  /* no colour: characters as dense as the pixels are bright, for light text on dark */
    GR_PALETTE_LIGHT, /* the reverse, for dark text on light */
};

/* The size in pixels at which a picture of w x h fits into so many columns and lines without losing its
 * ratio. */
void gr_blocks_fit(int w, int h, int columns, int lines, int *fit_w, int *fit_h);

/* Adds the picture, each pixel once, with a line end after each line. */
int gr_blocks(struct gr_text *text, const struct gr_image *image, enum gr_palette palette);

/* The same for a grid of `count` tiles of this size, from left to right and top to bottom: they are set apart
 * by what the terminal has as its background. */
int gr_blocks_tiles(struct gr_text *text, const struct gr_image *image, enum gr_palette palette, int count,
                    int tile_w, int tile_h);

/* A grid of maps[count, h, w] in shades of grey, black for `low` and below, white for `high` and above; what
 * is not a number is black. Each is drawn in tile_w x tile_h pixels: by the mean where it is larger, by the
 * nearest where it is smaller. *out is the caller's. */
int gr_blocks_maps(struct gr_image *out, const float *maps, int count, int h, int w, float low, float high,
                   int across, int tile_w, int tile_h);

#endif
