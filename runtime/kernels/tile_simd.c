#include "kernels/tile_simd.h"

/* One tile: GR_TILE_ROWS x `vectors` sums live in registers (24 of the 32 that AVX-512 has, 12 of 16 below),
 * so that each loaded vector of w serves six multiply-adds and each broadcast x one for every vector. */

/* Adds the rows of one vector of channels to the sums of their differences from a pivot, a first value. */
GR_ALWAYS void add_statistics(const struct gr_tile *t, int v, int rest, gr_vec sums[][GR_VECTORS]) {
    float *pivots = t->statistics + v * GR_W, *to = pivots + t->statistics_step;
    gr_vec pivot = t->first ? sums[0][v] : gr_load_upto(pivots, rest), sum = {0}, squares = {0};
    GR_TILE_UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        if (r >= t->count)
            break;
        gr_vec d = sums[r][v] - pivot;
        sum += d;
        squares += d * d;
    }
    if (t->first) {
        gr_store_upto(pivots, pivot, rest);
    } else {
        sum += gr_load_upto(to, rest);
        squares += gr_load_upto(to + t->statistics_step, rest);
    }
    gr_store_upto(to, sum, rest);
    gr_store_upto(to + t->statistics_step, squares, rest);
}

GR_ALWAYS void store(const struct gr_tile *t, int vectors, enum gr_activation f, gr_vec sums[][GR_VECTORS]) {
    GR_TILE_UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        if (r >= t->count)
            break;
        GR_TILE_UNROLL
        for (int v = 0; v < vectors; v++) {
            int rest = t->width - v * GR_W;
            gr_vec y = gr_tile_add(t->bias, t->residual, r, v, rest, sums[r][v]);
            if (t->stream && rest >= GR_W)
                gr_stream(t->y[r] + v * GR_W, gr_activate(f, t->a, y));
            else
                gr_store_upto(t->y[r] + v * GR_W, gr_activate(f, t->a, y), rest);
            sums[r][v] = y;
        }
    }
    if (f == GR_IDENTITY && t->statistics) {
        GR_TILE_UNROLL
        for (int v = 0; v < vectors; v++)
            add_statistics(t, v, t->width - v * GR_W, sums);
    }
}

GR_ALWAYS void product_of(const struct gr_tile *t, int vectors) {
    gr_vec sums[GR_TILE_ROWS][GR_VECTORS];
    GR_TILE_UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++)
        GR_TILE_UNROLL
    for (int v = 0; v < vectors; v++) {
        bool add = t->accumulate && r < t->count;
        sums[r][v] = add ? gr_load_upto(t->y[r] + v * GR_W, t->width - v * GR_W) : (gr_vec){0};
    }
    const int64_t x_step = t->x_step, w_step = t->w_step;
    for (int row = 0; row < t->rows; row++)
        for (int column = 0; column < t->columns; column++) {
            int64_t from = row * t->x_row + column * t->x_column;
            const float *w = t->w + row * t->w_row + column * t->w_column;
            const float *x0 = t->x[0] + from, *x1 = t->x[1] + from, *x2 = t->x[2] + from;
            const float *x3 = t->x[3] + from, *x4 = t->x[4] + from, *x5 = t->x[5] + from;
            for (int j = 0; j < t->length; j++, w += w_step) {
                int64_t at = j * x_step;
                const float x[GR_TILE_ROWS] = {x0[at], x1[at], x2[at], x3[at], x4[at], x5[at]};
                gr_vec weights[GR_VECTORS];
                GR_TILE_UNROLL
                for (int v = 0; v < vectors; v++)
                    weights[v] = gr_load(w + v * GR_W);
                GR_TILE_UNROLL
                for (int r = 0; r < GR_TILE_ROWS; r++)
                    GR_TILE_UNROLL
                for (int v = 0; v < vectors; v++)
                    sums[r][v] += x[r] * weights[v];
            }
        }
#define STORE(f) store(t, vectors, f, sums)
    GR_EACH_SIMPLE_ACTIVATION(t->activation, STORE)
#undef STORE
}

/* Functions of their own: inlined into one, those of AVX-512 are 2 % slower. */
static void product_1(const struct gr_tile *t) {
    product_of(t, 1);
}

static void product_2(const struct gr_tile *t) {
    product_of(t, 2);
}

#if GR_SIMD_WIDTH == 16
static void product_3(const struct gr_tile *t) {
    product_of(t, 3);
}

static void product_4(const struct gr_tile *t) {
    product_of(t, 4);
}
#endif

static void product(const struct gr_tile *t) {
    switch ((t->width + GR_W - 1) / GR_W) {
    case 1:
        product_1(t);
        break;
    case 2:
        product_2(t);
        break;
#if GR_SIMD_WIDTH == 16
    case 3:
        product_3(t);
        break;
    case 4:
        product_4(t);
        break;
#endif
    default:
        break;
    }
}

static void streamed(void) {
    gr_stream_end();
}

GR_ALWAYS void prologue_loop(enum gr_activation f, int64_t pixels, int c, int first, int count,
                             const float *x, const struct gr_prologue *p, float *y) {
    const float *scale = p->scale + first, *shift = p->shift + first;
    x += first, y += first;
    for (int64_t i = 0; i < pixels; i++, x += c, y += c)
        for (int j = 0; j < count; j += GR_W) {
            int rest = count - j;
            gr_vec v =
                gr_load_upto(x + j, rest) * gr_load_upto(scale + j, rest) + gr_load_upto(shift + j, rest);
            gr_store_upto(y + j, gr_activate(f, p->a, v), rest);
        }
}

static void prologue(int64_t pixels, int c, int first, int count, const float *x, const struct gr_prologue *p,
                     float *y) {
#define LOOP(f) prologue_loop(f, pixels, c, first, count, x, p, y)
    GR_EACH_SIMPLE_ACTIVATION(p->activation, LOOP)
#undef LOOP
}

const struct gr_tile_kernels GR_SIMD_SYMBOL(gr_tile_kernels) = {
    .lanes = GR_W,
    .width = GR_VECTORS * GR_W,
    .product = product,
    .streamed = streamed,
    .prologue = prologue,
};
