/* What layers refuse, and what they say then. Each row: inputs, kind, options as JSON, the status and a part
 * of the message. */
#include "layers/harness.h"

struct refusal {
    const char *kind, *options;
    struct gr_shape in[3];
    int inputs, status;
    const char *message;
};

#define PHOTO(c, h, w)                                                                                       \
    { c, h, w, false }
#define FLAT(c)                                                                                              \
    { c, 1, 1, true }

static const struct refusal refusals[] = {
    {"conv2d",
     "{\"out\":4,\"kernel\":7}",
     {PHOTO(3, 5, 5)},
     1,
     GR_ERROR_SHAPE,
     "kernel 7x7 with padding 0 does not fit a 5x5 input"},
    {"conv2d",
     "{\"out\":4,\"kernel\":3,\"dilation\":4,\"padding\":[0,1,1,0]}",
     {PHOTO(3, 5, 9)},
     1,
     GR_ERROR_SHAPE,
     "kernel 3x3 with padding {0,1,1,0}, dilation 4x4 does not fit a 5x9 input"},
    {"conv2d",
     "{\"out\":4,\"kernel\":3}",
     {FLAT(12)},
     1,
     GR_ERROR_SHAPE,
     "conv2d needs an input with rows and columns, [C,H,W], got the flat [12]"},
    {"conv2d",
     "{\"out\":4,\"kernel\":1,\"groups\":3}",
     {PHOTO(4, 5, 5)},
     1,
     GR_ERROR_SHAPE,
     "groups = 3 must divide the channels of the input [4,5,5] and out = 4"},
    {"conv2d", "{\"out\":4,\"kernel\":1,\"groups\":2}", {PHOTO(5, 5, 5)}, 1, GR_ERROR_SHAPE, "groups = 2"},
    {"conv2d", "{\"out\":4,\"kernel\":0}", {PHOTO(4, 5, 5)}, 1, GR_ERROR_OPTION, "\"kernel\""},
    {"conv2d", "{\"out\":4,\"kernel\":3,\"stride\":0}", {PHOTO(4, 5, 5)}, 1, GR_ERROR_OPTION, "\"stride\""},
    {"conv2d",
     "{\"out\":4,\"kernel\":3,\"padding\":-1}",
     {PHOTO(4, 5, 5)},
     1,
     GR_ERROR_OPTION,
     "\"padding\""},
    {"conv2d", "{\"out\":4,\"kernel\":3,\"groups\":0}", {PHOTO(4, 5, 5)}, 1, GR_ERROR_OPTION, "\"groups\""},
    {"conv2d", "{\"out\":0,\"kernel\":3}", {PHOTO(4, 5, 5)}, 1, GR_ERROR_OPTION, "\"out\""},
    {"conv2d", "{\"kernel\":3}", {PHOTO(4, 5, 5)}, 1, GR_ERROR_OPTION, "out"},
    {"conv2d",
     "{\"out\":16777216,\"kernel\":1,\"padding\":100}",
     {PHOTO(4, 5, 5)},
     1,
     GR_ERROR_LIMIT,
     "2^31"},
    {"conv2d",
     "{\"out\":1,\"kernel\":16384,\"padding\":16384}",
     {PHOTO(1000, 5, 5)},
     1,
     GR_ERROR_LIMIT,
     "kernel over 1000 channels is too large"},
    {"linear",
     "{\"out\":4}",
     {PHOTO(8, 2, 2)},
     1,
     GR_ERROR_SHAPE,
     "linear needs a flat input such as [512], got [8,2,2]; put flatten or global_avg_pool before it"},
    {"linear", "{\"out\":\"four\"}", {FLAT(8)}, 1, GR_ERROR_OPTION, "\"out\""},
    {"linear", "{\"outs\":4}", {FLAT(8)}, 1, GR_ERROR_OPTION, "outs"},
    {"batch_norm", "{\"eps\":-1}", {PHOTO(8, 2, 2)}, 1, GR_ERROR_OPTION, "\"eps\""},
    {"batch_norm", "{\"momentum\":2}", {PHOTO(8, 2, 2)}, 1, GR_ERROR_OPTION, "\"momentum\""},
    {"group_norm",
     "{\"groups\":3}",
     {PHOTO(8, 2, 2)},
     1,
     GR_ERROR_SHAPE,
     "groups = 3 must divide the channels of the input [8,2,2]"},
    {"relu", "{\"slope\":1}", {PHOTO(8, 2, 2)}, 1, GR_ERROR_OPTION, "slope"},
    {"leaky_relu", "{\"slope\":-1}", {PHOTO(8, 2, 2)}, 1, GR_ERROR_OPTION, "\"slope\""},
    {"max_pool",
     "{\"kernel\":16}",
     {PHOTO(8, 20, 20)},
     1,
     GR_ERROR_SHAPE,
     "kernel 16x16 is too large: a max_pool window may have up to 255 pixels"},
    {"max_pool",
     "{\"kernel\":3}",
     {PHOTO(8, 2, 5)},
     1,
     GR_ERROR_SHAPE,
     "kernel 3x3 with padding 0 does not fit a 2x5 input"},
    {"max_pool",
     "{\"kernel\":2,\"padding\":2}",
     {PHOTO(8, 5, 5)},
     1,
     GR_ERROR_SHAPE,
     "padding {2,2,2,2} must be smaller than the kernel 2x2"},
    {"max_pool",
     "{\"kernel\":2}",
     {FLAT(8)},
     1,
     GR_ERROR_SHAPE,
     "max_pool needs an input with rows and columns"},
    {"avg_pool",
     "{\"kernel\":[4,2],\"padding\":[0,1]}",
     {PHOTO(8, 3, 5)},
     1,
     GR_ERROR_SHAPE,
     "kernel 4x2 with padding {0,0,1,1} does not fit a 3x5 input"},
    {"avg_pool",
     "{\"kernel\":2}",
     {FLAT(8)},
     1,
     GR_ERROR_SHAPE,
     "avg_pool needs an input with rows and columns"},
    {"global_avg_pool",
     NULL,
     {FLAT(8)},
     1,
     GR_ERROR_SHAPE,
     "global_avg_pool needs an input with rows and columns"},
    {"global_max_pool",
     NULL,
     {FLAT(8)},
     1,
     GR_ERROR_SHAPE,
     "global_max_pool needs an input with rows and columns"},
    {"adaptive_avg_pool", "{\"size\":7}", {FLAT(8)}, 1, GR_ERROR_SHAPE, "adaptive_avg_pool needs an input"},
    {"adaptive_avg_pool", "{\"size\":0}", {PHOTO(8, 5, 5)}, 1, GR_ERROR_OPTION, "\"size\""},
    {"add",
     NULL,
     {PHOTO(8, 5, 5), PHOTO(8, 5, 4)},
     2,
     GR_ERROR_SHAPE,
     "add needs two inputs of one shape, got [8,5,5] and [8,5,4]"},
    {"add", NULL, {PHOTO(8, 1, 1), FLAT(8)}, 2, GR_ERROR_SHAPE, "got [8,1,1] and [8]"},
    {"add", NULL, {PHOTO(8, 5, 5)}, 1, GR_ERROR_SHAPE, "inputs"},
    {"multiply",
     NULL,
     {PHOTO(8, 5, 5), PHOTO(4, 1, 1)},
     2,
     GR_ERROR_SHAPE,
     "multiply needs two inputs of one shape, or one with a factor for each channel, got [8,5,5] and "
     "[4,1,1]"},
    {"multiply", NULL, {PHOTO(8, 5, 5), PHOTO(8, 1, 5)}, 2, GR_ERROR_SHAPE, "got [8,5,5] and [8,1,5]"},
    {"concat",
     NULL,
     {PHOTO(8, 5, 5), PHOTO(2, 5, 5), PHOTO(8, 4, 5)},
     3,
     GR_ERROR_SHAPE,
     "concat needs inputs of one height and width, got [8,5,5] and [8,4,5] (input 3)"},
    {"concat", NULL, {FLAT(8), PHOTO(8, 1, 1)}, 2, GR_ERROR_SHAPE, "got [8] and [8,1,1] (input 2)"},
    {"dropout", "{\"p\":1}", {FLAT(8)}, 1, GR_ERROR_OPTION, "\"p\""},
    {"convd2", "{}", {PHOTO(8, 5, 5)}, 1, GR_ERROR_NAME, "no layer kind \"convd2\"; nearest: \"conv2d\""},
    {"custom",
     "{\"kind\":\"nowhere\"}",
     {FLAT(8)},
     1,
     GR_ERROR_NAME,
     "no custom layer kind \"nowhere\" is registered"},
    {"custom", "{}", {FLAT(8)}, 1, GR_ERROR_OPTION, "kind"},
};

