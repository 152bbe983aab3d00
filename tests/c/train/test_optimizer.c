/* Optimisers against PyTorch: ten steps on given gradients. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"
#include "train/optimizer.h"
#include "train/reference.h"

static struct gr_param make_param(const char *name, int64_t count, const float *values, bool decays) {
    struct gr_param param = {.role = "weight", .decays = decays};
    param.name = gr_strdup(name);
    assert_int_equal(gr_tensor_create(&param.tensor, GR_F32, 1, &count), 0);
    if (values)
        memcpy(gr_tensor_floats(&param.tensor), values, (size_t)count * sizeof *values);
    return param;
}

static void free_param(struct gr_param *param) {
    gr_tensor_release(&param->tensor);
    gr_free(param->name);
}

static void run_case(const cJSON *object) {
    const char *kind = reference_get(object, "kind")->valuestring;
    int count = reference_int(object, "count"), steps = reference_int(object, "steps");
    float *start = reference_floats(object, "start"), *gradients = reference_floats(object, "gradients");
    float *values = reference_floats(object, "values");
    struct gr_optimizer_options options;
    struct gr_optimizer *optimizer;
    struct gr_slot *slot;
    assert_int_equal(gr_optimizer_read(&options, kind, reference_get(object, "options")), 0);
    assert_int_equal(gr_optimizer_create(&optimizer, &options), 0);
    struct gr_param param = make_param("w", count, start, true);
    assert_int_equal(gr_optimizer_slot(optimizer, &param, &slot), 0);
    for (int i = 0; i < steps; i++) {
        gr_optimizer_step(optimizer, slot, &param, gradients + i * count, 1, options.lr);
        double off = reference_distance(gr_tensor_floats(&param.tensor), values + i * count, (size_t)count);
        if (off > 1e-5)
            print_error("%s, step %d: off by %g\n", cJSON_PrintUnformatted(reference_get(object, "options")),
                        i + 1, off);
        assert_true(off <= 1e-5);
    }
    assert_int_equal(slot->steps, steps);
    free_param(&param);
    gr_optimizer_free(optimizer);
    free(start);
    free(gradients);
    free(values);
}

static void test_reference(void **state) {
    cJSON *cases = reference_read("tests/fixtures/train/optimizers.json");
    (void)state;
    for (const cJSON *item = cases->child; item; item = item->next)
        run_case(item);
    cJSON_Delete(cases);
}

static struct gr_optimizer_options read(const char *kind, const char *json) {
    struct gr_optimizer_options options;
    cJSON *object = cJSON_Parse(json);
    assert_int_equal(gr_optimizer_read(&options, kind, object), 0);
    cJSON_Delete(object);
    return options;
}

/* A rate or a weight decay on one tensor must not reach the others. */
static void test_decay_spares(void **state) {
    struct gr_optimizer_options options = read("sgd", "{\"lr\":0.1,\"weight_decay\":0.5}");
    struct gr_optimizer *optimizer;
    struct gr_slot *slot;
    float one = 1, zero = 0;
    (void)state;
    assert_int_equal(gr_optimizer_create(&optimizer, &options), 0);
    struct gr_param weight = make_param("w", 1, &one, true), bias = make_param("b", 1, &one, false);
    assert_int_equal(gr_optimizer_slot(optimizer, &weight, &slot), 0);
    gr_optimizer_step(optimizer, slot, &weight, &zero, 1, 0.1);
    assert_int_equal(gr_optimizer_slot(optimizer, &bias, &slot), 0);
    gr_optimizer_step(optimizer, slot, &bias, &zero, 1, 0.1);
    assert_true(fabsf(*gr_tensor_floats(&weight.tensor) - 0.95f) < 1e-7f);
    assert_true(*gr_tensor_floats(&bias.tensor) == 1);
    assert_true(weight.version == 1);
    free_param(&weight);
    free_param(&bias);
    gr_optimizer_free(optimizer);
}

