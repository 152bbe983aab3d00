#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/digest.h"
#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void known_digests(void **state) {
    (void)state;
    char hex[65];
    struct gr_digest digest;
    gr_digest_start(&digest);
    gr_digest_hex(&digest, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    gr_digest_start(&digest);
    gr_digest_add(&digest, "a", 1);
    gr_digest_add(&digest, NULL, 0);
    gr_digest_add(&digest, "bc", 2);
    gr_digest_hex(&digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    char letters[1000];
    memset(letters, 'a', sizeof letters);
    gr_digest_start(&digest);
    for (int i = 0; i < 1000; i++)
        gr_digest_add(&digest, letters, sizeof letters);
    gr_digest_hex(&digest, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* Any length in any pieces. Padding has its edges at 55, 56 and 64 bytes of a block, so every length below
 * 700 counts: `all` is the digest of their digests in hex, one after another, by Python's hashlib. */
static void pieces_make_no_difference(void **state) {
    (void)state;
    uint8_t bytes[700];
    char whole[65], hex[65];
    struct gr_digest digest, all;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 131 + i / 7);
    gr_digest_start(&all);
    for (size_t size = 0; size < sizeof bytes; size++) {
        gr_digest_start(&digest);
        gr_digest_add(&digest, bytes, size);
        gr_digest_hex(&digest, whole);
        gr_digest_add(&all, whole, 64);
        for (size_t piece = 1; piece <= size; piece += 1 + piece / 2) {
            gr_digest_start(&digest);
            for (size_t at = 0; at < size; at += piece)
                gr_digest_add(&digest, bytes + at, size - at < piece ? size - at : piece);
            gr_digest_hex(&digest, hex);
            assert_string_equal(hex, whole);
        }
    }
    gr_digest_hex(&all, hex);
    assert_string_equal(hex, "1ee9e7766e7f39d991ac6dbaaee106997c19c1436ae50735e13f83fb3fabd972");
}

static void files_are_digested_in_pieces(void **state) {
    (void)state;
    char path[] = "/tmp/graft-digest-XXXXXX", hex[65];
    FILE *file = fdopen(mkstemp(path), "wb");
    assert_non_null(file);
    for (int i = 0; i < 1000000; i++)
        fputc('a', file);
    fclose(file);
    assert_int_equal(gr_digest_file(path, hex), 0);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    unlink(path);
}

static void bad_files_are_named(void **state) {
    (void)state;
    char hex[65];
    assert_int_equal(gr_digest_file("/no/such\x1b/file", hex), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "cannot open /no/such\\x1b/file: No such file or directory");
    assert_int_equal(gr_digest_file("/", hex), GR_ERROR_FILE);
    assert_non_null(strstr(gr_error()->message, "directory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_digests),
        cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(files_are_digested_in_pieces),
        cmocka_unit_test(bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
