/* 3x3 at stride 1 by Winograd's F(4x4, 3x3) (Lavin and Gray 2015, arXiv 1509.09308): 36 products instead of
 * 144 for every 4x4 outputs, in all three passes.
 *
 *   forward        V = B^T x B, U = G g G^T, M_e = V_e U_e for the 36 points e, y = A^T M A
 *   backward-data  the same, with the filters turned by half a circle and their channels swapped
 *   weights        V = B^T x B, Q = A gy A^T, dU_e = V_e^T Q_e, gw = G^T dU G
 *
 * Tiles are taken in batches whose transforms stay in the third cache. U is never kept: a chunk makes the six
 * planes that it multiplies with from the nine taps, in its own second cache, which costs a few operations a
 * weight where the product costs two for every tile. So packed weights are no larger than the filters are. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/elementwise.h"
#include "kernels/norm.h"
#include "kernels/tables.h"

enum {
    POINTS = 36,
    SIDE = 4,               /* of a tile of outputs */
    BATCH_FLOATS = 5 << 18, /* of V and M in a batch of tiles */
    LEAST_TILES = 96,       /* in a batch: below, making U would be felt */
    TILES = 8,              /* transformed by a chunk */
    BLOCK = 128,            /* inner channels whose taps and U stay in the second cache */
    UNIT = 24,              /* batches are multiples of it: of TILES and of a tile's rows */
};

static bool fits(const struct gr_convolution *conv) {
    return conv->kh == 3 && conv->kw == 3 && conv->sh == 1 && conv->sw == 1 && conv->dh == 1 &&
           conv->dw == 1 && conv->groups == 1 && conv->c % 16 == 0 && conv->k % 16 == 0 && conv->top <= 2 &&
           conv->left <= 2;
}

/* The tiles of one side (outputs forward, the photo's gradient backward), and the batches that they are taken
 * in. */
struct tiling {
    int rows, columns; /* tiles of a photo */
    int64_t photos, all;
    int batch;
};

static struct tiling tiling_of(int n, int h, int w, int c, int k) {
    struct tiling t = {.photos = n, .rows = (h + SIDE - 1) / SIDE, .columns = (w + SIDE - 1) / SIDE};
    t.all = (int64_t)n * t.rows * t.columns;
    int64_t batch = BATCH_FLOATS / (POINTS * ((int64_t)c + k));
    batch = batch < LEAST_TILES ? LEAST_TILES : batch;
    batch = gr_pieces(t.all, gr_pieces(t.all, batch)); /* evenly */
    t.batch = (int)(gr_pieces(batch, UNIT) * UNIT);
    return t;
}

/* Floats from one plane to the next: a line more than its rows, so that 36 planes do not meet in one set of
 * the cache. */
static int64_t plane_floats(int batch, int channels) {
    return (int64_t)batch * channels + 16;
}

static int width_of(void) {
    return gr_tile_kernels()->width;
}

/* ---- weights: [panels of k][C][9][width], a transpose of the file's [K][C * 9] panel by panel ---- */

static size_t packed_floats(const struct gr_convolution *conv) {
    return (size_t)9 * (size_t)conv->c * (size_t)conv->k;
}

struct packing {
    int inner, outer; /* of the result */
    const float *from, *scale;
    float *packed;
};

static int panel_width(int outer, int first) {
    int width = width_of();
    return outer - first < width ? outer - first : width;
}

static void pack_chunk(void *context, int64_t chunk, int worker) {
    const struct packing *p = context;
    int first = (int)chunk * width_of(), width = panel_width(p->outer, first);
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
    gr_parallel(gr_pieces(conv->k, width_of()), pack_chunk, &p);
}

/* [panels of c][K][9][width], taps in reverse, from the forward pass's. */
static void turn_chunk(void *context, int64_t chunk, int worker) {
    const struct packing *p = context;
    int first = (int)chunk * width_of(), width = panel_width(p->outer, first);
    float *to = p->packed + (int64_t)p->inner * 9 * first;
    (void)worker;
    for (int k = 0; k < p->inner; k += width_of()) {
        int from_width = panel_width(p->inner, k);
        const float *from = p->from + (int64_t)p->outer * 9 * k + (int64_t)first * 9 * from_width;
        for (int tap = 0; tap < 9; tap++)
            gr_elementwise_kernels()->transpose(from_width, width, from + tap * from_width,
                                                9 * (int64_t)from_width,
                                                to + ((int64_t)k * 9 + 8 - tap) * width, 9 * (int64_t)width);
    }
}

/* ---- forward and backward-data ---- */

