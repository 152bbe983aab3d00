/* Models in files, and weights put into networks by name. */
#include "files.h"

#include <unistd.h>

#include "base/digest.h"
#include "io/model.h"
#include "small_network.h"

static char path[] = "/tmp/graft-model-XXXXXX";

static int make_path(void **state) {
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

static void digest_of(const struct gr_network *net, char hex[65]) {
    WORKS(gr_network_digest(net, false, hex, NULL));
}

static struct gr_network *load_model(void) {
    struct gr_weights *weights;
    struct gr_network *net;
    WORKS(gr_weights_read(&weights, path));
    assert_true(gr_model_is(weights));
    WORKS(gr_model_load(&net, weights, 9, false));
    gr_weights_free(weights);
    return net;
}

static void models_come_back(void **state) {
    (void)state;
    char before[65], after[65];
    struct gr_network *net = small_network(1);
    cJSON_AddStringToObject(net->metadata, "weights.licence", "MIT");
    WORKS(gr_model_save(net, path, true));
    digest_of(net, before);
    struct gr_network *back = load_model();
    digest_of(back, after);
    assert_string_equal(before, after);
    assert_string_equal(back->name, "small");
    assert_int_equal(back->class_count, 3);
    assert_string_equal(back->classes[2], "c");
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(back->metadata, "weights.licence")->valuestring,
                        "MIT");
    assert_int_equal(cJSON_GetArraySize(back->metadata), 1);
    assert_string_equal(gr_network_layer(back, "fc")->source, strrchr(path, '/') + 1);
    struct gr_weights *weights;
    WORKS(gr_weights_read(&weights, path));
    assert_string_equal(gr_weights_get(weights, "graft.digest"), before);
    gr_weights_free(weights);
    gr_network_free(back);
    gr_network_free(net);
}

/* The rules of the format are public: another program may write a model. */
static void a_model_of_another_program(void **state) {
    (void)state;
    struct gr_weights *weights;
    struct gr_network *net;
    WORKS(gr_weights_read(&weights, FIXTURES "model.safetensors"));
    WORKS(gr_model_load(&net, weights, 1, false));
    assert_string_equal(net->name, "tiny");
    assert_string_equal(net->classes[1], "dog");
    assert_true(gr_tensor_floats(&gr_network_param(net, "fc.bias")->tensor)[1] == 5.25f);
    assert_int_equal(*gr_tensor_integers(&gr_network_param(net, "bn.num_batches_tracked")->tensor), 3);
    gr_weights_free(weights);
    gr_network_free(net);
}

static void auxiliary_classifiers_may_stay_behind(void **state) {
    (void)state;
    struct gr_network *net = small_network(1);
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.3f, .pool = "avg"}));
    WORKS(gr_model_save(net, path, true));
    struct gr_network *with = load_model();
    WORKS(gr_model_save(net, path, false));
    struct gr_network *without = load_model();
    assert_int_equal(net->aux_count, 1);
    assert_int_equal(with->aux_count, 1);
    assert_int_equal(without->aux_count, 0);
    gr_network_free(with);
    gr_network_free(without);
    gr_network_free(net);
}

/* The tensors of a network, all but those of layers named `left_out`, each name behind `prefix`. */
static struct gr_weights *tensors_of(const struct gr_network *net, const char *left_out, const char *prefix) {
    struct gr_weights *weights;
    WORKS(gr_weights_create(&weights));
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++) {
            char name[128];
            snprintf(name, sizeof name, "%s%s", prefix, net->layers[i]->params[j].name);
            if (!left_out || !strstr(name, left_out))
                WORKS(gr_weights_add(weights, name, &net->layers[i]->params[j].tensor));
        }
    return weights;
}

static int apply(struct gr_network *net, struct gr_weights *weights, const struct gr_apply_options *options,
                 struct gr_apply_report *report) {
    int status = gr_weights_apply(net, weights, options, report);
    gr_weights_free(weights);
    return status;
}

