/* .pth files that are not sound, or not harmless: pickles that call, bombs, storages that lie, other
 * archives. */
#include "files.h"

/* --- building pickles --- */

static void put_unicode(struct bytes *pickle, const char *text) {
    put(pickle, "X", 1);
    put_number(pickle, strlen(text), 4);
    put_text(pickle, text);
}

/* A tensor: storage key "0" with `numel` floats, offset, sizes and strides (each up to two, -1: none). */
struct tensor_fields {
    const char *storage; /* "FloatStorage" */
    int numel, offset, sizes[2], strides[2];
};

static void put_int(struct bytes *pickle, int value) {
    put(pickle, "J", 1);
    put_number(pickle, (uint32_t)value, 4);
}

static void put_pair(struct bytes *pickle, const int pair[2]) {
    put(pickle, "(", 1);
    for (int i = 0; i < 2; i++)
        if (pair[i] != -1)
            put_int(pickle, pair[i]);
    put(pickle, "t", 1);
}

static void put_storage(struct bytes *pickle, const char *storage, int numel) {
    put(pickle, "(", 1);
    put_unicode(pickle, "storage");
    put_text(pickle, "ctorch\n");
    put_text(pickle, storage);
    put(pickle, "\n", 1);
    put_unicode(pickle, "0");
    put_unicode(pickle, "cpu");
    put_int(pickle, numel);
    put(pickle, "tQ", 2);
}

static void put_tensor(struct bytes *pickle, const struct tensor_fields *fields) {
    put_text(pickle, "ctorch._utils\n_rebuild_tensor_v2\n(");
    put_storage(pickle, fields->storage, fields->numel);
    put_int(pickle, fields->offset);
    put_pair(pickle, fields->sizes);
    put_pair(pickle, fields->strides);
    put_text(pickle, "\x89"
                     "ccollections\nOrderedDict\n)RtR");
}

static struct bytes state_dict(const struct tensor_fields *fields) {
    struct bytes pickle = {0};
    put_text(&pickle, "\x80\x02}");
    put_unicode(&pickle, "w");
    put_tensor(&pickle, fields);
    put_text(&pickle, "s.");
    return pickle;
}

static struct bytes floats(int count) {
    struct bytes data = {0};
    for (int i = 0; i < count; i++) {
        float value = (float)i;
        put(&data, &value, sizeof value);
    }
    return data;
}

static struct bytes pth(struct bytes pickle) {
    struct zip_entry entries[] = {{.name = "net/data.pkl", .content = pickle},
                                  {.name = "net/data/0", .content = floats(6)}};
    return zip(entries, 2);
}

static struct bytes pickle_text(const char *text, size_t size) {
    struct bytes pickle = {0};
    put(&pickle, text, size);
    return pickle;
}

#define PICKLE(text) pth(pickle_text(text, sizeof(text) - 1))

/* --- tests --- */

static void a_built_file_is_read(void **state) {
    (void)state;
    struct bytes bytes = pth(state_dict(&(struct tensor_fields){"FloatStorage", 6, 1, {2, 2}, {1, 2}}));
    struct gr_weights *weights;
    assert_int_equal(parse(&weights, &bytes), GR_OK);
    const float *w = gr_tensor_floats(&gr_weights_find(weights, "w")->tensor);
    assert_true(w[0] == 1 && w[1] == 3 && w[2] == 2 && w[3] == 4);
    gr_weights_free(weights);
    free(bytes.at);
}

