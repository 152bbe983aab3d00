/* Evaluation on logits that are known, since the network passes its input on. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "small_network.h"
#include "train/evaluate.h"
#include "train/reference.h"

#include <math.h>

/* Logits = the k numbers of the "photo" [k,1,1]. */
static struct gr_network *identity(int k, const char *const *classes) {
    struct gr_network *net;
    char options[64];
    WORKS(gr_network_create(&net, "identity", (struct gr_shape){k, 1, 1, false}, NULL, 1));
    snprintf(options, sizeof options, "{\"out\":%d,\"bias\":false}", k);
    struct gr_layer *x = small_add(net, NULL, "flatten", NULL, net->layers[0], NULL);
    x = small_add(net, "fc", "linear", options, x, NULL);
    WORKS(gr_network_finish(net, x, "fc", NULL, 0));
    WORKS(gr_network_set_classes(net, classes, k));
    struct gr_param *weight = gr_network_param(net, "fc.weight");
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            gr_tensor_floats(&weight->tensor)[i * k + j] = i == j;
    gr_param_touch(weight);
    return net;
}

/* Batches of at most two photos out of arrays. */
struct source {
    const float *x, *y;
    int k, left, done;
    struct gr_batch batch;
};

static int next(void *from, const struct gr_batch **batch) {
    struct source *s = from;
    int n = s->left < 2 ? s->left : 2;
    s->batch = (struct gr_batch){.n = n, .x = s->x + s->done * s->k, .y = s->y + s->done * s->k};
    s->done += n;
    s->left -= n;
    *batch = n ? &s->batch : NULL;
    return 0;
}

static const char *const abc[] = {"a", "b", "c"};

