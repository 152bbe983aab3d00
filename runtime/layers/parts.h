/* What several kinds of layer share: texts and limits of shapes, and windows that slide over a photo. */
#ifndef GRAFT_LAYERS_PARTS_H
#define GRAFT_LAYERS_PARTS_H

#include "net/layer.h"

/* "[64,7,7]", or "[512]" for a flat one. Returns out. */
const char *gr_layer_shape_text(struct gr_shape shape, char out[48]);

/* GR_ERROR_LIMIT unless every size is at least 1 and a photo has fewer than 2^31 values. */
int gr_layer_shape_limit(struct gr_shape shape);

/* GR_ERROR_SHAPE when the input is flat: a kind with windows needs rows and columns. */
int gr_layer_wants_photo(const struct gr_layer *layer, struct gr_shape in);

/* GR_ERROR_SHAPE when the layer already has a parameter of this role whose first dimension is not in.c. */
int gr_layer_channels_fit(const struct gr_layer *layer, const char *role, struct gr_shape in);

/* Options that differ from call to call only in name and range. */
enum { GR_LAYER_MAX_SIDE = 1 << 14, GR_LAYER_MAX_CHANNELS = 1 << 24 };

/* A window that slides over rows (index 0) and columns (1). */
struct gr_window {
    int kernel[2], stride[2], dilation[2];
    struct gr_padding padding;
    bool ceil; /* a last window that hangs over the edge counts, if it starts inside the photo or its top
                  padding */
};

/* Sets h and w of *out. GR_ERROR_SHAPE: "kernel 7x7 with padding 0 does not fit a 5x5 input". */
int gr_window_output(const struct gr_window *window, struct gr_shape in, struct gr_shape *out);

/* The padding in pixels: "same" becomes numbers. */
struct gr_padding gr_window_padding(const struct gr_window *window, struct gr_shape in, struct gr_shape out);

/* The layer's own parameter as floats, or NULL when it has none of that role. */
const float *gr_layer_floats(const struct gr_layer *layer, const char *role);

/* Where the gradient of parameter i goes, or NULL when it is not wanted. */
static inline float *gr_pass_gradient(const struct gr_pass *pass, int i) {
    return pass->gp && i < pass->layer->param_count ? pass->gp[i] : NULL;
}

/* Photos times pixels, and photos times values, of an activation. */
static inline int64_t gr_pass_rows(const struct gr_pass *pass, struct gr_shape shape) {
    return (int64_t)pass->n * shape.h * shape.w;
}
static inline int64_t gr_pass_count(const struct gr_pass *pass, struct gr_shape shape) {
    return pass->n * gr_shape_size(shape);
}

/* y (=, +=) x over a whole activation; nothing happens when y is x and accumulate is false. */
void gr_pass_copy(const struct gr_pass *pass, struct gr_shape shape, const float *x, float *y,
                  bool accumulate);

/* Passes the output's gradient on to input i as it is. */
void gr_pass_gradient_on(const struct gr_pass *pass, int i);

#endif
