#include "kernels/check_kernels.h"

#include "kernels/norm.h"

struct normed {
    float *mean, *variance, *sum, *gx, *gweight, *gbias;
};

static void free_normed(struct normed *r) {
    gr_free(r->mean);
    gr_free(r->variance);
    gr_free(r->sum);
    gr_free(r->gx);
    gr_free(r->gweight);
    gr_free(r->gbias);
}

static const double epsilon = 1e-5;

static struct normed run(int64_t rows, int c, const float *x, const float *weight, const float *gy,
                         const float *gx0, bool accumulate, bool fixed, int threads) {
    struct normed r = {unwritten(c),        unwritten(c), unwritten(c),
                       unwritten(rows * c), unwritten(c), unwritten(c)};
    float *inverse_std = unwritten(c);
    assert_int_equal(gr_threads_set(threads), 0);
    gr_channel_statistics(rows, c, x, r.mean, r.variance);
    gr_channel_sum(rows, c, x, r.sum);
    for (int j = 0; j < c; j++)
        inverse_std[j] = (float)(1 / sqrt(r.variance[j] + epsilon));
    if (accumulate)
        memcpy(r.gx, gx0, sizeof(float) * (size_t)(rows * c));
    (fixed ? gr_fixed_norm_backward : gr_batch_norm_backward)(rows, c, x, r.mean, inverse_std, weight, gy,
                                                              r.gx, accumulate, r.gweight, r.gbias);
    gr_free(inverse_std);
    return r;
}

struct wanted {
    double *mean, *variance, *sum, *gx, *gweight, *gbias;
};

static void naive(int64_t rows, int c, const float *x, const float *weight, const float *gy, bool fixed,
                  struct wanted *w) {
    for (int j = 0; j < c; j++) {
        for (int64_t i = 0; i < rows; i++)
            w->sum[j] += x[i * c + j];
        w->mean[j] = w->sum[j] / (double)rows;
        for (int64_t i = 0; i < rows; i++)
            w->variance[j] += (x[i * c + j] - w->mean[j]) * (x[i * c + j] - w->mean[j]) / (double)rows;
        double inverse_std = 1 / sqrt(w->variance[j] + epsilon),
               factor = inverse_std * (weight ? weight[j] : 1);
        for (int64_t i = 0; i < rows; i++) {
            w->gbias[j] += gy[i * c + j];
            w->gweight[j] += gy[i * c + j] * (x[i * c + j] - w->mean[j]) * inverse_std;
        }
        for (int64_t i = 0; i < rows; i++) {
            double xhat = (x[i * c + j] - w->mean[j]) * inverse_std;
            double g = fixed ? 0 : (w->gbias[j] + xhat * w->gweight[j]) / (double)rows;
            w->gx[i * c + j] += factor * (gy[i * c + j] - g);
        }
    }
}

static void check_batch(int64_t rows, int c, float offset, bool accumulate, bool fixed, bool weighted) {
    int64_t count = rows * c;
    float *x = numbers(count, 1), *gy = numbers(count, 2), *gx0 = numbers(count, 3), *weight = numbers(c, 4);
    const float *w = weighted ? weight : NULL;
    struct wanted wanted = {zeros(c), zeros(c), zeros(c), zeros(count), zeros(c), zeros(c)};
    char what[80];
    snprintf(what, sizeof what, "%s norm %lld x %d", fixed ? "fixed" : "batch", (long long)rows, c);
    for (int64_t i = 0; i < count; i++) {
        x[i] += offset * (float)(1 + i % c);
        wanted.gx[i] = accumulate ? gx0[i] : 0;
    }
    naive(rows, c, x, w, gy, fixed, &wanted);
    struct normed one = run(rows, c, x, w, gy, gx0, accumulate, fixed, 1);
    struct normed two = run(rows, c, x, w, gy, gx0, accumulate, fixed, 2);
    check_same_bits(what, c, one.mean, two.mean);
    check_same_bits(what, c, one.variance, two.variance);
    check_same_bits(what, c, one.sum, two.sum);
    check_same_bits(what, count, one.gx, two.gx);
    check_same_bits(what, c, one.gweight, two.gweight);
    check_same_bits(what, c, one.gbias, two.gbias);
    check_close(what, c, two.mean, wanted.mean, 2e-6);
    check_close(what, c, two.variance, wanted.variance, rows > 1 ? 2e-6 : 1e-12);
    check_close(what, c, two.sum, wanted.sum, 2e-6);
    if (rows > 1 || fixed) { /* with one row the gradient is 0 / 0 in relative terms */
        check_close(what, count, two.gx, wanted.gx, 1e-5);
        check_close(what, c, two.gweight, wanted.gweight, 1e-5);
    }
    check_close(what, c, two.gbias, wanted.gbias, 5e-6);
    free_normed(&one);
    free_normed(&two);
    float *arrays[] = {x, gy, gx0, weight};
    for (int i = 0; i < 4; i++)
        gr_free(arrays[i]);
    double *doubles[] = {wanted.mean, wanted.variance, wanted.sum, wanted.gx, wanted.gweight, wanted.gbias};
    for (int i = 0; i < 6; i++)
        gr_free(doubles[i]);
}

