/* Losses against PyTorch and against finite differences; schedules at known points. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/status.h"
#include "train/loss.h"
#include "train/reference.h"
#include "train/schedule.h"

/* The gradient of the loss must be the slope of its value. */
static void check_slope(const struct gr_loss *loss, int n, int k, float *logits, const float *targets,
                        const float *gradient) {
    const float step = 1e-2f;
    for (int i = 0; i < n * k; i++) {
        double up, down;
        float at = logits[i];
        logits[i] = at + step;
        assert_int_equal(gr_loss(loss, 0, n, k, logits, targets, &up, NULL), 0);
        logits[i] = at - step;
        assert_int_equal(gr_loss(loss, 0, n, k, logits, targets, &down, NULL), 0);
        logits[i] = at;
        assert_true(fabs((up - down) / (2 * (double)step) - (double)gradient[i]) < 1e-4);
    }
}

static void run_case(const cJSON *object) {
    const char *kind = reference_get(object, "kind")->valuestring;
    int n = reference_int(object, "n"), k = reference_int(object, "k");
    float *logits = reference_floats(object, "logits"), *targets = reference_floats(object, "targets");
    float *expected = reference_floats(object, "gradient"), *weights = reference_floats(object, "weights");
    float gradient[64];
    struct gr_loss loss;
    double value;
    assert_int_equal(gr_loss_read(&loss, kind, reference_get(object, "options")), 0);
    loss.class_weights = weights;
    assert_int_equal(gr_loss_check(&loss, k), 0);
    assert_int_equal(gr_loss(&loss, 0, n, k, logits, targets, &value, gradient), 0);
    assert_true(fabs(value - reference_get(object, "value")->valuedouble) < 1e-5 * (1 + fabs(value)));
    assert_true(reference_distance(gradient, expected, (size_t)(n * k)) < 1e-5);
    check_slope(&loss, n, k, logits, targets, gradient);
    free(logits);
    free(targets);
    free(expected);
    free(weights);
}

static void test_reference(void **state) {
    cJSON *cases = reference_read("tests/fixtures/train/losses.json");
    (void)state;
    for (const cJSON *item = cases->child; item; item = item->next)
        run_case(item);
    cJSON_Delete(cases);
}

static void test_soft_targets_with_weights(void **state) {
    struct gr_loss loss = {.kind = GR_CROSS_ENTROPY, .label_smoothing = 0.1f};
    float logits[] = {1, -2, 0.5f, 0, 3, -1}, targets[] = {0.7f, 0.3f, 0, 0.2f, 0.2f, 0.6f},
          weights[] = {1, 2, 0.5f};
    float gradient[6];
    double value;
    (void)state;
    loss.class_weights = weights;
    assert_int_equal(gr_loss(&loss, 0, 2, 3, logits, targets, &value, gradient), 0);
    check_slope(&loss, 2, 3, logits, targets, gradient);
}

static void test_large_logits_stay_finite(void **state) {
    float logits[] = {1000, -1000, 0, 88}, targets[] = {0, 1, 1, 0}, gradient[4], p[4];
    struct gr_loss loss = {.kind = GR_CROSS_ENTROPY};
    double value;
    (void)state;
    assert_int_equal(gr_loss(&loss, 0, 2, 2, logits, targets, &value, gradient), 0);
    assert_true(isfinite(value) && fabs(value - (2000 + 88) / 2.0) < 1e-6);
    assert_true(gradient[0] == 0.5f && gradient[1] == -0.5f);
    loss.kind = GR_BINARY_CROSS_ENTROPY;
    assert_int_equal(gr_loss(&loss, 0, 2, 2, logits, targets, &value, gradient), 0);
    assert_true(isfinite(value));
    gr_probabilities(false, 2, 2, logits, p);
    assert_true(p[0] == 1 && p[1] == 0 && p[2] < 1e-30f && p[3] == 1);
    gr_probabilities(true, 2, 2, logits, p);
    assert_true(p[0] == 1 && p[1] == 0 && p[2] == 0.5f);
}

