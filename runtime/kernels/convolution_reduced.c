/* Convolutions of reduced precision, forward only: as the segment kernel (convolution_segment.c), but the
 * lines that a chunk reads are always copied into a frame, and rounded on the way. A run of terms, one kernel
 * row's segment, is rounded up to whole words; the weights of what is read behind it are 0. */
#include <math.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_segment.h"
#include "kernels/elementwise.h"
#include "kernels/tables.h"

enum {
    READ_BYTES = 3 << 16, /* that a chunk's frames take at most: part of the second cache */
    PIXELS = 504,         /* of a chunk, about; and whose addresses are held at a time */
    WORK = 8000000,       /* multiplications that are worth a chunk */
    CHUNKS = 8,           /* that there should be at least, if the work allows */
    SLACK = 64,           /* bytes behind the last frame */
    INT8_TERMS = 4,       /* of integers in a word; bfloat16 has two */
};

/* The runs of terms of one output. */
struct runs {
    int rows, columns; /* runs: kernel rows, and where their pixels do not lie side by side kernel columns */
    int terms, words;  /* of a run */
};

static struct runs runs_of(const struct gr_convolution *conv, const struct gr_reduced_kernels *kernels) {
    bool side_by_side = conv->dw == 1 || conv->kw == 1;
    struct runs runs = {.rows = conv->kh,
                        .columns = side_by_side ? 1 : conv->kw,
                        .terms = side_by_side ? conv->kw * conv->c : conv->c};
    runs.words = (int)gr_pieces(runs.terms, kernels->terms);
    return runs;
}

static bool fits(const struct gr_convolution *conv) {
    return conv->groups == 1;
}

/* ---- weights: [panels][rows][columns][words][width of the panel], the last panel's width in whole vectors
 * ---- */

static int64_t words_of(const struct runs *runs) {
    return (int64_t)runs->rows * runs->columns * runs->words;
}

/* Integers are preceded by [channels] factors of the sums and [channels] first sums, in whole vectors. */
static size_t head_words(const struct gr_convolution *conv, const struct gr_reduced_kernels *kernels) {
    return kernels->terms == INT8_TERMS ? 2 * (size_t)(gr_pieces(conv->k, kernels->lanes) * kernels->lanes)
                                        : 0;
}

static size_t packed_words(const struct gr_convolution *conv, const struct gr_reduced_kernels *kernels) {
    struct runs runs = runs_of(conv, kernels);
    return head_words(conv, kernels) +
           (size_t)words_of(&runs) * (size_t)(gr_pieces(conv->k, kernels->lanes) * kernels->lanes);
}

static int panel_width(int outer, int first, const struct gr_reduced_kernels *kernels) {
    int rest = (int)gr_pieces(outer - first, kernels->lanes) * kernels->lanes;
    return rest < kernels->width ? rest : kernels->width;
}

/* How inputs become integers: x = (q - zero) * step. 0 is exact. */
struct steps {
    float step;
    int zero;
};

static struct steps steps_of(const struct gr_convolution *conv) {
    float low = conv->low < 0 ? conv->low : 0, high = conv->high > 0 ? conv->high : 0;
    struct steps steps = {(high - low) / 255, 0};
    if (!(steps.step > 0) || !isfinite(steps.step))
        return (struct steps){1, 0};
    steps.zero = (int)lrintf(-low / steps.step);
    return steps;
}

struct packing {
    const struct gr_convolution *conv;
    const struct gr_reduced_kernels *kernels;
    struct runs runs;
    const float *weights, *scale;
    char *packed;
    float *factors;  /* integers, or NULL */
    int32_t *starts; /* likewise */
    struct steps steps;
};

/* Weights to integers of -127..127. Returns their sum. */
static int encode(int terms, const float *word, void *to) {
    int8_t *out = to;
    int sum = 0;
    for (int i = 0; i < terms; i++) {
        out[i] = (int8_t)lrintf(fminf(fmaxf(word[i], -127), 127));
        sum += out[i];
    }
    return sum;
}

