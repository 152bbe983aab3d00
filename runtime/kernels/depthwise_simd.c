#include "kernels/simd.h"

#include "kernels/tables.h"

/* Channels are the lanes. COLUMNS outputs are summed at a time, so that each weight is read once for them. */

#define ALWAYS static inline __attribute__((always_inline))

enum { COLUMNS = 4 };

ALWAYS gr_vec load(const float *p, int rest, bool full) {
    return full ? gr_load(p) : gr_load_part(p, rest);
}

ALWAYS void store(float *p, gr_vec v, int rest, bool full, bool accumulate) {
    if (accumulate)
        v += load(p, rest, full);
    if (full)
        gr_store(p, v);
    else
        gr_store_part(p, v, rest);
}

/* Output i, some of whose taps may lie outside. */
ALWAYS void edge(const struct gr_depthwise_row *d, const float *x, const float *w, float *y, int i, int rest,
                 bool full, bool accumulate) {
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
ALWAYS int inside(const struct gr_depthwise_row *d, int rows, int taps, const float *x, const float *w,
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

ALWAYS void lanes(const struct gr_depthwise_row *d, const float *x, const float *w, float *y, int first,
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
ALWAYS void tap_sums(const struct gr_depthwise_row *d, int taps, const float *x, const float *gy, float *gw,
                     int m, int first, int last, int rest, bool full) {
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
ALWAYS void edge_weights(const struct gr_depthwise_row *d, const float *x, const float *gy, float *gw, int i,
                         int rest, bool full) {
    for (int m = 0; m < d->taps; m++) {
        int at = d->in_first + i * d->in_step + m * d->tap_stride;
        if (at >= 0 && at < d->inputs)
            store(gw + m * d->weight_step,
                  load(gy + i * d->out_step, rest, full) * load(x + (int64_t)at * d->c, rest, full), rest,
                  full, true);
    }
}

ALWAYS void weight_lanes(const struct gr_depthwise_row *d, const float *x, const float *gy, float *gw,
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

const struct gr_depthwise_kernels GR_SIMD_SYMBOL(gr_depthwise_kernels) = {
    .row = row,
    .weights = weights,
};
