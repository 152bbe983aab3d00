/* Inverted residual blocks that run as one step: where they do, where they must not, and what they give. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/threads.h"
#include "plan/networks.h"
#include "plan/plan.h"

enum { BATCH = 3, SIZE = 57, MOST = BATCH * 40 * 15 * 15 };

/* a: no expansion; b: stride 2; c: with a residual; d: 5x5 and stride 2. */
static const struct row rows[] = {
    {"stem", "conv2d", "{\"out\":20,\"kernel\":3,\"padding\":1,\"bias\":false}", {"input"}},
    {"stem.bn", "batch_norm", NULL, {"stem"}},
    {"stem.act", "relu6", NULL, {"stem.bn"}},
    {"a.depth", "conv2d", "{\"out\":20,\"kernel\":3,\"padding\":1,\"groups\":20}", {"stem.act"}},
    {"a.depth_bn", "batch_norm", NULL, {"a.depth"}},
    {"a.depth_act", "relu6", NULL, {"a.depth_bn"}},
    {"a.project", "conv2d", "{\"out\":12,\"kernel\":1,\"bias\":false}", {"a.depth_act"}},
    {"a.project_bn", "batch_norm", NULL, {"a.project"}},
    {"b.expand", "conv2d", "{\"out\":72,\"kernel\":1,\"bias\":false}", {"a.project_bn"}},
    {"b.expand_bn", "batch_norm", NULL, {"b.expand"}},
    {"b.expand_act", "relu6", NULL, {"b.expand_bn"}},
    {"b.depth",
     "conv2d",
     "{\"out\":72,\"kernel\":3,\"padding\":1,\"stride\":2,\"groups\":72,\"bias\":false}",
     {"b.expand_act"}},
    {"b.depth_bn", "batch_norm", NULL, {"b.depth"}},
    {"b.depth_act", "relu6", NULL, {"b.depth_bn"}},
    {"b.project", "conv2d", "{\"out\":24,\"kernel\":1}", {"b.depth_act"}},
    {"b.project_bn", "batch_norm", NULL, {"b.project"}},
    {"c.expand", "conv2d", "{\"out\":144,\"kernel\":1,\"bias\":false}", {"b.project_bn"}},
    {"c.expand_bn", "batch_norm", NULL, {"c.expand"}},
    {"c.expand_act", "relu6", NULL, {"c.expand_bn"}},
    {"c.depth", "conv2d", "{\"out\":144,\"kernel\":3,\"padding\":1,\"groups\":144}", {"c.expand_act"}},
    {"c.depth_bn", "batch_norm", NULL, {"c.depth"}},
    {"c.depth_act", "relu6", NULL, {"c.depth_bn"}},
    {"c.project", "conv2d", "{\"out\":24,\"kernel\":1,\"bias\":false}", {"c.depth_act"}},
    {"c.project_bn", "batch_norm", NULL, {"c.project"}},
    {"c.add", "add", NULL, {"b.project_bn", "c.project_bn"}},
    {"d.expand", "conv2d", "{\"out\":144,\"kernel\":1}", {"c.add"}},
    {"d.expand_act", "hardswish", NULL, {"d.expand"}},
    {"d.depth",
     "conv2d",
     "{\"out\":144,\"kernel\":5,\"padding\":\"same\",\"stride\":2,\"groups\":144}",
     {"d.expand_act"}},
    {"d.depth_act", "relu", NULL, {"d.depth"}},
    {"d.project", "conv2d", "{\"out\":40,\"kernel\":1}", {"d.depth_act"}},
    {"pool", "global_avg_pool", NULL, {"d.project"}},
    {"fc", "linear", "{\"out\":5}", {"pool"}},
};

static struct gr_network *make_network(void) {
    static const char *const stages[] = {"stem", "a", "b", "c", "d"};
    struct gr_network *net =
        network_of("blocks", SIZE, rows, sizeof rows / sizeof *rows, stages, sizeof stages / sizeof *stages);
    struct gr_random random = gr_random(3, GR_RANDOM_TENSOR, 0, 0, 0);
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_param *param = &net->layers[i]->params[p];
            float *x = gr_tensor_floats(&param->tensor);
            if (strncmp(param->role, "running", 7))
                continue;
            for (int64_t k = 0; k < gr_tensor_count(&param->tensor); k++)
                x[k] = gr_random_between(&random, 0.5f, 2);
            gr_param_touch(param);
        }
    return net;
}

