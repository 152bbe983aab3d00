#include "kernels/check_kernels.h"

#include "kernels/convolution.h"
#include "kernels/norm.h"

struct sizes {
    int64_t x, y, w;
};

static struct sizes sizes_of(const struct gr_convolution *v, int n) {
    return (struct sizes){(int64_t)n * v->h * v->w * v->c, (int64_t)n * v->oh * v->ow * v->k,
                          (int64_t)v->k * (v->c / v->groups) * v->kh * v->kw};
}

/* The three passes by their definition: y, gx and gw are added to; any may be NULL. */
static void naive(const struct gr_convolution *v, int n, const float *x, const float *w, const float *gy,
                  double *y, double *gx, double *gw) {
    int cg = v->c / v->groups, kg = v->k / v->groups;
    for (int64_t o = 0; o < (int64_t)n * v->oh * v->ow; o++)
        for (int r = 0; r < v->kh; r++)
            for (int s = 0; s < v->kw; s++) {
                int64_t photo = o / v->ow / v->oh;
                int row = (int)(o / v->ow % v->oh) * v->sh - v->top + r * v->dh;
                int column = (int)(o % v->ow) * v->sw - v->left + s * v->dw;
                if (row < 0 || row >= v->h || column < 0 || column >= v->w)
                    continue;
                for (int k = 0; k < v->k; k++)
                    for (int c = 0; c < cg; c++) {
                        int64_t xi = ((photo * v->h + row) * v->w + column) * v->c + k / kg * cg + c;
                        int64_t wi = (((int64_t)k * cg + c) * v->kh + r) * v->kw + s, yi = o * v->k + k;
                        if (y)
                            y[yi] += (double)x[xi] * w[wi];
                        if (gx)
                            gx[xi] += (double)gy[yi] * w[wi];
                        if (gw)
                            gw[wi] += (double)gy[yi] * x[xi];
                    }
            }
}

/* One set of results of all passes. */
struct results {
    float *y, *gx, *gw, *gb;
};

struct problem {
    enum gr_convolution_kernel kernel;
    struct gr_convolution v;
    int n;
    struct gr_epilogue epilogue;
    const float *x, *w, *gy, *scale, *gx0;
    bool accumulate;
};

static void free_results(struct results *r) {
    gr_free(r->y);
    gr_free(r->gx);
    gr_free(r->gw);
    gr_free(r->gb);
}

/* Scratch with NaN in it and a guard behind it. */
static float *new_scratch(const struct problem *p, bool backward, size_t *floats) {
    *floats = gr_convolution_scratch(p->kernel, &p->v, p->n, backward) / sizeof(float);
    float *scratch = unwritten((int64_t)*floats + 16);
    for (int i = 0; i < 16; i++)
        scratch[*floats + (size_t)i] = 12345;
    return scratch;
}

static void free_scratch(float *scratch, size_t floats) {
    for (int i = 0; i < 16; i++)
        assert_true(scratch[floats + (size_t)i] == 12345);
    gr_free(scratch);
}

static struct results run(const struct problem *p, int threads) {
    struct sizes s = sizes_of(&p->v, p->n);
    size_t floats, packed = gr_convolution_packed(p->kernel, &p->v);
    assert_int_equal(gr_threads_set(threads), 0);
    struct results r = {unwritten(s.y), unwritten(s.x), unwritten(s.w), unwritten(p->v.k)};
    float *weights = unwritten((int64_t)packed + 1), *scratch = new_scratch(p, false, &floats);

    weights[packed] = 54321;
    gr_convolution_pack(p->kernel, &p->v, p->w, p->scale, weights);
    gr_convolution_forward(p->kernel, &p->v, p->n, p->x, NULL, weights, &p->epilogue, r.y, scratch);
    free_scratch(scratch, floats);
    scratch = new_scratch(p, true, &floats);
    if (p->accumulate)
        memcpy(r.gx, p->gx0, sizeof(float) * (size_t)s.x);
    gr_convolution_backward(p->kernel, &p->v, p->n, p->x, NULL, p->gy, weights, r.gx, p->accumulate, r.gw,
                            r.gb, scratch);
    assert_true(weights[packed] == 54321);
    free_scratch(scratch, floats);
    gr_free(weights);
    return r;
}

