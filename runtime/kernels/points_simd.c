#include "kernels/simd.h"
#include "kernels/tables.h"

static float total(gr_vec v) {
    float sum = 0;
    for (int l = 0; l < GR_W; l++)
        sum += v[l];
    return sum;
}

static gr_vec gather(const float *values, const int32_t *at) {
#if GR_SIMD_WIDTH == 16 && defined(__AVX512F__)
    return (gr_vec)_mm512_i32gather_ps(_mm512_loadu_si512(at), values, 4);
#elif GR_SIMD_WIDTH == 8 && defined(__AVX2__)
    return (gr_vec)_mm256_i32gather_ps(values, _mm256_loadu_si256((const __m256i *)at), 4);
#else
    gr_vec v;
    for (int l = 0; l < GR_W; l++)
        v[l] = values[at[l]];
    return v;
#endif
}

/* Lanes are sums of their own. Two vectors at a time share one division, which is what takes longest:
 * 1 / a = b / (a b). */
static void repel(int64_t n, const float *xs, const float *ys, float x, float y, float force[2],
                  float *weight) {
    gr_vec sum_x[2] = {{0}}, sum_y[2] = {{0}}, sum[2] = {{0}};
    for (int64_t j = 0; j < n; j += 2 * (int64_t)GR_W) {
        gr_vec dx[2], dy[2], far[2];
        for (int k = 0; k < 2; k++) {
            dx[k] = x - gr_load(xs + j + k * GR_W);
            dy[k] = y - gr_load(ys + j + k * GR_W);
            far[k] = 1.0f + dx[k] * dx[k] + dy[k] * dy[k];
        }
        gr_vec both = 1.0f / (far[0] * far[1]);
        for (int k = 0; k < 2; k++) {
            gr_vec w = both * far[1 - k], r = w * w;
            sum_x[k] += r * dx[k];
            sum_y[k] += r * dy[k];
            sum[k] += w;
        }
    }
    force[0] = total(sum_x[0] + sum_x[1]);
    force[1] = total(sum_y[0] + sum_y[1]);
    *weight = total(sum[0] + sum[1]);
}

static void attract(int64_t count, const int32_t *to, const float *near, const float *xs, const float *ys,
                    float x, float y, float force[2]) {
    gr_vec sum_x = {0}, sum_y = {0};
    for (int64_t k = 0; k < count; k += GR_W) {
        gr_vec dx = x - gather(xs, to + k), dy = y - gather(ys, to + k);
        gr_vec pull = gr_load(near + k) / (1.0f + dx * dx + dy * dy);
        sum_x += pull * dx;
        sum_y += pull * dy;
    }
    force[0] = total(sum_x);
    force[1] = total(sum_y);
}

const struct gr_points_kernels GR_SIMD_SYMBOL(gr_points_kernels) = {.repel = repel, .attract = attract};
