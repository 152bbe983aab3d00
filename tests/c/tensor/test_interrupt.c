#include "check_tensor.h"

#include "base/interrupt.h"
#include "tensor/arithmetic.h"
#include "tensor/fill.h"
#include "tensor/matmul.h"
#include "tensor/reduce.h"

static volatile sig_atomic_t flag;

static int watch(void **state) {
    (void)state;
    flag = 0;
    gr_interrupt_watch(&flag);
    return 0;
}

static int stop_watching(void **state) {
    (void)state;
    gr_interrupt_watch(NULL);
    return gr_memory().blocks != 0;
}

static void nobody_wishes_at_the_start(void **state) {
    (void)state;
    gr_interrupt_watch(NULL);
    assert_false(gr_interrupted());
    assert_int_equal(gr_interrupt_check(), GR_OK);
}

static void a_wish_can_be_held_off(void **state) {
    (void)state;
    assert_false(gr_interrupted());
    flag = 1;
    assert_fails(gr_interrupt_check(), GR_ERROR_INTERRUPT, "stopped by you");
    gr_interrupt_hold(true);
    gr_interrupt_hold(true);
    gr_interrupt_hold(false);
    assert_int_equal(gr_interrupt_check(), GR_OK);
    gr_interrupt_hold(false);
    assert_true(gr_interrupted());
}

/* Every operation that makes a tensor works, gives up with the flag set and leaves no block, and works again.
 */
static void operations_give_up_and_leave_nothing(void **state) {
    (void)state;
    struct gr_tensor a = counting(SHAPE(40, 50)), b = counting(SHAPE(50, 30)), out = {0}, values = {0};
    size_t blocks = gr_memory().blocks;
    for (int round = 0; round < 3; round++) {
        flag = round == 1;
        int wanted = flag ? GR_ERROR_INTERRUPT : GR_OK, many = 0;
#define GIVES_UP(call)                                                                                       \
    do {                                                                                                     \
        assert_int_equal((call), wanted);                                                                    \
        gr_tensor_release(&out);                                                                             \
        gr_tensor_release(&values);                                                                          \
        assert_int_equal(gr_memory().blocks, blocks);                                                        \
        many++;                                                                                              \
    } while (0)
        GIVES_UP(gr_matmul(&out, &a, &b));
        GIVES_UP(gr_unary(&out, GR_UNARY_EXP, &a));
        GIVES_UP(gr_binary(&out, GR_BINARY_ADD, &a, &a));
        GIVES_UP(gr_binary_number(&out, GR_BINARY_ADD, &a, 1, false));
        GIVES_UP(gr_clamp(&out, &a, 0, 10));
        GIVES_UP(gr_where(&out, &a, &a, &a));
        GIVES_UP(gr_reduce(&out, GR_REDUCE_SUM, &a, 1, false));
        GIVES_UP(gr_arg(&out, &a, 1, false, true));
        GIVES_UP(gr_tensor_softmax(&out, &a, 1, false));
        GIVES_UP(gr_topk(&out, &values, &a, 1, 3, true));
        GIVES_UP(gr_rand(&out, SHAPE(40, 50), 0, 1, 1, 1));
        GIVES_UP(gr_randn(&out, SHAPE(40, 50), 0, 1, 1, 1));
#undef GIVES_UP
        assert_int_equal(many, 12);
    }
    gr_tensor_release(&a);
    gr_tensor_release(&b);
}

/* What changes a tensor that somebody holds is done whole. */
static void changes_in_place_are_whole(void **state) {
    (void)state;
    struct gr_tensor a = counting(SHAPE(3, 4)), copy = {0};
    flag = 1;
    assert_ok(gr_unary_in_place(&a, GR_UNARY_NEG));
    assert_ok(gr_binary_number_in_place(&a, GR_BINARY_ADD, 1));
    assert_ok(gr_tensor_copy(&copy, &a));
    for (int i = 0; i < 12; i++)
        assert_true(gr_tensor_floats(&copy)[i] == (float)-i);
    gr_tensor_release(&a);
    gr_tensor_release(&copy);
}

/* A product that is cut into slabs is the one that is made at once. */
static void large_products_are_whole(void **state) {
    (void)state;
    struct gr_tensor a, b, out = {0};
    assert_ok(gr_rand(&a, SHAPE(200, 6000), 0, 1, 1, 1));
    assert_ok(gr_rand(&b, SHAPE(6000, 9000), 0, 1, 1, 2));
    assert_ok(gr_matmul(&out, &a, &b)); /* 54 million multiplications a row: slabs of 74 rows */
    for (int64_t row = 0; row < 200; row += 37) {
        double sum = 0;
        for (int64_t k = 0; k < 6000; k++)
            sum +=
                (double)gr_tensor_floats(&a)[row * 6000 + k] * (double)gr_tensor_floats(&b)[k * 9000 + 8999];
        assert_true(fabs((double)gr_tensor_floats(&out)[row * 9000 + 8999] - sum) < 1e-3 * sum);
    }
    gr_tensor_release(&a);
    gr_tensor_release(&b);
    gr_tensor_release(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_wishes_at_the_start, watch, stop_watching),
        cmocka_unit_test_setup_teardown(a_wish_can_be_held_off, watch, stop_watching),
        cmocka_unit_test_setup_teardown(operations_give_up_and_leave_nothing, watch, stop_watching),
        cmocka_unit_test_setup_teardown(changes_in_place_are_whole, watch, stop_watching),
        cmocka_unit_test_setup_teardown(large_products_are_whole, watch, stop_watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
