/* 3x3 at stride 1 by Winograd's F(4x4, 3x3) (Lavin and Gray 2015, arXiv 1509.09308): 36 products instead of
 * 144 for every 4x4 outputs, in all three passes.
 *
 *   forward        V = B^T x B, U = G g G^T, M_e = V_e U_e for the 36 points e, y = A^T M A
 *   backward       Q = A gy A^T once for both gradients (convolution_winograd_backward.c)
 *     of inputs    Z_e = Q_e U_e^T, gx = the sum of B Z B^T, tile over tile
 *     of weights   dU_e = V_e^T Q_e, gw = G^T dU G
 *
 * Forward, where U is small, a thread takes a chunk of tiles through all three stages, so that V and M stay
 * in its second cache; U is made once. Where it is large, tiles are taken in batches whose transforms stay in
 * the third cache, and U is never kept: a chunk of products makes the six planes that it multiplies with from
 * the nine taps, which costs a few operations a weight where the product costs two for every tile. Packed
 * weights are the taps either way, no more than the filters are. */
#include "kernels/convolution_winograd.h"

#include "base/threads.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"

enum {
    POINTS = GR_WINOGRAD_POINTS,
    SIDE = GR_WINOGRAD_SIDE,
    TILES = GR_WINOGRAD_TILES,
    BLOCK = GR_WINOGRAD_BLOCK,
    UNIT = 24, /* batches are multiples of it: of TILES and of a tile's rows */
};

static bool fits(const struct gr_convolution *conv) {
    return conv->kh == 3 && conv->kw == 3 && conv->sh == 1 && conv->sw == 1 && conv->dh == 1 &&
           conv->dw == 1 && conv->groups == 1 && conv->c % 16 == 0 && conv->k % 16 == 0 && conv->top <= 2 &&
           conv->left <= 2 && conv->oh + 2 - conv->top >= conv->h && conv->ow + 2 - conv->left >= conv->w;
}

struct gr_winograd gr_winograd_of(const struct gr_convolution *conv, int n, const float *x,
                                  const struct gr_prologue *prologue) {
    struct gr_winograd w = {conv, x, prologue, (int)gr_pieces(conv->oh, SIDE), (int)gr_pieces(conv->ow, SIDE),
                            0};
    w.tiles = (int64_t)n * w.rows * w.columns;
    return w;
}

struct gr_winograd_place gr_winograd_place(const struct gr_winograd *w, int64_t tile) {
    int64_t each = (int64_t)w->rows * w->columns, in = tile % each;
    return (struct gr_winograd_place){tile / each, (int)(in / w->columns) * SIDE,
                                      (int)(in % w->columns) * SIDE};
}

struct gr_winograd_planes gr_winograd_planes(int tiles, int channels, bool apart) {
    enum {
        PANEL = GR_WINOGRAD_PANEL,
        LINE = 16
    }; /* a line more, so that planes do not meet in one set of a cache */
    struct gr_winograd_planes p = {
        .row = channels, .panel = PANEL, .plane = (int64_t)tiles * channels + LINE};
    if (apart && channels > PANEL) {
        p.row = PANEL;
        p.panel = (int64_t)tiles * PANEL + LINE;
        p.plane = gr_pieces(channels, PANEL) * p.panel;
    }
    return p;
}

size_t gr_winograd_floats(const struct gr_winograd_planes *planes) {
    return (size_t)(POINTS * planes->plane);
}

float *gr_winograd_take(float *scratch, size_t *used, size_t floats) {
    float *at = scratch ? scratch + *used : NULL;
    *used += gr_whole_lines(floats);
    return at;
}

int gr_winograd_width(void) {
    return gr_tile_kernels()->width;
}

int gr_winograd_panel_width(int outer, int first) {
    int width = gr_winograd_width();
    return outer - first < width ? outer - first : width;
}

/* ---- weights: [panels of k][C][9][width], a transpose of the file's [K][C * 9] panel by panel ---- */

size_t gr_winograd_packed(const struct gr_convolution *conv) {
    return (size_t)9 * (size_t)conv->c * (size_t)conv->k;
}

struct packing {
    int inner, outer; /* of the result */
    const float *from, *scale;
    float *packed;
};

static void pack_chunk(void *context, int64_t chunk, int worker) {
    const struct packing *p = context;
    int first = (int)chunk * gr_winograd_width(), width = gr_winograd_panel_width(p->outer, first);
    int64_t columns = (int64_t)p->inner * 9;
    float *to = p->packed + columns * first;
    (void)worker;
    gr_elementwise_kernels()->transpose((int)columns, width, p->from + columns * first, columns, to, width);
    for (int64_t i = 0; p->scale && i < columns; i++)
        for (int k = 0; k < width; k++)
            to[i * width + k] *= p->scale[first + k];
}

