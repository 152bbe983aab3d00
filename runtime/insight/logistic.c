#include "insight/logistic.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/status.h"
#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

enum { HISTORY = 10, SEARCHES = 30 };

/* One point of the search: the parameters are the weights followed by the intercepts. */
struct problem {
    const struct gr_logistic *model;
    const float *x;
    const int *labels;
    int n;
    double l2;
    size_t size;          /* parameters */
    float *probabilities; /* [n, classes] */
};

/* The vectors of a fit, each of `size` floats, one after the other in the scratch. */
struct vectors {
    float *point, *gradient, *direction, *trial, *trial_gradient;
    float *steps[HISTORY], *changes[HISTORY];
    double scale[HISTORY]; /* 1 / (step . change) */
    int used, next;
};

static size_t parameters(const struct gr_logistic *model) {
    return (size_t)model->classes * ((size_t)model->features + 1);
}

int gr_logistic_create(struct gr_logistic *model, int classes, int features, int rows) {
    size_t size, floats, all;
    *model = (struct gr_logistic){.classes = classes, .features = features, .rows = rows};
    if (!gr_size_multiply((size_t)classes, (size_t)features + 1, &size) ||
        !gr_size_multiply(size, 6 + 2 * HISTORY, &floats) ||
        !gr_size_multiply((size_t)rows, (size_t)classes, &all) || !gr_size_add(floats, all, &floats) ||
        !gr_size_multiply(floats, sizeof(float), &floats))
        return gr_fail(GR_ERROR_LIMIT, "%d features and %d classes are too many for a classifier", features,
                       classes);
    float *memory = gr_alloc(floats);
    model->means = gr_calloc((size_t)classes, sizeof *model->means);
    model->weight = memory;
    if (!memory || !model->means)
        return gr_fail(GR_ERROR_MEMORY, "no memory for a classifier of %d features and %d classes", features,
                       classes);
    model->bias = memory + (size_t)classes * (size_t)features;
    model->scratch = memory + size;
    gr_logistic_reset(model);
    return GR_OK;
}

void gr_logistic_free(struct gr_logistic *model) {
    gr_free(model->weight);
    gr_free(model->means);
    *model = (struct gr_logistic){0};
}

void gr_logistic_reset(struct gr_logistic *model) {
    memset(model->weight, 0, parameters(model) * sizeof(float));
}

/* Turns scores into probabilities; returns the log of the sum of their exponentials. */
static double softmax(float *row, int classes) {
    float most = row[0];
    double sum = 0;
    for (int k = 1; k < classes; k++)
        most = row[k] > most ? row[k] : most;
    for (int k = 0; k < classes; k++) {
        row[k] = expf(row[k] - most);
        sum += (double)row[k];
    }
    for (int k = 0; k < classes; k++)
        row[k] = (float)((double)row[k] / sum);
    return (double)most + log(sum);
}

static void scores(const float *weight, const float *bias, int classes, int features, const float *x, int n,
                   float *out) {
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)i * (size_t)classes, bias, (size_t)classes * sizeof *bias);
    gr_gemm(false, true, n, classes, features, 1, x, features, weight, features, 1, out, classes);
}

void gr_logistic_predict(const struct gr_logistic *model, const float *x, int n, float *probabilities) {
    scores(model->weight, model->bias, model->classes, model->features, x, n, probabilities);
    for (int i = 0; i < n; i++)
        softmax(probabilities + (size_t)i * (size_t)model->classes, model->classes);
}

/* The objective at `point`, and its gradient. */
static double evaluate(const struct problem *problem, const float *point, float *gradient) {
    int classes = problem->model->classes, features = problem->model->features, n = problem->n;
    size_t weights = (size_t)classes * (size_t)features;
    float *p = problem->probabilities;
    double loss = 0, penalty = 0, *means = problem->model->means;
    scores(point, point + weights, classes, features, problem->x, n, p);
    for (int k = 0; k < classes; k++)
        means[k] = 0;
    for (int i = 0; i < n; i++) {
        float *row = p + (size_t)i * (size_t)classes;
        double score = (double)row[problem->labels[i]];
        loss += softmax(row, classes) - score;
        row[problem->labels[i]] -= 1;
        for (int k = 0; k < classes; k++)
            means[k] += (double)row[k];
    }
    gr_gemm(true, false, classes, features, n, 1 / (float)n, p, classes, problem->x, features, 0, gradient,
            features);
    for (size_t i = 0; i < weights; i++) {
        penalty += (double)point[i] * (double)point[i];
        gradient[i] += (float)(problem->l2 * (double)point[i]);
    }
    for (int k = 0; k < classes; k++)
        gradient[weights + (size_t)k] = (float)(means[k] / n);
    return loss / n + problem->l2 / 2 * penalty;
}