static struct gr_plan *compile(struct gr_network *net, struct gr_plan_request request) {
    struct gr_plan *plan = NULL;
    request.capacity = request.capacity ? request.capacity : BATCH;
    request.input = (struct gr_shape){3, SIZE, SIZE, false};
    if (gr_plan_create(&plan, net, &request))
        fail_msg("%s", gr_error()->message);
    return plan;
}

static void forward(struct gr_plan *plan, int n) {
    fill(gr_plan_input(plan), (int64_t)n * 3 * SIZE * SIZE, 1);
    if (gr_plan_forward(plan, n, NULL))
        fail_msg("%s", gr_error()->message);
}

static int64_t outputs_of(const struct gr_plan *plan, int n) {
    return n * gr_shape_size(gr_plan_output_shape(plan, 0));
}

static const char block_kernel[] = "inverted residual";

static int count_kernel(const struct gr_plan *plan, const char *name) {
    struct gr_step_profile step;
    int count = 0;
    for (int i = 0; gr_plan_step_profile(plan, i, &step); i++)
        count += !strcmp(step.kernel, name);
    return count;
}

static void blocks_equal_the_reference(void **state) {
    static float kept[MOST];
    (void)state;
    for (int threads = 1; threads <= 2; threads++)
        for (int n = 1; n <= BATCH; n += 2) {
            assert_int_equal(gr_threads_set(threads), GR_OK);
            struct gr_network *net = make_network();
            struct gr_layer *features[] = {gr_network_layer(net, "d.project")};
            struct gr_plan_request request = {.outputs = features, .output_count = 1, .capacity = n};
            struct gr_plan *joined = compile(net, request);
            request.lean = true;
            struct gr_plan *lean = compile(net, request);
            request.exact = true;
            struct gr_plan *exact = compile(net, request);
            request.reference = true;
            struct gr_plan *plain = compile(net, request);
            int64_t count = outputs_of(plain, n);
            assert_int_equal(count_kernel(plain, block_kernel), 0);
            assert_true(count_kernel(joined, block_kernel) >= 3);
            forward(joined, n);
            forward(lean, n);
            forward(exact, n);
            forward(plain, n);
            assert_true(distance(gr_plan_output(joined, 0), gr_plan_output(plain, 0), count) < 3e-6);
            assert_true(distance(gr_plan_output(exact, 0), gr_plan_output(plain, 0), count) < 3e-6);
            assert_memory_equal(gr_plan_output(lean, 0), gr_plan_output(joined, 0),
                                (size_t)count * sizeof(float));
            if (threads == 1 && n == BATCH)
                memcpy(kept, gr_plan_output(joined, 0), (size_t)count * sizeof *kept);
            else if (n == BATCH)
                assert_memory_equal(gr_plan_output(joined, 0), kept, (size_t)count * sizeof *kept);
            gr_plan_free(joined);
            gr_plan_free(lean);
            gr_plan_free(exact);
            gr_plan_free(plain);
            gr_network_free(net);
        }
    assert_int_equal(gr_threads_set(0), GR_OK);
}

/* The kernel and the reason that the plan tells for a layer. */
static void tell(const struct gr_plan *plan, const char *layer, char kernel[64], char why[256]) {
    cJSON *list = gr_plan_explain(plan);
    kernel[0] = why[0] = '\0';
    for (const cJSON *row = list->child; row; row = row->next) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "name"));
        if (strcmp(name, layer))
            continue;
        snprintf(kernel, 64, "%s", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "kernel")));
        snprintf(why, 256, "%s", cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "why")));
    }
    cJSON_Delete(list);
}

static void the_plan_says_what_runs_together_and_why(void **state) {
    char kernel[64], why[256];
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = compile(net, (struct gr_plan_request){0});
    tell(plan, "b.project", kernel, why);
    assert_string_equal(kernel, block_kernel);
    assert_true(strncmp(why, block_kernel, strlen(block_kernel)) == 0);
    assert_non_null(strstr(why, ", separate kernels "));
    tell(plan, "b.expand", kernel, why);
    assert_string_equal(kernel, "(fused)");
    assert_string_equal(why, "in the same pass as b.project");
    tell(plan, "b.depth_act", kernel, why);
    assert_string_equal(kernel, "(fused)");
    tell(plan, "b.depth_bn", kernel, why);
    assert_string_equal(kernel, "(folded)");
    assert_string_equal(why, "part of the weights of b.depth");
    gr_plan_free(plan);
    gr_network_free(net);
}

