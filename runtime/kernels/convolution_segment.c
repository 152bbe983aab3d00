/* Any geometry, groups included: tiles of pixels against panels of weights, along the segments of kernel
 * rows. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_segment.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/tables.h"

enum {
    READ_FLOATS = 3 << 14, /* that a chunk reads at most: part of the second cache */
    PIXELS = 504,          /* of a chunk, about; and whose addresses are held at a time */
    WORK = 4000000,        /* multiplications that are worth a chunk */
    CHUNKS = 8,            /* that there should be at least, if the work allows */
};

static bool fits(const struct gr_convolution *conv) {
    return conv->groups > 0;
}

static int taps_of(const struct gr_convolution *conv) {
    return conv->kh * conv->kw;
}

static size_t packed_floats(const struct gr_convolution *conv) {
    return gr_segment_floats(taps_of(conv), conv->c / conv->groups, conv->k / conv->groups, conv->groups);
}

/* ---- weights ---- */

struct packing {
    int taps, inner, outer, panels;
    const float *weights, *scale;
    float *packed;
};

/* File layout [width, inner * taps] to [taps, inner, width] for one panel, a few columns of the file at a
 * time. */
static void pack_chunk(void *context, int64_t chunk, int worker) {
    enum { COLUMNS = 16 };
    const struct packing *p = context;
    int64_t group = chunk / p->panels, columns = (int64_t)p->inner * p->taps;
    int panel = (int)(chunk % p->panels), width, whole = gr_tile_kernels()->width, first = panel * whole;
    int count = p->outer - first < whole ? p->outer - first : whole;
    float turned[COLUMNS * GR_TILE_VECTORS * 16];
    float *to = p->packed + group * (int64_t)gr_segment_floats(p->taps, p->inner, p->outer, 1) +
                gr_segment_panel(p->taps, p->inner, p->outer, panel, &width);
    const float *from = p->weights + (group * p->outer + first) * columns;
    const float *scale = p->scale ? p->scale + group * p->outer + first : NULL;
    (void)worker;
    memset(turned, 0, sizeof turned);
    for (int64_t column = 0; column < columns; column += COLUMNS) {
        int some = columns - column < COLUMNS ? (int)(columns - column) : COLUMNS;
        gr_elementwise_kernels()->transpose(some, count, from + column, columns, turned, width);
        for (int i = 0; i < some; i++) {
            int64_t c = (column + i) / p->taps, tap = (column + i) % p->taps;
            float *at = to + (tap * p->inner + c) * width, *row = turned + i * width;
            for (int k = 0; scale && k < count; k++)
                row[k] *= scale[k];
            memcpy(at, row, sizeof *at * (size_t)width);
        }
    }
}

static void pack(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed) {
    struct packing p = {taps_of(conv), conv->c / conv->groups, conv->k / conv->groups, 0, weights, scale,
                        packed};
    p.panels = (int)gr_pieces(p.outer, gr_tile_kernels()->width);
    gr_parallel((int64_t)conv->groups * p.panels, pack_chunk, &p);
}

/* ---- one gather with its product ---- */

struct product {
    struct gr_axis rows, columns;
    int n, groups, inner, outer; /* inner and outer channels of a group */
    const float *x, *w;
    float *y;
    int y_rows, y_columns; /* of the photo that is written */
    bool accumulate, stream;
    const struct gr_prologue *prologue;
    const struct gr_epilogue *epilogue;
    enum gr_activation activation; /* that the tiles apply */
    bool frame;                    /* needs one even where nothing hangs over */
    struct gr_lines lines;
    int panels, pieces, each; /* panels of a group, pieces that they are cut into, panels of a piece */
    float *scratch;
    size_t worker_floats;
};

