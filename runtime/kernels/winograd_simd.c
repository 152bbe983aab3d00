#include "kernels/activation_simd.h"
#include "kernels/simd.h"
#include "kernels/tables.h"

/* The transforms of F(4x4, 3x3) with the points 0, +-1/sqrt(2), +-sqrt(2) and infinity, whose rounding error
 * is less than half of that of 0, +-1, +-2 (Barabasz et al. 2020, "Error analysis and improving the accuracy
 * of Winograd convolution"; ncnn uses them too). Channels are the lanes, so every transform is the same few
 * operations on whole vectors; each two-dimensional one is a pass over columns and then one over rows.
 * Channels are multiples of 16. */

#define UNROLL _Pragma("GCC unroll 8")

static const float Q = 1.41421356237309504880f;

/* Rows 1 to 4 of B^T x, then rows 0 and 5, `step` apart. */
GR_ALWAYS void input_inner(const gr_vec x[6], gr_vec *out, int step) {
    gr_vec t1 = x[1] * Q - x[3] * (Q / 2), t2 = x[4] - x[2] * 2.0f;
    gr_vec t3 = x[3] * Q - x[1] * (Q / 2), t4 = x[4] - x[2] * 0.5f;
    out[0] = t2 - t1;
    out[step] = t2 + t1;
    out[2 * step] = t4 + t3;
    out[3 * step] = t4 - t3;
}

GR_ALWAYS void input_outer(const gr_vec x[6], gr_vec *out, int step) {
    out[0] = x[0] - x[2] * 2.5f + x[4];
    out[step] = x[1] - x[3] * 2.5f + x[5];
}

/* out[i] = B^T x. */
GR_ALWAYS void input_1d(const gr_vec x[6], gr_vec out[6]) {
    gr_vec ends[2];
    input_inner(x, out + 1, 1);
    input_outer(x, ends, 1);
    out[0] = ends[0];
    out[5] = ends[1];
}

/* out[i * step] = B z. */
GR_ALWAYS void adjoint_1d(const gr_vec z[6], gr_vec *out, int step) {
    gr_vec s1 = z[1] + z[2], d1 = z[2] - z[1], s2 = z[3] + z[4], d2 = z[4] - z[3];
    out[0] = z[0];
    out[step] = d1 * Q + d2 * (Q / 2) + z[5];
    out[2 * step] = z[0] * -2.5f - s1 * 2.0f - s2 * 0.5f;
    out[3 * step] = z[5] * -2.5f - d1 * (Q / 2) - d2 * Q;
    out[4 * step] = z[0] + s1 + s2;
    out[5 * step] = z[5];
}

/* out[i * step] = A y. */
GR_ALWAYS void gradient_1d(const gr_vec y[4], gr_vec *out, int step) {
    gr_vec even1 = y[0] + y[2] * 0.5f, odd1 = y[1] * (Q / 2) + y[3] * (Q / 4);
    gr_vec even2 = y[0] + y[2] * 2.0f, odd2 = y[1] * Q + y[3] * (2 * Q);
    out[0] = y[0];
    out[step] = even1 + odd1;
    out[2 * step] = even1 - odd1;
    out[3 * step] = even2 + odd2;
    out[4 * step] = even2 - odd2;
    out[5 * step] = y[3];
}

/* out[i * step] = A^T m. */
GR_ALWAYS void output_1d(const gr_vec m[6], gr_vec *out, int step) {
    gr_vec s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    out[0] = m[0] + s1 + s2;
    out[step] = d1 * (Q / 2) + d2 * Q;
    out[2 * step] = s1 * 0.5f + s2 * 2.0f;
    out[3 * step] = d1 * (Q / 4) + d2 * (2 * Q) + m[5];
}

/* out[i * step] = G^T u. */
GR_ALWAYS void filter_gradient_1d(const gr_vec u[6], gr_vec *out, int step) {
    gr_vec near = u[1] + u[2], far = u[3] + u[4];
    out[0] = u[0] - near * (2.0f / 3) + far * (1.0f / 6);
    out[step] = (u[2] - u[1]) * (Q / 3) + (u[3] - u[4]) * (Q / 6);
    out[2 * step] = (far - near) * (1.0f / 3) + u[5];
}

