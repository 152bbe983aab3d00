/* Convolutions of reduced precision against double precision over operands that are rounded as the kernel
 * should. */
#include "kernels/check_kernels.h"

#include "kernels/convolution.h"

static float to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (!isnan(x))
        bits += 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof bits);
    return x;
}

static void round_all(int64_t count, float *x) {
    for (int64_t i = 0; i < count; i++)
        x[i] = to_bf16(x[i]);
}

static void naive(const struct gr_convolution *v, int n, const float *x, const float *w, double *y) {
    for (int64_t o = 0; o < (int64_t)n * v->oh * v->ow; o++)
        for (int r = 0; r < v->kh; r++)
            for (int s = 0; s < v->kw; s++) {
                int64_t photo = o / v->ow / v->oh;
                int row = (int)(o / v->ow % v->oh) * v->sh - v->top + r * v->dh;
                int column = (int)(o % v->ow) * v->sw - v->left + s * v->dw;
                if (row < 0 || row >= v->h || column < 0 || column >= v->w)
                    continue;
                const float *pixel = x + ((photo * v->h + row) * v->w + column) * v->c;
                for (int k = 0; k < v->k; k++)
                    for (int c = 0; c < v->c; c++)
                        y[o * v->k + k] +=
                            (double)pixel[c] * w[(((int64_t)k * v->c + c) * v->kh + r) * v->kw + s];
            }
}

enum { GUARD = 16 };

/* One forward pass. What may not be written has a guard behind it, what is not written yet is NaN. */
static float *forward(enum gr_convolution_kernel kernel, const struct gr_convolution *v, int n,
                      const float *x, const float *w, const float *scale, const struct gr_epilogue *epilogue,
                      int threads) {
    assert_int_equal(gr_threads_set(threads), 0);
    size_t packed = gr_convolution_packed(kernel, v);
    size_t floats = gr_convolution_scratch(kernel, v, n, false) / sizeof(float);
    float *weights = unwritten((int64_t)packed + GUARD), *scratch = unwritten((int64_t)floats + GUARD);
    float *y = unwritten((int64_t)n * v->oh * v->ow * v->k);
    for (size_t i = 0; i < GUARD; i++)
        weights[packed + i] = scratch[floats + i] = 12345;
    gr_convolution_pack(kernel, v, w, scale, weights);
    gr_convolution_forward(kernel, v, n, x, NULL, weights, epilogue, y, scratch);
    for (size_t i = 0; i < GUARD; i++)
        assert_true(weights[packed + i] == 12345 && scratch[floats + i] == 12345);
    gr_free(weights);
    gr_free(scratch);
    return y;
}

static double activated(enum gr_activation f, double a, double x) {
    double h = x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    return f == GR_RELU         ? fmax(x, 0)
           : f == GR_RELU6      ? fmin(fmax(x, 0), 6)
           : f == GR_LEAKY_RELU ? (x > 0 ? x : a * x)
           : f == GR_HARDSWISH  ? x * h
                                : x;
}

/* The bounds of the inputs in integers: of both signs, as behind a ReLU, and of one sign beyond 0. */
static const float bounds[][2] = {{-1, 1.1f}, {0, 6}, {-0.25f, 2}};

/* Moves inputs and weights to where integers put them exactly, so that only the sums can differ. */
static void round_to_integers(const struct gr_convolution *v, int64_t xs, float *x, int64_t row, float *w) {
    double step = ((double)v->high - v->low) / 255, zero = rint(-v->low / step);
    for (int64_t i = 0; i < xs; i++)
        x[i] = (float)((rint((x[i] + 1) / 2 * 255) - zero) * step);
    for (int64_t i = 0; i < row * v->k; i++)
        w[i] = i % row ? (float)(rint(w[i] * 127) / 127) : 1;
}

