#include "kernels/activation_simd.h"
#include "kernels/tables.h"

/* Channels are the lanes. Sums take ROWS rows at a time, so that the running sums are read and written once
 * for them. Where rows lie without gaps and channels are few or end in a part of a vector, several rows are
 * taken as one wide row, whose constants are repeated: WIDE floats at most. */
enum { ROWS = 8, WIDE = 256 };

GR_ALWAYS gr_vec load(const float *p, int rest, bool full) {
    return full ? gr_load(p) : gr_load_part(p, rest);
}

GR_ALWAYS void store(float *p, gr_vec v, int rest, bool full) {
    if (full)
        gr_store(p, v);
    else
        gr_store_part(p, v, rest);
}

/* How many rows make a wide one. */
static int folded(int64_t rows, int c, int64_t ld) {
    int fold = WIDE / c, whole = GR_W;
    if (ld != c || fold < 2 || (c >= 64 && c % GR_W == 0))
        return 1;
    while (whole > 1 && c % 2 == 0) { /* whole becomes the least fold that ends with a whole vector */
        whole /= 2;
        c /= 2;
    }
    fold = fold > whole ? fold - fold % whole : fold;
    return fold <= rows ? fold : 1;
}

static const float *repeated(int c, int fold, const float *values, float *wide) {
    for (int i = 0; values && i < fold; i++)
        memcpy(wide + (size_t)i * (size_t)c, values, sizeof(float) * (size_t)c);
    return values ? wide : NULL;
}

static void add_folds(int c, int fold, const float *wide, float *total) {
    for (int i = 0; i < fold; i++)
        for (int j = 0; j < c; j++)
            total[j] += wide[i * c + j];
}

/* ---- sums ---- */

GR_ALWAYS void sum_lanes(int rows, int64_t ld, const float *x, float *total, int rest, bool full) {
    gr_vec part = {0};
    for (int r = 0; r < rows; r++)
        part += load(x + r * ld, rest, full);
    store(total, load(total, rest, full) + part, rest, full);
}

GR_ALWAYS void sum_rows(int rows, int c, int64_t ld, const float *x, float *total) {
    int j = 0;
    for (; j + GR_W <= c; j += GR_W)
        sum_lanes(rows, ld, x + j, total + j, GR_W, true);
    if (j < c)
        sum_lanes(rows, ld, x + j, total + j, c - j, false);
}

static void plain_sum(int64_t rows, int c, int64_t ld, const float *x, float *total) {
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS)
        sum_rows(ROWS, c, ld, x + row * ld, total);
    for (; row < rows; row++)
        sum_rows(1, c, ld, x + row * ld, total);
}

static void sum(int64_t rows, int c, int64_t ld, const float *x, float *total) {
    int fold = folded(rows, c, ld);
    if (fold > 1) {
        float wide[WIDE] = {0};
        int64_t wides = rows / fold;
        plain_sum(wides, fold * c, fold * c, x, wide);
        add_folds(c, fold, wide, total);
        x += wides * fold * c;
        rows -= wides * fold;
    }
    plain_sum(rows, c, ld, x, total);
}

GR_ALWAYS void moment_lanes(int rows, int64_t ld, const float *x, const float *pivot, float *total,
                            float *squares, int rest, bool full) {
    gr_vec part = {0}, part_squares = {0}, from = load(pivot, rest, full);
    for (int r = 0; r < rows; r++) {
        gr_vec d = load(x + r * ld, rest, full) - from;
        part += d;
        part_squares += d * d;
    }
    store(total, load(total, rest, full) + part, rest, full);
    store(squares, load(squares, rest, full) + part_squares, rest, full);
}

GR_ALWAYS void moment_rows(int rows, int c, int64_t ld, const float *x, const float *pivot, float *total,
                           float *squares) {
    int j = 0;
    for (; j + GR_W <= c; j += GR_W)
        moment_lanes(rows, ld, x + j, pivot + j, total + j, squares + j, GR_W, true);
    if (j < c)
        moment_lanes(rows, ld, x + j, pivot + j, total + j, squares + j, c - j, false);
}