static void pack(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed) {
    struct packing p = {conv->c, conv->k, weights, scale, packed};
    gr_parallel(gr_pieces(conv->k, gr_winograd_width()), pack_chunk, &p);
}

/* ---- products ---- */

void gr_winograd_rows(struct gr_tile *tile, int count, const float *x, int64_t x_row, float *y,
                      int64_t y_row) {
    tile->count = count;
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        int at = r < count ? r : count - 1;
        tile->x[r] = x + at * x_row;
        tile->y[r] = y + at * y_row;
    }
}

void gr_winograd_multiply(const struct gr_winograd_planes *x, const struct gr_winograd_planes *y,
                          const struct gr_winograd_block *b) {
    enum { PANEL = GR_WINOGRAD_PANEL };
    const float *from = x->at + b->e * x->plane + gr_winograd_at(x, b->c);
    float *to = y->at + b->e * y->plane + gr_winograd_at(y, b->first);
    int run = x->panel == PANEL ? b->length : PANEL; /* channels side by side */
    int whole = b->length / run, rest = b->length % run;
    struct gr_tile tile = {.width = b->width,
                           .rows = 1,
                           .x_column = x->panel,
                           .x_step = 1,
                           .w_column = (int64_t)run * b->width,
                           .w_step = b->width};
    for (int i = b->from; i < b->to; i += GR_TILE_ROWS) {
        int count = b->to - i < GR_TILE_ROWS ? b->to - i : GR_TILE_ROWS;
        gr_winograd_rows(&tile, count, from + (int64_t)i * x->row, x->row, to + (int64_t)i * y->row, y->row);
        tile.accumulate = b->c > 0;
        tile.w = b->u;
        if (whole) {
            tile.columns = whole;
            tile.length = run;
            gr_tile_kernels()->product(&tile);
            tile.accumulate = true;
        }
        if (rest) {
            for (int r = 0; r < GR_TILE_ROWS; r++)
                tile.x[r] += whole * x->panel;
            tile.w += whole * tile.w_column;
            tile.columns = 1;
            tile.length = rest;
            gr_tile_kernels()->product(&tile);
        }
    }
}

size_t gr_winograd_worker_floats(bool back) {
    return (size_t)((back ? 6 + 9 : 6) * BLOCK) * (size_t)gr_winograd_width();
}

const float *gr_winograd_turned(const struct gr_convolution *conv, const float *packed, int first, int width,
                                int k, int length, float *taps) {
    for (int at = k; at < k + length; at += gr_winograd_width()) {
        int from_width = gr_winograd_panel_width(conv->k, at);
        const float *from = packed + (int64_t)conv->c * 9 * at + (int64_t)first * 9 * from_width;
        for (int tap = 0; tap < 9; tap++)
            gr_elementwise_kernels()->transpose(
                from_width, width, from + tap * from_width, 9 * (int64_t)from_width,
                taps + ((int64_t)(at - k) * 9 + tap) * width, 9 * (int64_t)width);
    }
    return taps;
}

/* One panel of outer channels, some rows of the grid of points, a run of tiles. Inner channels are taken in
 * blocks, so that the taps are read from far away once for all of the rows. */
static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct gr_winograd_products *p = context;
    int inner = p->back ? p->conv->k : p->conv->c, outer = p->back ? p->conv->c : p->conv->k;
    int groups = 6 / p->rows_each, first_row = (int)(chunk / p->splits % groups) * p->rows_each;
    int from = (int)(chunk % p->splits) * p->run,
        first = (int)(chunk / p->splits / groups) * gr_winograd_width();
    struct gr_winograd_block b = {.from = from,
                                  .to = from + p->run < p->count ? from + p->run : p->count,
                                  .first = first,
                                  .width = gr_winograd_panel_width(outer, first)};
    float *u = p->workers + (size_t)worker * gr_winograd_worker_floats(p->back);
    float *taps = u + (size_t)6 * BLOCK * (size_t)gr_winograd_width();

    for (b.c = 0; b.c < inner; b.c += BLOCK) {
        b.length = inner - b.c < BLOCK ? inner - b.c : BLOCK;
        const float *g = p->back ? gr_winograd_turned(p->conv, p->packed, first, b.width, b.c, b.length, taps)
                                 : p->packed + (int64_t)inner * 9 * first + (int64_t)b.c * 9 * b.width;
        int64_t u_plane = (int64_t)b.length * b.width;
        for (int row = first_row; row < first_row + p->rows_each; row++) {
            gr_winograd_kernels()->filter(b.length, b.width, row, g, u, u_plane);
            for (int j = 0; j < 6; j++) {
                b.e = 6 * row + j;
                b.u = u + j * u_plane;
                gr_winograd_multiply(&p->x, &p->y, &b);
            }
        }
    }
}

