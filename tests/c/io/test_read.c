/* Files that PyTorch and the safetensors library wrote (tests/fixtures/make_io.py) give the numbers that went
 * in. */
#include "files.h"

#include <math.h>
#include <unistd.h>

#include "base/digest.h"

static struct gr_weights *read_fixture(const char *name) {
    char path[256];
    struct gr_weights *weights;
    snprintf(path, sizeof path, FIXTURES "%s", name);
    if (gr_weights_read(&weights, path) != 0) {
        print_error("%s\n", gr_error()->message);
        fail();
    }
    assert_string_equal(weights->path, path);
    char hex[65];
    assert_int_equal(gr_digest_file(path, hex), GR_OK); /* made beside the reading */
    assert_string_equal(weights->sha256, hex);
    return weights;
}

static const struct gr_tensor *tensor(const struct gr_weights *weights, const char *name, const char *dtype,
                                      const char *shape) {
    char text[96];
    const struct gr_weight *weight = gr_weights_find(weights, name);
    assert_non_null(weight);
    assert_string_equal(weight->dtype, dtype);
    assert_string_equal(gr_format_shape(weight->tensor.rank, weight->tensor.shape, text), shape);
    assert_true(gr_tensor_contiguous(&weight->tensor));
    return &weight->tensor;
}

/* start, start + 1/4, start + 2/4 ... */
static void quarters(const struct gr_tensor *tensor, float start) {
    assert_int_equal(tensor->dtype, GR_F32);
    for (int64_t i = 0; i < gr_tensor_count(tensor); i++)
        assert_true(gr_tensor_floats(tensor)[i] == start + 0.25f * (float)i);
}

static void integers(const struct gr_tensor *tensor, int64_t start) {
    assert_int_equal(tensor->dtype, GR_I64);
    for (int64_t i = 0; i < gr_tensor_count(tensor); i++)
        assert_int_equal(gr_tensor_integers(tensor)[i], start + i);
}

static void check_plain(const char *name) {
    struct gr_weights *weights = read_fixture(name);
    assert_int_equal(weights->count, 3);
    assert_string_equal(weights->items[0].name, "conv.weight");
    quarters(tensor(weights, "conv.weight", "F32", "[2,3,2,2]"), 0);
    quarters(tensor(weights, "conv.bias", "F32", "[2]"), 8);
    integers(tensor(weights, "bn.num_batches_tracked", "I64", "[]"), 7);
    gr_weights_free(weights);
}

