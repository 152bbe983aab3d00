#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

static void texts_grow(void **state) {
    (void)state;
    struct gr_text text = {0};
    for (int i = 0; i < 1000; i++)
        gr_text_add(&text, "%d,", i);
    gr_text_bytes(&text, "a\0b", 3);
    gr_text_bytes(&text, NULL, 0);
    assert_int_equal(gr_text_status(&text), 0);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    assert_memory_equal(text.bytes, "0,1,2,3,", 8);
    assert_memory_equal(text.bytes + text.length - 3, "a\0b\0", 4);
    gr_text_free(&text);
    assert_null(text.bytes);
}

static void a_failed_growth_is_remembered(void **state) {
    (void)state;
    struct gr_text text = {0};
    gr_text_add(&text, "some");
    gr_memory_fail(1, false);
    char large[1000] = {0};
    gr_text_bytes(&text, large, sizeof large);
    gr_text_add(&text, "more");
    assert_string_equal(text.bytes, "some");
    assert_int_equal(gr_text_status(&text), GR_ERROR_MEMORY);
    gr_text_free(&text);
}

static void globs(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {"layer4", "layer4", true},
        {"layer4", "layer4.0", false},
        {"layer4*", "layer4.1.conv2.weight", true},
        {"*.bn?.*", "layer1.0.bn1.weight", true},
        {"*.bn?.*", "layer1.0.bn10.weight", false},
        {"*", "", true},
        {"?", "", false},
        {"", "", true},
        {"", "a", false},
        {"**a**", "bab", true},
        {"*ab*ab", "abxabyab", true},
        {"*weight", "weight.weight.bias", false},
        {"a*b*c*d*e*f*g*h*", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(gr_glob(cases[i].pattern, cases[i].name), cases[i].matches);
}

static void the_nearest_name(void **state) {
    (void)state;
    static const char *const names[] = {"epochs", "batch_size", "optimizer", "schedule",
                                        "lr",     "layer3",     "layer4"};
    size_t count = sizeof names / sizeof *names;
    assert_string_equal(gr_nearest("epoch", names, count), "epochs");
    assert_string_equal(gr_nearest("eopchs", names, count), "epochs");
    assert_string_equal(gr_nearest("batchsize", names, count), "batch_size");
    assert_string_equal(gr_nearest("optimiser", names, count), "optimizer");
    assert_string_equal(gr_nearest("layer5", names, count), "layer3"); /* the first of equals */
    assert_string_equal(gr_nearest("rl", names, count), "lr");
    assert_null(gr_nearest("momentum", names, count));
    assert_null(gr_nearest("xy", names, count));
    assert_null(gr_nearest("", names, count));
    assert_null(gr_nearest("epoch", names, 0));
    char endless[1000];
    memset(endless, 'x', sizeof endless);
    endless[999] = 0;
    assert_null(gr_nearest(endless, names, count));
}

static void numbers_for_people(void **state) {
    (void)state;
    char out[32];
    assert_string_equal(gr_format_count(0, out), "0");
    assert_string_equal(gr_format_count(999, out), "999");
    assert_string_equal(gr_format_count(9408, out), "9,408");
    assert_string_equal(gr_format_count(-1234567, out), "-1,234,567");
    assert_string_equal(gr_format_count(INT64_MIN, out), "-9,223,372,036,854,775,808");
    assert_string_equal(gr_format_bytes(512, out), "512 B");
    assert_string_equal(gr_format_bytes(1536, out), "1.5 KiB");
    assert_string_equal(gr_format_bytes(629145, out), "0.6 MiB");
    assert_string_equal(gr_format_bytes((size_t)171 << 20, out), "171 MiB");
    assert_string_equal(gr_format_bytes((size_t)3 << 29, out), "1.5 GiB");
    assert_string_equal(gr_format_seconds(0, out), "0.0 s");
    assert_string_equal(gr_format_seconds(0.00002, out), "1 ms");
    assert_string_equal(gr_format_seconds(0.0314, out), "31 ms");
    assert_string_equal(gr_format_seconds(0.2, out), "0.2 s");
    assert_string_equal(gr_format_seconds(7.44, out), "7.4 s");
    assert_string_equal(gr_format_seconds(59.97, out), "1 min 00 s");
    assert_string_equal(gr_format_seconds(200, out), "3 min 20 s");
    assert_string_equal(gr_format_seconds(3599.9, out), "1 h 00 min");
    assert_string_equal(gr_format_seconds(7500, out), "2 h 05 min");
    assert_string_equal(gr_format_seconds(NAN, out), "unknown");
    assert_string_equal(gr_format_seconds(-1, out), "unknown");
}

static void names_are_made_printable(void **state) {
    (void)state;
    char out[64], small[6];
    assert_string_equal(gr_printable("Köln €.jpg", out, sizeof out), "Köln €.jpg");
    assert_string_equal(gr_printable("a\x1b[31m\n", out, sizeof out), "a\\x1b[31m\\x0a");
    assert_string_equal(gr_printable("\xff\xc0\xaf", out, sizeof out), "\\xff\\xc0\\xaf");
    assert_string_equal(gr_printable("\xc2\x9b", out, sizeof out), "\\xc2\\x9b"); /* a control of Latin-1 */
    assert_string_equal(gr_printable("\xed\xa0\x80", out, sizeof out),
                        "\\xed\\xa0\\x80"); /* half a surrogate */
    assert_string_equal(gr_printable("abc€", small, sizeof small), "abc");
    assert_string_equal(gr_printable("ab\x01", small, sizeof small), "ab");
    assert_string_equal(gr_printable("cut\xe2\x82", out, sizeof out), "cut\\xe2\\x82");
}

/* RFC 4648, section 10. */
static void bytes_in_base64(void **state) {
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gr_text text = {0};
        gr_text_base64(&text, cases[i][0], strlen(cases[i][0]));
        assert_int_equal(gr_text_status(&text), GR_OK);
        assert_string_equal(text.bytes, cases[i][1]);
        assert_int_equal(text.length, strlen(cases[i][1]));
        gr_text_free(&text);
    }
    struct gr_text text = {0};
    gr_text_base64(&text, "", SIZE_MAX);
    assert_true(text.failed);
    gr_text_free(&text);
    assert_int_equal(gr_memory().blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_grow),
        cmocka_unit_test(a_failed_growth_is_remembered),
        cmocka_unit_test(globs),
        cmocka_unit_test(the_nearest_name),
        cmocka_unit_test(numbers_for_people),
        cmocka_unit_test(names_are_made_printable),
        cmocka_unit_test(bytes_in_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
