/* The functions that exist once for every instruction set, and the choice among them. Private to this room.
 *
 * They work on pieces that one thread takes at a time; the files without `_simd` cut the work and call them.
 * Rows are `ld` floats apart where `ld` is given. */
#ifndef GRAFT_KERNELS_TABLES_H
#define GRAFT_KERNELS_TABLES_H

#include "kernels/kernels.h"

/* `stream`: whether y goes past the caches (see gr_streams); it begins with a cache line then. */
struct gr_elementwise_kernels {
    void (*activation)(enum gr_activation f, float a, int64_t count, const float *x, float *y, bool stream);
    void (*activation_backward)(enum gr_activation f, float a, int64_t count, const float *kept,
                                const float *gy, float *gx, bool accumulate, bool stream);
    void (*add)(int64_t count, const float *a, const float *b, float *y, bool stream);
    void (*multiply)(int64_t count, const float *a, const float *b, float *y);
    void (*scale)(int64_t count, float factor, const float *x, float *y);
    /* y = x * scale[c] + shift[c]; shift may be NULL. */
    void (*scale_shift)(int64_t rows, int c, const float *x, const float *scale, const float *shift, float *y,
                        bool stream);
    /* gx (+)= gy * s[c], sums[c] += gy * x; gx or sums may be NULL. */
    void (*channel_multiply_backward)(int64_t rows, int c, int ld, const float *x, const float *s,
                                      const float *gy, float *gx, bool accumulate, float *sums);
    void (*softmax)(int64_t rows, int c, const float *x, float *y);
    void (*softmax_backward)(int64_t rows, int c, const float *y, const float *gy, float *gx,
                             bool accumulate);
    double (*sum_squares)(int64_t count, const float *x);
    /* y = f(y + bias[c] + residual) in place over rows of c floats; y and residual have rows ld apart. */
    void (*epilogue)(int64_t rows, int c, int ld, const struct gr_epilogue *epilogue, const float *residual,
                     float *y);
    /* y[i*ldy + j] = x[j*ldx + i] for i < rows, j < columns. */
    void (*transpose)(int rows, int columns, const float *x, int64_t ldx, float *y, int64_t ldy);
};

/* float32 to bfloat16 and back; see bfloat16.h. */
struct gr_bfloat16_kernels {
    void (*store)(int64_t count, const float *x, uint16_t *y);
    void (*store_for)(const struct gr_prologue *reader, int64_t rows, int c, const float *x, uint16_t *y);
    void (*load)(int64_t count, const uint16_t *x, float *y, bool stream);
};

/* Rows of a normalisation's backward pass: rows ld apart, c channels of each. `g` below is the gradient
 * before the activation: gy * f', where f' comes from `kept` (see gr_activation_backward) or, when that is
 * NULL, from x * scale[c] + shift[c]. */
struct gr_norm_rows {
    int64_t rows, ld;
    int c;
    const float *x, *mean, *gy;
    enum gr_activation f; /* with GR_IDENTITY, kept, scale and shift are not looked at */
    float a;
    const float *kept, *scale, *shift;
    float *residual; /* residual (+)= g, unless NULL */
    bool accumulate_residual;
    bool stream; /* whether backward() stores gx past the caches */
};

struct gr_norm_kernels {
    /* sum[c] += x. */
    void (*sum)(int64_t rows, int c, int64_t ld, const float *x, float *sum);
    /* sum[c] += x - pivot[c], squares[c] += (x - pivot[c])^2. */
    void (*moments)(int64_t rows, int c, int64_t ld, const float *x, const float *pivot, float *sum,
                    float *squares);
    /* sum_gy[c] += g, sum_product[c] += g * (x - mean[c]). */
    void (*product)(const struct gr_norm_rows *rows, float *sum_gy, float *sum_product);
    /* gx (+)= g * a[c] + (x - mean[c]) * b[c] + d[c]. gx may lie over anything that is read. */
    void (*backward)(const struct gr_norm_rows *rows, const float *a, const float *b, const float *d,
                     float *gx, bool accumulate);
    /* y = (x - mean[c]) * a[c] + b[c]. */
    void (*apply)(int64_t rows, int c, int64_t ld, const float *x, const float *mean, const float *a,
                  const float *b, float *y);
    /* y = f(x * scale[c] + shift[c] + residual), without gaps between rows. */
    void (*affine)(const struct gr_epilogue *epilogue, int64_t rows, int c, const float *x,
                   const float *scale, const float *shift, const float *residual, float *y, bool stream);
};