/* Floats from a tile's first plane to where a vector of channels has its first one. */
GR_ALWAYS int64_t panel_at(int lane, int64_t panel) {
    return lane / GR_WINOGRAD_PANEL * panel + lane % GR_WINOGRAD_PANEL;
}

/* Rows first..last-1 of column j of the window from (row, column) on, zeros outside; photo points to the
 * lane's first channel. */
GR_ALWAYS void load_window(int first, int last, int h, int w, int c, int row, int column, const float *photo,
                           bool inside, int j, gr_vec *x) {
    const float *from = photo + ((int64_t)row * w + column + j) * c;
    bool there = inside || (column + j >= 0 && column + j < w);
    UNROLL
    for (int i = first; i < last; i++)
        x[i] = inside || (there && row + i >= 0 && row + i < h) ? gr_load(from + (int64_t)i * w * c)
                                                                : (gr_vec){0};
}

/* x' = f(x * scale + shift) for the pixels of a loaded column that lie inside the photo. */
GR_ALWAYS void dress(int first, int last, int h, int w, int row, int column, bool inside,
                     const struct gr_prologue *p, enum gr_activation f, gr_vec scale, gr_vec shift,
                     gr_vec x[6]) {
    bool there = inside || (column >= 0 && column < w);
    UNROLL
    for (int i = first; i < last; i++)
        if (inside || (there && row + i >= 0 && row + i < h))
            x[i] = gr_activate(f, p->a, x[i] * scale + shift);
}

/* The rows of the result are made in two goes, since 36 vectors do not fit into the registers: 1 to 4 from
 * the window's rows 1 to 4, then 0 and 5 from all of them. Loading again costs less than to put away and
 * fetch. */
GR_ALWAYS void input_tile(int h, int w, int c, int row, int column, const float *photo,
                          const struct gr_prologue *p, enum gr_activation f, float *planes, int64_t plane,
                          int64_t panel, bool inside) {
    for (int lane = 0; lane < c; lane += GR_W) {
        float *to = planes + panel_at(lane, panel);
        gr_vec d[24], x[6];
        gr_vec scale = p ? gr_load(p->scale + lane) : gr_splat(1),
               shift = p ? gr_load(p->shift + lane) : gr_splat(0);
        UNROLL
        for (int j = 0; j < 6; j++) {
            load_window(1, 5, h, w, c, row, column, photo + lane, inside, j, x);
            if (p)
                dress(1, 5, h, w, row, column + j, inside, p, f, scale, shift, x);
            input_inner(x, d + j, 6);
        }
        UNROLL
        for (int i = 0; i < 4; i++) {
            input_1d(d + 6 * i, x);
            UNROLL
            for (int j = 0; j < 6; j++)
                gr_store(to + (6 * (i + 1) + j) * plane, x[j]);
        }
        UNROLL
        for (int j = 0; j < 6; j++) {
            load_window(0, 6, h, w, c, row, column, photo + lane, inside, j, x);
            if (p)
                dress(0, 6, h, w, row, column + j, inside, p, f, scale, shift, x);
            input_outer(x, d + j, 6);
        }
        UNROLL
        for (int i = 0; i < 2; i++) {
            input_1d(d + 6 * i, x);
            UNROLL
            for (int j = 0; j < 6; j++)
                gr_store(to + (30 * i + j) * plane, x[j]);
        }
    }
}

GR_ALWAYS void input_any(int h, int w, int c, int row, int column, const float *photo,
                         const struct gr_prologue *p, enum gr_activation f, float *planes, int64_t plane,
                         int64_t panel) {
    if (row >= 0 && column >= 0 && row + 6 <= h && column + 6 <= w)
        input_tile(h, w, c, row, column, photo, p, f, planes, plane, panel, true);
    else
        input_tile(h, w, c, row, column, photo, p, f, planes, plane, panel, false);
}

static void input(int h, int w, int c, int row, int column, const float *photo, const struct gr_prologue *p,
                  float *planes, int64_t plane, int64_t panel) {
    if (!p) {
        input_any(h, w, c, row, column, photo, NULL, GR_IDENTITY, planes, plane, panel);
        return;
    }
    switch (p->activation) {
    case GR_RELU:
        input_any(h, w, c, row, column, photo, p, GR_RELU, planes, plane, panel);
        break;
    case GR_RELU6:
        input_any(h, w, c, row, column, photo, p, GR_RELU6, planes, plane, panel);
        break;
    case GR_LEAKY_RELU:
        input_any(h, w, c, row, column, photo, p, GR_LEAKY_RELU, planes, plane, panel);
        break;
    default:
        input_any(h, w, c, row, column, photo, p, GR_IDENTITY, planes, plane, panel);
    }
}

