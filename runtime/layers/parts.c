#include "layers/parts.h"

#include <stdio.h>
#include "base/status.h"
#include "kernels/elementwise.h"

const char *gr_layer_shape_text(struct gr_shape shape, char out[48]) {
    if (shape.flat)
        snprintf(out, 48, "[%d]", shape.c);
    else
        snprintf(out, 48, "[%d,%d,%d]", shape.c, shape.h, shape.w);
    return out;
}

int gr_layer_shape_limit(struct gr_shape shape) {
    char text[48];
    if (shape.c < 1 || shape.h < 1 || shape.w < 1)
        return gr_fail(GR_ERROR_SHAPE, "every size of an output must be at least 1, got %s",
                       gr_layer_shape_text(shape, text));
    if (shape.c > INT32_MAX / shape.h || (int64_t)shape.c * shape.h > INT32_MAX / shape.w)
        return gr_fail(GR_ERROR_LIMIT, "an output may have fewer than 2^31 values a photo, got %s",
                       gr_layer_shape_text(shape, text));
    return GR_OK;
}

int gr_layer_wants_photo(const struct gr_layer *layer, struct gr_shape in) {
    char text[48];
    if (!in.flat)
        return GR_OK;
    return gr_fail(GR_ERROR_SHAPE, "%s needs an input with rows and columns, [C,H,W], got the flat %s",
                   layer->kind->name, gr_layer_shape_text(in, text));
}

int gr_layer_channels_fit(const struct gr_layer *layer, const char *role, struct gr_shape in) {
    const struct gr_param *param = gr_layer_param(layer, role);
    char text[48];
    if (!param || (param->tensor.rank >= 1 && param->tensor.shape[0] == in.c))
        return GR_OK;
    return gr_fail(GR_ERROR_SHAPE, "its %s is for %lld channels, got the input %s", role,
                   param->tensor.rank >= 1 ? (long long)param->tensor.shape[0] : 0LL,
                   gr_layer_shape_text(in, text));
}

const float *gr_layer_floats(const struct gr_layer *layer, const char *role) {
    const struct gr_param *param = gr_layer_param(layer, role);
    return param ? gr_tensor_floats(&param->tensor) : NULL;
}

static const char *padding_text(const struct gr_padding *p, char out[64]) {
    if (p->same)
        snprintf(out, 64, "\"same\"");
    else if (p->top == p->bottom && p->left == p->right && p->top == p->left)
        snprintf(out, 64, "%d", p->top);
    else
        snprintf(out, 64, "{%d,%d,%d,%d}", p->top, p->bottom, p->left, p->right);
    return out;
}

static int64_t extent(const struct gr_window *window, int axis) {
    return (int64_t)(window->kernel[axis] - 1) * window->dilation[axis] + 1;
}

/* Positions of the window along one axis; 0 or less: it does not fit. The rule of the last window is
 * PyTorch's. */
static int64_t positions(const struct gr_window *window, int axis, int64_t size, int64_t before,
                         int64_t after) {
    int64_t stride = window->stride[axis];
    if (window->padding.same)
        return (size + stride - 1) / stride;
    int64_t room = size + before + after - extent(window, axis) + (window->ceil ? stride - 1 : 0);
    if (room < 0)
        return 0;
    int64_t count = room / stride + 1;
    if (window->ceil && (count - 1) * stride >= size + before)
        count--;
    return count;
}

int gr_window_output(const struct gr_window *window, struct gr_shape in, struct gr_shape *out) {
    const struct gr_padding *p = &window->padding;
    int64_t h = positions(window, 0, in.h, p->top, p->bottom);
    int64_t w = positions(window, 1, in.w, p->left, p->right);
    if (h < 1 || w < 1) {
        char padding[64], dilation[48] = "";
        if (window->dilation[0] > 1 || window->dilation[1] > 1)
            snprintf(dilation, sizeof dilation, ", dilation %dx%d", window->dilation[0], window->dilation[1]);
        return gr_fail(GR_ERROR_SHAPE, "kernel %dx%d with padding %s%s does not fit a %dx%d input",
                       window->kernel[0], window->kernel[1], padding_text(p, padding), dilation, in.h, in.w);
    }
    if (h > INT32_MAX || w > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "an output of %lldx%lld pixels is too large", (long long)h,
                       (long long)w);
    out->h = (int)h;
    out->w = (int)w;
    out->flat = false;
    return GR_OK;
}

static void same_padding(const struct gr_window *window, int axis, int in, int out, int *before, int *after) {
    int64_t total = (int64_t)(out - 1) * window->stride[axis] + extent(window, axis) - in;
    if (total < 0)
        total = 0;
    *before = (int)(total / 2);
    *after = (int)(total - total / 2);
}

struct gr_padding gr_window_padding(const struct gr_window *window, struct gr_shape in, struct gr_shape out) {
    struct gr_padding p = window->padding;
    if (p.same) {
        p.same = false;
        same_padding(window, 0, in.h, out.h, &p.top, &p.bottom);
        same_padding(window, 1, in.w, out.w, &p.left, &p.right);
    }
    return p;
}

void gr_pass_copy(const struct gr_pass *pass, struct gr_shape shape, const float *x, float *y,
                  bool accumulate) {
    if (accumulate || x != y)
        gr_copy_channels(gr_pass_rows(pass, shape), shape.c, x, shape.c, 0, y, shape.c, 0, accumulate);
}

void gr_pass_gradient_on(const struct gr_pass *pass, int i) {
    if (pass->gx[i])
        gr_pass_copy(pass, pass->geometry->out, pass->gy, pass->gx[i], pass->accumulate[i]);
}
