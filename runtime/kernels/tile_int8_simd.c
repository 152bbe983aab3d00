/* Tiles of 8-bit products (tables.h): four terms a word, the first in its lowest byte; inputs are unsigned,
 * weights signed, sums 32 bits. With AVX512_VNNI one instruction adds the products of all four to 16 sums. */
#include "kernels/tile_simd.h"

enum { TERMS = 4 };

GR_ALWAYS gr_ivec add_products(gr_ivec sum, int32_t x, gr_ivec w) {
#ifdef __AVX512VNNI__
    return (gr_ivec)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32(x), (__m512i)w);
#else
    GR_TILE_UNROLL
    for (int i = 0; i < TERMS; i++) {
        int32_t own = (int32_t)((uint32_t)x >> 8 * i & 255);
        sum += own * (w << (24 - 8 * i) >> 24);
    }
    return sum;
#endif
}

static void product(const struct gr_reduced_tile *t) {
    gr_reduced_product(t, true, add_products);
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
    .width = GR_VECTORS * GR_W,
    .terms = TERMS,
    .product = product,
    .convert = convert,
};
