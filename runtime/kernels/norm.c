#include "kernels/norm.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/tables.h"

/* Channels are taken in tiles, so that sums fit on the stack, and rows in blocks, whose number depends on the
 * sizes alone. Inside a block float sums run over SUMMED floats at most (they stay in the first cache for a
 * second pass) and then go into doubles. */
enum { TILE = 256, BLOCKS = 32, SUMMED = 8192, BLOCK_FLOATS = 1 << 15 };

struct sums {
    double a[TILE], b[TILE];
    double rows;
};

struct reduction {
    const struct gr_norm_kernels *kernels;
    int64_t rows, block_rows, ld;
    int c; /* channels in this tile */
    const float *x, *gy, *mean;
    struct sums sums[BLOCKS];
};

static int64_t blocks_of(struct reduction *r) {
    int64_t least = r->c > 0 ? BLOCK_FLOATS / r->c : 1;
    r->block_rows = gr_pieces(r->rows, BLOCKS);
    r->block_rows = r->block_rows > least ? r->block_rows : least;
    return gr_pieces(r->rows, r->block_rows);
}

/* The rows of sub-blocks that fit in the first cache. */
static int64_t step_rows(const struct reduction *r) {
    return SUMMED / r->c;
}

static void statistics_block(void *context, int64_t block, int worker) {
    struct reduction *r = context;
    struct sums *s = &r->sums[block];
    int64_t row = block * r->block_rows, last = row + r->block_rows < r->rows ? row + r->block_rows : r->rows;
    int64_t step = step_rows(r);
    (void)worker;
    memset(s, 0, sizeof *s); /* a is the mean so far, b the sum of squared deviations from it */
    for (; row < last; row += step) {
        int64_t size = last - row < step ? last - row : step;
        float sum[TILE] = {0}, mean[TILE], deviation[TILE] = {0};
        double weight = (double)size / (s->rows + (double)size), cross = s->rows * weight;
        r->kernels->sum(size, r->c, r->ld, r->x + row * r->ld, sum);
        for (int j = 0; j < r->c; j++)
            mean[j] = sum[j] / (float)size;
        r->kernels->deviation(size, r->c, r->ld, r->x + row * r->ld, mean, deviation);
        for (int j = 0; j < r->c; j++) {
            double delta = mean[j] - s->a[j];
            /* mean[j] is rounded; the residue of the float sum keeps the merged mean exact to first order. */
            double residue = ((double)sum[j] - (double)mean[j] * (double)size) / (double)size;
            s->a[j] += (delta + residue) * weight;
            s->b[j] += deviation[j] + delta * delta * cross;
        }
        s->rows += (double)size;
    }
}

static void tile_statistics(struct reduction *r, float *mean, float *variance) {
    int64_t blocks = blocks_of(r);
    gr_parallel(blocks, statistics_block, r);
    for (int j = 0; j < r->c; j++) {
        double rows = 0, average = 0, deviation = 0;
        for (int64_t block = 0; block < blocks; block++) {
            const struct sums *s = &r->sums[block];
            double delta = s->a[j] - average, total = rows + s->rows;
            average += delta * s->rows / total;
            deviation += s->b[j] + delta * delta * rows * s->rows / total;
            rows = total;
        }
        mean[j] = (float)average;
        variance[j] = (float)(deviation / rows);
    }
}

void gr_channel_statistics(int64_t rows, int c, const float *x, float *mean, float *variance) {
    struct reduction r = {.kernels = gr_norm_kernels(), .rows = rows, .ld = c};
    if (rows == 0)
        return;
    for (int first = 0; first < c; first += TILE) {
        r.c = c - first < TILE ? c - first : TILE;
        r.x = x + first;
        tile_statistics(&r, mean + first, variance + first);
    }
}

