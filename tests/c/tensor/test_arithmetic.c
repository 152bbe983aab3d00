/* Element-wise work against loops over indices, joins, fills and products. */
#include "check_tensor.h"

#include "base/threads.h"
#include "tensor/arithmetic.h"
#include "tensor/fill.h"
#include "tensor/matmul.h"
#include "tensor/view.h"

static float naive(enum gr_binary op, float x, float y) {
    switch (op) {
    case GR_BINARY_ADD:
        return x + y;
    case GR_BINARY_SUB:
        return x - y;
    case GR_BINARY_MUL:
        return x * y;
    case GR_BINARY_DIV:
        return x / y;
    case GR_BINARY_POW:
        return powf(x, y);
    case GR_BINARY_MAXIMUM:
        return fmaxf(x, y);
    case GR_BINARY_MINIMUM:
        return fminf(x, y);
    case GR_BINARY_EQ:
        return x == y;
    case GR_BINARY_NE:
        return x != y;
    case GR_BINARY_LT:
        return x < y;
    case GR_BINARY_LE:
        return x <= y;
    case GR_BINARY_GT:
        return x > y;
    case GR_BINARY_GE:
        return x >= y;
    case GR_BINARY_COUNT:
        break;
    }
    return 0;
}

/* The element of `tensor` that stands at `index` of a larger shape. */
static float broadcast(const struct gr_tensor *tensor, int rank, const int64_t *index) {
    int64_t own[GR_MAX_RANK];
    for (int d = 0; d < tensor->rank; d++)
        own[d] = tensor->shape[d] == 1 ? 0 : index[d + rank - tensor->rank];
    return element(tensor, own);
}

static void check_binary(const struct gr_tensor *a, const struct gr_tensor *b) {
    for (int op = 0; op < GR_BINARY_COUNT; op++) {
        struct gr_tensor out;
        int64_t index[GR_MAX_RANK] = {0};
        assert_ok(gr_binary(&out, (enum gr_binary)op, a, b));
        do {
            float wanted =
                naive((enum gr_binary)op, broadcast(a, out.rank, index), broadcast(b, out.rank, index));
            float got = element(&out, index);
            if (got != wanted && !(fabsf(got - wanted) <= 1e-5f * fabsf(wanted)))
                fail_msg("%s: %g instead of %g", gr_binary_name((enum gr_binary)op), (double)got,
                         (double)wanted);
        } while (next_index(out.rank, out.shape, index));
        gr_tensor_release(&out);
    }
}

static void broadcasting_is_as_naive_loops_do_it(void **state) {
    (void)state;
    static const int64_t shapes[][4] = {{2, 3, 4, 5}, {1, 3, 1, 5}, {2, 1, 4, 1}, {1, 1, 1, 1}};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            for (int dropped = 0; dropped < 3; dropped++) { /* b with fewer dimensions */
                struct gr_tensor a = counting(4, shapes[i]), b = counting(4 - dropped, shapes[j] + dropped);
                check_binary(&a, &b);
                gr_tensor_release(&a);
                gr_tensor_release(&b);
            }
        }
    }
}

static void strided_operands_are_read_in_order(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(5, 6)), part, turned;
    assert_ok(gr_tensor_slice(&part, &x, 1, 1, 4));
    assert_ok(gr_tensor_permute(&turned, &part, (int[]){1, 0}));
    struct gr_tensor row = counting(SHAPE(5));
    check_binary(&turned, &row);
    check_binary(&row, &turned);
    gr_tensor_release(&row);
    gr_tensor_release(&turned);
    gr_tensor_release(&part);
    gr_tensor_release(&x);
}

