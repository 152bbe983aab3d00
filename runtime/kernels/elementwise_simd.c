#include "kernels/activation_simd.h"
#include "kernels/tables.h"

GR_ALWAYS void activation_loop(enum gr_activation f, float a, int64_t count, const float *x, float *y,
                               bool stream) {
    int64_t i = 0;
    for (; i + GR_W <= count; i += GR_W)
        gr_put(y + i, gr_activate(f, a, gr_load(x + i)), stream);
    if (i < count)
        gr_store_part(y + i, gr_activate(f, a, gr_load_part(x + i, (int)(count - i))), (int)(count - i));
}

static void activation(enum gr_activation f, float a, int64_t count, const float *x, float *y, bool stream) {
#define BODY(constant) activation_loop(constant, a, count, x, y, stream)
    GR_EACH_ACTIVATION(f, BODY)
#undef BODY
    if (stream)
        gr_stream_end();
}

GR_ALWAYS void backward_loop(enum gr_activation f, float a, int64_t count, const float *kept, const float *gy,
                             float *gx, bool accumulate, bool stream) {
    int64_t i = 0;
    for (; i + GR_W <= count; i += GR_W) {
        gr_vec g = gr_load(gy + i) * gr_slope(f, a, gr_load(kept + i));
        gr_put(gx + i, accumulate ? gr_load(gx + i) + g : g, stream);
    }
    if (i < count) {
        int rest = (int)(count - i);
        gr_vec g = gr_load_part(gy + i, rest) * gr_slope(f, a, gr_load_part(kept + i, rest));
        gr_store_part(gx + i, accumulate ? gr_load_part(gx + i, rest) + g : g, rest);
    }
}

static void activation_backward(enum gr_activation f, float a, int64_t count, const float *kept,
                                const float *gy, float *gx, bool accumulate, bool stream) {
#define BODY(constant)                                                                                       \
    if (accumulate)                                                                                          \
        backward_loop(constant, a, count, kept, gy, gx, true, false);                                        \
    else                                                                                                     \
        backward_loop(constant, a, count, kept, gy, gx, false, stream)
    GR_EACH_ACTIVATION(f, BODY)
#undef BODY
    if (stream)
        gr_stream_end();
}

static void add(int64_t count, const float *a, const float *b, float *y, bool stream) {
    int64_t i = 0;
    for (; i + GR_W <= count; i += GR_W)
        gr_put(y + i, gr_load(a + i) + gr_load(b + i), stream);
    for (; i < count; i++)
        y[i] = a[i] + b[i];
    if (stream)
        gr_stream_end();
}

static void multiply(int64_t count, const float *a, const float *b, float *y) {
    for (int64_t i = 0; i < count; i++)
        y[i] = a[i] * b[i];
}

static void scale(int64_t count, float factor, const float *x, float *y) {
    for (int64_t i = 0; i < count; i++)
        y[i] = factor * x[i];
}

GR_ALWAYS void scale_shift_loop(int64_t rows, int c, const float *x, const float *factor, const float *shift,
                                bool shifted, float *y, bool stream) {
    for (int64_t row = 0; row < rows; row++, x += c, y += c) {
        int j = 0;
        for (; j + GR_W <= c; j += GR_W)
            gr_put(y + j,
                   shifted ? gr_load(x + j) * gr_load(factor + j) + gr_load(shift + j)
                           : gr_load(x + j) * gr_load(factor + j),
                   stream);
        if (j < c) {
            int rest = c - j;
            gr_vec v = gr_load_part(x + j, rest), f = gr_load_part(factor + j, rest);
            gr_store_part(y + j, shifted ? v * f + gr_load_part(shift + j, rest) : v * f, rest);
        }
    }
}

static void scale_shift(int64_t rows, int c, const float *x, const float *factor, const float *shift,
                        float *y, bool stream) {
    if (shift)
        scale_shift_loop(rows, c, x, factor, shift, true, y, stream);
    else
        scale_shift_loop(rows, c, x, factor, NULL, false, y, stream);
    if (stream)
        gr_stream_end();
}

static void channel_multiply_backward(int64_t rows, int c, int ld, const float *x, const float *s,
                                      const float *gy, float *gx, bool accumulate, float *sums) {
    for (int64_t row = 0; row < rows; row++) {
        const float *xr = x + row * ld, *gr = gy + row * ld;
        if (sums)
            for (int j = 0; j < c; j++)
                sums[j] += gr[j] * xr[j];
        if (!gx)
            continue;
        float *out = gx + row * ld;
        if (accumulate)
            for (int j = 0; j < c; j++)
                out[j] += gr[j] * s[j];
        else
            for (int j = 0; j < c; j++)
                out[j] = gr[j] * s[j];
    }
}

