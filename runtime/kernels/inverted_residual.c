#include "kernels/inverted_residual.h"

#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_segment.h"
#include "kernels/elementwise.h"
#include "kernels/tables.h"

enum {
    HELD_FLOATS = 1 << 17,  /* that a thread holds at most: half of a second cache of 1 MB */
    GROUP = 16,             /* rows of outputs that are written together at most */
    CACHED_BYTES = 1 << 20, /* of tensors that would still be in the second caches when they are read */
};

/* ---- how the work is cut ---- */

struct cut {
    int group;       /* rows of outputs that are written together */
    int bands, band; /* bands of a photo, and rows of outputs in one */
};

/* What a row takes in multiply-adds of a 1x1 convolution. Whole vectors of channels are computed; a depthwise
 * kernel is slower than its number of multiply-adds says. */
struct row_work {
    double expand, depthwise, project; /* a pixel, an output row, an output pixel */
};

static struct row_work row_work(const struct gr_inverted_residual *block) {
    const struct gr_convolution *d = &block->depthwise;
    int lanes = gr_tile_kernels()->lanes;
    return (struct row_work){
        .expand = block->expands ? (double)block->expand.c * (double)gr_pieces(d->c, lanes) * lanes : 0,
        .depthwise = 1.6 * d->kh * d->kw * d->c * d->ow,
        .project = (double)d->c * (double)gr_pieces(block->project.k, lanes) * lanes};
}

/* Expanded rows that `rows` rows of outputs read, edges left out of account. */
static int rows_read(const struct gr_convolution *depthwise, int rows) {
    return (rows - 1) * depthwise->sh + depthwise->kh;
}

/* Multiply-adds of `rows` rows of outputs that need `read` more expanded ones, with what is lost where pixels
 * do not fill tiles and rows do not fill strips. */
static double group_work(const struct gr_inverted_residual *block, int rows, int read) {
    const struct gr_convolution *d = &block->depthwise;
    struct row_work work = row_work(block);
    return work.expand * GR_TILE_ROWS * (double)gr_pieces((int64_t)read * d->w, GR_TILE_ROWS) +
           work.project * GR_TILE_ROWS * (double)gr_pieces((int64_t)rows * d->ow, GR_TILE_ROWS) +
           work.depthwise * (rows + (d->sh == 1 && rows % 2 ? 0.25 : 0));
}

/* The same of a band: its first group, which fills the ring, those behind it, and what is left. */
static double band_work(const struct gr_inverted_residual *block, int band, int group) {
    const struct gr_convolution *d = &block->depthwise;
    int first = band < group ? band : group, whole = (band - first) / group, rest = (band - first) % group;
    int read = rows_read(d, first) < d->h ? rows_read(d, first) : d->h, left = d->h - read;
    int middle = whole * group * d->sh < left ? whole * group * d->sh : left;
    int end = rest * d->sh < left - middle ? rest * d->sh : left - middle;
    double sum = group_work(block, first, read);
    sum += whole > 0 ? whole * group_work(block, group, (int)gr_pieces(middle, whole)) : 0;
    return rest > 0 ? sum + group_work(block, rest, end) : sum;
}

static int64_t row_floats(const struct gr_convolution *depthwise) {
    return (int64_t)depthwise->w * depthwise->c;
}

static int64_t line_floats(const struct gr_convolution *depthwise) {
    return (int64_t)depthwise->ow * depthwise->c;
}

static size_t ring_floats(const struct gr_inverted_residual *block, int group) {
    const struct gr_convolution *d = &block->depthwise;
    return block->expands ? gr_whole_lines((size_t)(rows_read(d, group) * row_floats(d))) : 0;
}

static size_t held_floats(const struct gr_inverted_residual *block, int group) {
    return ring_floats(block, group) + gr_whole_lines((size_t)(group * line_floats(&block->depthwise)));
}

/* The group is the same for all batches, so that scratch is. */
static int best_group(const struct gr_inverted_residual *block) {
    int rows = block->depthwise.oh, best = 1;
    double least = INFINITY;
    for (int group = 1; group <= rows && group <= GROUP; group++) {
        if (group > 1 && held_floats(block, group) > HELD_FLOATS)
            break;
        double work = band_work(block, rows, group);
        if (work < 0.99 * least) { /* a larger one has to be worth its memory */
            least = work;
            best = group;
        }
    }
    return best;
}

/* Whole photos, unless there are so few that some threads would have less to do than others. */
static struct cut cut(const struct gr_inverted_residual *block, int n, int threads) {
    const struct gr_convolution *d = &block->depthwise;
    struct row_work work = row_work(block);
    struct cut best = {.group = best_group(block)};
    double least = INFINITY;
    for (int bands = 1; bands <= 2 * threads && bands <= d->oh; bands++) {
        int band = (int)gr_pieces(d->oh, bands), read = rows_read(d, band);
        read = read < d->h ? read : d->h;
        double rounds = (double)gr_pieces((int64_t)n * bands, threads);
        double time = rounds * (work.expand * read * d->w + (work.depthwise + work.project * d->ow) * band);
        if (time >= 0.99 * least)
            continue;
        least = time;
        best.band = band;
    }
    best.bands = (int)gr_pieces(d->oh, best.band);
    return best;
}

