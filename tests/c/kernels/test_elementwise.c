#include "kernels/check_kernels.h"

#include "kernels/elementwise.h"

static const int counts[] = {1, 3, 15, 16, 17, 64, 1000, 70001, 200000};
enum { COUNTS = sizeof counts / sizeof *counts };

static double activated(enum gr_activation f, double a, double x) {
    double hard = x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    switch (f) {
    case GR_IDENTITY:
        return x;
    case GR_RELU:
        return x > 0 ? x : 0;
    case GR_RELU6:
        return x < 0 ? 0 : x > 6 ? 6 : x;
    case GR_LEAKY_RELU:
        return x > 0 ? x : a * x;
    case GR_SIGMOID:
        return 1 / (1 + exp(-x));
    case GR_TANH:
        return tanh(x);
    case GR_HARDSIGMOID:
        return hard;
    case GR_SILU:
        return x / (1 + exp(-x));
    case GR_HARDSWISH:
        return x * hard;
    }
    return x;
}

static double slope(enum gr_activation f, double a, double x) {
    const double step = 1e-5;
    return (activated(f, a, x + step) - activated(f, a, x - step)) / (2 * step);
}

/* Numbers that avoid the corners, where the slope is a convention. */
static float *spread_numbers(int count, uint32_t seed) {
    float *x = numbers(count, seed);
    for (int i = 0; i < count; i++) {
        x[i] *= 9;
        double corner = fmin(fabs(x[i]), fmin(fabs(fabs(x[i]) - 3), fabs(x[i] - 6)));
        x[i] += corner < 1e-3 ? 0.01f : 0;
    }
    return x;
}

static void check_activation(enum gr_activation f, int count, bool accumulate) {
    const float a = 0.1f;
    float *x = spread_numbers(count, 1), *gy = numbers(count, 2), *y = unwritten(count),
          *gx = numbers(count, 3);
    double *wanted = zeros(count), *wanted_g = zeros(count);
    for (int i = 0; i < count; i++) {
        wanted[i] = activated(f, a, x[i]);
        wanted_g[i] = (accumulate ? gx[i] : 0) + gy[i] * slope(f, a, x[i]);
    }
    gr_activation_forward(f, a, count, x, y);
    check_close("activation", count, y, wanted, 5e-7);
    if (!accumulate)
        memset(gx, 255, sizeof(float) * (size_t)count);
    gr_activation_backward(f, a, count, gr_activation_from_output(f) ? y : x, gy, gx, accumulate);
    double error = 0, size = 0; /* relative to gy: where y saturates, the slope itself has few digits */
    for (int i = 0; i < count; i++) {
        error += (gx[i] - wanted_g[i]) * (gx[i] - wanted_g[i]);
        size += (double)gy[i] * gy[i];
    }
    assert_true(sqrt(error) <= 1e-6 * sqrt(size));
    gr_activation_forward(f, a, count, x, x);
    check_same_bits("activation in place", count, x, y);
    float *arrays[] = {x, gy, y, gx};
    for (int i = 0; i < 4; i++)
        gr_free(arrays[i]);
    gr_free(wanted);
    gr_free(wanted_g);
}

static void test_activations(void **state) {
    (void)state;
    for (int f = GR_IDENTITY; f <= GR_HARDSWISH; f++)
        for (int i = 0; i < COUNTS; i++) {
            check_activation((enum gr_activation)f, counts[i], false);
            check_activation((enum gr_activation)f, counts[i], true);
        }
}

/* Extreme arguments stay finite, and NaN is not hidden. */
static void test_activation_extremes(void **state) {
    const float x[] = {-1e30f, -200, -88, -87.4f, 0, 87, 89, 200, 1e30f, 1e-20f};
    enum { N = sizeof x / sizeof *x };
    (void)state;
    for (int f = GR_IDENTITY; f <= GR_HARDSWISH; f++) {
        float y[N], bad = NAN, out;
        gr_activation_forward((enum gr_activation)f, 0.1f, N, x, y);
        for (int i = 0; i < N; i++) {
            double wanted = activated((enum gr_activation)f, 0.1f, x[i]);
            assert_true(fabs(y[i] - wanted) <= 1e-6 * fabs(wanted) + 1e-35);
        }
        gr_activation_forward((enum gr_activation)f, 0.1f, 1, &bad, &out);
        assert_true(isnan(out));
    }
}

static void test_arithmetic(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++) {
        int n = counts[i];
        float *a = numbers(n, 1), *b = numbers(n, 2), *y = unwritten(n);
        gr_add(n, a, b, y);
        for (int j = 0; j < n; j++)
            assert_true(y[j] == a[j] + b[j]);
        gr_multiply(n, a, b, y);
        for (int j = 0; j < n; j++)
            assert_true(y[j] == a[j] * b[j]);
        gr_scale(n, 0.3f, a, y);
        for (int j = 0; j < n; j++)
            assert_true(y[j] == 0.3f * a[j]);
        gr_accumulate(n, b, y);
        for (int j = 0; j < n; j++)
            assert_true(y[j] == 0.3f * a[j] + b[j]);
        gr_free(a);
        gr_free(b);
        gr_free(y);
    }
}