static void test_batch_norm(void **state) {
    static const int rows[] = {1, 9, 49, 196, 3137}, widths[] = {1, 3, 16, 17, 64, 300};
    (void)state;
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < 6; j++)
            for (int flags = 0; flags < 8; flags++)
                check_batch(rows[i], widths[j], 0, flags & 1, flags & 2, flags & 4);
    check_batch(50000, 24, 0, false, false, true);
    check_batch(3136, 64, 3, false, false, true); /* means far from 0, up to 64 times 3 */
}

/* Values that lie elsewhere in the first rows than in the others: each row is read once, against the mean of
 * the rows before it. */
static void test_statistics_of_steps(void **state) {
    static const int64_t first[] = {1, 40, 2000, 19000};
    enum { ROWS = 20000, C = 17 };
    (void)state;
    for (int i = 0; i < 4; i++) {
        float *x = numbers(ROWS * C, 1), mean[C], variance[C];
        double wanted_mean[C] = {0}, wanted_variance[C] = {0};
        for (int64_t at = first[i] * C; at < ROWS * C; at++)
            x[at] += 1000;
        for (int64_t at = 0; at < ROWS * C; at++)
            wanted_mean[at % C] += x[at] / (double)ROWS;
        for (int64_t at = 0; at < ROWS * C; at++)
            wanted_variance[at % C] += pow(x[at] - wanted_mean[at % C], 2) / ROWS;
        gr_channel_statistics(ROWS, C, x, mean, variance);
        check_close("mean of steps", C, mean, wanted_mean, 2e-6);
        check_close("variance of steps", C, variance, wanted_variance, 2e-6);
        gr_free(x);
    }
}

struct grouped {
    float *y, *mean, *inverse_std, *gx, *gweight, *gbias;
};

static struct grouped run_group(int n, int pixels, int c, int groups, const float *x, const float *weight,
                                const float *bias, const float *gy, const float *gx0, int threads) {
    int64_t count = (int64_t)n * pixels * c;
    struct grouped r = {unwritten(count), unwritten(n * groups), unwritten(n * groups),
                        unwritten(count), unwritten(c),          unwritten(c)};
    assert_int_equal(gr_threads_set(threads), 0);
    gr_group_norm_forward(n, pixels, c, groups, (float)epsilon, x, weight, bias, r.y, r.mean, r.inverse_std);
    memcpy(r.gx, gx0, sizeof(float) * (size_t)count);
    void *scratch = gr_alloc(gr_group_norm_scratch(n, c));
    gr_group_norm_backward(n, pixels, c, groups, x, r.mean, r.inverse_std, weight, gy, r.gx, true, r.gweight,
                           r.gbias, scratch);
    gr_free(scratch);
    return r;
}

static void free_grouped(struct grouped *r) {
    gr_free(r->y);
    gr_free(r->mean);
    gr_free(r->inverse_std);
    gr_free(r->gx);
    gr_free(r->gweight);
    gr_free(r->gbias);
}