static bool is_1x1(const struct gr_convolution *conv) {
    return conv->kh == 1 && conv->kw == 1 && conv->sh == 1 && conv->sw == 1 && conv->top == 0 &&
           conv->left == 0 && conv->oh == conv->h && conv->ow == conv->w && conv->groups == 1;
}

bool gr_inverted_residual_fits(const struct gr_inverted_residual *block) {
    const struct gr_convolution *e = &block->expand, *d = &block->depthwise, *p = &block->project;
    bool expand = !block->expands || (is_1x1(e) && e->oh == d->h && e->ow == d->w && e->k == d->c);
    bool project = is_1x1(p) && p->h == d->oh && p->w == d->ow && p->c == d->k;
    return expand && project && gr_convolution_fits(GR_CONV_DEPTHWISE, d) && gr_depthwise_strips(d);
}

double gr_inverted_residual_cost(const struct gr_inverted_residual *block, int n, int threads,
                                 double separate) {
    const struct gr_convolution *d = &block->depthwise;
    struct cut c = cut(block, n, threads);
    double rounds = (double)gr_pieces((int64_t)n * c.bands, threads);
    double even = n * band_work(block, d->oh, d->oh) / threads;
    double added = 2 * (rounds * band_work(block, c.band, c.group) - even) / (0.96 * gr_model_flops());
    double cache = threads > 1 ? 170e9 : 90e9, saved = block->expands ? 8e-6 : 4e-6; /* starts of a pass */
    double inside[2] = {block->expands ? (double)n * d->h * (double)row_floats(d) : 0,
                        (double)n * d->oh * (double)line_floats(d)};
    for (int i = 0; i < 2; i++) {
        double bytes = 4 * inside[i];
        saved += 2 * bytes / (bytes > CACHED_BYTES ? gr_model_bandwidth(threads) : cache);
        if (held_floats(block, c.group) > 2 * HELD_FLOATS)
            added += 2 * bytes / cache;
    }
    return separate + added - saved;
}

size_t gr_inverted_residual_scratch(const struct gr_inverted_residual *block) {
    size_t floats = gr_whole_lines((size_t)block->depthwise.c);
    return sizeof(float) * (floats + (size_t)gr_threads() * held_floats(block, best_group(block)));
}

/* ---- running ---- */

struct fused {
    const struct gr_inverted_residual *block;
    const struct gr_inverted_part *parts;
    struct cut cut;
    int ring; /* expanded rows that are held; row r of a photo lies at r % ring */
    const float *x;
    float *y;
    const float *zeros;
    float *scratch; /* a part for each worker */
    size_t worker_floats;
    bool stream;
};

/* Pixels of a 1x1 convolution, side by side; those from `wrap` on are written elsewhere. */
struct pixels {
    int64_t count, wrap;
    const float *x, *residual;
    float *y, *wrapped;
};

static void activate(const struct gr_epilogue *epilogue, int64_t count, float *y) {
    if (!gr_activation_simple(epilogue->activation))
        gr_elementwise_kernels()->activation(epilogue->activation, epilogue->a, count, y, y, false);
}

static void product(const struct gr_convolution *conv, const struct gr_inverted_part *part,
                    const struct pixels *p, bool stream) {
    const struct gr_tile_kernels *kernels = gr_tile_kernels();
    const struct gr_epilogue *epilogue = part->epilogue;
    bool simple = gr_activation_simple(epilogue->activation);
    for (int panel = 0; panel * kernels->width < conv->k; panel++) {
        int first = panel * kernels->width, rest = conv->k - first, memory;
        struct gr_tile t = {.width = rest < kernels->width ? rest : kernels->width,
                            .rows = 1,
                            .columns = 1,
                            .length = conv->c,
                            .x_step = 1,
                            .stream = stream && simple,
                            .activation = simple ? epilogue->activation : GR_IDENTITY,
                            .a = epilogue->a};
        t.w = part->packed + gr_segment_panel(1, conv->c, conv->k, panel, &memory);
        t.w_step = memory;
        t.bias = epilogue->bias ? epilogue->bias + first : NULL;
        for (int64_t i = 0; i < p->count; i += GR_TILE_ROWS) {
            t.count = p->count - i < GR_TILE_ROWS ? (int)(p->count - i) : GR_TILE_ROWS;
            for (int r = 0; r < GR_TILE_ROWS; r++) {
                int64_t at = i + (r < t.count ? r : t.count - 1);
                t.x[r] = p->x + at * conv->c;
                t.y[r] = (at < p->wrap ? p->y + at * conv->k : p->wrapped + (at - p->wrap) * conv->k) + first;
                t.residual[r] = p->residual ? p->residual + at * conv->k + first : NULL;
            }
            kernels->product(&t);
        }
    }
    activate(epilogue, p->wrap * conv->k, p->y);
    activate(epilogue, (p->count - p->wrap) * conv->k, p->wrapped);
}

