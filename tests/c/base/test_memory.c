#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state) {
    (void)state;
    gr_memory_fail(0, false);
    gr_memory_limit(0);
    return 0;
}

static void blocks_are_aligned_and_counted(void **state) {
    (void)state;
    struct gr_memory before = gr_memory();
    size_t sizes[] = {0, 1, 63, 64, 65, 4096, 1000003};
    void *blocks[7];
    size_t total = 0;
    for (int i = 0; i < 7; i++) {
        blocks[i] = gr_alloc(sizes[i]);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % GR_ALIGNMENT, 0);
        memset(blocks[i], 0xAB, sizes[i]);
        total += sizes[i];
    }
    assert_int_equal(gr_memory().live - before.live, total);
    assert_int_equal(gr_memory().blocks - before.blocks, 7);
    for (int i = 0; i < 7; i++)
        gr_free(blocks[i]);
    gr_free(NULL);
    assert_int_equal(gr_memory().live, before.live);
    assert_int_equal(gr_memory().blocks, before.blocks);
}

static void peak_is_the_highest_since_its_reset(void **state) {
    (void)state;
    gr_memory_reset_peak();
    size_t start = gr_memory().live;
    gr_free(gr_alloc(1000));
    gr_free(gr_alloc(500));
    assert_int_equal(gr_memory().peak, start + 1000);
    gr_memory_reset_peak();
    assert_int_equal(gr_memory().peak, start);
}

static void calloc_gives_zeros_and_refuses_overflow(void **state) {
    (void)state;
    unsigned char *bytes = gr_calloc(100, 7);
    assert_non_null(bytes);
    for (int i = 0; i < 700; i++)
        assert_int_equal(bytes[i], 0);
    gr_free(bytes);
    assert_null(gr_calloc(SIZE_MAX / 2, 3));
    assert_int_equal(gr_error()->code, GR_ERROR_LIMIT);
    assert_null(gr_alloc(SIZE_MAX - 8));
    assert_int_equal(gr_error()->code, GR_ERROR_MEMORY);
}

/* Pages of this process in memory, in bytes. */
static size_t resident(void) {
    long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &pages), 2);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void zeros_take_memory_when_they_are_touched(void **state) {
    (void)state;
    enum { SIZE = 64 << 20 };
    size_t live = gr_memory().live, before = resident();
    unsigned char *bytes = gr_calloc(SIZE, 1);
    assert_non_null(bytes);
    assert_int_equal((uintptr_t)bytes % GR_ALIGNMENT, 0);
    assert_int_equal(gr_memory().live, live + SIZE);
    assert_true(resident() < before + SIZE / 8);
    for (size_t i = 0; i < SIZE; i += 4096)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(bytes[SIZE - 1], 0);
    memset(bytes, 1, SIZE);
    bytes = gr_realloc(bytes, SIZE + 1);
    assert_int_equal(bytes[SIZE - 1], 1);
    gr_free(bytes);
    assert_int_equal(gr_memory().live, live);
}

static void realloc_keeps_the_bytes(void **state) {
    (void)state;
    size_t start = gr_memory().live;
    char *text = gr_realloc(NULL, 6);
    strcpy(text, "graft");
    text = gr_realloc(text, 100000);
    assert_string_equal(text, "graft");
    assert_int_equal(gr_memory().live, start + 100000);
    text = gr_realloc(text, 6);
    assert_string_equal(text, "graft");
    assert_int_equal(gr_memory().live, start + 6);
    char *copy = gr_strdup(text);
    assert_string_equal(copy, "graft");
    gr_free(copy);
    gr_free(text);
    assert_int_equal(gr_memory().live, start);
}

static void a_failed_realloc_leaves_the_old_block(void **state) {
    (void)state;
    char *text = gr_strdup("still here");
    gr_memory_fail(1, false);
    assert_null(gr_realloc(text, 1000));
    assert_string_equal(text, "still here");
    gr_free(text);
}

static void the_limit_holds(void **state) {
    (void)state;
    size_t live = gr_memory().live;
    gr_memory_limit(live + 1000);
    void *half = gr_alloc(600);
    assert_non_null(half);
    assert_null(gr_alloc(600));
    assert_int_equal(gr_error()->code, GR_ERROR_MEMORY);
    assert_non_null(strstr(gr_error()->message, "limit"));
    assert_int_equal(gr_memory().live, live + 600);
    gr_memory_limit(0);
    gr_free(half);
}

static void allocations_fail_on_demand(void **state) {
    (void)state;
    size_t blocks = gr_memory().blocks;
    gr_memory_fail(2, false);
    void *first = gr_alloc(8), *second = gr_alloc(8), *third = gr_alloc(8);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    gr_memory_fail(1, true);
    assert_null(gr_alloc(8));
    assert_null(gr_calloc(8, 8));
    assert_null(gr_strdup("x"));
    gr_memory_fail(0, false);
    gr_free(first);
    gr_free(third);
    assert_int_equal(gr_memory().blocks, blocks);
}

static void sizes_are_checked(void **state) {
    (void)state;
    size_t out = 5;
    assert_false(gr_size_multiply(SIZE_MAX, 2, &out));
    assert_false(gr_size_add(SIZE_MAX, 1, &out));
    assert_int_equal(out, 5);
    assert_true(gr_size_multiply(6, 7, &out));
    assert_int_equal(out, 42);
    assert_true(gr_size_add(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(blocks_are_aligned_and_counted, setup),
        cmocka_unit_test_setup(peak_is_the_highest_since_its_reset, setup),
        cmocka_unit_test_setup(calloc_gives_zeros_and_refuses_overflow, setup),
        cmocka_unit_test_setup(zeros_take_memory_when_they_are_touched, setup),
        cmocka_unit_test_setup(realloc_keeps_the_bytes, setup),
        cmocka_unit_test_setup(a_failed_realloc_leaves_the_old_block, setup),
        cmocka_unit_test_setup(the_limit_holds, setup),
        cmocka_unit_test_setup(allocations_fail_on_demand, setup),
        cmocka_unit_test_setup(sizes_are_checked, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
