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

/* Any length in any pieces: the same as libmd by itself, whatever enters the blocks on this processor. */
static void pieces_make_no_difference(void **state) {
    (void)state;
    uint8_t bytes[700];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 131 + i / 7);
    for (size_t size = 0; size < sizeof bytes; size++) {
        char expected[SHA256_DIGEST_STRING_LENGTH], hex[65];
        SHA256Data(bytes, size, expected);
        for (size_t piece = 1; piece <= size + 1; piece += 1 + piece / 2) {
            struct gr_digest digest;
            gr_digest_start(&digest);
            for (size_t at = 0; at < size; at += piece)
                gr_digest_add(&digest, bytes + at, size - at < piece ? size - at : piece);
            gr_digest_hex(&digest, hex);
            assert_string_equal(hex, expected);
        }
    }
}

/* Block by block against libmd's own step, where the processor has another way. */
static void fast_blocks_are_right(void **state) {
    (void)state;
    gr_digest_blocks_t *fast = gr_digest_fast_blocks();
    if (!fast)
        skip();
    uint8_t bytes[5 * SHA256_BLOCK_LENGTH + 1];
    uint32_t got[8], expected[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i + 17 * i);
    for (size_t count = 0; count <= 5; count++) {
        for (uint32_t i = 0; i < 8; i++)
            got[i] = expected[i] = 0x9E3779B9u * (i + 1 + (uint32_t)count);
        fast(got, bytes + 1, count); /* not aligned */
        for (size_t i = 0; i < count; i++)
            SHA256Transform(expected, bytes + 1 + i * SHA256_BLOCK_LENGTH);
        assert_memory_equal(got, expected, sizeof got);
    }
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
        cmocka_unit_test(known_digests),         cmocka_unit_test(pieces_make_no_difference),
        cmocka_unit_test(fast_blocks_are_right), cmocka_unit_test(files_are_digested_in_pieces),
        cmocka_unit_test(bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
