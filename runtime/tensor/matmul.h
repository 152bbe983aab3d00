/* Matrix products. */
#ifndef GRAFT_TENSOR_MATMUL_H
#define GRAFT_TENSOR_MATMUL_H

#include "tensor/tensor.h"

/* [M,K] by [K,N] is [M,N]. Dimensions before the last two are batches and broadcast: [B,M,K] by [K,N] is
 * [B,M,N]. A vector [K] is a row on the left and a column on the right, and that dimension disappears from
 * the result. Transposed views are multiplied as they lie. M, N and K must be below 2^31 (GR_ERROR_LIMIT). */
int gr_matmul(struct gr_tensor *out, const struct gr_tensor *a, const struct gr_tensor *b);

#endif
