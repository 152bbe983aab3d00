/* Writing ONNX files: the bytes, names that other programs would not take, and failures that leave nothing
 * behind. What is in such files of larger networks is tests/lua/onnx_spec.lua's matter. */
#include "files.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "io/onnx.h"
#include "layers/custom.h"
#include "small_network.h"

static char folder[] = "/tmp/graft-onnx-XXXXXX", path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static int files_in_folder(void) {
    DIR *list = opendir(folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(list));)
        count += entry->d_name[0] != '.';
    closedir(list);
    return count;
}

static int export_network(const struct gr_network *net) {
    struct gr_operators operators;
    uint64_t bytes;
    GR_TRY(gr_operators_make(&operators, net, true));
    int status = gr_onnx_write(&operators, path, "test", &bytes);
    gr_operators_free(&operators);
    return status;
}

static struct bytes written(void) {
    struct bytes bytes = {0};
    unsigned char piece[4096];
    size_t got;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        put(&bytes, piece, got);
    fclose(file);
    return bytes;
}

static bool holds(const struct bytes *bytes, const void *what, size_t size) {
    for (size_t at = 0; at + size <= bytes->size; at++)
        if (memcmp(bytes->at + at, what, size) == 0)
            return true;
    return false;
}

/* Sixteenths of one, so that every machine has the same bits. */
static void fill(struct gr_network *net) {
    for (int i = 0, n = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_tensor *tensor = &net->layers[i]->params[p].tensor;
            for (int64_t e = 0; tensor->dtype == GR_F32 && e < gr_tensor_count(tensor); e++)
                gr_tensor_floats(tensor)[e] = (float)(n++ % 17) / 16;
        }
}

/* Without a classifier. */
static struct gr_network *one_layer(const char *name, const char *kind, const char *options) {
    struct gr_network *net;
    WORKS(gr_network_create(&net, "one", (struct gr_shape){3, 4, 4, false}, NULL, 1));
    struct gr_layer *x = small_add(net, name, kind, options, net->layers[0], NULL);
    WORKS(gr_network_finish(net, x, NULL, NULL, 0));
    return net;
}

/* Field by field, as protobuf's own library writes it too. */
static void bytes_of_a_small_network(void **state) {
    (void)state;
    struct gr_network *net = one_layer("flat", "flatten", NULL);
    const char node[] = "\x0a\x2d\x0a\x05image\x12\x08"
                        "features\x1a\x04"
                        "flat\"\x07"
                        "Flatten*\x0b\x0a\x04"
                        "axis\x18\x01\xa0\x01\x02";
    const char output[] = "b\x1b\x0a\x08"
                          "features\x12\x0f\x0a\x0d\x08\x01\x12\x09\x0a\x03\x12\x01N\x0a\x02\x08\x30";
    WORKS(export_network(net));
    struct bytes bytes = written();
    assert_memory_equal(bytes.at, "\x08\x08\x12\x05graft\x1a\x04test2", 14);
    assert_true(holds(&bytes, node, sizeof node - 1));
    assert_true(holds(&bytes, output, sizeof output - 1));
    assert_true(holds(&bytes, "B\x02\x10\x11", 4)); /* operator set 17 */
    free(bytes.at);
    gr_network_free(net);
}

static void the_same_bytes_on_every_machine(void **state) {
    (void)state;
    char hex[65];
    struct gr_network *net = small_network(1);
    fill(net);
    WORKS(export_network(net));
    WORKS(gr_digest_file(path, hex));
    assert_string_equal(hex, "9b0e525837d84ba7b84a08be46a35ac94c8b72a0a4a77ada224f1b31fc2800cc");
    gr_network_free(net);
}

/* The input itself, and one that is passed on twice. */
static void outputs_that_no_operator_gives(void **state) {
    (void)state;
    struct gr_network *net = one_layer("drop", "dropout", NULL);
    struct gr_operators operators;
    WORKS(gr_operators_make(&operators, net, true));
    assert_int_equal(operators.count, 1);
    assert_string_equal(operators.items[0].type, "Identity");
    assert_string_equal(operators.items[0].inputs[0], "image");
    assert_string_equal(operators.items[0].output, "features");
    gr_operators_free(&operators);
    gr_network_free(net);
    net = small_network(1);
    WORKS(gr_network_mark_aux(net, "layer1", net->output, 0.5F));
    WORKS(gr_operators_make(&operators, net, true));
    const struct gr_operator *last = &operators.items[operators.count - 1];
    assert_string_equal(last->type, "Identity");
    assert_string_equal(last->inputs[0], "logits");
    assert_string_equal(last->output, "layer1/logits");
    gr_operators_free(&operators);
    gr_network_free(net);
}

