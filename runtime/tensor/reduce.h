/* Reductions, sorting and softmax. Sums are kept in double precision, in an order that depends on shapes
 * alone. Dimensions and indices count from 0. Tensors are float32; results are new and belong to the caller.
 */
#ifndef GRAFT_TENSOR_REDUCE_H
#define GRAFT_TENSOR_REDUCE_H

#include "tensor/tensor.h"

enum gr_reduction {
    GR_REDUCE_SUM, /* 0 of nothing */
    GR_REDUCE_MEAN,
    GR_REDUCE_PROD, /* 1 of nothing */
    GR_REDUCE_MAX,  /* NaN if there is one; nothing to choose from is GR_ERROR_SHAPE */
    GR_REDUCE_MIN,
    GR_REDUCE_VAR, /* divides by n - 1 */
    GR_REDUCE_STD,
    GR_REDUCE_COUNT
};

const char *gr_reduction_name(enum gr_reduction op); /* "sum" ... */

/* Over all elements. */
int gr_reduce_all(double *out, enum gr_reduction op, const struct gr_tensor *tensor);
/* Along one dimension, which becomes 1 (keep) or disappears. */
int gr_reduce(struct gr_tensor *out, enum gr_reduction op, const struct gr_tensor *tensor, int dim,
              bool keep);

/* The place of the largest (or smallest) element, the first of equals; NaN wins. Over all elements it is the
 * place in row-major order; along a dimension *out is GR_I64. */
int gr_arg_all(int64_t *out, const struct gr_tensor *tensor, bool largest);
int gr_arg(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool keep, bool largest);

/* Indices (GR_I64) that sort each lane along a dimension; equals keep their order, NaN counts as the largest.
 */
int gr_argsort(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool descending);
/* The first k of that order, and their values. `values` may be NULL. */
int gr_topk(struct gr_tensor *indices, struct gr_tensor *values, const struct gr_tensor *tensor, int dim,
            int64_t k, bool largest);

/* exp(x) / sum(exp(x)) along a dimension, or its logarithm. */
int gr_tensor_softmax(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool logarithm);

#endif
