#include "kernels/check_kernels.h"

#include "kernels/pool.h"

/* Pools of photos that are sorted nowhere: ties do not occur. `y` forward, `gx` added to backward. */
static void naive(const struct gr_pooling *p, int n, bool average, const float *x, const float *gy, double *y,
                  double *gx) {
    for (int64_t o = 0; o < (int64_t)n * p->oh * p->ow * p->c; o++) {
        int c = (int)(o % p->c), ow = (int)(o / p->c % p->ow), oh = (int)(o / p->c / p->ow % p->oh);
        int64_t photo = o / p->c / p->ow / p->oh, best = -1;
        double sum = 0, count = 0;
        for (int pass = 0; pass < 2; pass++) /* the second one spreads the gradient of an average */
            for (int r = 0; r < p->kh; r++)
                for (int s = 0; s < p->kw; s++) {
                    int h = oh * p->sh - p->top + r, w = ow * p->sw - p->left + s;
                    bool inside = h >= 0 && w >= 0 && h < p->h && w < p->w;
                    int64_t at = ((photo * p->h + h) * p->w + w) * p->c + c;
                    if (pass == 1 && inside && average)
                        gx[at] += gy[o] / count;
                    if (pass == 1)
                        continue;
                    count += p->count_padding ? h < p->h + p->bottom && w < p->w + p->right : inside;
                    if (!inside)
                        continue;
                    sum += x[at];
                    if (best < 0 || x[at] > x[best])
                        best = at;
                }
        y[o] = average ? sum / count : x[best];
        if (!average)
            gx[best] += gy[o];
    }
}

static void check(const struct gr_pooling *p, int n, bool average, bool accumulate) {
    int64_t in = (int64_t)n * p->h * p->w * p->c, out = (int64_t)n * p->oh * p->ow * p->c;
    float *x = numbers(in, 1), *gy = numbers(out, 2), *gx0 = numbers(in, 3);
    double *y = zeros(out), *gx = zeros(in);
    float *got[2], *got_gx[2];
    uint8_t *argmax = gr_alloc((size_t)out);
    for (int64_t i = 0; accumulate && i < in; i++)
        gx[i] = gx0[i];
    naive(p, n, average, x, gy, y, gx);
    for (int threads = 1; threads <= 2; threads++) {
        float *to = got[threads - 1] = unwritten(out), *to_gx = got_gx[threads - 1] = unwritten(in);
        assert_int_equal(gr_threads_set(threads), 0);
        if (accumulate)
            memcpy(to_gx, gx0, sizeof(float) * (size_t)in);
        if (average) {
            gr_avg_pool_forward(p, n, x, to);
            gr_avg_pool_backward(p, n, gy, to_gx, accumulate);
        } else {
            gr_max_pool_forward(p, n, x, to, NULL);
            gr_max_pool_forward(p, n, x, to, argmax);
            gr_max_pool_backward(p, n, argmax, gy, to_gx, accumulate);
        }
    }
    check_same_bits("pool", out, got[0], got[1]);
    check_same_bits("pool backward", in, got_gx[0], got_gx[1]);
    check_close("pool", out, got[1], y, average ? 1e-6 : 0);
    check_close("pool backward", in, got_gx[1], gx, 1e-6);
    float *arrays[] = {x, gy, gx0, got[0], got[1], got_gx[0], got_gx[1]};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
    gr_free(y);
    gr_free(gx);
    gr_free(argmax);
}

/* Output size as PyTorch computes it: with `ceil` the last window may stick out, but must start inside. */
static int outputs(int size, int kernel, int stride, int before, int after, bool ceil) {
    int room = size + before + after - kernel + (ceil ? stride - 1 : 0), count = room / stride + 1;
    if (ceil && (count - 1) * stride >= size + before)
        count--;
    return count;
}

static void test_windows(void **state) {
    static const int widths[] = {1, 3, 16, 17, 64};
    (void)state;
    for (int i = 0; i < 5 * 3 * 3 * 4; i++) {
        int c = widths[i % 5], kernel = 1 + i / 5 % 3, stride = 1 + i / 15 % 3, flags = i / 45;
        int before = kernel / 2, after = flags & 1 ? before : kernel / 3;
        struct gr_pooling p = {.h = 14,
                               .w = 15,
                               .c = c,
                               .kh = kernel,
                               .kw = kernel,
                               .sh = stride,
                               .sw = stride,
                               .top = before,
                               .left = before,
                               .bottom = after,
                               .right = after,
                               .count_padding = flags & 1};
        p.oh = outputs(p.h, kernel, stride, before, after, flags & 2);
        p.ow = outputs(p.w, kernel, stride, before, after, flags & 2);
        for (int average = 0; average < 2; average++) {
            check(&p, 2, average, false);
            check(&p, 1, average, true);
        }
    }
}

