/* Exact t-SNE: repulsion is between all pairs, and divided by the sum of their weights. Attraction is between
 * those whose probability is worth counting, which is a small part of them. Sums within a row have a fixed
 * order, so results do not depend on the number of threads. */
#include "insight/tsne.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"
#include "kernels/gemm.h"
#include "kernels/points.h"

#include <math.h>
#include <string.h>

enum { TELL = 20 /* steps */ };
static const double EXAGGERATION = 12;
/* All probabilities that are left out come to this at most. */
static const double LEFT_OUT = 1e-2;

struct tsne {
    int64_t n, pitch; /* points, and the row length of p */
    int64_t d;
    double perplexity;
    float *p;      /* [n,pitch]: squared distances, then joint probabilities; gone when there are pairs */
    float *norms;  /* [n]: squared lengths, while distances are made */
    int64_t *ends; /* [n]: the pairs of row i are ends[i - 1]..ends[i], a multiple of
                    * GR_POINTS_PAIRS */
    int32_t *to;   /* the other point of a pair */
    float *near;   /* and the probability of the two */
    float *x, *y;  /* [pitch]: positions; what is beyond n lies far away */
    double *at;    /* [n,2]: the same in double precision */
    double *velocity, *gains;
    float *attraction, *force, *weight; /* [n,2], [n,2], [n] */
};

/* ---- probabilities ---- */

/* p(j|i) for a precision beta; returns the entropy in nats, and how it falls with the logarithm of beta.
 * Distances are lessened by the smallest one, which changes nothing but keeps exp in range. */
static double spread(const struct tsne *t, int64_t i, const float *distance, float least, double beta,
                     double *out, double *slope) {
    double sum = 0, mean = 0, square = 0;
    for (int64_t j = 0; j < t->n; j++) {
        double far = (double)distance[j] - least;
        out[j] = j == i ? 0 : exp(-beta * far);
        sum += out[j];
        mean += out[j] * far;
        square += out[j] * far * far;
    }
    for (int64_t j = 0; j < t->n; j++)
        out[j] /= sum;
    mean /= sum;
    *slope = beta * beta * (square / sum - mean * mean);
    return log(sum) + beta * mean;
}

/* Searches the precision whose entropy is log(perplexity), and makes row i of distances a row of p: Newton's
 * steps in the logarithm, or half the way where they leave what is known to hold it. */
static void search_row(const struct tsne *t, int64_t i, double *row) {
    float *distance = t->p + i * t->pitch, least = INFINITY;
    double low = 0, high = INFINITY, beta = 1, wanted = log(t->perplexity);
    double scale = 0; /* begins at the mean distance, so that any units do */
    for (int64_t j = 0; j < t->n; j++) {
        if (j != i && distance[j] < least)
            least = distance[j];
        scale += distance[j];
    }
    if (scale > 0)
        beta = (double)t->n / scale;
    for (int round = 0; round < 100; round++) {
        double slope, off = spread(t, i, distance, least, beta, row, &slope) - wanted;
        if (fabs(off) < 1e-6)
            break;
        if (off > 0)
            low = beta;
        else
            high = beta;
        double next = beta * exp(off / slope);
        if (next > low && next < high && next < 16 * beta && next > beta / 16)
            beta = next;
        else
            beta = isinf(high) ? beta * 2 : (low + high) / 2;
    }
    for (int64_t j = 0; j < t->n; j++)
        distance[j] = (float)row[j];
}

struct searching {
    const struct tsne *t;
    double *rows; /* [threads,n] */
};

static void search_chunk(void *context, int64_t i, int worker) {
    const struct searching *s = context;
    if (!gr_interrupted())
        search_row(s->t, i, s->rows + worker * s->t->n);
}

static void finish_distances(void *context, int64_t i, int worker) {
    const struct tsne *t = context;
    float *row = t->p + i * t->pitch;
    (void)worker;
    for (int64_t j = 0; j < t->n; j++) {
        float square = t->norms[i] + t->norms[j] + row[j];
        row[j] = square > 0 && j != i ? square : 0;
    }
}

/* (p(j|i) + p(i|j)) / 2n, in both places: a pair belongs to its smaller index. */
static void join_pairs(void *context, int64_t i, int worker) {
    const struct tsne *t = context;
    float share = 0.5F / (float)t->n;
    (void)worker;
    for (int64_t j = i + 1; j < t->n; j++) {
        float *a = t->p + i * t->pitch + j, *b = t->p + j * t->pitch + i;
        *a = *b = (*a + *b) * share;
    }
}

