#include "kernels/check_kernels.h"

#include "kernels/bfloat16.h"

static const int counts[] = {1, 3, 15, 16, 17, 64, 1000, 70001, 500000};
enum { COUNTS = sizeof counts / sizeof *counts };

static uint32_t bits_of(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static float float_of(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* By the definition: of the two neighbours the nearer one, of two equally near ones the even one. */
static uint16_t nearest(float x) {
    uint32_t below = bits_of(x) >> 16;
    double down = fabs((double)x - float_of(below << 16));
    double up = fabs((double)float_of((below + 1) << 16) - x);
    return (uint16_t)(down < up || (down == up && below % 2 == 0) ? below : below + 1);
}

static void numbers_are_rounded_to_the_nearest(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++) {
        int n = counts[i];
        float *x = numbers(n, 1), *back = unwritten(n);
        uint16_t *y = gr_alloc(sizeof *y * (size_t)n + 1), *again = gr_alloc(sizeof *y * (size_t)n + 1);
        assert_true(y && again);
        for (int j = 0; j < n; j += 7) /* exactly between two */
            x[j] = float_of((bits_of(x[j]) & 0xffff0000u) | 0x8000u);
        assert_int_equal(gr_threads_set(1), 0);
        gr_bfloat16_store(n, x, y);
        gr_bfloat16_load(n, y, back);
        assert_int_equal(gr_threads_set(2), 0);
        gr_bfloat16_store(n, x, again);
        assert_memory_equal(y, again, sizeof *y * (size_t)n);
        for (int j = 0; j < n; j++) {
            assert_int_equal(y[j], nearest(x[j]));
            assert_int_equal(bits_of(back[j]), (uint32_t)y[j] << 16);
        }
        gr_free(x);
        gr_free(back);
        gr_free(y);
        gr_free(again);
    }
}

static void special_numbers_stay_what_they_are(void **state) {
    const float x[] = {0, -0.0f, INFINITY, -INFINITY, NAN, float_of(0x7f800001u), 3.4e38f, 1, 2e-38f};
    enum { N = sizeof x / sizeof *x };
    uint16_t y[N];
    float back[N];
    (void)state;
    gr_bfloat16_store(N, x, y);
    gr_bfloat16_load(N, y, back);
    for (int i = 0; i < 4; i++)
        assert_int_equal(bits_of(back[i]), bits_of(x[i]));
    assert_true(isnan(back[4]) && isnan(back[5]));
    assert_true(isinf(back[6])); /* nearer to 2^128 than to the largest bfloat16 */
    assert_true(back[7] == 1 && fabs(back[8] / x[8] - 1) < 0x1p-8);
    gr_bfloat16_store(0, NULL, NULL);
}

/* Widened where it lies: in the upper half of the floats, and behind that. */
static void numbers_are_widened_in_place(void **state) {
    (void)state;
    for (int i = 0; i < COUNTS; i++)
        for (int extra = 0; extra < 100; extra += 33) {
            int n = counts[i];
            float *x = numbers(n, 5), *y = unwritten(n + extra + 1);
            uint16_t *kept = gr_alloc(sizeof *kept * (size_t)n);
            uint16_t *inside = (uint16_t *)(void *)(y + (n + 1) / 2 + extra / 2);
            assert_non_null(kept);
            gr_bfloat16_store(n, x, kept);
            gr_bfloat16_store(n, x, inside);
            assert_int_equal(gr_threads_set(1 + extra % 2), 0);
            gr_bfloat16_load(n, inside, y);
            for (int j = 0; j < n; j++)
                assert_int_equal(bits_of(y[j]), (uint32_t)kept[j] << 16);
            gr_free(x);
            gr_free(y);
            gr_free(kept);
        }
}

static int side(enum gr_activation f, float y) {
    return (y > 0) + (f == GR_RELU6 && y >= 6);
}

/* Numbers on either side of the corners, within one bfloat16 of them. */
static void check_corners(enum gr_activation f, int c) {
    enum { ROWS = 300 };
    float *x = numbers((int64_t)ROWS * c, 2), *scale = numbers(c, 3), *shift = numbers(c, 4);
    float *back = unwritten((int64_t)ROWS * c);
    uint16_t *y = gr_alloc(sizeof *y * (size_t)(ROWS * c));
    struct gr_prologue reader = {scale, shift, f, 0.1f};
    int wrong = 0;
    assert_non_null(y);
    for (int i = 0; i < ROWS * c; i++) {
        float *s = &scale[i % c], corner = f == GR_RELU6 && i % 2 ? 6 : 0;
        *s = fabsf(*s) < 0.1f ? 0.5f : *s;
        x[i] = (corner - shift[i % c]) / *s * (1 + x[i] * 0x1p-8f);
    }
    gr_bfloat16_store_for(&reader, ROWS, c, x, y);
    gr_bfloat16_load((int64_t)ROWS * c, y, back);
    for (int i = 0; i < ROWS * c; i++) {
        double exact = (double)x[i] * scale[i % c] + shift[i % c]; /* one rounding or two: not told apart */
        double corner = fmin(fabs(exact), f == GR_RELU6 ? fabs(exact - 6) : INFINITY);
        float rounded = float_of((uint32_t)nearest(x[i]) << 16);
        if (corner < 1e-5)
            continue;
        assert_int_equal(side(f, (float)exact), side(f, back[i] * scale[i % c] + shift[i % c]));
        assert_true(fabs((double)back[i] - x[i]) <= 0x1p-7 * fabs(x[i]));
        wrong += side(f, (float)exact) != side(f, rounded * scale[i % c] + shift[i % c]);
    }
    assert_true(wrong > 0 || c == 1); /* rounding to the nearest would have carried some over */
    gr_free(x);
    gr_free(scale);
    gr_free(shift);
    gr_free(back);
    gr_free(y);
}

static void rounding_stays_on_its_side_of_a_corner(void **state) {
    static const enum gr_activation all[] = {GR_RELU, GR_RELU6, GR_LEAKY_RELU};
    static const int channels[] = {1, 5, 16, 40};
    (void)state;
    for (int f = 0; f < 3; f++)
        for (int i = 0; i < 4; i++)
            check_corners(all[f], channels[i]);
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_rounded_to_the_nearest),
        cmocka_unit_test(special_numbers_stay_what_they_are),
        cmocka_unit_test(numbers_are_widened_in_place),
        cmocka_unit_test(rounding_stays_on_its_side_of_a_corner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
