/* Tiles of bfloat16 products (tables.h): two terms a word, the first in its low half. With AVX512_BF16 one
 * instruction adds the products of both to 16 sums; elsewhere they are widened to float32, which is exact,
 * and added one after the other. */
#include "kernels/tile_simd.h"

enum { TERMS = 2 };

/* The sums are float32. */
GR_ALWAYS gr_ivec add_products(gr_ivec sum, int32_t x, gr_ivec w) {
#ifdef __AVX512BF16__
    return (gr_ivec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(x), (__m512bh)(__m512i)w);
#else
    gr_ivec both = (gr_ivec){0} + x;
    gr_vec y = (gr_vec)sum;
    y += (gr_vec)(both << 16) * (gr_vec)(w << 16);
    y += (gr_vec)(both & -65536) * (gr_vec)(w & -65536);
    return (gr_ivec)y;
#endif
}

static void product(const struct gr_reduced_tile *t) {
    gr_reduced_product(t, false, add_products);
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
    .width = GR_VECTORS * GR_W,
    .terms = TERMS,
    .product = product,
    .convert = convert,
};