/* The mean is taken away first: distances are differences of squares, and small squares round less. */
static int make_distances(struct tsne *t, const float *x) {
    float *centred = gr_calloc((size_t)t->n, (size_t)t->d * sizeof *centred);
    if (!centred)
        return GR_ERROR_MEMORY;
    for (int64_t j = 0; j < t->d; j++) {
        double sum = 0;
        for (int64_t i = 0; i < t->n; i++)
            sum += x[i * t->d + j];
        for (int64_t i = 0; i < t->n; i++)
            centred[i * t->d + j] = (float)(x[i * t->d + j] - sum / (double)t->n);
    }
    int status = GR_OK;
    for (int64_t i = 0; i < t->n && !status; i++) {
        double sum = 0;
        for (int64_t j = 0; j < t->d; j++)
            sum += (double)centred[i * t->d + j] * centred[i * t->d + j];
        t->norms[i] = (float)sum;
        if (!isfinite(t->norms[i]))
            status = gr_fail(GR_ERROR_NUMBER, "the features are not all finite numbers");
    }
    if (!status) {
        gr_gemm_parallel(false, true, (int)t->n, (int)t->n, (int)t->d, -2, centred, (int)t->d, centred,
                         (int)t->d, 0, t->p, (int)t->pitch);
        gr_parallel(t->n, finish_distances, t);
    }
    gr_free(centred);
    return status;
}

/* The pairs that count, row by row, in place of the whole matrix; together they have all of the probability.
 */
static int keep_pairs(struct tsne *t) {
    float least = (float)(LEFT_OUT / (double)t->n / (double)t->n);
    int64_t count = 0;
    for (int64_t i = 0; i < t->n; i++) {
        for (int64_t j = 0; j < t->n; j++)
            count += t->p[i * t->pitch + j] > least;
        count = t->ends[i] = (count + GR_POINTS_PAIRS - 1) / GR_POINTS_PAIRS * GR_POINTS_PAIRS;
    }
    t->to = gr_calloc((size_t)count, sizeof *t->to);
    t->near = gr_calloc((size_t)count, sizeof *t->near);
    if (!t->to || !t->near)
        return GR_ERROR_MEMORY;
    double sum = 0;
    for (int64_t i = 0, k = 0; i < t->n; k = t->ends[i++])
        for (int64_t j = 0; j < t->n; j++)
            if (t->p[i * t->pitch + j] > least) {
                t->to[k] = (int32_t)j;
                t->near[k] = t->p[i * t->pitch + j];
                sum += t->near[k++];
            }
    for (int64_t k = 0; k < count; k++)
        t->near[k] = (float)(t->near[k] / sum);
    gr_free(t->p);
    t->p = NULL;
    return GR_OK;
}

static int make_probabilities(struct tsne *t, const float *x) {
    GR_TRY(make_distances(t, x));
    struct searching s = {t, gr_calloc((size_t)gr_threads() * (size_t)t->n, sizeof *s.rows)};
    if (!s.rows)
        return GR_ERROR_MEMORY;
    gr_parallel(t->n, search_chunk, &s);
    gr_free(s.rows);
    GR_TRY(gr_interrupt_check());
    gr_parallel(t->n, join_pairs, t);
    return keep_pairs(t);
}

/* ---- descent ---- */

/* The sum of all weights. */
static double repel(struct tsne *t) {
    double sum = 0;
    gr_points_repel(t->n, t->pitch, t->x, t->y, t->force, t->weight);
    for (int64_t i = 0; i < t->n; i++)
        sum += t->weight[i];
    return sum;
}

static double divergence(struct tsne *t) {
    double kl = log(repel(t));
    for (int64_t i = 0, k = 0; i < t->n; i++)
        for (; k < t->ends[i]; k++) {
            double dx = (double)t->x[i] - t->x[t->to[k]], dy = (double)t->y[i] - t->y[t->to[k]];
            if (t->near[k] > 0)
                kl += t->near[k] * (log(t->near[k]) + log1p(dx * dx + dy * dy));
        }
    return kl;
}

static void place(struct tsne *t) {
    for (int64_t i = 0; i < t->n; i++) {
        t->x[i] = (float)t->at[2 * i];
        t->y[i] = (float)t->at[2 * i + 1];
    }
}

static void step(struct tsne *t, double exaggeration, double momentum) {
    double sum = repel(t), rate = (double)t->n / EXAGGERATION / 4;
    rate = rate > 50 ? rate : 50;
    gr_points_attract(t->n, t->ends, t->to, t->near, t->x, t->y, t->attraction);
    for (int64_t i = 0; i < 2 * t->n; i++) {
        double gradient = 4 * (exaggeration * t->attraction[i] - t->force[i] / sum);
        double *gain = &t->gains[i], *velocity = &t->velocity[i];
        *gain = *velocity * gradient < 0 ? *gain + 0.2 : *gain * 0.8;
        *gain = *gain < 0.01 ? 0.01 : *gain;
        *velocity = momentum * *velocity - rate * *gain * gradient;
        t->at[i] += *velocity;
    }
    place(t);
}

