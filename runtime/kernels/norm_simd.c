#include "kernels/simd.h"

#include "kernels/tables.h"

/* The sums take four rows at a time, so that the running sums are read and written once for four values. */

static void sum(int64_t rows, int c, int64_t ld, const float *restrict x, float *restrict total) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * ld) {
        const float *x0 = x, *x1 = x + ld, *x2 = x + 2 * ld, *x3 = x + 3 * ld;
        for (int j = 0; j < c; j++)
            total[j] += (x0[j] + x1[j]) + (x2[j] + x3[j]);
    }
    for (; row < rows; row++, x += ld)
        for (int j = 0; j < c; j++)
            total[j] += x[j];
}

static void deviation(int64_t rows, int c, int64_t ld, const float *restrict x, const float *restrict mean,
                      float *restrict total) {
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, x += 4 * ld) {
        const float *x0 = x, *x1 = x + ld, *x2 = x + 2 * ld, *x3 = x + 3 * ld;
        for (int j = 0; j < c; j++) {
            float d0 = x0[j] - mean[j], d1 = x1[j] - mean[j], d2 = x2[j] - mean[j], d3 = x3[j] - mean[j];
            total[j] += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
        }
    }
    for (; row < rows; row++, x += ld)
        for (int j = 0; j < c; j++)
            total[j] += (x[j] - mean[j]) * (x[j] - mean[j]);
}

static void product(int64_t rows, int c, int64_t ld, const float *restrict x, const float *restrict mean,
                    const float *restrict gy, float *restrict sum_gy, float *restrict sum_product) {
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2, x += 2 * ld, gy += 2 * ld) {
        const float *x0 = x, *x1 = x + ld, *g0 = gy, *g1 = gy + ld;
        for (int j = 0; j < c; j++) {
            sum_gy[j] += g0[j] + g1[j];
            sum_product[j] += g0[j] * (x0[j] - mean[j]) + g1[j] * (x1[j] - mean[j]);
        }
    }
    for (; row < rows; row++, x += ld, gy += ld)
        for (int j = 0; j < c; j++) {
            sum_gy[j] += gy[j];
            sum_product[j] += gy[j] * (x[j] - mean[j]);
        }
}

static void backward(int64_t rows, int c, int64_t ld, const float *x, const float *mean, const float *gy,
                     const float *a, const float *b, const float *d, float *gx, bool accumulate) {
    for (int64_t row = 0; row < rows; row++, x += ld, gy += ld, gx += ld)
        for (int j = 0; j < c; j += GR_W) {
            int rest = c - j;
            gr_vec v = gr_load_upto(gy + j, rest) * gr_load_upto(a + j, rest) + gr_load_upto(d + j, rest);
            v += (gr_load_upto(x + j, rest) - gr_load_upto(mean + j, rest)) * gr_load_upto(b + j, rest);
            if (accumulate)
                v += gr_load_upto(gx + j, rest);
            gr_store_upto(gx + j, v, rest);
        }
}

static void apply(int64_t rows, int c, int64_t ld, const float *x, const float *mean, const float *a,
                  const float *b, float *y) {
    for (int64_t row = 0; row < rows; row++, x += ld, y += ld)
        for (int j = 0; j < c; j += GR_W) {
            int rest = c - j;
            gr_vec v = (gr_load_upto(x + j, rest) - gr_load_upto(mean + j, rest)) * gr_load_upto(a + j, rest);
            gr_store_upto(y + j, v + gr_load_upto(b + j, rest), rest);
        }
}

const struct gr_norm_kernels GR_SIMD_SYMBOL(gr_norm_kernels) = {
    .sum = sum,
    .deviation = deviation,
    .product = product,
    .backward = backward,
    .apply = apply,
};