static void large_work_is_cut_into_pieces(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{3, 50001}, {50001, 3}, {1, 200003}};
    gr_threads_set(2);
    for (int i = 0; i < 3; i++) {
        struct gr_tensor x = counting(2, shapes[i]), y, column = counting(2, (int64_t[]){shapes[i][0], 1});
        assert_ok(gr_binary(&y, GR_BINARY_SUB, &x, &column));
        for (int64_t k = 0; k < gr_tensor_count(&x); k++)
            assert_true(gr_tensor_floats(&y)[k] == (float)(k + 1) - (float)(k / shapes[i][1] + 1));
        gr_tensor_release(&x);
        gr_tensor_release(&y);
        gr_tensor_release(&column);
    }
}

static void unary_functions(void **state) {
    (void)state;
    struct gr_tensor x, y;
    assert_ok(gr_range(&x, -2, 0.5, 9));
    const struct {
        enum gr_unary op;
        float at_first, at_last; /* of -2 and 2 */
    } cases[] = {
        {GR_UNARY_EXP, 0.13533528f, 7.3890561f},
        {GR_UNARY_LOG, NAN, 0.69314718f},
        {GR_UNARY_SQRT, NAN, 1.41421356f},
        {GR_UNARY_ABS, 2, 2},
        {GR_UNARY_NEG, 2, -2},
        {GR_UNARY_SIGN, -1, 1},
        {GR_UNARY_SQUARE, 4, 4},
        {GR_UNARY_TANH, -0.96402758f, 0.96402758f},
        {GR_UNARY_SIGMOID, 0.11920292f, 0.8807971f},
        {GR_UNARY_RELU, 0, 2},
        {GR_UNARY_ROUND, -2, 2},
        {GR_UNARY_FLOOR, -2, 2},
        {GR_UNARY_CEIL, -2, 2},
        {GR_UNARY_SIN, -0.90929743f, 0.90929743f},
        {GR_UNARY_COS, -0.41614684f, -0.41614684f},
    };
    assert_int_equal(sizeof cases / sizeof cases[0], GR_UNARY_COUNT);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gr_tensor ends, both;
        assert_ok(gr_unary(&y, cases[i].op, &x));
        assert_ok(gr_tensor_copy(&both, &x));
        assert_ok(gr_unary_in_place(&both, cases[i].op));
        assert_memory_equal(gr_tensor_floats(&both), gr_tensor_floats(&y), gr_tensor_bytes(&y));
        ends = y;
        ends.shape[0] = 2;
        ends.stride[0] = 8;
        assert_values(&ends, SHAPE(2), (float[]){cases[i].at_first, cases[i].at_last});
        gr_tensor_release(&both);
        gr_tensor_release(&y);
    }
    assert_ok(gr_unary(&y, GR_UNARY_ROUND, &x)); /* halves go to the even neighbour */
    assert_values(&y, SHAPE(9), (float[]){-2, -2, -1, -0.0f, 0, 0, 1, 2, 2});
    gr_tensor_release(&y);
    gr_tensor_release(&x);
}

static void in_place_with_overlap(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 2)), turned, row, wide;
    assert_ok(gr_tensor_transpose(&turned, &x, 0, 1));
    assert_ok(gr_binary_in_place(&x, GR_BINARY_ADD, &turned));
    assert_values(&x, SHAPE(2, 2), (float[]){2, 5, 5, 8});
    assert_ok(gr_tensor_select(&row, &x, 0, 0));
    assert_ok(gr_binary_in_place(&x, GR_BINARY_MUL, &row));
    assert_values(&x, SHAPE(2, 2), (float[]){4, 25, 10, 40});
    assert_ok(gr_assign(&x, &turned));
    assert_values(&x, SHAPE(2, 2), (float[]){4, 10, 25, 40});
    assert_ok(gr_assign(&x, &x));
    assert_ok(gr_binary_number_in_place(&x, GR_BINARY_SUB, 4));
    assert_values(&x, SHAPE(2, 2), (float[]){0, 6, 21, 36});
    assert_ok(gr_tensor_expand(&wide, &row, SHAPE(3, 2)));
    assert_fails(gr_assign_number(&wide, 1), GR_ERROR_SHAPE, "share memory");
    assert_fails(gr_binary_in_place(&row, GR_BINARY_ADD, &x), GR_ERROR_SHAPE, "does not fit into");
    gr_tensor_release(&wide);
    gr_tensor_release(&row);
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
}