/* Sets how the work is cut, from sizes alone. */
static void cut(struct product *p) {
    p->panels = (int)gr_pieces(p->outer, gr_tile_kernels()->width);
    int64_t pixels = (int64_t)p->n * p->rows.outputs * p->columns.outputs;
    int64_t some = gr_pieces(pixels, CHUNKS) < PIXELS ? gr_pieces(pixels, CHUNKS) : PIXELS;
    double a_pixel = (double)p->rows.taps * p->columns.taps * p->inner * p->outer * p->groups;
    int64_t least = (int64_t)(WORK / (a_pixel + 1)) + 1;
    some = some > least ? some : least < PIXELS ? least : PIXELS;
    p->lines = gr_lines_cut(&p->rows, &p->columns, p->inner * p->groups, p->n, some, READ_FLOATS, p->frame);
    int64_t chunks = gr_lines_chunks(&p->lines), all = (int64_t)p->groups * p->panels;
    double work = a_pixel * (double)pixels;
    p->pieces = 1;
    if (chunks < CHUNKS && work > 2 * WORK) {
        int64_t wanted = work / WORK < CHUNKS ? (int64_t)(work / WORK) : CHUNKS;
        wanted = gr_pieces(wanted, chunks);
        p->pieces = (int)(wanted < all ? wanted : all);
    }
    p->each = (int)gr_pieces(all, p->pieces);
    p->pieces = (int)gr_pieces(all, p->each);
    p->worker_floats = gr_lines_floats(&p->lines);
}

/* The addresses of up to PIXELS pixels, in order. */
struct pixels {
    int count;
    const float *x[PIXELS];
    float *y[PIXELS];
};

/* Pixels from..from+count-1 of a view, counted through photos and lines. */
static void fill_pixels(const struct product *p, const struct gr_lines_view *v, int64_t from, int count,
                        struct pixels *out) {
    int columns = p->columns.outputs, column = (int)(from % columns), line = (int)(from / columns % v->lines);
    int64_t photo = from / columns / v->lines, k = (int64_t)p->outer * p->groups;
    out->count = count;
    for (int i = 0; i < count;) {
        int row = p->rows.out_first + (v->line + line) * p->rows.out_step;
        int64_t y = ((v->photo + photo) * p->y_rows + row) * p->y_columns + p->columns.out_first;
        const float *x = v->x + photo * v->x_photo + line * v->x_line;
        for (; i < count && column < columns; i++, column++) {
            out->x[i] = x + column * v->x_pixel;
            out->y[i] = p->y + (y + (int64_t)column * p->columns.out_step) * k;
        }
        column = 0;
        if (++line == v->lines) {
            line = 0;
            photo++;
        }
    }
}

/* One panel of one group over all pixels. */
static void panel_product(const struct product *p, const struct gr_lines_view *v, const struct pixels *pixels,
                          int group, int panel, float *statistics, bool first) {
    int taps = p->rows.taps * p->columns.taps, memory, width = gr_tile_kernels()->width;
    int rest = p->outer - panel * width, channel = group * p->outer + panel * width;
    bool run = p->groups == 1 && p->columns.tap_stride == 1; /* a kernel row is one segment */
    struct gr_tile t = {.width = rest < width ? rest : width,
                        .rows = p->rows.taps,
                        .columns = run ? 1 : p->columns.taps,
                        .length = run ? p->columns.taps * p->inner : p->inner,
                        .x_row = v->x_tap_row,
                        .x_column = v->x_tap,
                        .x_step = 1,
                        .accumulate = p->accumulate,
                        .stream = p->stream,
                        .activation = p->activation};
    t.w = p->w + group * (int64_t)gr_segment_floats(taps, p->inner, p->outer, 1) +
          gr_segment_panel(taps, p->inner, p->outer, panel, &memory);
    t.w_step = memory;
    t.w_column = (int64_t)p->inner * memory;
    t.w_row = p->columns.taps * t.w_column;
    const float *residual = NULL;
    if (p->epilogue) {
        t.bias = p->epilogue->bias ? p->epilogue->bias + channel : NULL;
        t.a = p->epilogue->a;
        residual = p->epilogue->residual;
    }
    t.statistics = statistics ? statistics + channel : NULL;
    t.statistics_step = (int64_t)p->outer * p->groups;
    for (int i = 0; i < pixels->count; i += GR_TILE_ROWS) {
        t.first = first && i == 0;
        t.count = pixels->count - i < GR_TILE_ROWS ? pixels->count - i : GR_TILE_ROWS;
        for (int r = 0; r < GR_TILE_ROWS; r++) {
            int at = i + (r < t.count ? r : t.count - 1);
            t.x[r] = pixels->x[at] + group * p->inner;
            t.y[r] = pixels->y[at] + channel;
            t.residual[r] = residual ? residual + (t.y[r] - p->y) : NULL;
        }
        gr_tile_kernels()->product(&t);
    }
}