static void tensors_that_lie(void **state) {
    (void)state;
    static const struct {
        struct tensor_fields fields;
        const char *words;
    } cases[] = {
        {{"FloatStorage", 6, 1, {2, 3}, {3, 1}},
         "tensor \"w\": its elements reach beyond its storage of 6 numbers"},
        {{"FloatStorage", 6, 0, {2, 3}, {4, 1}}, "reach beyond its storage"},
        {{"FloatStorage", 6, -1, {2, 3}, {3, 1}}, "reach beyond its storage"},
        {{"FloatStorage", 6, 0, {2147483647, 2147483647}, {2147483647, 2147483647}},
         "reach beyond its storage"},
        {{"FloatStorage", 6, 0, {2, -3}, {3, 1}}, "dimension 2 has the size -3"},
        {{"FloatStorage", 6, 0, {2, 3}, {-3, 1}}, "dimension 1 has the size 2 and the stride -3"},
        {{"FloatStorage", 6, 0, {2, 3}, {3, -1}}, "it has 2 sizes and 1 strides"},
        {{"FloatStorage", 5, 0, {5, -1}, {1, -1}}, "has 24 bytes, but 5 numbers of kind F32 are expected"},
        {{"HalfStorage", 6, 0, {6, -1}, {1, -1}}, "has 24 bytes, but 6 numbers of kind F16 are expected"},
        {{"FloatStorage", 2147483647, 0, {6, -1}, {1, -1}},
         "is said to hold 2147483647 numbers, more than the file"},
        {{"FloatStorage", -2147483647, 0, {6, -1}, {1, -1}}, "is said to hold -2147483647 numbers"},
        {{"FloatStorage", 6, 0, {2147483647, 100}, {0, 0}}, "need much more memory than the file has bytes"},
        {{"ComplexFloatStorage", 6, 0, {6, -1}, {1, -1}}, "names torch.ComplexFloatStorage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(pth(state_dict(&cases[i].fields)), cases[i].words);
    struct zip_entry missing[] = {
        {.name = "net/data.pkl",
         .content = state_dict(&(struct tensor_fields){"FloatStorage", 6, 0, {6, -1}, {1, -1}})},
        {.name = "net/data/1", .content = floats(6)}};
    refused(zip(missing, 2), "tensor \"w\": storage \"0\" is missing");
}

static void pickles_that_call(void **state) {
    (void)state;
    refused(PICKLE("\x80\x02"
                   "cos\nsystem\nX\x02\x00\x00\x00ls\x85R."),
            "its pickle names os.system; only plain");
    refused(PICKLE("\x80\x02"
                   "cposix\nsystem\n."),
            "names posix.system");
    refused(PICKLE("\x80\x02"
                   "c__builtin__\neval\n."),
            "names __builtin__.eval");
    refused(PICKLE("\x80\x04\x8c\x08"
                   "builtins\x8c\x04"
                   "exec\x93."),
            "names builtins.exec");
    refused(PICKLE("\x80\x02"
                   "ctorch\nload\n."),
            "names torch.load");
    refused(PICKLE("\x80\x02"
                   "ctorch.storage\n_load_from_bytes\n."),
            "names torch.storage._load_from_bytes");
    refused(PICKLE("\x80\x02"
                   "c\x1b[31m\nred\n."),
            "names \\x1b[31m.red");
    refused(PICKLE("\x80\x02"
                   "i\nos\nsystem\n."),
            "uses operation 0x69 at byte 2");
    refused(PICKLE("\x80\x02"
                   "ctorch\nFloatStorage\n)R."),
            "a storage is made by a call");
    refused(PICKLE("\x80\x02"
                   "K\x01)R."),
            "a call of what is no class");
    refused(PICKLE("\x80\x02"
                   "K\x01}b."),
            "attributes of what is no dictionary");
    refused(PICKLE("\x80\x02"
                   "K\x01Q."),
            "a persistent id that is no storage");
}

static void pickles_that_are_damaged(void **state) {
    (void)state;
    refused(PICKLE(""), "it ends in the middle");
    refused(PICKLE("\x80\x09."), "of protocol 9; up to 5 are read");
    refused(PICKLE("\x80\x02}"), "it ends in the middle");
    refused(PICKLE("\x80\x02."), "it stops with something else than one value");
    refused(PICKLE("\x80\x02NN."), "it stops with something else than one value");
    refused(PICKLE("\x80\x02(N."), "it stops with something else than one value");
    refused(PICKLE("\x80\x02X\xff\xff\xff\xff"
                   "abc."),
            "at byte 2: it ends in the middle");
    refused(PICKLE("\x80\x02h\x05."), "recalled that was never remembered");
    refused(PICKLE("\x80\x02q\x00."), "nothing to remember");
    refused(PICKLE("\x80\x02Nr\xff\xff\xff\xff."), "remembers a value under the number 4294967295");
    refused(PICKLE("\x80\x02t."), "a mark is missing");
    refused(PICKLE("\x80\x02\x86."), "a value is missing on the stack");
    refused(PICKLE("\x80\x02K\x01K\x02"
                   "a."),
            "appended to what is no list");
    refused(PICKLE("\x80\x02]K\x01K\x02s."), "put into what is no dictionary");
    refused(PICKLE("\x80\x02}(K\x01u."), "a key without a value");
    refused(PICKLE("\x80\x02"
                   "ctorch._utils\n_rebuild_tensor_v2\n)R."),
            "a tensor without storage, offset");
    refused(PICKLE("\x80\x02"
                   "ccollections"),
            "the name of a class does not end");
    refused(PICKLE("\x80\x02"
                   "ccollections\nOrderedDict\nK\x01\x85R."),
            "made from something else than a list");
    refused(PICKLE("\x80\x02}.}."), "its data.pkl goes on for 2 bytes after its end");
    refused(PICKLE("\x80\x02}."), "holds a dictionary without tensors (keys: none)");
    refused(PICKLE("\x80\x02}X\x05\x00\x00\x00"
                   "epochK\x03s."),
            "without tensors (keys: epoch); a state dict was expected");
    refused(PICKLE("\x80\x02]."), "holds a list; a state dict");
    refused(PICKLE("\x80\x02G\x40\x09\x21\xfb\x54\x44\x2d\x18."), "holds a number");
    refused(PICKLE("\x80\x02\x8a\x0a"
                   "0123456789."),
            "holds a large integer");
    struct bytes numbered = {0};
    put_text(&numbered, "\x80\x02}K\x01");
    put_tensor(&numbered, &(struct tensor_fields){"FloatStorage", 6, 0, {6, -1}, {1, -1}});
    put_text(&numbered, "s.");
    refused(pth(numbered), "a tensor's name is an integer, not a text");
}

/* Deep nesting, endless memos, a list that holds itself, doubling: refused or survived within the limits. */
static void pickle_bombs(void **state) {
    (void)state;
    struct bytes marks = {0}, lists = {0}, values = {0}, doubling = {0};
    put_text(&marks, "\x80\x02");
    put_text(&lists, "\x80\x02]");
    for (int i = 0; i < 400000; i++) {
        put(&marks, "(", 1);
        put(&lists, "]", 1);
        put(&values, "N0", 1);
    }
    refused(pth(marks), "its pickle builds more than 300000 values");
    refused(pth(lists), "its pickle builds more than 300000 values");
    refused(pth(values), "its pickle builds more than 300000 values");
    refused(PICKLE("\x80\x02]q\x00h\x00"
                   "a."),
            "holds a list");
    refused(PICKLE("\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."), "without tensors (keys: model)");
    put_text(&doubling, "\x80\x02)q");
    put_number(&doubling, 0, 1);
    for (int i = 0; i < 250; i++) {
        put(&doubling, "h", 1);
        put_number(&doubling, (uint64_t)i, 1);
        put_text(&doubling, "\x86q");
        put_number(&doubling, (uint64_t)i + 1, 1);
    }
    put(&doubling, ".", 1);
    refused(pth(doubling), "holds a tuple");
    struct bytes large = {0};
    while (large.size < (5u << 20))
        put_text(&large, "NNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNNN");
    refused(pth(large), "at most 4194304 are allowed");
}

static struct bytes good_pickle(void) {
    return state_dict(&(struct tensor_fields){"FloatStorage", 6, 0, {6, -1}, {1, -1}});
}

static void other_archives(void **state) {
    (void)state;
    struct zip_entry npz[] = {{.name = "arr_0.npy", .content = floats(3)}};
    refused(zip(npz, 1),
            "without data.pkl, so torch.save did not write it (1 entries, one is \"arr_0.npy\")");
    struct zip_entry empty[] = {{.name = "x", .no_entry = true}};
    refused(zip(empty, 1), "without data.pkl");
    struct zip_entry two[] = {{.name = "a/data.pkl", .content = good_pickle()},
                              {.name = "b/data.pkl", .content = good_pickle()}};
    refused(zip(two, 2), "more than one data.pkl");
    struct zip_entry same[] = {{.name = "a/data.pkl", .content = good_pickle()},
                               {.name = "a/data.pkl", .content = good_pickle()}};
    refused(zip(same, 2), "lists \"a/data.pkl\" twice");
    struct zip_entry code[] = {{.name = "a/data.pkl", .content = good_pickle()},
                               {.name = "a/code/net.py", .content = floats(1)}};
    refused(zip(code, 2), "is a TorchScript program");
    struct zip_entry constants[] = {{.name = "a/data.pkl", .content = good_pickle()},
                                    {.name = "a/constants.pkl", .content = floats(1)}};
    refused(zip(constants, 2), "is a TorchScript program");
    struct zip_entry deflated[] = {{.name = "a/data.pkl", .content = good_pickle(), .method = 8}};
    refused(zip(deflated, 1), "\"a/data.pkl\" in it is compressed (zip method 8)");
    struct zip_entry secret[] = {{.name = "a/data.pkl", .content = good_pickle(), .flags = 1}};
    refused(zip(secret, 1), "is encrypted");
    struct zip_entry damaged[] = {{.name = "a/data.pkl", .content = good_pickle(), .wrong_crc = true}};
    refused(zip(damaged, 1), "is damaged: \"a/data.pkl\" has the CRC-32");
    struct bytes big = {0};
    put_text(&big, "big");
    struct zip_entry order[] = {{.name = "a/data.pkl", .content = good_pickle()},
                                {.name = "a/byteorder", .content = big}};
    refused(zip(order, 2), "its byte order is \"big\"; only little-endian files are read");
    struct zip_entry data[] = {{.name = "a/data.pkl", .content = good_pickle()},
                               {.name = "a/data/0", .content = floats(6), .wrong_crc = true}};
    refused(zip(data, 2), "tensor \"w\": is damaged: \"a/data/0\"");
}

static struct bytes good_zip(void) {
    return pth(good_pickle());
}

/* Sets a field of the end record (counted from its start) in a good archive. */
static struct bytes zip_with(size_t field, uint64_t value, int size) {
    struct bytes bytes = good_zip();
    set_number(&bytes, bytes.size - 22 + field, value, size);
    return bytes;
}

static void zip_directories_that_lie(void **state) {
    (void)state;
    refused(zip_with(4, 1, 2), "one part of a zip archive in several parts");
    refused(zip_with(10, 1, 2), "bytes after the last entry");
    refused(zip_with(10, 3, 2), "entry 3 of its zip directory is damaged");
    refused(zip_with(10, 20000, 2), "has 20000 entries");
    refused(zip_with(10, 65535, 2), "there is none");
    refused(zip_with(12, 1000000, 4), "which cannot be");
    refused(zip_with(16, 1000000, 4), "which cannot be");
    refused(zip_with(16, 0xFFFFFFFF, 4), "there is none");
    refused(zip_with(20, 5, 2), "its directory at the end is missing: cut short?");
    struct bytes bytes = good_zip();
    size_t directory = bytes.size - 22 - 2 * 46 - strlen("net/data.pkl") - strlen("net/data/0");
    set_number(&bytes, directory + 42, 1000000, 4);
    refused(bytes, "is said to lie at byte 1000000");
    bytes = good_zip();
    set_number(&bytes, directory + 42, 3, 4);
    refused(bytes, "does not agree with the zip directory");
    bytes = good_zip();
    set_number(&bytes, directory + 20, 1000000, 4);
    set_number(&bytes, directory + 24, 1000000, 4);
    refused(bytes, "reaches beyond the archive: cut short?");
    bytes = good_zip();
    set_number(&bytes, directory + 24, 7, 4);
    refused(bytes, "has 7 bytes, stored in");
    bytes = good_zip();
    set_number(&bytes, directory + 28, 60000, 2);
    refused(bytes, "reaches beyond the directory");
    bytes = good_zip();
    set_number(&bytes, directory + 24, 0xFFFFFFFF, 4);
    refused(bytes, "lacks its 64-bit sizes");
}

static void cut_anywhere(void **state) {
    (void)state;
    static const char *const files[] = {"wrapped_zip.pth", "wrapped_legacy.pth", "views_legacy.pth"};
    for (size_t i = 0; i < 3; i++) {
        struct bytes whole = fixture(files[i]);
        for (size_t size = 0; size < whole.size; size += i == 0 ? 64 : 1) {
            struct bytes cut = {0};
            put(&cut, whole.at, size);
            refused(cut, "");
        }
        free(whole.at);
    }
}

static void changed_bytes(void **state) {
    (void)state;
    static const char *const files[] = {"plain_zip.pth", "plain_legacy.pth", "protocol4.pth"};
    for (size_t file = 0; file < 3; file++) {
        struct bytes whole = fixture(files[file]);
        size_t blocks = gr_memory().blocks;
        for (size_t i = 0; i < whole.size; i++)
            for (int bit = 0; bit < 8; bit++) {
                struct gr_weights *weights;
                whole.at[i] ^= (unsigned char)(1 << bit);
                parse(&weights, &whole);
                gr_weights_free(weights);
                whole.at[i] ^= (unsigned char)(1 << bit);
            }
        assert_int_equal(gr_memory().blocks, blocks);
        free(whole.at);
    }
}

static size_t find_bytes(const struct bytes *bytes, const char *text, size_t size) {
    for (size_t i = 0; i + size <= bytes->size; i++)
        if (memcmp(bytes->at + i, text, size) == 0)
            return i;
    fail_msg("\"%s\" is not in the file", text);
    return 0;
}

static size_t find(const struct bytes *bytes, const char *text) {
    return find_bytes(bytes, text, strlen(text));
}

static void legacy_files_that_lie(void **state) {
    (void)state;
    struct bytes bytes = fixture("plain_legacy.pth");
    put_text(&bytes, "more");
    refused(bytes, "4 bytes after the last storage belong to none");
    bytes = fixture("plain_legacy.pth");
    bytes.at[4] ^= 1;
    refused(bytes, "not one that torch.save wrote");
    bytes = fixture("plain_legacy.pth");
    set_number(&bytes, find(&bytes, "M\xe9\x03") + 1, 1002, 2);
    refused(bytes, "its version is not 1001");
    bytes = fixture("plain_legacy.pth");
    bytes.at[find(&bytes, "little_endian") + strlen("little_endian") + 2] = 0x89;
    refused(bytes, "its byte order is \"big\"");
    bytes = fixture("plain_legacy.pth");
    bytes.at[find(&bytes, "_rebuild_tensor_v2") + 1] = 'R';
    refused(bytes, "its pickle names torch._utils._Rebuild_tensor_v2");
    /* The storage of conv.weight: 24 numbers, the first of them 0 and 1/4. */
    static const char weight[] = "\x18\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\x3e";
    bytes = fixture("plain_legacy.pth");
    set_number(&bytes, find_bytes(&bytes, weight, sizeof weight - 1), 23, 8);
    refused(bytes, "holds 23 numbers, but 24 are expected");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_built_file_is_read),
        cmocka_unit_test(tensors_that_lie),
        cmocka_unit_test(pickles_that_call),
        cmocka_unit_test(pickles_that_are_damaged),
        cmocka_unit_test(pickle_bombs),
        cmocka_unit_test(other_archives),
        cmocka_unit_test(zip_directories_that_lie),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(legacy_files_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