struct pass {
    struct tiling tiling;
    int h, w, inner, top, left; /* of what is read */
    int oh, ow, outer;          /* of what is written */
    const float *x, *g;
    const struct gr_prologue *prologue;
    const struct gr_epilogue *epilogue;
    float *y;
    bool accumulate, stream;
    float *v, *m, *u; /* u: one piece a worker */
    int64_t v_plane, m_plane;
    int64_t first;   /* tile of the batch in work */
    int count;       /* tiles of the batch */
    int run, splits; /* the batch's tiles in a chunk of products */
    int rows_each;   /* rows of the grid of points in a chunk of products */
};

static size_t u_floats(void) {
    return (size_t)6 * BLOCK * (size_t)width_of();
}

/* Where a tile's photo and window begin. */
struct place {
    int64_t photo;
    int row, column;
};

static struct place place_of(const struct tiling *t, int64_t tile) {
    int64_t each = (int64_t)t->rows * t->columns, in = tile % each;
    return (struct place){tile / each, (int)(in / t->columns) * SIDE, (int)(in % t->columns) * SIDE};
}

static void input_chunk(void *context, int64_t chunk, int worker) {
    const struct pass *p = context;
    int last = (int)(chunk + 1) * TILES < p->count ? (int)(chunk + 1) * TILES : p->count;
    (void)worker;
    for (int i = (int)chunk * TILES; i < last; i++) {
        struct place at = place_of(&p->tiling, p->first + i);
        gr_winograd_kernels()->input(p->h, p->w, p->inner, at.row - p->top, at.column - p->left,
                                     p->x + at.photo * p->h * p->w * p->inner, p->prologue,
                                     p->v + (int64_t)i * p->inner, p->v_plane);
    }
}

/* Rows first..first+count-1 of a tile's x and y; the pointers behind the last one stay inside. */
static void set_rows(struct gr_tile *tile, int count, const float *x, int64_t x_row, float *y,
                     int64_t y_row) {
    tile->count = count;
    for (int r = 0; r < GR_TILE_ROWS; r++) {
        int at = r < count ? r : count - 1;
        tile->x[r] = x + at * x_row;
        tile->y[r] = y + at * y_row;
    }
}

/* One panel of outer channels, some rows of the grid of points, a run of tiles. Inner channels are taken in
 * blocks, so that the taps are read from far away once for all of the rows. */
static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct pass *p = context;
    int groups = 6 / p->rows_each, first_row = (int)(chunk / p->splits % groups) * p->rows_each;
    int from = (int)(chunk % p->splits) * p->run, to = from + p->run < p->count ? from + p->run : p->count;
    int first = (int)(chunk / p->splits / groups) * width_of(), width = panel_width(p->outer, first);
    float *u = p->u + (size_t)worker * u_floats();
    struct gr_tile tile = {.width = width, .rows = 1, .columns = 1, .x_step = 1, .w_step = width};

    for (int c = 0; c < p->inner; c += BLOCK) {
        const float *g = p->g + (int64_t)p->inner * 9 * first + (int64_t)c * 9 * width;
        tile.length = p->inner - c < BLOCK ? p->inner - c : BLOCK;
        tile.accumulate = c > 0;
        int64_t u_plane = (int64_t)tile.length * width;
        for (int row = first_row; row < first_row + p->rows_each; row++) {
            gr_winograd_kernels()->filter(tile.length, width, row, g, u, u_plane);
            for (int j = 0; j < 6; j++) {
                const float *v = p->v + (6 * row + j) * p->v_plane + c;
                float *m = p->m + (6 * row + j) * p->m_plane + first;
                tile.w = u + j * u_plane;
                for (int i = from; i < to; i += GR_TILE_ROWS) {
                    set_rows(&tile, to - i < GR_TILE_ROWS ? to - i : GR_TILE_ROWS, v + (int64_t)i * p->inner,
                             p->inner, m + (int64_t)i * p->outer, p->outer);
                    gr_tile_kernels()->product(&tile);
                }
            }
        }
    }
}

static void output_chunk(void *context, int64_t chunk, int worker) {
    const struct pass *p = context;
    int first = (int)chunk * TILES, last = first + TILES < p->count ? first + TILES : p->count, pixels = 0;
    const float *residual = p->epilogue ? p->epilogue->residual : NULL;
    float *statistics = p->epilogue ? p->epilogue->statistics : NULL;
    (void)worker;
    if (statistics)
        statistics += (p->first / TILES + chunk) * (int64_t)gr_statistics_floats(p->outer);
    for (int i = first; i < last; i++) {
        struct place at = place_of(&p->tiling, p->first + i);
        int rows = p->oh - at.row < SIDE ? p->oh - at.row : SIDE;
        int columns = p->ow - at.column < SIDE ? p->ow - at.column : SIDE;
        int64_t photo = at.photo * p->oh * p->ow * p->outer;
        gr_winograd_kernels()->output(
            p->oh, p->ow, p->outer, at.row, at.column, p->m + (int64_t)i * p->outer, p->m_plane, p->epilogue,
            residual ? residual + photo : NULL, p->accumulate, p->y + photo,
            statistics ? statistics + GR_STATISTICS_HEAD : NULL, i == first, p->stream);
        pixels += rows * columns;
    }
    if (statistics)
        statistics[0] = (float)pixels;
}

