/* Composing pictures: pasting, colouring, and places that do not hide each other. */
#include "insight/picture.h"

#include "base/memory.h"
#include "base/status.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

void gr_picture_paste(int canvas_h, int canvas_w, float *canvas, int channels, int h, int w,
                      const float *tile, int64_t top, int64_t left, int scale) {
    int64_t first_i = top < 0 ? -top : 0, first_j = left < 0 ? -left : 0;
    int64_t last_i = (int64_t)h * scale, last_j = (int64_t)w * scale;
    last_i = top + last_i > canvas_h ? canvas_h - top : last_i;
    last_j = left + last_j > canvas_w ? canvas_w - left : last_j;
    for (int c = 0; c < 3; c++) {
        const float *from = tile + (channels == 3 ? (int64_t)c * h * w : 0);
        for (int64_t i = first_i; i < last_i; i++)
            for (int64_t j = first_j; j < last_j; j++)
                canvas[((int64_t)c * canvas_h + top + i) * canvas_w + left + j] =
                    from[i / scale * w + j / scale];
    }
}

/* viridis at ten even steps. */
static const uint8_t viridis[10][3] = {{68, 1, 84},    {72, 40, 120},  {62, 73, 137},  {49, 104, 142},
                                       {38, 130, 142}, {31, 158, 137}, {53, 183, 121}, {110, 206, 88},
                                       {181, 222, 43}, {253, 231, 37}};

static float colour(float value, int channel) {
    float at = value * 9;
    int step = at < 8 ? (int)at : 8;
    float share = at - (float)step;
    return ((float)viridis[step][channel] * (1 - share) + (float)viridis[step + 1][channel] * share) / 255;
}

void gr_picture_overlay(int h, int w, const float *image, const float *map, float largest, float strength,
                        float *out) {
    int64_t pixels = (int64_t)h * w;
    for (int64_t i = 0; i < pixels; i++) {
        /* the luma of Rec. 601 */
        float grey = 0.299F * image[i] + 0.587F * image[pixels + i] + 0.114F * image[2 * pixels + i];
        float value = largest > 0 && map[i] > 0 ? map[i] / largest : 0;
        value = value > 1 ? 1 : value;
        float share = strength * sqrtf(value);
        for (int c = 0; c < 3; c++)
            out[c * pixels + i] = grey * (1 - share) + colour(value, c) * share;
    }
}

void gr_picture_peaks(int64_t n, int64_t c, int64_t positions, const float *maps, float *values, float *at) {
    for (int64_t i = 0; i < n * c; i++) {
        const float *map = maps + i * positions;
        int64_t best = 0;
        for (int64_t j = 1; j < positions; j++)
            if (map[j] > map[best])
                best = j;
        values[i] = map[best];
        at[i] = (float)best;
    }
}

/* ---- cells ---- */

struct place {
    double x, y; /* in cells */
};

/* The free cell nearest to a place, looked for in growing squares about it. */
static int64_t nearest_free(const bool *taken, int columns, int rows, struct place at) {
    int64_t best = -1;
    double least = INFINITY;
    int row = (int)at.y, column = (int)at.x, most = columns > rows ? columns : rows;
    for (int ring = 0; ring <= most; ring++) {
        /* whatever lies in this ring or further out is at least this far away */
        if (best >= 0 && ring - 1.0 > 0 && (ring - 1.0) * (ring - 1.0) > least)
            break;
        for (int i = row - ring; i <= row + ring; i++)
            for (int j = column - ring; j <= column + ring; j++) {
                bool edge = abs(i - row) == ring || abs(j - column) == ring;
                if (!edge || i < 0 || i >= rows || j < 0 || j >= columns)
                    continue;
                double dx = j + 0.5 - at.x, dy = i + 0.5 - at.y, far = dx * dx + dy * dy;
                if (!taken[(int64_t)i * columns + j] && far < least) {
                    least = far;
                    best = (int64_t)i * columns + j;
                }
            }
    }
    return best;
}

int gr_picture_snap(int64_t n, const float *points, int columns, int rows, int64_t *cells) {
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    if (n > (int64_t)columns * rows)
        return gr_fail(GR_ERROR_LIMIT, "%lld pictures do not fit %d x %d places", (long long)n, columns,
                       rows);
    for (int64_t i = 0; i < 2 * n; i++) {
        if (!isfinite(points[i]))
            return gr_fail(GR_ERROR_NUMBER, "a point of the map is not a finite number");
        low[i % 2] = points[i] < low[i % 2] ? points[i] : low[i % 2];
        high[i % 2] = points[i] > high[i % 2] ? points[i] : high[i % 2];
    }
    bool *taken = gr_calloc((size_t)columns * (size_t)rows, sizeof *taken);
    if (!taken)
        return GR_ERROR_MEMORY;
    for (int64_t i = 0; i < n; i++) {
        double wide = high[0] - low[0], tall = high[1] - low[1];
        struct place at = {0.5 * columns, 0.5 * rows};
        if (wide > 0)
            at.x = 0.5 + (points[2 * i] - low[0]) / wide * (columns - 1);
        if (tall > 0)
            at.y = 0.5 + (high[1] - points[2 * i + 1]) / tall * (rows - 1);
        cells[i] = nearest_free(taken, columns, rows, at);
        taken[cells[i]] = true;
    }
    gr_free(taken);
    return GR_OK;
}
