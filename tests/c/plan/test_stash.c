/* Activations that wait for the backward pass as bfloat16: the gradients against those of the plan without
 * fusion and stash, memory, repeatability, and what stays as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/threads.h"
#include "plan/networks.h"
#include "plan/plan.h"

enum { BATCH = 8, SIZE = 32, CLASSES = 5, PHOTO = 3 * SIZE * SIZE };

/* Norms that are dressed by convolutions, that add, that a pool reads; a layer that works in place on what is
 * kept (silu, the last reader of its input); a concatenation, a dropout, an addition of its own. */
static const struct row rows[] = {
    {"conv1", "conv2d", "{\"out\":16,\"kernel\":3,\"padding\":1,\"bias\":false}", {"input"}},
    {"bn1", "batch_norm", NULL, {"conv1"}},
    {"relu1", "relu", NULL, {"bn1"}},
    {"pool1", "max_pool", "{\"kernel\":2,\"stride\":2}", {"relu1"}},
    {"a.conv1", "conv2d", "{\"out\":16,\"kernel\":3,\"padding\":1,\"bias\":false}", {"pool1"}},
    {"a.bn1", "batch_norm", NULL, {"a.conv1"}},
    {"a.relu1", "relu6", NULL, {"a.bn1"}},
    {"a.conv2", "conv2d", "{\"out\":16,\"kernel\":3,\"padding\":1,\"bias\":false}", {"a.relu1"}},
    {"a.bn2", "batch_norm", NULL, {"a.conv2"}},
    {"a.add", "add", NULL, {"a.bn2", "pool1"}},
    {"a.relu2", "relu", NULL, {"a.add"}},
    {"b.conv1", "conv2d", "{\"out\":32,\"kernel\":3,\"padding\":1}", {"a.relu2"}},
    {"b.short", "conv2d", "{\"out\":32,\"kernel\":1}", {"b.conv1"}},
    {"b.silu", "silu", NULL, {"b.conv1"}},
    {"b.short_bn", "batch_norm", NULL, {"b.short"}},
    {"b.add", "add", NULL, {"b.silu", "b.short_bn"}},
    {"b.relu", "leaky_relu", "{\"slope\":0.1}", {"b.add"}},
    {"b.cat", "concat", NULL, {"b.relu", "b.silu"}},
    {"c.conv", "conv2d", "{\"out\":32,\"kernel\":3,\"padding\":1}", {"b.cat"}},
    {"c.relu", "relu", NULL, {"c.conv"}},
    {"pool", "global_avg_pool", NULL, {"c.relu"}},
    {"drop", "dropout", "{\"p\":0.5}", {"pool"}},
    {"fc", "linear", "{\"out\":5}", {"drop"}},
};

static struct gr_network *make_network(void) {
    static const char *const stages[] = {"pool1", "a", "b", "c"};
    struct gr_network *net = network_of("branched", SIZE, rows, sizeof rows / sizeof *rows, stages,
                                        sizeof stages / sizeof *stages);
    return net;
}

static struct gr_plan *compile(struct gr_network *net, struct gr_plan_request request) {
    struct gr_plan *plan = NULL;
    request.capacity = request.capacity ? request.capacity : BATCH;
    request.input = net->input;
    request.training = true;
    if (gr_plan_create(&plan, net, &request))
        fail_msg("%s", gr_error()->message);
    return plan;
}

static void step(struct gr_plan *plan, int n) {
    struct gr_stream stream = {1, 1, 1};
    fill(gr_plan_input(plan), (int64_t)n * PHOTO, 1);
    if (gr_plan_forward(plan, n, &stream))
        fail_msg("%s", gr_error()->message);
    fill(gr_plan_output_gradient(plan, 0), (int64_t)n * CLASSES, 2);
    if (gr_plan_backward(plan))
        fail_msg("%s", gr_error()->message);
}

static void choose(struct gr_network *net, const char *frozen, const char *thawed) {
    if ((frozen && gr_network_freeze(net, &frozen, 1, true)) ||
        (thawed && gr_network_freeze(net, &thawed, 1, false)))
        fail_msg("%s", gr_error()->message);
}

/* A gradient with stash, of the plan without fusion, and of the same plan without stash. Between the last two
 * a value that lies at the corner of an activation, or two at the top of a window, may fall to either side,
 * so only the distance from the plan of the same rounding is small. */
static void compare_one(const char *frozen, const char *name, int64_t size, const float *const *gradient) {
    double rounding = distance(gradient[0], gradient[2], size),
           off = distance(gradient[0], gradient[1], size);
    if (!(rounding < 5e-3) || !(off < 3e-2))
        fail_msg("frozen %s: the gradient of %s is off by %g, and by %g from the reference",
                 frozen ? frozen : "-", name, rounding, off);
}

