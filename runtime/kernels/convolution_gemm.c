/* Any geometry: blocks of pixels are gathered into patches (im2col), then one product a block and group. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/gemm.h"
#include "kernels/tables.h"

enum {
    PIXELS = 256,           /* in a block, at most */
    PATCH_FLOATS = 1 << 18, /* of patches in a block: as much as the second cache holds */
    WORK = 2000000,         /* multiplications that are worth a chunk */
    CHUNKS = 8,             /* that there should be at least, if the work allows */
};

static bool fits(const struct gr_convolution *conv) {
    return conv->groups > 0;
}

static int taps_of(const struct gr_convolution *conv) {
    return conv->kh * conv->kw;
}

static size_t packed_floats(const struct gr_convolution *conv) {
    return (size_t)taps_of(conv) * (size_t)(conv->c / conv->groups) * (size_t)conv->k;
}

static void pack(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed) {
    gr_pack_weights(conv->k, conv->c / conv->groups, taps_of(conv), conv->groups, weights, scale, packed);
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    double pixels = (double)n * conv->oh * conv->ow, weights = (double)packed_floats(conv);
    double patch = (double)taps_of(conv) * conv->c, inner = patch / conv->groups,
           outer = conv->k / conv->groups;
    double efficiency = 0.85 * outer / (outer + 8) * inner / (inner + 16);
    return 2 * pixels * weights / (efficiency * gr_model_flops() * threads) +
           4 * (pixels * conv->k + (double)n * conv->h * conv->w * conv->c + weights) /
               gr_model_bandwidth(threads) +
           4 * pixels * patch * 2 / (60e9 * threads) + 5e-6;
}

/* One gather with its product: out[pixel, outer] (+)= patches[pixel, taps*inner] w[taps*inner, outer], for
 * every group. */
struct product {
    struct gr_gather gather;
    int n, groups, inner, outer; /* inner and outer channels of a group */
    const float *x, *w;
    int64_t group_weights; /* floats from one group's weights to the next */
    float *y;
    int y_rows, y_columns; /* size of the output that the gather writes into */
    bool accumulate;
    const struct gr_epilogue *epilogue;
    int64_t pixels, block;
    int tap_rows;      /* kernel rows that are gathered at a time */
    int pieces, width; /* the output channels of a chunk: of one group, or whole groups */
    int groups_each;
    float *scratch;
    size_t worker_floats;
};

static int tap_rows_of(const struct gr_axis *rows, int row_floats) {
    int tap_rows = PATCH_FLOATS / (64 * row_floats);
    return tap_rows < 1 ? 1 : tap_rows < rows->taps ? tap_rows : rows->taps;
}

static int block_of(int tap_rows, int row_floats) {
    int pixels = PATCH_FLOATS / (tap_rows * row_floats) / 16 * 16;
    return pixels < 64 ? 64 : pixels < PIXELS ? pixels : PIXELS;
}

/* Sets how the work is cut, from sizes alone. */
static void cut(struct product *p) {
    const struct gr_axis *rows = &p->gather.rows, *columns = &p->gather.columns;
    int row_floats = columns->taps * p->inner;
    p->pixels = (int64_t)p->n * rows->outputs * columns->outputs;
    p->tap_rows = tap_rows_of(rows, row_floats);
    int64_t blocks = gr_pieces(p->pixels, block_of(p->tap_rows, row_floats));
    blocks = blocks > 1 ? (blocks + 1) & ~(int64_t)1 : 1;
    p->block = gr_pieces(p->pixels, blocks);
    p->width = p->outer;
    p->groups_each = p->groups;
    p->pieces = 1;
    double work = (double)p->pixels * rows->taps * row_floats * p->outer * p->groups;
    if (blocks >= CHUNKS || work < 2 * WORK)
        return;
    int64_t wanted = (int64_t)(work / WORK) < CHUNKS ? (int64_t)(work / WORK) : CHUNKS;
    wanted = gr_pieces(wanted, blocks);
    if (p->groups > 1) {
        p->groups_each = (int)gr_pieces(p->groups, wanted);
        p->pieces = (int)gr_pieces(p->groups, p->groups_each);
    } else {
        p->width = (int)gr_pieces(gr_pieces(p->outer, wanted), 32) * 32;
        p->pieces = (int)gr_pieces(p->outer, p->width);
    }
}