void gr_winograd_products(struct gr_winograd_products *p) {
    enum { CHUNKS = 8 };
    int panels = (int)gr_pieces(p->back ? p->conv->c : p->conv->k, gr_winograd_width());
    p->rows_each = panels >= 8 ? 6 : panels >= 4 ? 3 : 1;
    int splits = (int)gr_pieces(CHUNKS, 6 / p->rows_each * panels),
        most = (int)gr_pieces(p->count, 2 * GR_TILE_ROWS);
    splits = splits < most ? splits : most;
    p->run = (int)(gr_pieces(gr_pieces(p->count, splits), GR_TILE_ROWS) * GR_TILE_ROWS);
    p->splits = (int)gr_pieces(p->count, p->run);
    gr_parallel((int64_t)panels * (6 / p->rows_each) * p->splits, product_chunk, p);
}

/* ---- forward ---- */

void gr_winograd_inputs(const struct gr_winograd *w, int64_t from, int64_t to,
                        const struct gr_winograd_planes *v, int at) {
    const struct gr_convolution *conv = w->conv;
    for (int64_t i = from; i < to; i++, at++) {
        struct gr_winograd_place place = gr_winograd_place(w, i);
        gr_winograd_kernels()->input(conv->h, conv->w, conv->c, place.row - conv->top,
                                     place.column - conv->left,
                                     w->x + place.photo * conv->h * conv->w * conv->c, w->prologue,
                                     v->at + (int64_t)at * v->row, v->plane, v->panel);
    }
}

struct forward {
    struct gr_winograd w;
    const float *packed;
    const struct gr_epilogue *epilogue;
    float *y;
    bool stream;
    struct gr_winograd_planes v, m;
    int size; /* tiles of a batch or a piece */
    float *workers;
    int64_t first; /* by batches: the first tile and the number of tiles of the one in work */
    int count;
    int run; /* by chunks: pieces of a chunk */
    size_t worker_floats;
    float *u;
    int64_t u_plane;
};

/* Up to TILES tiles from a multiple of TILES on: one partial sum of the statistics. */
static void put_outputs(const struct forward *f, int64_t from, int64_t to, const struct gr_winograd_planes *m,
                        int at) {
    const struct gr_convolution *conv = f->w.conv;
    const struct gr_epilogue *epilogue = f->epilogue;
    float *statistics = epilogue ? epilogue->statistics : NULL;
    int pixels = 0;
    if (statistics)
        statistics += from / TILES * (int64_t)gr_statistics_floats(conv->k);
    for (int64_t i = from; i < to; i++, at++) {
        struct gr_winograd_place place = gr_winograd_place(&f->w, i);
        int rows = conv->oh - place.row < SIDE ? conv->oh - place.row : SIDE;
        int columns = conv->ow - place.column < SIDE ? conv->ow - place.column : SIDE;
        int64_t photo = place.photo * conv->oh * conv->ow * conv->k;
        gr_winograd_kernels()->output(
            conv->oh, conv->ow, conv->k, place.row, place.column, m->at + (int64_t)at * m->row, m->plane,
            m->panel, epilogue, epilogue && epilogue->residual ? epilogue->residual + photo : NULL,
            f->y + photo, statistics ? statistics + GR_STATISTICS_HEAD : NULL, i == from, f->stream);
        pixels += rows * columns;
    }
    if (statistics)
        statistics[0] = (float)pixels;
}

/* By batches: three jobs for each. */

static int batch_of(const struct gr_winograd *w) {
    int64_t batch = GR_WINOGRAD_BATCH_FLOATS / (POINTS * ((int64_t)w->conv->c + w->conv->k));
    batch = batch < GR_WINOGRAD_LEAST_TILES ? GR_WINOGRAD_LEAST_TILES : batch;
    batch = gr_pieces(w->tiles, gr_pieces(w->tiles, batch)); /* evenly */
    return (int)(gr_pieces(batch, UNIT) * UNIT);
}

static void input_chunk(void *context, int64_t chunk, int worker) {
    const struct forward *f = context;
    int from = (int)chunk * TILES, to = from + TILES < f->count ? from + TILES : f->count;
    (void)worker;
    gr_winograd_inputs(&f->w, f->first + from, f->first + to, &f->v, from);
}

