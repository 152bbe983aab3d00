#include "kernels/simd.h"

#include "kernels/tables.h"

/* Channels are the lanes; the window's pixels are walked for each vector of channels. */

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS gr_vec window_max(const struct gr_pool_window *window, const float *x, int rest, gr_ivec *where) {
    gr_vec best = gr_load_upto(x, rest);
    *where = (gr_ivec){0} + window->position;
    for (int r = 0; r < window->rows; r++)
        for (int s = 0; s < window->columns; s++) {
            gr_vec v = gr_load_upto(x + r * window->row_step + s * window->column_step, rest);
            gr_ivec wins = (v > best) | (v != v); /* NaN is the largest, as in PyTorch */
            best = gr_select(wins, v, best);
            *where = (wins & (window->position + r * window->position_row + s)) | (~wins & *where);
        }
    return best;
}

static void max(const struct gr_pool_window *window, int c, const float *x, float *y, uint8_t *argmax) {
    for (int j = 0; j < c; j += GR_W) {
        gr_ivec where;
        int rest = c - j;
        gr_store_upto(y + j, window_max(window, x + j, rest, &where), rest);
        if (argmax) {
            gr_bvec bytes = __builtin_convertvector(where, gr_bvec);
            memcpy(argmax + j, &bytes, (size_t)(rest < GR_W ? rest : GR_W));
        }
    }
}

static void max_wide(const struct gr_pool_window *window, int c, const float *x, float *y, int32_t *argmax) {
    for (int j = 0; j < c; j += GR_W) {
        gr_ivec where;
        int rest = c - j;
        gr_store_upto(y + j, window_max(window, x + j, rest, &where), rest);
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

static void pick(int c, const uint8_t *argmax, int position, const float *gy, float *gx) {
    int j = 0;
    for (; j + GR_W <= c; j += GR_W) {
        gr_bvec bytes;
        memcpy(&bytes, argmax + j, sizeof bytes);
        gr_ivec hit = __builtin_convertvector(bytes, gr_ivec) == position;
        gr_store(gx + j, gr_load(gx + j) + (gr_vec)(hit & (gr_ivec)gr_load(gy + j)));
    }
    for (; j < c; j++)
        gx[j] += argmax[j] == position ? gy[j] : 0;
}

static void pick_wide(int c, const int32_t *argmax, int position, const float *gy, float *gx) {
    for (int j = 0; j < c; j++)
        gx[j] += argmax[j] == position ? gy[j] : 0;
}

static void spread(int c, float factor, const float *gy, float *gx) {
    for (int j = 0; j < c; j++)
        gx[j] += factor * gy[j];
}

const struct gr_pool_kernels GR_SIMD_SYMBOL(gr_pool_kernels) = {
    .max = max,
    .max_wide = max_wide,
    .sum = sum,
    .pick = pick,
    .pick_wide = pick_wide,
    .spread = spread,
};