/* Expanded rows first..last-1 of a photo into the ring. */
static void expand_rows(const struct fused *f, int64_t photo, int first, int last, float *ring) {
    const struct gr_convolution *conv = &f->block->expand;
    int64_t row = row_floats(&f->block->depthwise);
    int at = first % f->ring, rows = f->ring - at < last - first ? f->ring - at : last - first;
    struct pixels pixels = {.count = (int64_t)(last - first) * conv->w,
                            .wrap = (int64_t)rows * conv->w,
                            .x = f->x + (photo * conv->h + first) * conv->w * conv->c,
                            .y = ring + at * row,
                            .wrapped = ring};
    product(conv, &f->parts[0], &pixels, false);
}

static void depthwise_rows(const struct fused *f, int64_t photo, int row, int rows, const float *ring,
                           float *lines) {
    const struct gr_convolution *d = &f->block->depthwise;
    const struct gr_epilogue *e = f->parts[1].epilogue;
    int each = d->sh == 1 ? GR_STRIP_ROWS : 1;
    bool clamp = e->activation == GR_RELU || e->activation == GR_RELU6;
    struct gr_depthwise_strip s = {.c = d->c,
                                   .pixel = d->c,
                                   .kernel = d->kh,
                                   .stride = d->sh,
                                   .outputs = d->ow,
                                   .out_row = line_floats(d),
                                   .width = d->w,
                                   .first = -d->left,
                                   .weights = f->parts[1].packed,
                                   .weight_step = d->c,
                                   .weight_row_step = (int64_t)d->kw * d->c,
                                   .zeros = f->zeros,
                                   .bias = e->bias,
                                   .clamp = clamp,
                                   .high = e->activation == GR_RELU6 ? 6 : INFINITY};
    for (int i = 0; i < rows; i += each) {
        s.rows = rows - i < each ? rows - i : each;
        int first = (row + i) * d->sh - d->top;
        for (int r = 0; r < gr_strip_inputs(s.rows, s.kernel, s.stride, false, 0); r++) {
            int at = first + r;
            const float *from = f->block->expands ? ring + at % f->ring * row_floats(d)
                                                  : f->x + (photo * d->h + at) * row_floats(d);
            s.inputs[r] = at >= 0 && at < d->h ? from : NULL;
        }
        gr_depthwise_kernels()->strip(&s, lines + i * s.out_row);
    }
    struct gr_epilogue after = {.activation = e->activation, .a = e->a};
    if (!clamp)
        gr_apply_epilogue(&after, 0, (int64_t)rows * d->ow, 0, d->c, d->c, lines);
}

static void project_rows(const struct fused *f, int64_t photo, int row, int rows, const float *lines) {
    const struct gr_convolution *conv = &f->block->project;
    const float *residual = f->parts[2].epilogue->residual;
    int64_t at = (photo * conv->oh + row) * conv->ow * conv->k, count = (int64_t)rows * conv->ow;
    struct pixels pixels = {.count = count,
                            .wrap = count,
                            .x = lines,
                            .residual = residual ? residual + at : NULL,
                            .y = f->y + at};
    product(conv, &f->parts[2], &pixels, f->stream);
}

/* One band of one photo. */
static void band_chunk(void *context, int64_t chunk, int worker) {
    const struct fused *f = context;
    const struct gr_convolution *d = &f->block->depthwise;
    float *ring = f->scratch + (size_t)worker * f->worker_floats;
    float *lines = ring + ring_floats(f->block, f->cut.group);
    int64_t photo = chunk / f->cut.bands;
    int first = (int)(chunk % f->cut.bands) * f->cut.band;
    int last = first + f->cut.band < d->oh ? first + f->cut.band : d->oh;
    int next = first * d->sh - d->top; /* row to expand */
    next = next > 0 ? next : 0;
    for (int row = first; row < last; row += f->cut.group) {
        int rows = last - row < f->cut.group ? last - row : f->cut.group;
        int end = row * d->sh - d->top + rows_read(d, rows);
        end = end < d->h ? end : d->h;
        if (f->block->expands && next < end)
            expand_rows(f, photo, next, end, ring);
        next = next > end ? next : end;
        depthwise_rows(f, photo, row, rows, ring, lines);
        project_rows(f, photo, row, rows, lines);
    }
    if (f->stream)
        gr_tile_kernels()->streamed();
}

void gr_inverted_residual_forward(const struct gr_inverted_residual *block, int n, const float *x,
                                  const struct gr_inverted_part parts[3], float *y, void *scratch) {
    const struct gr_convolution *p = &block->project;
    size_t zeros = gr_whole_lines((size_t)block->depthwise.c);
    struct fused f = {.block = block,
                      .parts = parts,
                      .cut = cut(block, n, gr_threads()),
                      .x = x,
                      .y = y,
                      .zeros = memset(scratch, 0, sizeof(float) * zeros),
                      .scratch = (float *)scratch + zeros,
                      .stream = gr_streams((int64_t)n * p->oh * p->ow * p->k, p->k, y)};
    f.ring = rows_read(&block->depthwise, f.cut.group);
    f.worker_floats = held_floats(block, f.cut.group);
    gr_parallel((int64_t)n * f.cut.bands, band_chunk, &f);
}
