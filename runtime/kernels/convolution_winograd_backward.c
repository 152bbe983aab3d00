/* Both gradients of the Winograd kernel in one go: what comes back through the outputs is read and
 * transformed once. Tiles are taken in whole rows of them.
 *
 * A tile's part of gx is 6x6 pixels, two of which it shares with the tile beside and below it. Who comes
 * first stores, who comes later adds, and the order is fixed: within a row of tiles from left to right; in a
 * batch the even rows of a photo go before the odd ones, so that rows in work at the same time never meet; a
 * slot keeps what its first row has in common with the slot before in a buffer of its own, which is added at
 * the end. So sums do not depend on the number of threads. */
#include "kernels/convolution_winograd.h"

#include "base/threads.h"
#include "kernels/elementwise.h"

enum {
    POINTS = GR_WINOGRAD_POINTS,
    SIDE = GR_WINOGRAD_SIDE,
    TILES = GR_WINOGRAD_TILES,
    REACH = 6,  /* pixels of gx that a tile has a part of, in each direction */
    SHARED = 2, /* of them with the next tile */
    INNER = 24, /* channels of x in a chunk: a multiple of a product's rows */
};

struct backward {
    struct gr_winograd w;
    const float *gy, *packed;
    float *gx, *gw; /* NULL: not wanted */
    bool accumulate;
    int64_t rows;                /* of tiles, of all photos */
    struct gr_winograd_planes v; /* of x, [C]; then the products for gx take its place */
    struct gr_winograd_planes q; /* of gy, [K] */
    float *local;                /* the weights' gradient, laid out as packed weights */

    int size;       /* rows of a batch or a piece */
    float *workers; /* worker_floats for each thread */
    size_t worker_floats;
    int blocks; /* of INNER channels of x */

    int64_t first; /* by batches: the first row and the number of rows in work */
    int count;

    int slots;
    int64_t run;   /* rows of a slot */
    float *du, *u; /* du: one a slot */
    int64_t u_plane;
    float *shared; /* [slots][SHARED][w][C] */
};

/* q = A gy A^T of tiles from..to-1. */
static void gradients(const struct backward *b, int64_t from, int64_t to, const struct gr_winograd_planes *q,
                      int at) {
    const struct gr_convolution *conv = b->w.conv;
    for (int64_t i = from; i < to; i++, at++) {
        struct gr_winograd_place place = gr_winograd_place(&b->w, i);
        gr_winograd_kernels()->gradient(conv->oh, conv->ow, conv->k, place.row, place.column,
                                        b->gy + place.photo * conv->oh * conv->ow * conv->k,
                                        q->at + (int64_t)at * q->row, q->plane, q->panel);
    }
}

/* Adds one row of tiles to gx. `above` and `below`: whether the rows of tiles there have been added already;
 * the pixels shared with the one above go to `shared` unless that is NULL. */
static void add_row(const struct backward *b, int64_t row, const struct gr_winograd_planes *z, int at,
                    bool above, bool below, float *shared) {
    const struct gr_convolution *conv = b->w.conv;
    int64_t line = (int64_t)conv->w * conv->c, photo = row / b->w.rows;
    int first = (int)(row % b->w.rows) * SIDE - conv->top;
    float *lines[REACH];
    bool add[REACH];
    for (int i = 0; i < REACH; i++) {
        bool inside = first + i >= 0 && first + i < conv->h, aside = shared && i < SHARED;
        lines[i] = !inside ? NULL : aside ? shared + i * line : b->gx + (photo * conv->h + first + i) * line;
        add[i] = !aside && (b->accumulate || (above && i < SHARED) || (below && i >= SIDE));
    }
    for (int j = 0; j < b->w.columns; j++)
        gr_winograd_kernels()->adjoint(conv->w, conv->c, j * SIDE - conv->left,
                                       z->at + (int64_t)(at + j) * z->row, z->plane, z->panel, lines, add,
                                       j > 0);
}