static double activated(enum gr_activation f, double x) {
    double h = x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    switch (f) {
    case GR_RELU:
        return x > 0 ? x : 0;
    case GR_RELU6:
        return x < 0 ? 0 : x > 6 ? 6 : x;
    case GR_HARDSWISH:
        return x * h;
    default:
        return x;
    }
}

static double inner(int64_t count, const float *a, const float *b) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* <conv(x), gy> = <x, backward_data(gy)> = <w, backward_weights(x, gy)>, relative to |y| |gy|. */
static void check_adjoint(const struct problem *p, const struct results *r) {
    struct sizes s = sizes_of(&p->v, p->n);
    double one = inner(s.y, r->y, p->gy), two = inner(s.x, p->x, r->gx), three = inner(s.w, p->w, r->gw);
    double size = sqrt(inner(s.y, r->y, r->y) * inner(s.y, p->gy, p->gy)) + 1e-30;
    assert_true(fabs(one - two) / size < 1e-5);
    assert_true(fabs(one - three) / size < 1e-5);
}

static void check(enum gr_convolution_kernel kernel, struct gr_convolution v, int n, bool dressed) {
    struct sizes s = sizes_of(&v, n);
    int64_t wk = s.w / v.k;
    assert_true(gr_convolution_fits(kernel, &v));
    float *x = numbers(s.x, 1), *w = numbers(s.w, 2), *gy = numbers(s.y, 3), *bias = numbers(v.k, 4);
    float *residual = numbers(s.y, 5), *gx0 = numbers(s.x, 6), *scale = numbers(v.k, 7);
    struct problem p = {.kernel = kernel, .v = v, .n = n, .x = x, .w = w, .gy = gy, .gx0 = gx0};
    char what[160];
    snprintf(what, sizeof what,
             "%s n%d %dx%dx%d -> %dx%dx%d kernel %dx%d stride %d,%d dilation %d groups %d%s",
             gr_convolution_kernel_name(kernel), n, v.h, v.w, v.c, v.oh, v.ow, v.k, v.kh, v.kw, v.sh, v.sw,
             v.dh, v.groups, dressed ? " dressed" : "");
    if (dressed) {
        static const enum gr_activation activations[] = {GR_RELU, GR_HARDSWISH, GR_RELU6};
        p.epilogue = (struct gr_epilogue){bias, residual, activations[s.y % 3], 0, NULL};
        p.accumulate = true;
        p.scale = scale;
    }
    struct results one = run(&p, 1), two = run(&p, 2), again = run(&p, 2);
    check_same_bits(what, s.y, one.y, two.y);
    check_same_bits(what, s.x, one.gx, two.gx);
    check_same_bits(what, s.w, one.gw, two.gw);
    check_same_bits(what, v.k, one.gb, two.gb);
    check_same_bits(what, s.y, again.y, two.y);
    check_same_bits(what, s.x, again.gx, two.gx);
    check_same_bits(what, s.w, again.gw, two.gw);

    if (!dressed)
        check_adjoint(&p, &one);
    double *y = zeros(s.y), *gx = zeros(s.x), *gw = zeros(s.w), *gb = zeros(v.k);
    for (int64_t i = 0; dressed && i < s.w; i++)
        w[i] *= scale[i / wk];
    for (int64_t i = 0; dressed && i < s.x; i++)
        gx[i] = gx0[i];
    naive(&v, n, x, w, gy, y, gx, gw);
    for (int64_t i = 0; i < s.y; i++) {
        gb[i % v.k] += gy[i];
        if (dressed)
            y[i] = activated(p.epilogue.activation, y[i] + bias[i % v.k] + residual[i]);
    }
    double bound = kernel == GR_CONV_WINOGRAD ? 1e-5 : 2e-6;
    check_close(what, s.y, two.y, y, bound);
    check_close(what, s.x, two.gx, gx, bound);
    check_close(what, s.w, two.gw, gw, bound > 5e-6 ? bound : 5e-6);
    check_close(what, v.k, two.gb, gb, 5e-6);

    free_results(&one);
    free_results(&two);
    free_results(&again);
    float *arrays[] = {x, w, gy, bias, residual, gx0, scale};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
    double *doubles[] = {y, gx, gw, gb};
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        gr_free(doubles[i]);
}

