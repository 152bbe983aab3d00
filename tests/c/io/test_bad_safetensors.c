/* Safetensors files that are not sound: each is refused with a message of its own, whatever the damage. */
#include "files.h"

/* A header that is good but for what the case changes. */
#define TENSOR(name, shape, begin, end)                                                                      \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static const struct {
    const char *header;
    size_t data;
    const char *words;
} bad_headers[] = {
    {"{" TENSOR("a", "[2]", 0, 8) "," TENSOR("b", "[2]", 4, 12) "}", 12,
     "\"b\" starts at byte 4 of the data and overlaps"},
    {"{" TENSOR("a", "[2]", 0, 8) "," TENSOR("b", "[2]", 12, 20) "}", 20,
     "\"b\" starts at byte 12 of the data and leaves a gap"},
    {"{" TENSOR("a", "[2]", 4, 12) "}", 12, "leaves a gap before it: 0 was expected"},
    {"{" TENSOR("a", "[2]", 0, 8) "}", 12, "4 bytes after the last tensor belong to none"},
    {"{" TENSOR("a", "[3]", 0, 12) "}", 8, "lies at bytes 0 to 12 of the data, which has 8 bytes"},
    {"{" TENSOR("a", "[2]", 8, 0) "}", 8, "lies at bytes 8 to 0"},
    {"{" TENSOR("a", "[3]", 0, 8) "}", 8, "shape [3] of F32 does not fill its 8 bytes"},
    {"{" TENSOR("a", "[1]", 0, 5) "}", 5, "shape [1] of F32 does not fill its 5 bytes"},
    {"{" TENSOR("a", "[4294967296,4294967296]", 0, 8) "}", 8, "does not fit the memory of any machine"},
    {"{" TENSOR("a", "[0,9223372036854775807,9]", 0, 0) "}", 0, "does not fit the memory of any machine"},
    {"{" TENSOR("a", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "a shape with more than 8 dimensions"},
    {"{" TENSOR("a", "[99999999999999999999]", 0, 4) "}", 4, "a number is beyond 2^63"},
    {"{" TENSOR("a", "[1e1]", 0, 40) "}", 40, "a plain decimal integer expected, \"e\" came"},
    {"{" TENSOR("a", "[1.0]", 0, 4) "}", 4, "a plain decimal integer expected, \".\" came"},
    {"{" TENSOR("a", "[-1]", 0, 4) "}", 4, "a plain decimal integer expected, \"-\" came"},
    {"{" TENSOR("a", "[01]", 0, 4) "}", 4, "a number starts with 0"},
    {"{" TENSOR("a", "[+1]", 0, 4) "}", 4, "a plain decimal integer expected, \"+\" came"},
    {"{" TENSOR("a", "[1,]", 0, 4) "}", 4, "a plain decimal integer expected, \"]\" came"},
    {"{" TENSOR("a", "[1 2]", 0, 4) "}", 4, ", or ] of the shape expected, \"2\" came"},
    {"{" TENSOR("a", "1", 0, 4) "}", 4, "[ of the shape expected"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4,
     "] after two data offsets expected"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4]}}", 4,
     ", between two data offsets expected"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"offsets\":[0,4]}}", 4, "an entry has the key \"offsets\""},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "an entry has no \"data_offsets\""},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "an entry has no \"dtype\""},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "the key \"dtype\" twice"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
     "dtype \"F8_E4M3\" is not read"},
    {"{\"a\":{\"dtype\":4,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "the dtype in quotes expected"},
    {"{" TENSOR("a", "[1]", 0, 4) "," TENSOR("a", "[1]", 4, 8) "}", 8, "the tensor name \"a\" appears twice"},
    {"{" TENSOR("a", "[1]", 0, 4) "," TENSOR("\\u0061", "[1]", 4, 8) "}", 8,
     "the tensor name \"a\" appears twice"},
    {"{" TENSOR("a\\u0000b", "[1]", 0, 4) "}", 4, "\\u0000 is not allowed"},
    {"{" TENSOR("\xc3\x28", "[1]", 0, 4) "}", 4, "is not valid UTF-8"},
    {"{" TENSOR("\xed\xa0\x80", "[1]", 0, 4) "}", 4, "is not valid UTF-8"},
    {"{" TENSOR("\xc0\xaf", "[1]", 0, 4) "}", 4, "is not valid UTF-8"},
    {"{" TENSOR("\\ud800", "[1]", 0, 4) "}", 4, "the second half of a surrogate pair expected"},
    {"{" TENSOR("\\ud800\\u0041", "[1]", 0, 4) "}", 4, "the second half of a surrogate pair expected"},
    {"{" TENSOR("\\udc00", "[1]", 0, 4) "}", 4, "the first half of a surrogate pair"},
    {"{" TENSOR("\\u00g0", "[1]", 0, 4) "}", 4, "four hexadecimal digits after \\u expected"},
    {"{" TENSOR("\\x", "[1]", 0, 4) "}", 4, "after a backslash expected, \"x\" came"},
    {"{" TENSOR("a\tb", "[1]", 0, 4) "}", 4, "no control byte in a string expected"},
    {"{" TENSOR("", "[1]", 0, 4) "}", 4, "a tensor has an empty name"},
    {"{\"a", 0, "the closing quote of a string expected, the end came"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "a metadata value in quotes expected, \"1\" came"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "the metadata key \"a\" appears twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "the header has \"__metadata__\" twice"},
    {"{\"__metadata__\":[]}", 0, "{ of the metadata expected"},
    {"{\"__metadata__\":{\"a\"}}", 0, ": after a metadata key expected"},
    {"{} {}", 0, "nothing but spaces after the header's } expected, \"{\" came"},
    {"{" TENSOR("a", "[1]", 0, 4) ",}", 4, "a tensor name in quotes expected, \"}\" came"},
    {"{\"a\":[]}", 0, "{ of a tensor's entry expected"},
    {"{\"a\"}", 0, ": after a tensor name expected"},
    {"{a:1}", 0, "a tensor name in quotes expected, \"a\" came"},
    {"{\"__metadata__\":{\"graft.digest\":\"00\"}}", 0, "is damaged: its tensors have the digest"},
    {"{", 1, "a tensor name in quotes expected, the end came"},
};

