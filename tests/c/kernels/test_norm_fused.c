/* The fused forms of the norms against the kernels that they stand for, one after another. */
#include "kernels/check_kernels.h"

#include "kernels/elementwise.h"
#include "kernels/norm.h"

enum { ACTIVATIONS = GR_HARDSWISH + 1 };

/* Where the activation only selects, the fused forms round as the others do. */
static bool exact(enum gr_activation f) {
    return f == GR_IDENTITY || f == GR_RELU || f == GR_RELU6;
}

static void check_equal(const char *what, int64_t count, const float *got, const float *wanted, bool bits) {
    double *exactly = zeros(count);
    if (bits)
        check_same_bits(what, count, got, wanted);
    for (int64_t i = 0; i < count; i++)
        exactly[i] = wanted[i];
    check_close(what, count, got, exactly, 1e-6);
    gr_free(exactly);
}

static float *copy_of(int64_t count, const float *x) {
    float *copy = unwritten(count);
    memcpy(copy, x, sizeof(float) * (size_t)count);
    return copy;
}

static const int row_counts[] = {1, 2, 49, 303}, widths[] = {1, 3, 17, 24, 64, 300};

static void check_apply(int64_t rows, int c, enum gr_activation f, bool with_residual) {
    int64_t count = rows * c;
    float *x = numbers(count, 1), *scale = numbers(c, 2), *shift = numbers(c, 3),
          *residual = numbers(count, 4);
    struct gr_epilogue epilogue = {
        .residual = with_residual ? residual : NULL, .activation = f, .a = f == GR_LEAKY_RELU ? 0.2f : 0};
    float *wanted = unwritten(count), *got = unwritten(count), *in_place = copy_of(count, x);
    for (int64_t i = 0; i < count; i++)
        x[i] *= 8;
    memcpy(in_place, x, sizeof(float) * (size_t)count);
    gr_scale_shift(rows, c, x, scale, shift, wanted);
    if (with_residual)
        gr_add(count, wanted, residual, wanted);
    gr_activation_forward(f, epilogue.a, count, wanted, wanted);
    for (int threads = 1; threads <= 2; threads++) {
        assert_int_equal(gr_threads_set(threads), 0);
        gr_norm_apply(rows, c, x, scale, shift, &epilogue, got);
        check_same_bits("norm and activation", count, got, wanted);
    }
    gr_norm_apply(rows, c, in_place, scale, shift, &epilogue, in_place);
    check_same_bits("norm and activation in place", count, in_place, wanted);
    if (with_residual) {
        epilogue.residual = residual;
        gr_norm_apply(rows, c, x, scale, shift, &epilogue, residual);
        check_same_bits("norm and activation over the residual", count, residual, wanted);
    }
    float *arrays[] = {x, scale, shift, residual, wanted, got, in_place};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
}

static void test_apply(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 6; j++)
            for (int f = 0; f < ACTIVATIONS; f++)
                for (int residual = 0; residual < 2; residual++)
                    check_apply(row_counts[i], widths[j], (enum gr_activation)f, residual);
}

/* What one case of the backward pass starts from and gives. */
struct backward {
    int64_t rows;
    int c;
    enum gr_activation f;
    float a;
    bool residual, accumulate, accumulate_residual, fixed, recompute;
    float *x, *mean, *inverse_std, *weight, *scale, *shift, *shortcut, *before, *y, *gy, *gx0, *gresidual0;
};

struct gradients {
    float *gy, *gx, *gresidual, *gweight, *gbias;
};

static struct gradients gradients_of(const struct backward *b) {
    int64_t count = b->rows * b->c;
    return (struct gradients){copy_of(count, b->gy), copy_of(count, b->gx0), copy_of(count, b->gresidual0),
                              unwritten(b->c), unwritten(b->c)};
}

static void free_gradients(struct gradients *g) {
    float *arrays[] = {g->gy, g->gx, g->gresidual, g->gweight, g->gbias};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
}

/* The forward pass, unfused; statistics need not be those of x for what is tested here, but are. */
static struct backward prepare(int64_t rows, int c, enum gr_activation f, int flags) {
    int64_t count = rows * c;
    struct backward b = {.rows = rows,
                         .c = c,
                         .f = f,
                         .a = f == GR_LEAKY_RELU ? 0.2f : 0,
                         .residual = flags & 1,
                         .accumulate = flags & 2,
                         .accumulate_residual = flags & 4,
                         .fixed = flags & 8,
                         .recompute = !(flags & 1) && flags & 4};
    b.x = numbers(count, 1);
    b.mean = numbers(c, 2);
    b.inverse_std = unwritten(c);
    b.weight = numbers(c, 3);
    b.scale = unwritten(c);
    b.shift = numbers(c, 4);
    b.shortcut = numbers(count, 5);
    b.gy = numbers(count, 6);
    b.gx0 = numbers(count, 7);
    b.gresidual0 = numbers(count, 8);
    b.before = unwritten(count);
    b.y = unwritten(count);
    gr_channel_statistics(rows, c, b.x, b.mean, b.inverse_std);
    for (int j = 0; j < c; j++) {
        b.inverse_std[j] = (float)(1 / sqrt(b.inverse_std[j] + 1e-5));
        b.weight[j] += 2;
        b.scale[j] = b.weight[j] * b.inverse_std[j];
        b.shift[j] -= b.mean[j] * b.scale[j];
    }
    gr_scale_shift(rows, c, b.x, b.scale, b.shift, b.before);
    if (b.residual)
        gr_add(count, b.before, b.shortcut, b.before);
    gr_activation_forward(f, b.a, count, b.before, b.y);
    return b;
}

