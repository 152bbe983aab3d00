/* What dropout does: the share of zeroes, the scale, the random stream, and nothing when not training or
 * frozen. */
#include "layers/harness.h"

enum { CHANNELS = 16, SIDE = 25, PHOTOS = 4, COUNT = CHANNELS * SIDE * SIDE * PHOTOS };

struct fixture {
    struct gr_network *net;
    float *input, *first, *second;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct gr_layer *layer;
    cJSON *options = cJSON_Parse("{\"p\":0.3}");
    assert_ok(gr_network_create(&f->net, "dropout", (struct gr_shape){CHANNELS, SIDE, SIDE, false}, NULL, 1));
    assert_ok(gr_network_add(f->net, NULL, "dropout", options, &f->net->layers[0], 1, &layer));
    cJSON_Delete(options);
    f->input = malloc(COUNT * sizeof(float));
    f->first = malloc(COUNT * sizeof(float));
    f->second = malloc(COUNT * sizeof(float));
    for (int i = 0; i < COUNT; i++)
        f->input[i] = 1.0f + (float)(i % 97);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    gr_network_free(f->net);
    free(f->input);
    free(f->first);
    free(f->second);
    free(f);
    return gr_memory().blocks != 0;
}

static void forward(struct fixture *f, bool training, const struct gr_stream *stream, float *out) {
    struct gr_plan *plan = plan_for(f->net, PHOTOS, training, false);
    memcpy(gr_plan_input(plan), f->input, COUNT * sizeof(float));
    assert_ok(gr_plan_forward(plan, PHOTOS, stream));
    memcpy(out, gr_plan_output(plan, 0), COUNT * sizeof(float));
    gr_plan_free(plan);
}

static void test_share_and_scale(void **state) {
    struct fixture *f = *state;
    int zeroes = 0, pairs = 0;
    forward(f, true, &(struct gr_stream){3, 1, 5}, f->first);
    for (int i = 0; i < COUNT; i++) {
        if (f->first[i] == 0)
            zeroes++;
        else
            assert_true(fabsf(f->first[i] - f->input[i] / 0.7f) < 1e-4f * f->input[i]);
        pairs += i && f->first[i] == 0 && f->first[i - 1] == 0;
    }
    double deviation = sqrt(COUNT * 0.3 * 0.7);
    assert_true(fabs(zeroes - 0.3 * COUNT) < 4 * deviation);
    assert_true(fabs(pairs - 0.09 * COUNT) < 6 * deviation); /* neighbours are independent */
}

static int differences(const float *a, const float *b) {
    int count = 0;
    for (int i = 0; i < COUNT; i++)
        count += a[i] != b[i];
    return count;
}

static void test_streams(void **state) {
    struct fixture *f = *state;
    forward(f, true, &(struct gr_stream){3, 1, 5}, f->first);
    forward(f, true, &(struct gr_stream){3, 1, 5}, f->second);
    assert_int_equal(differences(f->first, f->second), 0);
    forward(f, true, &(struct gr_stream){3, 1, 6}, f->second);
    assert_true(differences(f->first, f->second) > COUNT / 4);
    forward(f, true, &(struct gr_stream){4, 1, 5}, f->second);
    assert_true(differences(f->first, f->second) > COUNT / 4);
}

static void test_nothing_when_not_training(void **state) {
    struct fixture *f = *state;
    forward(f, false, NULL, f->first);
    assert_int_equal(differences(f->first, f->input), 0);
    f->net->layers[1]->frozen = true;
    f->net->version++;
    forward(f, true, NULL, f->first);
    assert_int_equal(differences(f->first, f->input), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_share_and_scale, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_when_not_training, setup, teardown),
    };
    return cmocka_run_group_tests_name("dropout", tests, NULL, NULL);
}