/* A gradient so large that it is stored past the caches, and windows that overlap many times over. */
static void test_extremes(void **state) {
    struct gr_pooling large = {512, 513, 16, 256, 257, 3, 3, 2, 2, 1, 1, 1, 1, false};
    struct gr_pooling dense = {19, 18, 24, 19, 18, 7, 7, 1, 1, 3, 3, 3, 3, false};
    (void)state;
    for (int average = 0; average < 2; average++) {
        check(&large, 1, average, false);
        check(&dense, 1, average, false);
        check(&dense, 1, average, true);
    }
}

static void test_nan_wins(void **state) {
    struct gr_pooling p = {.h = 1, .w = 3, .c = 1, .oh = 1, .ow = 1, .kh = 1, .kw = 3, .sh = 1, .sw = 1};
    float x[3] = {1, NAN, 2}, y;
    (void)state;
    gr_max_pool_forward(&p, 1, x, &y, NULL);
    assert_true(isnan(y));
}

static void check_adaptive(int n, int h, int w, int c, int oh, int ow) {
    int64_t in = (int64_t)n * h * w * c, out = (int64_t)n * oh * ow * c;
    float *x = numbers(in, 1), *gy = numbers(out, 2), *y = unwritten(out), *gx = numbers(in, 3);
    float *gx0 = numbers(in, 3);
    double *mean = zeros(out), *largest = zeros(out), *gmean = zeros(in), *glargest = zeros(in);
    int32_t *argmax = gr_alloc(sizeof *argmax * (size_t)out);
    for (int64_t i = 0; i < in; i++)
        gmean[i] = gx0[i];
    for (int64_t o = 0; o < out; o++) {
        int i = (int)(o / c / ow % oh), j = (int)(o / c % ow);
        int top = i * h / oh, bottom = ((i + 1) * h + oh - 1) / oh, left = j * w / ow;
        int right = ((j + 1) * w + ow - 1) / ow;
        double count = (bottom - top) * (right - left);
        int64_t best = -1;
        for (int r = top; r < bottom; r++)
            for (int s = left; s < right; s++) {
                int64_t at = ((o / c / ow / oh * h + r) * w + s) * c + o % c;
                mean[o] += x[at] / count;
                gmean[at] += gy[o] / count;
                if (best < 0 || x[at] > x[best])
                    best = at;
            }
        largest[o] = x[best];
        glargest[best] += gy[o];
    }
    gr_adaptive_avg_forward(n, h, w, c, oh, ow, x, y);
    check_close("adaptive average", out, y, mean, 1e-6);
    gr_adaptive_avg_backward(n, h, w, c, oh, ow, gy, gx, true);
    check_close("adaptive average backward", in, gx, gmean, 1e-6);
    gr_adaptive_max_forward(n, h, w, c, oh, ow, x, y, argmax);
    check_close("adaptive max", out, y, largest, 0);
    gr_adaptive_max_backward(n, h, w, c, oh, ow, argmax, gy, gx, false);
    check_close("adaptive max backward", in, gx, glargest, 1e-6);
    float *arrays[] = {x, gy, y, gx, gx0};
    for (int i = 0; i < 5; i++)
        gr_free(arrays[i]);
    double *doubles[] = {mean, largest, gmean, glargest};
    for (int i = 0; i < 4; i++)
        gr_free(doubles[i]);
    gr_free(argmax);
}

static void test_adaptive(void **state) {
    (void)state;
    check_adaptive(2, 7, 7, 64, 1, 1);
    check_adaptive(1, 1, 1, 3, 1, 1);
    check_adaptive(2, 15, 14, 17, 7, 7);
    check_adaptive(1, 7, 5, 16, 3, 4);
    check_adaptive(2, 3, 3, 5, 7, 7); /* more outputs than inputs, as VGG does with small photos */
}

static int group(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows), cmocka_unit_test(test_extremes),
                                       cmocka_unit_test(test_nan_wins), cmocka_unit_test(test_adaptive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
