/* Views: other shapes over the same storage. A view holds a reference, so its source may be released first.
 *
 * Dimensions and indices count from 0 here; messages count from 1, as users do. `out` is overwritten and must
 * not be the tensor that is looked at. */
#ifndef GRAFT_TENSOR_VIEW_H
#define GRAFT_TENSOR_VIEW_H

#include "tensor/tensor.h"

/* One index along a dimension, which disappears: [N,C,H,W] select(0, i) is [C,H,W]. */
int gr_tensor_select(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, int64_t index);
/* `length` indices from `first` on along a dimension, which stays. Length 0 is allowed. */
int gr_tensor_slice(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, int64_t first,
                    int64_t length);
/* Dimension d of the result is dimension order[d] of the tensor; every dimension once. */
int gr_tensor_permute(struct gr_tensor *out, const struct gr_tensor *tensor, const int *order);
int gr_tensor_transpose(struct gr_tensor *out, const struct gr_tensor *tensor, int a, int b);
/* The same elements in row-major order under another shape; one size may be -1 and follows from the others.
 * gr_tensor_view refuses (GR_ERROR_SHAPE) when the strides do not allow it; gr_tensor_reshape copies then. */
int gr_tensor_view(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape);
int gr_tensor_reshape(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape);
/* Repeats dimensions of size 1, and new ones in front, without copying. Such a view cannot be written to. It
 * costs no memory, but each use of it costs time: GR_ERROR_LIMIT beyond this many elements. */
#define GR_MOST_EXPANDED ((int64_t)1 << 31)
int gr_tensor_expand(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape);
/* Puts in a dimension of size 1 (dim 0..rank), or takes one out. */
int gr_tensor_unsqueeze(struct gr_tensor *out, const struct gr_tensor *tensor, int dim);
int gr_tensor_squeeze(struct gr_tensor *out, const struct gr_tensor *tensor, int dim);

/* GR_ERROR_SHAPE unless 0 <= dim < rank. */
int gr_dim_check(const struct gr_tensor *tensor, int dim);

#endif
