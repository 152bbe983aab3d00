/* The plan against its own reference path (no folding, no fusing), over what can be frozen, and what it
 * promises about memory, capacity and staleness. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/threads.h"
#include "plan/networks.h"
#include "plan/plan.h"

enum { BATCH = 4, SIZE = 12, CLASSES = 5 };

/* Two residual blocks, a concatenation, a dropout and a linear classifier: every shape of fusion. */
static const struct row rows[] = {
    {"conv1", "conv2d", "{\"out\":8,\"kernel\":3,\"padding\":1,\"bias\":false}", {"input"}},
    {"bn1", "batch_norm", NULL, {"conv1"}},
    {"relu1", "relu", NULL, {"bn1"}},
    {"a.conv1", "conv2d", "{\"out\":8,\"kernel\":3,\"padding\":1}", {"relu1"}},
    {"a.bn1", "batch_norm", NULL, {"a.conv1"}},
    {"a.relu1", "relu6", NULL, {"a.bn1"}},
    {"a.conv2", "conv2d", "{\"out\":8,\"kernel\":3,\"padding\":1}", {"a.relu1"}},
    {"a.bn2", "batch_norm", NULL, {"a.conv2"}},
    {"a.add", "add", NULL, {"a.bn2", "relu1"}},
    {"a.relu2", "relu", NULL, {"a.add"}},
    {"b.conv1", "conv2d", "{\"out\":16,\"kernel\":3,\"stride\":2,\"padding\":1}", {"a.relu2"}},
    {"b.bn1", "batch_norm", NULL, {"b.conv1"}},
    {"b.silu", "silu", NULL, {"b.bn1"}},
    {"b.short", "conv2d", "{\"out\":16,\"kernel\":1,\"stride\":2}", {"a.relu2"}},
    {"b.short_bn", "batch_norm", NULL, {"b.short"}},
    {"b.add", "add", NULL, {"b.silu", "b.short_bn"}},
    {"b.relu", "leaky_relu", "{\"slope\":0.1}", {"b.add"}},
    {"b.cat", "concat", NULL, {"b.relu", "b.silu"}},
    {"pool", "global_avg_pool", NULL, {"b.cat"}},
    {"drop", "dropout", "{\"p\":0.5}", {"pool"}},
    {"fc", "linear", "{\"out\":5}", {"drop"}},
};

static struct gr_network *make_network(void) {
    static const char *const stages[] = {"conv1", "a", "b"};
    struct gr_network *net =
        network_of("small", SIZE, rows, sizeof rows / sizeof *rows, stages, sizeof stages / sizeof *stages);
    struct gr_random random = gr_random(3, GR_RANDOM_TENSOR, 0, 0, 0);
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_param *param = &net->layers[i]->params[p];
            if (param->tensor.dtype != GR_F32)
                continue;
            float *x = gr_tensor_floats(&param->tensor);
            bool variance = strcmp(param->role, "running_var") == 0;
            for (int64_t k = 0; k < gr_tensor_count(&param->tensor); k++)
                x[k] =
                    variance ? gr_random_between(&random, 0.5f, 2) : x[k] + 0.1f * gr_random_normal(&random);
            gr_param_touch(param);
        }
    return net;
}

static struct gr_plan *compile(struct gr_network *net, struct gr_plan_request request) {
    struct gr_plan *plan = NULL;
    if (!request.capacity)
        request.capacity = BATCH;
    request.input = (struct gr_shape){3, SIZE, SIZE, false};
    if (gr_plan_create(&plan, net, &request))
        fail_msg("%s", gr_error()->message);
    return plan;
}

static void forward(struct gr_plan *plan, int n) {
    struct gr_stream stream = {1, 1, 1};
    fill(gr_plan_input(plan), (int64_t)n * 3 * SIZE * SIZE, 1);
    if (gr_plan_forward(plan, n, &stream))
        fail_msg("%s", gr_error()->message);
}

static void freeze(struct gr_network *net, const char *pattern, bool frozen) {
    if (gr_network_freeze(net, &pattern, 1, frozen))
        fail_msg("%s", gr_error()->message);
}