static void free_backward(struct backward *b) {
    float *arrays[] = {b->x,        b->mean,   b->inverse_std, b->weight, b->scale, b->shift,
                       b->shortcut, b->before, b->y,           b->gy,     b->gx0,   b->gresidual0};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        gr_free(arrays[i]);
}

static const float *kept_of(const struct backward *b) {
    return gr_activation_from_output(b->f) ? b->y : b->before;
}

static struct gradients unfused(const struct backward *b) {
    struct gradients g = gradients_of(b);
    int64_t count = b->rows * b->c;
    gr_activation_backward(b->f, b->a, count, kept_of(b), g.gy, g.gy, false);
    if (b->residual && b->accumulate_residual)
        gr_accumulate(count, g.gy, g.gresidual);
    else if (b->residual)
        memcpy(g.gresidual, g.gy, sizeof(float) * (size_t)count);
    (b->fixed ? gr_fixed_norm_backward : gr_batch_norm_backward)(b->rows, b->c, b->x, b->mean, b->inverse_std,
                                                                 b->weight, g.gy, g.gx, b->accumulate,
                                                                 g.gweight, g.gbias);
    return g;
}

static struct gr_norm_fusion fusion_of(const struct backward *b, struct gradients *g) {
    return (struct gr_norm_fusion){.rows = b->rows,
                                   .c = b->c,
                                   .x = b->x,
                                   .mean = b->mean,
                                   .inverse_std = b->inverse_std,
                                   .weight = b->weight,
                                   .fixed = b->fixed,
                                   .activation = b->f,
                                   .a = b->a,
                                   .kept = b->recompute ? NULL : kept_of(b),
                                   .scale = b->recompute ? b->scale : NULL,
                                   .shift = b->recompute ? b->shift : NULL,
                                   .gy = g->gy,
                                   .gresidual = b->residual ? g->gresidual : NULL,
                                   .accumulate_residual = b->accumulate_residual,
                                   .gx = g->gx,
                                   .accumulate = b->accumulate,
                                   .gweight = g->gweight,
                                   .gbias = g->gbias};
}

/* Runs in which results lie over what is read, and in which some are not asked for. */
static void check_places(const struct backward *b, const struct gradients *wanted) {
    int64_t count = b->rows * b->c;
    bool bits = exact(b->f);
    struct gradients g = gradients_of(b);
    struct gr_norm_fusion norm = fusion_of(b, &g);
    if (!b->accumulate) {
        norm.gx = g.gy;
        gr_norm_backward_fused(&norm);
        check_equal("gx over gy", count, g.gy, wanted->gx, bits);
        check_equal("gresidual beside it", b->residual ? count : 0, g.gresidual, wanted->gresidual, bits);
    } else if (b->residual && !b->accumulate_residual) {
        norm.gresidual = g.gy;
        gr_norm_backward_fused(&norm);
        check_equal("gresidual over gy", count, g.gy, wanted->gresidual, bits);
        check_equal("gx beside it", count, g.gx, wanted->gx, bits);
    }
    free_gradients(&g);
    g = gradients_of(b);
    norm = fusion_of(b, &g);
    norm.gweight = norm.gbias = NULL;
    gr_norm_backward_fused(&norm);
    check_equal("gx alone", count, g.gx, wanted->gx, bits);
    check_equal("its gresidual", b->residual ? count : 0, g.gresidual, wanted->gresidual, bits);
    free_gradients(&g);
    g = gradients_of(b);
    norm = fusion_of(b, &g);
    norm.gx = NULL;
    gr_norm_backward_fused(&norm);
    check_equal("gweight alone", b->c, g.gweight, wanted->gweight, bits);
    check_equal("its gresidual", b->residual ? count : 0, g.gresidual, wanted->gresidual, bits);
    free_gradients(&g);
}

static void check_backward(int64_t rows, int c, enum gr_activation f, int flags) {
    struct backward b = prepare(rows, c, f, flags);
    int64_t count = rows * c;
    struct gradients wanted = unfused(&b);
    char what[80];
    snprintf(what, sizeof what, "fused norm %lld x %d, activation %d, flags %d", (long long)rows, c, (int)f,
             flags);
    for (int threads = 1; threads <= 2; threads++) {
        struct gradients g = gradients_of(&b);
        struct gr_norm_fusion norm = fusion_of(&b, &g);
        assert_int_equal(gr_threads_set(threads), 0);
        gr_norm_backward_fused(&norm);
        check_same_bits(what, count, g.gy, b.gy); /* left alone */
        check_equal(what, count, g.gx, wanted.gx, exact(f));
        check_equal(what, count, g.gresidual, wanted.gresidual, exact(f));
        check_equal(what, c, g.gweight, wanted.gweight, exact(f));
        check_equal(what, c, g.gbias, wanted.gbias, exact(f));
        free_gradients(&g);
    }
    check_places(&b, &wanted);
    free_gradients(&wanted);
    free_backward(&b);
}

static void test_backward(void **state) {
    (void)state;
    for (int i = 1; i < 4; i++)
        for (int j = 0; j < 6; j++)
            for (int f = 0; f < ACTIVATIONS; f++)
                for (int flags = 0; flags < 16; flags++)
                    check_backward(row_counts[i], widths[j], (enum gr_activation)f, flags);
}

/* Results so large that they are stored past the caches. */
static void test_large(void **state) {
    (void)state;
    check_apply((4 << 20) / 48 + 3, 48, GR_RELU, true);
    check_backward((4 << 20) / 48 + 3, 48, GR_RELU, 1);
}

static int group(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_apply), cmocka_unit_test(test_backward),
                                       cmocka_unit_test(test_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
