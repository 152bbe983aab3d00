/* Two passes of weighted sums in fixed point: 22 bits of fraction, 32-bit sums, as Pillow computes them, so
 * that networks see the pixels that they were trained on. Integer sums have one result whatever the vector
 * width, so the AVX2 copies of the loops change no bits. */
#include "data/resize.h"

#include "base/memory.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

/* A side of the whole result; only the window is ever made, and that keeps to the limits of an image. */
enum { MAX_RESULT = 1 << 24 };

enum { FRACTION = 22, HALF = 1 << (FRACTION - 1), PIECE = 48 };

typedef int32_t sum4 __attribute__((vector_size(16)));

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2")))
#endif
#define INLINE static inline __attribute__((always_inline))

/* How each pixel of one side of the result is summed up. */
struct filter {
    int count, taps; /* pixels; room for weights of each */
    int *first, *used;
    int32_t *weights; /* [count][taps] */
};

static double bilinear(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static void filter_free(struct filter *filter) {
    gr_free(filter->first);
    gr_free(filter->weights);
    *filter = (struct filter){0};
}

/* Weights for the pixels `from` .. `from` + `count` of a result of `out` pixels, made of low..high of `in`.
 */
static int filter_make(struct filter *filter, int in, float low, float high, int out, int from, int count,
                       enum gr_interpolation interpolation) {
    double (*shape)(double) = interpolation == GR_BICUBIC ? bicubic : bilinear;
    double step = (double)(high - low) / out, widen = step < 1 ? 1 : step, narrow = 1 / widen;
    double support = (interpolation == GR_BICUBIC ? 2.0 : 1.0) * widen;
    int taps = (int)ceil(support) * 2 + 1;
    *filter = (struct filter){.count = count, .taps = taps};
    filter->first = gr_calloc((size_t)count * 2, sizeof *filter->first);
    filter->weights = gr_calloc((size_t)count * (size_t)taps, sizeof *filter->weights);
    double *row = gr_calloc((size_t)taps, sizeof *row);
    int status = filter->first && filter->weights && row ? GR_OK : GR_ERROR_MEMORY;
    filter->used = filter->first ? filter->first + count : NULL;
    for (int i = 0; !status && i < count; i++) {
        double centre = low + (i + from + 0.5) * step;
        int first = (int)(centre - support + 0.5), last = (int)(centre + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > in ? in : last;
        double sum = 0;
        for (int k = 0; k < last - first; k++)
            sum += row[k] = shape((k + first - centre + 0.5) * narrow);
        for (int k = 0; k < last - first; k++) {
            double weight = (sum != 0 ? row[k] / sum : row[k]) * (1 << FRACTION);
            filter->weights[(size_t)i * (size_t)taps + (size_t)k] =
                (int32_t)(weight < 0 ? weight - 0.5 : weight + 0.5);
        }
        filter->first[i] = first;
        filter->used[i] = last - first;
    }
    gr_free(row);
    if (status)
        filter_free(filter);
    return status;
}

INLINE uint8_t to_byte(int32_t sum) {
    sum >>= FRACTION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* One row: `source` has a readable byte behind its last pixel. Four sums at once: R, G, B and one for nobody.
 */
INLINE void across_row(const struct filter *filter, const uint8_t *source, uint8_t *to) {
    for (int x = 0; x < filter->count; x++, to += 3) {
        const int32_t *weights = filter->weights + (size_t)x * (size_t)filter->taps;
        const uint8_t *p = source + (size_t)filter->first[x] * 3;
        sum4 sum = {HALF, HALF, HALF, 0};
        for (int k = 0; k < filter->used[x]; k++, p += 3)
            sum += (sum4){p[0], p[1], p[2], p[3]} * weights[k];
        to[0] = to_byte(sum[0]);
        to[1] = to_byte(sum[1]);
        to[2] = to_byte(sum[2]);
    }
}

/* One row of the result from `used` rows that lie `stride` bytes apart. */
INLINE void down_row(const int32_t *weights, int used, const uint8_t *source, size_t stride, size_t bytes,
                     uint8_t *to) {
    size_t x = 0;
    for (; x + PIECE <= bytes; x += PIECE) {
        int32_t sums[PIECE];
        for (int i = 0; i < PIECE; i++)
            sums[i] = HALF;
        for (int k = 0; k < used; k++)
            for (int i = 0; i < PIECE; i++)
                sums[i] += source[(size_t)k * stride + x + (size_t)i] * weights[k];
        for (int i = 0; i < PIECE; i++)
            to[x + (size_t)i] = to_byte(sums[i]);
    }
    for (; x < bytes; x++) {
        int32_t sum = HALF;
        for (int k = 0; k < used; k++)
            sum += source[(size_t)k * stride + x] * weights[k];
        to[x] = to_byte(sum);
    }
}

static void across_plain(const struct filter *filter, const uint8_t *source, uint8_t *to) {
    across_row(filter, source, to);
}

static void down_plain(const int32_t *weights, int used, const uint8_t *source, size_t stride, size_t bytes,
                       uint8_t *to) {
    down_row(weights, used, source, stride, bytes, to);
}

#ifdef WITH_AVX2
WITH_AVX2 static void across_avx2(const struct filter *filter, const uint8_t *source, uint8_t *to) {
    across_row(filter, source, to);
}

WITH_AVX2 static void down_avx2(const int32_t *weights, int used, const uint8_t *source, size_t stride,
                                size_t bytes, uint8_t *to) {
    down_row(weights, used, source, stride, bytes, to);
}
#endif

struct passes {
    void (*across)(const struct filter *filter, const uint8_t *source, uint8_t *to);
    void (*down)(const int32_t *weights, int used, const uint8_t *source, size_t stride, size_t bytes,
                 uint8_t *to);
};

static struct passes choose_passes(void) {
#ifdef WITH_AVX2
    if (__builtin_cpu_supports("avx2"))
        return (struct passes){across_avx2, down_avx2};
#endif
    return (struct passes){across_plain, down_plain};
}

/* Both passes. `rows` holds what the first one leaves: rows first..last of the source, as wide as the result.
 */
static int run(const struct gr_image *source, struct gr_image *out, const struct filter *across,
               const struct filter *down) {
    struct passes passes = choose_passes();
    int first = down->first[0], last = first;
    for (int y = 0; y < down->count; y++)
        last = down->first[y] + down->used[y] > last ? down->first[y] + down->used[y] : last;
    size_t in_bytes = (size_t)source->w * 3, bytes = (size_t)out->w * 3;
    uint8_t *line =
        gr_alloc(in_bytes + 1); /* one row and the byte that the last pixel's sum reads too much */
    uint8_t *rows = gr_alloc((size_t)(last - first) * bytes);
    int status = line && rows ? GR_OK : GR_ERROR_MEMORY;
    for (int y = first; !status && y < last; y++) {
        memcpy(line, source->pixels + (size_t)y * in_bytes, in_bytes);
        line[in_bytes] = 0;
        passes.across(across, line, rows + (size_t)(y - first) * bytes);
    }
    for (int y = 0; !status && y < down->count; y++)
        passes.down(down->weights + (size_t)y * (size_t)down->taps, down->used[y],
                    rows + (size_t)(down->first[y] - first) * bytes, bytes, bytes,
                    out->pixels + (size_t)y * bytes);
    gr_free(line);
    gr_free(rows);
    return status;
}

int gr_resize(struct gr_image *out, const struct gr_image *source, int w, int h,
              enum gr_interpolation interpolation, const struct gr_box *box, const struct gr_window *window) {
    struct gr_box all = {0, 0, (float)source->w, (float)source->h};
    struct gr_window whole = {0, 0, w, h};
    struct filter across = {0}, down = {0};
    *out = (struct gr_image){0};
    box = box ? box : &all;
    window = window ? window : &whole;
    if (w < 1 || h < 1 || w > MAX_RESULT || h > MAX_RESULT)
        return gr_fail(GR_ERROR_OPTION, "an image is resized to 1 to %d pixels a side, not %dx%d", MAX_RESULT,
                       w, h);
    if (!(box->left >= 0 && box->top >= 0 && box->right <= all.right && box->bottom <= all.bottom &&
          box->left < box->right && box->top < box->bottom))
        return gr_fail(GR_ERROR_OPTION, "the box %g,%g to %g,%g does not lie inside %dx%d pixels",
                       (double)box->left, (double)box->top, (double)box->right, (double)box->bottom,
                       source->w, source->h);
    if (window->x < 0 || window->y < 0 || window->w < 1 || window->h < 1 || window->w > w - window->x ||
        window->h > h - window->y)
        return gr_fail(GR_ERROR_OPTION, "the window %dx%d at %d,%d does not lie inside %dx%d pixels",
                       window->w, window->h, window->x, window->y, w, h);
    int status = gr_image_create(out, window->w, window->h);
    if (!status)
        status =
            filter_make(&across, source->w, box->left, box->right, w, window->x, window->w, interpolation);
    if (!status)
        status = filter_make(&down, source->h, box->top, box->bottom, h, window->y, window->h, interpolation);
    if (!status)
        status = run(source, out, &across, &down);
    filter_free(&across);
    filter_free(&down);
    if (status)
        gr_image_free(out);
    return status;
}

void gr_resize_fit(int w, int h, int side, int *fit_w, int *fit_h) {
    double scale = (double)side / (w > h ? w : h);
    *fit_w = (int)lrint(w * scale);
    *fit_h = (int)lrint(h * scale);
    *fit_w = *fit_w < 1 ? 1 : *fit_w;
    *fit_h = *fit_h < 1 ? 1 : *fit_h;
}