static void inference_equals_reference(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *fused = compile(net, (struct gr_plan_request){0});
    struct gr_plan *plain = compile(net, (struct gr_plan_request){.reference = true});
    forward(fused, BATCH);
    forward(plain, BATCH);
    assert_true(distance(gr_plan_output(fused, 0), gr_plan_output(plain, 0), BATCH * CLASSES) < 1e-5);
    gr_plan_free(fused);
    gr_plan_free(plain);
    gr_network_free(net);
}

/* One training pass of two copies of a network, fused and not: logits, every gradient, statistics, input
 * gradient. */
static void compare_training(const char *frozen, const char *thawed) {
    struct gr_network *nets[2] = {make_network(), make_network()};
    struct gr_plan *plans[2];
    for (int i = 0; i < 2; i++) {
        if (frozen)
            freeze(nets[i], frozen, true);
        if (thawed)
            freeze(nets[i], thawed, false);
        plans[i] = compile(
            nets[i], (struct gr_plan_request){.training = true, .input_gradient = true, .reference = i});
        forward(plans[i], BATCH - 1);
        fill(gr_plan_output_gradient(plans[i], 0), (BATCH - 1) * CLASSES, 2);
    }
    double gap = distance(gr_plan_output(plans[0], 0), gr_plan_output(plans[1], 0), (BATCH - 1) * CLASSES);
    if (gap > 1e-5)
        fail_msg("frozen %s, but not %s: the logits are off by %g", frozen ? frozen : "-",
                 thawed ? thawed : "-", gap);
    for (int i = 0; i < 2; i++)
        if (gr_plan_backward(plans[i]))
            fail_msg("%s", gr_error()->message);
    struct gr_param *const *params[2];
    struct gr_layer *const *layers;
    int count = gr_plan_trained(plans[0], &params[0], &layers);
    assert_int_equal(count, gr_plan_trained(plans[1], &params[1], &layers));
    for (int p = 0; p < count; p++) {
        int64_t size = gr_tensor_count(&params[0][p]->tensor);
        const float *a = gr_plan_gradient(plans[0], params[0][p]),
                    *b = gr_plan_gradient(plans[1], params[1][p]);
        double norm = 0;
        for (int64_t i = 0; i < size; i++)
            norm += fabs((double)b[i]);
        if (norm / (double)size > 1e-6 && distance(a, b, size) > 1e-4)
            fail_msg("frozen %s: gradient of %s is off by %g", frozen ? frozen : "-", params[0][p]->name,
                     distance(a, b, size));
        assert_false(layers[p]->frozen);
    }
    double off = distance(gr_plan_input_gradient(plans[0]), gr_plan_input_gradient(plans[1]),
                          (BATCH - 1) * 3 * SIZE * SIZE);
    if (off > 1e-4)
        fail_msg("frozen %s, but not %s: the input gradient is off by %g", frozen ? frozen : "-",
                 thawed ? thawed : "-", off);
    char digests[2][65];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gr_network_digest(nets[i], true, digests[i], NULL), 0);
        gr_plan_free(plans[i]);
    }
    assert_string_equal(digests[0], digests[1]);
    for (int i = 0; i < 2; i++)
        gr_network_free(nets[i]);
}

static void training_equals_reference(void **state) {
    (void)state;
    compare_training(NULL, NULL);     /* everything is trained */
    compare_training("body", NULL);   /* a frozen prefix */
    compare_training("a", NULL);      /* frozen layers in the middle, trained ones below them */
    compare_training("*", "a.conv1"); /* one trained convolution between frozen norms */
    compare_training("*", "a.bn1");   /* one trained norm */
    compare_training("*", "conv1");   /* only the stem */
}

static const char *kernel_named(struct gr_plan *plan, const char *name, char out[32]) {
    cJSON *rows = gr_plan_explain(plan), *row;
    out[0] = '\0';
    cJSON_ArrayForEach(row, rows) {
        const char *kernel = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "kernel"));
        if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, "name")), name) == 0)
            snprintf(out, 32, "%s", kernel);
    }
    cJSON_Delete(rows);
    return out;
}

/* A norm whose only readers are convolutions is never stored, with batch statistics and with fixed ones; one
 * that a sum or a pool reads is. Its memory is saved. */
