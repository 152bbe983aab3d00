#include "insight/probes.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/threads.h"
#include "insight/logistic.h"

#include <math.h>
#include <string.h>

/* Penalties from strong to weak, a factor of about 4.6 apart: of a mean loss over standardised features.
 * Below the last one a few hundred photos are separated by their noise, above the first one nothing is
 * learnt. */
static const double STRENGTHS[] = {10, 2.15, 0.464, 0.1, 0.0215, 0.00464, 0.001, 0.000215};

enum {
    STRENGTH_COUNT = sizeof STRENGTHS / sizeof *STRENGTHS,
    INNER = 3,        /* parts that the penalty is chosen by */
    MANY = 1500,      /* photos: with more, one of the parts says enough */
    ITERATIONS = 200, /* of L-BFGS */
    LEAST = 2,        /* photos of each class to learn from */
};
static const double CHOOSING = 1e-3, FITTING = 1e-4; /* where the gradient is small enough */

/* The order in which the photos of each class are dealt: positions sorted by class, shuffled within it.
 * start[classes + 1]. */
static int deal(const int *labels, int64_t n, int classes, uint64_t seed, int64_t **order, int64_t **start) {
    int64_t *list = gr_calloc((size_t)n + 1, sizeof *list),
            *first = gr_calloc((size_t)classes + 2, sizeof *first);
    *order = list;
    *start = first;
    if (!list || !first)
        return gr_fail(GR_ERROR_MEMORY, "no memory to deal %lld photos into folds", (long long)n);
    for (int64_t i = 0; i < n; i++)
        first[labels[i] + 2]++;
    for (int k = 0; k < classes; k++)
        first[k + 2] += first[k + 1];
    for (int64_t i = 0; i < n; i++)
        list[first[labels[i] + 1]++] = i;
    for (int k = 0; k < classes; k++) {
        struct gr_random random = gr_random(seed, GR_RANDOM_FOLDS, (uint64_t)k, 0, 0);
        gr_random_shuffle(&random, list + first[k], first[k + 1] - first[k]);
    }
    return GR_OK;
}

int gr_folds(const int *labels, int64_t n, int classes, int folds, uint64_t seed, int *fold) {
    int64_t *order = NULL, *start = NULL;
    int status = GR_OK;
    if (folds < 2 || folds > n)
        return gr_fail(GR_ERROR_OPTION, "folds must be from 2 to the %lld photos, got %d", (long long)n,
                       folds);
    for (int64_t i = 0; i < n && !status; i++)
        if (labels[i] < 0 || labels[i] >= classes)
            status = gr_fail(GR_ERROR_OPTION, "label %d is not one of %d classes", labels[i], classes);
    if (!status)
        status = deal(labels, n, classes, seed, &order, &start);
    for (int k = 0; k < classes && !status; k++)
        if (start[k + 1] - start[k] < LEAST)
            status =
                gr_fail(GR_ERROR_DATA, "class number %d has %lld photos; a probe needs at least %d of each",
                        k + 1, (long long)(start[k + 1] - start[k]), LEAST);
    for (int64_t i = 0; i < n && !status; i++) /* on from class to class, so that folds are of one size */
        fold[order[i]] = (int)(i % folds);
    gr_free(order);
    gr_free(start);
    return status;
}

/* What the parts of a run share. */
struct run {
    struct gr_probes *probes;
    int64_t *order, *start;  /* see deal */
    int round;               /* the probe that is measured */
    double *chosen;          /* [folds] penalties */
    struct gr_error *errors; /* [folds] */
};

/* One fold of one probe. Rows are positions in the set. */
struct part {
    const struct gr_probes *all;
    struct gr_probe *probe;
    int64_t *train, *rows; /* train: what may be learnt from; rows: the rows of x at hand */
    int64_t train_count;
    int *inner; /* [train_count] which third */
    float *x;   /* [n, features] standardised rows */
    float *mean, *scale, *probabilities;
    int *labels;
    struct gr_logistic model;
};

/* Of each class the first `fraction` of its photos that are not in the fold, in the order that they were
 * dealt. */