/* One run of one channel: word i goes to to + i * step. Returns the sum of integers. */
static int pack_run(const struct packing *p, const float *filter, float scale, int row, int column, char *to,
                    size_t step) {
    enum { MOST = 4 };
    const struct gr_convolution *conv = p->conv;
    int terms = p->kernels->terms, c = 0, sum = 0;
    for (int i = 0; i < p->runs.words; i++) {
        float word[MOST] = {0};
        for (int j = 0; j < terms && i * terms + j < p->runs.terms; j++) {
            word[j] = scale * filter[((int64_t)c * conv->kh + row) * conv->kw + column];
            if (++c == conv->c) {
                c = 0;
                column++;
            }
        }
        if (p->factors)
            sum += encode(terms, word, to + (size_t)i * step);
        else
            p->kernels->convert(terms, word, 1, 0, to + (size_t)i * step);
    }
    return sum;
}

/* The step of a channel's integers: its largest weight is 127 of them. */
static float channel_step(const struct packing *p, const float *filter, float scale) {
    float most = 0;
    for (int64_t i = 0; i < (int64_t)p->conv->c * p->conv->kh * p->conv->kw; i++)
        most = fmaxf(most, fabsf(filter[i] * scale));
    return most > 0 && isfinite(most) ? most / 127 : 1;
}

static void pack_chunk(void *context, int64_t panel, int worker) {
    const struct packing *p = context;
    int first = (int)panel * p->kernels->width, width = panel_width(p->conv->k, first, p->kernels);
    size_t step = (size_t)width * 4, run = step * (size_t)p->runs.words;
    char *to = p->packed + words_of(&p->runs) * first * 4;
    (void)worker;
    memset(to, 0, (size_t)words_of(&p->runs) * step);
    for (int k = first; k < first + width && k < p->conv->k; k++) {
        const float *filter = p->weights + (int64_t)k * p->conv->c * p->conv->kh * p->conv->kw;
        float scale = p->scale ? p->scale[k] : 1, each = p->factors ? channel_step(p, filter, scale) : 1;
        int sum = 0;
        for (int row = 0; row < p->runs.rows; row++)
            for (int column = 0; column < p->runs.columns; column++)
                sum += pack_run(p, filter, scale / each, row, column,
                                to + (size_t)(row * p->runs.columns + column) * run + (size_t)(k - first) * 4,
                                step);
        if (p->factors) {
            p->factors[k] = each * p->steps.step;
            p->starts[k] = -p->steps.zero * sum;
        }
    }
}

static void pack_with(const struct gr_reduced_kernels *kernels, const struct gr_convolution *conv,
                      const float *weights, const float *scale, float *packed) {
    size_t head = head_words(conv, kernels);
    struct packing p = {.conv = conv,
                        .kernels = kernels,
                        .runs = runs_of(conv, kernels),
                        .weights = weights,
                        .scale = scale,
                        .packed = (char *)(packed + head)};
    if (head) {
        memset(packed, 0, head * sizeof *packed);
        p.factors = packed;
        p.starts = (int32_t *)(packed + head / 2);
        p.steps = steps_of(conv);
    }
    gr_parallel(gr_pieces(conv->k, kernels->width), pack_chunk, &p);
}

/* ---- forward ---- */

struct product {
    const struct gr_convolution *conv;
    const struct gr_reduced_kernels *kernels;
    struct runs runs;
    struct gr_lines lines;
    int element; /* bytes of a term */
    struct steps steps;
    const int32_t *starts;
    const float *factors; /* NULL: bfloat16 */
    const float *x, *residual, *bias;
    const int32_t *w;
    float *y;
    enum gr_activation activation; /* that the tiles apply */
    float a;
    int panels, pieces, each; /* panels, pieces that they are cut into, panels of a piece */
    char *frames;
    size_t worker_bytes;
};