/* Outputs so large that they are stored past the caches, and the same in pieces that are not. */
static void test_large(void **state) {
    enum { COUNT = (4 << 20) + 37, C = 32, ROWS = (4 << 20) / C + 5 };
    (void)state;
    float *a = numbers(ROWS * C, 1), *b = numbers(ROWS * C, 2), *y = unwritten(ROWS * C),
          *z = unwritten(ROWS * C);
    for (int operation = 0; operation < 5; operation++) {
        bool channels = operation > 2;
        int64_t total = channels ? ROWS : COUNT, each = channels ? C : 1;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t i = 0, step = pass ? 65536 : total; i < total; i += step) {
                int64_t count = total - i < step ? total - i : step, at = i * each;
                float *to = (pass ? z : y) + at;
                if (operation == 0)
                    gr_activation_forward(GR_RELU, 0, count, a + at, to);
                else if (operation == 1)
                    gr_activation_backward(GR_RELU, 0, count, a + at, b + at, to, false);
                else if (operation == 2)
                    gr_add(count, a + at, b + at, to);
                else
                    gr_scale_shift(count, C, a + at, b, operation == 3 ? b + C : NULL, to);
            }
        check_same_bits("large array", total * each, y, z);
    }
    float *arrays[] = {a, b, y, z};
    for (int i = 0; i < 4; i++)
        gr_free(arrays[i]);
}

static void check_channels(int n, int pixels, int c) {
    int64_t count = (int64_t)n * pixels * c;
    float *x = numbers(count, 1), *gy = numbers(count, 2), *s = numbers(n * c, 3), *shift = numbers(c, 4);
    float *y = unwritten(count), *gx = numbers(count, 5), *gs = numbers(n * c, 6);
    double *wanted = zeros(count), *wanted_gx = zeros(count), *wanted_gs = zeros(n * c);
    for (int64_t i = 0; i < count; i++)
        wanted[i] = (double)x[i] * s[i % c] + shift[i % c];
    gr_scale_shift((int64_t)n * pixels, c, x, s, shift, y);
    check_close("scale and shift", count, y, wanted, 5e-7);
    for (int64_t i = 0; i < count; i++)
        wanted[i] = (double)x[i] * s[i % c];
    gr_scale_shift((int64_t)n * pixels, c, x, s, NULL, y);
    check_close("scale", count, y, wanted, 5e-7);

    for (int i = 0; i < n * c; i++)
        wanted_gs[i] = gs[i];
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i / c / pixels * c + i % c;
        wanted[i] = (double)x[i] * s[at];
        wanted_gx[i] = gx[i] + (double)gy[i] * s[at];
        wanted_gs[at] += (double)gy[i] * x[i];
    }
    gr_channel_multiply(n, pixels, c, x, s, y);
    check_close("channel multiply", count, y, wanted, 5e-7);
    gr_channel_multiply_backward(n, pixels, c, x, s, gy, gx, true, gs, true);
    check_close("channel multiply gx", count, gx, wanted_gx, 1e-6);
    check_close("channel multiply gs", n * c, gs, wanted_gs, 2e-6);
    gr_channel_multiply_backward(n, pixels, c, x, s, gy, y, false, NULL, false);
    gr_channel_multiply_backward(n, pixels, c, x, s, gy, NULL, false, gs, false);
    for (int64_t i = 0; i < count; i++)
        assert_true(y[i] == gy[i] * s[i / c / pixels * c + i % c]);
    float *arrays[] = {x, gy, s, shift, y, gx, gs};
    for (int i = 0; i < 7; i++)
        gr_free(arrays[i]);
    gr_free(wanted);
    gr_free(wanted_gx);
    gr_free(wanted_gs);
}

static void test_channels(void **state) {
    (void)state;
    check_channels(1, 1, 1);
    check_channels(2, 9, 3);
    check_channels(3, 49, 17);
    check_channels(2, 196, 64);
    check_channels(2, 300, 300);
    check_channels(1, 3136, 40);
}

static void test_layouts(void **state) {
    static const int sizes[][3] = {{1, 1, 1},    {2, 3, 35},    {1, 64, 49},
                                   {2, 17, 100}, {1, 3, 50000}, {1, 5000, 33}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int n = sizes[i][0], c = sizes[i][1], p = sizes[i][2];
        int64_t count = (int64_t)n * c * p;
        float *x = numbers(count, 1), *y = unwritten(count), *back = unwritten(count);
        gr_nchw_to_nhwc(n, c, p, x, y);
        for (int64_t j = 0; j < count; j++)
            assert_true(y[j] == x[j / c / p * c * p + j % c * p + j / c % p]);
        gr_nhwc_to_nchw(n, c, p, y, back);
        check_same_bits("layouts", count, x, back);
        gr_free(x);
        gr_free(y);
        gr_free(back);
    }
}