static void test_refusals(void **state) {
    float negative[] = {1, -1}, zeros[] = {0, 0};
    struct gr_loss loss;
    cJSON *smoothing = cJSON_Parse("{\"label_smoothing\":2}"),
          *unknown = cJSON_Parse("{\"lable_smoothing\":0.1}");
    (void)state;
    assert_int_equal(gr_loss_read(&loss, "cross_entropy", smoothing), GR_ERROR_OPTION);
    assert_int_equal(gr_loss_read(&loss, "cross_entropy", unknown), GR_ERROR_OPTION);
    assert_string_equal(gr_error()->near, "label_smoothing");
    assert_int_equal(gr_loss_read(&loss, "cross_entrpy", NULL), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "cross_entropy");
    assert_int_equal(gr_loss_read(&loss, "mse", NULL), 0);
    loss.class_weights = negative;
    assert_int_equal(gr_loss_check(&loss, 2), GR_ERROR_OPTION);
    loss.class_weights = zeros;
    assert_int_equal(gr_loss_check(&loss, 2), GR_ERROR_OPTION);
    cJSON_Delete(smoothing);
    cJSON_Delete(unknown);
}

static struct gr_schedule schedule(const char *kind, const char *json) {
    struct gr_schedule out;
    cJSON *object = cJSON_Parse(json);
    assert_int_equal(gr_schedule_read(&out, kind, object), 0);
    cJSON_Delete(object);
    return out;
}

static void test_schedules_reference(void **state) {
    cJSON *cases = reference_read("tests/fixtures/train/schedules.json");
    (void)state;
    for (const cJSON *item = cases->child; item; item = item->next) {
        struct gr_schedule s;
        const cJSON *factor = reference_get(item, "factors")->child;
        int total = reference_int(item, "total");
        assert_int_equal(
            gr_schedule_read(&s, reference_get(item, "kind")->valuestring, reference_get(item, "options")),
            0);
        for (int i = 0; i < total; i++, factor = factor->next)
            assert_true(fabs(gr_schedule_factor(&s, i, total, 0) - factor->valuedouble) < 1e-6);
    }
    cJSON_Delete(cases);
}

static void test_schedules(void **state) {
    struct gr_schedule constant = schedule("constant", "{\"warmup\":0.5}");
    struct gr_schedule step = schedule("step", "{\"every\":2,\"factor\":0.5}");
    struct gr_schedule cosine = schedule("cosine", "{\"warmup\":0.2,\"floor\":0.1}");
    (void)state;
    assert_true(gr_schedule_factor(&constant, 0, 8, 0) == 0.25);
    assert_true(gr_schedule_factor(&constant, 3, 8, 0) == 1);
    assert_true(gr_schedule_factor(&constant, 7, 8, 0) == 1);
    assert_true(gr_schedule_factor(&step, 5, 100, 3) == 1);   /* second epoch */
    assert_true(gr_schedule_factor(&step, 6, 100, 3) == 0.5); /* third epoch */
    assert_true(gr_schedule_factor(&step, 12, 100, 3) == 0.25);
    assert_true(gr_schedule_factor(&step, 4, 100, 0) == 0.25);
    assert_true(gr_schedule_factor(&cosine, 1, 10, 0) == 1);
    assert_true(gr_schedule_factor(&cosine, 2, 10, 0) == 1);
    assert_true(fabs(gr_schedule_factor(&cosine, 6, 10, 0) - 0.55) < 1e-6);
    assert_true(gr_schedule_factor(&cosine, 50, 10, 0) == gr_schedule_factor(&cosine, 9, 10, 0));
    struct gr_schedule out;
    assert_int_equal(gr_schedule_read(&out, "step", NULL), GR_ERROR_OPTION);
    assert_int_equal(gr_schedule_read(&out, "cosin", NULL), GR_ERROR_NAME);
    assert_string_equal(gr_error()->near, "cosine");
    cJSON *object = gr_schedule_describe(&cosine);
    char *text = cJSON_PrintUnformatted(object);
    assert_string_equal(text, "{\"warmup\":0.2,\"floor\":0.1,\"kind\":\"cosine\"}");
    cJSON_free(text);
    cJSON_Delete(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_soft_targets_with_weights),
        cmocka_unit_test(test_large_logits_stay_finite),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_schedules_reference),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