/* Cuts the work, from sizes alone. */
static struct product cut(const struct gr_reduced_kernels *kernels, const struct gr_convolution *conv,
                          int n) {
    struct product p = {
        .conv = conv, .kernels = kernels, .runs = runs_of(conv, kernels), .element = 4 / kernels->terms};
    struct gr_axis rows = gr_axis_forward(conv->h, conv->oh, conv->kh, conv->sh, conv->dh, conv->top);
    struct gr_axis columns = gr_axis_forward(conv->w, conv->ow, conv->kw, conv->sw, conv->dw, conv->left);
    int64_t pixels = (int64_t)n * conv->oh * conv->ow;
    int64_t some = gr_pieces(pixels, CHUNKS) < PIXELS ? gr_pieces(pixels, CHUNKS) : PIXELS;
    double a_pixel = (double)conv->kh * conv->kw * conv->c * conv->k;
    int64_t least = (int64_t)(WORK / (a_pixel + 1)) + 1;
    some = some > least ? some : least < PIXELS ? least : PIXELS;
    p.lines = gr_lines_cut(&rows, &columns, conv->c, n, some, READ_BYTES / p.element, true);
    p.panels = (int)gr_pieces(conv->k, kernels->width);
    p.pieces = 1;
    int64_t chunks = gr_lines_chunks(&p.lines);
    double work = a_pixel * (double)pixels;
    if (chunks < CHUNKS && work > 2 * WORK) {
        int64_t wanted = work / WORK < CHUNKS ? (int64_t)(work / WORK) : CHUNKS;
        wanted = gr_pieces(wanted, chunks);
        p.pieces = (int)(wanted < p.panels ? wanted : p.panels);
    }
    p.each = (int)gr_pieces(p.panels, p.pieces);
    p.pieces = (int)gr_pieces(p.panels, p.each);
    size_t bytes = (size_t)p.lines.photos * (size_t)p.lines.frame_floats * (size_t)p.element + SLACK;
    p.worker_bytes = gr_whole_lines(gr_pieces((int64_t)bytes, 4)) * 4;
    return p;
}

/* What one chunk reads, in its frame; distances in bytes. */
struct view {
    int photo, photos, line, lines; /* first and count */
    const char *x;                  /* first tap of the first output */
    int64_t x_photo, x_line, x_pixel, x_row, x_column;
};

/* Copies the lines of one photo and rounds them; what lies outside of it is 0, and so is what a run's last
 * word reads behind the last line. */
static void fill_frame(const struct product *p, int photo, int line, int lines, char *frame) {
    const struct gr_lines *l = &p->lines;
    const struct gr_axis *rows = &l->rows;
    int first = rows->in_first + line * rows->in_step;
    int count = (lines - 1) * rows->in_step + (rows->taps - 1) * rows->tap_stride + 1;
    int64_t inside = (int64_t)l->columns.inputs * l->channels;
    size_t pixel = (size_t)l->channels * (size_t)p->element, before = (size_t)l->before * pixel;
    size_t all = (size_t)l->frame_columns * pixel, after = all - before - (size_t)inside * (size_t)p->element;
    int zero = p->steps.zero;
    for (int i = 0; i < count; i++, frame += all) {
        int row = first + i;
        if (row < 0 || row >= rows->inputs) {
            memset(frame, zero, all);
            continue;
        }
        memset(frame, zero, before);
        p->kernels->convert(inside, p->x + ((int64_t)photo * rows->inputs + row) * inside, p->steps.step,
                            zero, frame + before);
        memset(frame + all - after, zero, after);
    }
    memset(frame, 0, 4);
}

static struct view open_view(const struct product *p, int64_t chunk, char *frames) {
    const struct gr_lines *l = &p->lines;
    struct view v = {.photo = (int)(chunk / l->parts) * l->photos,
                     .line = (int)(chunk % l->parts) * l->lines};
    v.photos = l->n - v.photo < l->photos ? l->n - v.photo : l->photos;
    v.lines = l->rows.outputs - v.line < l->lines ? l->rows.outputs - v.line : l->lines;
    v.x_photo = l->frame_floats * p->element;
    for (int i = 0; i < v.photos; i++)
        fill_frame(p, v.photo + i, v.line, v.lines, frames + i * v.x_photo);
    int64_t pixel = (int64_t)l->channels * p->element, row = l->frame_columns * pixel;
    v.x = frames + (l->columns.in_first + l->before) * pixel;
    v.x_line = l->rows.in_step * row;
    v.x_pixel = l->columns.in_step * pixel;
    v.x_row = l->rows.tap_stride * row;
    v.x_column = l->columns.tap_stride * pixel;
    return v;
}

/* The addresses of up to PIXELS pixels, in order. */
struct pixels {
    int count;
    const char *x[PIXELS];
    float *y[PIXELS];
};

