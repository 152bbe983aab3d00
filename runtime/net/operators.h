/* A network in the words of ONNX: a list of its standard operators (operator set 17) with their attributes
 * and constants, in an order in which everything is there before it is read. What the network is in other
 * programs; the bytes of the file are io/onnx.h's matter.
 *
 * Each kind of layer says its own part (`operators` in struct gr_layer_kind), as one operator or as several.
 * Values and constants are called so that no two names can be the same, whatever the layers are called:
 *
 *     image                    the network's input, [N,C,H,W]
 *     LAYER/output             what a layer gives; when the network gives it: logits, of a network without
 *                              classifier features, of an auxiliary classifier LAYER/logits
 *     LAYER/TAG                what stands between two operators of one layer, and constants of its own
 *     LAYER.ROLE               its parameters: the tensor's name in every other file
 */
#ifndef GRAFT_NET_OPERATORS_H
#define GRAFT_NET_OPERATORS_H

#include "net/network.h"

enum {
    GR_OPERATOR_SET = 17,
    GR_OPERATOR_ATTRIBUTES = 6,
    GR_OPERATOR_INTS = 4,
};

enum gr_attribute_type { GR_ATTRIBUTE_INT, GR_ATTRIBUTE_INTS, GR_ATTRIBUTE_FLOAT };

struct gr_attribute {
    const char *name;
    enum gr_attribute_type type;
    int count; /* of `ints` */
    int64_t ints[GR_OPERATOR_INTS];
    float value;
};

struct gr_operator {
    const char *type; /* "Conv" */
    char *name, *output;
    char **inputs;
    int input_count, input_capacity;
    struct gr_attribute attributes[GR_OPERATOR_ATTRIBUTES];
    int attribute_count;
};

struct gr_constant {
    char *name;
    struct gr_tensor tensor; /* contiguous; a parameter is a reference to the network's */
    int rank;                /* as the operator wants it; as many elements as the tensor has */
    int64_t shape[4];
};

struct gr_output {
    char *name;
    struct gr_shape shape;
};

struct gr_operators {
    struct gr_operator *items;
    int count, capacity;
    struct gr_constant *constants;
    int constant_count, constant_capacity;
    struct gr_output *outputs; /* the main classifier's first */
    int output_count;
    bool classifies;    /* the first output is logits */
    int64_t parameters; /* numbers that training would change */
    char **left_out;    /* layers that pass their input on (dropout) */
    int left_out_count;
    /* while it is made */
    const struct gr_network *net;
    const struct gr_layer *layer;
    char **values; /* what each layer of the network gives; NULL: not said yet */
    int status;    /* of the first failure: what follows does nothing */
};

/* Says the network; `with_aux`: its auxiliary classifiers too. A layer that has no words in ONNX (one written
 * in Lua) is GR_ERROR_OPTION with its name. The network must outlive *out and stay as it is:
 * gr_operators_free. */
int gr_operators_make(struct gr_operators *out, const struct gr_network *net, bool with_aux);
void gr_operators_free(struct gr_operators *operators); /* allowed on {0} */

/* --- for the kinds: each call speaks of the operator that was begun last --- */

/* Begins an operator of the layer. `tag` names its result for the layer's later operators; NULL: it is the
 * layer's result, and the last one. */
void gr_operator(struct gr_operators *to, const char *type, const char *tag);
/* It reads: input i of the layer; the result of the layer's operator of this tag; the parameter of this role
 * (nothing happens when the layer has none of it); the same as [C,1,1] beside rows and columns; numbers of
 * its own, which are copied. */
void gr_operator_input(struct gr_operators *to, int i);
void gr_operator_value(struct gr_operators *to, const char *tag);
void gr_operator_param(struct gr_operators *to, const char *role);
void gr_operator_channels(struct gr_operators *to, const char *role);
void gr_operator_floats(struct gr_operators *to, const char *tag, int rank, const int64_t *shape,
                        const float *values);
/* The same, all of one value. Rank 0: shape may be NULL. */
void gr_operator_filled(struct gr_operators *to, const char *tag, int rank, const int64_t *shape,
                        float value);
void gr_operator_integers(struct gr_operators *to, const char *tag, int count, const int64_t *values);
/* Attributes. */
void gr_operator_int(struct gr_operators *to, const char *name, int64_t value);
void gr_operator_ints(struct gr_operators *to, const char *name, int count, const int64_t *values);
void gr_operator_pair(struct gr_operators *to, const char *name, const int *pair);
void gr_operator_pads(struct gr_operators *to, const struct gr_padding *padding);
void gr_operator_float(struct gr_operators *to, const char *name, float value);
/* The shape of the layer's input i. */
struct gr_shape gr_operator_shape(const struct gr_operators *to, int i);

#endif