/* Gradients of a step with stash against those of the reference, for n of the capacity's photos. The logits
 * are the same as without stash, to the bit: the forward pass reads no rounded number. */
static void compare(const char *frozen, const char *thawed, int n, int stashes) {
    const struct gr_plan_request requests[] = {{.stash = GR_STASH_BF16, .input_gradient = true},
                                               {.reference = true, .input_gradient = true},
                                               {.input_gradient = true}};
    struct gr_network *nets[3];
    struct gr_plan *plans[3];
    struct gr_param *const *params[3];
    struct gr_layer *const *layers;
    int kept;
    for (int i = 0; i < 3; i++) {
        nets[i] = make_network();
        choose(nets[i], frozen, thawed);
        plans[i] = compile(nets[i], requests[i]);
        step(plans[i], n);
    }
    assert_true(gr_plan_stashed(plans[0], &kept) > 0);
    if (kept < stashes)
        fail_msg("frozen %s: %d values are stashed, expected %d", frozen ? frozen : "-", kept, stashes);
    assert_int_equal(gr_plan_stashed(plans[2], &kept), 0);
    assert_memory_equal(gr_plan_output(plans[0], 0), gr_plan_output(plans[2], 0),
                        (size_t)(n * CLASSES) * sizeof(float));
    int count = gr_plan_trained(plans[0], &params[0], &layers);
    assert_int_equal(count, gr_plan_trained(plans[1], &params[1], &layers));
    assert_int_equal(count, gr_plan_trained(plans[2], &params[2], &layers));
    for (int p = 0; p < count; p++) {
        int64_t size = gr_tensor_count(&params[0][p]->tensor);
        const float *gradient[3];
        double norm = 0;
        for (int i = 0; i < 3; i++)
            gradient[i] = gr_plan_gradient(plans[i], params[i][p]);
        for (int64_t i = 0; i < size; i++)
            norm += fabs((double)gradient[1][i]);
        if (norm / (double)size > 1e-5)
            compare_one(frozen, params[0][p]->name, size, gradient);
    }
    const float *gradient[3];
    for (int i = 0; i < 3; i++)
        gradient[i] = gr_plan_input_gradient(plans[i]);
    compare_one(frozen, "the input", (int64_t)n * PHOTO, gradient);
    for (int i = 0; i < 3; i++) {
        gr_plan_free(plans[i]);
        gr_network_free(nets[i]);
    }
}

static void gradients_are_within_the_rounding(void **state) {
    (void)state;
    compare(NULL, NULL, BATCH, 8);
    compare(NULL, NULL, BATCH - 3, 8); /* part of the capacity */
    compare("pool1", NULL, BATCH, 6);  /* a frozen prefix */
    compare("a", NULL, BATCH, 4);      /* frozen layers between trained ones */
    compare("*", "a.bn1", BATCH, 1);   /* one trained norm */
}

static void fixed_norms_are_stashed_as_well(void **state) {
    (void)state;
    struct gr_network *nets[2];
    struct gr_plan *plans[2];
    struct gr_param *const *params[2];
    struct gr_layer *const *layers;
    for (int i = 0; i < 2; i++) {
        nets[i] = make_network();
        for (int l = 0; l < nets[i]->layer_count; l++)
            nets[i]->layers[l]->fixed_norm = true;
        plans[i] = compile(nets[i], (struct gr_plan_request){.stash = i ? GR_STASH_NONE : GR_STASH_BF16});
        step(plans[i], BATCH);
    }
    int count = gr_plan_trained(plans[0], &params[0], &layers);
    gr_plan_trained(plans[1], &params[1], &layers);
    for (int p = 0; p < count; p++)
        assert_true(distance(gr_plan_gradient(plans[0], params[0][p]),
                             gr_plan_gradient(plans[1], params[1][p]),
                             gr_tensor_count(&params[0][p]->tensor)) < 1e-2);
    for (int i = 0; i < 2; i++) {
        gr_plan_free(plans[i]);
        gr_network_free(nets[i]);
    }
}

/* Equal convolutions one after the other. */
static struct gr_network *make_chain(void) {
    enum { LENGTH = 16 };
    struct gr_network *net = NULL;
    if (gr_network_create(&net, "chain", (struct gr_shape){3, SIZE, SIZE, false}, NULL, 7))
        fail_msg("%s", gr_error()->message);
    cJSON *conv = cJSON_Parse("{\"out\":16,\"kernel\":3,\"padding\":1}"), *fc = cJSON_Parse("{\"out\":5}");
    struct gr_layer *x = net->layers[0];
    int status = GR_OK;
    for (int i = 0; i < LENGTH && !status; i++) {
        status = gr_network_add(net, NULL, "conv2d", conv, &x, 1, &x);
        if (!status)
            status = gr_network_add(net, NULL, "relu", NULL, &x, 1, &x);
    }
    if (status || gr_network_add(net, NULL, "global_avg_pool", NULL, &x, 1, &x) ||
        gr_network_add(net, "fc", "linear", fc, &x, 1, &x) || gr_network_finish(net, x, "fc", NULL, 0))
        fail_msg("%s", gr_error()->message);
    cJSON_Delete(conv);
    cJSON_Delete(fc);
    return net;
}

