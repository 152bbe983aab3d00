#include "kernels/elementwise.h"

#include <string.h>

#include "base/random.h"
#include "base/threads.h"
#include "kernels/tables.h"

enum {
    SPAN = 1 << 16, /* floats in a chunk: 50 to 100 us of memory traffic */
    LINE = 16       /* floats in a cache line */
};

/* What any of these kernels works on; each uses the members that it needs. */
struct work {
    const struct gr_elementwise_kernels *kernels;
    int64_t count; /* floats or rows */
    int64_t span;  /* of which a chunk takes this many */
    const float *a, *b, *s;
    float *y, *z;
    bool accumulate, accumulate_s, stream;
    float factor;
    enum gr_activation f;
    int c, pixels;
};

struct piece {
    int64_t first, size;
};

static struct piece piece_of(const struct work *work, int64_t chunk) {
    int64_t first = chunk * work->span;
    return (struct piece){first, work->count - first < work->span ? work->count - first : work->span};
}

static void spread(struct work *work, int64_t span, void (*body)(void *context, int64_t chunk, int worker)) {
    work->kernels = gr_elementwise_kernels();
    work->span = span > 0 ? span : 1;
    if (work->count > 0)
        gr_parallel(gr_pieces(work->count, work->span), body, work);
}

static void activation_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->activation(w->f, w->factor, p.size, w->a + p.first, w->y + p.first, w->stream);
}

void gr_activation_forward(enum gr_activation f, float a, int64_t count, const float *x, float *y) {
    struct work work = {.count = count, .a = x, .y = y, .f = f, .factor = a};
    work.stream = y != x && gr_streams(count, LINE, y);
    spread(&work, SPAN, activation_chunk);
}

bool gr_activation_from_output(enum gr_activation f) {
    return f != GR_SILU && f != GR_HARDSWISH;
}

static void activation_backward_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->activation_backward(w->f, w->factor, p.size, w->a + p.first, w->b + p.first, w->y + p.first,
                                    w->accumulate, w->stream);
}

void gr_activation_backward(enum gr_activation f, float a, int64_t count, const float *kept, const float *gy,
                            float *gx, bool accumulate) {
    struct work work = {
        .count = count, .a = kept, .b = gy, .y = gx, .f = f, .factor = a, .accumulate = accumulate};
    work.stream = !accumulate && gx != gy && gx != kept && gr_streams(count, LINE, gx);
    spread(&work, SPAN, activation_backward_chunk);
}

static void add_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->add(p.size, w->a + p.first, w->b + p.first, w->y + p.first, w->stream);
}

void gr_add(int64_t count, const float *a, const float *b, float *y) {
    struct work work = {.count = count, .a = a, .b = b, .y = y};
    work.stream = y != a && y != b && gr_streams(count, LINE, y);
    spread(&work, SPAN, add_chunk);
}

void gr_accumulate(int64_t count, const float *x, float *y) {
    gr_add(count, y, x, y);
}

static void multiply_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->multiply(p.size, w->a + p.first, w->b + p.first, w->y + p.first);
}

void gr_multiply(int64_t count, const float *a, const float *b, float *y) {
    struct work work = {.count = count, .a = a, .b = b, .y = y};
    spread(&work, SPAN, multiply_chunk);
}

static void scale_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->scale(p.size, w->factor, w->a + p.first, w->y + p.first);
}

void gr_scale(int64_t count, float factor, const float *x, float *y) {
    struct work work = {.count = count, .a = x, .y = y, .factor = factor};
    spread(&work, SPAN, scale_chunk);
}

static void scale_shift_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->scale_shift(p.size, w->c, w->a + p.first * w->c, w->s, w->b, w->y + p.first * w->c,
                            w->stream);
}

void gr_scale_shift(int64_t rows, int c, const float *x, const float *scale, const float *shift, float *y) {
    struct work work = {.count = rows, .c = c, .a = x, .s = scale, .b = shift, .y = y};
    work.stream = y != x && gr_streams(rows * c, c, y);
    if (c > 0)
        spread(&work, SPAN / c, scale_shift_chunk);
}

static void channel_multiply_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    while (p.size > 0) { /* rows of one photo at a time */
        int64_t photo = p.first / w->pixels, rest = (photo + 1) * w->pixels - p.first;
        int64_t rows = p.size < rest ? p.size : rest;
        w->kernels->scale_shift(rows, w->c, w->a + p.first * w->c, w->s + photo * w->c, NULL,
                                w->y + p.first * w->c, w->stream);
        p.first += rows;
        p.size -= rows;
    }
}