/* A layer of the wanted shape, made from an input of any. */
static struct gr_layer *shaped(struct gr_network *net, struct gr_shape shape) {
    char conv[96];
    struct gr_layer *at;
    snprintf(conv, sizeof conv, "{\"out\":%d,\"kernel\":1}", shape.c);
    cJSON *options = cJSON_Parse(conv), *pool = cJSON_CreateObject();
    assert_ok(gr_network_add(net, NULL, "conv2d", options, &net->layers[0], 1, &at));
    if (shape.flat) {
        assert_ok(gr_network_add(net, NULL, "global_avg_pool", pool, &at, 1, &at));
    } else {
        cJSON *size = cJSON_AddArrayToObject(pool, "size");
        cJSON_AddItemToArray(size, cJSON_CreateNumber(shape.h));
        cJSON_AddItemToArray(size, cJSON_CreateNumber(shape.w));
        assert_ok(gr_network_add(net, NULL, "adaptive_avg_pool", pool, &at, 1, &at));
    }
    cJSON_Delete(options);
    cJSON_Delete(pool);
    assert_memory_equal(&at->shape.c, &shape.c, 3 * sizeof(int));
    return at;
}

static void test_refusals(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        struct gr_network *net;
        struct gr_layer *inputs[3], *out;
        cJSON *options = r->options ? cJSON_Parse(r->options) : NULL;
        assert_ok(gr_network_create(&net, "refusals", (struct gr_shape){2, 6, 6, false}, NULL, 1));
        for (int j = 0; j < r->inputs; j++)
            inputs[j] = shaped(net, r->in[j]);
        int status = gr_network_add(net, "bad", r->kind, options, inputs, r->inputs, &out);
        if (status != r->status || !strstr(gr_error()->message, r->message))
            fail_msg("%s %s: status %d, message: %s", r->kind, r->options ? r->options : "", status,
                     gr_error()->message);
        if (!strstr(gr_error()->message, "\"bad\""))
            fail_msg("the message does not name the layer: %s", gr_error()->message);
        gr_network_free(net);
        cJSON_Delete(options);
        assert_int_equal(gr_memory().blocks, 0);
    }
}

