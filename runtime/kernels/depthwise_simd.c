#include "kernels/simd.h"

#include "kernels/tables.h"

/* Channels are the lanes. Small kernels without dilation are done by strips (below), all others by row() and
 * weights(), COLUMNS outputs at a time, so that each weight is read once for them. */

enum { COLUMNS = 4 };

GR_ALWAYS gr_vec load(const float *p, int rest, bool full) {
    return full ? gr_load(p) : gr_load_part(p, rest);
}

GR_ALWAYS void store(float *p, gr_vec v, int rest, bool full, bool accumulate) {
    if (accumulate)
        v += load(p, rest, full);
    if (full)
        gr_store(p, v);
    else
        gr_store_part(p, v, rest);
}

/* Output i, some of whose taps may lie outside. */
GR_ALWAYS void edge(const struct gr_depthwise_row *d, const float *x, const float *w, float *y, int i,
                    int rest, bool full, bool accumulate) {
    gr_vec sum = {0};
    for (int r = 0; r < d->rows; r++)
        for (int m = 0; m < d->taps; m++) {
            int at = d->in_first + i * d->in_step + m * d->tap_stride;
            if (at >= 0 && at < d->inputs)
                sum += load(x + r * d->row_step + (int64_t)at * d->c, rest, full) *
                       load(w + r * d->weight_row_step + m * d->weight_step, rest, full);
        }
    store(y + i * d->out_step, sum, rest, full, accumulate);
}

/* Outputs first..last-1, whose taps all lie inside. `rows` and `taps` are d's, as constants where they are
 * known. */
GR_ALWAYS int inside(const struct gr_depthwise_row *d, int rows, int taps, const float *x, const float *w,
                     float *y, int first, int last, int rest, bool full, bool accumulate) {
    int64_t step = (int64_t)d->in_step * d->c, tap_step = (int64_t)d->tap_stride * d->c;
    int i = first;
    for (; i + COLUMNS <= last; i += COLUMNS) {
        const float *from = x + (int64_t)(d->in_first + i * d->in_step) * d->c;
        gr_vec sums[COLUMNS] = {{0}};
        for (int r = 0; r < rows; r++)
            for (int m = 0; m < taps; m++) {
                gr_vec weight = load(w + r * d->weight_row_step + m * d->weight_step, rest, full);
                const float *at = from + r * d->row_step + m * tap_step;
                for (int u = 0; u < COLUMNS; u++)
                    sums[u] += load(at + u * step, rest, full) * weight;
            }
        for (int u = 0; u < COLUMNS; u++)
            store(y + (i + u) * d->out_step, sums[u], rest, full, accumulate);
    }
    return i;
}

GR_ALWAYS void lanes(const struct gr_depthwise_row *d, const float *x, const float *w, float *y, int first,
                     int last, int rest, bool full, bool accumulate) {
    int i = 0;
    for (; i < first; i++)
        edge(d, x, w, y, i, rest, full, accumulate);
    if (d->rows == 3 && d->taps == 3)
        i = inside(d, 3, 3, x, w, y, first, last, rest, full, accumulate);
    else if (d->rows == 5 && d->taps == 5)
        i = inside(d, 5, 5, x, w, y, first, last, rest, full, accumulate);
    else
        i = inside(d, d->rows, d->taps, x, w, y, first, last, rest, full, accumulate);
    for (; i < d->outputs; i++)
        edge(d, x, w, y, i, rest, full, accumulate);
}

static void row(const struct gr_depthwise_row *d, const float *x, const float *weights, float *y,
                bool accumulate) {
    int first = d->first, last = d->last, j = 0;
    for (; j + GR_W <= d->c; j += GR_W)
        if (accumulate)
            lanes(d, x + j, weights + j, y + j, first, last, GR_W, true, true);
        else
            lanes(d, x + j, weights + j, y + j, first, last, GR_W, true, false);
    if (j < d->c)
        lanes(d, x + j, weights + j, y + j, first, last, d->c - j, false, accumulate);
}