static size_t patch_floats(const struct product *p) {
    return gr_whole_lines((size_t)p->block * (size_t)p->tap_rows *
                          (size_t)(p->gather.columns.taps * p->inner));
}

/* Whether pixel i of the gather is simply pixel i of the output. */
static bool whole(const struct product *p) {
    return p->gather.rows.out_step == 1 && p->gather.columns.out_step == 1;
}

static size_t worker_floats_of(const struct product *p) {
    return patch_floats(p) + (whole(p) ? 0 : gr_whole_lines((size_t)p->block * (size_t)p->outer));
}

/* Where pixel i of the gather lies in the output, in pixels. */
static int64_t place_of(const struct product *p, int64_t i) {
    const struct gr_axis *rows = &p->gather.rows, *columns = &p->gather.columns;
    int64_t line = i / columns->outputs, photo = line / rows->outputs;
    int64_t row = rows->out_first + line % rows->outputs * rows->out_step;
    return (photo * p->y_rows + row) * p->y_columns + columns->out_first +
           i % columns->outputs * columns->out_step;
}

/* Writes a block's results, `width` channels a pixel, to the pixels of one phase. */
static void scatter(const struct product *p, int64_t first, int64_t last, int channel, int width,
                    const float *results) {
    int64_t k = (int64_t)p->outer * p->groups;
    for (int64_t i = first; i < last; i++, results += width) {
        float *to = p->y + place_of(p, i) * k + channel;
        if (p->accumulate)
            for (int j = 0; j < width; j++)
                to[j] += results[j];
        else
            memcpy(to, results, sizeof(float) * (size_t)width);
    }
}

/* The product of one block, one group and output channels first..first+width-1 of that group. */
static void group_product(const struct product *p, int64_t from, int64_t to, int group, int first, int width,
                          float *patches) {
    const struct gr_axis *rows = &p->gather.rows;
    int row_floats = p->gather.columns.taps * p->inner, k = p->outer * p->groups;
    int channel = group * p->outer + first, count = (int)(to - from);
    bool direct = whole(p);
    float *out = direct ? p->y + from * k + channel : patches + patch_floats(p);
    int ld = direct ? k : width;
    const float *w = p->w + group * p->group_weights + first;
    for (int tap = 0; tap < rows->taps; tap += p->tap_rows) {
        int last = tap + p->tap_rows < rows->taps ? tap + p->tap_rows : rows->taps;
        gr_gather_patches(&p->gather, p->x + (int64_t)group * p->inner, from, to, tap, last, patches);
        gr_gemm(false, false, count, width, (last - tap) * row_floats, 1, patches, (last - tap) * row_floats,
                w + (int64_t)tap * row_floats * p->outer, p->outer, tap || (direct && p->accumulate) ? 1 : 0,
                out, ld);
    }
    if (!direct)
        scatter(p, from, to, channel, width, out);
}

static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct product *p = context;
    int64_t from = chunk / p->pieces * p->block,
            to = from + p->block < p->pixels ? from + p->block : p->pixels;
    int piece = (int)(chunk % p->pieces);
    int first_group = p->groups > 1 ? piece * p->groups_each : 0,
        first = p->groups > 1 ? 0 : piece * p->width;
    int last_group = first_group + p->groups_each < p->groups ? first_group + p->groups_each : p->groups;
    int width = p->outer - first < p->width ? p->outer - first : p->width;
    float *patches = p->scratch + (size_t)worker * p->worker_floats;
    if (from >= to)
        return;
    for (int group = first_group; group < last_group; group++)
        group_product(p, from, to, group, first, width, patches);
    if (p->epilogue)
        gr_apply_epilogue(p->epilogue, from, to - from, first_group * p->outer + first,
                          (last_group - first_group - 1) * p->outer + width, p->outer * p->groups, p->y);
}

static void run(struct product *p) {
    cut(p);
    p->worker_floats = worker_floats_of(p);
    if (p->pixels > 0)
        gr_parallel(gr_pieces(p->pixels, p->block) * p->pieces, product_chunk, p);
}

