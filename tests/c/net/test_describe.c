/* Networks as data and back, also when the data is hostile. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "small_network.h"

static void test_round_trip(void **state) {
    struct gr_network *net = small_network(3), *copy;
    char a[65], b[65];
    (void)state;
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.25f, .hidden = 4}));
    net->multilabel = true;
    net->preprocessing.bgr = true;
    net->preprocessing.mean[1] = 0.1f;
    cJSON_AddStringToObject(net->metadata, "licence", "MIT");
    cJSON *description = gr_network_describe(net);
    char *text = cJSON_PrintUnformatted(description);
    cJSON *parsed = cJSON_Parse(text);
    WORKS(gr_network_build(&copy, parsed, 3));
    WORKS(gr_network_digest(net, false, a, NULL));
    WORKS(gr_network_digest(copy, false, b, NULL));
    assert_string_equal(a, b);
    cJSON *again = gr_network_describe(copy);
    assert_true(cJSON_Compare(description, again, true));
    assert_true(copy->multilabel && copy->preprocessing.bgr && copy->preprocessing.mean[1] == 0.1f);
    assert_true(gr_network_layer(copy, "drop")->head && gr_network_layer(copy, "aux.layer1.fc")->aux);
    assert_string_equal(copy->classes[2], "c");
    cJSON_Delete(description);
    cJSON_Delete(parsed);
    cJSON_Delete(again);
    cJSON_free(text);
    gr_network_free(net);
    gr_network_free(copy);
}

/* What is filled from a file is not drawn first; what the file leaves out is. */
static void test_deferred(void **state) {
    struct gr_network *net = small_network(3), *empty;
    cJSON *description = gr_network_describe(net);
    char a[65], b[65];
    (void)state;
    WORKS(gr_network_build_empty(&empty, description, 3));
    struct gr_param *weight = gr_network_param(empty, "conv1.weight"),
                    *left_out = gr_network_param(empty, "fc.weight");
    float *values = gr_tensor_floats(&weight->tensor);
    assert_true(values[0] == 0 && gr_tensor_floats(&left_out->tensor)[0] == 0);
    values[0] = 5;
    gr_param_touch(weight);
    gr_network_draw(empty);
    assert_true(values[0] == 5 && values[1] == 0 && gr_tensor_floats(&left_out->tensor)[0] != 0);
    memcpy(values, gr_tensor_floats(&gr_network_param(net, "conv1.weight")->tensor),
           gr_tensor_bytes(&weight->tensor));
    WORKS(gr_network_digest(net, false, a, NULL));
    WORKS(gr_network_digest(empty, false, b, NULL));
    assert_string_equal(a, b);
    gr_network_draw(empty);
    WORKS(gr_network_digest(empty, false, b, NULL));
    assert_string_equal(a, b);
    cJSON_Delete(description);
    gr_network_free(net);
    gr_network_free(empty);
}

/* Building from this description must fail cleanly. */
static void refuse(cJSON *description) {
    struct gr_network *net = NULL;
    size_t blocks = gr_memory().blocks;
    int status = gr_network_build(&net, description, 1);
    if (!status)
        print_error("built: %s\n", cJSON_PrintUnformatted(description));
    assert_true(status < 0);
    assert_true(*gr_error()->message);
    assert_int_equal(gr_memory().blocks, blocks);
}

/* Replaces the value at a path such as "layers/3/inputs" by JSON text (NULL: removes it) and builds. */
static void refuse_with(const char *path, const char *value) {
    struct gr_network *net = small_network(3);
    cJSON *description = gr_network_describe(net), *at = description;
    char copy[200], *save = NULL;
    gr_network_free(net);
    snprintf(copy, sizeof copy, "%s", path);
    char *part = strtok_r(copy, "/", &save);
    for (char *next = strtok_r(NULL, "/", &save); next; part = next, next = strtok_r(NULL, "/", &save))
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(part))
                               : cJSON_GetObjectItemCaseSensitive(at, part);
    if (cJSON_IsArray(at))
        cJSON_ReplaceItemInArray(at, atoi(part), cJSON_Parse(value));
    else if (!value)
        cJSON_DeleteItemFromObjectCaseSensitive(at, part);
    else if (cJSON_GetObjectItemCaseSensitive(at, part))
        cJSON_ReplaceItemInObjectCaseSensitive(at, part, cJSON_Parse(value));
    else
        cJSON_AddItemToObject(at, part, cJSON_Parse(value));
    refuse(description);
    cJSON_Delete(description);
}