/* The sums of `taps` taps from tap `m` on, over outputs that need no test for all of them. */
GR_ALWAYS void tap_sums(const struct gr_depthwise_row *d, int taps, const float *x, const float *gy,
                        float *gw, int m, int first, int last, int rest, bool full) {
    int64_t step = (int64_t)d->in_step * d->c, tap_step = (int64_t)d->tap_stride * d->c;
    const float *from = x + ((int64_t)d->in_first + (int64_t)m * d->tap_stride) * d->c;
    gr_vec even[5] = {{0}}, odd[5] = {{0}};
    int i = first;
    for (; i + 2 <= last; i += 2) {
        gr_vec g0 = load(gy + i * d->out_step, rest, full), g1 = load(gy + (i + 1) * d->out_step, rest, full);
        for (int t = 0; t < taps; t++) {
            even[t] += g0 * load(from + i * step + t * tap_step, rest, full);
            odd[t] += g1 * load(from + (i + 1) * step + t * tap_step, rest, full);
        }
    }
    if (i < last)
        for (int t = 0; t < taps; t++)
            even[t] +=
                load(gy + i * d->out_step, rest, full) * load(from + i * step + t * tap_step, rest, full);
    for (int t = 0; t < taps; t++)
        store(gw + (m + t) * d->weight_step, even[t] + odd[t], rest, full, true);
}

/* What output i adds, some of whose taps may lie outside. */
GR_ALWAYS void edge_weights(const struct gr_depthwise_row *d, const float *x, const float *gy, float *gw,
                            int i, int rest, bool full) {
    for (int m = 0; m < d->taps; m++) {
        int at = d->in_first + i * d->in_step + m * d->tap_stride;
        if (at >= 0 && at < d->inputs)
            store(gw + m * d->weight_step,
                  load(gy + i * d->out_step, rest, full) * load(x + (int64_t)at * d->c, rest, full), rest,
                  full, true);
    }
}

GR_ALWAYS void weight_lanes(const struct gr_depthwise_row *d, const float *x, const float *gy, float *gw,
                            int first, int last, int rest, bool full) {
    int m = 0;
    for (int i = 0; i < first; i++)
        edge_weights(d, x, gy, gw, i, rest, full);
    for (; m + 5 <= d->taps; m += 5)
        tap_sums(d, 5, x, gy, gw, m, first, last, rest, full);
    for (; m + 3 <= d->taps; m += 3)
        tap_sums(d, 3, x, gy, gw, m, first, last, rest, full);
    for (; m < d->taps; m++)
        tap_sums(d, 1, x, gy, gw, m, first, last, rest, full);
    for (int i = last; i < d->outputs; i++)
        edge_weights(d, x, gy, gw, i, rest, full);
}

static void weights(const struct gr_depthwise_row *d, const float *x, const float *gy, float *gw) {
    int first = d->first, last = d->last, j = 0;
    for (; j + GR_W <= d->c; j += GR_W)
        weight_lanes(d, x + j, gy + j, gw + j, first, last, GR_W, true);
    if (j < d->c)
        weight_lanes(d, x + j, gy + j, gw + j, first, last, d->c - j, false);
}

/* ---- strips ----
 *
 * A block is `rows` x `columns` outputs. Its input pixels are listed by address, with zeros for those
 * outside, so that edges cost what the inside costs; then each vector of channels reads every input once for
 * all the outputs that it enters, whose sums stay in registers. Blocks go along the rows, so memory is read
 * in order. */

enum {
    MOST = 8, /* columns of a block */
    WIDE = 7, /* divides the sizes that halving 224 gives */
    NARROW = 4,
    INPUT_ROWS = GR_STRIP_TAPS + GR_STRIP_ROWS - 1,
    INPUT_COLUMNS = (MOST - 1) * 2 + GR_STRIP_TAPS
};

/* What is constant in a strip's kernel; see struct gr_depthwise_strip. With `up` there are always two rows,
 * the second of which is not written if the strip has one. */
struct form {
    int kernel, stride;
    bool up;
    int shift, rows, columns;
};

struct block {
    const float *inputs[INPUT_ROWS][INPUT_COLUMNS];
    int valid; /* outputs of each row that exist */
};

/* The tap by which input `in` of a block enters output `out`, outside 0..kernel-1 if it does not. */
GR_ALWAYS int tap_of(struct form f, int out, int in) {
    return f.up ? out + f.shift - 2 * in : in - out * f.stride;
}

GR_ALWAYS int inputs_of(struct form f, int outputs) {
    return gr_strip_inputs(outputs, f.kernel, f.stride, f.up, f.shift);
}

/* Lists the inputs of a block of `rows` x `columns` of them whose first column is `at`. */
static void list_inputs(const struct gr_depthwise_strip *s, int rows, int columns, int at, struct block *b) {
    for (int r = 0; r < rows; r++)
        for (int m = 0; m < columns; m++)
            b->inputs[r][m] = s->inputs[r] && (unsigned)(at + m) < (unsigned)s->width
                                  ? s->inputs[r] + (int64_t)(at + m) * s->pixel
                                  : s->zeros;
}