static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct product *p = context;
    struct gr_lines_view v = gr_lines_open(&p->lines, chunk / p->pieces, p->x, p->prologue,
                                           p->scratch + (size_t)worker * p->worker_floats);
    int first = (int)(chunk % p->pieces) * p->each, all = p->groups * p->panels;
    int last = first + p->each < all ? first + p->each : all;
    int64_t count = (int64_t)v.photos * v.lines * p->columns.outputs;
    float *statistics = p->epilogue ? p->epilogue->statistics : NULL;
    struct pixels pixels;
    if (statistics) {
        statistics += chunk / p->pieces * (int64_t)gr_statistics_floats(p->outer * p->groups);
        if (first == 0)
            statistics[0] = (float)count;
        statistics += GR_STATISTICS_HEAD;
    }
    for (int64_t from = 0; from < count; from += PIXELS) {
        fill_pixels(p, &v, from, count - from < PIXELS ? (int)(count - from) : PIXELS, &pixels);
        for (int i = first; i < last; i++)
            panel_product(p, &v, &pixels, i / p->panels, i % p->panels, statistics, from == 0);
    }
    if (p->stream)
        gr_tile_kernels()->streamed();
}

static void run(struct product *p) {
    int c = p->outer * p->groups;
    bool whole = p->rows.out_step == 1 && p->columns.out_step == 1;
    cut(p);
    p->stream = whole && !p->accumulate && p->groups == 1 &&
                gr_streams((int64_t)p->n * p->y_rows * p->y_columns * c, c, p->y);
    gr_parallel(gr_lines_chunks(&p->lines) * p->pieces, product_chunk, p);
}

static struct product forward_product(const struct gr_convolution *conv, int n) {
    return (struct product){
        .rows = gr_axis_forward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top),
        .columns = gr_axis_forward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left),
        .n = n,
        .groups = conv->groups,
        .inner = conv->c / conv->groups,
        .outer = conv->k / conv->groups,
        .y_rows = conv->oh,
        .y_columns = conv->ow};
}

static void forward(const struct gr_convolution *conv, int n, const float *x,
                    const struct gr_prologue *prologue, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct product p = forward_product(conv, n);
    enum gr_activation f = epilogue ? epilogue->activation : GR_IDENTITY;
    bool known = gr_activation_simple(f);
    p.x = x;
    p.prologue = prologue;
    p.frame = prologue != NULL;
    p.w = packed;
    p.epilogue = epilogue;
    p.activation = known ? f : GR_IDENTITY;
    p.y = y;
    p.scratch = scratch;
    if (n > 0)
        run(&p);
    if (!known)
        gr_activation_forward(f, epilogue->a, (int64_t)n * conv->oh * conv->ow * conv->k, y, y);
}

/* ---- backward-data: a stride-1 gather for each phase of the stride ---- */

static struct product backward_product(const struct gr_convolution *conv, int n, int row_phase,
                                       int column_phase) {
    return (struct product){
        .rows = gr_axis_backward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top, row_phase),
        .columns =
            gr_axis_backward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left, column_phase),
        .n = n,
        .groups = conv->groups,
        .inner = conv->k / conv->groups,
        .outer = conv->c / conv->groups,
        .y_rows = conv->h,
        .y_columns = conv->w};
}

static bool has_work(const struct product *p) {
    return p->n > 0 && p->rows.taps * p->columns.taps > 0 && p->rows.outputs > 0 && p->columns.outputs > 0;
}

/* The weights of one phase, turned: [panels of c][taps of the phase][kg][width] from [panels of
 * k][taps][cg][width]. */
struct turning {
    const struct gr_convolution *conv;
    const struct product *p;
    const float *packed;
    float *turned;
};

static void turn_chunk(void *context, int64_t chunk, int worker) {
    const struct turning *t = context;
    const struct product *p = t->p;
    int taps = p->rows.taps * p->columns.taps, all = taps_of(t->conv), whole = gr_tile_kernels()->width;
    int panels = (int)gr_pieces(p->outer, whole), at = (int)(chunk % taps),
        panel = (int)(chunk / taps % panels);
    int64_t group = chunk / taps / panels;
    int row = p->rows.tap_first + at / p->columns.taps * p->rows.tap_step;
    int column = p->columns.tap_first + at % p->columns.taps * p->columns.tap_step;
    int64_t tap = row * t->conv->kw + column;
    int width, first = panel * whole, count = p->outer - first < whole ? p->outer - first : whole;
    float *to = t->turned + group * (int64_t)gr_segment_floats(taps, p->inner, p->outer, 1) +
                gr_segment_panel(taps, p->inner, p->outer, panel, &width);
    const float *from = t->packed + group * (int64_t)gr_segment_floats(all, p->outer, p->inner, 1);
    (void)worker;
    to += (int64_t)at * p->inner * width;
    for (int k = 0; k < p->inner; k += whole) {
        int from_width, some = p->inner - k < whole ? p->inner - k : whole;
        const float *block = from + gr_segment_panel(all, p->outer, p->inner, k / whole, &from_width);
        block += (tap * p->outer + first) * from_width;
        gr_elementwise_kernels()->transpose(some, count, block, from_width, to + (int64_t)k * width, width);
        for (int i = 0; count < width && i < some; i++)
            memset(to + (int64_t)(k + i) * width + count, 0, sizeof *to * (size_t)(width - count));
    }
}