static void sum_block(void *context, int64_t block, int worker) {
    struct reduction *r = context;
    struct sums *s = &r->sums[block];
    int64_t row = block * r->block_rows, last = row + r->block_rows < r->rows ? row + r->block_rows : r->rows;
    int64_t step = step_rows(r);
    (void)worker;
    memset(s, 0, sizeof *s); /* a is the sum of gy, b the sum of gy * (x - mean) */
    for (; row < last; row += step) {
        int64_t size = last - row < step ? last - row : step, at = row * r->ld;
        float sum[TILE] = {0}, product[TILE] = {0};
        if (r->x)
            r->kernels->product(size, r->c, r->ld, r->x + at, r->mean, r->gy + at, sum, product);
        else
            r->kernels->sum(size, r->c, r->ld, r->gy + at, sum);
        for (int j = 0; j < r->c; j++) {
            s->a[j] += sum[j];
            s->b[j] += product[j];
        }
    }
}

/* The sums of a tile into `a` and `b` [c]. */
static void tile_sums(struct reduction *r, double *a, double *b) {
    int64_t blocks = blocks_of(r);
    gr_parallel(blocks, sum_block, r);
    for (int j = 0; j < r->c; j++) {
        a[j] = b[j] = 0;
        for (int64_t block = 0; block < blocks; block++) {
            a[j] += r->sums[block].a[j];
            b[j] += r->sums[block].b[j];
        }
    }
}

void gr_channel_sum(int64_t rows, int c, const float *x, float *sum) {
    struct reduction r = {.kernels = gr_norm_kernels(), .rows = rows, .ld = c};
    double a[TILE], b[TILE];
    for (int first = 0; first < c; first += TILE) {
        r.c = c - first < TILE ? c - first : TILE;
        r.gy = x + first;
        tile_sums(&r, a, b);
        for (int j = 0; j < r.c; j++)
            sum[first + j] = (float)a[j];
    }
}

struct rescale { /* gx (+)= gy * a + (x - mean) * b + d */
    const struct gr_norm_kernels *kernels;
    int64_t rows, span, ld;
    int c;
    const float *x, *gy, *mean;
    float *gx, a[TILE], b[TILE], d[TILE];
    bool accumulate;
};

static void rescale_chunk(void *context, int64_t chunk, int worker) {
    const struct rescale *r = context;
    int64_t row = chunk * r->span, size = r->rows - row < r->span ? r->rows - row : r->span, at = row * r->ld;
    (void)worker;
    r->kernels->backward(size, r->c, r->ld, r->x + at, r->mean, r->gy + at, r->a, r->b, r->d, r->gx + at,
                         r->accumulate);
}

static void rescale(struct rescale *r) {
    r->kernels = gr_norm_kernels();
    r->span = BLOCK_FLOATS / r->c;
    gr_parallel(gr_pieces(r->rows, r->span), rescale_chunk, r);
}

/* Both kinds of batch norm; with fixed statistics the sums do not enter gx. */
static void norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                          const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                          float *gbias, bool fixed) {
    for (int first = 0; rows > 0 && first < c; first += TILE) {
        struct reduction r = {.kernels = gr_norm_kernels(), .rows = rows, .ld = c};
        struct rescale s = {.rows = rows, .ld = c, .x = x + first, .gy = gy + first, .mean = mean + first};
        double sum[TILE] = {0}, product[TILE] = {0};
        r.c = s.c = c - first < TILE ? c - first : TILE;
        r.x = s.x;
        r.gy = s.gy;
        r.mean = s.mean;
        if (gweight || gbias || (gx && !fixed))
            tile_sums(&r, sum, product);
        for (int j = 0; j < r.c; j++) {
            float deviation = inverse_std[first + j], w = weight ? weight[first + j] : 1;
            if (gweight)
                gweight[first + j] = (float)(product[j] * deviation);
            if (gbias)
                gbias[first + j] = (float)sum[j];
            s.a[j] = w * deviation;
            s.b[j] =
                fixed ? 0
                      : (float)(-(double)w * deviation * deviation * deviation * product[j] / (double)rows);
            s.d[j] = fixed ? 0 : (float)(-(double)w * deviation * sum[j] / (double)rows);
        }
        if (gx) {
            s.gx = gx + first;
            s.accumulate = accumulate;
            rescale(&s);
        }
    }
}