/* Each gradient wanted alone is the same as with the others. */
static void check_alone(struct gr_convolution v, int n) {
    struct sizes s = sizes_of(&v, n);
    float *x = numbers(s.x, 1), *w = numbers(s.w, 2), *gy = numbers(s.y, 3), *gx = unwritten(s.x),
          *gw = unwritten(s.w);
    struct problem p = {.kernel = GR_CONV_WINOGRAD, .v = v, .n = n, .x = x, .w = w, .gy = gy};
    struct results r = run(&p, 2);
    size_t floats;
    float *packed = unwritten((int64_t)gr_convolution_packed(p.kernel, &v));
    float *scratch = new_scratch(&p, true, &floats);
    gr_convolution_pack(p.kernel, &v, w, NULL, packed);
    gr_convolution_backward(p.kernel, &v, n, NULL, NULL, gy, packed, gx, false, NULL, NULL, scratch);
    gr_convolution_backward(p.kernel, &v, n, x, NULL, gy, NULL, NULL, false, gw, NULL, scratch);
    check_same_bits("gradient of inputs alone", s.x, gx, r.gx);
    check_same_bits("gradient of weights alone", s.w, gw, r.gw);
    free_scratch(scratch, floats);
    free_results(&r);
    float *arrays[] = {x, w, gy, gx, gw, packed};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
}

static void both(enum gr_convolution_kernel kernel, struct gr_convolution v, int n) {
    check(kernel, v, n, false);
    check(kernel, v, n, true);
}

static const int extents[] = {1, 3, 7, 14, 15};
static const int widths[] = {1, 3, 16, 17, 64};

enum { EXTENTS = 5, WIDTHS = 5 };

static void test_pointwise(void **state) {
    (void)state;
    for (int e = 0; e < EXTENTS; e++)
        for (int a = 0; a < WIDTHS; a++)
            for (int b = 0; b < WIDTHS; b++)
                both(GR_CONV_SEGMENT,
                     geometry(extents[e], extents[(e + a) % EXTENTS], widths[a], widths[b], 1, 1, 1, 0, 0, 1),
                     1 + (a + b) % 3);
    both(GR_CONV_SEGMENT, geometry(14, 14, 256, 320, 1, 1, 1, 0, 0, 1), 4);
    both(GR_CONV_SEGMENT, geometry(7, 7, 512, 256, 1, 1, 1, 0, 0, 1), 1);
}

static void test_segment_sizes(void **state) {
    (void)state;
    for (int e = 0; e < EXTENTS; e++)
        for (int a = 0; a < WIDTHS; a++)
            for (int b = 0; b < WIDTHS; b++)
                both(GR_CONV_SEGMENT,
                     geometry(extents[e], extents[(e + b) % EXTENTS], widths[a], widths[b], 3, 1 + a % 3, 1,
                              1, 1, 1),
                     1 + (a + b) % 2);
}

static void test_segment_geometries(void **state) {
    (void)state;
    for (int stride = 1; stride <= 3; stride++)
        for (int dilation = 1; dilation <= 3; dilation++)
            for (int kernel = 1; kernel <= 5; kernel++) {
                int before = kernel / 2 * dilation, after = before > 0 ? before - 1 : 0;
                both(GR_CONV_SEGMENT, geometry(15, 14, 6, 9, kernel, stride, dilation, before, before, 3), 2);
                both(GR_CONV_SEGMENT, geometry(14, 15, 5, 17, kernel, stride, dilation, after, before, 1), 2);
                both(GR_CONV_SEGMENT, geometry(15, 15, 8, 8, kernel, stride, dilation, before + 1, before, 1),
                     1);
            }
    both(GR_CONV_SEGMENT, geometry(3, 3, 5, 4, 7, 1, 1, 3, 3, 1), 2); /* kernel larger than the photo */
    both(GR_CONV_SEGMENT, geometry(3, 4, 5, 4, 7, 2, 2, 6, 6, 1), 2);
    both(GR_CONV_SEGMENT, geometry(15, 15, 16, 16, 3, 1, 1, 1, 1, 16), 2); /* depthwise by products */
    both(GR_CONV_SEGMENT, geometry(31, 33, 3, 64, 7, 2, 1, 3, 3, 1), 2);   /* the stem of ResNet */
    struct gr_convolution oblong = {.h = 9,
                                    .w = 15,
                                    .c = 4,
                                    .oh = 9,
                                    .ow = 5,
                                    .k = 6,
                                    .kh = 1,
                                    .kw = 5,
                                    .sh = 1,
                                    .sw = 3,
                                    .dh = 1,
                                    .dw = 1,
                                    .left = 2,
                                    .groups = 2};
    both(GR_CONV_SEGMENT, oblong, 2);
}

