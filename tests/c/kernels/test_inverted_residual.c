/* The block in one pass against its definition in double, and against the three kernels one by one: the same
 * bits. */
#include "kernels/check_kernels.h"

#include "kernels/inverted_residual.h"

/* size: of the photo; c: its channels (0: no expansion); wide, k: of the depthwise and the last convolution.
 */
struct problem {
    const char *name;
    int n, h, w, c, wide, k, kernel, stride, top, left, oh, ow;
    bool residual;
    enum gr_activation inside, last;
};

static const struct problem problems[] = {
    {"3x3", 1, 14, 14, 16, 96, 16, 3, 1, 1, 1, 14, 14, true, GR_RELU6, GR_IDENTITY},
    {"3x3, three photos", 3, 7, 7, 32, 192, 48, 3, 1, 1, 1, 7, 7, false, GR_RELU6, GR_IDENTITY},
    {"3x3, odd sizes", 3, 15, 13, 17, 51, 17, 3, 1, 1, 1, 15, 13, true, GR_RELU, GR_IDENTITY},
    {"3x3, stride 2", 1, 57, 31, 8, 40, 24, 3, 2, 1, 1, 29, 16, false, GR_RELU6, GR_IDENTITY},
    {"3x3, stride 2, same", 3, 28, 28, 5, 30, 9, 3, 2, 0, 0, 14, 14, false, GR_RELU6, GR_IDENTITY},
    {"5x5", 1, 28, 28, 12, 72, 12, 5, 1, 2, 2, 28, 28, true, GR_RELU6, GR_IDENTITY},
    {"5x5, stride 2, same", 3, 14, 14, 20, 120, 33, 5, 2, 1, 1, 7, 7, false, GR_RELU6, GR_IDENTITY},
    {"5x5 over little", 3, 3, 2, 4, 19, 7, 5, 1, 2, 2, 3, 2, false, GR_LEAKY_RELU, GR_RELU},
    {"one pixel", 3, 1, 1, 160, 161, 70, 3, 1, 1, 1, 1, 1, false, GR_RELU6, GR_RELU6},
    {"no padding", 1, 11, 9, 6, 36, 6, 3, 1, 0, 0, 9, 7, false, GR_RELU6, GR_IDENTITY},
    {"no expansion", 3, 30, 30, 0, 32, 16, 3, 1, 1, 1, 30, 30, false, GR_RELU6, GR_IDENTITY},
    {"no expansion, stride 2", 1, 33, 17, 0, 23, 70, 3, 2, 1, 1, 17, 9, false, GR_RELU, GR_RELU},
    {"hardswish", 1, 20, 20, 16, 64, 16, 3, 1, 1, 1, 20, 20, true, GR_HARDSWISH, GR_SILU},
    {"rows larger than what is held", 1, 40, 200, 16, 160, 24, 5, 2, 2, 2, 20, 100, false, GR_RELU6,
     GR_IDENTITY},
};

static struct gr_convolution one_by_one(int h, int w, int c, int k) {
    return (struct gr_convolution){
        .h = h, .w = w, .c = c, .oh = h, .ow = w, .k = k, 1, 1, 1, 1, 1, 1, .groups = 1};
}

static struct gr_inverted_residual block_of(const struct problem *p) {
    struct gr_inverted_residual block = {.expands = p->c > 0,
                                         .project = one_by_one(p->oh, p->ow, p->wide, p->k)};
    block.depthwise = (struct gr_convolution){.h = p->h,
                                              .w = p->w,
                                              .c = p->wide,
                                              .oh = p->oh,
                                              .ow = p->ow,
                                              .k = p->wide,
                                              .kh = p->kernel,
                                              .kw = p->kernel,
                                              .sh = p->stride,
                                              .sw = p->stride,
                                              .dh = 1,
                                              .dw = 1,
                                              .top = p->top,
                                              .left = p->left,
                                              .groups = p->wide};
    if (block.expands)
        block.expand = one_by_one(p->h, p->w, p->c, p->wide);
    return block;
}

