/* Pictures as text. */
#include "data/blocks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static const char HALF_BLOCK[] = "\xe2\x96\x80"; /* the upper half in the foreground's colour */

void gr_blocks_fit(int w, int h, int columns, int lines, int *fit_w, int *fit_h) {
    double scale = (double)columns / w, other = 2.0 * lines / h;
    scale = scale < other ? scale : other;
    *fit_w = (int)lrint(w * scale);
    *fit_h = (int)lrint(h * scale);
    *fit_w = *fit_w < 1 ? 1 : *fit_w > columns ? columns : *fit_w;
    *fit_h = *fit_h < 1 ? 1 : *fit_h > 2 * lines ? 2 * lines : *fit_h;
}

/* ---- colours ---- */

/* The step of xterm's cube that is nearest: 0, 95, 135, 175, 215 or 255. */
static int cube_step(int value) {
    return value < 48 ? 0 : value < 115 ? 1 : (value - 35) / 40;
}

static int distance(const uint8_t *rgb, int r, int g, int b) {
    return (rgb[0] - r) * (rgb[0] - r) + (rgb[1] - g) * (rgb[1] - g) + (rgb[2] - b) * (rgb[2] - b);
}

static int nearest_256(const uint8_t *rgb) {
    static const int steps[] = {0, 95, 135, 175, 215, 255};
    int r = cube_step(rgb[0]), g = cube_step(rgb[1]), b = cube_step(rgb[2]);
    int mean = (rgb[0] + rgb[1] + rgb[2]) / 3;
    int grey = mean < 3 ? 0 : mean > 238 ? 23 : (mean - 3) / 10, shade = 8 + 10 * grey;
    if (distance(rgb, shade, shade, shade) < distance(rgb, steps[r], steps[g], steps[b]))
        return 232 + grey;
    return 16 + 36 * r + 6 * g + b;
}

/* What the terminal was told last: a colour is set again only when it changes. */
struct pen {
    enum gr_palette palette;
    int fore, back; /* -1: the terminal's own */
};

static int colour_of(const struct pen *pen, const uint8_t *rgb) {
    return pen->palette == GR_PALETTE_256 ? nearest_256(rgb) : rgb[0] << 16 | rgb[1] << 8 | rgb[2];
}

static void set_colour(struct gr_text *text, const struct pen *pen, int which, int colour) {
    if (pen->palette == GR_PALETTE_256)
        gr_text_add(text, "\x1b[%d;5;%dm", which, colour);
    else
        gr_text_add(text, "\x1b[%d;2;%d;%d;%dm", which, colour >> 16, colour >> 8 & 255, colour & 255);
}

static void plain(struct gr_text *text, struct pen *pen) {
    if (pen->fore >= 0 || pen->back >= 0)
        gr_text_add(text, "\x1b[0m");
    pen->fore = pen->back = -1;
}

/* ---- characters ---- */

/* The two pixels of one character; `lower` is NULL where there is none. */
static void add_block(struct gr_text *text, struct pen *pen, const uint8_t *upper, const uint8_t *lower) {
    int fore = colour_of(pen, upper), back = lower ? colour_of(pen, lower) : -1;
    if (back < 0 && pen->back >= 0)
        plain(text, pen);
    if (fore != pen->fore)
        set_colour(text, pen, 38, fore);
    if (back >= 0 && back != pen->back)
        set_colour(text, pen, 48, back);
    pen->fore = fore;
    pen->back = back;
    gr_text_add(text, "%s", HALF_BLOCK);
}

static int brightness(const uint8_t *rgb) /* 0..2550: tenths of the luminance */
{
    return 3 * rgb[0] + 6 * rgb[1] + rgb[2];
}

static void add_character(struct gr_text *text, const struct pen *pen, const uint8_t *upper,
                          const uint8_t *lower) {
    static const char ramp[] = " .:-=+*#%@";
    int light = (brightness(upper) + brightness(lower ? lower : upper)) / 2;
    int step = light * 9 / 2550;
    gr_text_add(text, "%c", ramp[pen->palette == GR_PALETTE_LIGHT ? 9 - step : step]);
}

