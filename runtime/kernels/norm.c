#include "kernels/norm.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/tables.h"

/* Channels are taken in tiles, so that sums fit on the stack, and rows in blocks, whose number depends on the
 * sizes alone. Inside a block float sums run over SUMMED floats at most and then go into doubles. */
enum { TILE = 256, BLOCKS = 32, SUMMED = 16384, BLOCK_FLOATS = 1 << 15 };

struct sums {
    double a[TILE], b[TILE];
    double rows;
};

struct reduction {
    const struct gr_norm_kernels *kernels;
    int64_t block_rows;
    struct gr_norm_rows all; /* of this tile of channels; a plain sum has no x */
    struct sums sums[BLOCKS];
};

static int64_t blocks_of(struct reduction *r) {
    int64_t least = BLOCK_FLOATS / r->all.c;
    r->block_rows = gr_pieces(r->all.rows, BLOCKS);
    r->block_rows = r->block_rows > least ? r->block_rows : least;
    return gr_pieces(r->all.rows, r->block_rows);
}

/* The rows that follow `row`, `rows` of them at most. */
static struct gr_norm_rows part_of(const struct gr_norm_rows *all, int64_t row, int64_t rows) {
    struct gr_norm_rows part = *all;
    int64_t at = row * all->ld;
    part.rows = all->rows - row < rows ? all->rows - row : rows;
    part.x = all->x ? all->x + at : NULL;
    part.gy = all->gy ? all->gy + at : NULL;
    part.kept = all->kept ? all->kept + at : NULL;
    part.residual = all->residual ? all->residual + at : NULL;
    return part;
}

/* Merges `rows` more rows, whose sums of d and of d^2 are given for d = x - pivot, into the mean so far (a)
 * and the sum of squared deviations from it (b)   (Chan, Golub and LeVeque 1983). */
static void merge(struct sums *s, int c, int64_t rows, const float *pivot, const float *sum,
                  const float *squares) {
    double count = (double)rows, weight = count / (s->rows + count), cross = s->rows * weight;
    double inverse = 1 / count;
    for (int j = 0; j < c; j++) {
        double delta = pivot[j] + sum[j] * inverse - s->a[j];
        s->a[j] += delta * weight;
        s->b[j] += squares[j] - (double)sum[j] * sum[j] * inverse + delta * delta * cross;
    }
    s->rows += count;
}

/* Every x is read once: deviations are taken from the mean of the rows before, so that what is subtracted
 * again in merge() is never large against the whole sum. Only the first few rows are read twice, since there
 * is no mean before them. */
static void statistics_of(const struct gr_norm_kernels *kernels, const struct gr_norm_rows *rows,
                          struct sums *s) {
    int64_t step = SUMMED / rows->c, first = step / 4 < rows->rows ? step / 4 : rows->rows;
    float sum[TILE] = {0}, pivot[TILE];
    kernels->sum(first, rows->c, rows->ld, rows->x, sum);
    for (int j = 0; j < rows->c; j++)
        pivot[j] = sum[j] / (float)first;
    memset(s, 0, sizeof *s);
    for (int64_t row = 0; row < rows->rows; row += step) {
        struct gr_norm_rows part = part_of(rows, row, step);
        float squares[TILE] = {0};
        memset(sum, 0, sizeof sum);
        kernels->moments(part.rows, part.c, part.ld, part.x, pivot, sum, squares);
        merge(s, part.c, part.rows, pivot, sum, squares);
        for (int j = 0; j < part.c; j++)
            pivot[j] = (float)s->a[j];
    }
}

static void statistics_block(void *context, int64_t block, int worker) {
    struct reduction *r = context;
    struct gr_norm_rows rows = part_of(&r->all, block * r->block_rows, r->block_rows);
    (void)worker;
    statistics_of(r->kernels, &rows, &r->sums[block]);
}

static void tile_statistics(struct reduction *r, float *mean, float *variance) {
    int64_t blocks = blocks_of(r);
    gr_parallel(blocks, statistics_block, r);
    for (int j = 0; j < r->all.c; j++) {
        double rows = 0, average = 0, deviation = 0;
        for (int64_t block = 0; block < blocks; block++) {
            const struct sums *s = &r->sums[block];
            double delta = s->a[j] - average, total = rows + s->rows;
            average += delta * s->rows / total;
            deviation += s->b[j] + delta * delta * rows * s->rows / total;
            rows = total;
        }
        mean[j] = (float)average;
        variance[j] = (float)(deviation > 0 ? deviation / rows : 0);
    }
}

