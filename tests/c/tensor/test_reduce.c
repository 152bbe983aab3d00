/* Reductions, sorting, softmax. */
#include "check_tensor.h"

#include "tensor/fill.h"
#include "tensor/reduce.h"
#include "tensor/view.h"

static struct gr_tensor with(int rank, const int64_t *shape, const float *values) {
    struct gr_tensor x = counting(rank, shape);
    memcpy(gr_tensor_floats(&x), values, gr_tensor_bytes(&x));
    return x;
}

static void assert_integers(struct gr_tensor *tensor, const int64_t *values) {
    assert_int_equal(tensor->dtype, GR_I64);
    for (int64_t i = 0; i < gr_tensor_count(tensor); i++)
        assert_int_equal(gr_tensor_integers(tensor)[i], values[i]);
    gr_tensor_release(tensor);
}

static void each_reduction_along_each_dimension(void **state) {
    (void)state;
    struct gr_tensor x = with(SHAPE(2, 3), (float[]){1, 5, 3, -2, 4, 0.5f}), y;
    const struct {
        enum gr_reduction op;
        float columns[3], rows[2];
        double all;
    } cases[] = {
        {GR_REDUCE_SUM, {-1, 9, 3.5f}, {9, 2.5f}, 11.5},
        {GR_REDUCE_MEAN, {-0.5f, 4.5f, 1.75f}, {3, 0.83333333f}, 11.5 / 6},
        {GR_REDUCE_PROD, {-2, 20, 1.5f}, {15, -4}, -60},
        {GR_REDUCE_MAX, {1, 5, 3}, {5, 4}, 5},
        {GR_REDUCE_MIN, {-2, 4, 0.5f}, {1, -2}, -2},
        {GR_REDUCE_VAR, {4.5f, 0.5f, 3.125f}, {4, 9.0833333f}, 6.6416666666666666},
        {GR_REDUCE_STD, {2.1213203f, 0.70710678f, 1.7677670f}, {2, 3.0138569f}, 2.5771431},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double all;
        assert_ok(gr_reduce(&y, cases[i].op, &x, 0, false));
        assert_values(&y, SHAPE(3), cases[i].columns);
        gr_tensor_release(&y);
        assert_ok(gr_reduce(&y, cases[i].op, &x, 1, true));
        assert_values(&y, SHAPE(2, 1), cases[i].rows);
        gr_tensor_release(&y);
        assert_ok(gr_reduce_all(&all, cases[i].op, &x));
        assert_true(fabs(all - cases[i].all) < 1e-5);
    }
    gr_tensor_release(&x);
}

static void middle_dimensions_and_views(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 3, 2)), turned, y;
    assert_ok(gr_reduce(&y, GR_REDUCE_SUM, &x, 1, false));
    assert_values(&y, SHAPE(2, 2), (float[]){9, 12, 27, 30});
    gr_tensor_release(&y);
    assert_ok(gr_tensor_permute(&turned, &x, (int[]){1, 2, 0}));
    assert_ok(gr_reduce(&y, GR_REDUCE_SUM, &turned, 0, false));
    assert_values(&y, SHAPE(2, 2), (float[]){9, 27, 12, 30});
    gr_tensor_release(&y);
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
}

static void sums_are_kept_in_double(void **state) {
    (void)state;
    struct gr_tensor x;
    double sum;
    assert_ok(gr_full(&x, SHAPE(3000, 1000), 0.1f));
    assert_ok(gr_reduce_all(&sum, GR_REDUCE_SUM, &x));
    assert_true(fabs(sum - 3000000 * (double)0.1f) < 1e-6);
    gr_tensor_release(&x);
}

static void ties_go_to_the_first_and_nan_wins(void **state) {
    (void)state;
    struct gr_tensor x = with(SHAPE(2, 4), (float[]){1, 3, 3, 0, 2, NAN, 9, NAN}), y;
    int64_t place;
    double value;
    assert_ok(gr_arg(&y, &x, 1, false, true));
    assert_integers(&y, (int64_t[]){1, 1});
    assert_ok(gr_arg(&y, &x, 1, true, false));
    assert_int_equal(y.rank, 2);
    assert_integers(&y, (int64_t[]){3, 1});
    assert_ok(gr_arg_all(&place, &x, true));
    assert_int_equal(place, 5);
    assert_ok(gr_reduce_all(&value, GR_REDUCE_MAX, &x));
    assert_true(value != value);
    gr_tensor_release(&x);
}