static struct product forward_product(const struct gr_convolution *conv, int n) {
    int cg = conv->c / conv->groups, kg = conv->k / conv->groups;
    return (struct product){
        .gather = {.rows = gr_axis_forward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top),
                   .columns = gr_axis_forward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left),
                   .channels = cg,
                   .stride = conv->c},
        .n = n,
        .groups = conv->groups,
        .inner = cg,
        .outer = kg,
        .group_weights = (int64_t)taps_of(conv) * cg * kg,
        .y_rows = conv->oh,
        .y_columns = conv->ow};
}

static void forward(const struct gr_convolution *conv, int n, const float *x, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct product p = forward_product(conv, n);
    p.x = x;
    p.w = packed;
    p.epilogue = epilogue;
    p.y = y;
    p.scratch = scratch;
    run(&p);
}

static struct product backward_product(const struct gr_convolution *conv, int n, int row_phase,
                                       int column_phase) {
    int cg = conv->c / conv->groups, kg = conv->k / conv->groups;
    struct gr_axis rows =
        gr_axis_backward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top, row_phase);
    struct gr_axis columns =
        gr_axis_backward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left, column_phase);
    return (struct product){.gather = {.rows = rows, .columns = columns, .channels = kg, .stride = conv->k},
                            .n = n,
                            .groups = conv->groups,
                            .inner = kg,
                            .outer = cg,
                            .group_weights = (int64_t)rows.taps * columns.taps * cg * kg,
                            .y_rows = conv->h,
                            .y_columns = conv->w};
}

/* The weights of one phase for backward-data, [groups, taps of the phase, kg, cg]: transposed tap by tap from
 * the forward's [groups, T, cg, kg]. */
struct turning {
    const struct gr_convolution *conv;
    struct gr_axis rows, columns;
    const float *packed;
    float *turned;
};

static void turn_chunk(void *context, int64_t chunk, int worker) {
    const struct turning *t = context;
    const struct gr_convolution *conv = t->conv;
    int cg = conv->c / conv->groups, kg = conv->k / conv->groups, taps = t->rows.taps * t->columns.taps;
    int64_t group = chunk / taps;
    int at = (int)(chunk % taps);
    int row = t->rows.tap_first + at / t->columns.taps * t->rows.tap_step;
    int column = t->columns.tap_first + at % t->columns.taps * t->columns.tap_step;
    int64_t tap = group * taps_of(conv) + row * conv->kw + column;
    (void)worker;
    gr_elementwise_kernels()->transpose(kg, cg, t->packed + tap * cg * kg, kg, t->turned + chunk * cg * kg,
                                        cg);
}

/* Zeros in one line of pixels that no tap reaches. */
static void clear_line(void *context, int64_t line, int worker) {
    const struct product *p = context;
    int64_t columns = p->gather.columns.outputs, k = (int64_t)p->outer * p->groups;
    (void)worker;
    for (int64_t i = line * columns; i < (line + 1) * columns; i++)
        memset(p->y + place_of(p, i) * k, 0, sizeof(float) * (size_t)k);
}

static void backward_data(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch) {
    float *turned = scratch;
    scratch += gr_whole_lines(packed_floats(conv));
    for (int i = 0; i < conv->sh * conv->sw; i++) {
        struct product p = backward_product(conv, n, i / conv->sw, i % conv->sw);
        int taps = p.gather.rows.taps * p.gather.columns.taps;
        struct turning turning = {conv, p.gather.rows, p.gather.columns, packed, turned};
        p.x = gy;
        p.w = turned;
        p.y = gx;
        p.accumulate = accumulate;
        p.scratch = scratch;
        if (taps > 0) {
            gr_parallel((int64_t)conv->groups * taps, turn_chunk, &turning);
            run(&p);
        } else if (!accumulate) {
            gr_parallel((int64_t)n * p.gather.rows.outputs, clear_line, &p);
        }
    }
}

/* ---- weights ---- */

/* Slots are private copies of the gradient, each for a range of pixels; kernel rows are spread too when the
 * gradient is large, so that fewer copies are needed. */
struct gradient {
    const struct gr_convolution *conv;
    struct gr_gather gather;
    const float *x, *gy;
    int slots, row_parts;
    int64_t pixels, slot_pixels, block;
    float *local, *patches;
    size_t worker_floats;
};