size_t gr_statistics_floats(int c) {
    return (GR_STATISTICS_HEAD + 3 * (size_t)c + 15) & ~(size_t)15;
}

struct merging {
    int64_t partials;
    int c;
    const float *statistics;
    float *mean, *variance;
};

/* The partials of one tile of channels. */
static void merge_chunk(void *context, int64_t tile, int worker) {
    const struct merging *m = context;
    int first = (int)tile * TILE, c = m->c - first < TILE ? m->c - first : TILE;
    struct sums s;
    (void)worker;
    memset(&s, 0, sizeof s);
    for (int64_t i = 0; i < m->partials; i++) {
        const float *partial = m->statistics + i * (int64_t)gr_statistics_floats(m->c);
        const float *pivot = partial + GR_STATISTICS_HEAD + first;
        if (partial[0] > 0)
            merge(&s, c, (int64_t)partial[0], pivot, pivot + m->c, pivot + 2 * (int64_t)m->c);
    }
    for (int j = 0; j < c; j++) {
        m->mean[first + j] = (float)s.a[j];
        m->variance[first + j] = (float)(s.b[j] > 0 ? s.b[j] / s.rows : 0);
    }
}

void gr_statistics_merge(int64_t partials, int c, const float *statistics, float *mean, float *variance) {
    struct merging m = {partials, c, statistics, mean, variance};
    gr_parallel(gr_pieces(c, TILE), merge_chunk, &m);
}

void gr_channel_statistics(int64_t rows, int c, const float *x, float *mean, float *variance) {
    struct reduction r = {.kernels = gr_norm_kernels(), .all = {.rows = rows, .ld = c}};
    if (rows == 0)
        return;
    for (int first = 0; first < c; first += TILE) {
        r.all.c = c - first < TILE ? c - first : TILE;
        r.all.x = x + first;
        tile_statistics(&r, mean + first, variance + first);
    }
}

static void sum_block(void *context, int64_t block, int worker) {
    struct reduction *r = context;
    struct sums *s = &r->sums[block];
    struct gr_norm_rows rows = part_of(&r->all, block * r->block_rows, r->block_rows);
    int64_t step = SUMMED / rows.c;
    (void)worker;
    memset(s, 0, sizeof *s); /* a is the sum of g, b the sum of g * (x - mean) */
    for (int64_t row = 0; row < rows.rows; row += step) {
        struct gr_norm_rows part = part_of(&rows, row, step);
        float sum[TILE] = {0}, product[TILE] = {0};
        if (part.x)
            r->kernels->product(&part, sum, product);
        else
            r->kernels->sum(part.rows, part.c, part.ld, part.gy, sum);
        for (int j = 0; j < part.c; j++) {
            s->a[j] += sum[j];
            s->b[j] += product[j];
        }
    }
}

/* The sums of a tile into `a` and `b` [c]. */
static void tile_sums(struct reduction *r, double *a, double *b) {
    int64_t blocks = blocks_of(r);
    gr_parallel(blocks, sum_block, r);
    for (int j = 0; j < r->all.c; j++) {
        a[j] = b[j] = 0;
        for (int64_t block = 0; block < blocks; block++) {
            a[j] += r->sums[block].a[j];
            b[j] += r->sums[block].b[j];
        }
    }
}

void gr_channel_sum(int64_t rows, int c, const float *x, float *sum) {
    struct reduction r = {.kernels = gr_norm_kernels(), .all = {.rows = rows, .ld = c}};
    double a[TILE], b[TILE];
    for (int first = 0; first < c; first += TILE) {
        r.all.c = c - first < TILE ? c - first : TILE;
        r.all.gy = x + first;
        tile_sums(&r, a, b);
        for (int j = 0; j < r.all.c; j++)
            sum[first + j] = (float)a[j];
    }
}

/* ---- forward ---- */

struct application {
    const struct gr_norm_kernels *kernels;
    const struct gr_epilogue *epilogue;
    int64_t rows, span;
    int c;
    const float *x, *scale, *shift;
    float *y;
    bool stream;
};

static void apply_chunk(void *context, int64_t chunk, int worker) {
    const struct application *w = context;
    int64_t row = chunk * w->span, rows = w->rows - row < w->span ? w->rows - row : w->span, at = row * w->c;
    const float *residual = w->epilogue->residual;
    (void)worker;
    w->kernels->affine(w->epilogue, rows, w->c, w->x + at, w->scale, w->shift,
                       residual ? residual + at : NULL, w->y + at, w->stream);
}