/* A layer that has parameters refuses inputs that these do not fit. */
static void test_parameters_that_do_not_fit(void **state) {
    static const struct {
        const char *kind, *options, *message;
        struct gr_shape made, asked;
    } rows[] = {
        {"conv2d", "{\"out\":4,\"kernel\":3}",
         "its weight [4,6,3,3] is for 6 channels, got the input [8,6,6]", PHOTO(6, 6, 6), PHOTO(8, 6, 6)},
        {"conv2d", "{\"out\":4,\"kernel\":1,\"groups\":2}",
         "its weight [4,3,1,1] is for 6 channels, got the input [8,6,6]", PHOTO(6, 6, 6), PHOTO(8, 6, 6)},
        {"linear", "{\"out\":4}", "its weight [4,6] is for 6 features, got the input [9]", FLAT(6), FLAT(9)},
        {"batch_norm", "{}", "its running_mean is for 6 channels, got the input [9]", FLAT(6), FLAT(9)},
        {"group_norm", "{\"groups\":2}", "its weight is for 6 channels, got the input [8,2,2]",
         PHOTO(6, 2, 2), PHOTO(8, 2, 2)},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gr_network *net;
        struct gr_layer *input, *layer;
        struct gr_shape out;
        cJSON *options = cJSON_Parse(rows[i].options);
        assert_ok(gr_network_create(&net, "fit", (struct gr_shape){2, 6, 6, false}, NULL, 1));
        input = shaped(net, rows[i].made);
        assert_ok(gr_network_add(net, "layer", rows[i].kind, options, &input, 1, &layer));
        assert_ok(layer->kind->shape(layer, &rows[i].made, &out));
        assert_int_equal(layer->kind->shape(layer, &rows[i].asked, &out), GR_ERROR_SHAPE);
        assert_string_equal(gr_error()->message, rows[i].message);
        gr_network_free(net);
        cJSON_Delete(options);
    }
}