/* Zeros in one line of pixels that no tap reaches. */
static void clear_line(void *context, int64_t line, int worker) {
    const struct product *p = context;
    int64_t photo = line / p->rows.outputs, k = (int64_t)p->outer * p->groups;
    int64_t row = p->rows.out_first + line % p->rows.outputs * p->rows.out_step;
    float *y = p->y + ((photo * p->y_rows + row) * p->y_columns + p->columns.out_first) * k;
    (void)worker;
    for (int i = 0; i < p->columns.outputs; i++)
        memset(y + i * p->columns.out_step * k, 0, sizeof *y * (size_t)k);
}

static void backward_data(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch) {
    for (int i = 0; i < conv->sh * conv->sw; i++) {
        struct product p = backward_product(conv, n, i / conv->sw, i % conv->sw);
        struct turning turning = {conv, &p, packed, scratch};
        int taps = p.rows.taps * p.columns.taps;
        p.x = gy;
        p.w = scratch;
        p.y = gx;
        p.accumulate = accumulate;
        p.scratch = scratch + gr_whole_lines(gr_segment_floats(taps, p.inner, p.outer, p.groups));
        if (has_work(&p)) {
            int64_t panels = gr_pieces(p.outer, gr_tile_kernels()->width);
            gr_parallel((int64_t)conv->groups * taps * panels, turn_chunk, &turning);
            run(&p);
        } else if (!accumulate && p.columns.outputs > 0) {
            gr_parallel((int64_t)n * p.rows.outputs, clear_line, &p);
        }
    }
}

/* ---- */

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    size_t threads = (size_t)gr_threads(), most;
    struct product forward = forward_product(conv, n);
    forward.frame = true;
    cut(&forward);
    most = threads * forward.worker_floats;
    for (int i = 0; i < conv->sh * conv->sw; i++) {
        struct product p = backward_product(conv, n, i / conv->sw, i % conv->sw);
        if (!has_work(&p))
            continue;
        cut(&p);
        size_t turned = gr_segment_floats(p.rows.taps * p.columns.taps, p.inner, p.outer, p.groups);
        size_t floats = gr_whole_lines(turned) + threads * p.worker_floats;
        most = floats > most ? floats : most;
    }
    size_t gradient = gr_segment_gradient_floats(conv, n);
    return gradient > most ? gradient : most;
}

static int64_t partials(const struct gr_convolution *conv, int n) {
    struct product p = forward_product(conv, n);
    p.frame = true;
    cut(&p);
    return gr_lines_chunks(&p.lines);
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    int lanes = gr_tile_kernels()->lanes, inner = conv->c / conv->groups, outer = conv->k / conv->groups;
    double pixels = (double)n * conv->oh * conv->ow, terms = (double)taps_of(conv) * inner;
    double channels = (double)(gr_pieces(outer, lanes) * lanes) * conv->groups;
    double tiles = pixels / GR_TILE_ROWS * gr_pieces(outer, gr_tile_kernels()->width) * conv->groups;
    double weights = (double)packed_floats(conv);
    return (2 * pixels * channels * terms / 0.96 + tiles * 4000) / (gr_model_flops() * threads) +
           4 * (pixels * conv->k + (double)n * conv->h * conv->w * conv->c + weights) /
               gr_model_bandwidth(threads) +
           5e-6;
}

const struct gr_convolution_passes gr_convolution_segment = {
    .name = "segment",
    .fits = fits,
    .cost = cost,
    .packed = packed_floats,
    .pack = pack,
    .scratch = scratch_floats,
    .partials = partials,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = gr_segment_backward_weights,
};