/* 5x5 over 3x3 pixels for one photo: the bands of two threads would share nearly all that they expand. */
static void a_block_that_does_not_pay_stays_apart(void **state) {
    struct gr_network *net = NULL;
    struct gr_layer *layer = NULL;
    static const struct {
        const char *name, *options;
    } convs[] = {{"expand", "{\"out\":960,\"kernel\":1}"},
                 {"depth", "{\"out\":960,\"kernel\":5,\"padding\":2,\"groups\":960}"},
                 {"project", "{\"out\":160,\"kernel\":1}"}};
    char kernel[64], why[256];
    (void)state;
    assert_int_equal(gr_threads_set(2), GR_OK);
    assert_int_equal(gr_network_create(&net, "small", (struct gr_shape){160, 3, 3, false}, NULL, 7), GR_OK);
    for (int i = 0; i < 3; i++) {
        cJSON *options = cJSON_Parse(convs[i].options);
        struct gr_layer *input = i ? layer : net->layers[0];
        assert_int_equal(gr_network_add(net, convs[i].name, "conv2d", options, &input, 1, &layer), GR_OK);
        cJSON_Delete(options);
    }
    struct gr_plan_request request = {
        .capacity = 1, .input = net->input, .outputs = &layer, .output_count = 1};
    struct gr_plan *plan = NULL;
    assert_int_equal(gr_plan_create(&plan, net, &request), GR_OK);
    tell(plan, "project", kernel, why);
    assert_string_equal(kernel, "segment");
    assert_non_null(strstr(why, "; in one pass with the convolutions before it "));
    assert_non_null(strstr(why, " ms, apart "));
    gr_plan_free(plan);
    gr_network_free(net);
    assert_int_equal(gr_threads_set(0), GR_OK);
}

/* What is wanted, or measured, inside a block is stored, and is the same. */
static void inner_outputs_can_be_wanted(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *features[] = {gr_network_layer(net, "c.depth_act"), gr_network_layer(net, "d.project")};
    struct gr_plan_request request = {.outputs = features, .output_count = 2};
    struct gr_plan *plan = compile(net, request);
    struct gr_plan *all = compile(net, (struct gr_plan_request){0});
    request.reference = true;
    struct gr_plan *plain = compile(net, request);
    forward(plan, BATCH);
    forward(plain, BATCH);
    for (int i = 0; i < 2; i++)
        assert_true(distance(gr_plan_output(plan, i), gr_plan_output(plain, i),
                             BATCH * gr_shape_size(gr_plan_output_shape(plan, i))) < 3e-6);
    assert_int_equal(count_kernel(plan, block_kernel), count_kernel(all, block_kernel) - 1);
    gr_plan_free(plan);
    gr_plan_free(all);
    gr_plan_free(plain);
    plan = compile(net, (struct gr_plan_request){.measure = true});
    assert_int_equal(count_kernel(plan, block_kernel), 0);
    gr_plan_free(plan);
    gr_network_free(net);
}

/* A frozen prefix is joined, what is trained is not, and trains as in the reference. */
static void frozen_prefixes_are_joined_in_training(void **state) {
    static const char *const trained[] = {"d", "fc"}, *const everything[] = {"*"};
    struct gr_network *nets[2] = {make_network(), make_network()};
    struct gr_plan *plans[2];
    struct gr_param *const *params;
    struct gr_layer *const *layers;
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct gr_plan *all = compile(nets[i], (struct gr_plan_request){.training = true});
        assert_int_equal(count_kernel(all, block_kernel), 0);
        gr_plan_free(all);
        assert_int_equal(gr_network_freeze(nets[i], everything, 1, true), GR_OK);
        assert_int_equal(gr_network_freeze(nets[i], trained, 2, false), GR_OK);
        plans[i] = compile(
            nets[i], (struct gr_plan_request){.training = true, .reference = i == 1, .stash = GR_STASH_NONE});
        forward(plans[i], BATCH);
        for (int64_t k = 0; k < outputs_of(plans[i], BATCH); k++)
            gr_plan_output_gradient(plans[i], 0)[k] = (float)(k % 7) - 3;
        assert_int_equal(gr_plan_backward(plans[i]), GR_OK);
    }
    assert_int_equal(count_kernel(plans[0], block_kernel), 3);
    int count = gr_plan_trained(plans[0], &params, &layers);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const struct gr_param *other = gr_network_param(nets[1], params[i]->name);
        assert_true(distance(gr_plan_gradient(plans[0], params[i]), gr_plan_gradient(plans[1], other),
                             gr_tensor_count(&params[i]->tensor)) < 1e-5);
    }
    for (int i = 0; i < 2; i++) {
        gr_plan_free(plans[i]);
        gr_network_free(nets[i]);
    }
}

