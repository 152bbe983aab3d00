/* Heads, cuts, auxiliary classifiers, fresh values. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "small_network.h"

static const char *const five[] = {"v", "w", "x", "y", "z"};

/* Every invariant of a finished network. */
static void check(const struct gr_network *net) {
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        struct gr_shape in[GR_MAX_INPUTS], out;
        assert_int_equal(layer->index, i);
        for (int j = 0; j < layer->input_count; j++) {
            assert_true(layer->inputs[j]->index < i);
            assert_ptr_equal(net->layers[layer->inputs[j]->index], layer->inputs[j]);
            in[j] = layer->inputs[j]->shape;
        }
        assert_ptr_equal(gr_network_layer(net, layer->name), layer);
        WORKS(layer->kind->shape(layer, in, &out));
        assert_memory_equal(&out, &layer->shape, 3 * sizeof(int));
    }
    assert_ptr_equal(net->layers[net->output->index], net->output);
}

static void digest(const struct gr_network *net, char hex[65]) {
    WORKS(gr_network_digest(net, false, hex, NULL));
}

static void body_digest(struct gr_network *net, char hex[65]) {
    const char *body = "body", *all = "*";
    WORKS(gr_network_freeze(net, &all, 1, false));
    WORKS(gr_network_freeze(net, &body, 1, true));
    WORKS(gr_network_digest(net, true, hex, NULL));
    WORKS(gr_network_freeze(net, &all, 1, false));
}

static void test_replace_head(void **state) {
    struct gr_network *net = small_network(1);
    char before[65], after[65];
    uint64_t version = net->version;
    (void)state;
    body_digest(net, before);
    gr_network_layer(net, "fc")->frozen = true;
    WORKS(gr_network_replace_head(net, five, 5, NULL));
    check(net);
    body_digest(net, after);
    assert_string_equal(before, after);
    assert_true(net->version > version);
    assert_int_equal(net->class_count, 5);
    assert_string_equal(net->classes[4], "z");
    assert_false(gr_network_layer(net, "fc")->frozen);
    assert_int_equal(gr_network_param(net, "fc.weight")->tensor.shape[0], 5);
    assert_string_equal(gr_network_layer(net, "fc")->inputs[0]->name, "drop");
    gr_network_free(net);
}

static void test_replace_head_with_hidden_layer(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_head_options hidden = {.hidden = 6, .dropout = -1}, both = {.hidden = 7, .dropout = 0.5f},
                           none = {.hidden = 0, .dropout = 0};
    const char *head = "head";
    (void)state;
    WORKS(gr_network_replace_head(net, five, 5, &hidden));
    check(net);
    assert_string_equal(gr_network_layer(net, "fc")->inputs[0]->name, "drop");
    assert_string_equal(gr_network_layer(net, "drop")->inputs[0]->name, "fc.relu");
    assert_int_equal(gr_network_param(net, "fc.weight")->tensor.shape[1], 6);
    bool chosen[100] = {false};
    WORKS(gr_network_choose(net, &head, 1, chosen));
    assert_true(chosen[gr_network_layer(net, "fc.hidden")->index]);
    int layers = net->layer_count;
    WORKS(gr_network_replace_head(net, five, 4, &both));
    check(net);
    assert_int_equal(net->layer_count, layers);
    assert_null(gr_network_layer(net, "drop"));
    assert_string_equal(gr_network_layer(net, "fc")->inputs[0]->name, "fc.dropout");
    assert_int_equal(gr_network_param(net, "fc.hidden.weight")->tensor.shape[0], 7);
    WORKS(gr_network_replace_head(net, five, 2, &none));
    check(net);
    assert_int_equal(net->layer_count, layers - 3);
    assert_int_equal(gr_network_param(net, "fc.weight")->tensor.shape[1], 8);
    gr_network_free(net);
}