/* Pixels from..from+count-1 of a view, counted through photos and lines. */
static void fill_pixels(const struct product *p, const struct view *v, int64_t from, int count,
                        struct pixels *out) {
    const struct gr_convolution *conv = p->conv;
    int column = (int)(from % conv->ow), line = (int)(from / conv->ow % v->lines);
    int64_t photo = from / conv->ow / v->lines;
    out->count = count;
    for (int i = 0; i < count;) {
        int64_t y = ((v->photo + photo) * conv->oh + v->line + line) * conv->ow;
        const char *x = v->x + photo * v->x_photo + line * v->x_line;
        for (; i < count && column < conv->ow; i++, column++) {
            out->x[i] = x + column * v->x_pixel;
            out->y[i] = p->y + (y + column) * conv->k;
        }
        column = 0;
        if (++line == v->lines) {
            line = 0;
            photo++;
        }
    }
}

static void panel_product(const struct product *p, const struct view *v, const struct pixels *pixels,
                          int panel) {
    int first = panel * p->kernels->width, memory = panel_width(p->conv->k, first, p->kernels);
    struct gr_reduced_tile t = {.width = p->conv->k - first < memory ? p->conv->k - first : memory,
                                .rows = p->runs.rows,
                                .columns = p->runs.columns,
                                .length = p->runs.words,
                                .x_row = v->x_row,
                                .x_column = v->x_column,
                                .w = p->w + words_of(&p->runs) * first,
                                .w_step = memory,
                                .start = p->starts ? p->starts + first : NULL,
                                .factor = p->factors ? p->factors + first : NULL,
                                .bias = p->bias ? p->bias + first : NULL,
                                .activation = p->activation,
                                .a = p->a};
    t.w_column = (int64_t)p->runs.words * memory;
    t.w_row = p->runs.columns * t.w_column;
    for (int i = 0; i < pixels->count; i += GR_TILE_ROWS) {
        t.count = pixels->count - i < GR_TILE_ROWS ? pixels->count - i : GR_TILE_ROWS;
        for (int r = 0; r < GR_TILE_ROWS; r++) {
            int at = i + (r < t.count ? r : t.count - 1);
            t.x[r] = pixels->x[at];
            t.y[r] = pixels->y[at] + first;
            t.residual[r] = p->residual ? p->residual + (t.y[r] - p->y) : NULL;
        }
        p->kernels->product(&t);
    }
}

static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct product *p = context;
    struct view v = open_view(p, chunk / p->pieces, p->frames + (size_t)worker * p->worker_bytes);
    int first = (int)(chunk % p->pieces) * p->each;
    int last = first + p->each < p->panels ? first + p->each : p->panels;
    int64_t count = (int64_t)v.photos * v.lines * p->conv->ow;
    struct pixels pixels;
    for (int64_t from = 0; from < count; from += PIXELS) {
        fill_pixels(p, &v, from, count - from < PIXELS ? (int)(count - from) : PIXELS, &pixels);
        for (int panel = first; panel < last; panel++)
            panel_product(p, &v, &pixels, panel);
    }
}

static void forward_with(const struct gr_reduced_kernels *kernels, const struct gr_convolution *conv, int n,
                         const float *x, const float *packed, const struct gr_epilogue *epilogue, float *y,
                         float *scratch) {
    struct product p = cut(kernels, conv, n);
    enum gr_activation f = epilogue ? epilogue->activation : GR_IDENTITY;
    bool known = gr_activation_simple(f);
    p.x = x;
    size_t head = head_words(conv, kernels);
    p.w = (const int32_t *)(packed + head);
    if (head) {
        p.factors = packed;
        p.starts = (const int32_t *)(packed + head / 2);
        p.steps = steps_of(conv);
    }
    p.y = y;
    p.frames = (char *)scratch;
    p.activation = known ? f : GR_IDENTITY;
    if (epilogue) {
        p.bias = epilogue->bias;
        p.residual = epilogue->residual;
        p.a = epilogue->a;
    }
    if (n > 0)
        gr_parallel(gr_lines_chunks(&p.lines) * p.pieces, product_chunk, &p);
    if (!known)
        gr_activation_forward(f, epilogue->a, (int64_t)n * conv->oh * conv->ow * conv->k, y, y);
}