/* One output pixel's window: `rows` x `columns` input pixels, `row_step` and `column_step` floats apart.
 * Positions (bytes) count up by `position_row` and 1. */
struct gr_pool_window {
    int rows, columns;
    int64_t row_step, column_step;
    int position, position_row; /* of the first pixel, and the difference from row to row */
};

/* One of the windows that cover an input pixel: gx gets factor * gy, or gy where argmax == position. */
struct gr_pool_source {
    const float *gy;
    const uint8_t *argmax;
    int position;
    float factor;
};

struct gr_pool_kernels {
    void (*max)(const struct gr_pool_window *window, int c, const float *x, float *y, uint8_t *argmax);
    void (*max_wide)(const struct gr_pool_window *window, int c, const float *x, float *y, int32_t *argmax);
    /* y = factor * sum over the window. */
    void (*sum)(const struct gr_pool_window *window, int c, float factor, const float *x, float *y);
    /* gx (+)= the sum over `count` sources, by argmax or by factor. */
    void (*pick)(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                 bool stream);
    void (*spread)(int count, const struct gr_pool_source *sources, int c, float *gx, bool accumulate,
                   bool stream);
    /* gx += gy where argmax == position. */
    void (*pick_wide)(int c, const int32_t *argmax, int position, const float *gy, float *gx);
    void (*finish)(void); /* after the last streamed store of a chunk */
};

/* One row of outputs of a depthwise convolution; see convolution_parts.h for axes. */
struct gr_depthwise_row {
    int c;                   /* channels = distance of neighbouring pixels */
    int outputs;             /* pixels to write */
    int64_t out_step;        /* floats from one to the next */
    int inputs;              /* pixels in an input row */
    int in_first, in_step;   /* output i, tap m reads pixel in_first + i*in_step + m*tap_stride */
    int taps, tap_stride;    /* kernel columns */
    int64_t weight_step;     /* floats from one kernel column's weights to the next */
    int rows;                /* kernel rows inside the photo */
    int64_t row_step;        /* floats from one kernel row's input row to the next */
    int64_t weight_row_step; /* and of their weights */
    int first, last;         /* outputs first..last-1 have all their taps inside the row */
};

/* One or two neighbouring rows of outputs of a depthwise convolution with a small square kernel, for a range
 * of channels. Without `up`, output i reads pixels first + i*stride + tap. With it (backward-data of stride
 * 2) the strip begins with an even row, and output i reads the pixels first + m with tap = i + shift - 2*m,
 * likewise for rows. */
enum { GR_STRIP_ROWS = 2, GR_STRIP_TAPS = 5 };
struct gr_depthwise_strip {
    int c;              /* channels to do */
    int64_t pixel;      /* floats from one pixel to the next, on both sides */
    int kernel, stride; /* 3x3 or 5x5; 1 or 2 */
    bool up;
    int shift;       /* kernel - 1 or kernel - 2 */
    int rows;        /* of outputs: 1, or 2 unless stride is 2 without `up` */
    int outputs;     /* in each of them */
    int64_t out_row; /* floats from one row of outputs to the next */
    /* The input rows, as many as gr_strip_inputs() says; NULL outside the photo. */
    const float *inputs[GR_STRIP_TAPS + GR_STRIP_ROWS - 1];
    int width, first;     /* pixels in an input row; the one at output 0, tap 0 */
    const float *weights; /* of tap (0, 0) */
    int64_t weight_step, weight_row_step;
    const float *zeros; /* [c] */
    /* y = min(max(bias + sum + added, low), high); not looked at by gradient(). */
    const float *bias, *added; /* NULL or [c], NULL or laid out as y (and y itself to accumulate) */
    bool clamp, stream;        /* whether low and high are looked at; whether stores go past the caches */
    float low, high;
};

/* Input rows or columns that `outputs` of them reach. */
static inline int gr_strip_inputs(int outputs, int kernel, int stride, bool up, int shift) {
    return up ? (outputs - 1 + shift) / 2 + 1 : (outputs - 1) * stride + kernel;
}

struct gr_depthwise_kernels {
    /* Writes the outputs from y on. */
    void (*strip)(const struct gr_depthwise_strip *strip, float *y);
    /* gw (+)= the gradient of the weights, laid out as weight_step and weight_row_step say. */
    void (*gradient)(const struct gr_depthwise_strip *strip, const float *gy, float *gw);
    /* y (+)= sum over rows and taps of x * weights[c]: any kernel, stride and dilation. */
    void (*row)(const struct gr_depthwise_row *row, const float *x, const float *weights, float *y,
                bool accumulate);
    /* gw[c] += sum over outputs of gy * x, for each tap of one kernel row (row->rows is 1). */
    void (*weights)(const struct gr_depthwise_row *row, const float *x, const float *gy, float *gw);
};