static void every_rule_has_its_message(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++)
        refused(safetensors(bad_headers[i].header, bad_headers[i].data), bad_headers[i].words);
}

/* The unusual that is allowed. */
static void good_headers(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        int count;
    } good[] = {
        {"{}", 0, 0},
        {"{ }  ", 0, 0},
        {"{" TENSOR("b", "[1]", 4, 8) "," TENSOR("a", "[1]", 0, 4) "}", 8, 2},
        {"{" TENSOR("a", "[0]", 0, 0) "," TENSOR("b", "[]", 0, 4) "," TENSOR("c", "[3,0]", 4, 4) "}", 4, 3},
        {"{\n \"a\" : { \"data_offsets\" : [ 0 , 4 ] , \"shape\" : [ 1 , 1 ] , \"dtype\" : \"F32\" } }\n", 4,
         1},
        {"{" TENSOR("caf\\u00e9 \\ud83d\\ude00 \\n", "[1]", 0, 4) ",\"__metadata__\":{\"k\":\"\"}}", 4, 1},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct bytes bytes = safetensors(good[i].header, good[i].data);
        struct gr_weights *weights;
        assert_int_equal(parse(&weights, &bytes), GR_OK);
        assert_int_equal(weights->count, good[i].count);
        gr_weights_free(weights);
        free(bytes.at);
    }
}

static void cut_anywhere(void **state) {
    (void)state;
    struct bytes whole = fixture("kinds.safetensors");
    for (size_t size = 0; size < whole.size; size++) {
        struct bytes cut = {0};
        put(&cut, whole.at, size);
        refused(cut, size == 0 ? "is empty" : "");
    }
    free(whole.at);
    struct bytes cut = safetensors("{}", 0);
    cut.size = 9;
    refused(cut, "its header claims 2 bytes, but the whole file has 9");
}