static void test_segment_large(void **state) {
    (void)state;
    both(GR_CONV_SEGMENT, geometry(28, 28, 64, 64, 3, 1, 1, 1, 1, 1), 2);
    both(GR_CONV_SEGMENT, geometry(14, 14, 64, 128, 3, 2, 1, 1, 1, 1), 4);
    both(GR_CONV_SEGMENT, geometry(7, 7, 256, 256, 3, 1, 1, 1, 1, 1), 3);
    both(GR_CONV_SEGMENT, geometry(14, 14, 96, 96, 3, 1, 1, 1, 1, 8), 2);
    both(GR_CONV_SEGMENT, geometry(14, 14, 128, 64, 1, 2, 1, 0, 0, 1), 4);
}

static void test_depthwise(void **state) {
    (void)state;
    for (int e = 0; e < EXTENTS; e++)
        for (int a = 0; a < WIDTHS; a++)
            for (int kernel = 3; kernel <= 5; kernel += 2)
                for (int stride = 1; stride <= 3; stride++) {
                    int h = extents[e], w = extents[(e + stride) % EXTENTS], pad = kernel / 2;
                    both(GR_CONV_DEPTHWISE,
                         geometry(h, w, widths[a], widths[a], kernel, stride, 1, pad, pad, widths[a]), 2);
                }
    for (int dilation = 1; dilation <= 3; dilation++)
        for (int kernel = 1; kernel <= 8; kernel++)
            for (int stride = 1; stride <= 3; stride++)
                both(GR_CONV_DEPTHWISE,
                     geometry(14, 15, 24, 24, kernel, stride, dilation, kernel / 2 * dilation,
                              (kernel - 1) * dilation, 24),
                     1);
    both(GR_CONV_DEPTHWISE, geometry(56, 56, 40, 40, 3, 2, 1, 0, 1, 40), 2); /* TensorFlow's "same" */
    both(GR_CONV_DEPTHWISE, geometry(28, 28, 72, 72, 5, 2, 1, 1, 2, 72), 2);
    both(GR_CONV_DEPTHWISE, geometry(19, 18, 32, 32, 3, 2, 1, 0, 0, 32), 1); /* an odd last row */
    both(GR_CONV_DEPTHWISE, geometry(19, 18, 32, 32, 5, 2, 1, 2, 1, 32), 1); /* rows and columns differ */
}

/* Outputs so large that they are stored past the caches. */
static void test_depthwise_large(void **state) {
    (void)state;
    check(GR_CONV_DEPTHWISE, geometry(128, 129, 256, 256, 3, 1, 1, 1, 1, 256), 1, false);
    check(GR_CONV_DEPTHWISE, geometry(128, 129, 256, 256, 3, 2, 1, 1, 1, 256), 1, false);
}

/* Outputs so large that they are stored past the caches. */
static void test_large(void **state) {
    (void)state;
    check(GR_CONV_SEGMENT, geometry(128, 129, 3, 256, 1, 1, 1, 0, 0, 1), 1, false);
    check(GR_CONV_WINOGRAD, geometry(128, 129, 16, 256, 3, 1, 1, 1, 1, 1), 1, false);
}

static void test_winograd(void **state) {
    static const int channels[] = {16, 32, 48, 64, 80};
    (void)state;
    for (int e = 0; e < EXTENTS; e++)
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 5; b++) {
                int h = extents[e] < 3 ? 3 : extents[e], w = extents[(e + b) % EXTENTS] + 2;
                both(GR_CONV_WINOGRAD, geometry(h, w, channels[a], channels[b], 3, 1, 1, 1, 1, 1),
                     1 + (a + b) % 3);
            }
    for (int before = 0; before <= 2; before++)
        for (int after = 0; after <= 2; after++)
            both(GR_CONV_WINOGRAD, geometry(9, 6, 16, 32, 3, 1, 1, before, after, 1), 2);
    both(GR_CONV_WINOGRAD, geometry(57, 57, 64, 64, 3, 1, 1, 1, 1, 1), 2); /* several batches of tiles */
    both(GR_CONV_WINOGRAD, geometry(14, 14, 256, 192, 3, 1, 1, 1, 1, 1), 12);
}

