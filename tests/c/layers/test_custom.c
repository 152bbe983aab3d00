/* Layers whose functions belong to the embedding program. The kind here is y[i] = gain[i] * x[i]^2 * factor,
 * where i counts in [C,H,W] order: a wrong order of values shows. */
#include "layers/harness.h"

#include "layers/custom.h"

struct calls {
    int forward, backward, status;
    const void *use;
};

static double factor_of(const cJSON *options) {
    const cJSON *factor = options ? cJSON_GetObjectItem(options, "factor") : NULL;
    return factor ? factor->valuedouble : 1;
}

static int square_shape(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                        struct gr_shape *out) {
    (void)payload, (void)options;
    if (inputs != 1)
        return gr_fail(GR_ERROR_SHAPE, "square takes one input, got %d", inputs);
    *out = in[0];
    return GR_OK;
}

static int square_parameters(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                             struct gr_param_spec *out) {
    (void)payload, (void)options, (void)inputs;
    out[0] = (struct gr_param_spec){
        .role = "gain", .rank = 3, .shape = {in->c, in->h, in->w}, .decays = true, .init = GR_INIT_ONES};
    return 1;
}

static int square_forward(void *payload, const struct gr_custom_pass *pass) {
    struct calls *calls = payload;
    int64_t size = gr_shape_size(pass->out);
    calls->forward++;
    calls->use = pass->use;
    if (calls->status)
        return gr_fail(calls->status, "the callback failed");
    for (int64_t i = 0; i < pass->n * size; i++)
        pass->y[i] =
            (float)(factor_of(pass->options) * pass->params[0][i % size] * pass->x[0][i] * pass->x[0][i]);
    return GR_OK;
}

static int square_backward(void *payload, const struct gr_custom_pass *pass) {
    struct calls *calls = payload;
    int64_t size = gr_shape_size(pass->out);
    double factor = factor_of(pass->options);
    calls->backward++;
    assert_ptr_equal(calls->use, pass->use);
    for (int64_t i = 0; pass->gp[0] && i < size; i++) {
        double sum = 0;
        for (int n = 0; n < pass->n; n++)
            sum += pass->gy[n * size + i] * factor * pass->x[0][n * size + i] * pass->x[0][n * size + i];
        pass->gp[0][i] = (float)sum;
    }
    for (int64_t i = 0; pass->gx[0] && i < pass->n * size; i++)
        pass->gx[0][i] = (float)(2 * factor * pass->params[0][i % size] * pass->x[0][i] * pass->gy[i]);
    return GR_OK;
}

static struct calls calls;
static const struct gr_custom_kind square = {"square",          &calls,         true,           square_shape,
                                             square_parameters, square_forward, square_backward};
enum { C = 3, H = 2, W = 4, N = 2, SIZE = C * H * W };

/* input -> custom, and input -> add(custom, input) when `twice`: the input's gradient is then a sum. */
static struct gr_network *network(const char *options_text, bool twice) {
    struct gr_network *net;
    struct gr_layer *layer;
    cJSON *options = cJSON_Parse(options_text);
    assert_ok(gr_network_create(&net, "custom", (struct gr_shape){C, H, W, false}, NULL, 1));
    assert_ok(gr_network_add(net, "s", "custom", options, &net->layers[0], 1, &layer));
    if (twice)
        assert_ok(
            gr_network_add(net, NULL, "add", NULL, (struct gr_layer *[]){layer, net->layers[0]}, 2, &layer));
    cJSON_Delete(options);
    return net;
}

static void check_pass(bool twice, bool reference) {
    struct gr_network *net = network("{\"kind\":\"square\",\"options\":{\"factor\":3}}", twice);
    struct gr_param *gain = gr_network_param(net, "s.gain");
    struct gr_plan *plan = plan_for(net, N, true, reference);
    float x[N * SIZE], gy[N * SIZE], y[N * SIZE], gx[N * SIZE];
    for (int i = 0; i < N * SIZE; i++) {
        x[i] = (float)(i - 20) / 8;
        gy[i] = (float)(i % 7 - 3);
    }
    for (int i = 0; i < SIZE; i++)
        gr_tensor_floats(&gain->tensor)[i] = (float)(i + 1);
    gr_param_touch(gain);
    to_inside(N, net->input, x, gr_plan_input(plan));
    assert_ok(gr_plan_forward(plan, N, NULL));
    to_outside(N, net->input, gr_plan_output(plan, 0), y);
    to_inside(N, net->input, gy, gr_plan_output_gradient(plan, 0));
    assert_ok(gr_plan_backward(plan));
    to_outside(N, net->input, gr_plan_input_gradient(plan), gx);
    for (int i = 0; i < N * SIZE; i++) {
        float g = (float)(i % SIZE + 1);
        assert_float_equal(y[i], 3 * g * x[i] * x[i] + (twice ? x[i] : 0), 1e-3);
        assert_float_equal(gx[i], 6 * g * x[i] * gy[i] + (twice ? gy[i] : 0), 1e-3);
    }
    for (int i = 0; i < SIZE; i++)
        assert_float_equal(gr_plan_gradient(plan, gain)[i],
                           3 * (x[i] * x[i] * gy[i] + x[SIZE + i] * x[SIZE + i] * gy[SIZE + i]), 1e-3);
    gr_plan_free(plan);
    gr_network_free(net);
}

