/* New float32 tensors from a rule, and tensors joined into one. */
#ifndef GRAFT_TENSOR_FILL_H
#define GRAFT_TENSOR_FILL_H

#include "tensor/tensor.h"

/* All elements the same; gr_tensor_create gives zeros. */
int gr_full(struct gr_tensor *out, int rank, const int64_t *shape, float value);
/* first, first + step, ... `count` of them (shape [count]). */
int gr_range(struct gr_tensor *out, double first, double step, int64_t count);
/* [rows,columns]: 1 on the diagonal. */
int gr_eye(struct gr_tensor *out, int64_t rows, int64_t columns);
/* Uniform in [low, high), or normal. `draw` numbers the draws of one seed: another draw, other numbers. */
int gr_rand(struct gr_tensor *out, int rank, const int64_t *shape, float low, float high, uint64_t seed,
            uint64_t draw);
int gr_randn(struct gr_tensor *out, int rank, const int64_t *shape, float mean, float deviation,
             uint64_t seed, uint64_t draw);

/* One after the other along a dimension; the other sizes must agree. All of one dtype, count >= 1. */
int gr_concat(struct gr_tensor *out, const struct gr_tensor *const *tensors, int64_t count, int dim);
/* Side by side along a new dimension `dim` (0..rank); all of one shape. */
int gr_stack(struct gr_tensor *out, const struct gr_tensor *const *tensors, int64_t count, int dim);

#endif
