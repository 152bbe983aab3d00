/* Linear probes against scikit-learn (tests/fixtures/make_probe.py), and what holds for folds. */
#include "../data/photos.h"
#include "../train/reference.h"

#include "base/threads.h"
#include "insight/collect.h"
#include "insight/logistic.h"
#include "insight/probes.h"

static cJSON *cases;

/* What a case holds. */
struct problem {
    float *x;
    int *labels, n, features, classes;
};

static struct problem problem_of(const cJSON *c) {
    float *labels = reference_floats(c, "labels");
    struct problem p = {.x = reference_floats(c, "x"),
                        .n = cJSON_GetArraySize(reference_get(c, "labels")),
                        .features = reference_int(c, "features"),
                        .classes = reference_int(c, "classes")};
    p.labels = calloc((size_t)p.n, sizeof *p.labels);
    for (int i = 0; i < p.n; i++)
        p.labels[i] = (int)labels[i];
    free(labels);
    return p;
}

static void clear(struct problem *p) {
    free(p->x);
    free(p->labels);
}

static double number(const cJSON *c, const char *key) {
    return reference_get(c, key)->valuedouble;
}

static void fits_are_those_of_scikit_learn(void **state) {
    (void)state;
    for (const cJSON *c = reference_get(cases, "fits")->child; c; c = c->next) {
        struct problem p = problem_of(c);
        struct gr_logistic model;
        float *weight = reference_floats(c, "weight"), *bias = reference_floats(c, "bias");
        assert_ok(gr_logistic_create(&model, p.classes, p.features, p.n));
        assert_ok(gr_logistic_fit(&model, p.x, p.labels, p.n, number(c, "l2"), 1e-6, 5000));
        double mean = 0;
        for (int k = 0; k < p.classes; k++)
            mean += (double)model.bias[k] / p.classes;
        for (int k = 0; k < p.classes; k++) /* they are known up to a constant */
            model.bias[k] -= (float)mean;
        assert_true(fabs(model.loss - number(c, "loss")) < 1e-5);
        assert_true(reference_distance(model.weight, weight, (size_t)p.classes * (size_t)p.features) < 2e-3);
        for (int k = 0; k < p.classes; k++)
            assert_true(fabsf(model.bias[k] - bias[k]) < 2e-3f);
        gr_logistic_free(&model);
        free(weight);
        free(bias);
        clear(&p);
    }
}

/* The gradient is zero at the minimum, and the probabilities are those of the scores. */
static void a_fit_ends_at_the_minimum_and_starts_where_it_was(void **state) {
    (void)state;
    struct problem p = problem_of(reference_get(cases, "fits")->child);
    struct gr_logistic model;
    float *sums = calloc((size_t)p.n * (size_t)p.classes, sizeof *sums);
    assert_ok(gr_logistic_create(&model, p.classes, p.features, p.n));
    assert_ok(gr_logistic_fit(&model, p.x, p.labels, p.n, 0.01, 1e-5, 5000));
    assert_true(model.iterations > 5 && model.slope <= 1e-5);
    double loss = model.loss;
    assert_ok(gr_logistic_fit(&model, p.x, p.labels, p.n, 0.01, 1e-5, 5000));
    assert_int_equal(model.iterations, 0);
    assert_true(model.loss == loss);
    gr_logistic_predict(&model, p.x, p.n, sums);
    for (int i = 0; i < p.n; i++) {
        float sum = 0;
        for (int k = 0; k < p.classes; k++)
            sum += sums[i * p.classes + k];
        assert_true(fabsf(sum - 1) < 1e-5f);
    }
    p.x[3] = NAN;
    gr_logistic_reset(&model);
    assert_fails(gr_logistic_fit(&model, p.x, p.labels, p.n, 0.01, 1e-5, 10), GR_ERROR_NUMBER, "not finite");
    gr_logistic_free(&model);
    free(sums);
    clear(&p);
}

struct measured {
    int *fold, *said;
    float *sure;
    struct gr_probe probe;
};