static void norms_before_convolutions_are_applied_on_load(void **state) {
    struct gr_network *net = make_network();
    char kernel[32];
    (void)state;
    for (int fixed = 0; fixed < 2; fixed++) {
        for (int i = 0; i < net->layer_count; i++)
            net->layers[i]->fixed_norm = fixed;
        struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true});
        assert_string_equal(kernel_named(plan, "a.bn1", kernel), "(on load)");
        assert_string_equal(kernel_named(plan, "a.relu1", kernel), "(fused)");
        assert_string_equal(kernel_named(plan, "bn1", kernel), "batch_norm"); /* a.add reads it */
        assert_string_equal(kernel_named(plan, "a.bn2", kernel), "batch_norm");
        gr_plan_free(plan);
        struct gr_plan_request wanted = {.training = true, .output_count = 2};
        struct gr_layer *outputs[] = {net->output, gr_network_layer(net, "a.relu1")};
        wanted.outputs = outputs;
        plan = compile(net, wanted);
        assert_string_equal(kernel_named(plan, "a.bn1", kernel), "batch_norm");
        gr_plan_free(plan);
        plan = compile(net, (struct gr_plan_request){.training = true, .reference = true});
        assert_string_equal(kernel_named(plan, "a.bn1", kernel), "batch_norm");
        gr_plan_free(plan);
    }
    gr_network_free(net);
}

static void nothing_below_the_lowest_trainable_layer_has_a_gradient(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    freeze(net, "*", true);
    freeze(net, "b.short", false);
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true});
    struct gr_param *const *params;
    struct gr_layer *const *layers;
    assert_int_equal(gr_plan_trained(plan, &params, &layers), 2);
    assert_string_equal(params[0]->name, "b.short.weight");
    assert_null(gr_plan_input_gradient(plan));
    gr_plan_free(plan);
    gr_network_free(net);
}

static void a_frozen_training_plan_needs_no_more_memory_than_inference(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *training = compile(net, (struct gr_plan_request){.training = true, .capacity = 64});
    freeze(net, "body", true);
    struct gr_plan *frozen = compile(net, (struct gr_plan_request){.training = true, .capacity = 64});
    struct gr_plan *inference = compile(net, (struct gr_plan_request){.capacity = 64});
    assert_true(gr_plan_arena(frozen) < gr_plan_arena(training) / 2);
    assert_true(gr_plan_arena(frozen) <= gr_plan_arena(inference) + 64 * 1024);
    gr_plan_free(training);
    gr_plan_free(frozen);
    gr_plan_free(inference);
    gr_network_free(net);
}

static void planned_memory_is_what_the_allocator_saw(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    gr_threads();
    size_t before = gr_memory().live;
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true, .capacity = 64});
    double seen = (double)(gr_memory().live - before), planned = (double)gr_plan_memory(plan);
    assert_true(seen >= planned && seen < planned * 1.05);
    forward(plan, 64);
    assert_true((double)(gr_memory().live - before) == seen);
    gr_plan_free(plan);
    assert_true(gr_memory().live == before);
    gr_network_free(net);
}

static void smaller_batches_run_the_same_plan(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = compile(net, (struct gr_plan_request){0});
    float first[CLASSES];
    forward(plan, BATCH);
    memcpy(first, gr_plan_output(plan, 0), sizeof first);
    forward(plan, 1);
    assert_true(distance(gr_plan_output(plan, 0), first, CLASSES) < 1e-6);
    assert_int_equal(gr_plan_forward(plan, BATCH + 1, NULL), GR_ERROR_SHAPE);
    assert_int_equal(gr_plan_forward(plan, 0, NULL), GR_ERROR_SHAPE);
    assert_non_null(strstr(gr_error()->message, "1 to 4 photos"));
    gr_plan_free(plan);
    gr_network_free(net);
}

static void packed_copies_follow_their_parameters(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = compile(net, (struct gr_plan_request){0});
    forward(plan, BATCH);
    float before[CLASSES];
    memcpy(before, gr_plan_output(plan, 0), sizeof before);
    struct gr_param *mean = gr_network_param(net, "a.bn1.running_mean");
    gr_tensor_floats(&mean->tensor)[0] += 3;
    gr_param_touch(mean);
    forward(plan, BATCH);
    assert_true(distance(gr_plan_output(plan, 0), before, CLASSES) > 1e-4);
    struct gr_plan *fresh = compile(net, (struct gr_plan_request){.reference = true});
    forward(fresh, BATCH);
    assert_true(distance(gr_plan_output(plan, 0), gr_plan_output(fresh, 0), CLASSES) < 1e-5);
    gr_plan_free(plan);
    gr_plan_free(fresh);
    gr_network_free(net);
}