static double dot(const float *a, const float *b, size_t size) {
    double sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void add(float *to, double factor, const float *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        to[i] += (float)(factor * (double)from[i]);
}

static double largest(const float *a, size_t size) {
    double most = 0;
    for (size_t i = 0; i < size; i++)
        most = fmax(most, fabs((double)a[i]));
    return most;
}

/* The two-loop recursion: the direction is minus the estimated inverse Hessian times the gradient. */
static void direct(struct vectors *v, size_t size) {
    double alpha[HISTORY];
    for (size_t i = 0; i < size; i++)
        v->direction[i] = -v->gradient[i];
    for (int k = 1; k <= v->used; k++) {
        int i = (v->next - k + HISTORY) % HISTORY;
        alpha[i] = v->scale[i] * dot(v->steps[i], v->direction, size);
        add(v->direction, -alpha[i], v->changes[i], size);
    }
    if (v->used > 0) {
        int last = (v->next - 1 + HISTORY) % HISTORY;
        double shrink = 1 / (v->scale[last] * dot(v->changes[last], v->changes[last], size));
        for (size_t i = 0; i < size; i++)
            v->direction[i] = (float)(shrink * (double)v->direction[i]);
    }
    for (int k = v->used; k >= 1; k--) {
        int i = (v->next - k + HISTORY) % HISTORY;
        add(v->direction, alpha[i] - v->scale[i] * dot(v->changes[i], v->direction, size), v->steps[i], size);
    }
}

/* Looks along the direction for a point that is lower by enough and where the slope has flattened: bisection,
 * which ends for every function that is bounded below. Leaves it in trial; false: float32 has no lower point
 * to give. */
static bool search(const struct problem *problem, struct vectors *v, double start, double first,
                   double *loss) {
    const double lower = 1e-4, flatter = 0.9;
    double slope = dot(v->gradient, v->direction, problem->size), low = 0, high = INFINITY, step = first;
    if (!(slope < 0))
        return false;
    for (int tries = 0; tries < SEARCHES; tries++) {
        for (size_t i = 0; i < problem->size; i++)
            v->trial[i] = v->point[i] + (float)(step * (double)v->direction[i]);
        *loss = evaluate(problem, v->trial, v->trial_gradient);
        if (!(*loss <= start + lower * step * slope))
            high = step;
        else if (dot(v->trial_gradient, v->direction, problem->size) < flatter * slope)
            low = step;
        else
            return true;
        step = isinf(high) ? 2 * low : (low + high) / 2;
    }
    return *loss < start;
}

/* Notes how the gradient changed over the step. */
static void learn(struct vectors *v, size_t size) {
    float *step = v->steps[v->next], *change = v->changes[v->next];
    for (size_t i = 0; i < size; i++) {
        step[i] = v->trial[i] - v->point[i];
        change[i] = v->trial_gradient[i] - v->gradient[i];
    }
    double curvature = dot(step, change, size);
    if (curvature > 1e-10 * dot(change, change, size)) {
        v->scale[v->next] = 1 / curvature;
        v->next = (v->next + 1) % HISTORY;
        v->used += v->used < HISTORY;
    }
    memcpy(v->point, v->trial, size * sizeof(float));
    memcpy(v->gradient, v->trial_gradient, size * sizeof(float));
}

static struct vectors lay_out(const struct gr_logistic *model, float **rest) {
    size_t size = parameters(model);
    float *at = model->scratch;
    struct vectors v = {.point = model->weight};
    float **all[] = {&v.gradient, &v.direction, &v.trial, &v.trial_gradient};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++, at += size)
        *all[i] = at;
    for (int i = 0; i < HISTORY; i++, at += 2 * size) {
        v.steps[i] = at;
        v.changes[i] = at + size;
    }
    *rest = at;
    return v;
}

int gr_logistic_fit(struct gr_logistic *model, const float *x, const int *labels, int n, double l2,
                    double tolerance, int most) {
    struct problem problem = {model, x, labels, n, l2, parameters(model), NULL};
    struct vectors v = lay_out(model, &problem.probabilities);
    double loss = evaluate(&problem, v.point, v.gradient);
    if (!isfinite(loss))
        return gr_fail(GR_ERROR_NUMBER, "the features hold numbers that are not finite");
    for (model->iterations = 0; model->iterations < most; model->iterations++) {
        double next;
        model->slope = largest(v.gradient, problem.size);
        if (model->slope <= tolerance)
            break;
        GR_TRY(gr_interrupt_check());
        direct(&v, problem.size);
        double first = v.used > 0 ? 1 : 1 / fmax(1, sqrt(dot(v.gradient, v.gradient, problem.size)));
        if (!search(&problem, &v, loss, first, &next)) {
            if (v.used == 0)
                break;
            v.used = 0; /* the estimate may be what is wrong: once more along the gradient itself */
            continue;
        }
        learn(&v, problem.size);
        loss = next;
    }
    model->loss = loss;
    return GR_OK;
}
