#include "kernels/points.h"

#include "base/threads.h"
#include "kernels/tables.h"

/* Points that a thread takes at a time. */
enum { PIECE = 16 };

struct repulsion {
    const struct gr_points_kernels *kernels;
    int64_t n, pitch;
    const float *x, *y;
    float *force, *weight;
};

static void repel_chunk(void *context, int64_t chunk, int worker) {
    const struct repulsion *r = context;
    int64_t first = chunk * PIECE, last = first + PIECE < r->n ? first + PIECE : r->n;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        r->kernels->repel(r->pitch, r->x, r->y, r->x[i], r->y[i], r->force + 2 * i, r->weight + i);
        r->weight[i] -= 1; /* its own */
    }
}

void gr_points_repel(int64_t n, int64_t pitch, const float *x, const float *y, float *force, float *weight) {
    struct repulsion r = {gr_points_kernels(), n, pitch, x, y, force, weight};
    gr_parallel(gr_pieces(n, PIECE), repel_chunk, &r);
}

struct attraction {
    const struct gr_points_kernels *kernels;
    int64_t n;
    const int64_t *ends;
    const int32_t *to;
    const float *near, *x, *y;
    float *force;
};

static void attract_chunk(void *context, int64_t chunk, int worker) {
    const struct attraction *a = context;
    int64_t first = chunk * PIECE, last = first + PIECE < a->n ? first + PIECE : a->n;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        int64_t from = i ? a->ends[i - 1] : 0;
        a->kernels->attract(a->ends[i] - from, a->to + from, a->near + from, a->x, a->y, a->x[i], a->y[i],
                            a->force + 2 * i);
    }
}

void gr_points_attract(int64_t n, const int64_t *ends, const int32_t *to, const float *near, const float *x,
                       const float *y, float *force) {
    struct attraction a = {gr_points_kernels(), n, ends, to, near, x, y, force};
    gr_parallel(gr_pieces(n, PIECE), attract_chunk, &a);
}