static double activation(enum gr_activation f, double a, double x) {
    double hard = fmin(fmax(x + 3, 0), 6) / 6;
    switch (f) {
    case GR_RELU:
        return fmax(x, 0);
    case GR_RELU6:
        return fmin(fmax(x, 0), 6);
    case GR_LEAKY_RELU:
        return x < 0 ? a * x : x;
    case GR_HARDSWISH:
        return x * hard;
    case GR_SILU:
        return x / (1 + exp(-x));
    default:
        return x;
    }
}

/* The three convolutions with weights, bias, residual and activation of each. */
struct part {
    struct gr_convolution conv;
    enum gr_convolution_kernel kernel;
    float *w, *bias, *packed;
    struct gr_epilogue epilogue;
};

static double *define(const struct part *part, int n, const double *x) {
    const struct gr_convolution *v = &part->conv;
    int64_t count = (int64_t)n * v->oh * v->ow * v->k;
    int cg = v->c / v->groups;
    double *y = zeros(count);
    for (int64_t i = 0; i < count; i++) {
        int k = (int)(i % v->k), column = (int)(i / v->k % v->ow), row = (int)(i / v->k / v->ow % v->oh);
        int64_t photo = i / v->k / v->ow / v->oh;
        double sum = part->bias[k] + (part->epilogue.residual ? part->epilogue.residual[i] : 0);
        for (int tap = 0; tap < v->kh * v->kw; tap++) {
            int r = row * v->sh - v->top + tap / v->kw, s = column * v->sw - v->left + tap % v->kw;
            if (r < 0 || r >= v->h || s < 0 || s >= v->w)
                continue;
            const double *pixel = x + ((photo * v->h + r) * v->w + s) * v->c + (v->groups > 1 ? k : 0);
            for (int c = 0; c < cg; c++)
                sum += pixel[c] * part->w[((int64_t)k * cg + c) * v->kh * v->kw + tap];
        }
        y[i] = activation(part->epilogue.activation, part->epilogue.a, sum);
    }
    return y;
}

static float *apart(const struct part *part, int n, const float *x) {
    const struct gr_convolution *v = &part->conv;
    float *y = unwritten((int64_t)n * v->oh * v->ow * v->k);
    float *scratch = gr_alloc(gr_convolution_scratch(part->kernel, v, n, false));
    assert_non_null(scratch);
    gr_convolution_forward(part->kernel, v, n, x, NULL, part->packed, &part->epilogue, y, scratch);
    gr_free(scratch);
    return y;
}

static void make_part(struct part *part, uint32_t seed, enum gr_activation f, const float *residual) {
    const struct gr_convolution *v = &part->conv;
    int64_t terms = (int64_t)v->c / v->groups * v->kh * v->kw, count = terms * v->k;
    part->kernel = v->groups > 1 ? GR_CONV_DEPTHWISE : GR_CONV_SEGMENT;
    part->w = numbers(count, seed);
    for (int64_t i = 0; i < count; i++)
        part->w[i] *= 3 / sqrtf((float)terms);
    part->bias = numbers(v->k, seed + 1);
    part->packed = numbers((int64_t)gr_convolution_packed(part->kernel, v), 0);
    gr_convolution_pack(part->kernel, v, part->w, NULL, part->packed);
    part->epilogue = (struct gr_epilogue){part->bias, residual, f, 0.1f, NULL};
}

/* Runs the block and looks at what it wrote beside its memory. */
static float *together(const struct gr_inverted_residual *block, const struct part *parts, int n,
                       const float *x, int threads) {
    const struct gr_convolution *v = &block->project;
    struct gr_inverted_part given[3] = {{NULL, NULL}};
    enum { GUARD = 16 };
    assert_int_equal(gr_threads_set(threads), 0);
    size_t floats = gr_inverted_residual_scratch(block) / sizeof(float);
    int64_t count = (int64_t)n * v->oh * v->ow * v->k;
    float *y = unwritten(count + 1), *scratch = unwritten((int64_t)floats + GUARD);
    for (int i = 0; i < GUARD; i++)
        scratch[floats + (size_t)i] = 12345;
    y[count] = 54321;
    for (int i = block->expands ? 0 : 1; i < 3; i++)
        given[i] = (struct gr_inverted_part){parts[i].packed, &parts[i].epilogue};
    gr_inverted_residual_forward(block, n, x, given, y, scratch);
    for (int i = 0; i < GUARD; i++)
        assert_true(scratch[floats + (size_t)i] == 12345);
    assert_true(y[count] == 54321);
    gr_free(scratch);
    return y;
}

