#include "kernels/pool.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/tables.h"

/* Forward, a chunk is one row of outputs; backward, one row of inputs, which gathers from the windows that
 * cover it: so no two chunks write the same place. */

struct pooling {
    const struct gr_pool_kernels *kernels;
    const struct gr_pooling *pool;
    const float *x, *gy;
    float *y, *gx;
    uint8_t *argmax_out;
    const uint8_t *argmax;
    bool average, accumulate, stream;
};

enum { SOURCES = 16 /* windows that are added at a time */ };

struct range {
    int first, size; /* input positions */
};

/* The part of output i's window that lies in the photo. */
static struct range window_of(int i, int stride, int before, int kernel, int size) {
    int first = i * stride - before, last = first + kernel;
    first = first > 0 ? first : 0;
    last = last < size ? last : size;
    return (struct range){first, last > first ? last - first : 0};
}

/* The outputs whose windows hold input position i. */
static struct range cover_of(int i, int stride, int before, int kernel, int outputs) {
    int last = (i + before) / stride, first = i + before - kernel + 1;
    first = first > 0 ? (first + stride - 1) / stride : 0;
    last = last < outputs - 1 ? last : outputs - 1;
    return (struct range){first, last >= first ? last - first + 1 : 0};
}

/* 1 / the number of pixels that output (oh, ow) averages. */
static float divisor(const struct gr_pooling *p, int oh, int ow) {
    int rows, columns;
    if (p->count_padding) {
        int bottom = oh * p->sh - p->top + p->kh, right = ow * p->sw - p->left + p->kw;
        rows = (bottom < p->h + p->bottom ? bottom : p->h + p->bottom) - (oh * p->sh - p->top);
        columns = (right < p->w + p->right ? right : p->w + p->right) - (ow * p->sw - p->left);
    } else {
        rows = window_of(oh, p->sh, p->top, p->kh, p->h).size;
        columns = window_of(ow, p->sw, p->left, p->kw, p->w).size;
    }
    return rows > 0 && columns > 0 ? 1.0f / ((float)rows * (float)columns) : 0;
}

static void forward_row(void *context, int64_t chunk, int worker) {
    const struct pooling *w = context;
    const struct gr_pooling *p = w->pool;
    int64_t photo = chunk / p->oh;
    int oh = (int)(chunk % p->oh);
    struct range rows = window_of(oh, p->sh, p->top, p->kh, p->h);
    (void)worker;
    for (int ow = 0; ow < p->ow; ow++) {
        struct range columns = window_of(ow, p->sw, p->left, p->kw, p->w);
        int64_t to = (chunk * p->ow + ow) * p->c;
        const float *x = w->x + ((photo * p->h + rows.first) * p->w + columns.first) * p->c;
        struct gr_pool_window window = {.rows = rows.size,
                                        .columns = columns.size,
                                        .row_step = (int64_t)p->w * p->c,
                                        .column_step = p->c,
                                        .position_row = p->kw};
        bool empty = rows.size == 0 || columns.size == 0;
        if (w->average) {
            w->kernels->sum(&window, p->c, divisor(p, oh, ow), empty ? w->x : x, w->y + to);
            continue;
        }
        window.position =
            (rows.first - (oh * p->sh - p->top)) * p->kw + columns.first - (ow * p->sw - p->left);
        if (!empty) {
            w->kernels->max(&window, p->c, x, w->y + to, w->argmax_out ? w->argmax_out + to : NULL);
            continue;
        }
        for (int j = 0; j < p->c; j++)
            w->y[to + j] = -INFINITY;
        if (w->argmax_out)
            memset(w->argmax_out + to, 255, (size_t)p->c);
    }
}