/* Both coordinates about 0, the first with a standard deviation of 1e-4: small, so that points can pass. */
static int begin(struct tsne *t, const float *start) {
    double mean[2] = {0}, square = 0;
    for (int64_t i = 0; i < 2 * t->n; i++)
        mean[i % 2] += start[i] / (double)t->n;
    for (int64_t i = 0; i < t->n; i++)
        square += (start[2 * i] - mean[0]) * (start[2 * i] - mean[0]);
    if (!isfinite(square + mean[1]))
        return gr_fail(GR_ERROR_NUMBER, "the points' first places are not all finite numbers");
    double scale = square > 0 ? 1e-4 / sqrt(square / (double)t->n) : 1e-4;
    for (int64_t i = 0; i < 2 * t->n; i++) {
        t->at[i] = scale * (start[i] - mean[i % 2]);
        t->gains[i] = 1;
    }
    for (int64_t i = t->n; i < t->pitch; i++)
        t->x[i] = t->y[i] = 1e12F;
    place(t);
    return GR_OK;
}

static int descend(struct tsne *t, const struct gr_tsne_options *options, double *kl) {
    int steps = options->steps > 0 ? options->steps : GR_TSNE_STEPS, early = steps / 4;
    for (int i = 0; i < steps; i++) {
        step(t, i < early ? EXAGGERATION : 1, i < early ? 0.5 : 0.8);
        GR_TRY(gr_interrupt_check());
        if (options->progress && (i + 1) % TELL == 0)
            GR_TRY(options->progress(options->payload, i + 1, steps));
        if (i + 1 == early) /* the two phases are separate descents */
            for (int64_t j = 0; j < 2 * t->n; j++) {
                t->velocity[j] = 0;
                t->gains[j] = 1;
            }
    }
    *kl = divergence(t);
    return isfinite(*kl) ? GR_OK : gr_fail(GR_ERROR_NUMBER, "t-SNE diverged");
}

static int run(struct tsne *t, const float *x, const float *start, const struct gr_tsne_options *options,
               float *points, double *kl) {
    size_t n = (size_t)t->n, pitch = (size_t)t->pitch;
    t->p = gr_calloc(n, pitch * sizeof *t->p);
    t->norms = gr_calloc(n, sizeof *t->norms);
    t->x = gr_calloc(pitch, sizeof *t->x);
    t->y = gr_calloc(pitch, sizeof *t->y);
    t->at = gr_calloc(2 * n, sizeof *t->at);
    t->velocity = gr_calloc(2 * n, sizeof *t->velocity);
    t->gains = gr_calloc(2 * n, sizeof *t->gains);
    t->ends = gr_calloc(n, sizeof *t->ends);
    t->attraction = gr_calloc(2 * n, sizeof *t->attraction);
    t->force = gr_calloc(2 * n, sizeof *t->force);
    t->weight = gr_calloc(n, sizeof *t->weight);
    if (!t->p || !t->norms || !t->x || !t->y || !t->at || !t->velocity || !t->gains || !t->ends ||
        !t->attraction || !t->force || !t->weight)
        return GR_ERROR_MEMORY;
    GR_TRY(make_probabilities(t, x));
    GR_TRY(begin(t, start));
    GR_TRY(descend(t, options, kl));
    for (int64_t i = 0; i < 2 * t->n; i++)
        points[i] = (float)t->at[i];
    return GR_OK;
}

int gr_tsne(int64_t n, int64_t d, const float *x, const float *start, const struct gr_tsne_options *options,
            float *points, double *kl) {
    if (n > GR_TSNE_MOST)
        return gr_fail(GR_ERROR_LIMIT, "t-SNE is for at most %d photos, got %lld", GR_TSNE_MOST,
                       (long long)n);
    if (n < 4 || d < 1 || d > 1 << 24)
        return gr_fail(GR_ERROR_SHAPE, "t-SNE needs at least 4 photos, got %lld", (long long)n);
    if (!(options->perplexity > 1 && options->perplexity < (double)n))
        return gr_fail(GR_ERROR_OPTION,
                       "the perplexity must be above 1 and below the number of photos, %lld; got %g",
                       (long long)n, options->perplexity);
    struct tsne t = {.n = n,
                     .pitch = (n + GR_POINTS_PITCH - 1) / GR_POINTS_PITCH * GR_POINTS_PITCH,
                     .d = d,
                     .perplexity = options->perplexity};
    int status = run(&t, x, start, options, points, kl);
    void *parts[] = {t.p,  t.norms,    t.to,    t.near,       t.ends,  t.x,     t.y,
                     t.at, t.velocity, t.gains, t.attraction, t.force, t.weight};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        gr_free(parts[i]);
    return status;
}