static void names_that_are_no_utf8(void **state) {
    (void)state;
    const char *classes[] = {"gr\xfcn", "b", "c"}; /* a folder's name in Latin-1 */
    struct gr_network *net = small_network(1);
    WORKS(gr_network_set_classes(net, classes, 3));
    WORKS(export_network(net));
    struct bytes bytes = written();
    const char *shown = "[\"gr\\\\xfcn\",\"b\",\"c\"]";
    assert_true(holds(&bytes, shown, strlen(shown)));
    free(bytes.at);
    gr_network_free(net);
    net = one_layer("la\xffyer", "relu", NULL);
    assert_int_equal(export_network(net), GR_ERROR_NAME);
    assert_non_null(strstr(gr_error()->message, "net.onnx: the layer name in \"la\\xffyer\" is not UTF-8"));
    gr_network_free(net);
}

static int half_shape(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                      struct gr_shape *out) {
    (void)payload, (void)options, (void)inputs;
    *out = in[0];
    return GR_OK;
}

static int half_forward(void *payload, const struct gr_custom_pass *pass) {
    (void)payload, (void)pass;
    return GR_OK;
}

static void layers_of_other_programs(void **state) {
    (void)state;
    const struct gr_custom_kind kind = {.name = "half\x1b", .shape = half_shape, .forward = half_forward};
    size_t blocks = gr_memory().blocks;
    WORKS(gr_custom_register(&kind));
    struct gr_network *net = one_layer("gate", "custom", "{\"kind\":\"half\\u001b\"}");
    unlink(path);
    assert_int_equal(export_network(net), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "layer \"gate\": kind \"half\\x1b\" is written in Lua"));
    assert_int_equal(files_in_folder(), 0);
    gr_network_free(net);
    WORKS(gr_custom_unregister(kind.name));
    assert_int_equal(gr_memory().blocks, blocks);
}

/* Only the sizes are looked at: the numbers of such a network would not fit this machine. */
static void more_than_the_format_can_say(void **state) {
    (void)state;
    struct gr_network *net = small_network(1);
    struct gr_operators operators;
    uint64_t bytes;
    WORKS(gr_operators_make(&operators, net, false));
    int64_t *size = &operators.constants[0].tensor.shape[0], was = *size;
    *size = INT64_C(1) << 30;
    assert_int_equal(gr_onnx_write(&operators, path, "test", &bytes), GR_ERROR_LIMIT);
    assert_non_null(
        strstr(gr_error()->message, "net.onnx: an ONNX file can hold 2 GiB, and this network would take"));
    *size = was;
    gr_operators_free(&operators);
    gr_network_free(net);
}

/* Every write beyond so many bytes fails, as on a full disk. */
static void a_disk_that_is_full(void **state) {
    (void)state;
    struct rlimit old, limited;
    struct gr_network *small = one_layer("flat", "flatten", NULL), *net = small_network(1);
    WORKS(export_network(small));
    struct bytes before = written();
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    size_t blocks = gr_memory().blocks;
    for (rlim_t most = 0; most < 8000; most += 397) {
        limited = (struct rlimit){.rlim_cur = most, .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
        int status = export_network(net);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, GR_ERROR_FILE);
        assert_non_null(strstr(gr_error()->message, "net.onnx: cannot be written: File too large"));
        assert_int_equal(files_in_folder(), 1);
        assert_int_equal(gr_memory().blocks, blocks);
    }
    struct bytes after = written();
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.at, after.at, before.size);
    free(before.at);
    free(after.at);
    gr_network_free(small);
    gr_network_free(net);
}

static void failing_allocations(void **state) {
    (void)state;
    struct gr_network *net = small_network(1);
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.3F, .pool = "avg"}));
    unlink(path);
    size_t blocks = gr_memory().blocks;
    long n = 0;
    int status, whole = 0;
    do {
        gr_memory_fail(++n, false);
        status = export_network(net);
        gr_memory_fail(0, false);
        assert_int_equal(gr_memory().blocks, blocks);
        if (status) {
            assert_int_equal(status, GR_ERROR_MEMORY);
            assert_true(files_in_folder() == 0 || ++whole == 1); /* when all but its folder was on the disk */
        }
    } while (status && n < 10000);
    assert_true(status == GR_OK && n > 200);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_small_network),
        cmocka_unit_test(the_same_bytes_on_every_machine),
        cmocka_unit_test(outputs_that_no_operator_gives),
        cmocka_unit_test(names_that_are_no_utf8),
        cmocka_unit_test(layers_of_other_programs),
        cmocka_unit_test(more_than_the_format_can_say),
        cmocka_unit_test(a_disk_that_is_full),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
