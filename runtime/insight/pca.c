/* PCA by the eigenvectors of the smaller one of the two products X'X and XX', found by block power iteration
 * with a Rayleigh-Ritz step (Rutishauser 1969): a few components are wanted of up to thousands. */
#include "insight/pca.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"
#include "kernels/gemm.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum { EXTRA = 16, BLOCK = GR_PCA_MOST + EXTRA, ROUNDS = 500, SWEEPS = 60 };

/* ---- the eigenvectors of a small symmetric matrix (Jacobi 1846) ---- */

/* a [b,b] becomes diagonal, the columns of v [b,b] its eigenvectors. */
static void rotate(int b, double *a, double *v, int p, int q) {
    double theta = (a[q * b + q] - a[p * b + p]) / (2 * a[p * b + q]);
    double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int i = 0; i < b; i++) {
        double x = a[i * b + p], y = a[i * b + q];
        a[i * b + p] = c * x - s * y;
        a[i * b + q] = s * x + c * y;
    }
    for (int i = 0; i < b; i++) {
        double x = a[p * b + i], y = a[q * b + i];
        a[p * b + i] = c * x - s * y;
        a[q * b + i] = s * x + c * y;
        x = v[i * b + p], y = v[i * b + q];
        v[i * b + p] = c * x - s * y;
        v[i * b + q] = s * x + c * y;
    }
}

static void jacobi(int b, double *a, double *v) {
    memset(v, 0, (size_t)(b * b) * sizeof *v);
    for (int i = 0; i < b; i++)
        v[i * b + i] = 1;
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool done = true;
        for (int p = 0; p < b; p++)
            for (int q = p + 1; q < b; q++)
                if (fabs(a[p * b + q]) > 1e-15 * sqrt(fabs(a[p * b + p] * a[q * b + q]))) {
                    rotate(b, a, v, p, q);
                    done = false;
                }
        if (done)
            return;
    }
}

/* ---- block power iteration ---- */

/* A symmetric matrix [m,m] and a block of b vectors, each a row. */
struct block {
    int64_t m;
    int b;
    const float *matrix;
    double *v, *w; /* [b,m]: the vectors, the matrix times them */
    double values[BLOCK];
};

static void multiply_row(void *context, int64_t row, int worker) {
    const struct block *s = context;
    const float *from = s->matrix + row * s->m;
    (void)worker;
    for (int i = 0; i < s->b; i++) {
        const double *v = s->v + i * s->m;
        double sum[4] = {0};
        int64_t j = 0;
        for (; j + 4 <= s->m; j += 4)
            for (int l = 0; l < 4; l++)
                sum[l] += from[j + l] * v[j + l];
        for (; j < s->m; j++)
            sum[0] += from[j] * v[j];
        s->w[i * s->m + row] = sum[0] + sum[1] + sum[2] + sum[3];
    }
}

