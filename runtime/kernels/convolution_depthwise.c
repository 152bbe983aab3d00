/* One channel in, one channel out: channels are vector lanes and nothing is gathered. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/tables.h"

static bool fits(const struct gr_convolution *conv) {
    return conv->groups == conv->c && conv->groups == conv->k;
}

static int taps_of(const struct gr_convolution *conv) {
    return conv->kh * conv->kw;
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    double outputs = (double)n * conv->oh * conv->ow * conv->c,
           inputs = (double)n * conv->h * conv->w * conv->c;
    return 2 * outputs * taps_of(conv) / (0.25 * gr_model_flops() * threads) +
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
    int64_t lines, run; /* rows of all photos, and of those in a chunk */
    const float *x, *w;
    float *y;
    bool accumulate;
    const struct gr_epilogue *epilogue;
};

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

static void lines_chunk(void *context, int64_t chunk, int worker) {
    const struct depthwise *d = context;
    int64_t last = (chunk + 1) * d->run < d->lines ? (chunk + 1) * d->run : d->lines;
    (void)worker;
    for (int64_t line = chunk * d->run; line < last; line++)
        write_line(d, line);
}

static void run(struct depthwise *d) {
    int64_t row_floats = (int64_t)d->columns * d->conv->c;
    d->kernels = gr_depthwise_kernels();
    d->lines = (int64_t)d->n * d->rows;
    d->run = row_floats > 0 && row_floats < 1 << 15 ? (1 << 15) / row_floats : 1;
    if (d->lines > 0 && row_floats > 0)
        gr_parallel(gr_pieces(d->lines, d->run), lines_chunk, d);
}

static void forward(const struct gr_convolution *conv, int n, const float *x, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct depthwise d = {.conv = conv,
                          .n = n,
                          .rows = conv->oh,
                          .columns = conv->ow,
                          .in_rows = conv->h,
                          .in_columns = conv->w,
                          .x = x,
                          .w = packed,
                          .y = y,
                          .epilogue = epilogue};
    (void)scratch;
    run(&d);
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
    (void)scratch;
    run(&d);
}

/* ---- weights: every slot sums a range of output rows ---- */

enum { SLOTS = 16 };

struct gradient {
    struct depthwise d;
    const float *gy;
    float *local;
};

static void gradient_chunk(void *context, int64_t slot, int worker) {
    const struct gradient *g = context;
    const struct depthwise *d = &g->d;
    const struct gr_convolution *conv = d->conv;
    int64_t last = (slot + 1) * d->run < d->lines ? (slot + 1) * d->run : d->lines;
    struct gr_axis rows = row_axis(d, 0), columns = column_axis(d, 0);
    struct gr_depthwise_row r = describe(&columns, conv->c);
    float *gw = g->local + (size_t)slot * packed_floats(conv);
    (void)worker;

    r.rows = 1;
    memset(gw, 0, sizeof(float) * packed_floats(conv));
    for (int64_t line = slot * d->run; line < last; line++) {
        int i = (int)(line % conv->oh);
        struct gr_taps taps = gr_axis_taps(&rows, i);
        for (int tap = taps.first; tap < taps.last; tap++) {
            int64_t in_row =
                line / conv->oh * conv->h + rows.in_first + i * rows.in_step + tap * rows.tap_stride;
            d->kernels->weights(&r, d->x + in_row * conv->w * conv->c, g->gy + line * conv->ow * conv->c,
                                gw + (int64_t)tap * conv->kw * conv->c);
        }
    }
}

static void backward_weights(const struct gr_convolution *conv, int n, const float *x, const float *gy,
                             float *gw, float *scratch) {
    struct gradient g = {
        .d = {.conv = conv, .kernels = gr_depthwise_kernels(), .n = n, .x = x}, .gy = gy, .local = scratch};
    int taps = taps_of(conv);
    g.d.lines = (int64_t)n * conv->oh;
    g.d.run = g.d.lines > SLOTS ? gr_pieces(g.d.lines, SLOTS) : 1;
    int64_t slots = gr_pieces(g.d.lines, g.d.run);
    gr_parallel(slots, gradient_chunk, &g);
    for (int tap = 0; tap < taps; tap++)
        for (int c = 0; c < conv->c; c++) {
            float sum = 0;
            for (int64_t slot = 0; slot < slots; slot++)
                sum += scratch[((size_t)slot * (size_t)taps + (size_t)tap) * (size_t)conv->c + (size_t)c];
            gw[(int64_t)c * taps + tap] = sum;
        }
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    int64_t lines = (int64_t)n * conv->oh;
    return (size_t)(lines < SLOTS ? lines : SLOTS) * packed_floats(conv);
}

const struct gr_convolution_passes gr_convolution_depthwise = {
    .name = "depthwise",
    .fits = fits,
    .cost = cost,
    .packed = packed_floats,
    .pack = pack,
    .scratch = scratch_floats,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