static void test_single(void **state) {
    static const float x[] = {5, 1, 0, 0, 3, 1, 2, 1, 0, 0, 1, 4, 3, 0, 1};
    static const float y[] = {1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0};
    struct gr_network *net = identity(3, abc);
    struct source source = {.x = x, .y = y, .k = 3, .left = 5};
    struct gr_evaluate_options options = {.batch_size = 2};
    struct gr_loss loss = {.kind = GR_CROSS_ENTROPY};
    struct gr_result r;
    double expected;
    (void)state;
    WORKS(gr_evaluate_batches(&r, net, next, &source, &options));
    WORKS(gr_loss(&loss, 0, 5, 3, x, y, &expected, NULL));
    assert_int_equal(r.count, 5);
    assert_int_equal(r.right, 4);
    assert_true(fabs(r.accuracy - 0.8) < 1e-12 && r.top5 == 1 && fabs(r.loss - expected) < 1e-6);
    static const int64_t confusion[] = {2, 0, 0, 1, 1, 0, 0, 0, 1};
    assert_memory_equal(r.confusion, confusion, sizeof confusion);
    assert_true(fabs(r.classes[0].precision - 2.0 / 3) < 1e-12 && r.classes[0].recall == 1);
    assert_true(r.classes[1].precision == 1 && r.classes[1].recall == 0.5 && r.classes[1].support == 2);
    assert_int_equal(r.head_count, 1);
    cJSON *object = gr_result_describe(&r, net);
    char *text = cJSON_PrintUnformatted(cJSON_GetObjectItem(object, "confusion"));
    assert_string_equal(text, "[[2,0,0],[1,1,0],[0,0,1]]");
    assert_string_equal(
        cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(object, "classes"), 1), "name")
            ->valuestring,
        "b");
    cJSON_free(text);
    cJSON_Delete(object);
    gr_result_clear(&r);
    gr_network_free(net);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_top5(void **state) {
    static const char *const classes[] = {"a", "b", "c", "d", "e", "f", "g"};
    static const float x[] = {7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1};
    static const float y[] = {0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
    struct gr_network *net = identity(7, classes);
    struct source source = {.x = x, .y = y, .k = 7, .left = 3};
    struct gr_result r;
    (void)state;
    WORKS(gr_evaluate_batches(&r, net, next, &source, NULL));
    assert_true(fabs(r.top5 - 1.0 / 3) < 1e-12 && r.accuracy == 0);
    gr_result_clear(&r);
    gr_network_free(net);
}

/* Compared by hand: scikit-learn's average_precision_score and f1_score(average="macro") give the same. */
static void test_multilabel(void **state) {
    static const float x[] = {2, -1, 0.5f, 1, 1, -1, -1, 2, -2, -2, 3, -3};
    static const float y[] = {1, 0, 1, 0, 1, 1, 1, 1, 0, 0, 0, 0};
    struct gr_network *net = identity(3, abc);
    struct source source = {.x = x, .y = y, .k = 3, .left = 4};
    struct gr_result r;
    (void)state;
    net->multilabel = true;
    WORKS(gr_evaluate_batches(&r, net, next, &source, NULL));
    /* a: scores 2 1 -1 -2, given 1 0 1 0: AP = (1 + 2/3) / 2. b: 3 2 1 -1, given 0 1 1 0: AP = (1/2 + 2/3)
     * / 2. c: 0.5 -1 -2 -3, given 1 1 0 0: AP = 1. */
    assert_true(fabs(r.classes[0].average_precision - 5.0 / 6) < 1e-12);
    assert_true(fabs(r.classes[1].average_precision - 7.0 / 12) < 1e-12);
    assert_true(fabs(r.classes[2].average_precision - 1) < 1e-12);
    assert_true(fabs(r.map - (5.0 / 6 + 7.0 / 12 + 1) / 3) < 1e-12);
    /* F1: a 1/2 (one hit, one wrong, one missed), b 4/5, c 2/3. */
    assert_true(fabs(r.f1 - (0.5 + 0.8 + 2.0 / 3) / 3) < 1e-12);
    assert_int_equal(r.right, 8);
    assert_true(fabs(r.accuracy - 8.0 / 12) < 1e-12);
    assert_null(r.confusion);
    gr_result_clear(&r);
    gr_network_free(net);
}

static void test_heads(void **state) {
    struct gr_network *net = small_network(1);
    float x[3 * 16 * 16] = {1, 2, 3}, y[] = {0, 1, 0};
    struct source source = {.x = x, .y = y, .k = 3 * 16 * 16, .left = 1};
    struct gr_evaluate_options options = {.heads = true};
    struct gr_result r;
    char before[65], after[65];
    (void)state;
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.3f}));
    WORKS(gr_network_digest(net, false, before, NULL));
    WORKS(gr_evaluate_batches(&r, net, next, &source, &options));
    WORKS(gr_network_digest(net, false, after, NULL));
    assert_string_equal(before, after);
    assert_int_equal(r.head_count, 2);
    assert_string_equal(r.heads[0].layer, "head");
    assert_string_equal(r.heads[1].layer, "layer1");
    gr_result_clear(&r);
    gr_network_free(net);
}

/* Photos of a data set whose classes are in another order than the network's. */
static void test_set(void **state) {
    static const char *const classes[] = {"y", "x"};
    static const struct gr_data_item items[] = {
        {.image = "tests/fixtures/data/plain.png", .label = "x", .set = GR_VAL},
        {.image = "tests/fixtures/data/grey.png", .label = "y", .set = GR_VAL},
        {.image = "tests/fixtures/data/palette.png", .label = "y", .set = GR_VAL},
        {.image = "tests/fixtures/data/plain.jpg", .label = "x", .set = GR_TRAIN},
        {.image = "tests/fixtures/data/grey.jpg", .label = "y", .set = GR_TRAIN},
    };
    struct gr_network *net = small_network(1);
    struct gr_dataset *data;
    struct gr_result r;
    (void)state;
    WORKS(gr_data_list(&data, items, 5, &GR_DATA_OPTIONS));
    assert_int_equal(gr_evaluate(&r, net, data->sets[GR_VAL], NULL), GR_ERROR_NAME);
    WORKS(gr_network_replace_head(net, classes, 2, NULL));
    WORKS(gr_evaluate(&r, net, data->sets[GR_VAL], NULL));
    assert_int_equal(r.count, 3);
    assert_int_equal(r.classes[0].support, 2);
    assert_int_equal(r.classes[1].support, 1);
    gr_result_clear(&r);
    gr_data_free(data);
    gr_network_free(net);
}

static int stop(void *payload, int64_t done) {
    *(int64_t *)payload = done;
    return gr_fail(GR_ERROR_INTERRUPT, "stopped");
}