static void choose_train(const struct run *run, int fold, struct part *part) {
    const struct gr_probes *all = run->probes;
    int64_t count = 0;
    for (int k = 0; k < all->classes; k++) {
        int64_t there = 0, taken = 0;
        for (int64_t i = run->start[k]; i < run->start[k + 1]; i++)
            there += all->fold[run->order[i]] != fold;
        int64_t wanted = (int64_t)ceil(part->probe->fraction * (double)there - 1e-9);
        wanted = wanted < LEAST ? LEAST : wanted;
        for (int64_t i = run->start[k]; i < run->start[k + 1] && taken < wanted; i++)
            if (all->fold[run->order[i]] != fold) {
                part->inner[count] = (int)(taken++ % INNER);
                part->train[count++] = run->order[i];
            }
    }
    part->train_count = count;
}

/* Mean and scale of the features over the rows; a feature that never changes counts for nothing. */
static void measure(struct part *part, const int64_t *rows, int64_t n) {
    int features = part->probe->features;
    for (int j = 0; j < features; j++)
        part->mean[j] = part->scale[j] = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *row = part->probe->x + rows[i] * features;
        for (int j = 0; j < features; j++)
            part->mean[j] += row[j] / (float)n;
    }
    for (int64_t i = 0; i < n; i++) {
        const float *row = part->probe->x + rows[i] * features;
        for (int j = 0; j < features; j++) {
            float off = row[j] - part->mean[j];
            part->scale[j] += off * off / (float)n;
        }
    }
    for (int j = 0; j < features; j++) {
        float spread = sqrtf(part->scale[j]);
        part->scale[j] = spread > 1e-6f * (1 + fabsf(part->mean[j])) ? 1 / spread : 0;
    }
}

static void standardise(struct part *part, const int64_t *rows, int64_t n) {
    int features = part->probe->features;
    for (int64_t i = 0; i < n; i++) {
        const float *row = part->probe->x + rows[i] * features;
        float *to = part->x + i * features;
        for (int j = 0; j < features; j++)
            to[j] = (row[j] - part->mean[j]) * part->scale[j];
        part->labels[i] = part->all->labels[rows[i]];
    }
}

static int most_likely(const float *row, int classes) {
    int best = 0;
    for (int k = 1; k < classes; k++)
        best = row[k] > row[best] ? k : best;
    return best;
}

/* For each penalty, how well it does on one third of the training part that is held out: adds its loss. */
static int try_strengths(struct part *part, int held, double losses[STRENGTH_COUNT]) {
    int classes = part->all->classes;
    int64_t learn = 0, judge = 0;
    for (int64_t i = 0; i < part->train_count; i++)
        if (part->inner[i] != held)
            part->rows[learn++] = part->train[i];
    for (int64_t i = 0; i < part->train_count; i++)
        if (part->inner[i] == held)
            part->rows[learn + judge++] = part->train[i];
    measure(part, part->rows, learn);
    standardise(part, part->rows, learn + judge);
    gr_logistic_reset(&part->model);
    for (int s = 0; s < STRENGTH_COUNT; s++) {
        GR_TRY(gr_logistic_fit(&part->model, part->x, part->labels, (int)learn, STRENGTHS[s], CHOOSING,
                               ITERATIONS));
        gr_logistic_predict(&part->model, part->x + learn * part->probe->features, (int)judge,
                            part->probabilities);
        for (int64_t i = 0; i < judge; i++)
            losses[s] -= log((double)part->probabilities[i * classes + part->labels[learn + i]] + 1e-12);
    }
    return GR_OK;
}

/* The penalty with the least loss on photos held out within the training part. */
static int choose_strength(struct part *part, double *chosen) {
    double losses[STRENGTH_COUNT] = {0};
    int best = 0;
    for (int held = 0; held < (part->train_count > MANY ? 1 : INNER); held++)
        GR_TRY(try_strengths(part, held, losses));
    for (int s = 1; s < STRENGTH_COUNT; s++)
        best = losses[s] < losses[best] ? s : best;
    *chosen = STRENGTHS[best];
    return GR_OK;
}

/* Fits to the training part and judges the fold. */
static int judge_fold(struct part *part, int fold, double l2) {
    const struct gr_probes *all = part->all;
    int64_t learn = part->train_count, judge = 0;
    memcpy(part->rows, part->train, (size_t)learn * sizeof *part->rows);
    for (int64_t i = 0; i < all->n; i++)
        if (all->fold[i] == fold)
            part->rows[learn + judge++] = i;
    measure(part, part->rows, learn);
    standardise(part, part->rows, learn + judge);
    gr_logistic_reset(&part->model);
    GR_TRY(gr_logistic_fit(&part->model, part->x, part->labels, (int)learn, l2, FITTING, ITERATIONS));
    gr_logistic_predict(&part->model, part->x + learn * part->probe->features, (int)judge,
                        part->probabilities);
    for (int64_t i = 0; i < judge; i++) {
        const float *row = part->probabilities + i * all->classes;
        int said = most_likely(row, all->classes);
        part->probe->said[part->rows[learn + i]] = said;
        part->probe->sure[part->rows[learn + i]] = row[said];
    }
    return GR_OK;
}

