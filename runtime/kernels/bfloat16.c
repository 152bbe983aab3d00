#include "kernels/bfloat16.h"

#include "base/threads.h"
#include "kernels/tables.h"

enum { SPAN = 1 << 16 /* numbers in a chunk */, LINE = 16 /* floats in a cache line */ };

struct conversion {
    const struct gr_bfloat16_kernels *kernels;
    const struct gr_prologue *reader;
    int64_t count, span; /* numbers or rows */
    int c;
    const float *floats;
    float *to_floats;
    const uint16_t *halves;
    uint16_t *to_halves;
    bool stream;
};

static void spread(struct conversion *work, int64_t span,
                   void (*body)(void *context, int64_t chunk, int worker)) {
    work->kernels = gr_bfloat16_kernels();
    work->span = span > 0 ? span : 1;
    if (work->count > 0)
        gr_parallel(gr_pieces(work->count, work->span), body, work);
}

static int64_t size_of(const struct conversion *work, int64_t first) {
    return work->count - first < work->span ? work->count - first : work->span;
}

static void store_chunk(void *context, int64_t chunk, int worker) {
    const struct conversion *w = context;
    int64_t first = chunk * w->span;
    (void)worker;
    w->kernels->store(size_of(w, first), w->floats + first, w->to_halves + first);
}

void gr_bfloat16_store(int64_t count, const float *x, uint16_t *y) {
    struct conversion work = {.count = count, .floats = x, .to_halves = y};
    spread(&work, SPAN, store_chunk);
}

static void store_for_chunk(void *context, int64_t chunk, int worker) {
    const struct conversion *w = context;
    int64_t first = chunk * w->span;
    (void)worker;
    w->kernels->store_for(w->reader, size_of(w, first), w->c, w->floats + first * w->c,
                          w->to_halves + first * w->c);
}

void gr_bfloat16_store_for(const struct gr_prologue *reader, int64_t rows, int c, const float *x,
                           uint16_t *y) {
    struct conversion work = {.reader = reader, .count = rows, .c = c, .floats = x, .to_halves = y};
    if (c > 0)
        spread(&work, SPAN / c, store_for_chunk);
}

static void load_chunk(void *context, int64_t chunk, int worker) {
    const struct conversion *w = context;
    int64_t first = chunk * w->span;
    (void)worker;
    w->kernels->load(size_of(w, first), w->halves + first, w->to_floats + first, w->stream);
}

/* Where x lies in y's own memory, only so many numbers can be widened at once that none is written over
 * others that are still to be read: half of what is left, each time. */
void gr_bfloat16_load(int64_t count, const uint16_t *x, float *y) {
    while (count > 0) {
        uintptr_t from = (uintptr_t)x, to = (uintptr_t)y;
        bool inside = from >= to && from < to + sizeof *y * (size_t)count;
        int64_t free = inside ? (int64_t)((from - to) / sizeof *y) / LINE * LINE : count;
        int64_t size = free < count ? free : count;
        struct conversion work = {.count = size, .halves = x, .to_floats = y};
        if (size < SPAN) { /* upwards, one thread never overtakes itself */
            gr_bfloat16_kernels()->load(count, x, y, false);
            return;
        }
        work.stream = gr_streams(size, LINE, y);
        spread(&work, SPAN, load_chunk);
        x += size;
        y += size;
        count -= size;
    }
}
