/* Tiles of 8-bit products (tables.h): four terms a word, the first in its lowest byte; inputs are unsigned,
 * weights signed, sums 32 bits. With AVX512_VNNI one instruction adds the products of all four to 16 sums. */
#include "kernels/activation_simd.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

#define UNROLL _Pragma("GCC unroll 8")

enum { VECTORS = GR_SIMD_WIDTH == 16 ? GR_TILE_VECTORS : 2, TERMS = 4 };

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

GR_ALWAYS gr_ivec add_products(gr_ivec sum, int32_t x, gr_ivec w) {
#ifdef __AVX512VNNI__
    return (gr_ivec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(x), (__m512i)w);
#else
    UNROLL
    for (int i = 0; i < TERMS; i++) {
        int32_t own = (int32_t)((uint32_t)x >> 8 * i & 255);
        sum += own * (w << (24 - 8 * i) >> 24);
    }
    return sum;
#endif
}

GR_ALWAYS void store(const struct gr_reduced_tile *t, int vectors, enum gr_activation f,
                     gr_ivec sums[][VECTORS]) {
    UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        if (r >= t->count)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            int rest = t->width - v * GR_W;
            gr_vec y = __builtin_convertvector(sums[r][v], gr_vec) * gr_load(t->factor + v * GR_W);
            if (t->bias)
                y += gr_load_upto(t->bias + v * GR_W, rest);
            if (t->residual[0])
                y += gr_load_upto(t->residual[r] + v * GR_W, rest);
            gr_store_upto(t->y[r] + v * GR_W, gr_activate(f, t->a, y), rest);
        }
    }
}

GR_ALWAYS void product_of(const struct gr_reduced_tile *t, int vectors) {
    gr_ivec sums[GR_TILE_ROWS][VECTORS];
    UNROLL
    for (int r = 0; r < GR_TILE_ROWS; r++)
        UNROLL
    for (int v = 0; v < vectors; v++)
        sums[r][v] = load_words(t->start + v * GR_W);
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

/* To the nearest, ties to even; what is not a number becomes 0. */
static void convert(int64_t count, const float *x, float step, int zero, void *to) {
    uint8_t *out = to;
    const float factor = 1 / step, offset = (float)zero;
    int64_t i = 0;
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    for (; i < count; i += 16) {
        __mmask16 some = count - i < 16 ? (__mmask16)((1u << (count - i)) - 1) : (__mmask16)0xffff;
        __m512 v = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(some, x + i), _mm512_set1_ps(factor),
                                   _mm512_set1_ps(offset));
        v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255));
        _mm_mask_storeu_epi8(out + i, some, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
#endif
    for (; i < count; i++) {
        const float round =
            12582912.0f; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
        float v = x[i] * factor + offset;
        v = v > 0 ? v < 255 ? v : 255 : 0;
        v += round;
        int32_t bits;
        memcpy(&bits, &v, sizeof bits);
        out[i] = (uint8_t)(bits & 255);
    }
}

const struct gr_reduced_kernels GR_SIMD_SYMBOL(gr_int8_kernels) = {
    .lanes = GR_W,
    .width = VECTORS * GR_W,
    .terms = TERMS,
    .product = product,
    .convert = convert,
};