/* Small weights and no bias. */
static bool starts_small(struct gr_network *net, const char *layer) {
    char name[64];
    snprintf(name, sizeof name, "%s.weight", layer);
    const struct gr_tensor *weight = &gr_network_param(net, name)->tensor;
    snprintf(name, sizeof name, "%s.bias", layer);
    const struct gr_tensor *bias = &gr_network_param(net, name)->tensor;
    double squares = 0, biases = 0;
    for (int64_t i = 0; i < gr_tensor_count(weight); i++)
        squares += pow(gr_tensor_floats(weight)[i], 2) / (double)gr_tensor_count(weight);
    for (int64_t i = 0; i < gr_tensor_count(bias); i++)
        biases += fabs(gr_tensor_floats(bias)[i]);
    return squares > 0.005 * 0.005 && squares < 0.015 * 0.015 && biases == 0;
}

/* As in Tiny Darknet and SqueezeNet: a 1x1 convolution gives the logits, and a pool follows it. */
static void test_convolutional_head(void **state) {
    struct gr_head_options hidden = {.hidden = 6, .dropout = 0.1f};
    struct gr_network *net;
    (void)state;
    WORKS(gr_network_create(&net, "squeeze", (struct gr_shape){3, 8, 8, false}, NULL, 1));
    struct gr_layer *x =
        small_add(net, "features.0", "conv2d", "{\"out\":4,\"kernel\":3}", net->layers[0], NULL);
    x = small_add(net, NULL, "dropout", NULL, x, NULL);
    x = small_add(net, "classifier.1", "conv2d", "{\"out\":10,\"kernel\":1}", x, NULL);
    x = small_add(net, NULL, "relu", NULL, x, NULL);
    x = small_add(net, NULL, "global_avg_pool", NULL, x, NULL);
    WORKS(gr_network_finish(net, x, "classifier.1", NULL, 0));
    WORKS(gr_network_replace_head(net, five, 5, NULL));
    check(net);
    assert_int_equal(net->output->shape.c, 5);
    assert_true(net->output->shape.flat);
    assert_true(gr_network_layer(net, "dropout_1")->head);
    WORKS(gr_network_replace_head(net, five, 3, &hidden));
    check(net);
    assert_int_equal(gr_network_param(net, "classifier.1.weight")->tensor.shape[1], 6);
    assert_true(starts_small(net, "classifier.1"));
    assert_int_equal(net->output->shape.c, 3);
    gr_network_free(net);
}

/* Every way to a classifier; what is not its last layer is drawn as elsewhere, and what has learnt stays. */
static void test_classifiers_start_small(void **state) {
    struct gr_head_options hidden = {.hidden = 6, .dropout = -1};
    struct gr_aux_options aux = {.weight = 0.3f, .hidden = 5};
    struct gr_network *net = small_network(1), *cut, *copy;
    (void)state;
    assert_true(starts_small(net, "fc"));
    WORKS(gr_network_replace_head(net, five, 5, &hidden));
    assert_true(starts_small(net, "fc") && !starts_small(net, "fc.hidden"));
    WORKS(gr_network_cut(&cut, net, "layer1"));
    WORKS(gr_network_add_head(cut, five, 5, NULL));
    assert_true(starts_small(cut, "head"));
    gr_tensor_floats(&gr_network_param(cut, "head.weight")->tensor)[0] = 5;
    WORKS(gr_network_add_aux(cut, "conv1", &aux));
    assert_true(starts_small(cut, "aux.conv1.fc") && !starts_small(cut, "aux.conv1.hidden"));
    WORKS(gr_network_clone(&copy, cut));
    assert_true(gr_tensor_floats(&gr_network_param(copy, "head.weight")->tensor)[0] == 5);
    gr_network_free(copy);
    gr_network_free(cut);
    gr_network_free(net);
}

