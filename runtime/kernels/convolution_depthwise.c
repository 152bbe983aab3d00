/* One channel in, one channel out: channels are vector lanes and nothing is gathered. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/norm.h"
#include "kernels/tables.h"

static bool fits(const struct gr_convolution *conv) {
    return conv->groups == conv->c && conv->groups == conv->k;
}

static int taps_of(const struct gr_convolution *conv) {
    return conv->kh * conv->kw;
}

/* The others are done row by row. */
bool gr_depthwise_strips(const struct gr_convolution *conv) {
    return conv->kh == conv->kw && (conv->kh == 3 || conv->kh == 5) && conv->sh == conv->sw &&
           conv->sh <= 2 && conv->dh == 1 && conv->dw == 1 &&
           (conv->sh == 1 || (conv->top - conv->left) % 2 == 0);
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    double outputs = (double)n * conv->oh * conv->ow * conv->c,
           inputs = (double)n * conv->h * conv->w * conv->c;
    return 2 * outputs * taps_of(conv) /
               ((gr_depthwise_strips(conv) ? 0.6 : 0.25) * gr_model_flops() * threads) +
           4 * (outputs + inputs) / gr_model_bandwidth(threads) + 3e-6;
}

static size_t packed_floats(const struct gr_convolution *conv) {
    return (size_t)taps_of(conv) * (size_t)conv->c;
}

/* [C, 1, kH, kW] to [T, C]. */
static void pack(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed) {
    int taps = taps_of(conv);
    for (int c = 0; c < conv->c; c++)
        for (int tap = 0; tap < taps; tap++)
            packed[(int64_t)tap * conv->c + c] = weights[(int64_t)c * taps + tap] * (scale ? scale[c] : 1);
}

/* Rows of outputs, in chunks. Phases are 1 forward and the strides backward (see convolution_parts.h). */
struct depthwise {
    const struct gr_convolution *conv;
    const struct gr_depthwise_kernels *kernels;
    int n, row_phases, column_phases;
    int rows, columns; /* of the side that is written, in a photo */
    int in_rows, in_columns;
    int step;            /* rows that are written together */
    int64_t strips, run; /* of all photos, and those in a chunk */
    const float *x, *w, *zeros;
    const struct gr_prologue *prologue;
    float *rings; /* one a worker, for rows under a prologue */
    float *y;
    bool accumulate, stream;
    const struct gr_epilogue *epilogue;
};

/* Rows of the photos that went through the prologue, for a range of channels: the last RING that a worker
 * asked for, each computed once while strips go down the photo. */
enum { RING = 8 }; /* more than a strip reads */
struct ring {
    int64_t held[RING]; /* rows, counted through all photos; -1: none */
    float *rows;
    int first, count; /* channels */
};

static size_t ring_floats(const struct gr_convolution *conv) {
    return gr_whole_lines((size_t)RING * (size_t)conv->w * (size_t)conv->c);
}

static struct ring open_ring(const struct depthwise *d, int worker, int first, int count) {
    struct ring ring = {
        .rows = d->rings + (size_t)worker * ring_floats(d->conv), .first = first, .count = count};
    for (int i = 0; i < RING; i++)
        ring.held[i] = -1;
    return ring;
}

static const float *input_row(const struct depthwise *d, int64_t row, struct ring *ring) {
    int64_t floats = (int64_t)d->in_columns * d->conv->c;
    const float *x = d->x + row * floats;
    if (!d->prologue)
        return x;
    float *dressed = ring->rows + row % RING * floats;
    if (ring->held[row % RING] != row)
        gr_tile_kernels()->prologue(d->in_columns, d->conv->c, ring->first, ring->count, x, d->prologue,
                                    dressed);
    ring->held[row % RING] = row;
    return dressed;
}

static struct gr_axis row_axis(const struct depthwise *d, int phase) {
    const struct gr_convolution *conv = d->conv;
    return d->row_phases ? gr_axis_backward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top, phase)
                         : gr_axis_forward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top);
}

static struct gr_axis column_axis(const struct depthwise *d, int phase) {
    const struct gr_convolution *conv = d->conv;
    return d->column_phases
               ? gr_axis_backward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left, phase)
               : gr_axis_forward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left);
}