/* A tile of a product: GR_TILE_ROWS rows of y by up to GR_TILE_VECTORS vectors of channels, held in registers
 * while the terms are added up. y[r][k] = f((accumulate ? y[r][k] : 0) + sum over terms of x[r][term] *
 * w[term][k] + bias[k] + residual[r][k]).
 *
 * The terms are `rows` times `columns` runs of `length`: a kernel row of a convolution is one run, since its
 * pixels lie side by side. Within a run the terms are x_step and w_step floats apart, and runs as the steps
 * below say. With x_step = 1 and packed weights this is a forward pass; with x_step = K it is X^T Y without a
 * transpose. */
enum { GR_TILE_ROWS = 6, GR_TILE_VECTORS = 4 /* at most */ };

struct gr_tile {
    const float *x[GR_TILE_ROWS];
    float *y[GR_TILE_ROWS];
    const float *residual[GR_TILE_ROWS]; /* residual[0] NULL: none */
    int count;                           /* rows that are stored; the pointers of the others are readable */
    int width;                           /* channels that are stored; w has them up to a whole vector */
    const float *w;
    int rows, columns, length;
    int64_t x_row, x_column, x_step; /* floats from one run's row, column, term to the next */
    int64_t w_row, w_column, w_step;
    bool accumulate;
    const float *bias;             /* [width], or NULL */
    enum gr_activation activation; /* a simple one */
    float a;
    float *
        statistics; /* NULL, or the panel's pivots; sums and squares lie one and two statistics_step behind */
    int64_t statistics_step;
    bool first;  /* the chunk's first tile: sets pivots and sums */
    bool stream; /* y goes past the caches (see gr_streams); streamed() after the last tile of a chunk */
};

struct gr_tile_kernels {
    int lanes; /* floats in a vector */
    int width; /* channels of a whole tile: some vectors of them, at most GR_TILE_VECTORS */
    void (*product)(const struct gr_tile *tile);
    void (*streamed)(void);
    /* y = f(x * scale[c] + shift[c]) for channels first..first+count-1 of `pixels` pixels of c channels. */
    void (*prologue)(int64_t pixels, int c, int first, int count, const float *x,
                     const struct gr_prologue *prologue, float *y);
};

/* A tile of a product of reduced precision (convolution_reduced.c), held in registers as above. Terms come in
 * words of 32 bits, `terms` of them in a word; x has them side by side, w has [word][channel]. */
struct gr_reduced_tile {
    const char *x[GR_TILE_ROWS]; /* any alignment */
    float *y[GR_TILE_ROWS];
    const float *residual[GR_TILE_ROWS]; /* residual[0] NULL: none */
    int count, width;                    /* as in struct gr_tile */
    const int32_t *w;
    int rows, columns, length;       /* length: words of a run */
    int64_t x_row, x_column;         /* bytes from one run's row, column to the next */
    int64_t w_row, w_column, w_step; /* words */
    const int32_t *start; /* integers only: what the sums begin with, and what they are multiplied by, both */
    const float *factor;  /* [width] up to a whole vector */
    const float *bias;    /* [width], or NULL */
    enum gr_activation activation; /* a simple one */
    float a;
};

struct gr_reduced_kernels {
    int lanes, width; /* as in struct gr_tile_kernels */
    int terms;        /* in a word */
    void (*product)(const struct gr_reduced_tile *tile);
    /* Rounds floats to elements of 4 / terms bytes. Integers: x / step + zero, cut off at 0 and 255. */
    void (*convert)(int64_t count, const float *x, float step, int zero, void *to);
};

extern const struct gr_reduced_kernels gr_bf16_kernels_baseline;
extern const struct gr_reduced_kernels gr_bf16_kernels_avx2;
extern const struct gr_reduced_kernels gr_bf16_kernels_avx512;
extern const struct gr_reduced_kernels gr_bf16_kernels_avx512bf16;
extern const struct gr_reduced_kernels gr_int8_kernels_baseline;
extern const struct gr_reduced_kernels gr_int8_kernels_avx2;
extern const struct gr_reduced_kernels gr_int8_kernels_avx512;
extern const struct gr_reduced_kernels gr_int8_kernels_avx512vnni;
/* The best for the SIMD level and the processor. */
const struct gr_reduced_kernels *gr_bf16_kernels(void);
const struct gr_reduced_kernels *gr_int8_kernels(void);