/* Weights that are packed in each pass: the same bits, less memory, and changes are seen. */
static void lean_plans_give_the_same_bits(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *usual = compile(net, (struct gr_plan_request){0});
    struct gr_plan *lean = compile(net, (struct gr_plan_request){.lean = true});
    assert_true(gr_plan_memory(lean) < gr_plan_memory(usual));
    for (int run = 0; run < 3; run++) {
        forward(usual, BATCH - run);
        forward(lean, BATCH - run);
        assert_memory_equal(gr_plan_output(usual, 0), gr_plan_output(lean, 0),
                            (size_t)(BATCH - run) * CLASSES * sizeof(float));
        for (int i = 0; i < net->layer_count; i++)
            for (int p = 0; p < net->layers[i]->param_count; p++) {
                struct gr_param *param = &net->layers[i]->params[p];
                if (!param->buffer)
                    gr_tensor_floats(&param->tensor)[0] += 0.25f;
                gr_param_touch(param);
            }
    }
    gr_plan_free(usual);
    gr_plan_free(lean);
    gr_network_free(net);
}

struct updates {
    struct gr_plan *plan, *apart;
    int calls, fail_at;
};

/* The gradient is the one that a plan with gradients of their own has; then it is taken away, and so is the
 * parameter: nothing may read them after this. */
static int compare_and_destroy(void *payload, int trained) {
    struct updates *u = payload;
    struct gr_param *const *own, *const *other;
    struct gr_layer *const *layers;
    if (u->calls++ == u->fail_at)
        return GR_ERROR_USER;
    assert_int_equal(gr_plan_trained(u->plan, &own, &layers), gr_plan_trained(u->apart, &other, &layers));
    size_t bytes = gr_tensor_bytes(&own[trained]->tensor);
    float *gradient = gr_plan_gradient(u->plan, own[trained]);
    assert_memory_equal(gradient, gr_plan_gradient(u->apart, other[trained]), bytes);
    memset(gradient, 0xff, bytes);
    memset(gr_tensor_floats(&own[trained]->tensor), 0xff, bytes);
    gr_param_touch(own[trained]);
    return GR_OK;
}

static void gradients_can_be_used_up_at_once(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct gr_network *nets[2] = {make_network(), make_network()};
        struct updates updates = {.fail_at = fails ? 2 : -1};
        struct gr_plan *plans[2];
        plans[0] = updates.apart = compile(nets[0], (struct gr_plan_request){.training = true});
        plans[1] = updates.plan = compile(nets[1], (struct gr_plan_request){.training = true,
                                                                            .update = compare_and_destroy,
                                                                            .update_payload = &updates});
        assert_true(gr_plan_memory(plans[1]) < gr_plan_memory(plans[0]));
        for (int i = 0; i < 2; i++) {
            struct gr_param *const *params;
            struct gr_layer *const *layers;
            forward(plans[i], BATCH);
            fill(gr_plan_output_gradient(plans[i], 0), BATCH * CLASSES, 2);
            assert_int_equal(gr_plan_backward(plans[i]), i && fails ? GR_ERROR_USER : GR_OK);
            if (i)
                assert_int_equal(updates.calls, fails ? 3 : gr_plan_trained(plans[i], &params, &layers));
        }
        gr_plan_free(plans[0]);
        gr_plan_free(plans[1]);
        gr_network_free(nets[0]);
        gr_network_free(nets[1]);
    }
}

static void freezing_makes_a_plan_stale(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = compile(net, (struct gr_plan_request){0});
    assert_false(gr_plan_stale(plan));
    freeze(net, "a", true);
    assert_true(gr_plan_stale(plan));
    gr_plan_free(plan);
    gr_network_free(net);
}

static void any_output_can_be_wanted(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *wanted[4] = {gr_network_layer(net, "a.bn1"), gr_network_layer(net, "a.conv1"),
                                  gr_network_layer(net, "drop"), gr_network_layer(net, "fc")};
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.outputs = wanted, .output_count = 4});
    struct gr_plan *plain =
        compile(net, (struct gr_plan_request){.outputs = wanted, .output_count = 4, .reference = true});
    forward(plan, BATCH);
    forward(plain, BATCH);
    for (int i = 0; i < 4; i++)
        assert_true(distance(gr_plan_output(plan, i), gr_plan_output(plain, i),
                             BATCH * gr_shape_size(gr_plan_output_shape(plan, i))) < 1e-5);
    gr_plan_free(plan);
    gr_plan_free(plain);
    gr_network_free(net);
}