/* Windows at the edges of what is allowed. */
static void test_output_sizes(void **state) {
    static const struct {
        const char *kind, *options;
        int size, expected;
    } rows[] = {
        {"conv2d", "{\"out\":1,\"kernel\":3,\"stride\":2,\"padding\":1}", 224, 112},
        {"conv2d", "{\"out\":1,\"kernel\":7,\"stride\":2,\"padding\":3}", 224, 112},
        {"conv2d", "{\"out\":1,\"kernel\":3,\"stride\":2,\"padding\":\"same\"}", 225, 113},
        {"conv2d", "{\"out\":1,\"kernel\":3,\"stride\":2,\"padding\":\"same\"}", 224, 112},
        {"conv2d", "{\"out\":1,\"kernel\":1,\"stride\":4}", 9, 3},
        {"conv2d", "{\"out\":1,\"kernel\":3,\"dilation\":2}", 9, 5},
        {"conv2d", "{\"out\":1,\"kernel\":9}", 9, 1},
        {"max_pool", "{\"kernel\":3,\"stride\":2}", 13, 6},
        {"max_pool", "{\"kernel\":3,\"stride\":2}", 14, 6},
        {"max_pool", "{\"kernel\":3,\"stride\":2,\"ceil\":true}", 14, 7},
        {"max_pool", "{\"kernel\":2,\"stride\":2,\"padding\":1,\"ceil\":true}", 3, 2},
        {"max_pool", "{\"kernel\":2,\"stride\":2,\"ceil\":true}", 1, 1},
        {"max_pool", "{\"kernel\":2,\"stride\":2,\"ceil\":true}", 3, 2},
        {"max_pool", "{\"kernel\":2,\"stride\":4,\"ceil\":true}", 8, 2},
        {"avg_pool", "{\"kernel\":3}", 8, 2},
        {"avg_pool", "{\"kernel\":3,\"padding\":\"same\"}", 8, 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gr_network *net;
        struct gr_layer *layer;
        cJSON *options = cJSON_Parse(rows[i].options);
        struct gr_shape input = {1, rows[i].size, rows[i].size, false};
        assert_ok(gr_network_create(&net, "sizes", input, NULL, 1));
        assert_ok(gr_network_add(net, NULL, rows[i].kind, options, &net->layers[0], 1, &layer));
        if (layer->shape.h != rows[i].expected || layer->shape.w != rows[i].expected)
            fail_msg("%s %s of %d pixels: expected %d, got %d", rows[i].kind, rows[i].options, rows[i].size,
                     rows[i].expected, layer->shape.h);
        gr_network_free(net);
        cJSON_Delete(options);
    }
}

/* Batch statistics of one value do not exist. */
static void test_batch_norm_of_one_value(void **state) {
    struct gr_network *net;
    struct gr_layer *layer;
    (void)state;
    assert_ok(gr_network_create(&net, "one", (struct gr_shape){3, 1, 1, true}, NULL, 1));
    assert_ok(gr_network_add(net, NULL, "batch_norm", NULL, &net->layers[0], 1, &layer));
    struct gr_plan *plan = plan_for(net, 2, true, false);
    memset(gr_plan_input(plan), 0, 6 * sizeof(float));
    assert_int_equal(gr_plan_forward(plan, 1, NULL), GR_ERROR_DATA);
    assert_non_null(strstr(gr_error()->message, "batch statistics need more than one value a channel"));
    assert_int_equal(gr_tensor_integers(&gr_layer_param(layer, "num_batches_tracked")->tensor)[0], 0);
    assert_ok(gr_plan_forward(plan, 2, NULL));
    gr_plan_free(plan);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_parameters_that_do_not_fit),
        cmocka_unit_test(test_output_sizes),
        cmocka_unit_test(test_batch_norm_of_one_value),
    };
    return cmocka_run_group_tests_name("shapes of layers", tests, NULL, NULL);
}
