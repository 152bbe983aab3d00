/* Repulsion of points against the sums written out. */
#include "kernels/check_kernels.h"
#include "kernels/points.h"

static void check_repulsion(int64_t n) {
    int64_t pitch = (n + GR_POINTS_PITCH - 1) / GR_POINTS_PITCH * GR_POINTS_PITCH;
    float *x = numbers(pitch, 1), *y = numbers(pitch, 2), *force = unwritten(2 * n), *weight = unwritten(n);
    double *wanted = zeros(2 * n), *weights = zeros(n);
    for (int64_t i = n; i < pitch; i++)
        x[i] = y[i] = 1e18F;
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

static int group(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_repulsion)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
