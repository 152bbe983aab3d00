/* Storage, checks and views. */
#include "check_tensor.h"

#include "base/text.h"
#include "tensor/print.h"
#include "tensor/view.h"

static void create_gives_aligned_zeros(void **state) {
    (void)state;
    struct gr_tensor x;
    assert_ok(gr_tensor_create(&x, GR_F32, SHAPE(2, 3)));
    assert_int_equal((uintptr_t)gr_tensor_floats(&x) % GR_ALIGNMENT, 0);
    assert_values(&x, SHAPE(2, 3), (float[]){0, 0, 0, 0, 0, 0});
    assert_int_equal(gr_tensor_bytes(&x), 24);
    assert_null(gr_tensor_integers(&x));
    gr_tensor_release(&x);
    assert_fails(gr_tensor_check(&x), GR_ERROR_OPTION, "closed");
    gr_tensor_release(&x);
}

static void shapes_are_checked(void **state) {
    (void)state;
    struct gr_tensor x;
    int64_t count;
    assert_fails(gr_tensor_create(&x, GR_F32, SHAPE(2, -1)), GR_ERROR_SHAPE, "dimension 2");
    assert_fails(gr_shape_count(9, (int64_t[9]){0}, &count), GR_ERROR_SHAPE, "0 to 8");
    assert_fails(gr_tensor_create(&x, GR_F32, SHAPE(INT64_MAX, 2)), GR_ERROR_LIMIT, "does not fit");
    assert_fails(gr_tensor_create(&x, GR_F32, SHAPE(1LL << 40, 1LL << 40)), GR_ERROR_LIMIT, "does not fit");
    assert_fails(gr_shape_count(3, (int64_t[]){0, 1LL << 40, 1LL << 40}, &count), GR_ERROR_LIMIT,
                 "does not fit");
    assert_ok(gr_shape_count(0, NULL, &count));
    assert_int_equal(count, 1);
    assert_ok(gr_shape_count(2, (int64_t[]){0, 1LL << 40}, &count));
    assert_int_equal(count, 0);
    assert_null(x.storage);
}

static void a_view_outlives_its_source(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 3)), row;
    assert_ok(gr_tensor_select(&row, &x, 0, 1));
    gr_tensor_release(&x);
    assert_values(&row, SHAPE(3), (float[]){4, 5, 6});
    gr_tensor_release(&row);
}

static void borrowed_memory_can_be_revoked(void **state) {
    (void)state;
    float memory[6] = {1, 2, 3, 4, 5, 6};
    struct gr_tensor x, row, copy;
    assert_ok(gr_tensor_borrow(&x, GR_F32, SHAPE(2, 3), memory));
    assert_ok(gr_tensor_select(&row, &x, 0, 1));
    assert_ok(gr_tensor_copy(&copy, &row));
    gr_tensor_revoke(&x);
    assert_fails(gr_tensor_check(&x), GR_ERROR_OPTION, "lent");
    assert_fails(gr_tensor_check(&row), GR_ERROR_OPTION, "lent");
    assert_null(gr_tensor_floats(&row));
    assert_values(&copy, SHAPE(3), (float[]){4, 5, 6});
    gr_tensor_revoke(&copy);
    assert_ok(gr_tensor_check(&copy));
    gr_tensor_release(&x);
    gr_tensor_release(&row);
    gr_tensor_release(&copy);
}

static void reach_beyond_the_storage_is_found(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 3)), bad = x;
    bad.shape[0] = 3;
    assert_fails(gr_tensor_check(&bad), GR_ERROR_SHAPE, "beyond its storage of 6");
    bad = x;
    bad.offset = -1;
    assert_fails(gr_tensor_check(&bad), GR_ERROR_SHAPE, "beyond");
    bad = x;
    bad.stride[0] = INT64_MAX;
    bad.shape[0] = INT64_MAX;
    assert_fails(gr_tensor_check(&bad), GR_ERROR_SHAPE, "beyond");
    bad = x;
    bad.dtype = GR_I64;
    assert_fails(gr_tensor_check(&bad), GR_ERROR_SHAPE, "beyond");
    gr_tensor_release(&x);
}