/* The layers of the cut, run first and handed to a second plan: the same logits and gradients as in one go.
 */
static void check_cut(const char *frozen, const char *expected) {
    struct gr_network *net = make_network();
    freeze(net, frozen, true);
    struct gr_layer *cut[64];
    char names[256] = "";
    int count;
    assert_int_equal(gr_plan_cut(net, cut, &count), 0);
    for (int i = 0; i < count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? " " : "", cut[i]->name);
    assert_string_equal(names, expected);
    if (count) {
        struct gr_plan *prefix =
            compile(net, (struct gr_plan_request){.outputs = cut, .output_count = count});
        struct gr_plan *rest =
            compile(net, (struct gr_plan_request){.training = true, .inputs = cut, .input_count = count});
        struct gr_plan *whole = compile(net, (struct gr_plan_request){.training = true});
        assert_int_equal(gr_plan_inputs(rest), count);
        assert_true(gr_plan_arena(rest) <= gr_plan_arena(whole) + 4096);
        forward(prefix, BATCH);
        for (int i = 0; i < count; i++)
            memcpy(gr_plan_given(rest, i), gr_plan_output(prefix, i),
                   BATCH * (size_t)gr_shape_size(gr_plan_given_shape(rest, i)) * sizeof(float));
        struct gr_stream stream = {1, 1, 1};
        assert_int_equal(gr_plan_forward(rest, BATCH, &stream), 0);
        forward(whole, BATCH);
        assert_true(distance(gr_plan_output(rest, 0), gr_plan_output(whole, 0), BATCH * CLASSES) < 1e-5);
        fill(gr_plan_output_gradient(rest, 0), BATCH * CLASSES, 2);
        fill(gr_plan_output_gradient(whole, 0), BATCH * CLASSES, 2);
        assert_int_equal(gr_plan_backward(rest), 0);
        assert_int_equal(gr_plan_backward(whole), 0);
        struct gr_param *const *params;
        struct gr_layer *const *layers;
        int trained = gr_plan_trained(whole, &params, &layers);
        assert_true(trained > 0);
        for (int p = 0; p < trained; p++)
            assert_true(distance(gr_plan_gradient(rest, params[p]), gr_plan_gradient(whole, params[p]),
                                 gr_tensor_count(&params[p]->tensor)) < 1e-4);
        gr_plan_free(prefix);
        gr_plan_free(rest);
        gr_plan_free(whole);
    }
    gr_network_free(net);
}

static void training_can_start_where_the_frozen_part_ends(void **state) {
    (void)state;
    check_cut("body", "pool");   /* the dropout before the classifier is active */
    check_cut("head", "");       /* nothing frozen at the bottom */
    check_cut("conv1", "relu1"); /* the stem, with the activation that follows */
    check_cut("b", "");          /* frozen, but above what is trained */
}

static void several_tensors_can_cross_the_cut(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    const char *const patterns[] = {"conv1", "bn1", "a.conv1", "a.bn1"};
    struct gr_layer *cut[64];
    int count;
    assert_int_equal(gr_network_freeze(net, patterns, 4, true), 0);
    assert_int_equal(gr_plan_cut(net, cut, &count), 0);
    assert_int_equal(count, 2); /* the block's shortcut and its first half */
    assert_string_equal(cut[0]->name, "relu1");
    assert_string_equal(cut[1]->name, "a.relu1");
    struct gr_plan *plan = NULL;
    struct gr_plan_request request = {.capacity = 1,
                                      .input = {3, SIZE, SIZE, false},
                                      .training = true,
                                      .inputs = cut + 1,
                                      .input_count = 1};
    assert_int_equal(gr_plan_create(&plan, net, &request), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "does not make up for the photo"));
    gr_network_free(net);
}

