/* Vectors of GR_SIMD_WIDTH floats for the *_simd.c files.
 *
 * Each of those files is compiled once for every instruction set, with GR_SIMD (baseline, avx2, avx512) and
 * GR_SIMD_WIDTH (4, 8, 16) set by the Makefile, and exports one table of functions, named by GR_SIMD_SYMBOL.
 */
#ifndef GRAFT_KERNELS_SIMD_H
#define GRAFT_KERNELS_SIMD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define GR_SIMD_PASTE(name, level) name##_##level
#define GR_SIMD_EXPAND(name, level) GR_SIMD_PASTE(name, level)
#define GR_SIMD_SYMBOL(name) GR_SIMD_EXPAND(name, GR_SIMD)

enum { GR_W = GR_SIMD_WIDTH };

/* For the inner functions that take constants, so that each caller gets a loop without branches. */
#define GR_ALWAYS static inline __attribute__((always_inline))

/* Before a loop whose bounds are constants and whose vectors have to live in registers. */
#if defined(__clang__)
#define GR_UNROLL _Pragma("clang loop unroll(full)")
#else
#define GR_UNROLL _Pragma("GCC unroll 32")
#endif

typedef float gr_vec __attribute__((vector_size(4 * GR_SIMD_WIDTH)));
typedef int32_t gr_ivec __attribute__((vector_size(4 * GR_SIMD_WIDTH)));
typedef uint8_t gr_bvec __attribute__((vector_size(GR_SIMD_WIDTH)));

static inline gr_vec gr_load(const float *p) {
    gr_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void gr_store(float *p, gr_vec v) {
    memcpy(p, &v, sizeof v);
}

/* A store that goes past the caches, to an address that is a multiple of the vector's size: without it,
 * memory that is only written is read first. gr_stream_end() after the last one, before other threads look.
 */
static inline void gr_stream(float *p, gr_vec v) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    _mm512_stream_ps(p, (__m512)v);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    _mm256_stream_ps(p, (__m256)v);
#elif GR_SIMD_WIDTH == 4 && defined(__SSE2__)
    _mm_stream_ps(p, (__m128)v);
#else
    gr_store(p, v);
#endif
}

static inline void gr_put(float *p, gr_vec v, bool stream) {
    if (stream)
        gr_stream(p, v);
    else
        gr_store(p, v);
}

static inline void gr_stream_end(void) {
#if defined(__SSE2__)
    _mm_sfence();
#endif
}

static inline gr_vec gr_splat(float value) {
    return (gr_vec){0} + value;
}

/* The first n floats, n < GR_W; the other lanes are 0 and their memory is not touched. */
static inline gr_vec gr_load_part(const float *p, int n) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    return (gr_vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    return (gr_vec)_mm256_maskload_ps(p, (__m256i)((gr_ivec){0, 1, 2, 3, 4, 5, 6, 7} < n));
#else
    gr_vec v = {0};
    memcpy(&v, p, sizeof(float) * (size_t)n);
    return v;
#endif
}

static inline void gr_store_part(float *p, gr_vec v, int n) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    _mm256_maskstore_ps(p, (__m256i)((gr_ivec){0, 1, 2, 3, 4, 5, 6, 7} < n), (__m256)v);
#else
    memcpy(p, &v, sizeof(float) * (size_t)n);
#endif
}

/* A whole vector when n >= GR_W, else a part: for loops over channels that end in a tail. */
static inline gr_vec gr_load_upto(const float *p, int n) {
    return n >= GR_W ? gr_load(p) : gr_load_part(p, n);
}

static inline void gr_store_upto(float *p, gr_vec v, int n) {
    if (n >= GR_W)
        gr_store(p, v);
    else
        gr_store_part(p, v, n);
}

/* Lane by lane: mask (all ones or all zeros) ? a : b. */
static inline gr_vec gr_select(gr_ivec mask, gr_vec a, gr_vec b) {
    return (gr_vec)((mask & (gr_ivec)a) | (~mask & (gr_ivec)b));
}

/* The larger and the smaller; NaN in x stays NaN. */
static inline gr_vec gr_max(gr_vec x, gr_vec bound) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    return (gr_vec)_mm512_max_ps((__m512)bound, (__m512)x);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    return (gr_vec)_mm256_max_ps((__m256)bound, (__m256)x);
#elif GR_SIMD_WIDTH == 4 && defined(__SSE2__)
    return (gr_vec)_mm_max_ps((__m128)bound, (__m128)x);
#else
    return gr_select(bound > x, bound, x);
#endif
}

static inline gr_vec gr_min(gr_vec x, gr_vec bound) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    return (gr_vec)_mm512_min_ps((__m512)bound, (__m512)x);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    return (gr_vec)_mm256_min_ps((__m256)bound, (__m256)x);
#elif GR_SIMD_WIDTH == 4 && defined(__SSE2__)
    return (gr_vec)_mm_min_ps((__m128)bound, (__m128)x);
#else
    return gr_select(bound < x, bound, x);
#endif
}

/* e^x within 2 units in the last place for x <= 88.37, above which it stays at e^88.37; 0 below -87.33. */
static inline gr_vec gr_exp(gr_vec x) {
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it leaves the rounded integer in the low bits */
    x = gr_min(x, gr_splat(88.3762626647949f));
    gr_ivec underflow = x < gr_splat(-87.3365447f);
    x = gr_max(x, gr_splat(-87.3365447f));
    gr_vec shifted = x * 1.44269504088896341f + round;
    gr_vec n = shifted - round;
    gr_vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    gr_vec p = gr_splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    gr_ivec power = (((gr_ivec)shifted - 0x4B400000) + 127) << 23;
    return gr_select(underflow, gr_splat(0), p * (gr_vec)power);
}

#endif