static void weights_by_name(void **state) {
    (void)state;
    char a[65], b[65];
    struct gr_network *from = small_network(1), *to = small_network(2);
    struct gr_apply_report report;
    uint64_t version = gr_network_param(to, "fc.weight")->version;
    digest_of(from, a);
    digest_of(to, b);
    assert_string_not_equal(a, b);
    WORKS(apply(to, tensors_of(from, NULL, ""), NULL, &report));
    digest_of(to, b);
    assert_string_equal(a, b);
    assert_true(gr_network_param(to, "fc.weight")->version > version);
    assert_int_equal(report.applied, 38);
    assert_int_equal(report.missing.count + report.unused.count + report.other_shape.count, 0);
    gr_apply_report_clear(&report);
    gr_network_free(from);
    gr_network_free(to);
}

/* Where the list may give its tensors away, a deferred network has them and no copy of them; plans made
 * before are out of date. A network that is in use keeps its own, and so does a list that stays. */
static void tensors_that_are_taken(void **state) {
    (void)state;
    char before[65], after[65];
    struct gr_network *net = small_network(1), *taker, *keeper;
    WORKS(gr_model_save(net, path, true));
    digest_of(net, before);
    for (int take = 0; take < 2; take++) {
        struct gr_weights *weights;
        WORKS(gr_weights_read(&weights, path));
        const float *theirs = gr_tensor_floats(&gr_weights_find(weights, "fc.weight")->tensor);
        WORKS(gr_model_load(take ? &taker : &keeper, weights, 1, take));
        const float *own = gr_tensor_floats(&gr_network_param(take ? taker : keeper, "fc.weight")->tensor);
        assert_true(take ? own == theirs : own != theirs);
        gr_weights_free(weights);
    }
    digest_of(taker, after);
    assert_string_equal(before, after);
    digest_of(keeper, after);
    assert_string_equal(before, after);
    assert_false(taker->deferred);

    const struct gr_apply_options options = {.take = true};
    const float *own = gr_tensor_floats(&gr_network_param(keeper, "fc.weight")->tensor);
    uint64_t version = keeper->version;
    WORKS(apply(keeper, tensors_of(taker, NULL, ""), &options, NULL));
    assert_ptr_equal(gr_tensor_floats(&gr_network_param(keeper, "fc.weight")->tensor), own);
    assert_int_equal(keeper->version, version);
    gr_network_defer(keeper);
    WORKS(apply(keeper, tensors_of(net, NULL, ""), &options, NULL));
    assert_true(keeper->version > version);
    gr_network_free(net);
    gr_network_free(taker);
    gr_network_free(keeper);
}

/* Nothing is written unless everything fits. */
static void stays(struct gr_network *net, struct gr_weights *weights, const struct gr_apply_options *options,
                  int status, const char *words) {
    char before[65], after[65];
    digest_of(net, before);
    int came = apply(net, weights, options, NULL);
    if (came != status || !strstr(gr_error()->message, words))
        fail_msg("expected \"%s\", came %d \"%s\"", words, came, gr_error()->message);
    digest_of(net, after);
    assert_string_equal(before, after);
    assert_null(gr_network_layer(net, "conv1")->source);
}

static void loads_that_leave_something_random(void **state) {
    (void)state;
    struct gr_network *from = small_network(1), *to = small_network(2);
    const struct gr_apply_options head = {.allow_head_mismatch = true};
    stays(
        to, tensors_of(from, "layer2", ""), &head, GR_ERROR_NAME,
        "15 of the 38 tensors of small are not in the file and would stay random: layer2.0.conv1.weight, "
        "layer2.0.bn1.weight, layer2.0.bn1.bias, layer2.0.bn1.running_mean, layer2.0.bn1.running_var and 10 "
        "more");
    stays(to, tensors_of(from, "fc", ""), NULL, GR_ERROR_NAME,
          "2 of the 38 tensors of small are not in the file and would stay random: fc.weight, fc.bias");
    stays(to, tensors_of(from, NULL, "features."), &head, GR_ERROR_NAME,
          "no tensor of the file fits small: the network's first is \"conv1.weight\", the file's first is "
          "\"features.conv1.weight\"; another architecture?");
    static const char *const classes[] = {"a", "b"};
    WORKS(gr_network_replace_head(to, classes, 2, NULL));
    stays(to, tensors_of(from, NULL, ""), NULL, GR_ERROR_SHAPE,
          "fc.weight: [3,8] in the file, [2,8] in the network, fc.bias: [3] in the file, [2] in the network");
    gr_network_free(from);
    gr_network_free(to);
}

