#include "kernels/simd.h"

#include "kernels/tables.h"

/* Channels are the lanes; the window's pixels are walked for each vector of channels. */

/* Positions from bytes. Compilers take a vector of bytes apart where the instruction is not named. */
GR_ALWAYS gr_ivec load_bytes(const uint8_t *p) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    return (gr_ivec)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    return (gr_ivec)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    gr_bvec bytes;
    memcpy(&bytes, p, sizeof bytes);
    return __builtin_convertvector(bytes, gr_ivec);
#endif
}

GR_ALWAYS void store_bytes(uint8_t *p, gr_ivec v, int count) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    __m128i bytes = _mm512_cvtepi32_epi8((__m512i)v);
#else
    gr_bvec bytes = __builtin_convertvector(v, gr_bvec);
#endif
    memcpy(p, &bytes, count < GR_W ? (size_t)count : sizeof bytes);
}

/* NaN is the largest, as in PyTorch; of equals the first wins. `rows` and `columns` are the window's, as
 * constants where they are known. */
GR_ALWAYS gr_vec window_max(const struct gr_pool_window *window, int rows, int columns, const float *x,
                            int rest, bool full, gr_ivec *where) {
    gr_vec best = full ? gr_load(x) : gr_load_part(x, rest);
    *where = (gr_ivec){0} + window->position;
    for (int r = 0; r < rows; r++) {
        for (int s = 0; s < columns; s++) {
            const float *from = x + r * window->row_step + s * window->column_step;
            gr_vec v = full ? gr_load(from) : gr_load_part(from, rest);
            int position = window->position + r * window->position_row + s;
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
            __mmask16 wins = _mm512_cmp_ps_mask((__m512)v, (__m512)best, _CMP_GT_OQ) |
                             _mm512_cmp_ps_mask((__m512)v, (__m512)v, _CMP_UNORD_Q);
            best = (gr_vec)_mm512_mask_mov_ps((__m512)best, wins, (__m512)v);
            *where = (gr_ivec)_mm512_mask_set1_epi32((__m512i)*where, wins, position);
#else
            gr_ivec wins = (v > best) | (v != v);
            best = gr_select(wins, v, best);
            *where = (wins & position) | (~wins & *where);
#endif
        }
    }
    return best;
}

static gr_vec any_window_max(const struct gr_pool_window *window, const float *x, int rest, gr_ivec *where) {
    bool three = window->rows == 3 && window->columns == 3;
    if (rest < GR_W)
        return window_max(window, window->rows, window->columns, x, rest, false, where);
    return three ? window_max(window, 3, 3, x, rest, true, where)
                 : window_max(window, window->rows, window->columns, x, rest, true, where);
}

static void max(const struct gr_pool_window *window, int c, const float *x, float *y, uint8_t *argmax) {
    for (int j = 0; j < c; j += GR_W) {
        gr_ivec where;
        int rest = c - j;
        gr_store_upto(y + j, any_window_max(window, x + j, rest, &where), rest);
        if (argmax)
            store_bytes(argmax + j, where, rest);
    }
}

static void max_wide(const struct gr_pool_window *window, int c, const float *x, float *y, int32_t *argmax) {
    for (int j = 0; j < c; j += GR_W) {
        gr_ivec where;
        int rest = c - j;
        gr_store_upto(y + j, any_window_max(window, x + j, rest, &where), rest);
        if (argmax)
            memcpy(argmax + j, &where, sizeof(int32_t) * (size_t)(rest < GR_W ? rest : GR_W));
    }
}

static void sum(const struct gr_pool_window *window, int c, float factor, const float *x, float *y) {
    for (int j = 0; j < c; j += GR_W) {
        int rest = c - j;
        gr_vec total = {0};
        for (int r = 0; r < window->rows; r++) {
            gr_vec row = {0}; /* rows by themselves: large windows lose fewer bits */
            for (int s = 0; s < window->columns; s++)
                row += gr_load_upto(x + j + r * window->row_step + s * window->column_step, rest);
            total += row;
        }
        gr_store_upto(y + j, total * factor, rest);
    }
}

GR_ALWAYS void pick_loop(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                         bool stream) {
    int j = 0;
    for (; j + GR_W <= c; j += GR_W) {
        gr_vec sum = accumulate ? gr_load(gx + j) : gr_splat(0);
        for (int i = 0; i < count; i++) {
            gr_ivec hit = load_bytes(sources[i].argmax + j) == sources[i].position;
            sum += (gr_vec)(hit & (gr_ivec)gr_load(sources[i].gy + j));
        }
        gr_put(gx + j, sum, stream);
    }
    if (j < c) {
        int rest = c - j;
        gr_vec sum = accumulate ? gr_load_part(gx + j, rest) : gr_splat(0);
        for (int i = 0; i < count; i++) {
            uint8_t bytes[GR_W] = {0};
            memcpy(bytes, sources[i].argmax + j, (size_t)rest);
            gr_ivec hit = load_bytes(bytes) == sources[i].position;
            sum += (gr_vec)(hit & (gr_ivec)gr_load_part(sources[i].gy + j, rest));
        }
        gr_store_part(gx + j, sum, rest);
    }
}

/* With a stride of 2, windows of 2 or 3 pixels cover an input pixel 1, 2 or 4 times. */
static void pick(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                 bool stream) {
    if (count == 1)
        pick_loop(1, sources, c, gx, accumulate, stream);
    else if (count == 2)
        pick_loop(2, sources, c, gx, accumulate, stream);
    else if (count == 4)
        pick_loop(4, sources, c, gx, accumulate, stream);
    else
        pick_loop(count, sources, c, gx, accumulate, stream);
}

static void pick_wide(int c, const int32_t *argmax, int position, const float *gy, float *gx) {
    for (int j = 0; j < c; j++)
        gx[j] += argmax[j] == position ? gy[j] : 0;
}

static void spread(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                   bool stream) {
    for (int j = 0; j < c; j += GR_W) {
        int rest = c - j;
        gr_vec sum = accumulate ? gr_load_upto(gx + j, rest) : gr_splat(0);
        for (int i = 0; i < count; i++)
            sum += sources[i].factor * gr_load_upto(sources[i].gy + j, rest);
        if (rest >= GR_W)
            gr_put(gx + j, sum, stream);
        else
            gr_store_part(gx + j, sum, rest);
    }
}

const struct gr_pool_kernels GR_SIMD_SYMBOL(gr_pool_kernels) = {
    .max = max,
    .max_wide = max_wide,
    .sum = sum,
    .pick = pick,
    .spread = spread,
    .pick_wide = pick_wide,
    .finish = gr_stream_end,
};