static void gradient(int h, int w, int k, int row, int column, const float *photo, float *planes,
                     int64_t plane, int64_t panel) {
    bool inside = row + 4 <= h && column + 4 <= w;
    for (int lane = 0; lane < k; lane += GR_W) {
        float *to = planes + panel_at(lane, panel);
        gr_vec d[24], x[6];
        UNROLL
        for (int j = 0; j < 4; j++) {
            load_window(0, 4, h, w, k, row, column, photo + lane, inside, j, x);
            gradient_1d(x, d + j, 4);
        }
        UNROLL
        for (int i = 0; i < 6; i++) {
            gradient_1d(d + 4 * i, x, 1);
            UNROLL
            for (int j = 0; j < 6; j++)
                gr_store(to + (6 * i + j) * plane, x[j]);
        }
    }
}

/* One pixel's part of a chunk's sums of differences from a pivot. */
struct sums {
    gr_vec pivot, sum, squares;
};

GR_ALWAYS void output_tile(int h, int w, int k, int row, int column, const float *planes, int64_t plane,
                           int64_t panel, const struct gr_epilogue *e, const float *residual, float *y,
                           enum gr_activation f, float *statistics, bool first, bool stream) {
    int rows = h - row < 4 ? h - row : 4, columns = w - column < 4 ? w - column : 4;
    const float *bias = e ? e->bias : NULL;
    for (int lane = 0; lane < k; lane += GR_W) {
        const float *from = planes + panel_at(lane, panel);
        gr_vec d[24], x[6];
        UNROLL
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                x[i] = gr_load(from + (6 * i + j) * plane);
            output_1d(x, d + j, 6);
        }
        gr_vec shift = bias ? gr_load(bias + lane) : (gr_vec){0};
        struct sums s = {{0}, {0}, {0}};
        for (int i = 0; i < rows; i++) {
            int64_t at = ((int64_t)(row + i) * w + column) * k + lane;
            output_1d(d + 6 * i, x, 1);
            if (statistics && i == 0)
                s.pivot = first ? x[0] + shift : gr_load(statistics + lane);
            for (int j = 0; j < columns; j++, at += k) {
                gr_vec value = x[j] + shift;
                if (residual)
                    value += gr_load(residual + at);
                if (statistics) {
                    gr_vec difference = value - s.pivot;
                    s.sum += difference;
                    s.squares += difference * difference;
                }
                gr_put(y + at, gr_activate(f, e ? e->a : 0, value), stream);
            }
        }
        if (statistics) {
            float *to = statistics + lane;
            gr_store(to, s.pivot);
            gr_store(to + k, first ? s.sum : gr_load(to + k) + s.sum);
            gr_store(to + 2 * (int64_t)k, first ? s.squares : gr_load(to + 2 * (int64_t)k) + s.squares);
        }
    }
}

static void output(int h, int w, int k, int row, int column, const float *planes, int64_t plane,
                   int64_t panel, const struct gr_epilogue *e, const float *residual, float *y,
                   float *statistics, bool first, bool stream) {
#define TILE(f, statistics)                                                                                  \
    output_tile(h, w, k, row, column, planes, plane, panel, e, residual, y, f, statistics, first, stream)
    switch (e ? e->activation : GR_IDENTITY) {
    case GR_RELU:
        TILE(GR_RELU, NULL);
        break;
    case GR_RELU6:
        TILE(GR_RELU6, NULL);
        break;
    case GR_LEAKY_RELU:
        TILE(GR_LEAKY_RELU, NULL);
        break;
    default:
        if (statistics)
            TILE(GR_IDENTITY, statistics);
        else
            TILE(GR_IDENTITY, NULL);
    }
#undef TILE
    if (stream)
        gr_stream_end();
}