/* Any number of threads gives the same bits, also across the pieces that threads work on. */
static void test_threads(void **state) {
    enum { COUNT = 100001 };
    struct gr_optimizer_options options = read("adamw", "{\"lr\":0.01}");
    float *gradient = malloc(COUNT * sizeof *gradient), *first = NULL;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        gradient[i] = sinf((float)i);
    for (int threads = 1; threads <= 2; threads++) {
        struct gr_optimizer *optimizer;
        struct gr_slot *slot;
        struct gr_param param = make_param("w", COUNT, gradient, true);
        assert_int_equal(gr_threads_set(threads), 0);
        assert_int_equal(gr_optimizer_create(&optimizer, &options), 0);
        assert_int_equal(gr_optimizer_slot(optimizer, &param, &slot), 0);
        for (int i = 0; i < 3; i++)
            gr_optimizer_step(optimizer, slot, &param, gradient, 0.5, 0.01);
        float *values = gr_tensor_floats(&param.tensor);
        if (first)
            assert_memory_equal(first, values, COUNT * sizeof *values);
        else
            first = memcpy(malloc(COUNT * sizeof *values), values, COUNT * sizeof *values);
        free_param(&param);
        gr_optimizer_free(optimizer);
    }
    free(first);
    free(gradient);
}

static void test_slots_follow_names_and_shapes(void **state) {
    struct gr_optimizer_options options = read("sgd", "{\"lr\":0.1,\"momentum\":0.9}");
    struct gr_optimizer *optimizer;
    struct gr_slot *slot, *again;
    float one = 1;
    int count;
    (void)state;
    assert_int_equal(gr_optimizer_create(&optimizer, &options), 0);
    struct gr_param small = make_param("w", 1, NULL, true), large = make_param("w", 2, NULL, true);
    assert_int_equal(gr_optimizer_slot(optimizer, &small, &slot), 0);
    gr_optimizer_step(optimizer, slot, &small, &one, 1, 0.1);
    assert_int_equal(gr_optimizer_slot(optimizer, &small, &again), 0);
    assert_ptr_equal(slot, again);
    assert_int_equal(again->steps, 1);
    assert_int_equal(gr_optimizer_slot(optimizer, &large, &again), 0);
    assert_int_equal(again->steps, 0);
    assert_int_equal(gr_tensor_count(&again->moments[0]), 2);
    gr_optimizer_slots(optimizer, &count);
    assert_int_equal(count, 1);
    free_param(&small);
    free_param(&large);
    gr_optimizer_free(optimizer);
}

static void test_descriptions(void **state) {
    struct gr_optimizer_options options = read("adamw", "{\"lr\":0.001,\"betas\":[0.8,0.99]}"), again;
    char text[128];
    (void)state;
    assert_true(options.weight_decay == 0.01f && options.beta1 == 0.8f && options.eps == 1e-8f);
    cJSON *object = gr_optimizer_describe(&options),
          *kind = cJSON_DetachItemFromObjectCaseSensitive(object, "kind");
    assert_int_equal(gr_optimizer_read(&again, kind->valuestring, object), 0);
    assert_memory_equal(&options, &again, sizeof again);
    cJSON_Delete(kind);
    cJSON_Delete(object);
    options = read("sgd", "{\"lr\":0.01,\"momentum\":0.9}");
    assert_string_equal(gr_optimizer_format(&options, text), "sgd lr 0.01 momentum 0.9");
}

static void test_refusals(void **state) {
    static const char *const bad[][2] = {
        {"sgd", "{}"},
        {"sgd", "{\"lr\":0}"},
        {"sgd", "{\"lr\":-1}"},
        {"sgd", "{\"lr\":\"0.1\"}"},
        {"sgd", "{\"lr\":0.1,\"nesterov\":true}"},
        {"sgd", "{\"lr\":0.1,\"betas\":[0.9,0.99]}"},
        {"adam", "{\"lr\":0.1,\"betas\":[0.9]}"},
        {"adam", "{\"lr\":0.1,\"betas\":[0.9,1]}"},
        {"adam", "{\"lr\":0.1,\"betas\":0.9}"},
        {"adam", "{\"lr\":0.1,\"weight_decay\":-1}"},
    };
    struct gr_optimizer_options options;
    size_t blocks = gr_memory().blocks;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *object = cJSON_Parse(bad[i][1]);
        assert_int_equal(gr_optimizer_read(&options, bad[i][0], object), GR_ERROR_OPTION);
        cJSON_Delete(object);
    }
    cJSON *object = cJSON_Parse("{\"lr\":0.1,\"momentun\":0.9}");
    assert_int_equal(gr_optimizer_read(&options, "sgd", object), GR_ERROR_OPTION);
    assert_string_equal(gr_error()->near, "momentum");
    assert_int_equal(gr_optimizer_read(&options, "adamv", object), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "adam");
    cJSON_Delete(object);
    assert_int_equal(gr_memory().blocks, blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),    cmocka_unit_test(test_decay_spares),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_slots_follow_names_and_shapes),
        cmocka_unit_test(test_descriptions), cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