static void softmax(int64_t rows, int c, const float *x, float *y) {
    for (int64_t row = 0; row < rows; row++, x += c, y += c) {
        float largest = x[0];
        double total = 0;
        for (int j = 1; j < c; j++)
            largest = x[j] > largest ? x[j] : largest;
        for (int j = 0; j < c; j += GR_W)
            gr_store_upto(y + j, gr_exp(gr_load_upto(x + j, c - j) - largest), c - j);
        for (int j = 0; j < c; j++)
            total += y[j];
        float factor = (float)(1 / total);
        for (int j = 0; j < c; j++)
            y[j] *= factor;
    }
}

static void softmax_backward(int64_t rows, int c, const float *y, const float *gy, float *gx,
                             bool accumulate) {
    for (int64_t row = 0; row < rows; row++, y += c, gy += c, gx += c) {
        double total = 0;
        for (int j = 0; j < c; j++)
            total += (double)gy[j] * y[j];
        float mean = (float)total;
        for (int j = 0; j < c; j++) {
            float g = y[j] * (gy[j] - mean);
            gx[j] = accumulate ? gx[j] + g : g;
        }
    }
}

static double sum_squares(int64_t count, const float *x) {
    enum { LANES = 16 }; /* the same at every level, so that the order of the sum is too */
    double lanes[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            lanes[lane] += (double)x[i + lane] * x[i + lane];
    for (; i < count; i++)
        total += (double)x[i] * x[i];
    for (int lane = 0; lane < LANES; lane++)
        total += lanes[lane];
    return total;
}

GR_ALWAYS void epilogue_loop(enum gr_activation f, int64_t rows, int c, int ld, const struct gr_epilogue *e,
                             const float *residual, float *y) {
    const float *bias = e->bias;
    float a = e->a;
    for (int64_t row = 0; row < rows; row++, y += ld) {
        for (int j = 0; j < c; j += GR_W) {
            gr_vec v = gr_load_upto(y + j, c - j);
            if (bias)
                v += gr_load_upto(bias + j, c - j);
            if (residual)
                v += gr_load_upto(residual + j, c - j);
            gr_store_upto(y + j, gr_activate(f, a, v), c - j);
        }
        residual = residual ? residual + ld : NULL;
    }
}

static void epilogue(int64_t rows, int c, int ld, const struct gr_epilogue *e, const float *residual,
                     float *y) {
#define BODY(constant) epilogue_loop(constant, rows, c, ld, e, residual, y)
    GR_EACH_ACTIVATION(e->activation, BODY)
#undef BODY
}

static void transpose(int rows, int columns, const float *x, int64_t ldx, float *y, int64_t ldy) {
    enum { TILE = 16 };
    int i = 0;
    for (; i + TILE <= rows; i += TILE) {
        int j = 0;
        for (; j + TILE <= columns; j += TILE) {
            const float *from = x + (int64_t)j * ldx + i;
            float *to = y + (int64_t)i * ldy + j;
            float tile[TILE][TILE];
            for (int b = 0; b < TILE; b++)
                memcpy(tile[b], from + b * ldx, sizeof tile[b]);
            for (int a = 0; a < TILE; a++)
                for (int b = 0; b < TILE; b++)
                    to[a * ldy + b] = tile[b][a];
        }
        for (; j < columns; j++)
            for (int a = i; a < i + TILE; a++)
                y[a * ldy + j] = x[(int64_t)j * ldx + a];
    }
    for (; i < rows; i++)
        for (int j = 0; j < columns; j++)
            y[i * ldy + j] = x[(int64_t)j * ldx + i];
}

const struct gr_elementwise_kernels GR_SIMD_SYMBOL(gr_elementwise_kernels) = {
    .activation = activation,
    .activation_backward = activation_backward,
    .add = add,
    .multiply = multiply,
    .scale = scale,
    .scale_shift = scale_shift,
    .channel_multiply_backward = channel_multiply_backward,
    .softmax = softmax,
    .softmax_backward = softmax_backward,
    .sum_squares = sum_squares,
    .epilogue = epilogue,
    .transpose = transpose,
};
