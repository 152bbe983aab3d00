/* What the files of tiles share (tile_simd.c, tile_bf16_simd.c, tile_int8_simd.c): how sums become outputs,
 * and loops that get numbers of vectors and activations as constants, so that sums live in registers. */
#ifndef GRAFT_KERNELS_TILE_SIMD_H
#define GRAFT_KERNELS_TILE_SIMD_H

#include "kernels/activation_simd.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

#define GR_TILE_UNROLL _Pragma("GCC unroll 8")

/* Vectors of channels in a tile. With 16 registers two are all that fit beside the sums. */
enum { GR_VECTORS = GR_SIMD_WIDTH == 16 ? GR_TILE_VECTORS : 2 };

/* Calls `body` with the number of vectors that `width` channels take. */
#if GR_SIMD_WIDTH == 16
#define GR_EACH_WIDTH(width, body)                                                                           \
    switch (((width) + GR_W - 1) / GR_W) {                                                                   \
    case 1:                                                                                                  \
        body(1);                                                                                             \
        break;                                                                                               \
    case 2:                                                                                                  \
        body(2);                                                                                             \
        break;                                                                                               \
    case 3:                                                                                                  \
        body(3);                                                                                             \
        break;                                                                                               \
    case 4:                                                                                                  \
        body(4);                                                                                             \
        break;                                                                                               \
    default:                                                                                                 \
        break;                                                                                               \
    }
#else
#define GR_EACH_WIDTH(width, body)                                                                           \
    switch (((width) + GR_W - 1) / GR_W) {                                                                   \
    case 1:                                                                                                  \
        body(1);                                                                                             \
        break;                                                                                               \
    case 2:                                                                                                  \
        body(2);                                                                                             \
        break;                                                                                               \
    default:                                                                                                 \
        break;                                                                                               \
    }
#endif

/* Adds bias (or NULL) and residual (residuals[0] NULL: none) to vector v of row r, `rest` channels from there
 * on. */
GR_ALWAYS gr_vec gr_tile_add(const float *bias, const float *const *residuals, int r, int v, int rest,
                             gr_vec y) {
    if (bias)
        y += gr_load_upto(bias + v * GR_W, rest);
    if (residuals[0])
        y += gr_load_upto(residuals[r] + v * GR_W, rest);
    return y;
}

/* ---- products of reduced precision ---- */

/* Adds the products of a word's terms to a vector of sums, of whatever type. */
typedef gr_ivec gr_add_products(gr_ivec sum, int32_t x, gr_ivec w);

GR_ALWAYS int32_t gr_load_word(const char *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

GR_ALWAYS gr_ivec gr_load_words(const int32_t *p) {
    gr_ivec v;
    memcpy(&v, p, sizeof v);
    return v;
}

GR_ALWAYS void gr_reduced_store(const struct gr_reduced_tile *t, int vectors, bool integers,
                                enum gr_activation f, gr_ivec sums[][GR_VECTORS]) {
    GR_TILE_UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        if (r >= t->count)
            break;
        GR_TILE_UNROLL
        for (int v = 0; v < vectors; v++) {
            int rest = t->width - v * GR_W;
            gr_vec y = (gr_vec)sums[r][v];
            if (integers)
                y = __builtin_convertvector(sums[r][v], gr_vec) * gr_load(t->factor + v * GR_W);
            y = gr_tile_add(t->bias, t->residual, r, v, rest, y);
            gr_store_upto(t->y[r] + v * GR_W, gr_activate(f, t->a, y), rest);
        }
    }
}

GR_ALWAYS void gr_reduced_vectors(const struct gr_reduced_tile *t, int vectors, bool integers,
                                  gr_add_products *add) {
    gr_ivec sums[GR_TILE_ROWS][GR_VECTORS];
    GR_TILE_UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++)
        GR_TILE_UNROLL
    for (int v = 0; v < vectors; v++)
        sums[r][v] = integers ? gr_load_words(t->start + v * GR_W) : (gr_ivec){0};
    const int64_t w_step = t->w_step;
    for (int row = 0; row < t->rows; row++)
        for (int column = 0; column < t->columns; column++) {
            int64_t from = row * t->x_row + column * t->x_column;
            const int32_t *w = t->w + row * t->w_row + column * t->w_column;
            const char *x0 = t->x[0] + from, *x1 = t->x[1] + from, *x2 = t->x[2] + from;
            const char *x3 = t->x[3] + from, *x4 = t->x[4] + from, *x5 = t->x[5] + from;
            for (int64_t j = 0; j < t->length; j++, w += w_step) {
                const int32_t x[GR_TILE_ROWS] = {gr_load_word(x0 + 4 * j), gr_load_word(x1 + 4 * j),
                                                 gr_load_word(x2 + 4 * j), gr_load_word(x3 + 4 * j),
                                                 gr_load_word(x4 + 4 * j), gr_load_word(x5 + 4 * j)};
                gr_ivec weights[GR_VECTORS];
                GR_TILE_UNROLL
                for (int v = 0; v < vectors; v++)
                    weights[v] = gr_load_words(w + v * GR_W);
                GR_TILE_UNROLL
                for (int r = 0; r < GR_TILE_ROWS; r++)
                    GR_TILE_UNROLL
                for (int v = 0; v < vectors; v++)
                    sums[r][v] = add(sums[r][v], x[r], weights[v]);
            }
        }
#define STORE(f) gr_reduced_store(t, vectors, integers, f, sums)
    GR_EACH_SIMPLE_ACTIVATION(t->activation, STORE)
#undef STORE
}

/* A tile of words. integers: sums begin with `start` and are multiplied by `factor`; else they are float32.
 */
GR_ALWAYS void gr_reduced_product(const struct gr_reduced_tile *t, bool integers, gr_add_products *add) {
#define VECTORS_OF(vectors) gr_reduced_vectors(t, vectors, integers, add)
    GR_EACH_WIDTH(t->width, VECTORS_OF)
#undef VECTORS_OF
}

#endif