static void numbers_where_clamp_equal(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(4)), y, z;
    bool equal;
    assert_ok(gr_binary_number(&y, GR_BINARY_SUB, &x, 10, true));
    assert_values(&y, SHAPE(4), (float[]){9, 8, 7, 6});
    assert_ok(gr_where(&z, &x, &x, &y));
    assert_ok(gr_equal(&equal, &x, &z));
    assert_true(equal);
    assert_ok(gr_equal(&equal, &x, &y));
    assert_false(equal);
    gr_tensor_floats(&z)[0] = NAN;
    assert_ok(gr_equal(&equal, &z, &z));
    assert_false(equal);
    gr_tensor_release(&y);
    assert_ok(gr_clamp(&y, &z, 2.5f, 3.5f));
    assert_values(&y, SHAPE(4), (float[]){NAN, 2.5f, 3, 3.5f});
    gr_tensor_release(&y);
    assert_fails(gr_clamp(&y, &z, 2, 1), GR_ERROR_OPTION, "lower bound");
    gr_tensor_release(&z);
    assert_ok(gr_tensor_create(&z, GR_I64, SHAPE(4)));
    assert_fails(gr_binary(&y, GR_BINARY_ADD, &x, &z), GR_ERROR_OPTION, "float32");
    assert_fails(gr_assign_number(&z, 0.5), GR_ERROR_NUMBER, "0.5");
    gr_tensor_release(&z);
    z = counting(SHAPE(3));
    assert_fails(gr_binary(&y, GR_BINARY_ADD, &x, &z), GR_ERROR_SHAPE, "[4] and [3] do not fit");
    gr_tensor_release(&z);
    gr_tensor_release(&x);
}

static void joins(void **state) {
    (void)state;
    struct gr_tensor a = counting(SHAPE(2, 2)), b = counting(SHAPE(2, 1)), out;
    const struct gr_tensor *both[] = {&a, &b}, *same[] = {&a, &a};
    assert_ok(gr_concat(&out, both, 2, 1));
    assert_values(&out, SHAPE(2, 3), (float[]){1, 2, 1, 3, 4, 2});
    gr_tensor_release(&out);
    assert_fails(gr_concat(&out, both, 2, 0), GR_ERROR_SHAPE, "tensor 2 of the list has shape [2,1]");
    assert_ok(gr_stack(&out, same, 2, 2));
    assert_values(&out, SHAPE(2, 2, 2), (float[]){1, 1, 2, 2, 3, 3, 4, 4});
    gr_tensor_release(&out);
    assert_fails(gr_stack(&out, both, 2, 0), GR_ERROR_SHAPE, "does not fit the first");
    assert_fails(gr_concat(&out, both, 0, 0), GR_ERROR_OPTION, "empty list");
    gr_tensor_release(&a);
    gr_tensor_release(&b);
}

static void random_fills_repeat(void **state) {
    (void)state;
    struct gr_tensor a, b, c;
    bool equal;
    assert_ok(gr_randn(&a, SHAPE(100, 100), 0, 1, 7, 0));
    assert_ok(gr_randn(&b, SHAPE(100, 100), 0, 1, 7, 0));
    assert_ok(gr_randn(&c, SHAPE(100, 100), 0, 1, 7, 1));
    assert_ok(gr_equal(&equal, &a, &b));
    assert_true(equal);
    assert_ok(gr_equal(&equal, &a, &c));
    assert_false(equal);
    gr_tensor_release(&a);
    gr_tensor_release(&b);
    gr_tensor_release(&c);
}

