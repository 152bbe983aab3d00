/* Every case against PyTorch: outputs to 1e-5 (relative L2), gradients to 1e-4, running statistics after a
 * step. Each runs as the plain reference plan and as the optimised one, in batches as large as the capacity
 * and smaller. */
#include "layers/harness.h"

static const double forward_tolerance = 1e-5, gradient_tolerance = 1e-4;

struct variant {
    const char *what;
    bool training, reference;
    int spare; /* capacity beyond the photos that there are */
};

static int failures;

static void compare(const cJSON *one, const struct variant *variant, const char *what, int64_t count,
                    const float *got, const float *expected, double tolerance) {
    double error = relative_error(count, got, expected);
    if (error <= tolerance)
        return;
    print_error("%s (%s): %s is off by %.3g\n", case_name(one), variant->what, what, error);
    failures++;
}

/* An activation of the plan against a tensor of the case, if it has that. */
static void compare_photos(const struct cases *cases, const cJSON *one, const struct variant *variant,
                           const char *tensor, struct gr_shape shape, const float *got, double tolerance) {
    int64_t count = 0;
    const float *expected = case_tensor(cases, one, tensor, &count);
    assert_non_null(expected);
    assert_int_equal(count, case_n(one) * gr_shape_size(shape));
    float *outside = malloc((size_t)count * sizeof(float));
    to_outside(case_n(one), shape, got, outside);
    compare(one, variant, tensor, count, outside, expected, tolerance);
    free(outside);
}

static void compare_params(const struct cases *cases, const cJSON *one, const struct variant *variant,
                           struct gr_network *net, struct gr_plan *plan) {
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_param *param = &net->layers[i]->params[p];
            float *gradient = gr_plan_gradient(plan, param);
            int64_t count = 0;
            char name[128];
            snprintf(name, sizeof name, "grad/%s", param->name);
            const float *expected = case_tensor(cases, one, name, &count);
            assert_int_equal(gradient != NULL, expected != NULL);
            if (expected)
                compare(one, variant, name, count, gradient, expected, gradient_tolerance);
            snprintf(name, sizeof name, "after/%s", param->name);
            expected = case_tensor(cases, one, name, &count);
            assert_int_equal(param->buffer, expected != NULL);
            if (!expected)
                continue;
            float number = param->tensor.dtype == GR_I64 ? (float)gr_tensor_integers(&param->tensor)[0] : 0;
            compare(one, variant, name, count,
                    param->tensor.dtype == GR_I64 ? &number : gr_tensor_floats(&param->tensor), expected,
                    forward_tolerance);
        }
}

static void run(const struct cases *cases, const cJSON *one, const struct variant *variant) {
    struct gr_network *net = case_network(cases, one);
    int n = case_n(one);
    int64_t count;
    struct gr_plan *plan = plan_for(net, n + variant->spare, variant->training, variant->reference);
    struct gr_shape out = gr_plan_output_shape(plan, 0);
    to_inside(n, net->input, case_tensor(cases, one, "input", &count), gr_plan_input(plan));
    assert_ok(gr_plan_forward(plan, n, NULL));
    compare_photos(cases, one, variant, "output", out, gr_plan_output(plan, 0), forward_tolerance);
    if (variant->training) {
        to_inside(n, out, case_tensor(cases, one, "grad_output", &count), gr_plan_output_gradient(plan, 0));
        assert_ok(gr_plan_backward(plan));
        compare_photos(cases, one, variant, "grad_input", net->input, gr_plan_input_gradient(plan),
                       gradient_tolerance);
        compare_params(cases, one, variant, net, plan);
    }
    gr_plan_free(plan);
    gr_network_free(net);
}

/* Whether the output in inference mode is the one that the case has: not with batch statistics. */
static bool same_in_inference(const cJSON *one) {
    const cJSON *layer;
    cJSON_ArrayForEach(layer, cJSON_GetObjectItem(one, "layers")) {
        bool fixed = cJSON_IsTrue(cJSON_GetObjectItem(layer, "frozen")) ||
                     cJSON_IsTrue(cJSON_GetObjectItem(layer, "fixed_norm"));
        if (!strcmp(cJSON_GetObjectItem(layer, "kind")->valuestring, "batch_norm") && !fixed)
            return false;
    }
    return true;
}

static void run_all(const struct variant *variant) {
    struct cases cases;
    const cJSON *one;
    cases_open(&cases);
    failures = 0;
    cJSON_ArrayForEach(one, cases.list) {
        if (variant->training || same_in_inference(one))
            run(&cases, one, variant);
    }
    cases_close(&cases);
    assert_int_equal(failures, 0);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_training_reference(void **state) {
    (void)state;
    run_all(&(struct variant){"training, reference", true, true, 0});
}

static void test_training(void **state) {
    (void)state;
    run_all(&(struct variant){"training", true, false, 0});
}

static void test_training_part_of_a_batch(void **state) {
    (void)state;
    run_all(&(struct variant){"training, larger capacity", true, false, 3});
}

static void test_inference_reference(void **state) {
    (void)state;
    run_all(&(struct variant){"inference, reference", false, true, 0});
}

static void test_inference(void **state) {
    (void)state;
    run_all(&(struct variant){"inference", false, false, 0});
}

static void test_inference_part_of_a_batch(void **state) {
    (void)state;
    run_all(&(struct variant){"inference, larger capacity", false, false, 5});
}

/* Two kinds have no fixture: dropout's masks and a program's own layers are tested in files of their own. */
static void test_every_kind_has_a_case(void **state) {
    struct cases cases;
    const cJSON *one, *layer;
    (void)state;
    cases_open(&cases);
    for (int i = 0; gr_layer_kinds[i]; i++) {
        bool found = !strcmp(gr_layer_kinds[i]->name, "custom");
        cJSON_ArrayForEach(one, cases.list) cJSON_ArrayForEach(layer, cJSON_GetObjectItem(one, "layers"))
            found |= !strcmp(cJSON_GetObjectItem(layer, "kind")->valuestring, gr_layer_kinds[i]->name);
        if (!found)
            fail_msg("no case for %s", gr_layer_kinds[i]->name);
    }
    cases_close(&cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_reference),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_training_part_of_a_batch),
        cmocka_unit_test(test_inference_reference),
        cmocka_unit_test(test_inference),
        cmocka_unit_test(test_inference_part_of_a_batch),
        cmocka_unit_test(test_every_kind_has_a_case),
    };
    return cmocka_run_group_tests_name("layers against PyTorch", tests, NULL, NULL);
}
