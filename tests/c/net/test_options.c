/* Options of layers: reading, refusing, writing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include "net/options.h"

#include <string.h>

struct all {
    int out;
    float eps;
    bool bias;
    int kernel[2];
    struct gr_padding padding;
    char *mode;
    cJSON *extra;
};

#define ROW(field, type, ...)                                                                                \
    { #field, type, offsetof(struct all, field), __VA_ARGS__ }
static const struct gr_option table[] = {
    ROW(out, GR_OPTION_INT, true, 0, 1, 100),        ROW(eps, GR_OPTION_FLOAT, false, 1e-5, 0, 1),
    ROW(bias, GR_OPTION_BOOL, false, 1, 0, 1),       ROW(kernel, GR_OPTION_PAIR, false, 3, 1, 9),
    ROW(padding, GR_OPTION_PADDING, false, 0, 0, 9), ROW(mode, GR_OPTION_STRING, false, 0, 0, 0),
    ROW(extra, GR_OPTION_JSON, false, 0, 0, 0),      {.name = NULL},
};

static int read(const char *json, struct all *all) {
    cJSON *object = cJSON_Parse(json);
    memset(all, 0, sizeof *all);
    int status = gr_options_read(table, object, "layer \"x\"", all);
    cJSON_Delete(object);
    return status;
}

static void test_read_and_write(void **state) {
    struct all all;
    (void)state;
    assert_int_equal(read("{\"out\":7,\"eps\":0.001,\"kernel\":[1,5],\"padding\":[0,1,2,3],\"mode\":\"m\","
                          "\"extra\":{\"a\":[1]},\"bias\":false}",
                          &all),
                     0);
    assert_int_equal(all.out, 7);
    assert_true(all.eps == 0.001f && !all.bias && all.kernel[0] == 1 && all.kernel[1] == 5);
    assert_true(all.padding.top == 0 && all.padding.bottom == 1 && all.padding.left == 2 &&
                all.padding.right == 3);
    cJSON *written = gr_options_write(table, &all);
    char *text = cJSON_PrintUnformatted(written);
    assert_string_equal(text,
                        "{\"out\":7,\"eps\":0.001,\"bias\":false,\"kernel\":[1,5],\"padding\":[0,1,2,3],"
                        "\"mode\":\"m\",\"extra\":{\"a\":[1]}}");
    cJSON_free(text);
    cJSON_Delete(written);
    gr_options_clear(table, &all);
}

static void test_defaults(void **state) {
    struct all all;
    (void)state;
    assert_int_equal(read("{\"out\":1,\"padding\":\"same\"}", &all), 0);
    assert_true(all.bias && all.kernel[0] == 3 && all.kernel[1] == 3 && all.eps == 1e-5f && all.padding.same);
    assert_null(all.mode);
    cJSON *written = gr_options_write(table, &all);
    char *text = cJSON_PrintUnformatted(written);
    assert_string_equal(text, "{\"out\":1,\"padding\":\"same\"}");
    cJSON_free(text);
    cJSON_Delete(written);
    assert_int_equal(read("{\"out\":1,\"padding\":[1,2],\"kernel\":4}", &all), 0);
    assert_true(all.padding.top == 1 && all.padding.bottom == 1 && all.padding.left == 2 &&
                all.padding.right == 2);
    assert_true(all.kernel[0] == 4 && all.kernel[1] == 4);
}

static void test_refusals(void **state) {
    static const char *const bad[] = {
        "{}",                                /* required */
        "{\"out\":0}",                       /* below the range */
        "{\"out\":1.5}",                     /* not whole */
        "{\"out\":1e99}",                    /* not an int */
        "{\"out\":\"1\"}",                   /* not a number */
        "{\"out\":1,\"out\":2}",             /* twice */
        "{\"out\":1,\"bias\":1}",            /* not a boolean */
        "{\"out\":1,\"kernel\":[1,2,3]}",    /* not a pair */
        "{\"out\":1,\"kernel\":[1,\"2\"]}",  /* not numbers */
        "{\"out\":1,\"kernel\":[1,20]}",     /* above the range */
        "{\"out\":1,\"padding\":[1,2,3]}",   /* neither two nor four */
        "{\"out\":1,\"padding\":-1}",        /* below the range */
        "{\"out\":1,\"padding\":\"valid\"}", /* another word */
        "{\"out\":1,\"mode\":1}",            /* not a string */
        "[1]",                               /* not an object */
        "\"out\"",                           /* not an object */
    };
    struct all all;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read(bad[i], &all), GR_ERROR_OPTION);
        assert_non_null(strstr(gr_error()->message, "layer \"x\""));
    }
    assert_int_equal(read("{\"out\":1,\"kernal\":3}", &all), GR_ERROR_OPTION);
    assert_string_equal(gr_error()->near, "kernel");
}

static void test_nothing_owned_after_failure(void **state) {
    struct all all;
    size_t before = gr_memory().blocks;
    (void)state;
    assert_int_equal(read("{\"mode\":\"m\",\"extra\":[1],\"out\":0}", &all), GR_ERROR_OPTION);
    assert_int_equal(read("{\"out\":1,\"mode\":\"m\",\"padding\":7.5}", &all), GR_ERROR_OPTION);
    assert_int_equal(gr_memory().blocks, before);
    assert_null(all.mode);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_and_write),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_nothing_owned_after_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