static void plain_moments(int64_t rows, int c, int64_t ld, const float *x, const float *pivot, float *total,
                          float *squares) {
    int64_t row = 0;
    for (; row + ROWS <= rows; row += ROWS)
        moment_rows(ROWS, c, ld, x + row * ld, pivot, total, squares);
    for (; row < rows; row++)
        moment_rows(1, c, ld, x + row * ld, pivot, total, squares);
}

static void moments(int64_t rows, int c, int64_t ld, const float *x, const float *pivot, float *total,
                    float *squares) {
    int fold = folded(rows, c, ld);
    if (fold > 1) {
        float wide[WIDE] = {0}, wide_squares[WIDE] = {0}, wide_pivot[WIDE];
        int64_t wides = rows / fold;
        plain_moments(wides, fold * c, fold * c, x, repeated(c, fold, pivot, wide_pivot), wide, wide_squares);
        add_folds(c, fold, wide, total);
        add_folds(c, fold, wide_squares, squares);
        x += wides * fold * c;
        rows -= wides * fold;
    }
    plain_moments(rows, c, ld, x, pivot, total, squares);
}

/* ---- backward ---- */

/* Of one vector of channels: what does not change from row to row. */
struct lanes {
    int rest;
    gr_vec mean, scale, shift;
};

GR_ALWAYS struct lanes lanes_of(const struct gr_norm_rows *n, int j, bool full) {
    int rest = full ? GR_W : n->c - j;
    gr_vec zero = {0};
    return (struct lanes){rest, load(n->mean + j, rest, full),
                          n->scale ? load(n->scale + j, rest, full) : zero,
                          n->scale ? load(n->shift + j, rest, full) : zero};
}

/* The gradient before the activation at one place, whose x is given; the residual gets its share. */
GR_ALWAYS gr_vec gradient(enum gr_activation f, const struct gr_norm_rows *n, const struct lanes *l,
                          int64_t at, gr_vec x, bool full) {
    gr_vec g = load(n->gy + at, l->rest, full);
    if (f != GR_IDENTITY) {
        gr_vec kept;
        if (n->kept) {
            kept = load(n->kept + at, l->rest, full);
        } else {
            kept = x * l->scale + l->shift;
            kept = f == GR_SILU || f == GR_HARDSWISH ? kept : gr_activate(f, n->a, kept);
        }
        g = g * gr_slope(f, n->a, kept);
    }
    if (n->residual) {
        gr_vec share = n->accumulate_residual ? load(n->residual + at, l->rest, full) + g : g;
        store(n->residual + at, share, l->rest, full);
    }
    return g;
}

GR_ALWAYS void product_lanes(enum gr_activation f, const struct gr_norm_rows *n, int64_t row, int rows, int j,
                             float *sum_gy, float *sum_product, bool full) {
    struct lanes l = lanes_of(n, j, full);
    gr_vec part = {0}, part_product = {0};
    for (int r = 0; r < rows; r++) {
        int64_t at = (row + r) * n->ld + j;
        gr_vec x = load(n->x + at, l.rest, full), g = gradient(f, n, &l, at, x, full);
        part += g;
        part_product += g * (x - l.mean);
    }
    store(sum_gy + j, load(sum_gy + j, l.rest, full) + part, l.rest, full);
    store(sum_product + j, load(sum_product + j, l.rest, full) + part_product, l.rest, full);
}

GR_ALWAYS void product_rows(enum gr_activation f, const struct gr_norm_rows *n, int64_t row, int rows,
                            float *sum_gy, float *sum_product) {
    int j = 0;
    for (; j + GR_W <= n->c; j += GR_W)
        product_lanes(f, n, row, rows, j, sum_gy, sum_product, true);
    if (j < n->c)
        product_lanes(f, n, row, rows, j, sum_gy, sum_product, false);
}

GR_ALWAYS void product_loop(enum gr_activation f, const struct gr_norm_rows *n, float *sum_gy,
                            float *sum_product) {
    int64_t row = 0;
    for (; row + ROWS <= n->rows; row += ROWS)
        product_rows(f, n, row, ROWS, sum_gy, sum_product);
    for (; row < n->rows; row++)
        product_rows(f, n, row, 1, sum_gy, sum_product);
}