/* The row kernel's description of one column phase, without the rows. */
static struct gr_depthwise_row describe(const struct gr_axis *columns, int c) {
    struct gr_taps interior = gr_axis_interior(columns);
    return (struct gr_depthwise_row){.c = c,
                                     .outputs = columns->outputs,
                                     .out_step = (int64_t)columns->out_step * c,
                                     .inputs = columns->inputs,
                                     .in_first = columns->in_first,
                                     .in_step = columns->in_step,
                                     .taps = columns->taps,
                                     .tap_stride = columns->tap_stride,
                                     .weight_step = (int64_t)columns->tap_step * c,
                                     .first = interior.first,
                                     .last = interior.last};
}

/* One row of outputs: all of its column phases. */
static void write_line(const struct depthwise *d, int64_t line) {
    int c = d->conv->c, row = (int)(line % d->rows), phases = d->column_phases ? d->column_phases : 1;
    int64_t photo = line / d->rows;
    struct gr_axis rows = row_axis(d, d->row_phases ? row % d->row_phases : 0);
    int i = d->row_phases ? row / d->row_phases : row;
    struct gr_taps taps = gr_axis_taps(&rows, i);
    int in_row = rows.in_first + i * rows.in_step + taps.first * rows.tap_stride;
    int tap_row = rows.tap_first + taps.first * rows.tap_step;
    bool empty = taps.last == taps.first;
    const float *x = d->x + (photo * d->in_rows + (empty ? 0 : in_row)) * d->in_columns * c;

    for (int phase = 0; phase < phases; phase++) {
        struct gr_axis columns = column_axis(d, phase);
        struct gr_depthwise_row r = describe(&columns, c);
        r.rows = taps.last - taps.first;
        r.row_step = (int64_t)rows.tap_stride * d->in_columns * c;
        r.weight_row_step = (int64_t)rows.tap_step * d->conv->kw * c;
        d->kernels->row(&r, x, d->w + ((int64_t)(empty ? 0 : tap_row) * d->conv->kw + columns.tap_first) * c,
                        d->y + (line * d->columns + columns.out_first) * c, d->accumulate);
    }
    if (d->epilogue)
        gr_apply_epilogue(d->epilogue, line * d->columns, d->columns, 0, c, c, d->y);
}

/* Where a strip's taps begin: backward-data turns the kernel round with stride 1, and with stride 2 reads
 * pixel m of gy by tap i + padding - 2*m. */
static struct gr_depthwise_strip describe_strip(const struct depthwise *d) {
    const struct gr_convolution *conv = d->conv;
    int c = conv->c, taps = taps_of(conv);
    struct gr_depthwise_strip s = {.c = c,
                                   .pixel = c,
                                   .kernel = conv->kh,
                                   .stride = conv->sh,
                                   .outputs = d->columns,
                                   .out_row = (int64_t)d->columns * c,
                                   .width = d->in_columns,
                                   .first = -conv->left,
                                   .weights = d->w,
                                   .weight_step = c,
                                   .weight_row_step = (int64_t)conv->kw * c,
                                   .zeros = d->zeros,
                                   .stream = d->stream};
    if (d->row_phases && conv->sh == 1) {
        s.weights += (int64_t)(taps - 1) * c;
        s.weight_step = -s.weight_step;
        s.weight_row_step = -s.weight_row_step;
        s.first = conv->left - conv->kw + 1;
    } else if (d->row_phases) {
        s.up = true;
        s.shift = conv->kh - 1 - (conv->kh - 1 + conv->left) % 2;
        s.first = (conv->left - s.shift) / 2;
    }
    return s;
}

/* Fills in rows row..row+step-1 of a photo. */
static void set_rows(const struct depthwise *d, int64_t photo, int row, struct ring *ring,
                     struct gr_depthwise_strip *s) {
    const struct gr_convolution *conv = d->conv;
    int first = row * conv->sh - conv->top;
    s->rows = d->rows - row < d->step ? d->rows - row : d->step;
    if (s->up)
        first = (row + conv->top - s->shift) / 2;
    else if (d->row_phases)
        first = row + conv->top - conv->kh + 1;
    for (int r = 0; r < gr_strip_inputs(s->rows, s->kernel, s->stride, s->up, s->shift); r++) {
        bool inside = first + r >= 0 && first + r < d->in_rows;
        s->inputs[r] = inside ? input_row(d, photo * d->in_rows + first + r, ring) : NULL;
    }
}