/* Bytes of the arena for 32 photos; what the allocator saw is what was planned. */
static double arena_of(struct gr_network *net, enum gr_stash_kind stash) {
    gr_threads();
    size_t before = gr_memory().live;
    struct gr_plan *plan = compile(net, (struct gr_plan_request){.capacity = 32, .stash = stash});
    double seen = (double)(gr_memory().live - before), planned = (double)gr_plan_memory(plan);
    double arena = (double)gr_plan_arena(plan);
    int count;
    assert_true(seen >= planned && seen < planned * 1.05);
    assert_true((double)gr_plan_stashed(plan, &count) < arena);
    gr_plan_free(plan);
    return arena;
}

static void memory_is_smaller(void **state) {
    (void)state;
    struct gr_network *nets[] = {make_chain(), make_network()};
    const double most[] = {0.75, 0.9};
    for (int i = 0; i < 2; i++) {
        double stashed = arena_of(nets[i], GR_STASH_BF16), plain = arena_of(nets[i], GR_STASH_NONE);
        if (!(stashed < most[i] * plain))
            fail_msg("%s: %.0f bytes with stash, %.0f without", nets[i]->name, stashed, plain);
        gr_network_free(nets[i]);
    }
}

/* A convolution (with a norm) or two, then the classifier: copies make the largest moment no smaller, or
 * larger. Such a plan is the one without stash, to the bit; with a third layer there is something to win
 * again. */
static void what_would_save_nothing_is_not_stashed(void **state) {
    (void)state;
    int refused = 0;
    for (int layers = 1; layers <= 5; layers++)
        for (int norm = 0; norm < 2; norm++) {
            struct gr_network *net = NULL;
            struct gr_plan *plans[2];
            int count;
            if (gr_network_create(&net, "shallow", (struct gr_shape){3, SIZE, SIZE, false}, NULL, 7))
                fail_msg("%s", gr_error()->message);
            cJSON *conv = cJSON_Parse("{\"out\":16,\"kernel\":3,\"padding\":1}"),
                  *fc = cJSON_Parse("{\"out\":5}");
            struct gr_layer *x = net->layers[0];
            int status = GR_OK;
            for (int i = 0; i < layers && !status; i++) {
                status = gr_network_add(net, NULL, "conv2d", conv, &x, 1, &x);
                if (!status && norm)
                    status = gr_network_add(net, NULL, "batch_norm", NULL, &x, 1, &x);
                if (!status)
                    status = gr_network_add(net, NULL, "relu", NULL, &x, 1, &x);
            }
            if (status || gr_network_add(net, NULL, "global_avg_pool", NULL, &x, 1, &x) ||
                gr_network_add(net, "fc", "linear", fc, &x, 1, &x) ||
                gr_network_finish(net, x, "fc", NULL, 0))
                fail_msg("%s", gr_error()->message);
            cJSON_Delete(conv);
            cJSON_Delete(fc);
            for (int i = 0; i < 2; i++)
                plans[i] = compile(net, (struct gr_plan_request){.stash = i ? GR_STASH_NONE : GR_STASH_BF16});
            gr_plan_stashed(plans[0], &count);
            if (count > 0) {
                assert_true(gr_plan_arena(plans[0]) < gr_plan_arena(plans[1]));
            } else {
                refused++;
                assert_int_equal(gr_plan_arena(plans[0]), gr_plan_arena(plans[1]));
                assert_int_equal(gr_plan_memory(plans[0]), gr_plan_memory(plans[1]));
            }
            assert_true(layers > 1 || count == 0);
            assert_true(layers < 5 || count > 0);
            step(plans[0], BATCH);
            step(plans[1], BATCH);
            assert_memory_equal(gr_plan_output(plans[0], 0), gr_plan_output(plans[1], 0),
                                BATCH * CLASSES * sizeof(float));
            gr_plan_free(plans[0]);
            gr_plan_free(plans[1]);
            gr_network_free(net);
        }
    assert_true(refused >= 2);
}

/* In the chain all values have the same size, so that copies are tried in place too: many steps, each with
 * the gradients of one without stash nearby. */