static void check_kernel(enum gr_convolution_kernel kernel, struct gr_convolution v, int n, bool dressed) {
    static const enum gr_activation activations[] = {GR_RELU, GR_HARDSWISH, GR_RELU6, GR_LEAKY_RELU};
    int64_t xs = (int64_t)n * v.h * v.w * v.c, ys = (int64_t)n * v.oh * v.ow * v.k, row = v.c * v.kh * v.kw;
    float *x = numbers(xs, 1), *w = numbers(row * v.k, 2), *bias = numbers(v.k, 3),
          *residual = numbers(ys, 4);
    float *scale = numbers(v.k, 5);
    double *wanted = zeros(ys);
    struct gr_epilogue epilogue = {bias, residual, activations[ys % 4], 0.1f, NULL};
    const struct gr_epilogue *after = dressed ? &epilogue : NULL;
    if (kernel == GR_CONV_SEGMENT_INT8) {
        v.low = bounds[ys % 3][0];
        v.high = bounds[ys % 3][1];
        round_to_integers(&v, xs, x, row, w);
    }
    char what[160];
    snprintf(what, sizeof what, "%s n%d %dx%dx%d -> %dx%dx%d kernel %dx%d stride %d dilation %d%s",
             gr_convolution_kernel_name(kernel), n, v.h, v.w, v.c, v.oh, v.ow, v.k, v.kh, v.kw, v.sh, v.dh,
             dressed ? " dressed" : "");
    assert_true(gr_convolution_fits(kernel, &v));
    float *one = forward(kernel, &v, n, x, w, dressed ? scale : NULL, after, 1);
    float *two = forward(kernel, &v, n, x, w, dressed ? scale : NULL, after, 2);
    check_same_bits(what, ys, one, two);
    for (int64_t i = 0; dressed && i < row * v.k; i++)
        w[i] *= scale[i / row];
    if (kernel == GR_CONV_SEGMENT_BF16) {
        round_all(row * v.k, w);
        round_all(xs, x);
    }
    naive(&v, n, x, w, wanted);
    for (int64_t i = 0; dressed && i < ys; i++)
        wanted[i] = activated(epilogue.activation, 0.1f, wanted[i] + bias[i % v.k] + residual[i]);
    check_close(what, ys, two, wanted, 2e-6);
    float *arrays[] = {x, w, bias, residual, scale, one, two};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
    gr_free(wanted);
}

static void check(struct gr_convolution v, int n, bool dressed) {
    check_kernel(GR_CONV_SEGMENT_BF16, v, n, dressed);
    check_kernel(GR_CONV_SEGMENT_INT8, v, n, dressed);
}

static void both(struct gr_convolution v, int n) {
    check(v, n, false);
    check(v, n, true);
}

static void products_are_those_of_rounded_operands(void **state) {
    static const int extents[] = {1, 3, 7, 14, 15}, widths[] = {1, 3, 16, 17, 64};
    (void)state;
    for (int e = 0; e < 5; e++)
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 5; b++) {
                int h = extents[e], w = extents[(e + b) % 5];
                both(geometry(h, w, widths[a], widths[b], 1, 1, 1, 0, 0, 1), 1 + (a + b) % 3);
                both(geometry(h, w, widths[a], widths[b], 3, 1 + a % 3, 1, 1, 1, 1), 1 + (a + b) % 2);
            }
}

static void every_geometry(void **state) {
    (void)state;
    for (int stride = 1; stride <= 3; stride++)
        for (int dilation = 1; dilation <= 3; dilation++)
            for (int kernel = 1; kernel <= 5; kernel++) {
                int before = kernel / 2 * dilation, after = before > 0 ? before - 1 : 0;
                both(geometry(14, 15, 5, 17, kernel, stride, dilation, after, before, 1), 2);
                both(geometry(15, 15, 8, 8, kernel, stride, dilation, before + 1, before, 1), 1);
            }
    both(geometry(3, 3, 5, 4, 7, 1, 1, 3, 3, 1), 2); /* kernel larger than the photo */
    both(geometry(3, 4, 5, 4, 7, 2, 2, 6, 6, 1), 2);
    both(geometry(31, 33, 3, 64, 7, 2, 1, 3, 3, 1), 2); /* the stem of ResNet */
    struct gr_convolution oblong = {.h = 9, .w = 15, .c = 3, .oh = 9, .ow = 5, .k = 6, .kh = 1, .kw = 5};
    oblong.sh = oblong.dh = oblong.dw = oblong.groups = 1;
    oblong.sw = 3;
    oblong.left = 2;
    both(oblong, 2);
}

static void many_chunks_and_few(void **state) {
    (void)state;
    both(geometry(56, 56, 64, 64, 3, 1, 1, 1, 1, 1), 2);
    both(geometry(14, 14, 256, 320, 1, 1, 1, 0, 0, 1), 4);
    both(geometry(7, 7, 512, 512, 3, 1, 1, 1, 1, 1), 1); /* panels are cut into pieces */
    both(geometry(14, 14, 128, 64, 1, 2, 1, 0, 0, 1), 4);
    both(geometry(2, 2, 24, 40, 3, 1, 1, 1, 1, 1), 65); /* several photos a chunk, the last with fewer */
}

/* With one weight of 1 the output is the rounded input: to the nearest, ties to even, and what is not a
 * number stays so, but its neighbours do not become so. */