static void run(struct pass *p, float *scratch) {
    enum { CHUNKS = 8 };
    int panels = (int)gr_pieces(p->outer, width_of());
    p->stream = !p->accumulate && gr_streams(p->tiling.photos * p->oh * p->ow * p->outer, p->outer, p->y);
    p->rows_each = panels >= 8 ? 6 : panels >= 4 ? 3 : 1;
    p->v_plane = plane_floats(p->tiling.batch, p->inner);
    p->m_plane = plane_floats(p->tiling.batch, p->outer);
    p->v = scratch;
    p->m = p->v + POINTS * p->v_plane;
    p->u = p->m + POINTS * p->m_plane;
    for (p->first = 0; p->first < p->tiling.all; p->first += p->count) {
        int64_t rest = p->tiling.all - p->first;
        p->count = rest < p->tiling.batch ? (int)rest : p->tiling.batch;
        int splits = (int)gr_pieces(CHUNKS, 6 / p->rows_each * panels),
            most = (int)gr_pieces(p->count, 2 * GR_TILE_ROWS);
        splits = splits < most ? splits : most;
        p->run = (int)(gr_pieces(gr_pieces(p->count, splits), GR_TILE_ROWS) * GR_TILE_ROWS);
        p->splits = (int)gr_pieces(p->count, p->run);
        gr_parallel(gr_pieces(p->count, TILES), input_chunk, p);
        gr_parallel((int64_t)panels * (6 / p->rows_each) * p->splits, product_chunk, p);
        gr_parallel(gr_pieces(p->count, TILES), output_chunk, p);
    }
}

static void forward(const struct gr_convolution *conv, int n, const float *x,
                    const struct gr_prologue *prologue, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct pass p = {.tiling = tiling_of(n, conv->oh, conv->ow, conv->c, conv->k),
                     .h = conv->h,
                     .w = conv->w,
                     .inner = conv->c,
                     .top = conv->top,
                     .left = conv->left,
                     .oh = conv->oh,
                     .ow = conv->ow,
                     .outer = conv->k,
                     .x = x,
                     .prologue = prologue,
                     .g = packed,
                     .epilogue = epilogue,
                     .y = y};
    run(&p, scratch);
    if (epilogue && !gr_activation_simple(epilogue->activation))
        gr_activation_forward(epilogue->activation, epilogue->a, (int64_t)n * conv->oh * conv->ow * conv->k,
                              y, y);
}

static void backward_data(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch) {
    struct packing turning = {conv->k, conv->c, packed, NULL, scratch};
    struct pass p = {.tiling = tiling_of(n, conv->h, conv->w, conv->k, conv->c),
                     .h = conv->oh,
                     .w = conv->ow,
                     .inner = conv->k,
                     .top = 2 - conv->top,
                     .left = 2 - conv->left,
                     .oh = conv->h,
                     .ow = conv->w,
                     .outer = conv->c,
                     .x = gy,
                     .g = scratch,
                     .y = gx,
                     .accumulate = accumulate};
    gr_parallel(gr_pieces(conv->c, width_of()), turn_chunk, &turning);
    run(&p, scratch + gr_whole_lines(packed_floats(conv)));
}

/* ---- weights ---- */

enum { INNER = 24 }; /* channels of x in a chunk: a multiple of the tile's rows */

struct gradient {
    struct pass p; /* v and its side */
    const float *gy;
    float *q, *du, *local; /* du: one piece a worker */
    int64_t q_plane;
    int blocks; /* of INNER channels */
};

static size_t du_floats(void) {
    return (size_t)POINTS * INNER * (size_t)width_of();
}

static void gradient_input_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    const struct pass *p = &g->p;
    int last = (int)(chunk + 1) * TILES < p->count ? (int)(chunk + 1) * TILES : p->count;
    input_chunk((void *)p, chunk, worker);
    for (int i = (int)chunk * TILES; i < last; i++) {
        struct place at = place_of(&p->tiling, p->first + i);
        gr_winograd_kernels()->gradient(p->oh, p->ow, p->outer, at.row, at.column,
                                        g->gy + at.photo * p->oh * p->ow * p->outer,
                                        g->q + (int64_t)i * p->outer, g->q_plane);
    }
}