/* du[c][width] (+)= v_e^T q_e over `count` tiles, for channels c from..to-1 of x and width of gy. */
static void multiply(const struct gr_winograd_planes *v, const struct gr_winograd_planes *q, int e, int count,
                     int from, int to, int first, int width, bool accumulate, float *du) {
    struct gr_tile tile = {.width = width,
                           .rows = 1,
                           .columns = 1,
                           .length = count,
                           .x_step = v->row,
                           .w = q->at + e * q->plane + gr_winograd_at(q, first),
                           .w_step = q->row,
                           .accumulate = accumulate};
    for (int c = from; c < to; c += GR_TILE_ROWS) {
        tile.count = to - c < GR_TILE_ROWS ? to - c : GR_TILE_ROWS;
        for (int r = 0; r < GR_TILE_ROWS; r++) {
            int one = c + (r < tile.count ? r : tile.count - 1);
            tile.x[r] = v->at + e * v->plane + gr_winograd_at(v, one);
            tile.y[r] = du + (int64_t)(one - from) * width;
        }
        for (int i = 0; accumulate && i < GR_TILE_ROWS * width; i += 16) /* the next ones */
            __builtin_prefetch(tile.y[0] + GR_TILE_ROWS * width + i, 1, 3);
        gr_tile_kernels()->product(&tile);
    }
}

static void unpack_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    int first = (int)chunk * gr_winograd_width(), width = gr_winograd_panel_width(b->w.conv->k, first);
    int64_t columns = (int64_t)b->w.conv->c * 9;
    (void)worker;
    gr_elementwise_kernels()->transpose(width, (int)columns, b->local + columns * first, width,
                                        b->gw + columns * first, columns);
}

/* ---- by batches ---- */

static size_t du_floats(void) {
    return (size_t)POINTS * INNER * (size_t)gr_winograd_width();
}

/* Rows of tiles in a batch. */
static int batch_of(const struct backward *b) {
    int64_t tiles = GR_WINOGRAD_BATCH_FLOATS / (POINTS * ((int64_t)b->w.conv->c + b->w.conv->k));
    tiles = tiles < GR_WINOGRAD_LEAST_TILES ? GR_WINOGRAD_LEAST_TILES : tiles;
    int64_t rows = gr_pieces(tiles, b->w.columns);
    return (int)gr_pieces(b->rows, gr_pieces(b->rows, rows)); /* evenly */
}

static void transform_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    int count = b->count * b->w.columns, from = (int)chunk * TILES,
        to = from + TILES < count ? from + TILES : count;
    int64_t first = b->first * b->w.columns;
    (void)worker;
    if (b->gw)
        gr_winograd_inputs(&b->w, first + from, first + to, &b->v, from);
    gradients(b, first + from, first + to, &b->q, from);
}

static void weights_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    const struct gr_convolution *conv = b->w.conv;
    int from = (int)(chunk % b->blocks) * INNER, to = from + INNER < conv->c ? from + INNER : conv->c;
    int first = (int)(chunk / b->blocks) * gr_winograd_width(),
        width = gr_winograd_panel_width(conv->k, first);
    int64_t plane = (int64_t)INNER * width;
    float *du = b->workers + (size_t)worker * b->worker_floats;
    for (int e = 0; e < POINTS; e++)
        multiply(&b->v, &b->q, e, b->count * b->w.columns, from, to, first, width, false, du + e * plane);
    gr_winograd_kernels()->filter_gradient(
        to - from, width, du, plane, b->local + (int64_t)conv->c * 9 * first + (int64_t)from * 9 * width,
        b->first > 0);
}

static void even_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    (void)worker;
    if ((b->first + chunk) % b->w.rows % 2 == 0)
        add_row(b, b->first + chunk, &b->v, (int)chunk * b->w.columns, chunk == 0 && (b->first % b->w.rows),
                false, NULL);
}

static void odd_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    int64_t row = (b->first + chunk) % b->w.rows;
    (void)worker;
    if (row % 2)
        add_row(b, b->first + chunk, &b->v, (int)chunk * b->w.columns, true,
                row + 1 < b->w.rows && chunk + 1 < b->count, NULL);
}