static void reduced_precision_stays_apart(void **state) {
    static const char *const everything[] = {"*"};
    (void)state;
    struct gr_network *net = make_network();
    assert_int_equal(gr_network_freeze(net, everything, 1, true), GR_OK);
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.precision = GR_BF16});
    assert_int_equal(count_kernel(plan, block_kernel), 0);
    assert_true(count_kernel(plan, "segment bf16") >= 4);
    gr_plan_free(plan);
    gr_network_free(net);
}

/* All the work is still told, and less memory held. */
static void work_and_memory_are_told(void **state) {
    struct gr_plan *plans[2];
    double flop[2] = {0, 0};
    size_t memory[2], before;
    struct gr_step_profile step;
    (void)state;
    struct gr_network *net = make_network();
    gr_threads();
    for (int i = 0; i < 2; i++) {
        before = gr_memory().live;
        plans[i] = compile(net, (struct gr_plan_request){.capacity = 16, .measure = i == 1});
        double seen = (double)(gr_memory().live - before), planned = (double)gr_plan_memory(plans[i]);
        assert_true(seen >= planned && seen < planned * 1.05);
        forward(plans[i], 16);
        assert_true((double)(gr_memory().live - before) == seen);
        memory[i] = gr_plan_memory(plans[i]);
        for (int k = 0; gr_plan_step_profile(plans[i], k, &step); k++)
            flop[i] += step.forward.flop;
    }
    assert_true(flop[0] > 0 && flop[0] == flop[1]);
    assert_true(memory[0] < memory[1]);
    for (int k = 0; gr_plan_step_profile(plans[0], k, &step); k++)
        if (!strcmp(step.layer->name, "c.project")) {
            static const char *const names[] = {"c.expand",   "c.expand_bn", "c.expand_act", "c.depth",
                                                "c.depth_bn", "c.depth_act", "c.project_bn", "c.add"};
            for (int i = 0; i < 8; i++)
                assert_string_equal(step.absorbed[i]->name, names[i]);
        }
    gr_plan_free(plans[0]);
    gr_plan_free(plans[1]);
    gr_network_free(net);
}

static void weights_that_change_are_packed_again(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *features[] = {gr_network_layer(net, "c.add")};
    struct gr_plan_request request = {.outputs = features, .output_count = 1};
    struct gr_plan *plan = compile(net, request);
    request.reference = true;
    struct gr_plan *plain = compile(net, request);
    forward(plan, BATCH);
    static const char *const names[] = {"b.expand.weight", "b.depth_bn.running_mean", "c.depth.bias"};
    for (int i = 0; i < 3; i++) {
        struct gr_param *param = gr_network_param(net, names[i]);
        gr_tensor_floats(&param->tensor)[0] += 1;
        gr_param_touch(param);
        forward(plan, BATCH);
        forward(plain, BATCH);
        assert_true(distance(gr_plan_output(plan, 0), gr_plan_output(plain, 0), outputs_of(plan, BATCH)) <
                    3e-6);
    }
    gr_plan_free(plan);
    gr_plan_free(plain);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_reference),
        cmocka_unit_test(the_plan_says_what_runs_together_and_why),
        cmocka_unit_test(a_block_that_does_not_pay_stays_apart),
        cmocka_unit_test(inner_outputs_can_be_wanted),
        cmocka_unit_test(frozen_prefixes_are_joined_in_training),
        cmocka_unit_test(reduced_precision_stays_apart),
        cmocka_unit_test(work_and_memory_are_told),
        cmocka_unit_test(weights_that_change_are_packed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
