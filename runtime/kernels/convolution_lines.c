/* Lines of outputs, what they read, and the frames of zeros around it. */
#include <string.h>

#include "kernels/convolution_segment.h"
#include "kernels/tables.h"

enum { SLACK = 64 }; /* floats behind the last frame: vectors may be loaded whole */

/* Positions that an axis reads before the first and behind the last input. */
static int before_of(const struct gr_axis *axis) {
    return axis->in_first < 0 ? -axis->in_first : 0;
}

static int after_of(const struct gr_axis *axis) {
    int last = axis->in_first + (axis->outputs - 1) * axis->in_step + (axis->taps - 1) * axis->tap_stride;
    return last >= axis->inputs ? last - axis->inputs + 1 : 0;
}

/* Input rows that `lines` lines read. */
static int rows_read(const struct gr_axis *rows, int lines) {
    return (lines - 1) * rows->in_step + (rows->taps - 1) * rows->tap_stride + 1;
}

struct gr_lines gr_lines_cut(const struct gr_axis *rows, const struct gr_axis *columns, int channels, int n,
                             int64_t pixels, int64_t floats, bool frame) {
    struct gr_lines l = {.rows = *rows, .columns = *columns, .channels = channels, .n = n, .photos = 1};
    int hang = before_of(rows) + after_of(rows) + before_of(columns) + after_of(columns);
    l.framed = frame || hang > 0;
    l.before = before_of(columns);
    l.frame_columns = l.before + columns->inputs + after_of(columns);
    int64_t row_floats = (int64_t)l.frame_columns * channels;
    int64_t wanted = gr_pieces(pixels, columns->outputs), fit = floats / row_floats;
    fit = (fit - rows_read(rows, 1)) / rows->in_step + 1;
    wanted = wanted < fit ? wanted : fit;
    wanted = wanted < 1 ? 1 : wanted;
    if (wanted >= 2 * (int64_t)rows->outputs) {
        l.lines = rows->outputs;
        l.photos = (int)(wanted / rows->outputs < n ? wanted / rows->outputs : n);
        l.photos = (int)gr_pieces(n, gr_pieces(n, l.photos)); /* evenly */
        l.parts = 1;
    } else {
        l.parts = (int)gr_pieces(rows->outputs, wanted);
        l.lines = (int)gr_pieces(rows->outputs, l.parts);
        l.parts = (int)gr_pieces(rows->outputs, l.lines);
    }
    l.frame_floats = rows_read(rows, l.lines) * row_floats;
    return l;
}

int64_t gr_lines_chunks(const struct gr_lines *lines) {
    return gr_pieces(lines->n, lines->photos) * lines->parts;
}

size_t gr_lines_floats(const struct gr_lines *lines) {
    return lines->framed ? gr_whole_lines((size_t)lines->photos * (size_t)lines->frame_floats + SLACK) : 0;
}

/* One framed row: `from` is the photo's row, or NULL for zeros. */
static void fill_row(const struct gr_lines *l, const float *from, const struct gr_prologue *prologue,
                     float *to) {
    size_t before = (size_t)l->before * (size_t)l->channels,
           all = (size_t)l->frame_columns * (size_t)l->channels;
    size_t inside = from ? (size_t)l->columns.inputs * (size_t)l->channels : 0;
    if (!from) {
        memset(to, 0, all * sizeof *to);
        return;
    }
    memset(to, 0, before * sizeof *to);
    if (prologue)
        gr_tile_kernels()->prologue(l->columns.inputs, l->channels, 0, l->channels, from, prologue,
                                    to + before);
    else
        memcpy(to + before, from, inside * sizeof *to);
    memset(to + before + inside, 0, (all - before - inside) * sizeof *to);
}

static void fill_frame(const struct gr_lines *l, int photo, int line, int lines, const float *x,
                       const struct gr_prologue *prologue, float *frame) {
    int first = l->rows.in_first + line * l->rows.in_step, count = rows_read(&l->rows, lines);
    int64_t x_row = (int64_t)l->columns.inputs * l->channels,
            frame_row = (int64_t)l->frame_columns * l->channels;
    for (int i = 0; i < count; i++) {
        int row = first + i;
        bool inside = row >= 0 && row < l->rows.inputs;
        fill_row(l, inside ? x + ((int64_t)photo * l->rows.inputs + row) * x_row : NULL, prologue,
                 frame + i * frame_row);
    }
}

struct gr_lines_view gr_lines_open(const struct gr_lines *l, int64_t chunk, const float *x,
                                   const struct gr_prologue *prologue, float *frames) {
    const struct gr_axis *rows = &l->rows, *columns = &l->columns;
    struct gr_lines_view v = {.photo = (int)(chunk / l->parts) * l->photos,
                              .line = (int)(chunk % l->parts) * l->lines};
    v.photos = l->n - v.photo < l->photos ? l->n - v.photo : l->photos;
    v.lines = rows->outputs - v.line < l->lines ? rows->outputs - v.line : l->lines;
    int64_t row = (int64_t)(l->framed ? l->frame_columns : columns->inputs) * l->channels;
    int64_t column = (int64_t)(columns->in_first + (l->framed ? l->before : 0)) * l->channels;
    if (l->framed) {
        for (int i = 0; i < v.photos; i++)
            fill_frame(l, v.photo + i, v.line, v.lines, x, prologue, frames + i * l->frame_floats);
        v.x = frames + column;
        v.x_photo = l->frame_floats;
    } else {
        v.x_photo = rows->inputs * row;
        v.x = x + v.photo * v.x_photo + (rows->in_first + (int64_t)v.line * rows->in_step) * row + column;
    }
    v.x_line = rows->in_step * row;
    v.x_pixel = (int64_t)columns->in_step * l->channels;
    v.x_tap_row = rows->tap_stride * row;
    v.x_tap = (int64_t)columns->tap_stride * l->channels;
    return v;
}

size_t gr_segment_floats(int taps, int inner, int outer, int groups) {
    int lanes = gr_tile_kernels()->lanes;
    return (size_t)groups * (size_t)taps * (size_t)inner * (size_t)(gr_pieces(outer, lanes) * lanes);
}

int64_t gr_segment_panel(int taps, int inner, int outer, int panel, int *width) {
    int whole = gr_tile_kernels()->width, lanes = gr_tile_kernels()->lanes, first = panel * whole;
    int rest = (int)gr_pieces(outer - first, lanes) * lanes;
    *width = rest < whole ? rest : whole;
    return (int64_t)taps * inner * first;
}