static size_t cut_batches(struct backward *b, float *scratch) {
    const struct gr_convolution *conv = b->w.conv;
    size_t used = 0;
    b->size = batch_of(b);
    b->blocks = (int)gr_pieces(conv->c, INNER);
    b->local = gr_winograd_take(scratch, &used, gr_winograd_packed(conv));
    b->v = gr_winograd_planes(b->size * b->w.columns, conv->c, true);
    b->q = gr_winograd_planes(b->size * b->w.columns, conv->k, true);
    b->v.at = gr_winograd_take(scratch, &used, gr_winograd_floats(&b->v));
    b->q.at = gr_winograd_take(scratch, &used, gr_winograd_floats(&b->q));
    b->worker_floats = gr_winograd_worker_floats(true);
    b->worker_floats = b->worker_floats < du_floats() ? du_floats() : b->worker_floats;
    b->workers = gr_winograd_take(scratch, &used, (size_t)gr_threads() * b->worker_floats);
    return used;
}

static void by_batches(struct backward *b, float *scratch) {
    const struct gr_convolution *conv = b->w.conv;
    cut_batches(b, scratch);
    struct gr_winograd_products p = {
        .conv = conv, .packed = b->packed, .back = true, .x = b->q, .y = b->v, .workers = b->workers};
    for (b->first = 0; b->first < b->rows; b->first += b->count) {
        b->count = b->rows - b->first < b->size ? (int)(b->rows - b->first) : b->size;
        p.count = b->count * b->w.columns;
        gr_parallel(gr_pieces(p.count, TILES), transform_chunk, b);
        if (b->gw)
            gr_parallel(gr_pieces(conv->k, gr_winograd_width()) * b->blocks, weights_chunk, b);
        if (!b->gx)
            continue;
        gr_winograd_products(&p);
        gr_parallel(b->count, even_chunk, b);
        gr_parallel(b->count, odd_chunk, b);
    }
    if (b->gw)
        gr_parallel(gr_pieces(conv->k, gr_winograd_width()), unpack_chunk, b);
}

/* ---- by slots ----
 *
 * Where U and dU are small, a slot is a run of rows of tiles that one thread takes through everything, a few
 * rows at a time, with a dU of its own; V, Q and Z stay in its second cache. */

enum {
    LARGEST_U = 128 * 128, /* channels times channels: dU of 2.4 MB a slot */
    MOST_SLOTS = 8,
    LEAST_SLOTS = 4,
    PIECE = 56, /* tiles */
};

/* How many; 0: by batches. All dU together are no more than half of x, gy and gx. */
static int slots_of(const struct backward *b) {
    int64_t c = b->w.conv->c, k = b->w.conv->k,
            most = b->w.tiles * SIDE * SIDE * (2 * c + k) / (2 * POINTS * c * k);
    most = most < MOST_SLOTS ? most : MOST_SLOTS;
    return c * k > LARGEST_U || most < LEAST_SLOTS || b->rows < MOST_SLOTS ? 0 : (int)most;
}

/* Rows of tiles in a piece. */
static int piece_of(const struct backward *b) {
    int rows = PIECE / b->w.columns;
    return rows < 1 ? 1 : rows;
}

static int64_t u_plane_floats(const struct gr_convolution *conv) {
    return (int64_t)conv->c * conv->k + 16;
}

static size_t shared_floats(const struct gr_convolution *conv) {
    return (size_t)SHARED * (size_t)conv->w * (size_t)conv->c;
}

/* U^T as [point][panels of c][K][width]. */
static void u_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    const struct gr_convolution *conv = b->w.conv;
    int first = (int)chunk * gr_winograd_width(), width = gr_winograd_panel_width(conv->c, first);
    float *taps = b->workers + (size_t)worker * b->worker_floats;
    for (int k = 0; k < conv->k; k += GR_WINOGRAD_BLOCK) {
        int length = conv->k - k < GR_WINOGRAD_BLOCK ? conv->k - k : GR_WINOGRAD_BLOCK;
        gr_winograd_turned(conv, b->packed, first, width, k, length, taps);
        for (int row = 0; row < 6; row++)
            gr_winograd_kernels()->filter(
                length, width, row, taps,
                b->u + 6 * row * b->u_plane + (int64_t)first * conv->k + (int64_t)k * width, b->u_plane);
    }
}