/* One input pixel: adds up the windows that cover it. */
static void backward_pixel(const struct pooling *w, int64_t photo, int h, int col, struct range rows,
                           float *gx) {
    const struct gr_pooling *p = w->pool;
    struct range columns = cover_of(col, p->sw, p->left, p->kw, p->ow);
    void (*add)(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                bool stream) = w->average ? w->kernels->spread : w->kernels->pick;
    struct gr_pool_source sources[SOURCES];
    bool accumulate = w->accumulate, stream = w->stream && (int64_t)rows.size * columns.size <= SOURCES;
    int count = 0;
    for (int oh = rows.first; oh < rows.first + rows.size; oh++)
        for (int ow = columns.first; ow < columns.first + columns.size; ow++) {
            int64_t from = ((photo * p->oh + oh) * p->ow + ow) * p->c;
            int position = (h + p->top - oh * p->sh) * p->kw + col + p->left - ow * p->sw;
            if (count == SOURCES) {
                add(count, sources, p->c, gx, accumulate, false);
                accumulate = true;
                count = 0;
            }
            sources[count++] = (struct gr_pool_source){w->gy + from, w->argmax ? w->argmax + from : NULL,
                                                       position, w->average ? divisor(p, oh, ow) : 0};
        }
    add(count, sources, p->c, gx, accumulate, stream);
}

static void backward_row(void *context, int64_t chunk, int worker) {
    const struct pooling *w = context;
    const struct gr_pooling *p = w->pool;
    int h = (int)(chunk % p->h);
    struct range rows = cover_of(h, p->sh, p->top, p->kh, p->oh);
    (void)worker;
    for (int col = 0; col < p->w; col++)
        backward_pixel(w, chunk / p->h, h, col, rows, w->gx + (chunk * p->w + col) * p->c);
    if (w->stream)
        w->kernels->finish();
}

/* gx of all photos, a row of inputs in each chunk. */
static void backward(struct pooling *work, int n) {
    const struct gr_pooling *p = work->pool;
    work->kernels = gr_pool_kernels();
    work->stream = !work->accumulate && gr_streams((int64_t)n * p->h * p->w * p->c, p->c, work->gx);
    gr_parallel((int64_t)n * p->h, backward_row, work);
}

void gr_max_pool_forward(const struct gr_pooling *pool, int n, const float *x, float *y, uint8_t *argmax) {
    struct pooling work = {.kernels = gr_pool_kernels(), .pool = pool, .x = x, .y = y, .argmax_out = argmax};
    gr_parallel((int64_t)n * pool->oh, forward_row, &work);
}

void gr_max_pool_backward(const struct gr_pooling *pool, int n, const uint8_t *argmax, const float *gy,
                          float *gx, bool accumulate) {
    struct pooling work = {.pool = pool, .argmax = argmax, .gy = gy, .gx = gx, .accumulate = accumulate};
    backward(&work, n);
}

void gr_avg_pool_forward(const struct gr_pooling *pool, int n, const float *x, float *y) {
    struct pooling work = {.kernels = gr_pool_kernels(), .pool = pool, .x = x, .y = y, .average = true};
    gr_parallel((int64_t)n * pool->oh, forward_row, &work);
}

void gr_avg_pool_backward(const struct gr_pooling *pool, int n, const float *gy, float *gx, bool accumulate) {
    struct pooling work = {.pool = pool, .gy = gy, .gx = gx, .average = true, .accumulate = accumulate};
    backward(&work, n);
}

struct adaptive {
    const struct gr_pool_kernels *kernels;
    int h, w, c, oh, ow;
    const float *x, *gy;
    float *y, *gx;
    const int32_t *argmax;
    int32_t *argmax_out;
    bool average, accumulate;
};

/* The input positions of output i. */
static struct range adaptive_window(int i, int size, int outputs) {
    int first = (int)((int64_t)i * size / outputs);
    return (struct range){first, (int)(((int64_t)(i + 1) * size + outputs - 1) / outputs) - first};
}

/* The outputs whose windows hold input position i. */
static struct range adaptive_cover(int i, int size, int outputs) {
    int first = (int)((int64_t)i * outputs / size);
    return (struct range){first, (int)(((int64_t)(i + 1) * outputs - 1) / size) - first + 1};
}