static void test_passes(void **state) {
    (void)state;
    assert_ok(gr_custom_register(&square));
    for (int i = 0; i < 4; i++)
        check_pass(i & 1, i & 2);
    assert_ok(gr_custom_unregister("square"));
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_copies_and_descriptions(void **state) {
    struct gr_network *copy, *rebuilt;
    (void)state;
    assert_ok(gr_custom_register(&square));
    struct gr_network *net = network("{\"kind\":\"square\",\"options\":{\"factor\":3}}", true);
    cJSON *description = gr_network_describe(net);
    assert_ok(gr_network_clone(&copy, net));
    assert_ok(gr_network_build(&rebuilt, description, 1));
    gr_network_free(net);
    assert_non_null(gr_network_param(copy, "s.gain"));
    assert_string_equal(gr_network_param(copy, "s.gain")->role, "gain");
    assert_int_equal(gr_tensor_count(&gr_network_param(rebuilt, "s.gain")->tensor), SIZE);
    gr_network_free(copy);
    gr_network_free(rebuilt);
    assert_ok(gr_custom_unregister("square"));
    assert_int_equal(gr_network_build(&rebuilt, description, 1), GR_ERROR_NAME);
    assert_non_null(strstr(gr_error()->message, "no custom layer kind \"square\" is registered"));
    cJSON_Delete(description);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_failing_callback(void **state) {
    (void)state;
    assert_ok(gr_custom_register(&square));
    struct gr_network *net = network("{\"kind\":\"square\"}", false);
    struct gr_plan *plan = plan_for(net, N, true, false);
    memset(gr_plan_input(plan), 0, N * SIZE * sizeof(float));
    calls.status = GR_ERROR_USER;
    assert_int_equal(gr_plan_forward(plan, N, NULL), GR_ERROR_USER);
    assert_non_null(strstr(gr_error()->message, "the callback failed"));
    calls.status = GR_OK;
    assert_ok(gr_custom_unregister("square"));
    assert_int_equal(gr_plan_forward(plan, N, NULL), GR_ERROR_NAME);
    gr_plan_free(plan);
    gr_network_free(net);
}

static void test_registry(void **state) {
    struct gr_custom_kind kind = square, found;
    (void)state;
    kind.forward = NULL;
    assert_int_equal(gr_custom_register(&kind), GR_ERROR_OPTION);
    assert_int_equal(gr_custom_unregister("square"), GR_ERROR_NAME);
    assert_ok(gr_custom_register(&square));
    assert_int_equal(gr_custom_find("squares", &found), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "square");
    kind = square;
    kind.pure = false;
    assert_ok(gr_custom_register(&kind)); /* replaces */
    struct gr_network *net = network("{\"kind\":\"square\"}", true);
    assert_ok(gr_custom_find("square", &found));
    assert_false(found.pure);
    assert_false(gr_custom_pure(net->layers[1]));
    assert_true(gr_custom_pure(net->layers[2]));
    assert_ok(gr_custom_register(&square));
    assert_true(gr_custom_pure(net->layers[1]));
    gr_network_free(net);
    assert_ok(gr_custom_unregister("square"));
    gr_memory_fail(1, false);
    assert_int_equal(gr_custom_register(&square), GR_ERROR_MEMORY);
    gr_memory_fail(0, false);
    assert_int_equal(gr_memory().blocks, 0);
}

/* Without a backward function the layer works, but nothing can learn through it. */
static void test_no_backward(void **state) {
    struct gr_custom_kind kind = square;
    (void)state;
    kind.backward = NULL;
    assert_ok(gr_custom_register(&kind));
    struct gr_network *net = network("{\"kind\":\"square\"}", false);
    struct gr_plan *plan = plan_for(net, N, true, false);
    memset(gr_plan_input(plan), 0, N * SIZE * sizeof(float));
    assert_ok(gr_plan_forward(plan, N, NULL));
    memset(gr_plan_output_gradient(plan, 0), 0, N * SIZE * sizeof(float));
    assert_int_equal(gr_plan_backward(plan), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "\"square\" has no backward function"));
    gr_plan_free(plan);
    gr_network_free(net);
    assert_ok(gr_custom_unregister("square"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),           cmocka_unit_test(test_copies_and_descriptions),
        cmocka_unit_test(test_failing_callback), cmocka_unit_test(test_registry),
        cmocka_unit_test(test_no_backward),
    };
    return cmocka_run_group_tests_name("custom layers", tests, NULL, NULL);
}
