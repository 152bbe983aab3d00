#include "kernels/activation_simd.h"
#include "kernels/tables.h"

typedef uint32_t bits __attribute__((vector_size(4 * GR_SIMD_WIDTH)));
typedef uint16_t halves __attribute__((vector_size(2 * GR_SIMD_WIDTH)));

/* The nearest bfloat16 in the low half of each lane: adding just under one half of its last place, and one
 * bit more where that is odd, carries into the upper half exactly when it has to. */
GR_ALWAYS bits nearest(gr_vec x) {
    bits u = (bits)x, nan = (bits)(x != x);
    bits rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return (nan & (u >> 16 | 0x40)) | (~nan & rounded);
}

GR_ALWAYS void put_halves(uint16_t *y, bits low, int n) {
    halves h = __builtin_convertvector(low, halves);
    memcpy(y, &h, n >= GR_W ? sizeof h : sizeof(uint16_t) * (size_t)n);
}

static void store(int64_t count, const float *x, uint16_t *y) {
    int64_t i = 0;
    for (; i + GR_W <= count; i += GR_W)
        put_halves(y + i, nearest(gr_load(x + i)), GR_W);
    if (i < count)
        put_halves(y + i, nearest(gr_load_part(x + i, (int)(count - i))), (int)(count - i));
}

/* The other of the two neighbours is the one that nearest() did not take. */
GR_ALWAYS bits same_side(enum gr_activation f, float a, gr_vec x, gr_vec scale, gr_vec shift) {
    bits near = nearest(x), below = (bits)x >> 16;
    bits other = below + ((bits)(near == below) & 1);
    gr_vec before = gr_slope(f, a, gr_activate(f, a, x * scale + shift));
    gr_vec after = gr_slope(f, a, gr_activate(f, a, (gr_vec)(near << 16) * scale + shift));
    bits moved = (bits)(before != after) & (bits)(x == x);
    return (moved & other) | (~moved & near);
}

GR_ALWAYS void store_for_loop(enum gr_activation f, const struct gr_prologue *reader, int64_t rows, int c,
                              const float *x, uint16_t *y) {
    for (int64_t row = 0; row < rows; row++, x += c, y += c)
        for (int j = 0; j < c; j += GR_W)
            put_halves(y + j,
                       same_side(f, reader->a, gr_load_upto(x + j, c - j),
                                 gr_load_upto(reader->scale + j, c - j),
                                 gr_load_upto(reader->shift + j, c - j)),
                       c - j);
}

static void store_for(const struct gr_prologue *reader, int64_t rows, int c, const float *x, uint16_t *y) {
#define BODY(constant) store_for_loop(constant, reader, rows, c, x, y)
    switch (reader->activation) {
    case GR_RELU:
        BODY(GR_RELU);
        break;
    case GR_RELU6:
        BODY(GR_RELU6);
        break;
    case GR_LEAKY_RELU:
        BODY(GR_LEAKY_RELU);
        break;
    default: /* no corners */
        store(rows * c, x, y);
    }
#undef BODY
}

GR_ALWAYS gr_vec widened(const uint16_t *x, int n) {
    halves h = {0};
    memcpy(&h, x, n >= GR_W ? sizeof h : sizeof(uint16_t) * (size_t)n);
    return (gr_vec)(__builtin_convertvector(h, bits) << 16);
}

static void load(int64_t count, const uint16_t *x, float *y, bool stream) {
    int64_t i = 0;
    for (; i + GR_W <= count; i += GR_W)
        gr_put(y + i, widened(x + i, GR_W), stream);
    if (i < count)
        gr_store_part(y + i, widened(x + i, (int)(count - i)), (int)(count - i));
    if (stream)
        gr_stream_end();
}

const struct gr_bfloat16_kernels GR_SIMD_SYMBOL(gr_bfloat16_kernels) = {
    .store = store,
    .store_for = store_for,
    .load = load,
};