/* Where in the description, and what comes there. */
static const char *const changes[][2] = {
    {"format", "2"},
    {"format", "\"1\""},
    {"name", NULL},
    {"name", "\"\""},
    {"name", "\"a\\u001bb\""},
    {"input", "[3,16]"},
    {"input", "[3,-16,16]"},
    {"input", "[3,1e9,16]"},
    {"input", "[3,16,\"16\"]"},
    {"input", "[1048576,16384,16384]"},
    {"layers", NULL},
    {"layers", "{}"},
    {"layers", "[[]]"},
    {"layers/0", "7"},
    {"layers/0/name", "\"input\""},
    {"layers/0/name", "\"body\""},
    {"layers/0/name", "\"a*\""},
    {"layers/0/kind", "\"conv3d\""},
    {"layers/0/kind", "\"input\""},
    {"layers/0/kind", "[]"},
    {"layers/0/inputs", "[]"},
    {"layers/0/inputs", "[\"conv1\"]"},
    {"layers/0/inputs", "[\"fc\"]"},
    {"layers/0/inputs", "[null]"},
    {"layers/0/inputs", "[\"input\",\"input\"]"},
    {"layers/0/options", "[1]"},
    {"layers/0/options/out", "-1"},
    {"layers/0/options/out", "1e300"},
    {"layers/0/options/out", "5"},
    {"layers/0/options/kernel", "[0,0]"},
    {"layers/0/options/kernel", "19"},
    {"layers/0/options/stride", "0"},
    {"layers/0/options/groups", "2"},
    {"layers/0/options/padding", "[1]"},
    {"layers/0/options/surprise", "1"},
    {"layers/3/name", "\"conv1\""},
    {"output", "\"nowhere\""},
    {"output", "3"},
    {"head", "\"nowhere\""},
    {"head", "\"drop\""},
    {"head", "7"},
    {"stages", "[\"layer2\",\"layer1\"]"},
    {"stages", "[\"layer1\",\"layer1\"]"},
    {"stages", "[\"nowhere\"]"},
    {"stages", "\"layer1\""},
    {"stages", "[1]"},
    {"classes", "[\"a\"]"},
    {"classes", "[\"a\",\"b\",7]"},
    {"classes", "[\"a\",\"b\",\"\"]"},
    {"multilabel", "1"},
    {"preprocessing", NULL},
    {"preprocessing/std", "[1,0,1]"},
    {"preprocessing/std", "[1,1]"},
    {"preprocessing/mean", "[1,1,1e300]"},
    {"preprocessing/interpolation", "\"nearest\""},
    {"preprocessing/resize", "0"},
    {"preprocessing/resize", "2.5"},
    {"aux", "{\"a\":1}"},
    {"aux", "[{\"at\":\"layer1\"}]"},
    {"aux", "[{\"at\":\"layer1\",\"output\":\"fc\",\"weight\":-1}]"},
    {"aux", "[{\"at\":\"layer9\",\"output\":\"fc\",\"weight\":1}]"},
    {"metadata", "[]"},
    {"metadata", "{\"a\":{}}"},
};

static void test_hostile(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        refuse_with(changes[i][0], changes[i][1]);
    cJSON *list = cJSON_CreateArray();
    refuse(list);
    cJSON_Delete(list);
    refuse(NULL);
}

static void test_too_many_layers(void **state) {
    cJSON *description =
        cJSON_Parse("{\"format\":1,\"name\":\"long\",\"input\":[1,1,1],\"output\":\"relu_1\","
                    "\"preprocessing\":{\"resize\":1,\"interpolation\":\"bilinear\","
                    "\"mean\":[0,0,0],\"std\":[1,1,1]}}");
    cJSON *layers = cJSON_AddArrayToObject(description, "layers");
    (void)state;
    for (int i = 0; i < 10001; i++) {
        cJSON *layer = cJSON_Parse("{\"kind\":\"relu\",\"inputs\":[\"input\"]}");
        char name[32];
        snprintf(name, sizeof name, "relu_%d", i);
        cJSON_AddStringToObject(layer, "name", name);
        cJSON_AddItemToArray(layers, layer);
    }
    refuse(description);
    assert_int_equal(gr_error()->code, GR_ERROR_LIMIT);
    cJSON_Delete(description);
}

static void test_duplicate_names(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_layer *input = net->layers[0];
    (void)state;
    assert_int_equal(gr_network_add(net, "fc", "relu", NULL, &input, 1, NULL), GR_ERROR_NAME);
    assert_int_equal(gr_network_add(net, NULL, "rleu", NULL, &input, 1, NULL), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "relu");
    assert_int_equal(gr_network_add(net, "x", "linear", NULL, &input, 1, NULL), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "\"x\""));
    gr_network_free(net);
}

static void test_memory_runs_out(void **state) {
    struct gr_network *net = small_network(3);
    cJSON *description = gr_network_describe(net);
    (void)state;
    gr_network_free(net);
    for (long n = 1;; n++) {
        gr_memory_fail(n, true);
        int status = gr_network_build(&net, description, 3);
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_int_equal(status, GR_ERROR_MEMORY);
        assert_int_equal(gr_memory().blocks, 0);
    }
    gr_network_free(net);
    cJSON_Delete(description);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_hostile),         cmocka_unit_test(test_too_many_layers),
        cmocka_unit_test(test_duplicate_names), cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