/* `fold` from elsewhere; NULL: dealt by gr_folds. */
static struct measured measure(const struct problem *p, const cJSON *fold, double fraction, uint64_t seed) {
    enum { FOLDS = 5 };
    struct measured m = {calloc((size_t)p->n, sizeof(int)),
                         calloc((size_t)p->n, sizeof(int)),
                         calloc((size_t)p->n, sizeof(float)),
                         {0}};
    m.probe = (struct gr_probe){
        .x = p->x, .features = p->features, .fraction = fraction, .said = m.said, .sure = m.sure};
    struct gr_probes probes = {.labels = p->labels,
                               .fold = m.fold,
                               .n = p->n,
                               .classes = p->classes,
                               .folds = FOLDS,
                               .seed = seed,
                               .probes = &m.probe,
                               .probe_count = 1};
    assert_ok(gr_folds(p->labels, p->n, p->classes, FOLDS, seed, m.fold));
    for (int i = 0; fold && i < p->n; i++)
        m.fold[i] = cJSON_GetArrayItem(fold, i)->valueint;
    assert_ok(gr_probes_run(&probes));
    return m;
}

static void forget(struct measured *m) {
    free(m->fold);
    free(m->said);
    free(m->sure);
}

static double accuracy(const struct problem *p, const struct measured *m) {
    int right = 0;
    for (int i = 0; i < p->n; i++)
        right += m->said[i] == p->labels[i];
    return (double)right / p->n;
}

/* With the same folds, over several deals: the parts that choose the penalty are each one's own. */
static void held_out_accuracy_is_that_of_scikit_learn_within_half_a_point(void **state) {
    (void)state;
    for (const cJSON *c = reference_get(cases, "probes")->child; c; c = c->next) {
        struct problem p = problem_of(c);
        double sum = 0;
        int deals = 0;
        for (const cJSON *fold = reference_get(c, "folds")->child; fold; fold = fold->next, deals++) {
            struct measured m = measure(&p, fold, 1, 1);
            sum += accuracy(&p, &m);
            forget(&m);
        }
        print_message("%d features, %d classes: %.4f, scikit-learn %.4f\n", p.features, p.classes,
                      sum / deals, number(c, "accuracy"));
        assert_true(fabs(sum / deals - number(c, "accuracy")) <= 0.005);
        clear(&p);
    }
}

static void no_photo_has_a_say_in_its_own_judgement(void **state) {
    (void)state;
    struct problem p = problem_of(reference_get(cases, "probes")->child);
    struct measured a = measure(&p, NULL, 1, 7);
    for (int j = 0; j < p.features; j++) /* what the others of its fold are told stays */
        p.x[11 * p.features + j] *= 1000;
    struct measured c = measure(&p, NULL, 1, 7);
    for (int i = 0; i < p.n; i++)
        if (i != 11 && a.fold[i] == a.fold[11]) {
            assert_int_equal(a.said[i], c.said[i]);
            assert_true(a.sure[i] == c.sure[i]);
        }
    forget(&a);
    forget(&c);
    clear(&p);
}

static void results_do_not_depend_on_the_number_of_threads(void **state) {
    (void)state;
    struct problem p = problem_of(reference_get(cases, "probes")->child->next);
    int threads = gr_threads();
    assert_ok(gr_threads_set(1));
    struct measured one = measure(&p, NULL, 0.3, 3);
    assert_ok(gr_threads_set(3));
    struct measured three = measure(&p, NULL, 0.3, 3);
    assert_memory_equal(one.said, three.said, (size_t)p.n * sizeof *one.said);
    assert_memory_equal(one.sure, three.sure, (size_t)p.n * sizeof *one.sure);
    assert_ok(gr_threads_set(threads));
    forget(&one);
    forget(&three);
    clear(&p);
}

static void folds_hold_the_classes_evenly(void **state) {
    (void)state;
    enum { N = 47, CLASSES = 3, FOLDS = 5 };
    int labels[N], fold[N], other[N], counts[FOLDS][CLASSES] = {{0}}, sizes[FOLDS] = {0};
    for (int i = 0; i < N; i++)
        labels[i] = i < 5 ? 2 : i % 2;
    assert_ok(gr_folds(labels, N, CLASSES, FOLDS, 1, fold));
    for (int i = 0; i < N; i++) {
        assert_in_range(fold[i], 0, FOLDS - 1);
        counts[fold[i]][labels[i]]++;
        sizes[fold[i]]++;
    }
    for (int f = 0; f < FOLDS; f++) {
        assert_in_range(sizes[f], N / FOLDS, N / FOLDS + 1);
        assert_int_equal(counts[f][2], 1);
        assert_in_range(counts[f][0], 4, 5);
    }
    assert_ok(gr_folds(labels, N, CLASSES, FOLDS, 1, other));
    assert_memory_equal(fold, other, sizeof fold);
    assert_ok(gr_folds(labels, N, CLASSES, FOLDS, 2, other));
    assert_memory_not_equal(fold, other, sizeof fold);
}