/* The block of outputs from column i on. */
GR_ALWAYS struct block block_at(struct form f, const struct gr_depthwise_strip *s, int i) {
    struct block b;
    b.valid = s->outputs - i;
    list_inputs(s, inputs_of(f, f.rows), inputs_of(f, f.columns), s->first + (f.up ? i / 2 : i * f.stride),
                &b);
    return b;
}

/* One vector of channels of a block. */
GR_ALWAYS void block_lanes(struct form f, const struct gr_depthwise_strip *s, const struct block *b, int j,
                           const float *added, float *y, int rest, bool full) {
    gr_vec sums[GR_STRIP_ROWS][MOST], bias = s->bias ? load(s->bias + j, rest, full) : gr_splat(0);
#define VALID (n < b->valid && (!f.up || r < s->rows))
#define EACH_OUTPUT GR_UNROLL for (int r = 0; r < f.rows; r++) GR_UNROLL for (int n = 0; n < f.columns; n++)
    EACH_OUTPUT sums[r][n] = bias;
    GR_UNROLL for (int i = 0; i < inputs_of(f, f.rows); i++) {
        if (!s->inputs[i])
            continue;
        GR_UNROLL for (int m = 0; m < inputs_of(f, f.columns); m++) {
            gr_vec x = load(b->inputs[i][m] + j, rest, full);
            EACH_OUTPUT {
                int row = tap_of(f, r, i), tap = tap_of(f, n, m);
                if (row >= 0 && row < f.kernel && tap >= 0 && tap < f.kernel)
                    sums[r][n] += x * load(s->weights + row * s->weight_row_step + tap * s->weight_step + j,
                                           rest, full);
            }
        }
    }
    if (added) {
        EACH_OUTPUT if (VALID) sums[r][n] += load(added + r * s->out_row + n * s->pixel + j, rest, full);
    }
    if (s->clamp) {
        EACH_OUTPUT sums[r][n] = gr_min(gr_max(sums[r][n], gr_splat(s->low)), gr_splat(s->high));
    }
    if (full && s->stream) {
        EACH_OUTPUT if (VALID) gr_stream(y + r * s->out_row + n * s->pixel + j, sums[r][n]);
    } else {
        EACH_OUTPUT if (VALID) store(y + r * s->out_row + n * s->pixel + j, sums[r][n], rest, full, false);
    }
#undef VALID
#undef EACH_OUTPUT
}

GR_ALWAYS void block_all(struct form f, const struct gr_depthwise_strip *s, int i, float *y) {
    struct block b = block_at(f, s, i);
    const float *added = s->added ? s->added + i * s->pixel : NULL;
    int j = 0;
    y += i * s->pixel;
    for (; j + GR_W <= s->c; j += GR_W)
        block_lanes(f, s, &b, j, added, y, GR_W, true);
    if (j < s->c)
        block_lanes(f, s, &b, j, added, y, s->c - j, false);
}

GR_ALWAYS void strip_of(struct form f, const struct gr_depthwise_strip *s, float *y) {
    struct form narrow = f;
    int i = 0;
    narrow.columns = NARROW;
    for (; i + NARROW < s->outputs; i += f.columns)
        block_all(f, s, i, y);
    for (; i < s->outputs; i += NARROW)
        block_all(narrow, s, i, y);
}

/* The same for the gradient: the sums are the weights' here, of as many kernel rows as registers hold. */
GR_ALWAYS void gradient_lanes(struct form f, const struct gr_depthwise_strip *s, const struct block *b, int j,
                              const float *gy, float *gw, int rest, bool full) {
    gr_vec g[GR_STRIP_ROWS][WIDE];
    int held = f.kernel == 3 ? 3 : 1;
    GR_UNROLL for (int r = 0; r < f.rows; r++) {
        GR_UNROLL for (int n = 0; n < f.columns; n++) g[r][n] =
            n < b->valid ? load(gy + r * s->out_row + n * s->pixel + j, rest, full) : gr_splat(0);
    }
    GR_UNROLL for (int from = 0; from < f.kernel; from += held) {
        gr_vec sums[3][GR_STRIP_TAPS] = {{{0}}};
        GR_UNROLL for (int i = from; i < from + held + (f.rows - 1) * f.stride; i++) {
            if (!s->inputs[i])
                continue;
            GR_UNROLL for (int m = 0; m < inputs_of(f, f.columns); m++) {
                gr_vec x = load(b->inputs[i][m] + j, rest, full);
                GR_UNROLL for (int r = 0; r < f.rows; r++) {
                    GR_UNROLL for (int n = 0; n < f.columns; n++) {
                        int row = tap_of(f, r, i) - from, tap = tap_of(f, n, m);
                        if (row >= 0 && row < held && tap >= 0 && tap < f.kernel)
                            sums[row][tap] += g[r][n] * x;
                    }
                }
            }
        }
        GR_UNROLL for (int row = 0; row < held; row++) {
            GR_UNROLL for (int tap = 0; tap < f.kernel; tap++)
                store(gw + (from + row) * s->weight_row_step + tap * s->weight_step + j, sums[row][tap], rest,
                      full, true);
        }
    }
}