void gr_channel_multiply(int n, int pixels, int c, const float *x, const float *s, float *y) {
    struct work work = {.count = (int64_t)n * pixels, .c = c, .pixels = pixels, .a = x, .s = s, .y = y};
    work.stream = y != x && gr_streams(work.count * c, c, y);
    if (c > 0)
        spread(&work, SPAN / c, channel_multiply_chunk);
}

enum { CHANNELS = 256, ROWS = 64 /* of which float sums are taken before they go into a double */ };

/* A chunk is CHANNELS channels of one photo. */
static void channel_multiply_backward_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    int64_t tiles = gr_pieces(w->c, CHANNELS), photo = chunk / tiles;
    int first = (int)(chunk % tiles) * CHANNELS, c = w->c - first < CHANNELS ? w->c - first : CHANNELS;
    const float *s = w->s + photo * w->c + first;
    double total[CHANNELS] = {0};
    (void)worker;

    for (int64_t row = 0; row < w->pixels; row += ROWS) {
        int64_t at = (photo * w->pixels + row) * w->c + first;
        float sums[CHANNELS] = {0};
        w->kernels->channel_multiply_backward(w->pixels - row < ROWS ? w->pixels - row : ROWS, c, w->c,
                                              w->a + at, s, w->b + at, w->y ? w->y + at : NULL, w->accumulate,
                                              w->z ? sums : NULL);
        for (int j = 0; j < c; j++)
            total[j] += sums[j];
    }
    float *gs = w->z ? w->z + photo * w->c + first : NULL;
    for (int j = 0; gs && j < c; j++)
        gs[j] = (float)(w->accumulate_s ? gs[j] + total[j] : total[j]);
}

void gr_channel_multiply_backward(int n, int pixels, int c, const float *x, const float *s, const float *gy,
                                  float *gx, bool accumulate_x, float *gs, bool accumulate_s) {
    struct work work = {.count = n * gr_pieces(c, CHANNELS),
                        .c = c,
                        .pixels = pixels,
                        .a = x,
                        .s = s,
                        .b = gy,
                        .y = gx,
                        .accumulate = accumulate_x,
                        .z = gs,
                        .accumulate_s = accumulate_s};
    spread(&work, 1, channel_multiply_backward_chunk);
}

/* y[photo][pixel][channel] from x[photo][channel][pixel] when f says so, else the other way. A chunk is a run
 * of rows of y in one photo. */
struct layout {
    const float *x;
    float *y;
    int rows, columns, run; /* y is [n, rows, columns] */
};

static void layout_chunk(void *context, int64_t chunk, int worker) {
    const struct layout *w = context;
    int64_t runs = gr_pieces(w->rows, w->run), photo = chunk / runs;
    int first = (int)(chunk % runs) * w->run, rows = w->rows - first < w->run ? w->rows - first : w->run;
    int64_t base = photo * w->rows * w->columns;
    (void)worker;
    gr_elementwise_kernels()->transpose(rows, w->columns, w->x + base + first, w->rows,
                                        w->y + base + (int64_t)first * w->columns, w->columns);
}

static void change_layout(int n, int rows, int columns, const float *x, float *y) {
    struct layout work = {x, y, rows, columns, 0};
    if (n == 0 || rows == 0 || columns == 0)
        return;
    work.run = columns < SPAN / 16 ? SPAN / columns : 16;
    gr_parallel(n * gr_pieces(rows, work.run), layout_chunk, &work);
}

void gr_nchw_to_nhwc(int n, int c, int pixels, const float *x, float *y) {
    change_layout(n, pixels, c, x, y);
}

void gr_nhwc_to_nchw(int n, int c, int pixels, const float *x, float *y) {
    change_layout(n, c, pixels, x, y);
}

struct channels {
    const float *x;
    float *y;
    int64_t rows, span;
    int channels, x_stride, y_stride;
    bool accumulate;
};

static void copy_channels_chunk(void *context, int64_t chunk, int worker) {
    const struct channels *w = context;
    int64_t last = (chunk + 1) * w->span < w->rows ? (chunk + 1) * w->span : w->rows;
    (void)worker;
    for (int64_t row = chunk * w->span; row < last; row++) {
        const float *x = w->x + row * w->x_stride;
        float *y = w->y + row * w->y_stride;
        if (w->accumulate)
            for (int j = 0; j < w->channels; j++)
                y[j] += x[j];
        else
            memcpy(y, x, sizeof(float) * (size_t)w->channels);
    }
}

void gr_copy_channels(int64_t rows, int channels, const float *x, int x_stride, int x_first, float *y,
                      int y_stride, int y_first, bool accumulate) {
    struct channels work = {x + x_first, y + y_first, rows, 1, channels, x_stride, y_stride, accumulate};
    if (rows == 0 || channels == 0)
        return;
    work.span = channels < SPAN ? SPAN / channels : 1;
    gr_parallel(gr_pieces(rows, work.span), copy_channels_chunk, &work);
}