static void test_copy_channels(void **state) {
    const int rows = 1000, from = 20, to = 37, channels = 13;
    float *x = numbers(rows * from, 1), *y = numbers(rows * to, 2), *old = numbers(rows * to, 2);
    (void)state;
    gr_copy_channels(rows, channels, x, from, 7, y, to, 11, false);
    gr_copy_channels(rows, channels, x, from, 7, y, to, 24, true);
    for (int i = 0; i < rows * to; i++) {
        int row = i / to, c = i % to;
        float wanted = c < 11   ? old[i]
                       : c < 24 ? x[row * from + 7 + c - 11]
                                : old[i] + x[row * from + 7 + c - 24];
        assert_true(y[i] == wanted);
    }
    gr_free(x);
    gr_free(y);
    gr_free(old);
}

static void check_softmax(int rows, int c) {
    int count = rows * c;
    float *x = numbers(count, 1), *gy = numbers(count, 2), *y = unwritten(count), *gx = numbers(count, 3);
    double *p = zeros(count), *g = zeros(count);
    for (int r = 0; r < rows; r++) {
        double total = 0, mean = 0;
        for (int j = 0; j < c; j++)
            x[r * c + j] *= 20;
        for (int j = 0; j < c; j++)
            total += exp(x[r * c + j]);
        for (int j = 0; j < c; j++) {
            p[r * c + j] = exp(x[r * c + j]) / total;
            mean += p[r * c + j] * gy[r * c + j];
        }
        for (int j = 0; j < c; j++)
            g[r * c + j] = gx[r * c + j] + p[r * c + j] * (gy[r * c + j] - mean);
    }
    gr_softmax(rows, c, x, y);
    check_close("softmax", count, y, p, 2e-6);
    gr_softmax_backward(rows, c, y, gy, gx, true);
    check_close("softmax backward", count, gx, g, 2e-6);
    gr_softmax(rows, c, x, x);
    check_same_bits("softmax in place", count, x, y);
    gr_free(x);
    gr_free(gy);
    gr_free(y);
    gr_free(gx);
    gr_free(p);
    gr_free(g);
}

static void test_softmax(void **state) {
    (void)state;
    check_softmax(1, 1);
    check_softmax(5, 3);
    check_softmax(16, 1000);
    check_softmax(3000, 17);
}

static void test_dropout(void **state) {
    const int count = 50000;
    const uint32_t key[4] = {1, 2, 3, 4}, other[4] = {1, 2, 3, 5};
    float *x = numbers(count, 1), *y = unwritten(count), *z = unwritten(count), *g = numbers(count, 2);
    uint8_t *mask = gr_alloc((size_t)count), *again = gr_alloc((size_t)count);
    int kept = 0, differ = 0;
    (void)state;
    gr_dropout_forward(count, 0.3f, key, x, y, mask);
    gr_dropout_forward(777, 0.3f, key, x, z, again); /* a mask does not depend on how many are asked for */
    assert_memory_equal(mask, again, 777);
    for (int i = 0; i < count; i++) {
        assert_true(y[i] == (mask[i] ? x[i] * (1 / (1 - 0.3f)) : 0));
        kept += mask[i];
    }
    assert_true(fabs(kept / (double)count - 0.7) < 0.01);
    gr_dropout_forward(count, 0.3f, other, x, z, again);
    for (int i = 0; i < count; i++)
        differ += mask[i] != again[i];
    assert_true(fabs(differ / (double)count - 0.42) < 0.02);
    memcpy(z, g, sizeof(float) * (size_t)count);
    gr_dropout_backward(count, 0.3f, mask, x, z, true);
    for (int i = 0; i < count; i++)
        assert_true(z[i] == g[i] + y[i]);
    gr_free(x);
    gr_free(y);
    gr_free(z);
    gr_free(g);
    gr_free(mask);
    gr_free(again);
}

static void test_reductions(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++) {
        int n = counts[i];
        float *x = numbers(n, 1);
        double wanted = 0;
        for (int j = 0; j < n; j++)
            wanted += (double)x[j] * x[j];
        assert_int_equal(gr_threads_set(1), 0);
        double one = gr_sum_squares(n, x);
        assert_int_equal(gr_threads_set(2), 0);
        double two = gr_sum_squares(n, x);
        assert_memory_equal(&one, &two, sizeof one);
        assert_true(fabs(one - wanted) <= 1e-12 * wanted);
        gr_free(x);
    }
    assert_true(gr_sum_squares(0, NULL) == 0);
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_activations), cmocka_unit_test(test_activation_extremes),
        cmocka_unit_test(test_arithmetic),  cmocka_unit_test(test_channels),
        cmocka_unit_test(test_layouts),     cmocka_unit_test(test_copy_channels),
        cmocka_unit_test(test_softmax),     cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_reductions),  cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