/* One photo's group: channels first..first+cg-1 of `pixels` pixels. */
static void naive_group(int pixels, int c, int first, int cg, const float *x, const float *weight,
                        const float *bias, const float *gy, double *y, double *gx, double *gweight,
                        double *gbias) {
    double count = (double)pixels * cg, mean = 0, variance = 0, sum = 0, product = 0;
    for (int p = 0; p < pixels; p++)
        for (int j = first; j < first + cg; j++)
            mean += x[p * c + j] / count;
    for (int p = 0; p < pixels; p++)
        for (int j = first; j < first + cg; j++)
            variance += (x[p * c + j] - mean) * (x[p * c + j] - mean) / count;
    double inverse_std = 1 / sqrt(variance + epsilon);
    for (int p = 0; p < pixels; p++)
        for (int j = first; j < first + cg; j++) {
            double xhat = (x[p * c + j] - mean) * inverse_std, w = weight ? weight[j] : 1;
            y[p * c + j] = xhat * w + (bias ? bias[j] : 0);
            gweight[j] += gy[p * c + j] * xhat;
            gbias[j] += gy[p * c + j];
            sum += gy[p * c + j] * w / count;
            product += gy[p * c + j] * w * xhat / count;
        }
    for (int p = 0; p < pixels; p++)
        for (int j = first; j < first + cg; j++) {
            double xhat = (x[p * c + j] - mean) * inverse_std, w = weight ? weight[j] : 1;
            gx[p * c + j] += inverse_std * (gy[p * c + j] * w - sum - xhat * product);
        }
}

static void check_group(int n, int pixels, int c, int groups, bool weighted) {
    int64_t count = (int64_t)n * pixels * c, photo = (int64_t)pixels * c;
    float *x = numbers(count, 1), *gy = numbers(count, 2), *gx0 = numbers(count, 3);
    float *weight = numbers(c, 4), *bias = numbers(c, 5);
    const float *w = weighted ? weight : NULL, *b = weighted ? bias : NULL;
    double *y = zeros(count), *gx = zeros(count), *gweight = zeros(c), *gbias = zeros(c);
    for (int64_t i = 0; i < count; i++) {
        x[i] += 2;
        gx[i] = gx0[i];
    }
    for (int i = 0; i < n * groups; i++) {
        int64_t at = i / groups * photo;
        naive_group(pixels, c, i % groups * (c / groups), c / groups, x + at, w, b, gy + at, y + at, gx + at,
                    gweight, gbias);
    }
    struct grouped one = run_group(n, pixels, c, groups, x, w, b, gy, gx0, 1);
    struct grouped two = run_group(n, pixels, c, groups, x, w, b, gy, gx0, 2);
    check_same_bits("group norm", count, one.y, two.y);
    check_same_bits("group norm gx", count, one.gx, two.gx);
    check_same_bits("group norm gweight", c, one.gweight, two.gweight);
    check_close("group norm", count, two.y, y, 3e-6);
    check_close("group norm gx", count, two.gx, gx, 1e-5);
    check_close("group norm gweight", c, two.gweight, gweight, 1e-5);
    check_close("group norm gbias", c, two.gbias, gbias, 5e-6);
    free_grouped(&one);
    free_grouped(&two);
    float *arrays[] = {x, gy, gx0, weight, bias};
    for (int i = 0; i < 5; i++)
        gr_free(arrays[i]);
    double *doubles[] = {y, gx, gweight, gbias};
    for (int i = 0; i < 4; i++)
        gr_free(doubles[i]);
}

static void test_group_norm(void **state) {
    (void)state;
    for (int weighted = 0; weighted < 2; weighted++) {
        check_group(2, 49, 32, 8, weighted);
        check_group(1, 15, 6, 3, weighted);
        check_group(3, 196, 17, 1, weighted);
        check_group(2, 49, 600, 2, weighted);
        check_group(2, 100, 16, 16, weighted);
        check_group(2, 300, 24, 8, weighted);  /* rows taken together */
        check_group(1, 20, 320, 10, weighted); /* several strips, the last one short */
    }
}

static int group(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_batch_norm),
                                       cmocka_unit_test(test_statistics_of_steps),
                                       cmocka_unit_test(test_group_norm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