/* Rows of tiles that batches, slots and pieces share: cut inside photos, with any padding. */
static void test_winograd_rows(void **state) {
    (void)state;
    for (int before = 0; before <= 2; before++)
        for (int after = 0; after <= 2; after += 2)
            both(GR_CONV_WINOGRAD, geometry(45, 31, 32, 16, 3, 1, 1, before, after, 1), 2);
    both(GR_CONV_WINOGRAD, geometry(30, 28, 128, 80, 3, 1, 1, 1, 1, 1), 7);
    both(GR_CONV_WINOGRAD, geometry(35, 34, 144, 160, 3, 1, 1, 1, 1, 1), 2); /* a batch ends inside a photo */
    check_alone(geometry(57, 57, 64, 64, 3, 1, 1, 1, 1, 1), 2);
    check_alone(geometry(15, 14, 144, 160, 3, 1, 1, 1, 1, 1), 3);
    struct gr_convolution v = geometry(14, 14, 64, 64, 3, 1, 1, 1, 1, 1);
    assert_true(gr_convolution_scratch(GR_CONV_WINOGRAD, &v, 6, false) + 9 * 64 * 64 * sizeof(float) <=
                gr_convolution_scratch(GR_CONV_WINOGRAD, &v, 6, true));
}

/* A prologue gives what the same pass gives on inputs that went through it before; statistics are those of
 * the results, whatever the number of threads. */