void gr_norm_apply(int64_t rows, int c, const float *x, const float *scale, const float *shift,
                   const struct gr_epilogue *epilogue, float *y) {
    struct application w = {.kernels = gr_norm_kernels(),
                            .epilogue = epilogue,
                            .rows = rows,
                            .span = c < BLOCK_FLOATS ? BLOCK_FLOATS / (c > 0 ? c : 1) : 1,
                            .c = c,
                            .x = x,
                            .scale = scale,
                            .shift = shift,
                            .y = y,
                            .stream = y != x && y != epilogue->residual && gr_streams(rows * c, c, y)};
    if (rows > 0 && c > 0)
        gr_parallel(gr_pieces(rows, w.span), apply_chunk, &w);
}

/* ---- backward ---- */

struct rescale { /* gx (+)= g * a + (x - mean) * b + d */
    const struct gr_norm_kernels *kernels;
    int64_t span;
    struct gr_norm_rows all;
    float *gx, a[TILE], b[TILE], d[TILE];
    bool accumulate;
};

static void rescale_chunk(void *context, int64_t chunk, int worker) {
    const struct rescale *r = context;
    struct gr_norm_rows part = part_of(&r->all, chunk * r->span, r->span);
    (void)worker;
    r->kernels->backward(&part, r->a, r->b, r->d, r->gx + chunk * r->span * part.ld, r->accumulate);
}

/* Channels first.. of the norm as the kernels take them. */
static struct gr_norm_rows tile_of(const struct gr_norm_fusion *n, int first) {
    return (struct gr_norm_rows){.rows = n->rows,
                                 .ld = n->c,
                                 .c = n->c - first < TILE ? n->c - first : TILE,
                                 .x = n->x + first,
                                 .mean = n->mean + first,
                                 .gy = n->gy + first,
                                 .f = n->activation,
                                 .a = n->a,
                                 .kept = n->kept ? n->kept + first : NULL,
                                 .scale = n->scale ? n->scale + first : NULL,
                                 .shift = n->shift ? n->shift + first : NULL,
                                 .residual = n->gresidual ? n->gresidual + first : NULL,
                                 .accumulate_residual = n->accumulate_residual};
}

static void backward_tile(const struct gr_norm_fusion *n, int first) {
    struct reduction r = {.kernels = gr_norm_kernels(), .all = tile_of(n, first)};
    struct rescale s = {.kernels = r.kernels, .all = r.all, .accumulate = n->accumulate};
    double sum[TILE] = {0}, product[TILE] = {0};
    if (n->gweight || n->gbias || !n->gx || !n->fixed) {
        tile_sums(&r, sum, product);
        s.all.residual = NULL;
        if (r.all.residual && !n->accumulate_residual) { /* then it is g */
            s.all.gy = r.all.residual;
            s.all.f = GR_IDENTITY;
        }
    }
    for (int j = 0; j < r.all.c; j++) {
        float deviation = n->inverse_std[first + j], w = n->weight ? n->weight[first + j] : 1;
        if (n->gweight)
            n->gweight[first + j] = (float)(product[j] * deviation);
        if (n->gbias)
            n->gbias[first + j] = (float)sum[j];
        double rows = (double)n->rows;
        s.a[j] = w * deviation;
        s.b[j] = n->fixed ? 0 : (float)(-(double)w * deviation * deviation * deviation * product[j] / rows);
        s.d[j] = n->fixed ? 0 : (float)(-(double)w * deviation * sum[j] / rows);
    }
    if (n->gx) {
        bool over = n->gx == n->gy || n->gx == n->kept || n->gx == n->x;
        s.gx = n->gx + first;
        s.all.stream = !over && !n->accumulate && gr_streams(n->rows * n->c, n->c, n->gx);
        s.span = BLOCK_FLOATS / s.all.c;
        gr_parallel(gr_pieces(n->rows, s.span), rescale_chunk, &s);
    }
}

void gr_norm_backward_fused(const struct gr_norm_fusion *norm) {
    for (int first = 0; norm->rows > 0 && first < norm->c; first += TILE)
        backward_tile(norm, first);
}