static void a_chain_learns_from_its_copies(void **state) {
    (void)state;
    struct gr_network *nets[2] = {make_chain(), make_chain()};
    struct gr_plan *plans[2];
    struct gr_param *const *params[2];
    struct gr_layer *const *layers;
    int count = 0;
    for (int i = 0; i < 2; i++) {
        plans[i] = compile(
            nets[i], (struct gr_plan_request){.capacity = 32, .stash = i ? GR_STASH_NONE : GR_STASH_BF16});
        step(plans[i], 7);
        step(plans[i], 32);
        count = gr_plan_trained(plans[i], &params[i], &layers);
    }
    for (int p = 0; p < count; p++)
        assert_true(distance(gr_plan_gradient(plans[0], params[0][p]),
                             gr_plan_gradient(plans[1], params[1][p]),
                             gr_tensor_count(&params[0][p]->tensor)) < 1e-2);
    for (int i = 0; i < 2; i++) {
        gr_plan_free(plans[i]);
        gr_network_free(nets[i]);
    }
}

static void the_same_bits_on_every_run_and_thread_count(void **state) {
    (void)state;
    enum { MOST = 32 };
    float *kept[MOST] = {NULL};
    int threads = gr_threads();
    for (int run = 0; run < 4; run++) {
        assert_int_equal(gr_threads_set(run % 2 + 1), GR_OK);
        struct gr_network *net = make_network();
        struct gr_plan *plan = compile(net, (struct gr_plan_request){.stash = GR_STASH_BF16, .exact = true});
        struct gr_param *const *params;
        struct gr_layer *const *layers;
        step(plan, BATCH);
        int count = gr_plan_trained(plan, &params, &layers);
        assert_true(count > 10 && count <= MOST);
        for (int p = 0; p < count; p++) {
            size_t bytes = (size_t)gr_tensor_count(&params[p]->tensor) * sizeof(float);
            if (!run) {
                kept[p] = gr_alloc(bytes);
                assert_non_null(kept[p]);
                memcpy(kept[p], gr_plan_gradient(plan, params[p]), bytes);
            }
            assert_memory_equal(kept[p], gr_plan_gradient(plan, params[p]), bytes);
        }
        gr_plan_free(plan);
        gr_network_free(net);
    }
    for (int p = 0; p < MOST; p++)
        gr_free(kept[p]);
    gr_threads_set(threads);
}

static bool is_stashed(const cJSON *list, const char *name) {
    const cJSON *row;
    cJSON_ArrayForEach(row, list) if (strcmp(cJSON_GetObjectItem(row, "name")->valuestring, name) ==
                                      0) return cJSON_GetObjectItem(row, "stash") != NULL;
    fail_msg("no layer %s", name);
    return false;
}

/* What the caller gives or reads stays where it is, and so does what is small. */
static void what_is_wanted_or_small_is_not_stashed(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_layer *wanted[] = {gr_network_layer(net, "fc"), gr_network_layer(net, "a.relu2")};
    struct gr_layer *given[] = {gr_network_layer(net, "pool1")};
    struct gr_plan *plans[] = {
        compile(net, (struct gr_plan_request){.stash = GR_STASH_BF16}),
        compile(net, (struct gr_plan_request){.stash = GR_STASH_BF16, .outputs = wanted, .output_count = 2}),
        NULL};
    choose(net, "pool1", NULL);
    plans[2] =
        compile(net, (struct gr_plan_request){.stash = GR_STASH_BF16, .inputs = given, .input_count = 1});
    cJSON *lists[3];
    for (int i = 0; i < 3; i++)
        lists[i] = gr_plan_explain(plans[i]);
    assert_true(is_stashed(lists[0], "a.relu2") && !is_stashed(lists[1], "a.relu2"));
    assert_true(is_stashed(lists[0], "pool1") && !is_stashed(lists[2], "pool1"));
    assert_true(is_stashed(lists[0], "conv1") && is_stashed(lists[2], "a.conv1"));
    assert_false(is_stashed(lists[0], "pool") || is_stashed(lists[0], "fc"));
    for (int i = 0; i < 3; i++) {
        cJSON_Delete(lists[i]);
        gr_plan_free(plans[i]);
    }
    gr_network_free(net);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    struct gr_network *net = make_network();
    struct gr_plan_request request = {
        .capacity = 2, .training = true, .input = net->input, .stash = GR_STASH_BF16};
    survives_failed_allocations(net, &request);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_within_the_rounding),
        cmocka_unit_test(fixed_norms_are_stashed_as_well),
        cmocka_unit_test(memory_is_smaller),
        cmocka_unit_test(what_would_save_nothing_is_not_stashed),
        cmocka_unit_test(a_chain_learns_from_its_copies),
        cmocka_unit_test(the_same_bits_on_every_run_and_thread_count),
        cmocka_unit_test(what_is_wanted_or_small_is_not_stashed),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