static void lengths_that_lie(void **state) {
    (void)state;
    static const uint64_t lengths[] = {3, 1000, 1u << 31, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct bytes bytes = safetensors("{}", 0);
        set_number(&bytes, 0, lengths[i], 8);
        refused(bytes, "its header claims");
    }
}

static void limits(void **state) {
    (void)state;
    struct gr_weights *weights;
    struct gr_weights_limits limits = gr_weights_default_limits();
    struct bytes two = safetensors("{" TENSOR("a", "[1]", 0, 4) "," TENSOR("b", "[1,1]", 4, 8) "}", 8);
    limits.tensors = 1;
    assert_int_equal(gr_weights_parse(&weights, two.at, two.size, "m", &limits), GR_ERROR_LIMIT);
    assert_string_equal(gr_error()->message, "m: more than 1 tensors");
    limits = gr_weights_default_limits();
    limits.rank = 1;
    assert_int_equal(gr_weights_parse(&weights, two.at, two.size, "m", &limits), GR_ERROR_LIMIT);
    limits = gr_weights_default_limits();
    limits.header_bytes = 10;
    assert_int_equal(gr_weights_parse(&weights, two.at, two.size, "m", &limits), GR_ERROR_LIMIT);
    assert_non_null(strstr(gr_error()->message, "at most 10 are allowed"));
    free(two.at);

    char header[400] = "{\"";
    memset(header + 2, 'x', 257);
    strcpy(header + 259, "\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}");
    refused(safetensors(header, 4), "a tensor name has 257 bytes; at most 256 are allowed");

    /* Bytes that would take eight times their room in memory. */
    limits = gr_weights_default_limits();
    limits.spare_bytes = 100;
    struct bytes small =
        safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[100],\"data_offsets\":[0,100]}}", 100);
    assert_int_equal(gr_weights_parse(&weights, small.at, small.size, "m", &limits), GR_ERROR_LIMIT);
    assert_non_null(strstr(gr_error()->message, "need much more memory than the file has bytes"));
    free(small.at);
}

/* Whatever byte is changed, the reader survives; and it notices, where the digest of the tensors is there. */
static void changed_bytes(void **state) {
    (void)state;
    struct bytes whole = fixture("kinds.safetensors");
    for (size_t i = 0; i < whole.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct gr_weights *weights;
            whole.at[i] ^= (unsigned char)(1 << bit);
            parse(&weights, &whole);
            gr_weights_free(weights);
            whole.at[i] ^= (unsigned char)(1 << bit);
        }
    free(whole.at);
}

static void other_files(void **state) {
    (void)state;
    static const struct {
        const char *start, *words;
    } cases[] = {
        {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"},
        {"<!DOCTYPE html><html>404</html>", "the download went wrong"},
        {"\x89HDF\r\n\x1a\n rest", "HDF5"},
        {"\x1f\x8b\x08 rest of it", "compressed by gzip"},
        {"\xff\xd8\xff\xe0 rest of it", "is a JPEG photo"},
        {"\x89PNG\r\n\x1a\n rest", "is a PNG image"},
        {"GGUF rest of it", "is a GGUF file"},
        {"hello, I am a text", "is no weights file"},
        {"x", "is no weights file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes bytes = {0};
        put_text(&bytes, cases[i].start);
        refused(bytes, cases[i].words);
    }
    struct bytes tar = {0};
    put_text(&tar, "sys_info");
    while (tar.size < 257)
        put_number(&tar, 0, 1);
    put_text(&tar, "ustar  ");
    while (tar.size < 1024)
        put_number(&tar, 0, 1);
    refused(tar, "is a tar archive");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_has_its_message),
        cmocka_unit_test(good_headers),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(lengths_that_lie),
        cmocka_unit_test(limits),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(other_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