/* Fetches what tiles from..to-1 read. */
static void fetch(const struct backward *b, int64_t from, int64_t to) {
    const struct gr_convolution *conv = b->w.conv;
    if (b->gw)
        gr_winograd_fetch_inputs(&b->w, from, to);
    for (int64_t i = from; i < to; i++) {
        struct gr_winograd_place at = gr_winograd_place(&b->w, i);
        gr_winograd_fetch(conv->oh, conv->ow, conv->k, b->gy + at.photo * conv->oh * conv->ow * conv->k,
                          at.row, at.column);
    }
}

/* Rows from..to-1 of tiles; the piece behind them ends with `next`. */
static void piece(const struct backward *b, int slot, int64_t from, int64_t to, int64_t next, int worker) {
    const struct gr_convolution *conv = b->w.conv;
    int count = (int)(to - from) * b->w.columns;
    int64_t behind = to * b->w.columns, tiles = (next - to) * b->w.columns;
    bool first = from == slot * b->run;
    struct gr_winograd_planes v = b->v, q = b->q;
    v.at = b->workers + (size_t)worker * b->worker_floats;
    q.at = v.at + gr_winograd_floats(&v);
    if (b->gw)
        gr_winograd_inputs(&b->w, from * b->w.columns, to * b->w.columns, &v, 0);
    gradients(b, from * b->w.columns, to * b->w.columns, &q, 0);
    for (int e = 0; e < POINTS; e++) {
        fetch(b, behind + tiles * e / POINTS, behind + tiles * (e + 1) / POINTS);
        for (int k = 0; b->gw && k < conv->k; k += gr_winograd_width())
            multiply(&v, &q, e, count, 0, conv->c, k, gr_winograd_panel_width(conv->k, k), !first,
                     b->du + (slot * POINTS + e) * b->u_plane + (int64_t)k * conv->c);
        for (int c = 0; b->gx && c < conv->c; c += gr_winograd_width()) {
            struct gr_winograd_block z = {.e = e,
                                          .to = count,
                                          .length = conv->k,
                                          .first = c,
                                          .width = gr_winograd_panel_width(conv->c, c),
                                          .u = b->u + e * b->u_plane + (int64_t)c * conv->k};
            gr_winograd_multiply(&q, &v, &z);
        }
    }
    for (int64_t row = from; b->gx && row < to; row++) {
        bool aside = row == slot * b->run && row % b->w.rows;
        add_row(b, row, &v, (int)(row - from) * b->w.columns, row % b->w.rows != 0, false,
                aside ? b->shared + (size_t)slot * shared_floats(conv) : NULL);
    }
}

static void slot_chunk(void *context, int64_t slot, int worker) {
    const struct backward *b = context;
    int64_t from = slot * b->run, end = from + b->run < b->rows ? from + b->run : b->rows;
    for (int64_t to; from < end; from = to) {
        to = from + b->size < end ? from + b->size : end;
        piece(b, (int)slot, from, to, to + b->size < end ? to + b->size : end, worker);
    }
}

/* The pixels that a slot shares with the one before. */
static void shared_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    const struct gr_convolution *conv = b->w.conv;
    int64_t row = (chunk + 1) * b->run, line = (int64_t)conv->w * conv->c;
    int first = (int)(row % b->w.rows) * SIDE - conv->top;
    (void)worker;
    for (int i = 0; i < SHARED && row % b->w.rows; i++)
        if (first + i >= 0 && first + i < conv->h) {
            float *gx = b->gx + (row / b->w.rows * conv->h + first + i) * line;
            gr_elementwise_kernels()->add(
                line, gx, b->shared + (size_t)(chunk + 1) * shared_floats(conv) + i * line, gx, false);
        }
}

