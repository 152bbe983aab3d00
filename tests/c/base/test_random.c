#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/random.h"

#include <math.h>
#include <string.h>

/* The known answers that come with the authors' Random123 library. */
static void philox_gives_the_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        struct gr_random random = {.used = 4};
        memcpy(random.counter, known[i].counter, sizeof random.counter);
        memcpy(random.key, known[i].key, sizeof random.key);
        for (int j = 0; j < 4; j++)
            assert_int_equal(gr_random_u32(&random), known[i].answer[j]);
    }
}

static void streams_repeat_and_differ(void **state) {
    (void)state;
    struct gr_random streams[] = {
        gr_random(1, GR_RANDOM_INIT, 0, 0, 0),    gr_random(2, GR_RANDOM_INIT, 0, 0, 0),
        gr_random(1, GR_RANDOM_SHUFFLE, 0, 0, 0), gr_random(1, GR_RANDOM_INIT, 1, 0, 0),
        gr_random(1, GR_RANDOM_INIT, 0, 1, 0),    gr_random(1, GR_RANDOM_INIT, 0, 0, 1),
        gr_random(0, GR_RANDOM_INIT, 1, 0, 0),    gr_random(1ull << 32, GR_RANDOM_INIT, 0, 0, 0),
    };
    enum { COUNT = sizeof streams / sizeof *streams };
    uint32_t first[COUNT][4];
    for (int i = 0; i < COUNT; i++) {
        struct gr_random again = streams[i];
        for (int j = 0; j < 4; j++) {
            first[i][j] = gr_random_u32(&streams[i]);
            assert_int_equal(first[i][j], gr_random_u32(&again));
        }
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(first[i], first[k], sizeof first[i]);
    }
}

static void neighbouring_streams_do_not_correlate(void **state) {
    (void)state;
    double sum = 0;
    int const count = 20000;
    for (int i = 0; i < count; i++) {
        struct gr_random a = gr_random(7, GR_RANDOM_AUGMENT, 3, (uint64_t)i, 0);
        struct gr_random b = gr_random(7, GR_RANDOM_AUGMENT, 3, (uint64_t)i + 1, 0);
        sum += (gr_random_uniform(&a) - 0.5) * (gr_random_uniform(&b) - 0.5);
    }
    assert_true(fabs(sum / count * 12) < 0.03);
}

static void uniform_numbers_fill_the_interval(void **state) {
    (void)state;
    struct gr_random random = gr_random(1, GR_RANDOM_TENSOR, 0, 0, 0);
    double sum = 0, squares = 0;
    float low = 1, high = 0;
    int const count = 200000;
    for (int i = 0; i < count; i++) {
        float x = gr_random_uniform(&random);
        assert_true(x >= 0 && x < 1);
        sum += x;
        squares += (double)x * x;
        low = x < low ? x : low;
        high = x > high ? x : high;
    }
    assert_true(fabs(sum / count - 0.5) < 0.003);
    assert_true(fabs(squares / count - 1.0 / 3) < 0.003);
    assert_true(low < 0.001f && high > 0.999f);
    for (int i = 0; i < 100000; i++) {
        float x = gr_random_between(&random, 1.0f, 1.0000002f);
        assert_true(x >= 1.0f && x < 1.0000002f);
    }
}

static void normal_numbers_have_their_moments(void **state) {
    (void)state;
    struct gr_random random = gr_random(1, GR_RANDOM_INIT, 0, 0, 0);
    double sum = 0, squares = 0, fourth = 0;
    int const count = 200000;
    for (int i = 0; i < count; i++) {
        double x = gr_random_normal(&random);
        assert_true(isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / count) < 0.01);
    assert_true(fabs(squares / count - 1) < 0.02);
    assert_true(fabs(fourth / count - 3) < 0.15);
}

static void below_stays_below_and_is_even(void **state) {
    (void)state;
    struct gr_random random = gr_random(5, GR_RANDOM_SAMPLE, 0, 0, 0);
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[gr_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_int_equal(gr_random_below(&random, 1), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(gr_random_below(&random, INT64_MAX) >= 0);
}

static void a_shuffle_keeps_every_item(void **state) {
    (void)state;
    int64_t items[100];
    char seen[100] = {0};
    int moved = 0;
    for (int i = 0; i < 100; i++)
        items[i] = i;
    struct gr_random random = gr_random(1, GR_RANDOM_SHUFFLE, 1, 0, 0);
    gr_random_shuffle(&random, items, 100);
    for (int i = 0; i < 100; i++) {
        assert_in_range(items[i], 0, 99);
        assert_false(seen[items[i]]);
        seen[items[i]] = 1;
        moved += items[i] != i;
    }
    assert_true(moved > 80);
    gr_random_shuffle(&random, items, 0);
}

static void the_hash_is_fnv_1a(void **state) {
    (void)state;
    assert_true(gr_hash("") == 0xcbf29ce484222325u);
    assert_true(gr_hash("a") == 0xaf63dc4c8601ec8cu);
    assert_true(gr_hash("foobar") == 0x85944171f73967e8u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(streams_repeat_and_differ),
        cmocka_unit_test(neighbouring_streams_do_not_correlate),
        cmocka_unit_test(uniform_numbers_fill_the_interval),
        cmocka_unit_test(normal_numbers_have_their_moments),
        cmocka_unit_test(below_stays_below_and_is_even),
        cmocka_unit_test(a_shuffle_keeps_every_item),
        cmocka_unit_test(the_hash_is_fnv_1a),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