static void check(const struct problem *p) {
    struct gr_inverted_residual block = block_of(p);
    struct part parts[3] = {{.conv = block.expand}, {.conv = block.depthwise}, {.conv = block.project}};
    int first = block.expands ? 0 : 1, n = p->n;
    int64_t inputs = (int64_t)n * p->h * p->w * parts[first].conv.c,
            outputs = (int64_t)n * p->oh * p->ow * p->k;
    float *x = numbers(inputs, 1), *residual = numbers(outputs, 2), *y = x;
    double *exact = zeros(inputs);
    assert_true(gr_inverted_residual_fits(&block));
    for (int64_t i = 0; i < inputs; i++)
        exact[i] = x[i];
    for (int i = first; i < 3; i++) {
        make_part(&parts[i], 3 + 2 * (uint32_t)i, i < 2 ? p->inside : p->last,
                  i == 2 && p->residual ? residual : NULL);
        double *next = define(&parts[i], n, exact);
        float *stored = apart(&parts[i], n, y);
        gr_free(exact);
        if (y != x)
            gr_free(y);
        exact = next;
        y = stored;
    }
    for (int threads = 1; threads <= 3; threads++) {
        float *got = together(&block, parts, n, x, threads);
        check_close(p->name, outputs, got, exact, 3e-6);
        check_same_bits(p->name, outputs, got, y);
        gr_free(got);
    }
    for (int i = first; i < 3; i++) {
        gr_free(parts[i].w);
        gr_free(parts[i].bias);
        gr_free(parts[i].packed);
    }
    gr_free(x);
    gr_free(y);
    gr_free(residual);
    gr_free(exact);
}

static void blocks_equal_their_definition(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        check(&problems[i]);
}

static void other_convolutions_are_no_blocks(void **state) {
    (void)state;
    const struct gr_inverted_residual block = block_of(&problems[0]);
    struct gr_inverted_residual other = block;
    other.expand.kh = other.expand.kw = 3;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.expand.groups = 2;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.expand.k = 95;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.depthwise.kh = other.depthwise.kw = 7;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.depthwise.dh = other.depthwise.dw = 2;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.project.sh = other.project.sw = 2;
    assert_false(gr_inverted_residual_fits(&other));
    other = block;
    other.project.top = other.project.left = 1;
    assert_false(gr_inverted_residual_fits(&other));
}

/* Where all photos are whole, what is not stored is won; where the rows that bands share are half of them,
 * no. */
static void the_estimate_knows_what_bands_cost(void **state) {
    (void)state;
    static const struct problem large = {.h = 56,
                                         .w = 56,
                                         .c = 24,
                                         .wide = 144,
                                         .k = 24,
                                         .kernel = 3,
                                         .stride = 1,
                                         .top = 1,
                                         .left = 1,
                                         .oh = 56,
                                         .ow = 56};
    static const struct problem small = {.h = 7,
                                         .w = 7,
                                         .c = 192,
                                         .wide = 1152,
                                         .k = 192,
                                         .kernel = 5,
                                         .stride = 1,
                                         .top = 2,
                                         .left = 2,
                                         .oh = 7,
                                         .ow = 7};
    struct gr_inverted_residual block = block_of(&large);
    assert_true(gr_inverted_residual_cost(&block, 32, 2, 1) < 1);
    assert_true(gr_inverted_residual_cost(&block, 1, 2, 1) < 1);
    block = block_of(&small);
    assert_true(gr_inverted_residual_cost(&block, 32, 2, 1) < 1);
    assert_true(gr_inverted_residual_cost(&block, 1, 2, 1) > 1);
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_their_definition),
        cmocka_unit_test(other_convolutions_are_no_blocks),
        cmocka_unit_test(the_estimate_knows_what_bands_cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return every_level(group);
}
