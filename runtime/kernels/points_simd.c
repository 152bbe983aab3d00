#include "kernels/simd.h"
#include "kernels/tables.h"

static float total(gr_vec v) {
    float sum = 0;
    for (int l = 0; l < GR_W; l++)
        sum += v[l];
    return sum;
}

/* Lanes are sums of their own. Two vectors at a time: one division does not wait for the other. */
static void repel(int64_t n, const float *xs, const float *ys, float x, float y, float force[2],
                  float *weight) {
    gr_vec sum_x[2] = {{0}}, sum_y[2] = {{0}}, sum[2] = {{0}};
    for (int64_t j = 0; j < n; j += 2 * (int64_t)GR_W)
        for (int k = 0; k < 2; k++) {
            gr_vec dx = x - gr_load(xs + j + k * GR_W), dy = y - gr_load(ys + j + k * GR_W);
            gr_vec w = 1.0f / (1.0f + dx * dx + dy * dy), r = w * w;
            sum_x[k] += r * dx;
            sum_y[k] += r * dy;
            sum[k] += w;
        }
    force[0] = total(sum_x[0] + sum_x[1]);
    force[1] = total(sum_y[0] + sum_y[1]);
    *weight = total(sum[0] + sum[1]);
}

const struct gr_points_kernels GR_SIMD_SYMBOL(gr_points_kernels) = {.repel = repel};