static void output_chunk(void *context, int64_t chunk, int worker) {
    const struct forward *f = context;
    int from = (int)chunk * TILES, to = from + TILES < f->count ? from + TILES : f->count;
    (void)worker;
    put_outputs(f, f->first + from, f->first + to, &f->m, from);
}

static size_t cut_batches(struct forward *f, float *scratch) {
    size_t used = 0;
    f->size = batch_of(&f->w);
    f->v = gr_winograd_planes(f->size, f->w.conv->c, false);
    f->m = gr_winograd_planes(f->size, f->w.conv->k, false);
    f->v.at = gr_winograd_take(scratch, &used, gr_winograd_floats(&f->v));
    f->m.at = gr_winograd_take(scratch, &used, gr_winograd_floats(&f->m));
    f->workers = gr_winograd_take(scratch, &used, (size_t)gr_threads() * gr_winograd_worker_floats(false));
    return used;
}

static void forward_by_batches(struct forward *f, float *scratch) {
    cut_batches(f, scratch);
    struct gr_winograd_products p = {
        .conv = f->w.conv, .packed = f->packed, .x = f->v, .y = f->m, .workers = f->workers};
    for (f->first = 0; f->first < f->w.tiles; f->first += f->count) {
        f->count = f->w.tiles - f->first < f->size ? (int)(f->w.tiles - f->first) : f->size;
        p.count = f->count;
        gr_parallel(gr_pieces(f->count, TILES), input_chunk, f);
        gr_winograd_products(&p);
        gr_parallel(gr_pieces(f->count, TILES), output_chunk, f);
    }
}

/* By chunks: a thread takes some pieces of tiles through all stages. While it multiplies, the next piece is
 * fetched, since the transforms alone would wait for memory. */

enum { LARGEST_U = 256 * 256, /* channels times channels: U of 9 MB, in the third cache */ LEAST_PIECES = 8 };

static bool by_chunks(const struct gr_winograd *w) {
    return (int64_t)w->conv->c * w->conv->k <= LARGEST_U && w->tiles >= UNIT * LEAST_PIECES;
}

static int piece_of(const struct gr_winograd *w) {
    bool larger = w->conv->c + w->conv->k <= 128 && w->tiles >= 4 * UNIT * LEAST_PIECES;
    return larger ? 2 * UNIT : UNIT;
}

/* Where all outputs of a tile are in registers before one is stored, M may take the place of V. */
static bool in_place(const struct gr_convolution *conv) {
    return conv->c == conv->k && conv->k <= gr_winograd_width();
}

static void u_chunk(void *context, int64_t chunk, int worker) {
    const struct forward *f = context;
    const struct gr_convolution *conv = f->w.conv;
    int first = (int)(chunk / 6) * gr_winograd_width(), row = (int)(chunk % 6);
    int width = gr_winograd_panel_width(conv->k, first);
    (void)worker;
    gr_winograd_kernels()->filter(conv->c, width, row, f->packed + (int64_t)conv->c * 9 * first,
                                  f->u + 6 * row * f->u_plane + (int64_t)first * conv->c, f->u_plane);
}

void gr_winograd_fetch(int h, int w, int c, const float *photo, int row, int column) {
    int pixels = w - column < SIDE ? w - column : SIDE;
    for (int r = row; r < row + SIDE && r < h; r++)
        for (int i = 0; i < pixels * c; i += 16)
            __builtin_prefetch(photo + ((int64_t)r * w + column) * c + i, 0, 2);
}

void gr_winograd_fetch_inputs(const struct gr_winograd *w, int64_t from, int64_t to) {
    const struct gr_convolution *conv = w->conv;
    for (int64_t i = from; i < to; i++) {
        struct gr_winograd_place at = gr_winograd_place(w, i);
        gr_winograd_fetch(conv->h, conv->w, conv->c, w->x + at.photo * conv->h * conv->w * conv->c,
                          at.row - conv->top + 2, at.column - conv->left + 2);
    }
}

static void piece(const struct forward *f, int64_t from, int64_t to, int64_t next, int worker) {
    const struct gr_convolution *conv = f->w.conv;
    struct gr_winograd_planes v = f->v, m = f->m;
    v.at = f->workers + (size_t)worker * f->worker_floats;
    m.at = v.at + (in_place(conv) ? 0 : gr_winograd_floats(&v));
    gr_winograd_inputs(&f->w, from, to, &v, 0);
    for (int e = 0; e < POINTS; e++) {
        gr_winograd_fetch_inputs(&f->w, to + (next - to) * e / POINTS, to + (next - to) * (e + 1) / POINTS);
        for (int first = 0; first < conv->k; first += gr_winograd_width()) {
            struct gr_winograd_block b = {.e = e,
                                          .to = (int)(to - from),
                                          .length = conv->c,
                                          .first = first,
                                          .width = gr_winograd_panel_width(conv->k, first),
                                          .u = f->u + e * f->u_plane + (int64_t)first * conv->c};
            gr_winograd_multiply(&v, &m, &b);
        }
    }
    for (int64_t i = from; i < to; i += TILES)
        put_outputs(f, i, i + TILES < to ? i + TILES : to, &m, (int)(i - from));
}

