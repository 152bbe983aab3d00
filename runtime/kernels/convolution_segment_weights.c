/* The weights' gradient of the segment kernel: gw[k][tap][c] = sum over pixels of gy[pixel][k] * x[pixel +
 * tap][c]. A tile has six of k as rows and a piece of a kernel row's segment (columns times channels,
 * contiguous in x) as vectors; its terms are the pixels of a chunk, so the sums stay in registers and nothing
 * is transposed. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_segment.h"
#include "kernels/tables.h"

/* Slots are private copies of the gradient, each for a range of chunks of pixels; the out channels are cut
 * into parts where copies would be large. All from sizes alone, so that sums do not depend on the number of
 * threads. */
struct gradient {
    const struct gr_convolution *conv;
    struct gr_axis rows, columns;
    struct gr_lines lines;
    const float *x, *gy;
    const struct gr_prologue *prologue;
    int cg, kg;
    int slots, parts, part; /* part: out channels of a group in a part */
    int64_t chunks, run;    /* chunks of pixels, and of those in a slot */
    float *local, *scratch;
    size_t floats, worker_floats;
};

static struct gradient plan_gradient(const struct gr_convolution *conv, int n, bool frame) {
    enum { PIXELS = 504, READ_FLOATS = 1 << 18, LEAST = 128 };
    struct gradient g = {.conv = conv,
                         .rows = gr_axis_forward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top),
                         .columns =
                             gr_axis_forward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left),
                         .cg = conv->c / conv->groups,
                         .kg = conv->k / conv->groups};
    int64_t pixels = (int64_t)n * conv->oh * conv->ow;
    g.floats = (size_t)conv->kh * (size_t)conv->kw * (size_t)g.cg * (size_t)conv->k;
    g.slots = g.floats <= 1 << 16 ? 8 : g.floats <= 1 << 19 ? 4 : 2;
    while (g.slots > 1 && pixels < g.slots * LEAST)
        g.slots /= 2;
    g.parts = 8 / g.slots;
    g.part = (int)(gr_pieces(gr_pieces(g.kg, g.parts), GR_TILE_ROWS) * GR_TILE_ROWS);
    g.parts = (int)gr_pieces(g.kg, g.part);
    int64_t some = gr_pieces(pixels, g.slots);
    /* a frame also gives room for the whole vectors that are loaded behind the last pixel */
    frame = frame || (conv->kw * g.cg) % gr_tile_kernels()->lanes != 0 || conv->groups > 1;
    g.lines =
        gr_lines_cut(&g.rows, &g.columns, conv->c, n, some < PIXELS ? some : PIXELS, READ_FLOATS, frame);
    g.chunks = gr_lines_chunks(&g.lines);
    g.run = gr_pieces(g.chunks, g.slots);
    g.slots = (int)gr_pieces(g.chunks, g.run);
    g.worker_floats = gr_lines_floats(&g.lines);
    return g;
}

/* All taps of one group for out channels first..last-1, summed over what a view shows. */
static void add_view(const struct gradient *g, const struct gr_lines_view *v, int group, int first, int last,
                     bool accumulate, float *gw) {
    const struct gr_convolution *conv = g->conv;
    bool run = conv->groups == 1 && g->columns.tap_stride == 1;
    int pieces = run ? 1 : conv->kw, length = run ? conv->kw * g->cg : g->cg,
        whole = gr_tile_kernels()->width;
    int64_t row = (int64_t)conv->kh * conv->kw * g->cg, gy_line = (int64_t)conv->ow * conv->k;
    struct gr_tile t = {.rows = v->photos,
                        .columns = v->lines,
                        .length = conv->ow,
                        .x_row = conv->oh * gy_line,
                        .x_column = gy_line,
                        .x_step = conv->k,
                        .w_row = v->x_photo,
                        .w_column = v->x_line,
                        .w_step = v->x_pixel,
                        .accumulate = accumulate};
    const float *gy = g->gy + ((int64_t)v->photo * conv->oh + v->line) * gy_line + (int64_t)group * g->kg;
    for (int tap_row = 0; tap_row < conv->kh; tap_row++)
        for (int piece = 0; piece < pieces; piece++)
            for (int at = 0; at < length; at += whole) {
                float *to = gw + ((int64_t)tap_row * conv->kw + piece) * g->cg + at;
                t.w = v->x + tap_row * v->x_tap_row + piece * v->x_tap + group * g->cg + at;
                t.width = length - at < whole ? length - at : whole;
                for (int k = first; k < last; k += GR_TILE_ROWS) {
                    t.count = last - k < GR_TILE_ROWS ? last - k : GR_TILE_ROWS;
                    for (int r = 0; r < GR_TILE_ROWS; r++) {
                        int one = k + (r < t.count ? r : t.count - 1);
                        t.x[r] = gy + one;
                        t.y[r] = to + ((int64_t)group * g->kg + one) * row;
                    }
                    gr_tile_kernels()->product(&t);
                }
            }
}

static void gradient_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    int64_t slot = chunk / g->parts, first = slot * g->run, last = first + g->run;
    int from = (int)(chunk % g->parts) * g->part, to = from + g->part < g->kg ? from + g->part : g->kg;
    float *frames = g->scratch + (size_t)worker * g->worker_floats;
    last = last < g->chunks ? last : g->chunks;
    for (int64_t i = first; i < last; i++) {
        struct gr_lines_view v = gr_lines_open(&g->lines, i, g->x, g->prologue, frames);
        for (int group = 0; group < g->conv->groups; group++)
            add_view(g, &v, group, from, to, i > first, g->local + (size_t)slot * g->floats);
    }
}

void gr_segment_backward_weights(const struct gr_convolution *conv, int n, const float *x,
                                 const struct gr_prologue *prologue, const float *gy, float *gw,
                                 float *scratch) {
    struct gradient g = plan_gradient(conv, n, prologue != NULL);
    g.x = x;
    g.prologue = prologue;
    g.gy = gy;
    g.local = scratch;
    g.scratch = scratch + gr_whole_lines((size_t)g.slots * g.floats);
    gr_parallel((int64_t)g.slots * g.parts, gradient_chunk, &g);
    gr_unpack_gradient(conv->k, g.cg, conv->kh * conv->kw, g.slots, g.local, gw);
}

size_t gr_segment_gradient_floats(const struct gr_convolution *conv, int n) {
    struct gradient g = plan_gradient(conv, n, true);
    return gr_whole_lines((size_t)g.slots * g.floats) + (size_t)gr_threads() * g.worker_floats;
}
