/* One layer of a network, and the table of functions that makes a kind of layer.
 *
 * A kind is one file in runtime/layers/ that ends in one `const struct gr_layer_kind`, listed once in
 * layers/registry.c. Saving, loading, freezing, printing and planning walk what the kind reports; nothing
 * outside its file compares a kind with another. */
#ifndef GRAFT_NET_LAYER_H
#define GRAFT_NET_LAYER_H

#include "kernels/convolution.h"
#include "net/options.h"
#include "tensor/tensor.h"

/* Shape of one photo's activation. A flat one ([N,C]) has h = w = 1. In memory it is HWC. */
struct gr_shape {
    int c, h, w;
    bool flat;
};

static inline int64_t gr_shape_size(struct gr_shape s) {
    return (int64_t)s.c * s.h * s.w;
}

enum gr_init { /* how fresh values are drawn */
               GR_INIT_ZEROS,
               GR_INIT_ONES,
               GR_INIT_HE,      /* normal, variance 2 / fan_out (He et al. 2015), for convolutions */
               GR_INIT_UNIFORM, /* uniform in +-1 / sqrt(fan_in), PyTorch's default of linear layers and
                                   biases */
               GR_INIT_SMALL,   /* normal, deviation 0.01 (Krizhevsky et al. 2012), for classifiers */
};

/* One named tensor of a layer, in file layout ([O,I,kH,kW], [out,in], [C]). */
struct gr_param {
    char *name;       /* "layer4.1.conv2.weight" */
    const char *role; /* "weight", "bias", "running_mean" ...: the part after the layer's name */
    struct gr_tensor tensor;
    bool buffer; /* not trained by gradients (running statistics, counters) */
    bool decays; /* weight decay applies (not to biases and norms) */
    enum gr_init init;
    int fan_in, fan_out; /* for init */
    uint64_t version;    /* grows with every change; packed copies compare it. See gr_param_touch. */
};

struct gr_layer {
    char *name; /* "layer4.1.conv2"; layers without weights get one like "relu_3" */
    const struct gr_layer_kind *kind;
    void *options;            /* kind->options_size bytes */
    struct gr_layer **inputs; /* layers whose outputs it reads, all earlier in the network */
    int input_count;
    int index;             /* position in the network's list */
    struct gr_shape shape; /* output for the network's own input size */
    struct gr_param *params;
    int param_count;
    bool frozen;     /* runs in inference mode; its tensors are never written */
    bool fixed_norm; /* trainable, but running statistics are held (bn = "fixed") */
    bool head;       /* part of the main classifier */
    bool aux;        /* part of an auxiliary classifier */
    float lr_scale;  /* multiplies the learning rate; > 0 */
    char *source;    /* where its values came from: a file name, or NULL for random ones */
};

/* Records that the values changed, so that packed copies are made anew. */
void gr_param_touch(struct gr_param *param);

/* The parameter of this role, or NULL. */
struct gr_param *gr_layer_param(const struct gr_layer *layer, const char *role);

/* A parameter as a kind declares it. */
struct gr_param_spec {
    const char *role;
    enum gr_dtype dtype;
    int rank;
    int64_t shape[4];
    bool buffer, decays;
    enum gr_init init;
    int fan_in, fan_out;
};
enum { GR_MAX_PARAMS = 8, GR_MAX_INPUTS = 64, GR_MAX_KERNELS = 8 };

/* The sizes of one use of a layer in a plan. */
struct gr_geometry {
    int n; /* photos a batch holds at most */
    int threads;
    bool exact;                /* only kernels that round as a direct computation does */
    const struct gr_shape *in; /* one for each input */
    struct gr_shape out;
    float low, high;             /* of the first input, where the precision is int8 */
    enum gr_precision precision; /* that products may have at least; other than float32: forward only */
};

/* What a plan asks of a layer. */
struct gr_want {
    bool training;       /* batch statistics, dropout, running statistics */
    bool param_gradient; /* gradients of its parameters */
    bool input_gradient; /* gradient of at least one input */
    bool folded;         /* a norm after it is folded in: `pack` will get a scale */
};

/* A candidate kernel: number (the kind's own), name for the plan's table, estimated seconds for the whole
 * batch. */
struct gr_kernel_choice {
    int id;
    const char *name;
    double seconds;
};

enum gr_keep { GR_KEEP_NOTHING = 0, GR_KEEP_INPUTS = 1, GR_KEEP_OUTPUT = 2 };

/* Memory that a step needs. */
struct gr_needs {
    unsigned keep;    /* enum gr_keep bits: what backward reads of the forward pass */
    size_t saved;     /* bytes kept from forward to backward (arg max, masks, batch statistics) */
    size_t scratch;   /* bytes that forward or backward may overwrite */
    size_t packed;    /* floats of the packed copy of its weights */
    bool takes_norms; /* the kernel can apply a prologue to input 0 and take statistics of its output */
    bool statistics;  /* forward wants statistics of input 0 over the batch */
};