/* Winograd's F(4x4, 3x3), see convolution_winograd.c. A tile has 36 planes, one a point of the 6x6 grid,
 * which lie `plane` floats apart; of each plane it has GR_WINOGRAD_PANEL channels, and the next ones `panel`
 * floats behind, and so on. */
enum { GR_WINOGRAD_PANEL = 64 };

struct gr_winograd_kernels {
    /* planes[e][c] = (B^T d B)[e], d the 6x6 pixels from (row, column) on, which may lie outside the h x w
     * photo; prologue may be NULL. */
    void (*input)(int h, int w, int c, int row, int column, const float *photo,
                  const struct gr_prologue *prologue, float *planes, int64_t plane, int64_t panel);
    /* planes[e][k] = (A d A^T)[e], d the 4x4 pixels from (row, column) on, zeros outside. */
    void (*gradient)(int h, int w, int k, int row, int column, const float *photo, float *planes,
                     int64_t plane, int64_t panel);
    /* y = f((A^T m A) + bias + residual) for the pixels inside of the h x w photo; y and residual point to
     * the photo. statistics: NULL, or a chunk's pivots, as in struct gr_tile. */
    void (*output)(int h, int w, int k, int row, int column, const float *planes, int64_t plane,
                   int64_t panel, const struct gr_epilogue *epilogue, const float *residual, float *y,
                   float *statistics, bool first, bool stream);
    /* (B z B^T) for the 6 pixels from `column` on of the rows that begin at rows[0..5] (NULL: outside the
     * photo, as are columns below 0 and from w on). It is added to what is there in the rows that `add` says,
     * and with `left` in the first two columns, else it is stored. */
    void (*adjoint)(int w, int c, int column, const float *planes, int64_t plane, int64_t panel,
                    float *const rows[6], const bool add[6], bool left);
    /* u[j][c][k] = (G g G^T)[row][j] for j < 6, for `inner` rows of `width` filters g[c][tap][k]; u's planes
     * are `plane` floats apart. */
    void (*filter)(int inner, int width, int row, const float *g, float *u, int64_t plane);
    /* g[c][tap][k] (+)= (G^T u G)[tap], u[e][c][k] with planes `plane` apart. */
    void (*filter_gradient)(int inner, int width, const float *u, int64_t plane, float *g, bool accumulate);
};

struct gr_points_kernels {
    /* Of one point at x, y, over n others: force = sum w^2 (own - other), weight = sum w, with w = 1 / (1 +
     * d^2). n is a multiple of GR_POINTS_PITCH. */
    void (*repel)(int64_t n, const float *xs, const float *ys, float x, float y, float force[2],
                  float *weight);
    /* The same over the points to[k]: force = sum near[k] w (own - other). count is a multiple of
     * GR_POINTS_PAIRS. */
    void (*attract)(int64_t count, const int32_t *to, const float *near, const float *xs, const float *ys,
                    float x, float y, float force[2]);
};

#define GR_SIMD_TABLE(name)                                                                                  \
    extern const struct gr_##name##_kernels gr_##name##_kernels_baseline;                                    \
    extern const struct gr_##name##_kernels gr_##name##_kernels_avx2;                                        \
    extern const struct gr_##name##_kernels gr_##name##_kernels_avx512;                                      \
    const struct gr_##name##_kernels *gr_##name##_kernels(void);

GR_SIMD_TABLE(elementwise)
GR_SIMD_TABLE(bfloat16)
GR_SIMD_TABLE(norm)
GR_SIMD_TABLE(pool)
GR_SIMD_TABLE(depthwise)
GR_SIMD_TABLE(tile)
GR_SIMD_TABLE(winograd)
GR_SIMD_TABLE(points)

/* Whether an array that is only written should go past the caches: when it is too large to be found there by
 * whoever reads it, and every row of c floats starts with a cache line. */
static inline bool gr_streams(int64_t floats, int c, const float *y) {
    return floats >= 4 << 20 && c % 16 == 0 && (uintptr_t)y % 64 == 0;
}

/* The pieces that work on `count` things falls into when each piece has about `size`. */
static inline int64_t gr_pieces(int64_t count, int64_t size) {
    return (count + size - 1) / size;
}

#endif