/* Sets what follows the sum, and tells what the strip cannot do: the activation, if it is not a clamp. */
static enum gr_activation set_epilogue(const struct gr_epilogue *epilogue, int64_t at,
                                       struct gr_depthwise_strip *s) {
    s->bias = epilogue->bias;
    s->added = epilogue->residual ? epilogue->residual + at : NULL;
    s->clamp = epilogue->activation == GR_RELU || epilogue->activation == GR_RELU6;
    s->low = 0;
    s->high = epilogue->activation == GR_RELU6 ? 6 : INFINITY;
    return s->clamp ? GR_IDENTITY : epilogue->activation;
}

static void write_strip(const struct depthwise *d, int64_t strip, struct ring *ring) {
    int64_t each = gr_pieces(d->rows, d->step), photo = strip / each;
    int c = d->conv->c, row = (int)(strip % each) * d->step;
    int64_t line = photo * d->rows + row, at = line * d->columns * c;
    struct gr_depthwise_strip s = describe_strip(d);
    enum gr_activation after = GR_IDENTITY;
    set_rows(d, photo, row, ring, &s);
    s.added = d->accumulate ? d->y + at : NULL;
    if (d->epilogue)
        after = set_epilogue(d->epilogue, at, &s);
    d->kernels->strip(&s, d->y + at);
    if (after != GR_IDENTITY) {
        struct gr_epilogue rest = {.activation = after, .a = d->epilogue->a};
        gr_apply_epilogue(&rest, line * d->columns, (int64_t)s.rows * d->columns, 0, c, c, d->y);
    }
}

/* Adds a strip that was just written to its chunk's partial sums. */
static void add_statistics(const struct depthwise *d, int64_t strip, bool first, float *partial) {
    int64_t each = gr_pieces(d->rows, d->step);
    int c = d->conv->c, row = (int)(strip % each) * d->step;
    int rows = d->rows - row < d->step ? d->rows - row : d->step;
    const float *y = d->y + (strip / each * d->rows + row) * d->columns * c;
    float *pivot = partial + GR_STATISTICS_HEAD;
    if (first) {
        memcpy(pivot, y, sizeof *y * (size_t)c);
        memset(pivot + c, 0, sizeof *y * 2 * (size_t)c);
        partial[0] = 0;
    }
    partial[0] += (float)(rows * d->columns);
    gr_norm_kernels()->moments((int64_t)rows * d->columns, c, c, y, pivot, pivot + c, pivot + 2 * (int64_t)c);
}

static void strips_chunk(void *context, int64_t chunk, int worker) {
    const struct depthwise *d = context;
    int64_t first = chunk * d->run, last = first + d->run < d->strips ? first + d->run : d->strips;
    struct ring ring = open_ring(d, worker, 0, d->conv->c);
    float *statistics = d->epilogue ? d->epilogue->statistics : NULL;
    for (int64_t strip = first; strip < last; strip++) {
        if (gr_depthwise_strips(d->conv))
            write_strip(d, strip, &ring);
        else
            write_line(d, strip);
        if (statistics)
            add_statistics(d, strip, strip == first,
                           statistics + chunk * (int64_t)gr_statistics_floats(d->conv->c));
    }
}

static void cut_strips(struct depthwise *d) {
    const struct gr_convolution *conv = d->conv;
    d->step = gr_depthwise_strips(conv) && (conv->sh == 1 || d->row_phases) ? GR_STRIP_ROWS : 1;
    d->strips = d->n * gr_pieces(d->rows, d->step);
    int64_t strip_floats = (int64_t)d->step * d->columns * conv->c;
    d->run = strip_floats > 0 && strip_floats < 1 << 15 ? (1 << 15) / strip_floats : 1;
}