static void heads_may_differ(void **state) {
    (void)state;
    static const char *const classes[] = {"a", "b"};
    const struct gr_apply_options head = {.allow_head_mismatch = true, .source = "old.pth"};
    struct gr_network *from = small_network(1), *to = small_network(2);
    struct gr_apply_report report;
    WORKS(gr_network_replace_head(to, classes, 2, NULL));
    WORKS(apply(to, tensors_of(from, NULL, ""), &head, &report));
    assert_int_equal(report.other_shape.count, 2);
    assert_string_equal(report.other_shape.names[0], "fc.weight: [3,8] in the file, [2,8] in the network");
    gr_apply_report_clear(&report);
    assert_null(gr_network_layer(to, "fc")->source);
    assert_string_equal(gr_network_layer(to, "conv1")->source, "old.pth");
    WORKS(apply(to, tensors_of(from, "fc", ""), &head, &report));
    assert_int_equal(report.missing.count, 2);
    assert_string_equal(report.missing.names[1], "fc.bias");
    gr_apply_report_clear(&report);
    gr_network_free(from);
    gr_network_free(to);
}

static void prefixes_and_extra_tensors(void **state) {
    (void)state;
    const struct gr_prefix prefix = {"backbone.", ""};
    const struct gr_apply_options options = {.prefixes = &prefix, .prefix_count = 1};
    struct gr_network *from = small_network(1), *to = small_network(2);
    struct gr_apply_report report;
    struct gr_weights *weights = tensors_of(from, NULL, "backbone.");
    WORKS(gr_weights_add(weights, "aux1.fc.weight", &gr_network_param(from, "fc.weight")->tensor));
    WORKS(apply(to, weights, &options, &report));
    assert_int_equal(report.unused.count, 1);
    assert_string_equal(report.unused.names[0], "aux1.fc.weight");
    gr_apply_report_clear(&report);
    weights = tensors_of(from, NULL, "backbone.");
    WORKS(gr_weights_add(weights, "fc.weight", &gr_network_param(from, "fc.weight")->tensor));
    assert_int_equal(apply(to, weights, &options, NULL), GR_ERROR_NAME);
    assert_non_null(
        strstr(gr_error()->message, "after the change of prefixes two tensors are called \"fc.weight\""));
    gr_network_free(from);
    gr_network_free(to);
}

/* Old files have no counters; some have them as floats or of shape [1]. */
static void counters_of_batches(void **state) {
    (void)state;
    struct gr_network *from = small_network(1), *to = small_network(2);
    struct gr_apply_report report;
    WORKS(apply(to, tensors_of(from, "num_batches_tracked", ""), NULL, &report));
    assert_int_equal(report.missing.count, 0);
    assert_int_equal(report.applied, 32);
    gr_apply_report_clear(&report);
    struct gr_weights *weights = tensors_of(from, "bn1.num_batches_tracked", "");
    struct gr_tensor five;
    WORKS(gr_tensor_create(&five, GR_F32, 1, (int64_t[]){1}));
    *gr_tensor_floats(&five) = 5;
    WORKS(gr_weights_add(weights, "bn1.num_batches_tracked", &five));
    gr_tensor_release(&five);
    WORKS(apply(to, weights, NULL, NULL));
    assert_int_equal(*gr_tensor_integers(&gr_network_param(to, "bn1.num_batches_tracked")->tensor), 5);
    gr_network_free(from);
    gr_network_free(to);
}

static void origin_is_noted(void **state) {
    (void)state;
    char hex[65];
    struct gr_network *from = small_network(1), *to = small_network(2);
    struct gr_weights *weights = tensors_of(from, NULL, "");
    WORKS(gr_weights_set(weights, "licence", "CC0"));
    WORKS(gr_weights_write(weights, path));
    gr_weights_free(weights);
    WORKS(gr_digest_file(path, hex));
    WORKS(gr_weights_read(&weights, path));
    WORKS(apply(to, weights, NULL, NULL));
    const cJSON *metadata = to->metadata;
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(metadata, "weights.sha256")->valuestring, hex);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(metadata, "weights.licence")->valuestring, "CC0");
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(metadata, "weights.file")->valuestring,
                        strrchr(path, '/') + 1);
    /* and it goes on into the model made of them */
    WORKS(gr_model_save(to, path, true));
    struct gr_network *back = load_model();
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(back->metadata, "weights.sha256")->valuestring, hex);
    gr_network_free(back);
    gr_network_free(from);
    gr_network_free(to);
}