static void sorting_is_stable(void **state) {
    (void)state;
    struct gr_tensor x = with(SHAPE(6), (float[]){2, NAN, 1, 2, -1, 1}), turned, y, values;
    assert_ok(gr_argsort(&y, &x, 0, false));
    assert_integers(&y, (int64_t[]){4, 2, 5, 0, 3, 1});
    assert_ok(gr_argsort(&y, &x, 0, true));
    assert_integers(&y, (int64_t[]){1, 0, 3, 2, 5, 4});
    gr_tensor_release(&x);
    x = with(SHAPE(3, 2), (float[]){1, 6, 5, 2, 5, 4});
    assert_ok(gr_topk(&y, &values, &x, 0, 2, true));
    assert_integers(&y, (int64_t[]){1, 0, 2, 2});
    assert_values(&values, SHAPE(2, 2), (float[]){5, 6, 5, 4});
    gr_tensor_release(&values);
    assert_ok(gr_tensor_transpose(&turned, &x, 0, 1));
    assert_ok(gr_topk(&y, &values, &turned, 1, 1, false));
    assert_integers(&y, (int64_t[]){0, 1});
    assert_values(&values, SHAPE(2, 1), (float[]){1, 2});
    gr_tensor_release(&values);
    assert_fails(gr_topk(&y, NULL, &x, 0, 4, true), GR_ERROR_OPTION, "k is 4");
    assert_ok(gr_topk(&y, NULL, &x, 0, 0, true));
    gr_tensor_release(&y);
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
}

static void long_sorts_agree_with_comparisons(void **state) {
    (void)state;
    struct gr_tensor x, y;
    assert_ok(gr_rand(&x, SHAPE(2001), 0, 1, 3, 0));
    for (int i = 0; i < 2001; i++)
        gr_tensor_floats(&x)[i] = floorf(gr_tensor_floats(&x)[i] * 50); /* many equals */
    assert_ok(gr_argsort(&y, &x, 0, false));
    for (int i = 1; i < 2001; i++) {
        int64_t a = gr_tensor_integers(&y)[i - 1], b = gr_tensor_integers(&y)[i];
        float left = gr_tensor_floats(&x)[a], right = gr_tensor_floats(&x)[b];
        assert_true(left < right || (left == right && a < b));
    }
    gr_tensor_release(&x);
    gr_tensor_release(&y);
}

static void softmax_of_large_logits(void **state) {
    (void)state;
    struct gr_tensor x = with(SHAPE(2, 2), (float[]){1000, 1001, -1000, -1000}), y;
    assert_ok(gr_tensor_softmax(&y, &x, 1, false));
    assert_values(&y, SHAPE(2, 2), (float[]){0.26894142f, 0.73105858f, 0.5f, 0.5f});
    gr_tensor_release(&y);
    assert_ok(gr_tensor_softmax(&y, &x, 1, true));
    assert_values(&y, SHAPE(2, 2), (float[]){-1.3132617f, -0.31326169f, -0.69314718f, -0.69314718f});
    gr_tensor_release(&y);
    assert_ok(gr_tensor_softmax(&y, &x, 0, false));
    assert_values(&y, SHAPE(2, 2), (float[]){1, 1, 0, 0});
    gr_tensor_release(&y);
    gr_tensor_release(&x);
}

static void nothing_to_reduce(void **state) {
    (void)state;
    struct gr_tensor x, y;
    double value;
    assert_ok(gr_tensor_create(&x, GR_F32, SHAPE(0, 3)));
    assert_ok(gr_reduce_all(&value, GR_REDUCE_SUM, &x));
    assert_true(value == 0);
    assert_ok(gr_reduce(&y, GR_REDUCE_PROD, &x, 0, false));
    assert_values(&y, SHAPE(3), (float[]){1, 1, 1});
    gr_tensor_release(&y);
    assert_ok(gr_reduce(&y, GR_REDUCE_MAX, &x, 1, false));
    gr_tensor_release(&y);
    assert_fails(gr_reduce(&y, GR_REDUCE_MAX, &x, 0, false), GR_ERROR_SHAPE, "nothing to take the max of");
    assert_fails(gr_arg_all(&(int64_t){0}, &x, true), GR_ERROR_SHAPE, "nothing");
    assert_fails(gr_reduce(&y, GR_REDUCE_SUM, &x, 2, false), GR_ERROR_SHAPE, "no dimension 3");
    gr_tensor_release(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKLESS(each_reduction_along_each_dimension),
        LEAKLESS(middle_dimensions_and_views),
        LEAKLESS(sums_are_kept_in_double),
        LEAKLESS(ties_go_to_the_first_and_nan_wins),
        LEAKLESS(sorting_is_stable),
        LEAKLESS(long_sorts_agree_with_comparisons),
        LEAKLESS(softmax_of_large_logits),
        LEAKLESS(nothing_to_reduce),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