static void plain_files(void **state) {
    (void)state;
    static const char *const names[] = {"plain_zip.pth",         "plain_legacy.pth", "parameters_zip.pth",
                                        "parameters_legacy.pth", "wrapped_zip.pth",  "wrapped_legacy.pth",
                                        "protocol4.pth",         "no_crc.pth"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_plain(names[i]);
}

static void formats_are_told_by_content(void **state) {
    (void)state;
    static const char *const expected[][2] = {{"plain_zip.pth", "pth (zip)"},
                                              {"plain_legacy.pth", "pth (legacy)"},
                                              {"kinds.safetensors", "safetensors"}};
    for (size_t i = 0; i < 3; i++) {
        struct gr_weights *weights = read_fixture(expected[i][0]);
        assert_string_equal(weights->format, expected[i][1]);
        gr_weights_free(weights);
    }
}

static void every_kind_of_number(void **state) {
    (void)state;
    static const char *const files[] = {"kinds_zip.pth", "kinds_legacy.pth", "kinds.safetensors"};
    for (size_t i = 0; i < 3; i++) {
        struct gr_weights *weights = read_fixture(files[i]);
        assert_int_equal(weights->count, 12);
        quarters(tensor(weights, "f64", "F64", "[3,2]"), -1);
        quarters(tensor(weights, "f32", "F32", "[3,2]"), -1);
        quarters(tensor(weights, "f16", "F16", "[3,2]"), -1);
        quarters(tensor(weights, "bf16", "BF16", "[3,2]"), -1);
        integers(tensor(weights, "i64", "I64", "[6]"), -3);
        integers(tensor(weights, "i32", "I32", "[6]"), -3);
        integers(tensor(weights, "i16", "I16", "[6]"), -3);
        integers(tensor(weights, "i8", "I8", "[6]"), -3);
        integers(tensor(weights, "u8", "U8", "[6]"), 250);
        const int64_t *flags = gr_tensor_integers(tensor(weights, "bool", "BOOL", "[3]"));
        assert_true(flags[0] == 1 && flags[1] == 0 && flags[2] == 1);
        quarters(tensor(weights, "scalar", "F32", "[]"), 2.5f);
        tensor(weights, "empty", "F32", "[0,4]");
        gr_weights_free(weights);
    }
}

static void strides_and_shared_storage(void **state) {
    (void)state;
    static const char *const files[] = {"views_zip.pth", "views_legacy.pth"};
    for (size_t i = 0; i < 2; i++) {
        struct gr_weights *weights = read_fixture(files[i]);
        quarters(tensor(weights, "base", "F32", "[4,6]"), 0);
        quarters(tensor(weights, "rows", "F32", "[2,6]"), 3);
        quarters(tensor(weights, "channels_last", "F32", "[2,3,2,2]"), 0);
        const float *transposed = gr_tensor_floats(tensor(weights, "transposed", "F32", "[6,4]"));
        const float *columns = gr_tensor_floats(tensor(weights, "columns", "F32", "[4,3]"));
        const float *repeated = gr_tensor_floats(tensor(weights, "repeated", "F32", "[3,6]"));
        const float *step = gr_tensor_floats(tensor(weights, "step", "F32", "[5]"));
        for (int r = 0; r < 4; r++)
            for (int c = 0; c < 6; c++) {
                float value = 0.25f * (float)(6 * r + c);
                assert_true(transposed[4 * c + r] == value);
                if (c >= 1 && c < 4)
                    assert_true(columns[3 * r + c - 1] == value);
                if (r == 0)
                    assert_true(repeated[c] == value && repeated[6 + c] == value &&
                                repeated[12 + c] == value);
            }
        for (int k = 0; k < 5; k++)
            assert_true(step[k] == 0.25f * (float)(1 + 5 * k));
        gr_weights_free(weights);
    }
}

static void special_halves(void **state) {
    (void)state;
    struct gr_weights *weights = read_fixture("half_special.pth");
    const float *half = gr_tensor_floats(tensor(weights, "half", "F16", "[8]"));
    assert_true(half[0] == 0x1p-24f && half[1] == 0x3FFp-24f && half[2] == 0x1p-14f && half[3] == 65504.0f);
    assert_true(half[4] == INFINITY && half[5] == -INFINITY && isnan(half[6]));
    assert_true(half[7] == 0 && signbit(half[7]));
    gr_weights_free(weights);
}

static void many_tensors_and_a_long_memo(void **state) {
    (void)state;
    static const char *const files[] = {"many_zip.pth", "many_legacy.pth", "memo.pth"};
    for (int file = 0; file < 3; file++) {
        struct gr_weights *weights = read_fixture(files[file]);
        assert_int_equal(weights->count, file < 2 ? 60 : 90);
        for (int i = 0; i < weights->count; i++) {
            char name[32];
            snprintf(name, sizeof name, file < 2 ? "layer.%d.weight" : "w%d", i);
            quarters(tensor(weights, name, "F32", file < 2 ? "[1]" : "[]"), (float)i);
            assert_string_equal(weights->items[i].name, name);
        }
        assert_null(gr_weights_find(weights, "layer.60.weight"));
        gr_weights_free(weights);
    }
}

static void checkpoints_with_an_optimiser(void **state) {
    (void)state;
    static const char *const files[] = {"checkpoint_zip.pth", "checkpoint_legacy.pth"};
    for (int file = 0; file < 2; file++) {
        struct gr_weights *weights = read_fixture(files[file]);
        assert_int_equal(weights->count, 7);
        quarters(tensor(weights, "0.weight", "F32", "[2,3]"), 0);
        quarters(tensor(weights, "1.running_var", "F32", "[2]"), 0);
        integers(tensor(weights, "1.num_batches_tracked", "I64", "[]"), 0);
        gr_weights_free(weights);
    }
}

static void metadata_of_safetensors(void **state) {
    (void)state;
    struct gr_weights *weights = read_fixture("kinds.safetensors");
    assert_string_equal(gr_weights_get(weights, "format"), "pt");
    assert_string_equal(gr_weights_get(weights, "note"), "caf\xc3\xa9 \"quoted\"\n\xf0\x9f\x98\x80");
    assert_null(gr_weights_get(weights, "absent"));
    gr_weights_free(weights);
}

static void code_is_refused(void **state) {
    (void)state;
    refused(fixture("torchscript.pt"), "TorchScript");
    refused(fixture("module.pth"),
            "names torch.nn.modules.linear.Linear; only plain dictionaries of tensors are read");
}

static void files_that_cannot_be_opened(void **state) {
    (void)state;
    struct gr_weights *weights;
    assert_int_equal(gr_weights_read(&weights, FIXTURES "absent.pth"), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, FIXTURES "absent.pth: no such file");
    assert_int_equal(gr_weights_read(&weights, "tests/fixtures"), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "tests/fixtures: is a folder, not a file");
    assert_int_equal(gr_weights_read(&weights, "/dev/null"), GR_ERROR_FILE);
    assert_string_equal(gr_error()->message, "/dev/null: is a device or a pipe, not a file");
    assert_null(weights);
}

/* Allocation number 1, 2, 3 ... fails until the load succeeds: nothing stays behind. */
static void failing_allocations(void **state) {
    (void)state;
    static const char *const files[] = {"checkpoint_zip.pth", "kinds_legacy.pth", "kinds.safetensors"};
    for (size_t i = 0; i < 3; i++)
        for (int persist = 0; persist < 2; persist++) {
            struct bytes bytes = fixture(files[i]);
            size_t blocks = gr_memory().blocks;
            struct gr_weights *weights = NULL;
            long n = 0;
            int status;
            do {
                gr_memory_fail(++n, persist);
                status = parse(&weights, &bytes);
                gr_memory_fail(0, false);
                if (status) {
                    assert_int_equal(status, GR_ERROR_MEMORY);
                    assert_null(weights);
                    assert_int_equal(gr_memory().blocks, blocks);
                }
            } while (status && n < 1000);
            assert_true(status == GR_OK && n > 10);
            gr_weights_free(weights);
            free(bytes.at);
        }
}

/* The real thing, where it is at hand: its numbers are read and its memory stays near the file's size. */
static void real_weights(void **state) {
    (void)state;
    const char *data = getenv("GRAFT_TEST_DATA");
    char path[512];
    struct gr_weights *weights;
    if (!data) {
        print_message("GRAFT_TEST_DATA is not set: no real weights\n");
        skip();
    }
    snprintf(path, sizeof path, "%s/weights/tiny_darknet.safetensors", data);
    gr_memory_reset_peak();
    assert_int_equal(gr_weights_read(&weights, path), GR_OK);
    assert_true(gr_memory().peak < (5u << 20));
    tensor(weights, "conv1.weight", "F32", "[16,3,3,3]");
    assert_string_equal(gr_weights_get(weights, "architecture"), "tiny_darknet");
    gr_weights_free(weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_files),
        cmocka_unit_test(formats_are_told_by_content),
        cmocka_unit_test(every_kind_of_number),
        cmocka_unit_test(strides_and_shared_storage),
        cmocka_unit_test(special_halves),
        cmocka_unit_test(many_tensors_and_a_long_memo),
        cmocka_unit_test(checkpoints_with_an_optimiser),
        cmocka_unit_test(metadata_of_safetensors),
        cmocka_unit_test(code_is_refused),
        cmocka_unit_test(files_that_cannot_be_opened),
        cmocka_unit_test(failing_allocations),
        cmocka_unit_test(real_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