static void bad_requests_are_refused_with_a_reason(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = NULL;
    struct gr_plan_request request = {.capacity = 0, .input = {3, SIZE, SIZE, false}};
    assert_int_equal(gr_plan_create(&plan, net, &request), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "at least 1"));
    request = (struct gr_plan_request){.capacity = 1, .input = {4, SIZE, SIZE, false}};
    assert_int_equal(gr_plan_create(&plan, net, &request), GR_ERROR_SHAPE);
    assert_non_null(strstr(gr_error()->message, "[3,H,W]"));
    assert_null(plan);
    gr_network_free(net);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan_request request = {.capacity = 2, .training = true, .input = {3, SIZE, SIZE, false}};
    survives_failed_allocations(net, &request);
    gr_network_free(net);
}

static void the_same_bits_on_every_run(void **state) {
    (void)state;
    float kept[BATCH * CLASSES];
    for (int run = 0; run < 3; run++) {
        struct gr_network *net = make_network();
        struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true});
        forward(plan, BATCH);
        if (run)
            assert_memory_equal(kept, gr_plan_output(plan, 0), sizeof kept);
        memcpy(kept, gr_plan_output(plan, 0), sizeof kept);
        gr_plan_free(plan);
        gr_network_free(net);
    }
}

/* Sums over all steps of a plan. */
static struct gr_step_profile totals(const struct gr_plan *plan, int *steps, int *backward_steps) {
    struct gr_step_profile sum = {0}, step;
    *backward_steps = 0;
    for (*steps = 0; gr_plan_step_profile(plan, *steps, &step); ++*steps) {
        struct gr_work *into[] = {&sum.forward, &sum.backward};
        const struct gr_work *from[] = {&step.forward, &step.backward};
        for (int i = 0; i < 2; i++) {
            into[i]->seconds += from[i]->seconds;
            into[i]->runs += from[i]->runs;
            into[i]->flop += from[i]->flop;
            into[i]->bytes += from[i]->bytes;
        }
        *backward_steps += step.has_backward;
        assert_true(step.forward.bytes > 0 && step.kernel != NULL);
    }
    return sum;
}

static void backward(struct gr_plan *plan) {
    fill(gr_plan_output_gradient(plan, 0), (int64_t)BATCH * CLASSES, 2);
    if (gr_plan_backward(plan))
        fail_msg("%s", gr_error()->message);
}

static void a_profile_times_every_step_of_every_pass(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true});
    int steps, back;
    assert_int_equal(gr_plan_profile(plan, true), GR_OK);
    for (int run = 0; run < 3; run++) {
        forward(plan, BATCH);
        backward(plan);
    }
    struct gr_step_profile sum = totals(plan, &steps, &back);
    assert_true(steps > 10);
    assert_int_equal(sum.forward.runs, 3 * steps);
    assert_int_equal(sum.backward.runs, 3 * back);
    assert_true(sum.forward.seconds > 0 && sum.backward.seconds > 0);
    assert_int_equal(gr_plan_profile(plan, true), GR_OK); /* from 0 again */
    sum = totals(plan, &steps, &back);
    assert_int_equal(sum.forward.runs, 0);
    assert_int_equal(gr_plan_profile(plan, false), GR_OK);
    forward(plan, BATCH);
    sum = totals(plan, &steps, &back);
    assert_int_equal(sum.forward.runs, 0);
    assert_true(sum.forward.seconds == 0 && sum.forward.flop > 0);
    gr_plan_free(plan);
    gr_network_free(net);
}

/* The classifier: K x C multiply-adds a photo, 2 operations each, forward; the same for the gradient of its
 * weights, and of its input where something below is trained. */
static void work_is_counted_once_a_gradient(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    double fc = 2.0 * BATCH * gr_network_layer(net, "fc")->params[0].tensor.shape[1] * CLASSES;
    struct gr_step_profile step = {0};
    int steps, back;
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.training = true});
    struct gr_step_profile full = totals(plan, &steps, &back);
    gr_plan_step_profile(plan, steps - 1, &step);
    assert_string_equal(step.layer->name, "fc");
    assert_true(step.forward.flop == fc && step.backward.flop == 2 * fc);
    gr_plan_free(plan);
    freeze(net, "*", true);
    freeze(net, "fc", false);
    plan = compile(net, (struct gr_plan_request){.training = true});
    struct gr_step_profile head = totals(plan, &steps, &back);
    assert_true(head.forward.flop == full.forward.flop && head.backward.flop == fc);
    assert_int_equal(back, 1);
    gr_plan_free(plan);
    gr_network_free(net);
}