static void plain_product(const struct gr_norm_rows *n, float *sum_gy, float *sum_product) {
#define BODY(constant) product_loop(constant, n, sum_gy, sum_product)
    GR_EACH_ACTIVATION(n->f, BODY)
#undef BODY
}

/* The rows that are left after `done` ones. */
static struct gr_norm_rows after(const struct gr_norm_rows *n, int64_t done) {
    struct gr_norm_rows rest = *n;
    int64_t floats = done * n->ld;
    rest.rows -= done;
    rest.x += floats;
    rest.gy += floats;
    rest.kept = n->kept ? n->kept + floats : NULL;
    rest.residual = n->residual ? n->residual + floats : NULL;
    return rest;
}

/* The same as wide rows, with `constants` [3, WIDE] for what is repeated. */
static struct gr_norm_rows widened(const struct gr_norm_rows *n, int fold, float (*constants)[WIDE]) {
    struct gr_norm_rows wide = *n;
    wide.rows = n->rows / fold;
    wide.c = fold * n->c;
    wide.ld = wide.c;
    wide.mean = repeated(n->c, fold, n->mean, constants[0]);
    wide.scale = repeated(n->c, fold, n->scale, constants[1]);
    wide.shift = repeated(n->c, fold, n->shift, constants[2]);
    return wide;
}

static void product(const struct gr_norm_rows *n, float *sum_gy, float *sum_product) {
    int fold = folded(n->rows, n->c, n->ld);
    if (fold > 1) {
        float constants[3][WIDE], wide_gy[WIDE] = {0}, wide_product[WIDE] = {0};
        struct gr_norm_rows wide = widened(n, fold, constants), rest = after(n, wide.rows * fold);
        plain_product(&wide, wide_gy, wide_product);
        add_folds(n->c, fold, wide_gy, sum_gy);
        add_folds(n->c, fold, wide_product, sum_product);
        plain_product(&rest, sum_gy, sum_product);
    } else {
        plain_product(n, sum_gy, sum_product);
    }
}

GR_ALWAYS void backward_lanes(enum gr_activation f, const struct gr_norm_rows *n, int64_t row, int j,
                              const float *a, const float *b, const float *d, float *gx, bool accumulate,
                              bool full) {
    struct lanes l = lanes_of(n, j, full);
    int64_t at = row * n->ld + j;
    gr_vec x = load(n->x + at, l.rest, full), g = gradient(f, n, &l, at, x, full);
    gr_vec v = g * load(a + j, l.rest, full) + load(d + j, l.rest, full);
    v += (x - l.mean) * load(b + j, l.rest, full);
    if (accumulate)
        v += load(gx + at, l.rest, full);
    if (full)
        gr_put(gx + at, v, n->stream);
    else
        gr_store_part(gx + at, v, l.rest);
}

GR_ALWAYS void backward_loop(enum gr_activation f, const struct gr_norm_rows *n, const float *a,
                             const float *b, const float *d, float *gx, bool accumulate) {
    for (int64_t row = 0; row < n->rows; row++) {
        int j = 0;
        for (; j + GR_W <= n->c; j += GR_W)
            backward_lanes(f, n, row, j, a, b, d, gx, accumulate, true);
        if (j < n->c)
            backward_lanes(f, n, row, j, a, b, d, gx, accumulate, false);
    }
}

static void plain_backward(const struct gr_norm_rows *n, const float *a, const float *b, const float *d,
                           float *gx, bool accumulate) {
#define BODY(constant)                                                                                       \
    if (accumulate)                                                                                          \
        backward_loop(constant, n, a, b, d, gx, true);                                                       \
    else                                                                                                     \
        backward_loop(constant, n, a, b, d, gx, false)
    GR_EACH_ACTIVATION(n->f, BODY)
#undef BODY
}

static void backward(const struct gr_norm_rows *n, const float *a, const float *b, const float *d, float *gx,
                     bool accumulate) {
    int fold = folded(n->rows, n->c, n->ld);
    if (fold > 1) {
        float constants[3][WIDE], wa[WIDE], wb[WIDE], wd[WIDE];
        struct gr_norm_rows wide = widened(n, fold, constants), rest = after(n, wide.rows * fold);
        plain_backward(&wide, repeated(n->c, fold, a, wa), repeated(n->c, fold, b, wb),
                       repeated(n->c, fold, d, wd), gx, accumulate);
        plain_backward(&rest, a, b, d, gx + wide.rows * wide.ld, accumulate);
    } else {
        plain_backward(n, a, b, d, gx, accumulate);
    }
    if (n->stream)
        gr_stream_end();
}

