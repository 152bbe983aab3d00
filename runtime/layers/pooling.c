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
