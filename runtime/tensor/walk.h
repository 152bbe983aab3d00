/* Walks over the elements of up to four tensors of one shape, whatever their strides: the loop under all
 * element-wise work. Adjacent dimensions that lie evenly in every operand are merged, so that contiguous
 * tensors are one long row; large walks are cut into pieces that run in the thread pool. */
#ifndef GRAFT_TENSOR_WALK_H
#define GRAFT_TENSOR_WALK_H

#include <stdbool.h>

#include "tensor/tensor.h"

enum { GR_WALK_OPERANDS = 4 };

/* Handles n elements: operand k's elements lie at at[k], stride[k] elements apart. It may run in any thread
 * and writes nothing but its own elements of the output. */
typedef void gr_walk_row(const void *context, int64_t n, char *const *at, const int64_t *stride);

struct gr_walk {
    int operands, rank;
    bool interruptible; /* rows that have not begun are left out once somebody wishes to stop
                         * (base/interrupt.h)
                         */
    int64_t shape[GR_MAX_RANK];
    int64_t stride[GR_WALK_OPERANDS][GR_MAX_RANK]; /* in elements */
    char *base[GR_WALK_OPERANDS];
    int size[GR_WALK_OPERANDS]; /* bytes of an element */
};

/* A walk over `shape` without operands. */
struct gr_walk gr_walk(int rank, const int64_t *shape);
/* Adds a tensor that was checked (gr_tensor_check) and that broadcasts to the walk's shape: dimensions are
 * matched from the last, a missing one or one of size 1 is repeated. */
void gr_walk_add(struct gr_walk *walk, const struct gr_tensor *tensor);
/* Adds one number that every element sees. It must outlive the walk. */
void gr_walk_add_number(struct gr_walk *walk, const float *number);
/* Calls row until every element was visited once. */
void gr_walk_run(struct gr_walk *walk, gr_walk_row *row, const void *context);
/* The same for a result that nobody holds yet: GR_ERROR_INTERRUPT when somebody wished to stop, and `out`,
 * the walk's first operand, is released. */
int gr_walk_make(struct gr_walk *walk, gr_walk_row *row, const void *context, struct gr_tensor *out);

/* A lane is what remains of a tensor when all indices but the one along `dim` are held; lanes are numbered in
 * row-major order of the other indices. */
int64_t gr_lane_count(const struct gr_tensor *tensor, int dim);
/* Elements from the tensor's first element to the lane's first; the lane goes on by tensor->stride[dim]. */
int64_t gr_lane_offset(const struct gr_tensor *tensor, int dim, int64_t lane);
/* Calls body once a lane, in any thread; it writes nothing but what belongs to its lane of `out`, which is
 * released with GR_ERROR_INTERRUPT when somebody wished to stop (base/interrupt.h). */
int gr_lanes_make(const struct gr_tensor *tensor, int dim, void (*body)(void *context, int64_t lane),
                  void *context, struct gr_tensor *out);

#endif