static void test_refusals(void **state) {
    static const float x[] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, *y = x;
    struct gr_network *net = identity(3, abc), *cut;
    struct source source = {.x = x, .y = y, .k = 3, .left = 0};
    int64_t done = 0;
    struct gr_evaluate_options options = {.progress = stop, .payload = &done};
    struct gr_result r;
    (void)state;
    assert_int_equal(gr_evaluate_batches(&r, net, next, &source, NULL), GR_ERROR_DATA);
    source.left = 3;
    assert_int_equal(gr_evaluate_batches(&r, net, next, &source, &options), GR_ERROR_INTERRUPT);
    assert_int_equal(done, 2);
    source = (struct source){.x = x, .y = y, .k = 3, .left = 3};
    options = (struct gr_evaluate_options){.batch_size = 1};
    assert_int_equal(gr_evaluate_batches(&r, net, next, &source, &options), GR_ERROR_SHAPE);
    WORKS(gr_network_cut(&cut, net, "flatten_1"));
    assert_int_equal(gr_evaluate_batches(&r, cut, next, &source, NULL), GR_ERROR_DATA);
    gr_network_free(cut);
    gr_network_free(net);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_wilson(void **state) {
    double low, high;
    (void)state;
    gr_wilson(57, 60, &low, &high);
    assert_true(fabs(low - 0.8630) < 5e-4 && fabs(high - 0.9829) < 5e-4);
    gr_wilson(0, 10, &low, &high);
    assert_true(low == 0 && fabs(high - 0.2775) < 5e-4);
    gr_wilson(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

/* ---- against scikit-learn and SciPy (tests/fixtures/make_evaluation.py) ---- */

static void assert_near(double a, double b) {
    if (!(fabs(a - b) < 1e-5))
        fail_msg("%.9g is not %.9g", a, b);
}

static double number_at(const cJSON *object, const char *key, int i) {
    return cJSON_GetArrayItem(reference_get(object, key), i)->valuedouble;
}

static void assert_calibration(const struct gr_calibration *calibration, const cJSON *expected) {
    int64_t count = 0;
    const cJSON *bin;
    assert_near(calibration->error, reference_get(expected, "error")->valuedouble);
    cJSON_ArrayForEach(bin, reference_get(expected, "bins")) {
        const struct gr_calibration_bin *own = &calibration->bins[reference_int(bin, "bin")];
        assert_int_equal(own->count, reference_int(bin, "count"));
        assert_near(own->confidence, reference_get(bin, "confidence")->valuedouble);
        assert_near(own->accuracy, reference_get(bin, "accuracy")->valuedouble);
        count += own->count;
    }
    assert_int_equal(calibration->count, count); /* the other bins are empty */
}

static void test_reference_single(void **state) {
    static const char *const classes[] = {"a", "b", "c", "d"};
    cJSON *cases = reference_read("tests/fixtures/insight/evaluation.json");
    const cJSON *one = reference_get(cases, "single");
    int n = reference_int(one, "n"), k = reference_int(one, "k");
    float *x = reference_floats(one, "logits"), *labels = reference_floats(one, "labels"), y[4 * 256] = {0};
    struct gr_network *net = identity(k, classes);
    struct source source = {.x = x, .y = y, .k = k, .left = n};
    struct gr_evaluate_options options = {.photos = true, .batch_size = 3};
    struct gr_result r;
    (void)state;
    assert_true(k == 4 && n <= 256);
    for (int i = 0; i < n; i++)
        y[i * k + (int)labels[i]] = 1;
    WORKS(gr_evaluate_batches(&r, net, next, &source, &options));
    assert_calibration(&r.calibration, reference_get(one, "calibration"));
    for (int c = 0; c < k; c++) {
        int64_t said = 0, hit = r.confusion[c * k + c];
        double low, high;
        for (int other = 0; other < k; other++) {
            const cJSON *row = cJSON_GetArrayItem(reference_get(one, "confusion"), c);
            assert_int_equal(r.confusion[c * k + other], cJSON_GetArrayItem(row, other)->valueint);
            said += r.confusion[other * k + c];
        }
        assert_near(r.classes[c].precision, number_at(one, "precision", c));
        assert_near(r.classes[c].recall, number_at(one, "recall", c));
        assert_int_equal(r.classes[c].support, (int)number_at(one, "support", c));
        gr_wilson(hit, r.classes[c].support, &low, &high);
        assert_near(low, cJSON_GetArrayItem(reference_get(one, "recall_interval"), c)->child->valuedouble);
        assert_near(high,
                    cJSON_GetArrayItem(reference_get(one, "recall_interval"), c)->child->next->valuedouble);
        gr_wilson(hit, said, &low, &high);
        assert_near(low, cJSON_GetArrayItem(reference_get(one, "precision_interval"), c)->child->valuedouble);
    }
    for (int i = 0; i < n; i++) {
        assert_int_equal(r.photos[i].sample, i);
        assert_int_equal(r.photos[i].label, (int)labels[i]);
        assert_int_equal(r.photos[i].wrong, r.photos[i].guess != r.photos[i].label);
        assert_near((double)r.photos[i].label_p, number_at(one, "label_p", i));
        assert_near((double)r.photos[i].margin, number_at(one, "margin", i));
    }
    gr_result_clear(&r);
    gr_network_free(net);
    free(x);
    free(labels);
    cJSON_Delete(cases);
    assert_int_equal(gr_memory().blocks, 0);
}

static void test_reference_several(void **state) {
    cJSON *cases = reference_read("tests/fixtures/insight/evaluation.json");
    const cJSON *one = reference_get(cases, "several");
    int n = reference_int(one, "n"), k = reference_int(one, "k");
    float *x = reference_floats(one, "logits"), *y = reference_floats(one, "targets");
    struct gr_network *net = identity(k, abc);
    struct source source = {.x = x, .y = y, .k = k, .left = n};
    struct gr_evaluate_options options = {.photos = true, .batch_size = 7};
    struct gr_result r;
    (void)state;
    net->multilabel = true;
    WORKS(gr_evaluate_batches(&r, net, next, &source, &options));
    assert_calibration(&r.calibration, reference_get(one, "calibration"));
    int64_t wrong = 0;
    for (int i = 0; i < n; i++) {
        const struct gr_photo_result *photo = &r.photos[i];
        assert_int_equal(photo->label, (int)number_at(one, "furthest", i));
        assert_int_equal(photo->wrong, (int)number_at(one, "wrong", i));
        assert_int_equal(photo->given, y[i * k + photo->label] > 0.5f);
        assert_near((double)photo->margin, number_at(one, "margin", i));
        wrong += photo->wrong;
    }
    assert_int_equal(r.right, (int64_t)n * k - wrong);
    gr_result_clear(&r);
    gr_network_free(net);
    free(x);
    free(y);
    cJSON_Delete(cases);
    assert_int_equal(gr_memory().blocks, 0);
}

/* The bins are (low, high]; what is not a number is no prediction. */
static void test_calibration(void **state) {
    struct gr_calibration c = {0};
    (void)state;
    gr_calibration_finish(&c);
    assert_true(c.error == 0);
    c = (struct gr_calibration){0};
    gr_calibration_add(&c, 0, false);
    gr_calibration_add(&c, 1.0 / GR_CALIBRATION_BINS, true);
    gr_calibration_add(&c, 1, true);
    gr_calibration_add(&c, (double)NAN, true);
    gr_calibration_finish(&c);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.bins[0].count, 2);
    assert_int_equal(c.bins[GR_CALIBRATION_BINS - 1].count, 1);
    assert_near(c.error, (1 - 1.0 / GR_CALIBRATION_BINS) / 3);
    cJSON *object = gr_calibration_describe(&c);
    assert_int_equal(cJSON_GetArraySize(reference_get(object, "bins")), GR_CALIBRATION_BINS);
    const cJSON *empty = cJSON_GetArrayItem(reference_get(object, "bins"), 7);
    assert_true(cJSON_IsNull(reference_get(empty, "accuracy")) && reference_int(empty, "count") == 0);
    cJSON_Delete(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_top5),
        cmocka_unit_test(test_multilabel),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_wilson),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_reference_single),
        cmocka_unit_test(test_reference_several),
        cmocka_unit_test(test_calibration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
