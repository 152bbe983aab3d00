/* Plans that take exact kernels only: other kernels, nearly the same numbers, nearer to the definition. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/random.h"
#include "base/status.h"
#include "plan/plan.h"

enum { N = 2, SIDE = 24, CHANNELS = 64, FLOATS = N * SIDE * SIDE * CHANNELS };

static struct gr_network *make_network(void) {
    struct gr_network *net = NULL;
    struct gr_layer *layer = NULL;
    cJSON *options = cJSON_Parse("{\"out\":64,\"kernel\":3,\"padding\":1,\"bias\":false}");
    if (gr_network_create(&net, "one", (struct gr_shape){CHANNELS, SIDE, SIDE, false}, NULL, 7))
        fail_msg("%s", gr_error()->message);
    struct gr_layer *input = net->layers[0];
    if (gr_network_add(net, "conv", "conv2d", options, &input, 1, &layer))
        fail_msg("%s", gr_error()->message);
    cJSON_Delete(options);
    return net;
}

static void fill(float *x) {
    struct gr_random random = gr_random(5, GR_RANDOM_TENSOR, 0, 0, 0);
    for (int i = 0; i < FLOATS; i++)
        x[i] = gr_random_normal(&random);
}

/* The definition, in double. */
static void convolve(const float *x, const float *w, double *y) {
    for (int i = 0; i < FLOATS; i++) {
        int k = i % CHANNELS, column = i / CHANNELS % SIDE, row = i / CHANNELS / SIDE % SIDE;
        int photo = i / CHANNELS / SIDE / SIDE;
        double sum = 0;
        for (int tap = 0; tap < 9; tap++) {
            int r = row + tap / 3 - 1, s = column + tap % 3 - 1;
            if (r < 0 || r >= SIDE || s < 0 || s >= SIDE)
                continue;
            const float *pixel = x + ((photo * SIDE + r) * SIDE + s) * CHANNELS;
            for (int c = 0; c < CHANNELS; c++)
                sum += (double)pixel[c] * w[(k * CHANNELS + c) * 9 + tap];
        }
        y[i] = sum;
    }
}

static double distance(const float *a, const double *b) {
    double difference = 0, norm = 0;
    for (int i = 0; i < FLOATS; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* Runs the network's one convolution; returns its kernel and the distance from the definition. */
static const char *run(struct gr_network *net, bool exact, float *out, double *error) {
    static double oracle[FLOATS];
    static float x[FLOATS];
    struct gr_layer *wanted = gr_network_layer(net, "conv");
    struct gr_plan_request request = {
        .capacity = N, .input = net->input, .outputs = &wanted, .output_count = 1, .exact = exact};
    struct gr_plan *plan = NULL;
    struct gr_step_profile step;
    if (gr_plan_create(&plan, net, &request))
        fail_msg("%s", gr_error()->message);
    fill(x);
    memcpy(gr_plan_input(plan), x, sizeof x);
    assert_int_equal(gr_plan_forward(plan, N, NULL), GR_OK);
    convolve(x, gr_tensor_floats(&wanted->params[0].tensor), oracle);
    *error = distance(gr_plan_output(plan, 0), oracle);
    memcpy(out, gr_plan_output(plan, 0), FLOATS * sizeof *out);
    assert_true(gr_plan_step_profile(plan, 0, &step));
    gr_plan_free(plan);
    return step.kernel;
}

static void exact_kernels_are_nearer_to_the_definition(void **state) {
    static float fast[FLOATS], exact[FLOATS];
    struct gr_network *net = make_network();
    double fast_error, exact_error, difference = 0, norm = 0;
    (void)state;
    assert_string_equal(run(net, false, fast, &fast_error), "winograd");
    assert_string_equal(run(net, true, exact, &exact_error), "segment");
    for (int i = 0; i < FLOATS; i++) {
        difference += ((double)fast[i] - exact[i]) * ((double)fast[i] - exact[i]);
        norm += (double)exact[i] * exact[i];
    }
    assert_true(difference > 0 && sqrt(difference / norm) < 1e-5);
    assert_true(exact_error < fast_error && fast_error < 1e-5 && exact_error < 1e-6);
    gr_network_free(net);
}

/* The network asks for all plans that are made of it, and of its copies. */
static void the_network_can_ask_for_them(void **state) {
    static float y[FLOATS];
    struct gr_network *net = make_network(), *clone = NULL;
    double error;
    (void)state;
    net->exact = true;
    assert_string_equal(run(net, false, y, &error), "segment");
    net->output = gr_network_layer(net, "conv");
    assert_int_equal(gr_network_clone(&clone, net), GR_OK);
    assert_string_equal(run(clone, false, y, &error), "segment");
    gr_network_free(clone);
    gr_network_free(net);
}

static const char *text_of(const cJSON *row, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(row, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static void the_plan_says_why_it_took_a_kernel(void **state) {
    struct gr_network *net = make_network();
    struct gr_layer *wanted = gr_network_layer(net, "conv");
    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        struct gr_plan_request request = {
            .capacity = N, .input = net->input, .outputs = &wanted, .output_count = 1, .exact = exact};
        struct gr_plan *plan = NULL;
        assert_int_equal(gr_plan_create(&plan, net, &request), GR_OK);
        cJSON *rows = gr_plan_explain(plan);
        const cJSON *row = cJSON_GetArrayItem(rows, 0);
        const cJSON *candidates = cJSON_GetObjectItemCaseSensitive(row, "candidates");
        const char *why = text_of(row, "why");
        assert_int_equal(cJSON_GetArraySize(candidates), exact ? 1 : 2);
        assert_string_equal(text_of(cJSON_GetArrayItem(candidates, 0), "kernel"), text_of(row, "kernel"));
        assert_true(strncmp(why, text_of(row, "kernel"), strlen(text_of(row, "kernel"))) == 0);
        assert_non_null(strstr(why, exact ? "the only exact kernel" : "segment"));
        cJSON_Delete(rows);
        gr_plan_free(plan);
    }
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_kernels_are_nearer_to_the_definition),
        cmocka_unit_test(the_network_can_ask_for_them),
        cmocka_unit_test(the_plan_says_why_it_took_a_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