static void test_failed_replace_changes_nothing(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_head_options hidden = {.hidden = 6, .dropout = 0.5f};
    char before[65], after[65];
    (void)state;
    digest(net, before);
    for (long n = 1;; n++) {
        gr_memory_fail(n, false);
        int status = gr_network_replace_head(net, five, 5, &hidden);
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_int_equal(status, GR_ERROR_MEMORY);
        digest(net, after);
        assert_string_equal(before, after);
        assert_int_equal(net->class_count, 3);
        check(net);
        assert_true(n < 1000);
    }
    check(net);
    assert_int_equal(gr_network_replace_head(net, five, 1, NULL), GR_ERROR_DATA);
    gr_network_free(net);
}

static void test_cut_and_add_head(void **state) {
    struct gr_network *net = small_network(1), *cut;
    const char *body = "body";
    char before[65], after[65];
    (void)state;
    digest(net, before);
    WORKS(gr_network_freeze(net, &body, 1, true));
    WORKS(gr_network_cut(&cut, net, "layer1"));
    assert_null(cut->head);
    assert_int_equal(cut->class_count, 0);
    assert_int_equal(cut->stage_count, 2);
    assert_string_equal(cut->output->name, "relu_3");
    check(cut);
    WORKS(gr_network_add_head(cut, five, 5, &(struct gr_head_options){.hidden = 3, .dropout = 0.2f}));
    check(cut);
    assert_true(gr_network_layer(cut, "conv1")->frozen);
    assert_false(gr_network_layer(cut, "head")->frozen);
    assert_true(gr_network_layer(cut, "head.hidden")->head);
    assert_int_equal(cut->output->shape.c, 5);
    assert_int_equal(gr_network_add_head(cut, five, 5, NULL), GR_ERROR_NAME);
    WORKS(gr_network_replace_head(cut, five, 2, &(struct gr_head_options){.hidden = 0, .dropout = 0}));
    check(cut);
    assert_non_null(gr_network_layer(cut, "head.pool"));
    *gr_tensor_floats(&gr_network_param(cut, "conv1.weight")->tensor) += 1;
    gr_network_free(cut);
    digest(net, after);
    assert_string_equal(before, after);
    assert_int_equal(gr_network_cut(&cut, net, "fc"), GR_ERROR_NAME);
    assert_int_equal(gr_network_cut(&cut, net, "layr1"), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "layer1");
    gr_network_free(net);
}

static void test_aux(void **state) {
    struct gr_network *net = small_network(1), *cut;
    struct gr_aux_options low = {.weight = 0.3f, .hidden = 5, .pool = "max"}, high = {.weight = 0.2f};
    const char *aux = "aux";
    char before[65], after[65];
    (void)state;
    digest(net, before);
    WORKS(gr_network_add_aux(net, "layer2", &high));
    WORKS(gr_network_add_aux(net, "layer1", &low));
    check(net);
    assert_int_equal(net->aux_count, 2);
    assert_string_equal(net->aux[0].at, "layer1");
    assert_non_null(gr_network_param(net, "aux.layer1.fc.weight"));
    assert_string_equal(net->output->name, "fc");
    assert_int_equal(gr_network_add_aux(net, "layer1", &low), GR_ERROR_NAME);
    assert_int_equal(gr_network_add_aux(net, "fc", &low), GR_ERROR_NAME);
    assert_int_equal(gr_network_add_aux(net, "conv1", &(struct gr_aux_options){.weight = 0}),
                     GR_ERROR_OPTION);
    check(net);
    assert_null(gr_network_layer(net, "aux.conv1.fc"));
    bool chosen[100] = {false};
    WORKS(gr_network_choose(net, &aux, 1, chosen));
    assert_true(chosen[gr_network_layer(net, "aux.layer1.hidden")->index]);
    assert_false(chosen[gr_network_layer(net, "relu_3")->index]);
    WORKS(gr_network_replace_head(net, five, 5, NULL));
    check(net);
    assert_int_equal(net->aux[0].output->shape.c, 5);
    WORKS(gr_network_cut(&cut, net, "layer1"));
    check(cut);
    assert_int_equal(cut->aux_count, 1);
    WORKS(gr_network_add_head(cut, five, 2, NULL));
    check(cut);
    assert_int_equal(cut->aux[0].output->shape.c, 2);
    gr_network_free(cut);
    WORKS(gr_network_replace_head(net, (const char *const *)net->classes, 3, NULL));
    assert_int_equal(gr_network_remove_aux(net, "layer9"), GR_ERROR_NAME);
    WORKS(gr_network_remove_aux(net, "layer1"));
    check(net);
    assert_int_equal(net->aux_count, 1);
    WORKS(gr_network_remove_aux(net, NULL));
    check(net);
    digest(net, after);
    assert_string_equal(before, after);
    gr_network_free(net);
}

