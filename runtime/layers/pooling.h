/* What max_pool and avg_pool share: their window and its shape rule; and what the global pools share. */
#ifndef GRAFT_LAYERS_POOLING_H
#define GRAFT_LAYERS_POOLING_H

#include "kernels/pool.h"
#include "layers/parts.h"
#include "net/operators.h"

struct gr_pooling_options {
    int kernel[2], stride[2]; /* a stride of 0 is the kernel's size */
    struct gr_padding padding;
    bool ceil;
    bool count_padding; /* avg_pool alone */
};

/* The rows of the option table that both have. */
#define GR_POOLING_OPTIONS                                                                                   \
    {"kernel", GR_OPTION_PAIR, offsetof(struct gr_pooling_options, kernel), true, 0, 1, GR_LAYER_MAX_SIDE},  \
        {"stride", GR_OPTION_PAIR,   offsetof(struct gr_pooling_options, stride), false, 0,                  \
         0,        GR_LAYER_MAX_SIDE},                                                                       \
        {"padding", GR_OPTION_PADDING, offsetof(struct gr_pooling_options, padding), false, 0,               \
         0,         GR_LAYER_MAX_SIDE},                                                                      \
    {                                                                                                        \
        "ceil", GR_OPTION_BOOL, offsetof(struct gr_pooling_options, ceil), false, 0, 0, 1                    \
    }

/* The `shape` function of both kinds. */
int gr_pooling_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out);

/* What the kernels want to know. */
struct gr_pooling gr_pooling_of(const struct gr_layer *layer, const struct gr_geometry *geometry);

/* The `operators` function of both, as the operator of type `type`. A last window that hangs over the edge
 * becomes padding: what ONNX calls ceil_mode is not counted alike everywhere. */
int gr_pooling_operators(const struct gr_layer *layer, const char *type, bool average,
                         struct gr_operators *to);

/* The `operators` function of the global pools: one that ONNX keeps as [C,1,1], and is flat unless `keep`. */
void gr_global_pool_operators(const char *type, bool keep, struct gr_operators *to);

#endif