void gr_batch_norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                            const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                            float *gbias) {
    norm_backward(rows, c, x, mean, inverse_std, weight, gy, gx, accumulate, gweight, gbias, false);
}

void gr_fixed_norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                            const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                            float *gbias) {
    norm_backward(rows, c, x, mean, inverse_std, weight, gy, gx, accumulate, gweight, gbias, true);
}

struct group_norm {
    const struct gr_norm_kernels *kernels;
    int n, pixels, c, groups;
    float eps;
    const float *x, *weight, *bias, *gy, *mean, *inverse_std;
    float *y, *mean_out, *inverse_std_out, *gx, *gweight, *gbias;
    bool accumulate;
};

/* Mean and sum of squared deviations of `cg` channels that start at x: every channel by itself, then merged.
 */
static void group_statistics(const struct group_norm *g, const float *x, int cg, double *mean,
                             double *deviation) {
    double count = 0;
    *mean = *deviation = 0;
    for (int first = 0; first < cg; first += TILE) {
        int c = cg - first < TILE ? cg - first : TILE;
        for (int64_t row = 0, step = SUMMED / c; row < g->pixels; row += step) {
            int64_t size = g->pixels - row < step ? g->pixels - row : step;
            const float *rows = x + row * g->c + first;
            float sum[TILE] = {0}, average[TILE], squares[TILE] = {0};
            g->kernels->sum(size, c, g->c, rows, sum);
            for (int j = 0; j < c; j++)
                average[j] = sum[j] / (float)size;
            g->kernels->deviation(size, c, g->c, rows, average, squares);
            for (int j = 0; j < c; j++) {
                double total = count + (double)size, delta = average[j] - *mean;
                *mean += delta * (double)size / total;
                *deviation += squares[j] + delta * delta * count * (double)size / total;
                count = total;
            }
        }
    }
}

static void group_forward_chunk(void *context, int64_t chunk, int worker) {
    const struct group_norm *g = context;
    int64_t photo = chunk / g->groups;
    int cg = g->c / g->groups, channel = (int)(chunk % g->groups) * cg;
    int64_t at = photo * g->pixels * g->c + channel;
    double mean, deviation;
    (void)worker;

    group_statistics(g, g->x + at, cg, &mean, &deviation);
    float inverse_std = (float)(1 / sqrt(deviation / ((double)g->pixels * cg) + g->eps));
    g->mean_out[chunk] = (float)mean;
    g->inverse_std_out[chunk] = inverse_std;
    for (int first = 0; first < cg; first += TILE) {
        int c = cg - first < TILE ? cg - first : TILE;
        float means[TILE], a[TILE], b[TILE];
        for (int j = 0; j < c; j++) {
            means[j] = (float)mean;
            a[j] = inverse_std * (g->weight ? g->weight[channel + first + j] : 1);
            b[j] = g->bias ? g->bias[channel + first + j] : 0;
        }
        g->kernels->apply(g->pixels, c, g->c, g->x + at + first, means, a, b, g->y + at + first);
    }
}

void gr_group_norm_forward(int n, int pixels, int c, int groups, float eps, const float *x,
                           const float *weight, const float *bias, float *y, float *mean,
                           float *inverse_std) {
    struct group_norm g = {.kernels = gr_norm_kernels(),
                           .n = n,
                           .pixels = pixels,
                           .c = c,
                           .groups = groups,
                           .eps = eps,
                           .x = x,
                           .weight = weight,
                           .bias = bias,
                           .y = y,
                           .mean_out = mean,
                           .inverse_std_out = inverse_std};
    if (pixels > 0)
        gr_parallel((int64_t)n * groups, group_forward_chunk, &g);
}