GR_ALWAYS void gradient_all(struct form f, const struct gr_depthwise_strip *s, int i, const float *gy,
                            float *gw) {
    struct block b = block_at(f, s, i);
    int j = 0;
    gy += i * s->pixel;
    for (; j + GR_W <= s->c; j += GR_W)
        gradient_lanes(f, s, &b, j, gy, gw, GR_W, true);
    if (j < s->c)
        gradient_lanes(f, s, &b, j, gy, gw, s->c - j, false);
}

GR_ALWAYS void gradient_of(struct form f, const struct gr_depthwise_strip *s, const float *gy, float *gw) {
    for (int i = 0; i < s->outputs; i += f.columns)
        gradient_all(f, s, i, gy, gw);
}

enum { UP = GR_W == 16 ? MOST : NARROW /* two rows of sums fill the registers */ };

/* A function for each form, not one for all: compilers take much longer over that. */
#define STRIP(name, kernel, stride, up, shift, rows, columns)                                                \
    static __attribute__((noinline)) void name(const struct gr_depthwise_strip *s, float *y) {               \
        strip_of((struct form){kernel, stride, up, shift, rows, columns}, s, y);                             \
    }
#define GRADIENT(name, kernel, stride, rows)                                                                 \
    static __attribute__((noinline)) void name(const struct gr_depthwise_strip *s, const float *gy,          \
                                               float *gw) {                                                  \
        gradient_of((struct form){kernel, stride, false, 0, rows, WIDE}, s, gy, gw);                         \
    }

STRIP(strip3, 3, 1, false, 0, 1, WIDE)
STRIP(strip3_two, 3, 1, false, 0, 2, WIDE)
STRIP(strip3_down, 3, 2, false, 0, 1, WIDE)
STRIP(strip3_up1, 3, 2, true, 1, 2, UP)
STRIP(strip3_up2, 3, 2, true, 2, 2, UP)
STRIP(strip5, 5, 1, false, 0, 1, WIDE)
STRIP(strip5_two, 5, 1, false, 0, 2, WIDE)
STRIP(strip5_down, 5, 2, false, 0, 1, WIDE)
STRIP(strip5_up3, 5, 2, true, 3, 2, UP)
STRIP(strip5_up4, 5, 2, true, 4, 2, UP)

GRADIENT(gradient3, 3, 1, 1)
GRADIENT(gradient3_two, 3, 1, 2)
GRADIENT(gradient3_down, 3, 2, 1)
GRADIENT(gradient5, 5, 1, 1)
GRADIENT(gradient5_two, 5, 1, 2)
GRADIENT(gradient5_down, 5, 2, 1)

static void strip(const struct gr_depthwise_strip *s, float *y) {
    bool five = s->kernel == 5, two = s->rows == 2;
    if (s->up && s->shift == s->kernel - 2)
        (five ? strip5_up3 : strip3_up1)(s, y);
    else if (s->up)
        (five ? strip5_up4 : strip3_up2)(s, y);
    else if (s->stride == 2)
        (five ? strip5_down : strip3_down)(s, y);
    else
        (five ? two ? strip5_two : strip5 : two ? strip3_two : strip3)(s, y);
    if (s->stream)
        gr_stream_end();
}

static void gradient(const struct gr_depthwise_strip *s, const float *gy, float *gw) {
    bool five = s->kernel == 5, two = s->rows == 2;
    if (s->stride == 2)
        (five ? gradient5_down : gradient3_down)(s, gy, gw);
    else
        (five ? two ? gradient5_two : gradient5 : two ? gradient3_two : gradient3)(s, gy, gw);
}

const struct gr_depthwise_kernels GR_SIMD_SYMBOL(gr_depthwise_kernels) = {
    .strip = strip,
    .gradient = gradient,
    .row = row,
    .weights = weights,
};