static void slices_and_transposes(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(3, 4)), part, turned, packed;
    assert_ok(gr_tensor_slice(&part, &x, 1, 1, 2));
    assert_values(&part, SHAPE(3, 2), (float[]){2, 3, 6, 7, 10, 11});
    assert_false(gr_tensor_contiguous(&part));
    assert_ok(gr_tensor_transpose(&turned, &part, 0, 1));
    assert_values(&turned, SHAPE(2, 3), (float[]){2, 6, 10, 3, 7, 11});
    assert_ok(gr_tensor_pack(&packed, &turned));
    assert_true(gr_tensor_contiguous(&packed));
    assert_values(&packed, SHAPE(2, 3), (float[]){2, 6, 10, 3, 7, 11});
    gr_tensor_release(&packed);
    gr_tensor_release(&turned);
    gr_tensor_release(&part);
    assert_ok(gr_tensor_slice(&part, &x, 0, 3, 0));
    assert_int_equal(gr_tensor_count(&part), 0);
    gr_tensor_release(&part);
    assert_fails(gr_tensor_slice(&part, &x, 0, 2, 2), GR_ERROR_SHAPE, "dimension 1, which has 3");
    assert_fails(gr_tensor_slice(&part, &x, 0, 1, INT64_MAX), GR_ERROR_SHAPE, "do not lie");
    assert_fails(gr_tensor_slice(&part, &x, 2, 0, 1), GR_ERROR_SHAPE, "no dimension 3");
    assert_fails(gr_tensor_select(&part, &x, 0, 3), GR_ERROR_SHAPE, "no index 4");
    assert_fails(gr_tensor_permute(&part, &x, (int[]){0, 0}), GR_ERROR_SHAPE, "named twice");
    gr_tensor_release(&x);
}

static void reshape_views_when_it_can(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 3, 4)), turned, y;
    assert_ok(gr_tensor_view(&y, &x, SHAPE(-1, 6)));
    assert_int_equal(y.shape[0], 4);
    assert_ptr_equal(y.storage, x.storage);
    gr_tensor_release(&y);
    assert_ok(gr_tensor_permute(&turned, &x, (int[]){2, 0, 1}));
    assert_ok(gr_tensor_view(&y, &turned, SHAPE(2, 2, 6))); /* [4,2,3]: the last two lie evenly */
    assert_values(&y, SHAPE(2, 2, 6), (float[]){1, 5, 9,  13, 17, 21, 2, 6, 10, 14, 18, 22,
                                                3, 7, 11, 15, 19, 23, 4, 8, 12, 16, 20, 24});
    gr_tensor_release(&y);
    assert_fails(gr_tensor_view(&y, &turned, SHAPE(24)), GR_ERROR_SHAPE, "reshape copies");
    assert_ok(gr_tensor_reshape(&y, &turned, SHAPE(8, 3)));
    assert_ptr_not_equal(y.storage, x.storage);
    assert_values(&y, SHAPE(8, 3), (float[]){1, 5, 9,  13, 17, 21, 2, 6, 10, 14, 18, 22,
                                             3, 7, 11, 15, 19, 23, 4, 8, 12, 16, 20, 24});
    gr_tensor_release(&y);
    assert_fails(gr_tensor_view(&y, &x, SHAPE(5, -1)), GR_ERROR_SHAPE, "24 elements");
    assert_fails(gr_tensor_view(&y, &x, SHAPE(-1, -1)), GR_ERROR_SHAPE, "only one size");
    assert_fails(gr_tensor_view(&y, &x, SHAPE(0, -1)), GR_ERROR_SHAPE, "do not fit");
    assert_fails(gr_tensor_view(&y, &x, SHAPE(INT64_MAX, 3)), GR_ERROR_LIMIT, "does not fit");
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
}

static void expand_squeeze_unsqueeze(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(3, 1)), y, z;
    assert_ok(gr_tensor_expand(&y, &x, SHAPE(2, 3, 2)));
    assert_values(&y, SHAPE(2, 3, 2), (float[]){1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3});
    gr_tensor_release(&y);
    assert_fails(gr_tensor_expand(&y, &x, SHAPE(4, 2)), GR_ERROR_SHAPE, "cannot be expanded");
    assert_ok(gr_tensor_unsqueeze(&y, &x, 2));
    assert_ok(gr_tensor_squeeze(&z, &y, 1));
    assert_values(&z, SHAPE(3, 1), (float[]){1, 2, 3});
    gr_tensor_release(&z);
    assert_fails(gr_tensor_squeeze(&z, &y, 0), GR_ERROR_SHAPE, "size 1");
    gr_tensor_release(&y);
    gr_tensor_release(&x);
}