static size_t scratch_with(const struct gr_reduced_kernels *kernels, const struct gr_convolution *conv,
                           int n) {
    struct product p = cut(kernels, conv, n);
    return (size_t)gr_threads() * p.worker_bytes / 4;
}

/* `gain`: multiplications in the time of one in float32, where the processor has instructions for them. They
 * are counted so everywhere, so that the choice of kernels, and with it the rounding, is the same without
 * them. */
static double cost_with(const struct gr_reduced_kernels *kernels, double gain,
                        const struct gr_convolution *conv, int n, int threads) {
    struct runs runs = runs_of(conv, kernels);
    double pixels = (double)n * conv->oh * conv->ow, inputs = (double)n * conv->h * conv->w * conv->c;
    double terms = (double)words_of(&runs) * kernels->terms;
    double channels = (double)(gr_pieces(conv->k, kernels->lanes) * kernels->lanes);
    double tiles = pixels / GR_TILE_ROWS * (double)gr_pieces(conv->k, kernels->width);
    return (2 * pixels * channels * terms / gain / 0.9 + tiles * 4000 + inputs * 8) /
               (gr_model_flops() * threads) +
           4 * (pixels * conv->k + inputs + (double)packed_words(conv, kernels)) /
               gr_model_bandwidth(threads) +
           5e-6;
}

/* Neither statistics nor prologues: both are for what is trained. */
static int64_t no_partials(const struct gr_convolution *conv, int n) {
    (void)conv;
    (void)n;
    return 0;
}

/* ---- bfloat16 ---- */

static size_t packed_bf16(const struct gr_convolution *conv) {
    return packed_words(conv, gr_bf16_kernels());
}

static void pack_bf16(const struct gr_convolution *conv, const float *weights, const float *scale,
                      float *packed) {
    pack_with(gr_bf16_kernels(), conv, weights, scale, packed);
}

static size_t scratch_bf16(const struct gr_convolution *conv, int n) {
    return scratch_with(gr_bf16_kernels(), conv, n);
}

static void forward_bf16(const struct gr_convolution *conv, int n, const float *x,
                         const struct gr_prologue *prologue, const float *packed,
                         const struct gr_epilogue *epilogue, float *y, float *scratch) {
    (void)prologue; /* there is none: see no_partials */
    forward_with(gr_bf16_kernels(), conv, n, x, packed, epilogue, y, scratch);
}

static double cost_bf16(const struct gr_convolution *conv, int n, int threads) {
    return cost_with(gr_bf16_kernels(), 1.9, conv, n, threads);
}

const struct gr_convolution_passes gr_convolution_segment_bf16 = {
    .name = "segment bf16",
    .precision = GR_BF16,
    .fits = fits,
    .cost = cost_bf16,
    .packed = packed_bf16,
    .pack = pack_bf16,
    .scratch = scratch_bf16,
    .partials = no_partials,
    .forward = forward_bf16,
};

/* ---- integers of 8 bits ---- */

static size_t packed_int8(const struct gr_convolution *conv) {
    return packed_words(conv, gr_int8_kernels());
}

static void pack_int8(const struct gr_convolution *conv, const float *weights, const float *scale,
                      float *packed) {
    pack_with(gr_int8_kernels(), conv, weights, scale, packed);
}

static size_t scratch_int8(const struct gr_convolution *conv, int n) {
    return scratch_with(gr_int8_kernels(), conv, n);
}

static void forward_int8(const struct gr_convolution *conv, int n, const float *x,
                         const struct gr_prologue *prologue, const float *packed,
                         const struct gr_epilogue *epilogue, float *y, float *scratch) {
    (void)prologue; /* there is none: see no_partials */
    forward_with(gr_int8_kernels(), conv, n, x, packed, epilogue, y, scratch);
}

static double cost_int8(const struct gr_convolution *conv, int n, int threads) {
    return cost_with(gr_int8_kernels(), 3.8, conv, n, threads);
}

const struct gr_convolution_passes gr_convolution_segment_int8 = {
    .name = "segment int8",
    .precision = GR_INT8,
    .fits = fits,
    .cost = cost_int8,
    .packed = packed_int8,
    .pack = pack_int8,
    .scratch = scratch_int8,
    .partials = no_partials,
    .forward = forward_int8,
};