/* ---- forward ---- */

static void plain_apply(int64_t rows, int c, int64_t ld, const float *x, const float *mean, const float *a,
                        const float *b, float *y) {
    for (int64_t row = 0; row < rows; row++, x += ld, y += ld) {
        int j = 0;
        for (; j + GR_W <= c; j += GR_W)
            gr_store(y + j, (gr_load(x + j) - gr_load(mean + j)) * gr_load(a + j) + gr_load(b + j));
        if (j < c) {
            int rest = c - j;
            gr_vec v = (gr_load_part(x + j, rest) - gr_load_part(mean + j, rest)) * gr_load_part(a + j, rest);
            gr_store_part(y + j, v + gr_load_part(b + j, rest), rest);
        }
    }
}

static void apply(int64_t rows, int c, int64_t ld, const float *x, const float *mean, const float *a,
                  const float *b, float *y) {
    int fold = folded(rows, c, ld);
    int64_t done = fold > 1 ? rows / fold * fold : 0;
    if (fold > 1) {
        float wide_mean[WIDE], wide_a[WIDE], wide_b[WIDE];
        plain_apply(rows / fold, fold * c, fold * ld, x, repeated(c, fold, mean, wide_mean),
                    repeated(c, fold, a, wide_a), repeated(c, fold, b, wide_b), y);
    }
    plain_apply(rows - done, c, ld, x + done * ld, mean, a, b, y + done * ld);
}

GR_ALWAYS void affine_loop(enum gr_activation f, float a, int64_t rows, int c, const float *x,
                           const float *scale, const float *shift, const float *residual, float *y,
                           bool stream) {
    for (int64_t row = 0; row < rows; row++, x += c, y += c, residual = residual ? residual + c : NULL) {
        int j = 0;
        for (; j + GR_W <= c; j += GR_W) {
            gr_vec v = gr_load(x + j) * gr_load(scale + j) + gr_load(shift + j);
            gr_put(y + j, gr_activate(f, a, residual ? v + gr_load(residual + j) : v), stream);
        }
        if (j < c) {
            int rest = c - j;
            gr_vec v =
                gr_load_part(x + j, rest) * gr_load_part(scale + j, rest) + gr_load_part(shift + j, rest);
            v = residual ? v + gr_load_part(residual + j, rest) : v;
            gr_store_part(y + j, gr_activate(f, a, v), rest);
        }
    }
}

static void plain_affine(const struct gr_epilogue *e, int64_t rows, int c, const float *x, const float *scale,
                         const float *shift, const float *residual, float *y, bool stream) {
#define BODY(constant)                                                                                       \
    if (residual)                                                                                            \
        affine_loop(constant, e->a, rows, c, x, scale, shift, residual, y, stream);                          \
    else                                                                                                     \
        affine_loop(constant, e->a, rows, c, x, scale, shift, NULL, y, stream)
    GR_EACH_ACTIVATION(e->activation, BODY)
#undef BODY
}

static void affine(const struct gr_epilogue *e, int64_t rows, int c, const float *x, const float *scale,
                   const float *shift, const float *residual, float *y, bool stream) {
    int fold = folded(rows, c, c);
    int64_t done = fold > 1 ? rows / fold * fold : 0, floats = done * c;
    if (fold > 1) {
        float wide_scale[WIDE], wide_shift[WIDE];
        plain_affine(e, rows / fold, fold * c, x, repeated(c, fold, scale, wide_scale),
                     repeated(c, fold, shift, wide_shift), residual, y, stream);
    }
    plain_affine(e, rows - done, c, x + floats, scale, shift, residual ? residual + floats : NULL, y + floats,
                 stream);
    if (stream)
        gr_stream_end();
}

const struct gr_norm_kernels GR_SIMD_SYMBOL(gr_norm_kernels) = {
    .sum = sum,
    .moments = moments,
    .product = product,
    .backward = backward,
    .apply = apply,
    .affine = affine,
};