static void casts_are_exact_or_refused(void **state) {
    (void)state;
    struct gr_tensor x, y, z;
    assert_ok(gr_tensor_create(&x, GR_I64, SHAPE(2)));
    gr_tensor_integers(&x)[0] = -3;
    gr_tensor_integers(&x)[1] = 1 << 24;
    assert_ok(gr_tensor_cast(&y, &x, GR_F32));
    assert_values(&y, SHAPE(2), (float[]){-3, 1 << 24});
    assert_ok(gr_tensor_cast(&z, &y, GR_I64));
    assert_int_equal(gr_tensor_integers(&z)[1], 1 << 24);
    gr_tensor_release(&z);
    gr_tensor_integers(&x)[1] = (1 << 24) + 1;
    assert_fails(gr_tensor_cast(&z, &x, GR_F32), GR_ERROR_NUMBER, "16777217 (element 2)");
    gr_tensor_integers(&x)[1] = INT64_MAX;
    assert_fails(gr_tensor_cast(&z, &x, GR_F32), GR_ERROR_NUMBER, "exactly");
    gr_tensor_floats(&y)[0] = 0.5f;
    assert_fails(gr_tensor_cast(&z, &y, GR_I64), GR_ERROR_NUMBER, "0.5");
    gr_tensor_floats(&y)[0] = NAN;
    assert_fails(gr_tensor_cast(&z, &y, GR_I64), GR_ERROR_NUMBER, "not an integer");
    gr_tensor_release(&x);
    gr_tensor_release(&y);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(4, 3)), turned, y;
    assert_ok(gr_tensor_transpose(&turned, &x, 0, 1));
    for (long n = 1;; n++) {
        gr_memory_fail(n, false);
        int status = gr_tensor_reshape(&y, &turned, SHAPE(12));
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_int_equal(status, GR_ERROR_MEMORY);
    }
    gr_tensor_release(&y);
    gr_tensor_release(&turned);
    gr_tensor_release(&x);
}

static void assert_printed(const struct gr_tensor *tensor, const char *wanted) {
    struct gr_text text = {0};
    assert_ok(gr_tensor_print(&text, tensor));
    assert_string_equal(text.bytes, wanted);
    gr_text_free(&text);
}

static void prints_for_people(void **state) {
    (void)state;
    struct gr_tensor x = counting(SHAPE(2, 2)), y;
    assert_printed(&x, "tensor [2,2]\n[[1  2]\n [3  4]]");
    gr_tensor_floats(&x)[1] = -0.25f;
    gr_tensor_floats(&x)[2] = NAN;
    assert_printed(&x, "tensor [2,2]\n[[ 1.0000  -0.2500]\n [    nan   4.0000]]");
    gr_tensor_release(&x);
    x = counting(SHAPE(12));
    assert_printed(&x, "tensor [12]\n[ 1   2   3  ...  10  11  12]");
    assert_ok(gr_tensor_slice(&y, &x, 0, 0, 0));
    assert_printed(&y, "tensor [0]  empty");
    gr_tensor_release(&y);
    gr_tensor_release(&x);
    x = counting(SHAPE(30, 40));
    gr_tensor_floats(&x)[0] = INFINITY;
    assert_printed(&x, "tensor [30,40]  min 2.00  mean 601.00  max 1200.00  inf 1");
    gr_tensor_release(&x);
    assert_ok(gr_tensor_create(&x, GR_F32, 0, NULL));
    assert_printed(&x, "tensor []  0");
    gr_tensor_release(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        LEAKLESS(create_gives_aligned_zeros),
        LEAKLESS(shapes_are_checked),
        LEAKLESS(a_view_outlives_its_source),
        LEAKLESS(borrowed_memory_can_be_revoked),
        LEAKLESS(reach_beyond_the_storage_is_found),
        LEAKLESS(slices_and_transposes),
        LEAKLESS(reshape_views_when_it_can),
        LEAKLESS(expand_squeeze_unsqueeze),
        LEAKLESS(casts_are_exact_or_refused),
        LEAKLESS(every_failed_allocation_is_survived),
        LEAKLESS(prints_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