/* How many steps of a plan use a kernel of this name. */
static int count_kernel(const struct gr_plan *plan, const char *name) {
    struct gr_step_profile step;
    int count = 0;
    for (int i = 0; gr_plan_step_profile(plan, i, &step); i++)
        count += !strcmp(step.kernel, name);
    return count;
}

static void reduced_precision_is_for_the_frozen_prefix_alone(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *features[] = {gr_network_layer(net, "pool")};
    struct gr_plan_request request = {.outputs = features, .output_count = 1};
    int64_t count = BATCH * gr_shape_size(features[0]->shape);
    struct gr_plan *exact = compile(net, request);
    request.precision = GR_BF16;
    struct gr_plan *nothing_frozen = compile(net, request);
    forward(exact, BATCH);
    forward(nothing_frozen, BATCH);
    assert_int_equal(count_kernel(nothing_frozen, "segment bf16"), 0);
    assert_memory_equal(gr_plan_output(exact, 0), gr_plan_output(nothing_frozen, 0),
                        (size_t)count * sizeof(float));

    freeze(net, "*", true);
    struct gr_plan *frozen = compile(net, request);
    forward(frozen, BATCH);
    double error = distance(gr_plan_output(frozen, 0), gr_plan_output(exact, 0), count);
    assert_true(count_kernel(frozen, "segment bf16") > 0);
    assert_true(error > 0 && error < 1e-2);

    /* weights that are packed anew in each pass give the same bits, again and again */
    request.lean = true;
    struct gr_plan *lean = compile(net, request);
    for (int i = 0; i < 2; i++) {
        forward(lean, BATCH);
        assert_memory_equal(gr_plan_output(lean, 0), gr_plan_output(frozen, 0),
                            (size_t)count * sizeof(float));
    }
    assert_int_equal(count_kernel(lean, "segment bf16"), count_kernel(frozen, "segment bf16"));

    /* exact kernels are float32, whoever asks for them */
    struct gr_plan *none = NULL;
    request.capacity = BATCH;
    request.input = (struct gr_shape){3, SIZE, SIZE, false};
    request.exact = true;
    assert_int_equal(gr_plan_create(&none, net, &request), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "exact kernels and bf16 exclude each other"));
    request.exact = false;
    net->exact = true;
    assert_int_equal(gr_plan_create(&none, net, &request), GR_ERROR_OPTION);
    net->exact = false;

    /* in training: what is frozen at the bottom, not what the gradient goes through */
    freeze(net, "a", false);
    struct gr_plan *training = compile(net, (struct gr_plan_request){.training = true, .precision = GR_BF16});
    assert_int_equal(count_kernel(training, "segment bf16"), 1); /* conv1 */
    struct gr_plan *plain = compile(net, (struct gr_plan_request){.training = true});
    assert_int_equal(count_kernel(plain, "segment bf16"), 0);
    forward(training, BATCH);
    forward(plain, BATCH);
    assert_true(distance(gr_plan_output(training, 0), gr_plan_output(plain, 0), BATCH * CLASSES) < 2e-2);

    struct gr_plan *plans[] = {exact, nothing_frozen, frozen, lean, training, plain};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        gr_plan_free(plans[i]);
    gr_network_free(net);
}

static void int8_needs_ranges(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *features[] = {gr_network_layer(net, "pool")};
    struct gr_plan_request request = {.outputs = features, .output_count = 1};
    int64_t count = BATCH * gr_shape_size(features[0]->shape);
    struct gr_range *ranges = gr_calloc((size_t)net->layer_count, sizeof *ranges);
    assert_non_null(ranges);
    freeze(net, "*", true);
    request.measure = true;
    struct gr_plan *exact = compile(net, request);
    request.measure = false;
    gr_plan_measure(exact, ranges);
    forward(exact, BATCH);
    int conv = gr_network_layer(net, "conv1")->index, after = gr_network_layer(net, "a.conv1")->index;
    assert_true(ranges[conv].low < -1 && ranges[conv].high > 1);
    assert_true(ranges[after].low == 0 && ranges[after].high > 0); /* behind a ReLU */

    request.precision = GR_INT8;
    struct gr_plan *plan = compile(net, request);
    assert_true(count_kernel(plan, "segment int8") > 0);
    assert_int_equal(gr_plan_forward(plan, 1, NULL), GR_ERROR_OPTION);
    gr_plan_free(plan);
    request.ranges = ranges;
    plan = compile(net, request);
    request.lean = true;
    struct gr_plan *lean = compile(net, request);
    gr_free(ranges); /* the plans have taken what they need */
    forward(plan, BATCH);
    forward(lean, BATCH);
    assert_memory_equal(gr_plan_output(lean, 0), gr_plan_output(plan, 0), (size_t)count * sizeof(float));
    gr_plan_free(lean);
    double error = distance(gr_plan_output(plan, 0), gr_plan_output(exact, 0), count);
    assert_true(error > 0 && error < 5e-2);
    gr_plan_free(plan);
    gr_plan_free(exact);
    gr_network_free(net);
}