static void bad_questions_are_refused(void **state) {
    (void)state;
    int labels[] = {0, 0, 1, 1, 2}, fold[5], said[5];
    float x[5] = {1, 2, 3, 4, 5}, sure[5];
    assert_fails(gr_folds(labels, 5, 3, 2, 1, fold), GR_ERROR_DATA, "class number 3 has 1 photos");
    assert_fails(gr_folds(labels, 4, 2, 1, 1, fold), GR_ERROR_OPTION, "folds must be from 2 to the 4 photos");
    assert_fails(gr_folds(labels, 4, 2, 5, 1, fold), GR_ERROR_OPTION, "got 5");
    assert_fails(gr_folds(labels, 5, 2, 2, 1, fold), GR_ERROR_OPTION, "label 2");
    assert_ok(gr_folds(labels, 4, 2, 2, 1, fold));
    struct gr_probe probe = {.x = x, .features = 1, .fraction = 0, .said = said, .sure = sure};
    struct gr_probes probes = {
        .labels = labels, .fold = fold, .n = 4, .classes = 2, .folds = 2, .probes = &probe, .probe_count = 1};
    assert_fails(gr_probes_run(&probes), GR_ERROR_OPTION, "fractions must be above 0");
    probe.fraction = 1;
    x[2] = INFINITY;
    assert_fails(gr_probes_run(&probes), GR_ERROR_NUMBER, "not finite");
}

static void pooling_of_a_map(void **state) {
    (void)state;
    float x[2 * 9], row[18]; /* 2 channels of 3x3, channels side by side */
    for (int p = 0; p < 9; p++) {
        x[2 * p] = (float)p;
        x[2 * p + 1] = (float)-p;
    }
    const struct gr_shape shape = {2, 3, 3, false}, flat = {2, 1, 1, true};
    int size;
    gr_pool_row(shape, (struct gr_pooled_as){GR_POOL_AVG_MAX, 0}, x, 1, 2, row);
    assert_true(row[0] == 4 && row[1] == -4 && row[2] == 8 && row[3] == 0);
    assert_ok(gr_pooled_size(shape, (struct gr_pooled_as){GR_POOL_GRID, 2}, &size));
    assert_int_equal(size, 8);
    gr_pool_row(shape, (struct gr_pooled_as){GR_POOL_GRID, 2}, x, 1, 2, row);
    assert_true(row[0] == 2 && row[2] == 3 && row[4] == 5 && row[6] == 6 && row[7] == -6); /* cells overlap */
    assert_ok(gr_pooled_size(flat, (struct gr_pooled_as){GR_POOL_GRID, 9}, &size));
    assert_int_equal(size, 2);
    assert_fails(gr_pooled_size(shape, (struct gr_pooled_as){GR_POOL_GRID, 4}, &size), GR_ERROR_OPTION,
                 "1 to 3 cells");
    assert_fails(gr_pooled_size((struct gr_shape){1 << 30, 1, 1, true}, (struct gr_pooled_as){0}, &size),
                 GR_ERROR_LIMIT, "too many");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_are_those_of_scikit_learn),
        cmocka_unit_test(a_fit_ends_at_the_minimum_and_starts_where_it_was),
        cmocka_unit_test(held_out_accuracy_is_that_of_scikit_learn_within_half_a_point),
        cmocka_unit_test(no_photo_has_a_say_in_its_own_judgement),
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(folds_hold_the_classes_evenly),
        cmocka_unit_test(bad_questions_are_refused),
        cmocka_unit_test(pooling_of_a_map),
    };
    cases = reference_read("tests/fixtures/insight/logistic.json");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cJSON_Delete(cases);
    return failed;
}