/* Both kinds of batch norm by themselves. */
static void norm_backward(int64_t rows, int c, const float *x, const float *mean, const float *inverse_std,
                          const float *weight, const float *gy, float *gx, bool accumulate, float *gweight,
                          float *gbias, bool fixed) {
    struct gr_norm_fusion norm = {.rows = rows,
                                  .c = c,
                                  .x = x,
                                  .mean = mean,
                                  .inverse_std = inverse_std,
                                  .weight = weight,
                                  .fixed = fixed,
                                  .activation = GR_IDENTITY,
                                  .gy = gy,
                                  .gx = gx,
                                  .accumulate = accumulate,
                                  .gweight = gweight,
                                  .gbias = gbias};
    if (gx || gweight || gbias)
        gr_norm_backward_fused(&norm);
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

/* ---- group norm ---- */

/* Channels of one photo that a thread takes at a time, in whole groups. A group may be wider: then it is a
 * strip by itself, and is read in tiles. */
enum { STRIP = 128 };

struct group_norm {
    const struct gr_norm_kernels *kernels;
    int n, pixels, c, groups;
    float eps;
    const float *x, *weight, *bias, *gy, *mean, *inverse_std;
    float *y, *mean_out, *inverse_std_out, *gx, *gweight, *gbias;
    bool accumulate;
    double *sums; /* [n,2,c]: of gy, and of gy * (x - mean) */
};

struct strip {
    int64_t photo, at; /* its first value's place in x */
    int cg;            /* channels of a group */
    int group, groups; /* the first group, and how many */
    int channel, c;    /* the same in channels */
};

static int strip_groups(const struct group_norm *g) {
    int groups = STRIP / (g->c / g->groups);
    return groups > 1 ? groups : 1;
}

static int64_t strips_of(const struct group_norm *g) {
    return g->n * gr_pieces(g->groups, strip_groups(g));
}

static struct strip strip_of(const struct group_norm *g, int64_t chunk) {
    int most = strip_groups(g);
    int64_t strips = gr_pieces(g->groups, most);
    struct strip s = {.photo = chunk / strips, .cg = g->c / g->groups, .group = (int)(chunk % strips) * most};
    s.groups = g->groups - s.group < most ? g->groups - s.group : most;
    s.channel = s.group * s.cg;
    s.c = s.groups * s.cg;
    s.at = s.photo * g->pixels * g->c + s.channel;
    return s;
}

/* The strip's channels first..first+TILE as rows. */
static struct gr_norm_rows strip_tile(const struct group_norm *g, const struct strip *s, int first) {
    return (struct gr_norm_rows){.rows = g->pixels,
                                 .ld = g->c,
                                 .c = s->c - first < TILE ? s->c - first : TILE,
                                 .x = g->x + s->at + first,
                                 .gy = g->gy ? g->gy + s->at + first : NULL};
}

/* The mean and the sum of squared deviations of each group of the strip: every channel by itself, then merged
 * (Chan et al. 1983). */
static void group_statistics(const struct group_norm *g, const struct strip *s, double *mean,
                             double *deviation) {
    for (int first = 0; first < s->c; first += TILE) {
        struct gr_norm_rows tile = strip_tile(g, s, first);
        struct sums channels;
        statistics_of(g->kernels, &tile, &channels);
        for (int j = 0; j < tile.c; j++) {
            int group = (first + j) / s->cg, before = (first + j) % s->cg;
            double delta = channels.a[j] - mean[group], share = 1.0 / (before + 1);
            mean[group] += delta * share;
            deviation[group] += channels.b[j] + delta * delta * g->pixels * before * share;
        }
    }
}

static void group_forward_chunk(void *context, int64_t chunk, int worker) {
    const struct group_norm *g = context;
    struct strip s = strip_of(g, chunk);
    double mean[STRIP] = {0}, deviation[STRIP] = {0};
    float *means = g->mean_out + s.photo * g->groups + s.group;
    float *inverse_std = g->inverse_std_out + s.photo * g->groups + s.group;
    (void)worker;

    group_statistics(g, &s, mean, deviation);
    for (int i = 0; i < s.groups; i++) {
        double variance = deviation[i] / ((double)g->pixels * s.cg);
        means[i] = (float)mean[i];
        inverse_std[i] = (float)(1 / sqrt((variance > 0 ? variance : 0) + g->eps));
    }
    for (int first = 0; first < s.c; first += TILE) {
        struct gr_norm_rows tile = strip_tile(g, &s, first);
        float from[TILE], a[TILE], b[TILE];
        for (int j = 0; j < tile.c; j++) {
            int group = (first + j) / s.cg, channel = s.channel + first + j;
            from[j] = means[group];
            a[j] = inverse_std[group] * (g->weight ? g->weight[channel] : 1);
            b[j] = g->bias ? g->bias[channel] : 0;
        }
        g->kernels->apply(tile.rows, tile.c, tile.ld, tile.x, from, a, b, g->y + s.at + first);
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
        gr_parallel(strips_of(&g), group_forward_chunk, &g);
}

/* Takes one photo's sums of every channel of the strip, for the weights' gradients, and of every group,
 * weighted by weight[c], which gx needs. */
static void group_sums(const struct group_norm *g, const struct strip *s, const float *means, double *sum,
                       double *product) {
    double *sums = g->sums + s->photo * 2 * g->c + s->channel, *products = sums + g->c;
    memset(sums, 0, sizeof(double) * (size_t)s->c);
    memset(products, 0, sizeof(double) * (size_t)s->c);
    for (int first = 0; first < s->c; first += TILE) {
        struct gr_norm_rows tile = strip_tile(g, s, first);
        float from[TILE];
        for (int j = 0; j < tile.c; j++)
            from[j] = means[(first + j) / s->cg];
        tile.mean = from;
        for (int64_t row = 0, step = SUMMED / tile.c; row < tile.rows; row += step) {
            struct gr_norm_rows part = part_of(&tile, row, step);
            float part_sum[TILE] = {0}, part_product[TILE] = {0};
            g->kernels->product(&part, part_sum, part_product);
            for (int j = 0; j < tile.c; j++) {
                sums[first + j] += part_sum[j];
                products[first + j] += part_product[j];
            }
        }
    }
    for (int j = 0; j < s->c; j++) {
        double weight = g->weight ? g->weight[s->channel + j] : 1;
        sum[j / s->cg] += weight * sums[j];
        product[j / s->cg] += weight * products[j];
    }
}

static void group_backward_chunk(void *context, int64_t chunk, int worker) {
    const struct group_norm *g = context;
    struct strip s = strip_of(g, chunk);
    double sum[STRIP] = {0}, product[STRIP] = {0}, count = (double)g->pixels * s.cg;
    const float *means = g->mean + s.photo * g->groups + s.group;
    const float *inverse_std = g->inverse_std + s.photo * g->groups + s.group;
    (void)worker;

    group_sums(g, &s, means, sum, product);
    for (int first = 0; g->gx && first < s.c; first += TILE) {
        struct gr_norm_rows tile = strip_tile(g, &s, first);
        float from[TILE], a[TILE], b[TILE], d[TILE];
        for (int j = 0; j < tile.c; j++) {
            int group = (first + j) / s.cg;
            double inverse = inverse_std[group];
            from[j] = means[group];
            a[j] = inverse_std[group] * (g->weight ? g->weight[s.channel + first + j] : 1);
            b[j] = (float)(-inverse * inverse * inverse * product[group] / count);
            d[j] = (float)(-inverse * sum[group] / count);
        }
        tile.mean = from;
        g->kernels->backward(&tile, a, b, d, g->gx + s.at + first, g->accumulate);
    }
}

/* The weights' gradients, photo after photo. */
static void group_weights(const struct group_norm *g) {
    int cg = g->c / g->groups;
    for (int j = 0; j < g->c; j++) {
        double sum = 0, product = 0;
        for (int64_t photo = 0; photo < g->n; photo++) {
            const double *sums = g->sums + photo * 2 * g->c + j;
            sum += sums[0];
            product += sums[g->c] * g->inverse_std[photo * g->groups + j / cg];
        }
        if (g->gweight)
            g->gweight[j] = (float)product;
        if (g->gbias)
            g->gbias[j] = (float)sum;
    }
}

size_t gr_group_norm_scratch(int n, int c) {
    return sizeof(double) * 2 * (size_t)n * (size_t)c;
}

void gr_group_norm_backward(int n, int pixels, int c, int groups, const float *x, const float *mean,
                            const float *inverse_std, const float *weight, const float *gy, float *gx,
                            bool accumulate, float *gweight, float *gbias, void *scratch) {
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
                           .accumulate = accumulate,
                           .sums = scratch};
    gr_parallel(strips_of(&g), group_backward_chunk, &g);
    group_weights(&g);
}