/* `scratch` gives a pixel of zeros. */
static void run(struct depthwise *d, float *scratch) {
    const struct gr_convolution *conv = d->conv;
    d->kernels = gr_depthwise_kernels();
    cut_strips(d);
    d->rings = scratch + gr_whole_lines((size_t)conv->c);
    d->zeros = memset(scratch, 0, sizeof(float) * (size_t)conv->c);
    d->stream = !d->accumulate && gr_streams((int64_t)d->n * d->rows * d->columns * conv->c, conv->c, d->y) &&
                (!d->epilogue || (d->epilogue->activation <= GR_RELU6 && !d->epilogue->statistics));
    if (d->strips > 0 && d->columns > 0)
        gr_parallel(gr_pieces(d->strips, d->run), strips_chunk, d);
}

static void forward(const struct gr_convolution *conv, int n, const float *x,
                    const struct gr_prologue *prologue, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct depthwise d = {.conv = conv,
                          .prologue = prologue,
                          .n = n,
                          .rows = conv->oh,
                          .columns = conv->ow,
                          .in_rows = conv->h,
                          .in_columns = conv->w,
                          .x = x,
                          .w = packed,
                          .y = y,
                          .epilogue = epilogue};
    run(&d, scratch);
}

static void backward_data(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch) {
    struct depthwise d = {.conv = conv,
                          .n = n,
                          .row_phases = conv->sh,
                          .column_phases = conv->sw,
                          .rows = conv->h,
                          .columns = conv->w,
                          .in_rows = conv->oh,
                          .in_columns = conv->ow,
                          .x = gy,
                          .w = packed,
                          .y = gx,
                          .accumulate = accumulate};
    run(&d, scratch);
}

/* ---- weights: every slot sums a range of output rows, for a tile of channels ---- */

enum { SLOTS = 64, CHUNKS = 16, TILE = 64 };

struct gradient {
    struct depthwise d;
    const float *gy;
    float *local;
    int64_t slots;
    int tiles, tile; /* channels */
};

/* Slots cost memory and a sum at the end, so small maps get few; tiles then make up for the chunks. */
static void cut(struct gradient *g) {
    const struct gr_convolution *conv = g->d.conv;
    int64_t most = (int64_t)g->d.n * conv->oh * conv->ow / (4 * taps_of(conv)), tiles = 1;
    g->d.step = gr_depthwise_strips(conv) && conv->sh == 1 ? GR_STRIP_ROWS : 1;
    g->d.strips = g->d.n * gr_pieces(conv->oh, g->d.step);
    most = most < SLOTS ? most : SLOTS;
    g->slots = g->d.strips < most ? g->d.strips : most > 0 ? most : 1;
    g->d.run = g->d.strips > 0 ? gr_pieces(g->d.strips, g->slots) : 1;
    g->slots = gr_pieces(g->d.strips, g->d.run);
    if (gr_depthwise_strips(conv) && g->slots > 0 && g->slots < CHUNKS)
        tiles = gr_pieces(CHUNKS, g->slots);
    g->tile = (int)gr_pieces(gr_pieces(conv->c, tiles), TILE) * TILE;
    g->tile = g->tile < conv->c ? g->tile : conv->c;
    g->tiles = (int)gr_pieces(conv->c, g->tile > 0 ? g->tile : 1);
}

/* One output row by the kernels for any geometry. */
static void line_gradient(const struct gradient *g, int64_t line, float *gw) {
    const struct depthwise *d = &g->d;
    const struct gr_convolution *conv = d->conv;
    int i = (int)(line % conv->oh);
    struct gr_axis rows = row_axis(d, 0), columns = column_axis(d, 0);
    struct gr_depthwise_row r = describe(&columns, conv->c);
    struct gr_taps taps = gr_axis_taps(&rows, i);
    r.rows = 1;
    for (int tap = taps.first; tap < taps.last; tap++) {
        int64_t in_row = line / conv->oh * conv->h + rows.in_first + i * rows.in_step + tap * rows.tap_stride;
        d->kernels->weights(&r, d->x + in_row * conv->w * conv->c, g->gy + line * conv->ow * conv->c,
                            gw + (int64_t)tap * conv->kw * conv->c);
    }
}