static void softmax_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->softmax(p.size, w->c, w->a + p.first * w->c, w->y + p.first * w->c);
}

void gr_softmax(int64_t rows, int c, const float *x, float *y) {
    struct work work = {.count = rows, .c = c, .a = x, .y = y};
    if (c > 0)
        spread(&work, SPAN / 4 / c, softmax_chunk);
}

static void softmax_backward_chunk(void *context, int64_t chunk, int worker) {
    const struct work *w = context;
    struct piece p = piece_of(w, chunk);
    (void)worker;
    w->kernels->softmax_backward(p.size, w->c, w->a + p.first * w->c, w->b + p.first * w->c,
                                 w->y + p.first * w->c, w->accumulate);
}

void gr_softmax_backward(int64_t rows, int c, const float *y, const float *gy, float *gx, bool accumulate) {
    struct work work = {.count = rows, .c = c, .a = y, .b = gy, .y = gx, .accumulate = accumulate};
    if (c > 0)
        spread(&work, SPAN / 4 / c, softmax_backward_chunk);
}

struct dropout {
    int64_t count;
    float p, scale;
    uint64_t seed, key;
    const float *x;
    float *y;
    uint8_t *mask;
    bool accumulate;
};

enum { DROPOUT_SPAN = 4096 /* elements of one random stream; part of every result */ };

static void dropout_chunk(void *context, int64_t chunk, int worker) {
    const struct dropout *w = context;
    int64_t first = chunk * DROPOUT_SPAN,
            last = first + DROPOUT_SPAN < w->count ? first + DROPOUT_SPAN : w->count;
    struct gr_random random = gr_random(w->seed, GR_RANDOM_DROPOUT, w->key, (uint64_t)chunk, 0);
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        w->mask[i] = gr_random_uniform(&random) >= w->p;
        w->y[i] = w->mask[i] ? w->x[i] * w->scale : 0;
    }
}

void gr_dropout_forward(int64_t count, float p, const uint32_t key[4], const float *x, float *y,
                        uint8_t *mask) {
    struct dropout work = {.count = count,
                           .p = p,
                           .scale = p < 1 ? 1 / (1 - p) : 0,
                           .seed = (uint64_t)key[1] << 32 | key[0],
                           .key = (uint64_t)key[3] << 32 | key[2],
                           .x = x,
                           .y = y,
                           .mask = mask};
    if (count > 0)
        gr_parallel(gr_pieces(count, DROPOUT_SPAN), dropout_chunk, &work);
}

static void dropout_backward_chunk(void *context, int64_t chunk, int worker) {
    const struct dropout *w = context;
    int64_t first = chunk * SPAN, last = first + SPAN < w->count ? first + SPAN : w->count;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        float g = w->mask[i] ? w->x[i] * w->scale : 0;
        w->y[i] = w->accumulate ? w->y[i] + g : g;
    }
}

void gr_dropout_backward(int64_t count, float p, const uint8_t *mask, const float *gy, float *gx,
                         bool accumulate) {
    struct dropout work = {.count = count,
                           .scale = p < 1 ? 1 / (1 - p) : 0,
                           .x = gy,
                           .y = gx,
                           .mask = (uint8_t *)mask, /* only read here */
                           .accumulate = accumulate};
    if (count > 0)
        gr_parallel(gr_pieces(count, SPAN), dropout_backward_chunk, &work);
}

enum { PARTIAL_SUMS = 256 };

struct squares {
    const struct gr_elementwise_kernels *kernels;
    int64_t count, span;
    const float *x;
    double sums[PARTIAL_SUMS];
};

static void squares_chunk(void *context, int64_t chunk, int worker) {
    struct squares *w = context;
    int64_t first = chunk * w->span, size = w->count - first < w->span ? w->count - first : w->span;
    (void)worker;
    w->sums[chunk] = w->kernels->sum_squares(size, w->x + first);
}

double gr_sum_squares(int64_t count, const float *x) {
    struct squares work = {.kernels = gr_elementwise_kernels(), .count = count, .x = x};
    double total = 0;
    if (count <= 0)
        return 0;
    work.span = gr_pieces(count, PARTIAL_SUMS) > SPAN ? gr_pieces(count, PARTIAL_SUMS) : SPAN;
    int64_t chunks = gr_pieces(count, work.span);
    gr_parallel(chunks, squares_chunk, &work);
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        total += work.sums[chunk];
    return total;
}