static double dot(int64_t m, const double *a, const double *b) {
    double sum = 0;
    for (int64_t i = 0; i < m; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Gram and Schmidt, twice, which keeps rounding out. A vector that depends on the others becomes 0. */
static void orthonormalize(int64_t m, int b, double *v) {
    for (int i = 0; i < b; i++) {
        double *own = v + i * m, before = sqrt(dot(m, own, own));
        for (int again = 0; again < 2; again++)
            for (int j = 0; j < i; j++) {
                double along = dot(m, own, v + j * m);
                for (int64_t k = 0; k < m; k++)
                    own[k] -= along * v[j * m + k];
            }
        double norm = sqrt(dot(m, own, own));
        double scale = norm > 1e-12 * before && norm > 0 ? 1 / norm : 0;
        for (int64_t k = 0; k < m; k++)
            own[k] *= scale;
    }
}

/* Turns the block so that its vectors are the best approximations of eigenvectors within its span, largest
 * first. s->w is the matrix times the block before and after. `turned` [b,m] is room to work in. */
static void turn(struct block *s, double *turned) {
    double small[BLOCK * BLOCK], vectors[BLOCK * BLOCK];
    int order[BLOCK], b = s->b;
    for (int i = 0; i < b; i++)
        for (int j = 0; j < b; j++)
            small[i * b + j] = j < i ? small[j * b + i] : dot(s->m, s->v + i * s->m, s->w + j * s->m);
    jacobi(b, small, vectors);
    for (int i = 0; i < b; i++) {
        int at = i;
        for (; at > 0 && small[order[at - 1] * b + order[at - 1]] < small[i * b + i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (int pass = 0; pass < 2; pass++) {
        double *from = pass ? s->w : s->v;
        memset(turned, 0, (size_t)(b * s->m) * sizeof *turned);
        for (int i = 0; i < b; i++)
            for (int j = 0; j < b; j++)
                for (int64_t k = 0; k < s->m; k++)
                    turned[i * s->m + k] += vectors[j * b + order[i]] * from[j * s->m + k];
        memcpy(from, turned, (size_t)(b * s->m) * sizeof *turned);
    }
    for (int i = 0; i < b; i++)
        s->values[i] = small[order[i] * b + order[i]];
}

/* How far the first k vectors are from being eigenvectors, as a share of the largest value. */
static double residual(const struct block *s, int k) {
    double worst = 0;
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int64_t j = 0; j < s->m; j++) {
            double off = s->w[i * s->m + j] - s->values[i] * s->v[i * s->m + j];
            sum += off * off;
        }
        worst = sum > worst ? sum : worst;
    }
    return s->values[0] > 0 ? sqrt(worst) / s->values[0] : 0;
}

/* Vectors that are no eigenvectors of anything: fixed, so that the result is. */
static void start(struct block *s) {
    uint64_t state = 88172645463325252ULL;
    for (int64_t i = 0; i < s->b * s->m; i++) {
        state ^= state << 13; /* xorshift (Marsaglia 2003) */
        state ^= state >> 7;
        state ^= state << 17;
        s->v[i] = (double)(state >> 11) / 9007199254740992.0 - 0.5;
    }
    orthonormalize(s->m, s->b, s->v);
}

static int iterate(struct block *s, int k) {
    double *turned = gr_calloc((size_t)(s->b * s->m), sizeof *turned);
    int status = turned ? GR_OK : GR_ERROR_MEMORY;
    if (turned)
        start(s);
    for (int round = 0; !status && round < ROUNDS; round++) {
        gr_parallel(s->m, multiply_row, s);
        turn(s, turned);
        if (residual(s, k) < 1e-9)
            break;
        memcpy(s->v, s->w, (size_t)(s->b * s->m) * sizeof *s->v);
        orthonormalize(s->m, s->b, s->v);
        status = gr_interrupt_check();
    }
    gr_free(turned);
    return status;
}

/* ---- PCA ---- */

static int centre(int64_t n, int64_t d, const float *x, float *centred, double *total) {
    *total = 0;
    for (int64_t j = 0; j < d; j++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i * d + j];
        double mean = sum / (double)n;
        if (!isfinite(mean))
            return gr_fail(GR_ERROR_NUMBER, "the features are not all finite numbers");
        for (int64_t i = 0; i < n; i++) {
            double value = x[i * d + j] - mean;
            centred[i * d + j] = (float)value;
            *total += value * value;
        }
    }
    return GR_OK;
}

/* The score of each point along the i-th vector: for X'X the product with it, for XX' the vector itself,
 * which has length 1, times the square root of its value. */
static void score(const struct block *s, int i, int64_t n, int64_t d, const float *x, int k, float *scores) {
    double largest = 0;
    const double *v = s->v + i * s->m;
    double length = s->values[i] > 0 ? sqrt(s->values[i]) : 0;
    for (int64_t p = 0; p < n; p++) {
        double value = 0;
        for (int64_t j = 0; s->m == d && j < d; j++)
            value += x[p * d + j] * v[j];
        if (s->m != d)
            value = length * v[p];
        scores[p * k + i] = (float)value;
        largest = fabs(value) > fabs(largest) ? value : largest;
    }
    for (int64_t p = 0; largest < 0 && p < n; p++)
        scores[p * k + i] = -scores[p * k + i];
}

int gr_pca(int64_t n, int64_t d, const float *x, int k, float *scores, double *explained) {
    int64_t m = n < d ? n : d;
    if (k < 1 || k > m || k > GR_PCA_MOST || n > INT_MAX || d > INT_MAX)
        return gr_fail(GR_ERROR_SHAPE, "%d components cannot be had of %lld points of %lld numbers", k,
                       (long long)n, (long long)d);
    struct block s = {.m = m, .b = (int)(m < k + EXTRA ? m : k + EXTRA)};
    double total = 0;
    float *centred = gr_calloc((size_t)n, (size_t)d * sizeof *centred);
    float *matrix = gr_calloc((size_t)m, (size_t)m * sizeof *matrix);
    s.v = gr_calloc((size_t)(s.b * m), sizeof *s.v);
    s.w = gr_calloc((size_t)(s.b * m), sizeof *s.w);
    int status = centred && matrix && s.v && s.w ? GR_OK : GR_ERROR_MEMORY;
    if (!status)
        status = centre(n, d, x, centred, &total);
    if (!status) {
        gr_gemm_parallel(m == d, m != d, (int)m, (int)m, (int)(m == d ? n : d), 1, centred, (int)d, centred,
                         (int)d, 0, matrix, (int)m);
        s.matrix = matrix;
        status = iterate(&s, k);
    }
    for (int i = 0; !status && i < k; i++) {
        score(&s, i, n, d, centred, k, scores);
        explained[i] = total > 0 && s.values[i] > 0 ? s.values[i] / total : 0;
    }
    gr_free(centred);
    gr_free(matrix);
    gr_free(s.v);
    gr_free(s.w);
    return status;
}