/* Channels first.. of a strip. */
static void strip_gradient(const struct gradient *g, int64_t strip, int first, struct ring *ring, float *gw) {
    const struct gr_convolution *conv = g->d.conv;
    int64_t each = gr_pieces(conv->oh, g->d.step), photo = strip / each;
    int row = (int)(strip % each) * g->d.step;
    struct gr_depthwise_strip s = describe_strip(&g->d);
    set_rows(&g->d, photo, row, ring, &s);
    s.c = conv->c - first < g->tile ? conv->c - first : g->tile;
    for (int r = 0; r < gr_strip_inputs(s.rows, s.kernel, s.stride, false, 0); r++)
        s.inputs[r] = s.inputs[r] ? s.inputs[r] + first : NULL;
    g->d.kernels->gradient(&s, g->gy + (photo * conv->oh + row) * conv->ow * conv->c + first, gw + first);
}

static void gradient_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    const struct depthwise *d = &g->d;
    int64_t slot = chunk / g->tiles, last = (slot + 1) * d->run < d->strips ? (slot + 1) * d->run : d->strips;
    int c = d->conv->c, first = (int)(chunk % g->tiles) * g->tile;
    int width = c - first < g->tile ? c - first : g->tile;
    float *gw = g->local + (size_t)slot * packed_floats(d->conv);
    struct ring ring = open_ring(d, worker, first, width);
    for (int tap = 0; tap < taps_of(d->conv); tap++)
        memset(gw + (int64_t)tap * c + first, 0, sizeof(float) * (size_t)width);
    for (int64_t strip = slot * d->run; strip < last; strip++)
        if (gr_depthwise_strips(d->conv))
            strip_gradient(g, strip, first, &ring, gw);
        else
            line_gradient(g, strip, gw);
}

/* gw[c, tap] = the sum of local[slot, tap, c], for a tile of channels. */
static void sum_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    int c = g->d.conv->c, taps = taps_of(g->d.conv), first = (int)chunk * TILE;
    int width = c - first < TILE ? c - first : TILE;
    (void)worker;
    for (int tap = 0; tap < taps; tap++) {
        double sums[TILE] = {0};
        for (int64_t slot = 0; slot < g->slots; slot++) {
            const float *from = g->local + (slot * taps + tap) * c + first;
            for (int j = 0; j < width; j++)
                sums[j] += from[j];
        }
        for (int j = 0; j < width; j++)
            g->d.y[(int64_t)(first + j) * taps + tap] = (float)sums[j];
    }
}

static void backward_weights(const struct gr_convolution *conv, int n, const float *x,
                             const struct gr_prologue *prologue, const float *gy, float *gw, float *scratch) {
    size_t zeros = gr_whole_lines((size_t)conv->c);
    struct gradient g = {.d = {.conv = conv,
                               .kernels = gr_depthwise_kernels(),
                               .n = n,
                               .rows = conv->oh,
                               .columns = conv->ow,
                               .in_rows = conv->h,
                               .in_columns = conv->w,
                               .x = x,
                               .prologue = prologue,
                               .rings = scratch + zeros,
                               .y = gw,
                               .zeros = memset(scratch, 0, sizeof(float) * zeros)},
                         .gy = gy,
                         .local = scratch + zeros + (size_t)gr_threads() * ring_floats(conv)};
    cut(&g);
    gr_parallel(g.slots * g.tiles, gradient_chunk, &g);
    gr_parallel(gr_pieces(conv->c, TILE), sum_chunk, &g);
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    struct gradient g = {.d = {.conv = conv, .n = n}};
    cut(&g);
    return gr_whole_lines((size_t)conv->c) + (size_t)gr_threads() * ring_floats(conv) +
           (size_t)g.slots * packed_floats(conv);
}

static int64_t partials(const struct gr_convolution *conv, int n) {
    struct depthwise d = {.conv = conv, .n = n, .rows = conv->oh, .columns = conv->ow};
    cut_strips(&d);
    return gr_depthwise_strips(conv) ? gr_pieces(d.strips, d.run) : 0;
}

const struct gr_convolution_passes gr_convolution_depthwise = {
    .name = "depthwise",
    .fits = fits,
    .cost = cost,
    .packed = packed_floats,
    .pack = pack,
    .scratch = scratch_floats,
    .partials = partials,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