static struct gradient plan_gradient(const struct gr_convolution *conv, int n) {
    struct product forward = forward_product(conv, n);
    struct gradient g = {.conv = conv, .gather = forward.gather, .pixels = (int64_t)n * conv->oh * conv->ow};
    size_t floats = packed_floats(conv);
    g.slots = floats <= 1 << 16 ? 8 : floats <= 1 << 20 ? 4 : 2;
    while (g.slots > 1 && g.pixels < g.slots * 128)
        g.slots /= 2;
    g.row_parts = floats > 1 << 16 ? conv->kh : 1;
    g.slot_pixels = g.pixels > 0 ? gr_pieces(g.pixels, g.slots) : 1;
    int tap_rows = (int)gr_pieces(conv->kh, g.row_parts), row_floats = conv->kw * forward.inner;
    g.block = block_of(tap_rows, row_floats);
    g.block = gr_pieces(g.slot_pixels, gr_pieces(g.slot_pixels, g.block));
    g.worker_floats = gr_whole_lines((size_t)g.block * (size_t)tap_rows * (size_t)row_floats);
    return g;
}

static void gradient_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    const struct gr_convolution *conv = g->conv;
    int64_t slot = chunk / g->row_parts, part = chunk % g->row_parts;
    int cg = conv->c / conv->groups, kg = conv->k / conv->groups;
    int row_floats = conv->kw * cg, all = conv->kh * row_floats;
    int tap = g->row_parts > 1 ? (int)part : 0, last_tap = g->row_parts > 1 ? tap + 1 : conv->kh;
    int width = (last_tap - tap) * row_floats;
    int64_t first = slot * g->slot_pixels, last = first + g->slot_pixels;
    float *patches = g->patches + (size_t)worker * g->worker_floats;
    float *gw = g->local + slot * conv->k * all + (int64_t)tap * row_floats;

    last = last < g->pixels ? last : g->pixels;
    if (first >= last)
        for (int k = 0; k < conv->k; k++)
            memset(gw + (int64_t)k * all, 0, sizeof(float) * (size_t)width);
    for (int64_t from = first; from < last; from += g->block) {
        int64_t to = from + g->block < last ? from + g->block : last;
        for (int group = 0; group < conv->groups; group++) {
            gr_gather_patches(&g->gather, g->x + (int64_t)group * cg, from, to, tap, last_tap, patches);
            gr_gemm(true, false, kg, width, (int)(to - from), 1, g->gy + from * conv->k + (int64_t)group * kg,
                    conv->k, patches, width, from > first ? 1 : 0, gw + (int64_t)group * kg * all, all);
        }
    }
}

static void backward_weights(const struct gr_convolution *conv, int n, const float *x, const float *gy,
                             float *gw, float *scratch) {
    struct gradient g = plan_gradient(conv, n);
    g.x = x;
    g.gy = gy;
    g.local = scratch;
    g.patches = scratch + gr_whole_lines((size_t)g.slots * packed_floats(conv));
    gr_parallel((int64_t)g.slots * g.row_parts, gradient_chunk, &g);
    gr_unpack_gradient(conv->k, conv->c / conv->groups, taps_of(conv), g.slots, g.local, gw);
}

/* ---- */

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    size_t threads = (size_t)gr_threads(), most = 0, backward = 0;
    struct product forward = forward_product(conv, n);
    struct gradient gradient = plan_gradient(conv, n);
    cut(&forward);
    for (int i = 0; i < conv->sh * conv->sw; i++) {
        struct product p = backward_product(conv, n, i / conv->sw, i % conv->sw);
        if (p.gather.rows.taps * p.gather.columns.taps == 0)
            continue;
        cut(&p);
        backward = larger(backward, worker_floats_of(&p));
    }
    most = threads * worker_floats_of(&forward);
    most = larger(most, gr_whole_lines(packed_floats(conv)) + threads * backward);
    return larger(most, gr_whole_lines((size_t)gradient.slots * packed_floats(conv)) +
                            threads * gradient.worker_floats);
}

const struct gr_convolution_passes gr_convolution_gemm = {
    .name = "gemm",
    .fits = fits,
    .cost = cost,
    .packed = packed_floats,
    .pack = pack,
    .scratch = scratch_floats,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