static void test_reinit(void **state) {
    struct gr_network *net = small_network(7), *same = small_network(7), *other = small_network(8);
    const char *all = "*";
    char a[65], b[65];
    (void)state;
    digest(net, a);
    digest(same, b);
    assert_string_equal(a, b);
    digest(other, b);
    assert_string_not_equal(a, b);
    gr_tensor_floats(&gr_network_param(net, "bn1.running_mean")->tensor)[0] = 5;
    gr_tensor_floats(&gr_network_param(net, "conv1.weight")->tensor)[0] = 5;
    gr_tensor_integers(&gr_network_param(net, "bn1.num_batches_tracked")->tensor)[0] = 5;
    uint64_t version = gr_network_param(net, "conv1.weight")->version;
    WORKS(gr_network_reinit(net, &all, 1));
    assert_true(gr_network_param(net, "conv1.weight")->version > version);
    digest(net, b);
    assert_string_equal(a, b);
    gr_network_free(net);
    gr_network_free(same);
    gr_network_free(other);
}

static void test_clone(void **state) {
    struct gr_network *net = small_network(1), *copy;
    const char *body = "body";
    char a[65], b[65];
    (void)state;
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.3f}));
    WORKS(gr_network_freeze(net, &body, 1, true));
    WORKS(gr_network_clone(&copy, net));
    check(copy);
    digest(net, a);
    digest(copy, b);
    assert_string_equal(a, b);
    assert_true(gr_network_layer(copy, "conv1")->frozen && gr_network_layer(copy, "fc")->head);
    assert_true(copy->aux[0].output->aux && copy->aux[0].output->index < copy->layer_count);
    gr_tensor_floats(&gr_network_param(copy, "fc.bias")->tensor)[0] += 1;
    WORKS(gr_network_replace_head(copy, five, 5, NULL));
    digest(net, b);
    assert_string_equal(a, b);
    gr_network_free(net);
    check(copy);
    gr_network_free(copy);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_memory_runs_out(void **state) {
    struct gr_network *net = small_network(1), *copy;
    (void)state;
    size_t blocks = gr_memory().blocks;
    for (long n = 1;; n++) {
        gr_memory_fail(n, true);
        int status = gr_network_clone(&copy, net);
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_int_equal(status, GR_ERROR_MEMORY);
        assert_int_equal(gr_memory().blocks, blocks);
    }
    for (long n = 1;; n++) {
        gr_memory_fail(n, true);
        int status = gr_network_add_aux(copy, "layer1", &(struct gr_aux_options){.weight = 1, .hidden = 3});
        gr_memory_fail(0, false);
        check(copy);
        if (!status)
            break;
        assert_int_equal(copy->aux_count, 0);
    }
    gr_network_free(copy);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace_head),
        cmocka_unit_test(test_replace_head_with_hidden_layer),
        cmocka_unit_test(test_convolutional_head),
        cmocka_unit_test(test_classifiers_start_small),
        cmocka_unit_test(test_failed_replace_changes_nothing),
        cmocka_unit_test(test_cut_and_add_head),
        cmocka_unit_test(test_aux),
        cmocka_unit_test(test_reinit),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