static void check_streams(enum gr_convolution_kernel kernel, struct gr_convolution v, int n, float offset) {
    struct sizes s = sizes_of(&v, n);
    float *x = numbers(s.x, 1), *w = numbers(s.w, 2), *gy = numbers(s.y, 3), *bias = numbers(v.k, 4);
    float *scale = numbers(v.c, 5), *shift = numbers(v.c, 6), *dressed = unwritten(s.x), *y = unwritten(s.y);
    float *gw = unwritten(s.w), *gw2 = unwritten(s.w), *moments[3];
    float *packed = unwritten((int64_t)gr_convolution_packed(kernel, &v));
    float *scratch = unwritten((int64_t)(gr_convolution_scratch(kernel, &v, n, true) / sizeof(float)));
    int64_t partials = gr_convolution_partials(kernel, &v, n);
    float *statistics = unwritten(partials * (int64_t)gr_statistics_floats(v.k));
    struct gr_prologue prologue = {scale, shift, GR_RELU6, 0};
    struct gr_epilogue epilogue = {bias, NULL, GR_IDENTITY, 0, statistics};
    double *wanted = zeros(s.y), *gwanted = zeros(s.w), *averages = zeros(v.k), *spreads = zeros(v.k);

    for (int k = 0; k < v.k; k++)
        bias[k] += offset; /* a mean that is far from 0 must not cost digits */
    for (int64_t i = 0; i < s.x; i++)
        dressed[i] = (float)activated(GR_RELU6, (double)x[i] * scale[i % v.c] + shift[i % v.c]);
    naive(&v, n, dressed, w, gy, wanted, NULL, gwanted);
    for (int threads = 1; threads <= 2; threads++) {
        moments[threads] = unwritten(2 * v.k);
        assert_int_equal(gr_threads_set(threads), 0);
        gr_convolution_pack(kernel, &v, w, NULL, packed);
        gr_convolution_forward(kernel, &v, n, x, &prologue, packed, &epilogue, y, scratch);
        gr_convolution_backward(kernel, &v, n, x, &prologue, gy, NULL, NULL, false, threads == 1 ? gw : gw2,
                                NULL, scratch);
        gr_statistics_merge(partials, v.k, statistics, moments[threads], moments[threads] + v.k);
    }
    check_same_bits("statistics", 2 * v.k, moments[1], moments[2]);
    check_same_bits("gradient under a prologue", s.w, gw, gw2);
    for (int64_t i = 0; i < s.y; i++)
        wanted[i] += bias[i % v.k];
    check_close("forward under a prologue", s.y, y, wanted, 1e-5);
    check_close("gradient under a prologue", s.w, gw, gwanted, 1e-5);
    int64_t rows = s.y / v.k;
    for (int64_t i = 0; i < s.y; i++)
        averages[i % v.k] += (double)y[i] / (double)rows;
    for (int64_t i = 0; i < s.y; i++)
        spreads[i % v.k] += (y[i] - averages[i % v.k]) * (y[i] - averages[i % v.k]) / (double)rows;
    check_close("mean", v.k, moments[1], averages, 1e-6);
    check_close("variance", v.k, moments[1] + v.k, spreads, 1e-5);

    float *arrays[] = {x,  w,   gy,     bias,    scale,      shift,      dressed,   y,
                       gw, gw2, packed, scratch, statistics, moments[1], moments[2]};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
    double *doubles[] = {wanted, gwanted, averages, spreads};
    for (size_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        gr_free(doubles[i]);
}

static void test_streams(void **state) {
    (void)state;
    for (int e = 1; e < EXTENTS; e++)
        for (int a = 1; a < WIDTHS; a++) { /* one channel alone may be all cancellation */
            int h = extents[e], w = extents[(e + a) % EXTENTS], c = widths[a], k = widths[2 + (a + e) % 3];
            check_streams(GR_CONV_SEGMENT, geometry(h, w, c, k, 1, 1, 1, 0, 0, 1), 3, 0);
            check_streams(GR_CONV_SEGMENT, geometry(h, w, c, k, 3, 2, 1, 1, 1, 1), 3, 100);
            check_streams(GR_CONV_WINOGRAD, geometry(h, w + 2, 16, 48, 3, 1, 1, 1, 1, 1), 2,
                          (float)(100 * (a % 2)));
        }
    check_streams(GR_CONV_SEGMENT, geometry(56, 56, 24, 144, 1, 1, 1, 0, 0, 1), 4, 3);
    check_streams(GR_CONV_SEGMENT, geometry(14, 15, 8, 24, 3, 1, 2, 2, 2, 4), 3, 3);
    check_streams(GR_CONV_WINOGRAD, geometry(57, 57, 64, 64, 3, 1, 1, 1, 1, 1), 2, 3);
    for (int kernel = 3; kernel <= 5; kernel += 2)
        for (int stride = 1; stride <= 2; stride++)
            for (int a = 1; a < WIDTHS; a++) {
                struct gr_convolution v = geometry(15, 16, widths[a], widths[a], kernel, stride, 1,
                                                   kernel / 2, kernel / 2, widths[a]);
                assert_true(gr_convolution_takes_norms(GR_CONV_DEPTHWISE, &v));
                check_streams(GR_CONV_DEPTHWISE, v, 3, 50);
            }
    check_streams(GR_CONV_DEPTHWISE, geometry(56, 57, 72, 72, 3, 1, 1, 1, 1, 72), 4, 3);
    struct gr_convolution wide = geometry(15, 15, 16, 16, 7, 1, 1, 3, 3, 16);
    assert_false(gr_convolution_takes_norms(GR_CONV_DEPTHWISE, &wide));
}

static void test_cost(void **state) {
    struct gr_convolution v = geometry(14, 14, 64, 64, 1, 1, 1, 0, 0, 1),
                          d = geometry(14, 14, 64, 64, 3, 1, 1, 1, 1, 64);
    (void)state;
    struct gr_convolution w = geometry(56, 56, 64, 64, 3, 1, 1, 1, 1, 1);
    assert_true(gr_convolution_cost(GR_CONV_WINOGRAD, &w, 8, 2) <
                gr_convolution_cost(GR_CONV_SEGMENT, &w, 8, 2));
    assert_true(gr_convolution_cost(GR_CONV_DEPTHWISE, &d, 8, 2) <
                gr_convolution_cost(GR_CONV_SEGMENT, &d, 8, 2));
    assert_true(gr_convolution_cost(GR_CONV_SEGMENT, &v, 8, 2) <
                gr_convolution_cost(GR_CONV_SEGMENT, &v, 16, 2));
    assert_false(gr_convolution_fits(GR_CONV_WINOGRAD, &v));
    assert_false(gr_convolution_fits(GR_CONV_DEPTHWISE, &v));
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_segment_sizes),
        cmocka_unit_test(test_segment_geometries),
        cmocka_unit_test(test_segment_large),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_depthwise_large),
        cmocka_unit_test(test_winograd),
        cmocka_unit_test(test_winograd_rows),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