static void pieces_chunk(void *context, int64_t chunk, int worker) {
    const struct forward *f = context;
    int64_t from = chunk * f->run * f->size, end = from + (int64_t)f->run * f->size;
    end = end < f->w.tiles ? end : f->w.tiles;
    for (int64_t to; from < end; from = to) {
        to = from + f->size < end ? from + f->size : end;
        piece(f, from, to, to + f->size < end ? to + f->size : end, worker);
    }
}

static size_t cut_chunks(struct forward *f, float *scratch) {
    const struct gr_convolution *conv = f->w.conv;
    size_t used = 0;
    f->size = piece_of(&f->w);
    f->u_plane = (int64_t)conv->c * conv->k + 16;
    f->u = gr_winograd_take(scratch, &used, (size_t)(POINTS * f->u_plane));
    f->workers = gr_winograd_take(scratch, &used, 0);
    f->v = gr_winograd_planes(f->size, conv->c, false);
    f->m = gr_winograd_planes(f->size, conv->k, false);
    f->worker_floats = gr_winograd_floats(&f->v) + (in_place(conv) ? 0 : gr_winograd_floats(&f->m));
    return used + (size_t)gr_threads() * f->worker_floats;
}

static void forward_by_chunks(struct forward *f, float *scratch) {
    const struct gr_convolution *conv = f->w.conv;
    cut_chunks(f, scratch);
    int64_t pieces = gr_pieces(f->w.tiles, f->size), run = pieces / (2 * LEAST_PIECES);
    f->run = run < 1 ? 1 : run < LEAST_PIECES ? (int)run : LEAST_PIECES;
    gr_parallel(6 * gr_pieces(conv->k, gr_winograd_width()), u_chunk, f);
    gr_parallel(gr_pieces(pieces, f->run), pieces_chunk, f);
}

static void forward(const struct gr_convolution *conv, int n, const float *x,
                    const struct gr_prologue *prologue, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    int64_t floats = (int64_t)n * conv->oh * conv->ow * conv->k;
    struct forward f = {.w = gr_winograd_of(conv, n, x, prologue),
                        .packed = packed,
                        .epilogue = epilogue,
                        .y = y,
                        .stream = gr_streams(floats, conv->k, y)};
    if (by_chunks(&f.w))
        forward_by_chunks(&f, scratch);
    else
        forward_by_batches(&f, scratch);
    if (epilogue && !gr_activation_simple(epilogue->activation))
        gr_activation_forward(epilogue->activation, epilogue->a, floats, y, y);
}

/* ---- */

static size_t forward_floats(const struct gr_convolution *conv, int n) {
    struct forward f = {.w = gr_winograd_of(conv, n, NULL, NULL)};
    return by_chunks(&f.w) ? cut_chunks(&f, NULL) : cut_batches(&f, NULL);
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    size_t forward = forward_floats(conv, n), backward = gr_winograd_backward_floats(conv, n);
    return forward > backward ? forward : backward;
}

static int64_t partials(const struct gr_convolution *conv, int n) {
    return gr_pieces(gr_winograd_of(conv, n, NULL, NULL).tiles, TILES);
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    struct gr_winograd w = gr_winograd_of(conv, n, NULL, NULL);
    double tiles = (double)gr_pieces(w.tiles, GR_TILE_ROWS) * GR_TILE_ROWS,
           weights = (double)conv->c * conv->k;
    double batches = by_chunks(&w) ? 1 : (double)gr_pieces(w.tiles, batch_of(&w));
    double flops = 2 * POINTS * tiles * weights / 0.9 + batches * POINTS * 8 * weights;
    double bytes = 4 * POINTS * 2 * tiles * (conv->c + conv->k);
    return flops / (gr_model_flops() * threads) + bytes / (60e9 * threads) + batches * 2e-5;
}

const struct gr_convolution_passes gr_convolution_winograd = {
    .name = "winograd",
    .transforms = true,
    .fits = fits,
    .cost = cost,
    .packed = gr_winograd_packed,
    .pack = pack,
    .scratch = scratch_floats,
    .scratch_forward = forward_floats,
    .partials = partials,
    .forward = forward,
    .backward = gr_winograd_backward,
};
