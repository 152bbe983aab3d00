/* Repulsion and attraction of points against the sums written out. */
#include "kernels/check_kernels.h"
#include "kernels/points.h"

static void check_repulsion(int64_t n) {
    int64_t pitch = (n + GR_POINTS_PITCH - 1) / GR_POINTS_PITCH * GR_POINTS_PITCH;
    float *x = numbers(pitch, 1), *y = numbers(pitch, 2), *force = unwritten(2 * n), *weight = unwritten(n);
    double *wanted = zeros(2 * n), *weights = zeros(n);
    for (int64_t i = n; i < pitch; i++)
        x[i] = y[i] = 1e12F;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double dx = (double)x[i] - x[j], dy = (double)y[i] - y[j], w = 1 / (1 + dx * dx + dy * dy);
            wanted[2 * i] += w * w * dx;
            wanted[2 * i + 1] += w * w * dy;
            weights[i] += i == j ? 0 : w;
        }
    assert_int_equal(gr_threads_set(1), 0);
    gr_points_repel(n, pitch, x, y, force, weight);
    check_close("force", 2 * n, force, wanted, 1e-5);
    check_close("weight", n, weight, weights, 1e-5);
    float *again = unwritten(2 * n), *weight_again = unwritten(n);
    assert_int_equal(gr_threads_set(2), 0);
    gr_points_repel(n, pitch, x, y, again, weight_again);
    check_same_bits("force", 2 * n, force, again);
    check_same_bits("weight", n, weight, weight_again);
    float *arrays[] = {x, y, force, weight, again, weight_again};
    for (int i = 0; i < 6; i++)
        gr_free(arrays[i]);
    gr_free(wanted);
    gr_free(weights);
}

static void test_repulsion(void **state) {
    static const int64_t counts[] = {2, 31, 32, 33, 500};
    (void)state;
    for (int i = 0; i < 5; i++)
        check_repulsion(counts[i]);
}

/* Point i is drawn by some of the others, another number each time; the first by none. */
static void test_attraction(void **state) {
    enum { N = 40, MOST = 48 };
    static int32_t to[N * MOST];
    int64_t ends[N], end = 0;
    float *x = numbers(N, 1), *y = numbers(N, 2), *all = numbers(N * MOST, 3), *near = unwritten(N * MOST);
    float *force = unwritten(2 * N), *again = unwritten(2 * N);
    double *wanted = zeros(2 * N);
    (void)state;
    for (int i = 0; i < N; i++) {
        int count = i * 7 % (MOST + 1),
            filled = (count + GR_POINTS_PAIRS - 1) / GR_POINTS_PAIRS * GR_POINTS_PAIRS;
        for (int k = 0; k < filled; k++) {
            int32_t other = (i + 3 * k + 1) % N;
            double dx = (double)x[i] - x[other], dy = (double)y[i] - y[other];
            to[end + k] = k < count ? other : 0;
            near[end + k] = k < count ? all[end + k] : 0;
            wanted[2 * i] += near[end + k] / (1 + dx * dx + dy * dy) * dx;
            wanted[2 * i + 1] += near[end + k] / (1 + dx * dx + dy * dy) * dy;
        }
        ends[i] = end += filled;
    }
    assert_int_equal(gr_threads_set(1), 0);
    gr_points_attract(N, ends, to, near, x, y, force);
    check_close("force", 2 * N, force, wanted, 1e-5);
    assert_int_equal(gr_threads_set(2), 0);
    gr_points_attract(N, ends, to, near, x, y, again);
    check_same_bits("force", 2 * N, force, again);
    float *arrays[] = {x, y, all, near, force, again};
    for (int i = 0; i < 6; i++)
        gr_free(arrays[i]);
    gr_free(wanted);
}

static int group(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_repulsion), cmocka_unit_test(test_attraction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