static void adaptive_forward_row(void *context, int64_t chunk, int worker) {
    const struct adaptive *a = context;
    int64_t photo = chunk / a->oh;
    struct range rows = adaptive_window((int)(chunk % a->oh), a->h, a->oh);
    (void)worker;
    for (int ow = 0; ow < a->ow; ow++) {
        struct range columns = adaptive_window(ow, a->w, a->ow);
        const float *x = a->x + ((photo * a->h + rows.first) * a->w + columns.first) * a->c;
        int64_t to = (chunk * a->ow + ow) * a->c;
        struct gr_pool_window window = {.rows = rows.size,
                                        .columns = columns.size,
                                        .row_step = (int64_t)a->w * a->c,
                                        .column_step = a->c,
                                        .position = rows.first * a->w + columns.first,
                                        .position_row = a->w};
        if (a->average)
            a->kernels->sum(&window, a->c, 1.0f / ((float)rows.size * (float)columns.size), x, a->y + to);
        else
            a->kernels->max_wide(&window, a->c, x, a->y + to, a->argmax_out ? a->argmax_out + to : NULL);
    }
}

static void adaptive_avg_pixel(const struct adaptive *a, int64_t photo, struct range rows,
                               struct range columns, float *gx) {
    bool accumulate = a->accumulate;
    for (int oh = rows.first; oh < rows.first + rows.size; oh++)
        for (int ow = columns.first; ow < columns.first + columns.size; ow++) {
            float rows_in = (float)adaptive_window(oh, a->h, a->oh).size;
            float columns_in = (float)adaptive_window(ow, a->w, a->ow).size;
            struct gr_pool_source source = {.gy = a->gy + ((photo * a->oh + oh) * a->ow + ow) * a->c,
                                            .factor = 1.0f / (rows_in * columns_in)};
            a->kernels->spread(1, &source, a->c, gx, accumulate, false);
            accumulate = true;
        }
}

static void adaptive_backward_row(void *context, int64_t chunk, int worker) {
    const struct adaptive *a = context;
    int64_t photo = chunk / a->h;
    int h = (int)(chunk % a->h);
    struct range rows = adaptive_cover(h, a->h, a->oh);
    float *gx = a->gx + chunk * a->w * a->c;
    (void)worker;
    if (!a->accumulate && !a->average)
        memset(gx, 0, sizeof(float) * (size_t)a->w * (size_t)a->c);
    for (int col = 0; col < a->w; col++, gx += a->c) {
        struct range columns = adaptive_cover(col, a->w, a->ow);
        if (a->average) {
            adaptive_avg_pixel(a, photo, rows, columns, gx);
            continue;
        }
        for (int oh = rows.first; oh < rows.first + rows.size; oh++)
            for (int ow = columns.first; ow < columns.first + columns.size; ow++) {
                int64_t from = ((photo * a->oh + oh) * a->ow + ow) * a->c;
                a->kernels->pick_wide(a->c, a->argmax + from, h * a->w + col, a->gy + from, gx);
            }
    }
}

void gr_adaptive_avg_forward(int n, int h, int w, int c, int oh, int ow, const float *x, float *y) {
    struct adaptive a = {gr_pool_kernels(), h, w, c, oh, ow, .x = x, .y = y, .average = true};
    gr_parallel((int64_t)n * oh, adaptive_forward_row, &a);
}

void gr_adaptive_avg_backward(int n, int h, int w, int c, int oh, int ow, const float *gy, float *gx,
                              bool accumulate) {
    struct adaptive a = {gr_pool_kernels(),       h, w, c, oh, ow, .gy = gy, .gx = gx, .average = true,
                         .accumulate = accumulate};
    gr_parallel((int64_t)n * h, adaptive_backward_row, &a);
}

void gr_adaptive_max_forward(int n, int h, int w, int c, int oh, int ow, const float *x, float *y,
                             int32_t *argmax) {
    struct adaptive a = {gr_pool_kernels(), h, w, c, oh, ow, .x = x, .y = y, .argmax_out = argmax};
    gr_parallel((int64_t)n * oh, adaptive_forward_row, &a);
}

void gr_adaptive_max_backward(int n, int h, int w, int c, int oh, int ow, const int32_t *argmax,
                              const float *gy, float *gx, bool accumulate) {
    struct adaptive a = {gr_pool_kernels(),       h, w, c, oh, ow, .gy = gy, .gx = gx, .argmax = argmax,
                         .accumulate = accumulate};
    gr_parallel((int64_t)n * h, adaptive_backward_row, &a);
}