static int open_part(struct part *part) {
    size_t n = (size_t)part->all->n, features = (size_t)part->probe->features,
           classes = (size_t)part->all->classes;
    size_t floats;
    if (!gr_size_multiply(n, features, &floats))
        return gr_fail(GR_ERROR_LIMIT, "%zu photos of %zu features are too many", n, features);
    part->x = gr_calloc(floats, sizeof *part->x);
    part->mean = gr_calloc(features, 2 * sizeof *part->mean);
    part->scale = part->mean + features;
    part->probabilities = gr_calloc(n, classes * sizeof *part->probabilities);
    part->train = gr_calloc(n, 2 * sizeof *part->train);
    part->rows = part->train + n;
    part->labels = gr_calloc(n, 2 * sizeof *part->labels);
    part->inner = part->labels + n;
    if (!part->x || !part->mean || !part->probabilities || !part->train || !part->labels)
        return gr_fail(GR_ERROR_MEMORY, "no memory for a probe of %zu photos with %zu features", n, features);
    return gr_logistic_create(&part->model, part->all->classes, part->probe->features,
                              part->all->n > INT32_MAX ? INT32_MAX : (int)n);
}

static void close_part(struct part *part) {
    gr_free(part->x);
    gr_free(part->mean);
    gr_free(part->probabilities);
    gr_free(part->train);
    gr_free(part->labels);
    gr_logistic_free(&part->model);
}

static void run_fold(void *context, int64_t fold, int worker) {
    struct run *run = context;
    struct part part = {.all = run->probes, .probe = &run->probes->probes[run->round]};
    (void)worker;
    int status = gr_interrupt_check();
    if (!status)
        status = open_part(&part);
    if (!status) {
        choose_train(run, (int)fold, &part);
        status = choose_strength(&part, &run->chosen[fold]);
    }
    if (!status)
        status = judge_fold(&part, (int)fold, run->chosen[fold]);
    if (status)
        run->errors[fold] = *gr_error();
    close_part(&part);
}

static double middle(double *values, int count) {
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            double other = values[j];
            values[j] = values[j - 1];
            values[j - 1] = other;
        }
    return values[count / 2];
}

static int run_all(struct run *run) {
    struct gr_probes *probes = run->probes;
    int64_t total = (int64_t)probes->probe_count * probes->folds;
    for (run->round = 0; run->round < probes->probe_count; run->round++) {
        struct gr_probe *probe = &probes->probes[run->round];
        if (!(probe->fraction > 0 && probe->fraction <= 1))
            return gr_fail(GR_ERROR_OPTION, "fractions must be above 0 and at most 1, got %g",
                           probe->fraction);
        gr_parallel(probes->folds, run_fold, run);
        for (int i = 0; i < probes->folds; i++)
            if (run->errors[i].code)
                return gr_error_restore(&run->errors[i]);
        probe->l2 = middle(run->chosen, probes->folds);
        if (probes->progress)
            GR_TRY(probes->progress(probes->payload, (int64_t)(run->round + 1) * probes->folds, total));
    }
    return GR_OK;
}

int gr_probes_run(struct gr_probes *probes) {
    struct run run = {.probes = probes};
    if (probes->n > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "a probe takes at most %d photos", INT32_MAX);
    int status = deal(probes->labels, probes->n, probes->classes, probes->seed, &run.order, &run.start);
    run.chosen = gr_calloc((size_t)probes->folds, sizeof *run.chosen);
    run.errors = gr_calloc((size_t)probes->folds, sizeof *run.errors);
    if (!status && (!run.chosen || !run.errors))
        status = gr_fail(GR_ERROR_MEMORY, "no memory for %d folds", probes->folds);
    if (!status)
        status = run_all(&run);
    gr_free(run.order);
    gr_free(run.start);
    gr_free(run.chosen);
    gr_free(run.errors);
    return status;
}