/* A norm that its reader applies on load: what counts is what the reader multiplies. */
static void ranges_are_those_of_normed_values(void **state) {
    static const char *const names[] = {"first", "relu1", "norm", "relu2", "second"};
    static const char *const kinds[] = {"conv2d", "relu", "batch_norm", "relu", "conv2d"};
    struct gr_network *net = NULL;
    struct gr_layer *layer;
    struct gr_range ranges[6] = {{0, 0}};
    (void)state;
    if (gr_network_create(&net, "norms first", (struct gr_shape){3, SIZE, SIZE, false}, NULL, 7))
        fail_msg("%s", gr_error()->message);
    layer = net->layers[0];
    for (int i = 0; i < 5; i++) {
        cJSON *options = i % 4 ? NULL : cJSON_Parse("{\"out\":16,\"kernel\":3,\"padding\":1}");
        struct gr_layer *input = layer;
        if (gr_network_add(net, names[i], kinds[i], options, &input, 1, &layer))
            fail_msg("%s", gr_error()->message);
        cJSON_Delete(options);
    }
    struct gr_layer *norm = gr_network_layer(net, "norm");
    float *variance = gr_tensor_floats(&gr_layer_param(norm, "running_var")->tensor);
    for (int c = 0; c < 16; c++)
        variance[c] = 0.01f; /* all is ten times as large */
    struct gr_plan *plan =
        compile(net, (struct gr_plan_request){.outputs = &layer, .output_count = 1, .measure = true});
    cJSON *rows_of_plan = gr_plan_explain(plan), *row = cJSON_GetArrayItem(rows_of_plan, norm->index - 1);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(row, "kernel")), "(on load)");
    cJSON_Delete(rows_of_plan);
    gr_plan_measure(plan, ranges);
    forward(plan, BATCH);
    float before = ranges[norm->index].high, after = ranges[layer->index].high;
    assert_true(before > 0 && fabsf(after / before - 10) < 0.05f);
    assert_true(ranges[layer->index].low == 0);
    gr_plan_free(plan);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inference_equals_reference),
        cmocka_unit_test(training_equals_reference),
        cmocka_unit_test(norms_before_convolutions_are_applied_on_load),
        cmocka_unit_test(nothing_below_the_lowest_trainable_layer_has_a_gradient),
        cmocka_unit_test(a_frozen_training_plan_needs_no_more_memory_than_inference),
        cmocka_unit_test(planned_memory_is_what_the_allocator_saw),
        cmocka_unit_test(smaller_batches_run_the_same_plan),
        cmocka_unit_test(packed_copies_follow_their_parameters),
        cmocka_unit_test(lean_plans_give_the_same_bits),
        cmocka_unit_test(gradients_can_be_used_up_at_once),
        cmocka_unit_test(freezing_makes_a_plan_stale),
        cmocka_unit_test(any_output_can_be_wanted),
        cmocka_unit_test(training_can_start_where_the_frozen_part_ends),
        cmocka_unit_test(several_tensors_can_cross_the_cut),
        cmocka_unit_test(bad_requests_are_refused_with_a_reason),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(the_same_bits_on_every_run),
        cmocka_unit_test(a_profile_times_every_step_of_every_pass),
        cmocka_unit_test(work_is_counted_once_a_gradient),
        cmocka_unit_test(reduced_precision_is_for_the_frozen_prefix_alone),
        cmocka_unit_test(int8_needs_ranges),
        cmocka_unit_test(ranges_are_those_of_normed_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