static void inputs_are_rounded_to_the_nearest(void **state) {
    static const uint32_t bits[] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0xbf808000,
                                    0x7f7fffff, 0x7f800000, 0xff800000, 0x00000000, 0x80000000, 0x3fffffff,
                                    0x7fc00000, 0x42f6e979, 0x7f800001, 0x00800000, 0x4b7fffff};
    enum { COUNT = sizeof bits / sizeof *bits };
    struct gr_convolution v = geometry(1, COUNT, 1, 1, 1, 1, 1, 0, 0, 1);
    float x[COUNT], w = 1;
    (void)state;
    memcpy(x, bits, sizeof x);
    float *y = forward(GR_CONV_SEGMENT_BF16, &v, 1, x, &w, NULL, NULL, 1);
    for (int i = 0; i < COUNT; i++)
        if (i + 1 < COUNT && !isfinite(to_bf16(x[i + 1])))
            continue; /* read along with this one, at weight 0 */
        else if (isnan(x[i]))
            assert_true(isnan(y[i]));
        else
            assert_true(y[i] == to_bf16(x[i]));
    gr_free(y);
}

/* With one weight of 1, the output is the input in 256 steps between the bounds, cut off there; weights have
 * 255 steps, the same on both sides, for each channel by itself. */
static void integers_are_cut_off_at_the_bounds(void **state) {
    const float x[] = {-5, -1, -0.999f, -0.004f, 0, 0.003f, 0.5f, 2.9f, 3, 3.1f, INFINITY, -INFINITY, NAN};
    enum { COUNT = sizeof x / sizeof *x };
    struct gr_convolution v = geometry(1, COUNT, 1, 1, 1, 1, 1, 0, 0, 1);
    float w = 1;
    (void)state;
    v.low = -1;
    v.high = 3;
    float step = 4.0f / 255, *y = forward(GR_CONV_SEGMENT_INT8, &v, 1, x, &w, NULL, NULL, 1);
    for (int i = 0; i < COUNT - 1; i++) {
        float cut = x[i] < -1 ? -1 : x[i] > 3 ? 3 : x[i];
        assert_true(fabsf(y[i] - cut) <= 0.51f * step);
    }
    assert_true(y[4] == 0 && isfinite(y[COUNT - 1]));
    gr_free(y);

    struct gr_convolution two = geometry(1, 1, 2, 2, 1, 1, 1, 0, 0, 1);
    float weights[] = {100, 1, 0.002f, -0.001f}, pixel[] = {0, 1};
    two.high = 1;
    y = forward(GR_CONV_SEGMENT_INT8, &two, 1, pixel, weights, NULL, NULL, 1);
    assert_true(fabsf(y[0] - 1) <= 100.0f / 254 && fabsf(y[1] + 0.001f) <= 0.002f / 254 + 1e-9f);
    gr_free(y);

    two.high = 0; /* nothing but zeros was seen */
    y = forward(GR_CONV_SEGMENT_INT8, &two, 1, (float[]){0, 0}, weights, NULL, NULL, 1);
    assert_true(y[0] == 0 && y[1] == 0);
    gr_free(y);
}

static void it_says_what_it_is(void **state) {
    struct gr_convolution grouped = geometry(8, 8, 8, 8, 3, 1, 1, 1, 1, 1);
    enum gr_precision precision = GR_FLOAT32;
    grouped.groups = 2;
    (void)state;
    assert_false(gr_convolution_fits(GR_CONV_SEGMENT_BF16, &grouped));
    assert_int_equal(gr_convolution_precision(GR_CONV_SEGMENT_BF16), GR_BF16);
    assert_int_equal(gr_convolution_precision(GR_CONV_WINOGRAD), GR_FLOAT32);
    assert_string_equal(gr_convolution_kernel_name(GR_CONV_SEGMENT_BF16), "segment bf16");
    assert_true(gr_precision_find("bf16", &precision) && precision == GR_BF16);
    assert_false(gr_precision_find("float16", &precision));
    assert_int_equal(gr_convolution_precision(GR_CONV_SEGMENT_INT8), GR_INT8);
    assert_string_equal(gr_convolution_kernel_name(GR_CONV_SEGMENT_INT8), "segment int8");
    assert_true(gr_precision_find("int8", &precision) && precision == GR_INT8);
    assert_true(gr_precision_native(GR_FLOAT32));
    if (gr_simd() != GR_SIMD_AVX512)
        assert_false(gr_precision_native(GR_BF16) || gr_precision_native(GR_INT8));
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_those_of_rounded_operands),
        cmocka_unit_test(every_geometry),
        cmocka_unit_test(many_chunks_and_few),
        cmocka_unit_test(inputs_are_rounded_to_the_nearest),
        cmocka_unit_test(integers_are_cut_off_at_the_bounds),
        cmocka_unit_test(it_says_what_it_is),
    };
    return cmocka_run_group_tests_name(gr_simd_name(), tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
