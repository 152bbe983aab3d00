/* Element by element, with broadcasting as in NumPy: shapes are matched from the last dimension, and a
 * missing dimension or one of size 1 is repeated. Operands are float32 (GR_ERROR_OPTION otherwise). A result
 * `out` is new and belongs to the caller; functions named _in_place write into their first argument. */
#ifndef GRAFT_TENSOR_ARITHMETIC_H
#define GRAFT_TENSOR_ARITHMETIC_H

#include "tensor/tensor.h"

enum gr_unary {
    GR_UNARY_EXP,
    GR_UNARY_LOG,
    GR_UNARY_SQRT,
    GR_UNARY_ABS,
    GR_UNARY_NEG,
    GR_UNARY_SIGN,
    GR_UNARY_SQUARE,
    GR_UNARY_TANH,
    GR_UNARY_SIGMOID,
    GR_UNARY_RELU,
    GR_UNARY_ROUND, /* halves to the even neighbour */
    GR_UNARY_FLOOR,
    GR_UNARY_CEIL,
    GR_UNARY_SIN,
    GR_UNARY_COS,
    GR_UNARY_COUNT
};

enum gr_binary {
    GR_BINARY_ADD,
    GR_BINARY_SUB,
    GR_BINARY_MUL,
    GR_BINARY_DIV,
    GR_BINARY_POW,
    GR_BINARY_MAXIMUM, /* not a number wins, in both */
    GR_BINARY_MINIMUM,
    GR_BINARY_EQ, /* comparisons give 0 or 1 */
    GR_BINARY_NE,
    GR_BINARY_LT,
    GR_BINARY_LE,
    GR_BINARY_GT,
    GR_BINARY_GE,
    GR_BINARY_COUNT
};

/* "exp", "add" ...: the names that users know the operations by. */
const char *gr_unary_name(enum gr_unary op);
const char *gr_binary_name(enum gr_binary op);

int gr_unary(struct gr_tensor *out, enum gr_unary op, const struct gr_tensor *a);
int gr_unary_in_place(struct gr_tensor *a, enum gr_unary op);

int gr_binary(struct gr_tensor *out, enum gr_binary op, const struct gr_tensor *a, const struct gr_tensor *b);
/* a op number, or number op a when number_first. */
int gr_binary_number(struct gr_tensor *out, enum gr_binary op, const struct gr_tensor *a, float number,
                     bool number_first);
/* a = a op b: b must broadcast to a's shape. b may be a view of a's own storage; it is copied then. An
 * expanded a, whose elements share memory, is GR_ERROR_SHAPE. */
int gr_binary_in_place(struct gr_tensor *a, enum gr_binary op, const struct gr_tensor *b);
int gr_binary_number_in_place(struct gr_tensor *a, enum gr_binary op, float number);

/* a where condition is not 0, b elsewhere; all three broadcast. */
int gr_where(struct gr_tensor *out, const struct gr_tensor *condition, const struct gr_tensor *a,
             const struct gr_tensor *b);
/* Values below low become low, above high high; not a number stays. */
int gr_clamp(struct gr_tensor *out, const struct gr_tensor *a, float low, float high);

/* Copies source into target's elements, repeated as in broadcasting; same dtype. Overlap is allowed. */
int gr_assign(struct gr_tensor *target, const struct gr_tensor *source);
/* Every element becomes the number (an integer tensor takes whole numbers only: GR_ERROR_NUMBER). */
int gr_assign_number(struct gr_tensor *target, double number);

/* Same shape and all values equal (so a tensor with NaN equals nothing, not even itself). */
int gr_equal(bool *equal, const struct gr_tensor *a, const struct gr_tensor *b);

/* The shape that all the tensors broadcast to. */
int gr_broadcast_shape(int *rank, int64_t *shape, const struct gr_tensor *const *tensors, int count);

/* GR_ERROR_OPTION unless the tensor is float32; checks the tensor as gr_tensor_check does. */
int gr_float_check(const struct gr_tensor *tensor);
/* The same for a tensor about to be written: its elements must not share memory. */
int gr_writable_check(const struct gr_tensor *tensor);

#endif