static void products_are_as_naive_loops_do_them(void **state) {
    (void)state;
    struct gr_tensor a = counting(SHAPE(2, 1, 3, 4)), b = counting(SHAPE(5, 4, 2)), b_turned, b_odd, out;
    assert_ok(gr_tensor_transpose(&b_turned, &b, 1, 2)); /* [5,2,4] */
    assert_ok(gr_tensor_copy(&b_odd, &b_turned));        /* packed the other way round */
    gr_tensor_release(&b_turned);
    assert_ok(gr_tensor_transpose(&b_turned, &b_odd, 1, 2)); /* [5,4,2], columns contiguous */
    const struct gr_tensor *rights[] = {&b, &b_turned};
    for (int r = 0; r < 2; r++) {
        int64_t index[4] = {0};
        assert_ok(gr_matmul(&out, &a, rights[r]));
        assert_int_equal(out.rank, 4);
        do {
            float sum = 0;
            for (int64_t k = 0; k < 4; k++)
                sum += element(&a, (int64_t[]){index[0], 0, index[2], k}) *
                       element(&b, (int64_t[]){index[1], k, index[3]});
            assert_true(fabsf(element(&out, index) - sum) < 1e-3f);
        } while (next_index(4, (int64_t[]){2, 5, 3, 2}, index));
        gr_tensor_release(&out);
    }
    gr_tensor_release(&b_odd);
    gr_tensor_release(&b_turned);
    gr_tensor_release(&a);
    gr_tensor_release(&b);
}

static void vectors_and_odd_strides_multiply(void **state) {
    (void)state;
    struct gr_tensor m = counting(SHAPE(2, 3)), v = counting(SHAPE(3)), big = counting(SHAPE(3, 4, 2)), odd,
                     out, none;
    assert_ok(gr_matmul(&out, &m, &v));
    assert_values(&out, SHAPE(2), (float[]){14, 32});
    gr_tensor_release(&out);
    assert_ok(gr_matmul(&out, &v, &v));
    assert_values(&out, 0, NULL, (float[]){14});
    gr_tensor_release(&out);
    assert_ok(gr_tensor_select(&odd, &big, 2, 1)); /* [3,4], every second element */
    assert_ok(gr_matmul(&out, &m, &odd));
    assert_values(&out, SHAPE(2, 4), (float[]){76, 88, 100, 112, 166, 196, 226, 256});
    gr_tensor_release(&out);
    gr_tensor_release(&odd);
    assert_ok(gr_tensor_create(&none, GR_F32, SHAPE(3, 0)));
    assert_ok(gr_matmul(&out, &m, &none));
    assert_int_equal(gr_tensor_count(&out), 0);
    gr_tensor_release(&out);
    assert_ok(gr_tensor_transpose(&odd, &none, 0, 1));
    assert_ok(gr_matmul(&out, &none, &odd)); /* [3,0] by [0,3] */
    assert_values(&out, SHAPE(3, 3), (float[9]){0});
    gr_tensor_release(&out);
    gr_tensor_release(&odd);
    gr_tensor_release(&none);
    assert_fails(gr_matmul(&out, &m, &m), GR_ERROR_SHAPE, "3 columns against 2 rows");
    gr_tensor_release(&m);
    gr_tensor_release(&v);
    gr_tensor_release(&big);
}

int main(void) {
    gr_threads(); /* the pool allocates once */
    const struct CMUnitTest tests[] = {
        LEAKLESS(broadcasting_is_as_naive_loops_do_it),
        LEAKLESS(strided_operands_are_read_in_order),
        LEAKLESS(unary_functions),
        LEAKLESS(in_place_with_overlap),
        LEAKLESS(numbers_where_clamp_equal),
        LEAKLESS(joins),
        LEAKLESS(random_fills_repeat),
        LEAKLESS(products_are_as_naive_loops_do_them),
        LEAKLESS(vectors_and_odd_strides_multiply),
        cmocka_unit_test(large_work_is_cut_into_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