static void sum_chunk(void *context, int64_t chunk, int worker) {
    const struct backward *b = context;
    const struct gr_convolution *conv = b->w.conv;
    int from = (int)(chunk % b->blocks) * INNER, to = from + INNER < conv->c ? from + INNER : conv->c;
    int first = (int)(chunk / b->blocks) * gr_winograd_width(),
        width = gr_winograd_panel_width(conv->k, first);
    float *du = b->du + (int64_t)first * conv->c + (int64_t)from * width;
    (void)worker;
    for (int slot = 1; slot < b->slots; slot++)
        for (int e = 0; e < POINTS; e++)
            gr_elementwise_kernels()->add((int64_t)(to - from) * width, du + e * b->u_plane,
                                          du + (slot * POINTS + e) * b->u_plane, du + e * b->u_plane, false);
    gr_winograd_kernels()->filter_gradient(
        to - from, width, du, b->u_plane, b->local + (int64_t)conv->c * 9 * first + (int64_t)from * 9 * width,
        false);
}

static size_t cut_slots(struct backward *b, float *scratch) {
    const struct gr_convolution *conv = b->w.conv;
    size_t used = 0, u = (size_t)(POINTS * u_plane_floats(conv)), least = gr_winograd_worker_floats(true);
    b->slots = slots_of(b);
    b->run = gr_pieces(b->rows, b->slots);
    b->slots = (int)gr_pieces(b->rows, b->run);
    b->size = piece_of(b);
    b->blocks = (int)gr_pieces(conv->c, INNER);
    b->u_plane = u_plane_floats(conv);
    b->local = gr_winograd_take(scratch, &used, gr_winograd_packed(conv));
    b->u = gr_winograd_take(scratch, &used, u);
    b->du = gr_winograd_take(scratch, &used, (size_t)b->slots * u);
    b->shared = gr_winograd_take(scratch, &used, (size_t)b->slots * shared_floats(conv));
    b->workers = gr_winograd_take(scratch, &used, 0);
    b->v = gr_winograd_planes(b->size * b->w.columns, conv->c, true);
    b->q = gr_winograd_planes(b->size * b->w.columns, conv->k, true);
    b->worker_floats = gr_winograd_floats(&b->v) + gr_winograd_floats(&b->q);
    b->worker_floats = b->worker_floats < least ? least : b->worker_floats;
    return used + (size_t)gr_threads() * b->worker_floats;
}

static void by_slots(struct backward *b, float *scratch) {
    const struct gr_convolution *conv = b->w.conv;
    cut_slots(b, scratch);
    if (b->gx)
        gr_parallel(gr_pieces(conv->c, gr_winograd_width()), u_chunk, b);
    gr_parallel(b->slots, slot_chunk, b);
    if (b->gx)
        gr_parallel(b->slots - 1, shared_chunk, b);
    if (b->gw) {
        gr_parallel(gr_pieces(conv->k, gr_winograd_width()) * b->blocks, sum_chunk, b);
        gr_parallel(gr_pieces(conv->k, gr_winograd_width()), unpack_chunk, b);
    }
}

/* ---- */

static struct backward backward_of(const struct gr_convolution *conv, int n, const float *x,
                                   const struct gr_prologue *prologue) {
    struct backward b = {.w = gr_winograd_of(conv, n, x, prologue)};
    b.rows = (int64_t)n * b.w.rows;
    return b;
}

void gr_winograd_backward(const struct gr_convolution *conv, int n, const float *x,
                          const struct gr_prologue *prologue, const float *gy, const float *packed, float *gx,
                          bool accumulate, float *gw, float *scratch) {
    struct backward b = backward_of(conv, n, x, prologue);
    b.gy = gy;
    b.packed = packed;
    b.gx = gx;
    b.accumulate = accumulate;
    b.gw = gw;
    if (slots_of(&b))
        by_slots(&b, scratch);
    else
        by_batches(&b, scratch);
}

size_t gr_winograd_backward_floats(const struct gr_convolution *conv, int n) {
    struct backward b = backward_of(conv, n, NULL, NULL);
    return slots_of(&b) ? cut_slots(&b, NULL) : cut_batches(&b, NULL);
}
