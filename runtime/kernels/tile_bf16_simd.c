/* Tiles of bfloat16 products (tables.h): two terms a word, the first in its low half. With AVX512_BF16 one
 * instruction adds the products of both to 16 sums; elsewhere they are widened to float32, which is exact,
 * and added one after the other. */
#include "kernels/activation_simd.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

#define UNROLL _Pragma("GCC unroll 8")

enum { VECTORS = GR_SIMD_WIDTH == 16 ? GR_TILE_VECTORS : 2, TERMS = 2 };

GR_ALWAYS int32_t load_word(const char *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

GR_ALWAYS gr_ivec load_words(const int32_t *p) {
    gr_ivec v;
    memcpy(&v, p, sizeof v);
    return v;
}

GR_ALWAYS gr_vec add_products(gr_vec sum, int32_t x, gr_ivec w) {
#ifdef __AVX512BF16__
    return (gr_vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(x), (__m512bh)(__m512i)w);
#else
    gr_ivec both = (gr_ivec){0} + x;
    sum += (gr_vec)(both << 16) * (gr_vec)(w << 16);
    sum += (gr_vec)(both & -65536) * (gr_vec)(w & -65536);
    return sum;
#endif
}

GR_ALWAYS void store(const struct gr_reduced_tile *t, int vectors, enum gr_activation f,
                     gr_vec sums[][VECTORS]) {
    UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        if (r >= t->count)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            int rest = t->width - v * GR_W;
            gr_vec y = sums[r][v];
            if (t->bias)
                y += gr_load_upto(t->bias + v * GR_W, rest);
            if (t->residual[0])
                y += gr_load_upto(t->residual[r] + v * GR_W, rest);
            gr_store_upto(t->y[r] + v * GR_W, gr_activate(f, t->a, y), rest);
        }
    }
}

GR_ALWAYS void product_of(const struct gr_reduced_tile *t, int vectors) {
    gr_vec sums[GR_TILE_ROWS][VECTORS];
    UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sums[r][v] = (gr_vec){0};
    const int64_t w_step = t->w_step;
    for (int row = 0; row < t->rows; row++)
        for (int column = 0; column < t->columns; column++) {
            int64_t from = row * t->x_row + column * t->x_column;
            const int32_t *w = t->w + row * t->w_row + column * t->w_column;
            const char *x0 = t->x[0] + from, *x1 = t->x[1] + from, *x2 = t->x[2] + from;
            const char *x3 = t->x[3] + from, *x4 = t->x[4] + from, *x5 = t->x[5] + from;
            for (int64_t j = 0; j < t->length; j++, w += w_step) {
                const int32_t x[GR_TILE_ROWS] = {load_word(x0 + 4 * j), load_word(x1 + 4 * j),
                                                 load_word(x2 + 4 * j), load_word(x3 + 4 * j),
                                                 load_word(x4 + 4 * j), load_word(x5 + 4 * j)};
                gr_ivec weights[VECTORS];
                UNROLL
                for (int v = 0; v < vectors; v++)
                    weights[v] = load_words(w + v * GR_W);
                UNROLL
                for (int r = 0; r < GR_TILE_ROWS; r++)
                    UNROLL
                for (int v = 0; v < vectors; v++)
                    sums[r][v] = add_products(sums[r][v], x[r], weights[v]);
            }
        }
    switch (t->activation) {
    case GR_RELU:
        store(t, vectors, GR_RELU, sums);
        break;
    case GR_RELU6:
        store(t, vectors, GR_RELU6, sums);
        break;
    case GR_LEAKY_RELU:
        store(t, vectors, GR_LEAKY_RELU, sums);
        break;
    default:
        store(t, vectors, GR_IDENTITY, sums);
    }
}

static void product(const struct gr_reduced_tile *t) {
    switch ((t->width + GR_W - 1) / GR_W) {
    case 1:
        product_of(t, 1);
        break;
    case 2:
        product_of(t, 2);
        break;
#if GR_SIMD_WIDTH == 16
    case 3:
        product_of(t, 3);
        break;
    case 4:
        product_of(t, 4);
        break;
#endif
    default:
        break;
    }
}

/* To the nearest, ties to even; what is not a number stays so. */
static void convert(int64_t count, const float *x, float step, int zero, void *to) {
    (void)step;
    (void)zero;
    uint16_t *out = to;
    int64_t i = 0;
#ifdef __AVX512BF16__
    for (; i + 16 <= count; i += 16)
        _mm256_storeu_si256((__m256i *)(out + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
    __mmask16 rest = (__mmask16)((1u << (count - i)) - 1);
    _mm256_mask_storeu_epi16(out + i, rest, (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(rest, x + i)));
    i = count;
#endif
    for (; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
        out[i] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
    }
}

const struct gr_reduced_kernels GR_SIMD_SYMBOL(gr_bf16_kernels) = {
    .lanes = GR_W,
    .width = VECTORS * GR_W,
    .terms = TERMS,
    .product = product,
    .convert = convert,
};
