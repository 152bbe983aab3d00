/* Every case by finite differences: the gradient of the loss sum(output * weights) along random directions,
 * for the input and for each trained parameter, against (loss(x + e d) - loss(x - e d)) / 2e. The loss is
 * added up in double. A kink or a new maximum between the two points spoils the difference, so several
 * directions and steps are tried. */
#include "layers/harness.h"

#include "base/random.h"

enum { TRIES = 12 };
/* Of the gradient's length, which is the slope along a direction of unit variance. */
static const double tolerance = 1e-2;
static const float steps[] = {1e-3f, 3e-4f, 3e-3f};

struct slope {
    struct gr_network *net;
    struct gr_plan *plan;
    int n;
    int64_t outputs;
    const float *weights; /* of the loss, [n,h,w,c] */
};

static const struct gr_stream stream = {
    .seed = 4, .fit = 1, .step = 9}; /* the same dropout masks in every pass */

/* The input is written anew, as a pass may use its memory for something else. */
static double loss_at(const struct slope *s, const float *input) {
    double loss = 0;
    memcpy(gr_plan_input(s->plan), input, (size_t)(s->n * gr_shape_size(s->net->input)) * sizeof(float));
    assert_ok(gr_plan_forward(s->plan, s->n, &stream));
    const float *y = gr_plan_output(s->plan, 0);
    for (int64_t i = 0; i < s->outputs; i++)
        loss += (double)y[i] * s->weights[i];
    return loss;
}

/* `moved` is the array to vary: the input itself or a parameter's values (then `param` says whose). */
static void check(const struct slope *s, const char *name, const char *what, float *input, float *moved,
                  struct gr_param *param, int64_t count, const float *gradient, struct gr_random *random) {
    float *old = malloc((size_t)count * sizeof(float)), *direction = malloc((size_t)count * sizeof(float));
    double length = 0, worst = INFINITY;
    memcpy(old, moved, (size_t)count * sizeof(float));
    for (int64_t i = 0; i < count; i++)
        length += (double)gradient[i] * gradient[i];
    length = sqrt(length);
    for (int try = 0; try < TRIES && worst > tolerance * length; try++) {
        double loss[2], expected = 0;
        float step = steps[try % 3];
        for (int64_t i = 0; i < count; i++)
            direction[i] = gr_random_normal(random);
        for (int side = 0; side < 2; side++) {
            for (int64_t i = 0; i < count; i++)
                moved[i] = old[i] + (side ? -step : step) * direction[i];
            if (param)
                gr_param_touch(param);
            loss[side] = loss_at(s, input);
        }
        for (int64_t i = 0; i < count; i++) /* the steps that rounding left */
            expected += gradient[i] *
                        (((double)old[i] + step * direction[i]) - ((double)old[i] - step * direction[i]));
        double error = fabs((loss[0] - loss[1]) - expected) / (2.0 * step);
        worst = error < worst ? error : worst;
    }
    memcpy(moved, old, (size_t)count * sizeof(float));
    if (param)
        gr_param_touch(param);
    if (!(worst <= tolerance * length + 1e-4))
        fail_msg("%s: gradient of %s differs from finite differences by %.3g, its length is %.3g", name, what,
                 worst, length);
    free(old);
    free(direction);
}

static void check_network(struct gr_network *net, const char *name, int n, const float *input_outside,
                          const float *weights_outside, struct gr_random *random) {
    struct gr_plan *plan = plan_for(net, n, true, true);
    struct gr_shape out = gr_plan_output_shape(plan, 0);
    int64_t inputs = n * gr_shape_size(net->input), outputs = n * gr_shape_size(out), count = 0;
    float *input = malloc((size_t)inputs * sizeof(float)), *weights = malloc((size_t)outputs * sizeof(float));
    float *gradient = malloc((size_t)inputs * sizeof(float));
    struct slope s = {net, plan, n, outputs, weights};
    to_inside(n, net->input, input_outside, input);
    to_inside(n, out, weights_outside, weights);
    loss_at(&s, input);
    memcpy(gr_plan_output_gradient(plan, 0), weights, (size_t)outputs * sizeof(float));
    assert_ok(gr_plan_backward(plan));
    memcpy(gradient, gr_plan_input_gradient(plan), (size_t)inputs * sizeof(float));
    check(&s, name, "the input", input, input, NULL, inputs, gradient, random);
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_param *param = &net->layers[i]->params[p];
            const float *own = gr_plan_gradient(plan, param); /* forward passes leave it alone */
            count = gr_tensor_count(&param->tensor);
            if (own)
                check(&s, name, param->name, input, gr_tensor_floats(&param->tensor), param, count, own,
                      random);
        }
    gr_plan_free(plan);
    free(input);
    free(weights);
    free(gradient);
}

static void test_cases(void **state) {
    struct gr_random random = gr_random(7, GR_RANDOM_TENSOR, 0, 0, 0);
    struct cases cases;
    const cJSON *one;
    int64_t count;
    (void)state;
    cases_open(&cases);
    cJSON_ArrayForEach(one, cases.list) {
        struct gr_network *net = case_network(&cases, one);
        check_network(net, case_name(one), case_n(one), case_tensor(&cases, one, "input", &count),
                      case_tensor(&cases, one, "grad_output", &count), &random);
        gr_network_free(net);
    }
    cases_close(&cases);
    assert_int_equal(gr_memory().blocks, 0);
}

/* With a fixed stream the mask of dropout is a constant. */
static void test_dropout(void **state) {
    struct gr_random random = gr_random(8, GR_RANDOM_TENSOR, 0, 0, 0);
    float input[2 * 6 * 4 * 4], weights[2 * 5 * 4 * 4];
    struct gr_network *net;
    struct gr_layer *at;
    (void)state;
    cJSON *conv = cJSON_Parse("{\"out\":5,\"kernel\":1}"), *drop = cJSON_Parse("{\"p\":0.4}");
    assert_ok(gr_network_create(&net, "dropout", (struct gr_shape){6, 4, 4, false}, NULL, 1));
    assert_ok(gr_network_add(net, NULL, "dropout", drop, &net->layers[0], 1, &at));
    assert_ok(gr_network_add(net, "conv", "conv2d", conv, &at, 1, &at));
    assert_ok(gr_network_add(net, NULL, "dropout", drop, &at, 1, &at));
    for (int i = 0; i < 192; i++)
        input[i] = gr_random_normal(&random);
    for (int i = 0; i < 160; i++)
        weights[i] = gr_random_normal(&random);
    check_network(net, "dropout", 2, input, weights, &random);
    gr_network_free(net);
    cJSON_Delete(conv);
    cJSON_Delete(drop);
    assert_int_equal(gr_memory().blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases), cmocka_unit_test(test_dropout)};
    return cmocka_run_group_tests_name("layers by finite differences", tests, NULL, NULL);
}