/* What forward and backward receive: pointers only; nothing is allocated in them. */
struct gr_pass {
    const struct gr_layer *layer;
    const struct gr_geometry *geometry;
    int n;                 /* photos in this batch, <= geometry->n */
    int kernel;            /* the chosen kernel's id */
    bool training;         /* as in gr_want */
    const float *const *x; /* inputs, [n,h,w,c]; NULL in backward when not kept */
    float *y;              /* output; in backward NULL when not kept */
    const float *packed;   /* what `pack` made, or NULL */
    const struct gr_epilogue *
        epilogue; /* for kinds with GR_TRAIT_EPILOGUE; its bias is the layer's own (folded), NULL for norms */
    const struct gr_prologue
        *prologue;    /* with needs.takes_norms: applied to x[0] in both directions; NULL: none */
    int64_t partials; /* partial sums of x[0] (kernels/norm.h); 0: none were taken */
    const float *statistics;
    void *saved, *scratch;
    const uint32_t *key; /* four words: the random stream of this layer and step */
    /* backward only */
    const float *gy;        /* gradient of the output */
    float *const *gx;       /* gradient of each input; an entry is NULL when not wanted */
    const bool *accumulate; /* for each input: add to gx instead of overwriting it */
    /* with GR_TRAIT_EPILOGUE_BACKWARD: gradient of the epilogue's residual, NULL when not wanted; may be gy
     */
    float *gresidual;
    bool accumulate_residual;
    float *const *gp; /* gradient of each parameter in file layout, overwritten; NULL entries: not wanted */
};

struct gr_operators; /* net/operators.h */

enum gr_trait {
    GR_TRAIT_EPILOGUE = 1, /* forward applies pass->epilogue */
    GR_TRAIT_INPLACE = 2,  /* forward may write y over x[0], backward gx[0] over gy */
    GR_TRAIT_IMPURE =
        4, /* in training mode the output depends on more than inputs and parameters, or on the batch */
    GR_TRAIT_MAIN_THREAD = 8, /* calls back into the program that embeds the runtime */
    GR_TRAIT_IDENTITY = 16,   /* in inference it passes its input on (dropout); a plan leaves it out */
    GR_TRAIT_ADD = 32,        /* y = x[0] + x[1]: can become the residual of an epilogue */
    GR_TRAIT_SCALED =
        64, /* pack multiplies by a scale per output channel: a norm behind it can be folded in */
    GR_TRAIT_DEFER = 256, /* y = f(scale * x + shift): forward leaves scale and shift, C floats each, at
                             `saved`, and writes no output when pass->y is NULL */
    GR_TRAIT_EPILOGUE_BACKWARD = 128, /* backward undoes the epilogue itself: pass->gy is the gradient of its
                result. Where the inputs are kept and nothing is added, it needs no output */
};

struct gr_layer_kind {
    const char *name;    /* "conv2d" */
    const char *summary; /* one line for the reference */
    unsigned traits;
    int inputs_min, inputs_max;
    size_t options_size;
    const struct gr_option *options; /* ends with a NULL name; NULL: no options */

    /* Output shape from input shapes; a pure function of options and arguments. GR_ERROR_SHAPE says what does
     * not fit; the caller adds the layer's name. Must also refuse inputs that its parameters do not fit
     * (layer->params exist unless it is being made). */
    int (*shape)(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out);

    /* Declares up to GR_MAX_PARAMS tensors; returns their number or a negative status. NULL: none. */
    int (*parameters)(const struct gr_layer *layer, const struct gr_shape *in, struct gr_param_spec *out);

    /* Candidate kernels (at most GR_MAX_KERNELS), returns their number. NULL: one kernel, id 0, named as the
     * kind. */
    int (*kernels)(const struct gr_layer *layer, const struct gr_geometry *geometry,
                   struct gr_kernel_choice *out);

    /* Memory for the chosen kernel. NULL: nothing. */
    void (*needs)(const struct gr_layer *layer, const struct gr_geometry *geometry,
                  const struct gr_want *want, int kernel, struct gr_needs *out);

    /* With needs.takes_norms: how many partial sums the statistics of n photos take. */
    int64_t (*partials)(const struct gr_layer *layer, const struct gr_geometry *geometry, int kernel, int n);

    /* Packs the weights, multiplied by scale[out channel] unless NULL. NULL function: nothing to pack. */
    void (*pack)(const struct gr_layer *layer, const struct gr_geometry *geometry, int kernel,
                 const float *scale, float *packed);

    int (*forward)(const struct gr_pass *pass);
    int (*backward)(
        const struct gr_pass *pass); /* NULL: no gradient exists (an error when one is asked for) */

    /* Properties that fusion works on; NULL when the kind has none. */
    /* A norm with fixed statistics as y = scale[c] * x + shift[c], c = out channels. */
    void (*affine)(const struct gr_layer *layer, float *scale, float *shift);
    /* The layer as an elementwise activation. */
    enum gr_activation (*activation)(const struct gr_layer *layer, float *a);
    /* The layer as a convolution: its kernels are those of kernels/convolution.h, and so is what `pack`
     * packs. */
    void (*convolution)(const struct gr_layer *layer, const struct gr_geometry *geometry,
                        struct gr_convolution *out);

    /* Multiply-adds of a forward pass over one photo. NULL: counted as none. */
    int64_t (*multiply_adds)(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape out);

    /* The layer in the words of ONNX, in inference mode, for the network's own input size. Failures are kept
     * in *to; what is returned besides is an error of the kind's own. NULL: there are none, so that a network
     * with such a layer cannot be exported (one with GR_TRAIT_IDENTITY is left out and needs none). */
    int (*operators)(const struct gr_layer *layer, struct gr_operators *to);
};

/* The kinds, in layers/registry.c: NULL-terminated. */
extern const struct gr_layer_kind *const gr_layer_kinds[];
/* The kind of this name, or NULL with GR_ERROR_NAME and the nearest one set. */
const struct gr_layer_kind *gr_layer_kind_find(const char *name);

#endif
