/* Choosing layers by name, glob, stage and word. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "small_network.h"

static struct gr_network *net;

static int setup(void **state) {
    (void)state;
    net = small_network(1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    gr_network_free(net);
    return 0;
}

/* The chosen layers that have parameters (and dropouts), joined by spaces; or NULL when choosing fails. */
static const char *chosen(const char *a, const char *b) {
    static char text[1000];
    const char *patterns[] = {a, b};
    bool hit[100] = {false};
    text[0] = 0;
    if (gr_network_choose(net, patterns, b ? 2 : 1, hit))
        return NULL;
    for (int i = 0; i < net->layer_count; i++)
        if (hit[i] && (net->layers[i]->param_count || strcmp(net->layers[i]->name, "drop") == 0)) {
            if (*text)
                strcat(text, " ");
            strcat(text, net->layers[i]->name);
        }
    return text;
}

static void test_names_are_subtrees(void **state) {
    (void)state;
    assert_string_equal(chosen("layer1", NULL), "layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2");
    assert_string_equal(chosen("layer1.0", NULL), "layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2");
    assert_string_equal(chosen("layer2.0.downsample", NULL), "layer2.0.downsample.0 layer2.0.downsample.1");
    assert_string_equal(chosen("bn1", "fc"), "bn1 fc");
}

static void test_words(void **state) {
    (void)state;
    assert_string_equal(chosen("head", NULL), "drop fc");
    assert_string_equal(
        chosen("body", NULL),
        "conv1 bn1 layer1.0.conv1 layer1.0.bn1 layer1.0.conv2 layer1.0.bn2 layer2.0.conv1 layer2.0.bn1 "
        "layer2.0.conv2 layer2.0.bn2 layer2.0.downsample.0 layer2.0.downsample.1");
    assert_null(chosen("aux", NULL));
    assert_non_null(strstr(gr_error()->message, "no auxiliary classifiers"));
}

static void test_stages(void **state) {
    (void)state;
    assert_string_equal(chosen("conv1", NULL), "conv1 bn1");
    assert_int_equal(gr_network_stage(net, gr_network_layer(net, "bn1")), 0);
    assert_int_equal(gr_network_stage(net, gr_network_layer(net, "relu_3")), 1);
    assert_int_equal(gr_network_stage(net, gr_network_layer(net, "layer2.0.conv1")), 2);
    assert_int_equal(gr_network_stage(net, gr_network_layer(net, "relu_5")), 2);
    assert_int_equal(gr_network_stage(net, gr_network_layer(net, "fc")), -1);
    assert_string_equal(gr_network_end(net, "layer1")->name, "relu_3");
    assert_string_equal(gr_network_end(net, "layer1.0")->name, "relu_3");
    assert_string_equal(gr_network_end(net, "conv1")->name, "relu_1");
    assert_string_equal(gr_network_end(net, "layer2")->name, "relu_5");
    assert_string_equal(gr_network_end(net, "layer1.0.conv1")->name, "layer1.0.conv1");
}

static void test_globs(void **state) {
    (void)state;
    assert_string_equal(chosen("layer1*conv?", NULL), "layer1.0.conv1 layer1.0.conv2");
    assert_string_equal(chosen("*bn2", NULL), "layer1.0.bn2 layer2.0.bn2");
    assert_string_equal(chosen("conv1.*", NULL), "conv1");
    assert_null(chosen("*.running_mean", NULL));
    assert_non_null(strstr(gr_error()->message, "single tensors"));
    assert_null(chosen("fc.b*", NULL));
    assert_non_null(strstr(gr_error()->message, "fc.bias"));
    assert_null(chosen("nothing*", NULL));
}

static void test_errors(void **state) {
    bool hit[100] = {false};
    (void)state;
    assert_null(chosen("layr2", NULL));
    assert_int_equal(gr_error()->code, GR_ERROR_NAME);
    assert_string_equal(gr_error()->message, "no layer \"layr2\" in small");
    assert_string_equal(gr_error()->near, "layer2");
    assert_null(chosen("boby", NULL));
    assert_string_equal(gr_error()->near, "body");
    assert_null(chosen("layer2.0.downsampel", NULL));
    assert_string_equal(gr_error()->near, "layer2.0.downsample");
    assert_null(chosen("fc.weight", NULL));
    assert_string_equal(gr_error()->near, "fc");
    assert_null(chosen("", NULL));
    assert_int_equal(gr_network_choose(net, NULL, 0, hit), GR_ERROR_NAME);
    assert_null(gr_network_end(net, "layer3"));
}

static void test_rates(void **state) {
    struct gr_rate_rule rules[] = {{"*", 0.1f}, {"layer2", 0.5f}, {"head", 1}};
    struct gr_rate_rule zero[] = {{"*", 0.1f}, {"fc", 0}}, negative[] = {{"fc", -1}};
    struct gr_aux_options aux = {.weight = 0.3f};
    (void)state;
    WORKS(gr_network_add_aux(net, "layer1", &aux));
    WORKS(gr_network_lr_scale(net, rules, 3));
    assert_true(gr_network_layer(net, "conv1")->lr_scale == 0.1f);
    assert_true(gr_network_layer(net, "layer2.0.conv1")->lr_scale == 0.5f);
    assert_true(gr_network_layer(net, "fc")->lr_scale == 1);
    assert_true(gr_network_layer(net, "aux.layer1.fc")->lr_scale == 1);
    assert_int_equal(gr_network_lr_scale(net, zero, 2), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "freeze"));
    assert_int_equal(gr_network_lr_scale(net, negative, 1), GR_ERROR_OPTION);
    assert_true(gr_network_layer(net, "layer2.0.conv1")->lr_scale == 0.5f);
    WORKS(gr_network_lr_scale(net, rules, 1));
    assert_true(gr_network_layer(net, "layer2.0.conv1")->lr_scale == 0.1f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_are_subtrees, setup, teardown),
        cmocka_unit_test_setup_teardown(test_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_globs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rates, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