/* Adds one photo's sums of a group's gy and gy * (x - mean) to the weights' gradients, and returns through
 * `sum` and `product` the same sums weighted by weight[c], which gx needs. */
static void group_sums(const struct group_norm *g, int64_t at, int channel, int cg, float mean,
                       float inverse_std, double *sum, double *product) {
    *sum = *product = 0;
    for (int first = 0; first < cg; first += TILE) {
        int c = cg - first < TILE ? cg - first : TILE;
        double sums[TILE] = {0}, products[TILE] = {0};
        float means[TILE];
        for (int j = 0; j < c; j++)
            means[j] = mean;
        for (int64_t row = 0, step = SUMMED / c; row < g->pixels; row += step) {
            int64_t size = g->pixels - row < step ? g->pixels - row : step, from = at + row * g->c + first;
            float part[TILE] = {0}, part_product[TILE] = {0};
            g->kernels->product(size, c, g->c, g->x + from, means, g->gy + from, part, part_product);
            for (int j = 0; j < c; j++) {
                sums[j] += part[j];
                products[j] += part_product[j];
            }
        }
        for (int j = 0; j < c; j++) {
            float w = g->weight ? g->weight[channel + first + j] : 1;
            *sum += w * sums[j];
            *product += w * products[j];
            if (g->gweight)
                g->gweight[channel + first + j] += (float)(products[j] * inverse_std);
            if (g->gbias)
                g->gbias[channel + first + j] += (float)sums[j];
        }
    }
}

/* One group in all photos, since they add to the same weights. */
static void group_backward_chunk(void *context, int64_t group, int worker) {
    const struct group_norm *g = context;
    int cg = g->c / g->groups, channel = (int)group * cg;
    double count = (double)g->pixels * cg;
    (void)worker;
    if (g->gweight)
        memset(g->gweight + channel, 0, sizeof(float) * (size_t)cg);
    if (g->gbias)
        memset(g->gbias + channel, 0, sizeof(float) * (size_t)cg);
    for (int photo = 0; photo < g->n; photo++) {
        int64_t at = (int64_t)photo * g->pixels * g->c + channel;
        float mean = g->mean[(int64_t)photo * g->groups + group];
        float inverse_std = g->inverse_std[(int64_t)photo * g->groups + group];
        double sum, product;
        group_sums(g, at, channel, cg, mean, inverse_std, &sum, &product);
        for (int first = 0; g->gx && first < cg; first += TILE) {
            int c = cg - first < TILE ? cg - first : TILE;
            float means[TILE], a[TILE], b[TILE], d[TILE];
            for (int j = 0; j < c; j++) {
                means[j] = mean;
                a[j] = inverse_std * (g->weight ? g->weight[channel + first + j] : 1);
                b[j] = (float)(-(double)inverse_std * inverse_std * inverse_std * product / count);
                d[j] = (float)(-inverse_std * sum / count);
            }
            g->kernels->backward(g->pixels, c, g->c, g->x + at + first, means, g->gy + at + first, a, b, d,
                                 g->gx + at + first, g->accumulate);
        }
    }
}

void gr_group_norm_backward(int n, int pixels, int c, int groups, const float *x, const float *mean,
                            const float *inverse_std, const float *weight, const float *gy, float *gx,
                            bool accumulate, float *gweight, float *gbias) {
    struct group_norm g = {.kernels = gr_norm_kernels(),
                           .n = n,
                           .pixels = pixels,
                           .c = c,
                           .groups = groups,
                           .x = x,
                           .weight = weight,
                           .gy = gy,
                           .mean = mean,
                           .inverse_std = inverse_std,
                           .gx = gx,
                           .gweight = gweight,
                           .gbias = gbias,
                           .accumulate = accumulate};
    gr_parallel(groups, group_backward_chunk, &g);
}
