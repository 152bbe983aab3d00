#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/status.h"

#include <string.h>

static void a_failure_leaves_code_and_message(void **state) {
    (void)state;
    assert_int_equal(gr_fail(GR_ERROR_SHAPE, "expected %d, not %d", 3, 4), GR_ERROR_SHAPE);
    assert_int_equal(gr_error()->code, GR_ERROR_SHAPE);
    assert_string_equal(gr_error()->message, "expected 3, not 4");
    assert_string_equal(gr_error()->near, "");
}

static void prefixes_nest_and_keep_the_near_name(void **state) {
    (void)state;
    gr_fail(GR_ERROR_NAME, "no layer \"layr4\"");
    assert_int_equal(gr_fail_near("layer4"), GR_ERROR_NAME);
    assert_int_equal(gr_fail_in("freeze"), GR_ERROR_NAME);
    assert_int_equal(gr_fail_in("line %d", 7), GR_ERROR_NAME);
    assert_string_equal(gr_error()->message, "line 7: freeze: no layer \"layr4\"");
    assert_string_equal(gr_error()->near, "layer4");
    gr_fail(GR_ERROR_FILE, "other");
    assert_string_equal(gr_error()->near, "");
}

static void a_message_may_quote_the_one_before(void **state) {
    (void)state;
    gr_fail(GR_ERROR_FILE, "inner");
    gr_fail(GR_ERROR_DATA, "outer (%s)", gr_error()->message);
    assert_string_equal(gr_error()->message, "outer (inner)");
}

static void long_messages_are_cut_between_characters(void **state) {
    (void)state;
    char text[3001];
    for (int offset = 0; offset < 3; offset++) {
        memset(text, 'a', sizeof text);
        for (int i = offset; i + 3 <= 3000; i += 3)
            memcpy(text + i, "€", 3);
        text[3000] = 0;
        gr_fail(GR_ERROR_NAME, "%s", text);
        size_t length = strlen(gr_error()->message);
        assert_in_range(length, 1020, 1023);
        assert_int_equal((length - (size_t)offset) % 3, 0);
        gr_fail_in("%s", "prefix");
        assert_true(strlen(gr_error()->message) <= 1023);
        gr_fail_near(text);
        assert_int_equal((strlen(gr_error()->near) - (size_t)offset) % 3, 0);
    }
}

static void errors_can_be_handed_on(void **state) {
    (void)state;
    gr_fail(GR_ERROR_NUMBER, "the loss is not finite");
    struct gr_error copy = *gr_error();
    gr_fail(GR_ERROR_FILE, "another");
    assert_int_equal(gr_error_restore(&copy), GR_ERROR_NUMBER);
    assert_string_equal(gr_error()->message, "the loss is not finite");
}

static void codes_have_names(void **state) {
    (void)state;
    assert_string_equal(gr_status_name(GR_ERROR_NAME), "name");
    assert_string_equal(gr_status_name(GR_ERROR_INTERRUPT), "interrupt");
    assert_string_equal(gr_status_name(GR_ERROR_USER), "user");
    assert_string_equal(gr_status_name(-99), "unknown");
    assert_string_equal(gr_status_name(1), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_leaves_code_and_message),
        cmocka_unit_test(prefixes_nest_and_keep_the_near_name),
        cmocka_unit_test(a_message_may_quote_the_one_before),
        cmocka_unit_test(long_messages_are_cut_between_characters),
        cmocka_unit_test(errors_can_be_handed_on),
        cmocka_unit_test(codes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