GR_ALWAYS void adjoint_tile(int w, int c, int column, const float *planes, int64_t plane, int64_t panel,
                            float *const rows[6], const bool add[6], bool left, bool inside) {
    for (int lane = 0; lane < c; lane += GR_W) {
        const float *from = planes + panel_at(lane, panel);
        gr_vec d[36], x[6];
        UNROLL
        for (int j = 0; j < 6; j++) {
            UNROLL
            for (int i = 0; i < 6; i++)
                x[i] = gr_load(from + (6 * i + j) * plane);
            adjoint_1d(x, d + j, 6);
        }
        UNROLL
        for (int i = 0; i < 6; i++) {
            if (!inside && !rows[i])
                continue;
            float *to = rows[i] + (int64_t)column * c + lane;
            adjoint_1d(d + 6 * i, x, 1);
            UNROLL
            for (int j = 0; j < 6; j++)
                if (inside || (column + j >= 0 && column + j < w))
                    gr_store(to + j * c, add[i] || (j < 2 && left) ? gr_load(to + j * c) + x[j] : x[j]);
        }
    }
}

static void adjoint(int w, int c, int column, const float *planes, int64_t plane, int64_t panel,
                    float *const rows[6], const bool add[6], bool left) {
    bool inside = column >= 0 && column + 6 <= w;
    for (int i = 0; i < 6; i++)
        inside = inside && rows[i];
    if (inside)
        adjoint_tile(w, c, column, planes, plane, panel, rows, add, left, true);
    else
        adjoint_tile(w, c, column, planes, plane, panel, rows, add, left, false);
}

static const float G[6][3] = {
    {1, 0, 0},
    {-2.0f / 3, -1.41421356237309504880f / 3, -1.0f / 3},
    {-2.0f / 3, 1.41421356237309504880f / 3, -1.0f / 3},
    {1.0f / 6, 1.41421356237309504880f / 6, 1.0f / 3},
    {1.0f / 6, -1.41421356237309504880f / 6, 1.0f / 3},
    {0, 0, 1},
};

static void filter(int inner, int width, int row, const float *g, float *u, int64_t plane) {
    const gr_vec a = gr_splat(G[row][0]), b = gr_splat(G[row][1]), c = gr_splat(G[row][2]);
    for (int i = 0; i < inner; i++, g += 9 * width, u += width)
        for (int k = 0; k < width; k += GR_W) {
            gr_vec x[3];
            UNROLL
            for (int s = 0; s < 3; s++)
                x[s] = a * gr_load(g + s * width + k) + b * gr_load(g + (3 + s) * width + k) +
                       c * gr_load(g + (6 + s) * width + k);
            gr_vec near = x[0] * (-2.0f / 3) - x[2] * (1.0f / 3), far = x[0] * (1.0f / 6) + x[2] * (1.0f / 3);
            gr_store(u + k, x[0]);
            gr_store(u + plane + k, near - x[1] * (Q / 3));
            gr_store(u + 2 * plane + k, near + x[1] * (Q / 3));
            gr_store(u + 3 * plane + k, far + x[1] * (Q / 6));
            gr_store(u + 4 * plane + k, far - x[1] * (Q / 6));
            gr_store(u + 5 * plane + k, x[2]);
        }
}

static void filter_gradient(int inner, int width, const float *u, int64_t plane, float *g, bool accumulate) {
    for (int i = 0; i < inner; i++, g += 9 * width, u += width)
        for (int k = 0; k < width; k += GR_W) {
            gr_vec d[18], x[6];
            UNROLL
            for (int j = 0; j < 6; j++) {
                UNROLL
                for (int e = 0; e < 6; e++)
                    x[e] = gr_load(u + (6 * e + j) * plane + k);
                filter_gradient_1d(x, d + j, 6);
            }
            UNROLL
            for (int r = 0; r < 3; r++) {
                filter_gradient_1d(d + 6 * r, x, 1);
                UNROLL
                for (int s = 0; s < 3; s++) {
                    float *to = g + (3 * r + s) * width + k;
                    gr_store(to, accumulate ? gr_load(to) + x[s] : x[s]);
                }
            }
        }
}

const struct gr_winograd_kernels GR_SIMD_SYMBOL(gr_winograd_kernels) = {
    .input = input,
    .gradient = gradient,
    .output = output,
    .adjoint = adjoint,
    .filter = filter,
    .filter_gradient = filter_gradient,
};
