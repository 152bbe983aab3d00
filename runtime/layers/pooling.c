#include "layers/pooling.h"

#include "base/status.h"

static struct gr_window window_of(const struct gr_pooling_options *o) {
    return (struct gr_window){
        .kernel = {o->kernel[0], o->kernel[1]},
        .stride = {o->stride[0] ? o->stride[0] : o->kernel[0], o->stride[1] ? o->stride[1] : o->kernel[1]},
        .dilation = {1, 1},
        .padding = o->padding,
        .ceil = o->ceil,
    };
}

int gr_pooling_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    const struct gr_pooling_options *o = layer->options;
    const struct gr_padding *p = &o->padding;
    struct gr_window window = window_of(o);
    GR_TRY(gr_layer_wants_photo(layer, *in));
    if (p->top >= o->kernel[0] || p->bottom >= o->kernel[0] || p->left >= o->kernel[1] ||
        p->right >= o->kernel[1])
        return gr_fail(
            GR_ERROR_SHAPE,
            "padding {%d,%d,%d,%d} must be smaller than the kernel %dx%d: a window would see no pixel",
            p->top, p->bottom, p->left, p->right, o->kernel[0], o->kernel[1]);
    out->c = in->c;
    GR_TRY(gr_window_output(&window, *in, out));
    return gr_layer_shape_limit(*out);
}

struct gr_pooling gr_pooling_of(const struct gr_layer *layer, const struct gr_geometry *geometry) {
    const struct gr_pooling_options *o = layer->options;
    struct gr_shape in = geometry->in[0], out = geometry->out;
    struct gr_window window = window_of(o);
    struct gr_padding padding = gr_window_padding(&window, in, out);
    return (struct gr_pooling){
        .h = in.h,
        .w = in.w,
        .c = in.c,
        .oh = out.h,
        .ow = out.w,
        .kh = window.kernel[0],
        .kw = window.kernel[1],
        .sh = window.stride[0],
        .sw = window.stride[1],
        .top = padding.top,
        .left = padding.left,
        .bottom = padding.bottom,
        .right = padding.right,
        .count_padding = o->count_padding,
    };
}

/* Rows and columns that the last windows reach beyond the photo and its padding. */
static struct gr_padding overhang(const struct gr_pooling *p) {
    int bottom = (p->oh - 1) * p->sh + p->kh - p->h - p->top - p->bottom;
    int right = (p->ow - 1) * p->sw + p->kw - p->w - p->left - p->right;
    return (struct gr_padding){.bottom = bottom > 0 ? bottom : 0, .right = right > 0 ? right : 0};
}

/* An average that counts its padding counts no overhang, so there the padding becomes part of the photo. */
int gr_pooling_operators(const struct gr_layer *layer, const char *type, bool average,
                         struct gr_operators *to) {
    struct gr_shape in = gr_operator_shape(to, 0);
    const struct gr_geometry geometry = {.in = &in, .out = layer->shape};
    struct gr_pooling p = gr_pooling_of(layer, &geometry);
    struct gr_padding padding = {.top = p.top, .bottom = p.bottom, .left = p.left, .right = p.right};
    struct gr_padding over = overhang(&p);
    int kernel[] = {p.kh, p.kw}, stride[] = {p.sh, p.sw};
    bool padded = p.top || p.bottom || p.left || p.right;
    bool count = average && padded && p.count_padding, apart = count && (over.bottom || over.right);
    if (apart) {
        int64_t pads[] = {0, 0, p.top, p.left, 0, 0, p.bottom, p.right};
        gr_operator(to, "Pad", "padded");
        gr_operator_input(to, 0);
        gr_operator_integers(to, "pads", 8, pads);
        padding = over;
    } else {
        padding.bottom += over.bottom;
        padding.right += over.right;
    }
    gr_operator(to, type, NULL);
    if (apart)
        gr_operator_value(to, "padded");
    else
        gr_operator_input(to, 0);
    if (average)
        gr_operator_int(to, "count_include_pad", count && !apart);
    gr_operator_pair(to, "kernel_shape", kernel);
    gr_operator_pads(to, &padding);
    gr_operator_pair(to, "strides", stride);
    return GR_OK;
}

void gr_global_pool_operators(const char *type, bool keep, struct gr_operators *to) {
    gr_operator(to, type, keep ? NULL : "pooled");
    gr_operator_input(to, 0);
    if (keep)
        return;
    gr_operator(to, "Flatten", NULL);
    gr_operator_value(to, "pooled");
    gr_operator_int(to, "axis", 1);
}