/* One line of text: the first `width` pixels of row `y` and, unless it is `end`, of row y + 1. */
static void add_line(struct gr_text *text, const struct gr_image *image, enum gr_palette palette, int width,
                     int y, int end, int tile_w) {
    struct pen pen = {palette, -1, -1};
    for (int x = 0; x < width; x++) {
        const uint8_t *upper = image->pixels + ((size_t)y * (size_t)image->w + (size_t)x) * 3;
        const uint8_t *lower = y + 1 < end ? upper + (size_t)image->w * 3 : NULL;
        if (x > 0 && x % tile_w == 0) {
            plain(text, &pen);
            gr_text_add(text, " ");
        }
        if (palette == GR_PALETTE_24BIT || palette == GR_PALETTE_256)
            add_block(text, &pen, upper, lower);
        else
            add_character(text, &pen, upper, lower);
    }
    plain(text, &pen);
    gr_text_add(text, "\n");
}

int gr_blocks(struct gr_text *text, const struct gr_image *image, enum gr_palette palette) {
    return gr_blocks_tiles(text, image, palette, 1, image->w, image->h);
}

int gr_blocks_tiles(struct gr_text *text, const struct gr_image *image, enum gr_palette palette, int count,
                    int tile_w, int tile_h) {
    int across = image->w / tile_w;
    bool colour = palette == GR_PALETTE_24BIT || palette == GR_PALETTE_256;
    for (int first = 0, top = 0; first < count; first += across, top += tile_h) {
        int tiles = count - first < across ? count - first : across;
        if (first > 0 && !(colour && tile_h % 2)) /* an odd height leaves half a line free by itself */
            gr_text_add(text, "\n");
        for (int y = top; y < top + tile_h; y += 2)
            add_line(text, image, palette, tiles * tile_w, y, top + tile_h, tile_w);
    }
    return gr_text_status(text);
}

/* ---- maps ---- */

/* The elements of n that element `i` of `tiles` shows. */
static void span(int i, int tiles, int n, int *first, int *last) {
    *first = (int)((int64_t)i * n / tiles);
    *last = tiles >= n ? *first : (int)((int64_t)(i + 1) * n / tiles) - 1;
}

static float mean_of(const float *map, int w, int y0, int y1, int x0, int x1) {
    float sum = 0;
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            sum += map[(size_t)y * (size_t)w + (size_t)x];
    return sum / (float)((y1 - y0 + 1) * (x1 - x0 + 1));
}

int gr_blocks_maps(struct gr_image *out, const float *maps, int count, int h, int w, float low, float high,
                   int across, int tile_w, int tile_h) {
    int down = (count + across - 1) / across;
    float scale = high > low ? 255 / (high - low) : 0;
    GR_TRY(gr_image_create(out, across * tile_w, down * tile_h));
    memset(out->pixels, 0, (size_t)out->w * (size_t)out->h * 3);
    for (int i = 0; i < count; i++) {
        const float *map = maps + (size_t)i * (size_t)h * (size_t)w;
        for (int y = 0; y < tile_h; y++) {
            for (int x = 0; x < tile_w; x++) {
                int x0, x1, y0, y1;
                span(x, tile_w, w, &x0, &x1);
                span(y, tile_h, h, &y0, &y1);
                float shade = (mean_of(map, w, y0, y1, x0, x1) - low) * scale;
                size_t row = (size_t)(i / across * tile_h + y), column = (size_t)(i % across * tile_w + x);
                memset(out->pixels + (row * (size_t)out->w + column) * 3,
                       shade >= 255 ? 255
                       : shade > 0  ? (int)(shade + 0.5f)
                                    : 0,
                       3);
            }
        }
    }
    return GR_OK;
}
