/* 1x1, stride 1: the photo's pixels are rows of a matrix, and every pass is one product over them. */
#include <string.h>

#include "base/threads.h"
#include "kernels/convolution_parts.h"
#include "kernels/gemm.h"
#include "kernels/tables.h"

static bool fits(const struct gr_convolution *conv) {
    return conv->kh == 1 && conv->kw == 1 && conv->sh == 1 && conv->sw == 1 && conv->top == 0 &&
           conv->left == 0 && conv->oh == conv->h && conv->ow == conv->w && conv->groups == 1;
}

static double cost(const struct gr_convolution *conv, int n, int threads) {
    double pixels = (double)n * conv->h * conv->w, weights = (double)conv->c * conv->k;
    double small = conv->c < conv->k ? conv->c : conv->k;
    double efficiency = 0.85 * small / (small + 12); /* thin products spend their time on packing */
    return 2 * pixels * weights / (efficiency * gr_model_flops() * threads) +
           4 * (pixels * (conv->c + conv->k) + weights) / gr_model_bandwidth(threads) + 3e-6;
}

static size_t packed_floats(const struct gr_convolution *conv) {
    return (size_t)conv->c * (size_t)conv->k;
}

static void pack(const struct gr_convolution *conv, const float *weights, const float *scale, float *packed) {
    gr_pack_weights(conv->k, conv->c, 1, 1, weights, scale, packed);
}

struct pointwise {
    const float *x, *w;
    const struct gr_epilogue *epilogue;
    float *y;
    int64_t rows, block; /* pixels, and of those in a chunk */
    int inner, outer;    /* channels that are summed over, and that come out */
    int width;           /* outer channels in a chunk */
    int pieces;          /* of the outer channels, in backward-weights */
    bool transpose, accumulate;
};

/* Blocks of pixels whose both sides stay in the second cache; where pixels are few, channels are cut too. */
static void cut(struct pointwise *p) {
    enum { ROWS = 384, CHUNKS = 8, LEAST = 64 };
    int64_t blocks = gr_pieces(p->rows, ROWS);
    blocks = blocks > 1 ? (blocks + 1) & ~(int64_t)1 : 1;
    p->block = gr_pieces(p->rows, blocks);
    p->width = p->outer;
    if (blocks < CHUNKS && (double)p->rows * p->inner * p->outer > 2e6) {
        int pieces = (int)(CHUNKS / blocks), most = p->outer / LEAST > 0 ? p->outer / LEAST : 1;
        pieces = pieces < most ? pieces : most;
        p->width = (int)gr_pieces(gr_pieces(p->outer, pieces), 16) * 16;
    }
}

static void product_chunk(void *context, int64_t chunk, int worker) {
    const struct pointwise *p = context;
    int64_t pieces = gr_pieces(p->outer, p->width), row = chunk / pieces * p->block;
    int first = (int)(chunk % pieces) * p->width;
    int width = p->outer - first < p->width ? p->outer - first : p->width;
    int rows = (int)(p->rows - row < p->block ? p->rows - row : p->block);
    const float *w = p->transpose ? p->w + (int64_t)first * p->inner : p->w + first;
    (void)worker;
    if (rows <= 0)
        return;
    gr_gemm(false, p->transpose, rows, width, p->inner, 1, p->x + row * p->inner, p->inner, w,
            p->transpose ? p->inner : p->outer, p->accumulate ? 1 : 0, p->y + row * p->outer + first,
            p->outer);
    if (p->epilogue)
        gr_apply_epilogue(p->epilogue, row, rows, first, width, p->outer, p->y);
}

static void run(struct pointwise *p) {
    if (p->rows == 0)
        return;
    cut(p);
    gr_parallel(gr_pieces(p->rows, p->block) * gr_pieces(p->outer, p->width), product_chunk, p);
}

static void forward(const struct gr_convolution *conv, int n, const float *x, const float *packed,
                    const struct gr_epilogue *epilogue, float *y, float *scratch) {
    struct pointwise p = {.x = x,
                          .w = packed,
                          .epilogue = epilogue,
                          .y = y,
                          .rows = (int64_t)n * conv->h * conv->w,
                          .inner = conv->c,
                          .outer = conv->k};
    (void)scratch;
    run(&p);
}

static void backward_data(const struct gr_convolution *conv, int n, const float *gy, const float *packed,
                          float *gx, bool accumulate, float *scratch) {
    struct pointwise p = {.x = gy,
                          .w = packed,
                          .y = gx,
                          .rows = (int64_t)n * conv->h * conv->w,
                          .inner = conv->k,
                          .outer = conv->c,
                          .transpose = true,
                          .accumulate = accumulate};
    (void)scratch;
    run(&p);
}

/* Copies of the gradient that the pixels are spread over: few when the gradient is large or pixels are few.
 */
static int slots_of(const struct gr_convolution *conv, int n) {
    int64_t floats = (int64_t)conv->c * conv->k, pixels = (int64_t)n * conv->h * conv->w;
    int slots = floats <= 1 << 16 ? 8 : floats <= 1 << 20 ? 4 : 2;
    while (slots > 1 && pixels < slots * 128)
        slots /= 2;
    return slots;
}

static size_t scratch_floats(const struct gr_convolution *conv, int n) {
    int slots = slots_of(conv, n);
    return slots > 1 ? (size_t)slots * packed_floats(conv) : 0;
}

static void gradient_chunk(void *context, int64_t chunk, int worker) {
    const struct pointwise *p = context;
    int64_t slot = chunk / p->pieces, row = slot * p->block;
    int64_t rows = p->rows - row < p->block ? p->rows - row : p->block;
    int first = (int)(chunk % p->pieces) * p->width;
    int width = p->outer - first < p->width ? p->outer - first : p->width;
    (void)worker;
    if (width <= 0)
        return;
    gr_gemm(true, false, width, p->inner, rows > 0 ? (int)rows : 0, 1, p->w + row * p->outer + first,
            p->outer, p->x + row * p->inner, p->inner, 0, p->y + (slot * p->outer + first) * p->inner,
            p->inner);
}

static void backward_weights(const struct gr_convolution *conv, int n, const float *x, const float *gy,
                             float *gw, float *scratch) {
    int slots = slots_of(conv, n);
    struct pointwise p = {.x = x,
                          .w = gy,
                          .y = slots > 1 ? scratch : gw,
                          .rows = (int64_t)n * conv->h * conv->w,
                          .inner = conv->c,
                          .outer = conv->k};
    p.block = gr_pieces(p.rows, slots);
    p.pieces = slots < 4 ? 4 : 1;
    p.width = slots < 4 ? (int)gr_pieces(gr_pieces(conv->k, p.pieces), 16) * 16 : conv->k;
    gr_parallel((int64_t)slots * p.pieces, gradient_chunk, &p);
    if (slots > 1)
        gr_sum_slots((int64_t)packed_floats(conv), slots, scratch, gw);
}

const struct gr_convolution_passes gr_convolution_pointwise = {
    .name = "gemm 1x1",
    .fits = fits,
    .cost = cost,
    .packed = packed_floats,
    .pack = pack,
    .scratch = scratch_floats,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
