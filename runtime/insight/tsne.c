/* Exact t-SNE. A step is one pass over all pairs: attraction needs no normalisation, and repulsion is divided
 * by the sum that the same pass finds. Rows are the chunks of the pool, and sums within a row have a fixed
 * order, so results do not depend on the number of threads. */
#include "insight/tsne.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"
#include "kernels/gemm.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, TELL = 20 /* steps */ };
static const double EXAGGERATION = 12;

struct tsne {
    int64_t n, pitch; /* points, and the row length of p: a multiple of LANES */
    int64_t d;
    double perplexity;
    float *p;     /* [n,pitch]: squared distances, then joint probabilities; 0 beyond n */
    float *norms; /* [n]: squared lengths, while distances are made */
    float *x, *y; /* [pitch]: positions; what is beyond n lies far away */
    double *at;   /* [n,2]: the same in double precision */
    double *velocity, *gains;
    struct row { /* what the pass over a row found */
        double attract[2], repel[2], weight, kl;
    } * rows;
    bool exact; /* the divergence is wanted as well */
};

/* ---- probabilities ---- */

/* p(j|i) for a precision beta; returns the entropy in nats. Distances are lessened by the smallest one, which
 * changes nothing but keeps exp in range. */
static double spread(const struct tsne *t, int64_t i, const float *distance, float least, double beta,
                     double *out) {
    double sum = 0, mean = 0;
    for (int64_t j = 0; j < t->n; j++) {
        double far = (double)distance[j] - least;
        out[j] = j == i ? 0 : exp(-beta * far);
        sum += out[j];
        mean += out[j] * far;
    }
    for (int64_t j = 0; j < t->n; j++)
        out[j] /= sum;
    return log(sum) + beta * mean / sum;
}

/* Searches the precision whose entropy is log(perplexity), and makes row i of distances a row of p. */
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
        double off = spread(t, i, distance, least, beta, row) - wanted;
        if (fabs(off) < 1e-6)
            break;
        if (off > 0) {
            low = beta;
            beta = isinf(high) ? beta * 2 : (beta + high) / 2;
        } else {
            high = beta;
            beta = (low + beta) / 2;
        }
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

static int make_probabilities(struct tsne *t, const float *x) {
    GR_TRY(make_distances(t, x));
    struct searching s = {t, gr_calloc((size_t)gr_threads() * (size_t)t->n, sizeof *s.rows)};
    if (!s.rows)
        return GR_ERROR_MEMORY;
    gr_parallel(t->n, search_chunk, &s);
    gr_free(s.rows);
    GR_TRY(gr_interrupt_check());
    gr_parallel(t->n, join_pairs, t);
    return GR_OK;
}

/* ---- descent ---- */

static double sum_lanes(const float *lanes) {
    double sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Everything that row i has to do with the others. Lanes are sums of their own, so that the loop over them
 * becomes vector instructions without reordering anything. */
static void pass_row(void *context, int64_t i, int worker) {
    const struct tsne *t = context;
    const float *p = t->p + i * t->pitch, *xs = t->x, *ys = t->y, x = t->x[i], y = t->y[i];
    float attract_x[LANES] = {0}, attract_y[LANES] = {0}, repel_x[LANES] = {0}, repel_y[LANES] = {0};
    float weight[LANES] = {0};
    struct row *row = &t->rows[i];
    (void)worker;
    for (int64_t j = 0; j < t->pitch; j += LANES)
        for (int l = 0; l < LANES; l++) {
            float dx = x - xs[j + l], dy = y - ys[j + l];
            float w = 1.0F / (1.0F + dx * dx + dy * dy), a = p[j + l] * w, r = w * w;
            attract_x[l] += a * dx;
            attract_y[l] += a * dy;
            repel_x[l] += r * dx;
            repel_y[l] += r * dy;
            weight[l] += w;
        }
    row->attract[0] = sum_lanes(attract_x);
    row->attract[1] = sum_lanes(attract_y);
    row->repel[0] = sum_lanes(repel_x);
    row->repel[1] = sum_lanes(repel_y);
    row->weight = sum_lanes(weight) - 1; /* without itself */
    row->kl = 0;
    for (int64_t j = 0; t->exact && j < t->n; j++)
        if (p[j] > 0) {
            double dx = (double)x - xs[j], dy = (double)y - ys[j];
            row->kl += p[j] * (log(p[j]) + log1p(dx * dx + dy * dy));
        }
}

/* One pass over all pairs; the sum of all weights. */
static double pass(struct tsne *t) {
    double sum = 0;
    gr_parallel(t->n, pass_row, t);
    for (int64_t i = 0; i < t->n; i++)
        sum += t->rows[i].weight;
    return sum;
}

static void place(struct tsne *t) {
    for (int64_t i = 0; i < t->n; i++) {
        t->x[i] = (float)t->at[2 * i];
        t->y[i] = (float)t->at[2 * i + 1];
    }
}

static void step(struct tsne *t, double exaggeration, double momentum) {
    double sum = pass(t), rate = (double)t->n / EXAGGERATION / 4;
    rate = rate > 50 ? rate : 50;
    for (int64_t i = 0; i < 2 * t->n; i++) {
        const struct row *row = &t->rows[i / 2];
        double gradient = 4 * (exaggeration * row->attract[i % 2] - row->repel[i % 2] / sum);
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
        t->x[i] = t->y[i] = 1e18F;
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
    t->exact = true;
    double sum = log(pass(t));
    *kl = sum;
    for (int64_t i = 0; i < t->n; i++)
        *kl += t->rows[i].kl;
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
    t->rows = gr_calloc(n, sizeof *t->rows);
    if (!t->p || !t->norms || !t->x || !t->y || !t->at || !t->velocity || !t->gains || !t->rows)
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
    struct tsne t = {
        .n = n, .pitch = (n + LANES - 1) / LANES * LANES, .d = d, .perplexity = options->perplexity};
    int status = run(&t, x, start, options, points, kl);
    gr_free(t.p);
    gr_free(t.norms);
    gr_free(t.x);
    gr_free(t.y);
    gr_free(t.at);
    gr_free(t.velocity);
    gr_free(t.gains);
    gr_free(t.rows);
    return status;
}