static void refused_model(const char *key, const char *value, const char *words) {
    struct gr_network *net = small_network(1), *back;
    struct gr_weights *weights;
    WORKS(gr_model_pack(&weights, net, true));
    WORKS(gr_weights_set(weights, key, value));
    size_t blocks = gr_memory().blocks;
    assert_int_not_equal(gr_model_load(&back, weights, 1, false), GR_OK);
    if (!strstr(gr_error()->message, words))
        fail_msg("expected \"%s\", came \"%s\"", words, gr_error()->message);
    assert_null(back);
    assert_int_equal(gr_memory().blocks, blocks);
    gr_weights_free(weights);
    gr_network_free(net);
}

#define LARGE                                                                                                \
    "{\"format\":1,\"name\":\"x\",\"input\":[3,32,32],\"preprocessing\":{\"resize\":32,\"stretch\":false,"   \
    "\"interpolation\":\"bilinear\",\"mean\":[0,0,0],\"std\":[1,1,1],\"bgr\":false},\"layers\":[{\"name\":"  \
    "\"f\","                                                                                                 \
    "\"kind\":\"flatten\",\"inputs\":[\"input\"]},{\"name\":\"fc\",\"kind\":\"linear\",\"inputs\":[\"f\"],"  \
    "\"options\":{\"out\":100000}}],\"output\":\"fc\",\"stages\":[],\"classes\":[]}"

static void descriptions_that_lie(void **state) {
    (void)state;
    refused_model("graft.network", NULL, "no description of a network");
    refused_model("graft.network", "{", "its description of the network is not JSON");
    refused_model("graft.network", "{} x", "its description of the network is not JSON");
    refused_model("graft.network", "{}", "model: ");
    refused_model("graft.format", "2", "is a model file of format \"2\"; this program reads format 1");
    refused_model("graft.network", LARGE, "the memory limit is reached");
    assert_int_equal(gr_memory().limit, 0);
    /* A tensor that the description needs is not there. */
    struct gr_network *net = small_network(1), *back;
    struct gr_weights *all, *some;
    WORKS(gr_model_pack(&all, net, true));
    some = tensors_of(net, "fc.bias", "");
    WORKS(gr_weights_set(some, "graft.network", gr_weights_get(all, "graft.network")));
    WORKS(gr_weights_set(some, "graft.format", "1"));
    assert_int_equal(gr_model_load(&back, some, 1, false), GR_ERROR_NAME);
    assert_non_null(strstr(gr_error()->message, "would stay random: fc.bias"));
    gr_weights_free(all);
    gr_weights_free(some);
    gr_network_free(net);
}

static void failing_allocations(void **state) {
    (void)state;
    struct gr_network *net = small_network(1), *back;
    WORKS(gr_model_save(net, path, true));
    gr_network_free(net);
    struct gr_weights *weights;
    WORKS(gr_weights_read(&weights, path));
    size_t blocks = gr_memory().blocks;
    long n = 0;
    int status;
    do {
        gr_memory_fail(++n, false);
        status = gr_model_load(&back, weights, 1, false);
        gr_memory_fail(0, false);
        if (status)
            assert_int_equal(gr_memory().blocks, blocks);
    } while (status && n < 10000);
    assert_true(status == GR_OK && n > 50);
    gr_network_free(back);
    gr_weights_free(weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_of_another_program),
        cmocka_unit_test(models_come_back),
        cmocka_unit_test(auxiliary_classifiers_may_stay_behind),
        cmocka_unit_test(weights_by_name),
        cmocka_unit_test(tensors_that_are_taken),
        cmocka_unit_test(loads_that_leave_something_random),
        cmocka_unit_test(heads_may_differ),
        cmocka_unit_test(prefixes_and_extra_tensors),
        cmocka_unit_test(counters_of_batches),
        cmocka_unit_test(origin_is_noted),
        cmocka_unit_test(descriptions_that_lie),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