static void gradient_chunk(void *context, int64_t chunk, int worker) {
    const struct gradient *g = context;
    const struct pass *p = &g->p;
    int from = (int)(chunk % g->blocks) * INNER, to = from + INNER < p->inner ? from + INNER : p->inner;
    int first = (int)(chunk / g->blocks) * width_of(), width = panel_width(p->outer, first);
    int64_t u_plane = (int64_t)INNER * width;
    float *u = g->du + (size_t)worker * du_floats();
    struct gr_tile tile = {
        .width = width, .rows = 1, .columns = 1, .length = p->count, .x_step = p->inner, .w_step = p->outer};

    for (int e = 0; e < POINTS; e++) {
        tile.w = g->q + e * g->q_plane + first;
        for (int c = from; c < to; c += GR_TILE_ROWS) {
            set_rows(&tile, to - c < GR_TILE_ROWS ? to - c : GR_TILE_ROWS, p->v + e * p->v_plane + c, 1,
                     u + e * u_plane + (int64_t)(c - from) * width, width);
            gr_tile_kernels()->product(&tile);
        }
    }
    gr_winograd_kernels()->filter_gradient(
        to - from, width, u, u_plane, g->local + (int64_t)p->inner * 9 * first + (int64_t)from * 9 * width,
        p->first > 0);
}

static void unpack_chunk(void *context, int64_t chunk, int worker) {
    const struct packing *p = context;
    int first = (int)chunk * width_of(), width = panel_width(p->outer, first);
    int64_t columns = (int64_t)p->inner * 9;
    (void)worker;
    gr_elementwise_kernels()->transpose(width, (int)columns, p->from + columns * first, width,
                                        p->packed + columns * first, columns);
}

static void backward_weights(const struct gr_convolution *conv, int n, const float *x,
                             const struct gr_prologue *prologue, const float *gy, float *gw, float *scratch) {
    struct gradient g = {.p = {.tiling = tiling_of(n, conv->oh, conv->ow, conv->c, conv->k),
                               .h = conv->h,
                               .w = conv->w,
                               .inner = conv->c,
                               .top = conv->top,
                               .left = conv->left,
                               .oh = conv->oh,
                               .ow = conv->ow,
                               .outer = conv->k,
                               .x = x,
                               .prologue = prologue},
                         .gy = gy,
                         .blocks = (int)gr_pieces(conv->c, INNER)};
    struct pass *p = &g.p;
    struct packing unpacking = {conv->c, conv->k, scratch, NULL, gw};
    g.local = scratch;
    p->v_plane = plane_floats(p->tiling.batch, p->inner);
    g.q_plane = plane_floats(p->tiling.batch, p->outer);
    p->v = g.local + gr_whole_lines(packed_floats(conv));
    g.q = p->v + POINTS * p->v_plane;
    g.du = g.q + POINTS * g.q_plane;
    for (p->first = 0; p->first < p->tiling.all; p->first += p->count) {
        int64_t rest = p->tiling.all - p->first;
        p->count = rest < p->tiling.batch ? (int)rest : p->tiling.batch;
        gr_parallel(gr_pieces(p->count, TILES), gradient_input_chunk, &g);
        gr_parallel(gr_pieces(conv->k, width_of()) * g.blocks, gradient_chunk, &g);
    }
    gr_parallel(gr_pieces(conv->k, width_of()), unpack_chunk, &unpacking);
}

/* ---- */

static size_t pass_floats(int n, int h, int w, int inner, int outer) {
    struct tiling t = tiling_of(n, h, w, inner, outer);
    size_t product = u_floats(), gradient = du_floats();
    return (size_t)(POINTS * (plane_floats(t.batch, inner) + plane_floats(t.batch, outer))) +
           (size_t)gr_threads() * (product > gradient ? product : gradient);
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    size_t out = pass_floats(n, conv->oh, conv->ow, conv->c, conv->k);
    size_t in = pass_floats(n, conv->h, conv->w, conv->k, conv->c);
    return gr_whole_lines(packed_floats(conv)) + (out > in ? out : in);
}

static int64_t partials(const struct gr_convolution *conv, int n) {
    return gr_pieces(tiling_of(n, conv->oh, conv->ow, conv->c, conv->k).all, TILES);
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    struct tiling t = tiling_of(n, conv->oh, conv->ow, conv->c, conv->k);
    double tiles = (double)gr_pieces(t.all, GR_TILE_ROWS) * GR_TILE_ROWS, weights = (double)conv->c * conv->k;
    double batches = (double)gr_pieces(t.all, t.batch);
    double flops = 2 * POINTS * tiles * weights / 0.9 + batches * POINTS * 8 * weights;
    double bytes = 4 * POINTS * 2 * tiles * (conv->c + conv->k);
    return flops / (gr_model_flops() * threads) + bytes / (60e9 * threads) + batches * 2e-5;
}

const struct gr_convolution_passes gr_convolution_winograd = {
    .name = "winograd",
    .transforms = true,
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
