/* n-dimensional arrays in row-major order over shared storage.
 *
 * A tensor is a small value: a shape, strides and an offset into a reference-counted storage. Views share the
 * storage. Arithmetic is on 32-bit floats; 64-bit integers exist so that the counters of a weights file keep
 * their type. */
#ifndef GRAFT_TENSOR_TENSOR_H
#define GRAFT_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_MAX_RANK = 8 };
enum gr_dtype { GR_F32 = 0, GR_I64 = 1 };

struct gr_storage; /* bytes with a reference count and a length against which every access path is checked */

struct gr_tensor {
    struct gr_storage *storage; /* NULL: no tensor */
    enum gr_dtype dtype;
    int rank; /* 0..GR_MAX_RANK; 0 is a scalar */
    int64_t shape[GR_MAX_RANK];
    int64_t stride[GR_MAX_RANK]; /* in elements */
    int64_t offset;              /* in elements */
};

/* Elements of a shape: the one place where sizes are multiplied. GR_ERROR_SHAPE for a negative size or a rank
 * above GR_MAX_RANK, GR_ERROR_LIMIT when the bytes do not fit the address space. */
int gr_shape_count(int rank, const int64_t *shape, int64_t *count);

/* A new tensor of zeros. The caller owns it: gr_tensor_release. */
int gr_tensor_create(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape);
/* The same without filling it, for a result whose every element is written next. */
int gr_tensor_reserve(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape);
/* A tensor over memory that somebody else owns, contiguous. The owner calls gr_tensor_revoke before the
 * memory goes. */
int gr_tensor_borrow(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape,
                     void *memory);
/* Ends the borrowing: from now on gr_tensor_check refuses this tensor and every view of it. Does nothing to a
 * tensor that owns its storage. The reference itself is still released as usual. */
void gr_tensor_revoke(const struct gr_tensor *tensor);
/* Every operation calls this once for each tensor that it reads or writes: is there a tensor, is its memory
 * still there, do all elements that shape, strides and offset can reach lie inside it? */
int gr_tensor_check(const struct gr_tensor *tensor);
/* Another reference to the same storage (for a second owner). */
struct gr_tensor gr_tensor_retain(const struct gr_tensor *tensor);
/* Gives the reference up; sets *tensor to "no tensor". Allowed on "no tensor". */
void gr_tensor_release(struct gr_tensor *tensor);

int64_t gr_tensor_count(const struct gr_tensor *tensor); /* elements */
size_t gr_tensor_bytes(const struct gr_tensor *tensor);  /* elements * element size */
bool gr_tensor_contiguous(const struct gr_tensor *tensor);
/* The first element, to be used with the strides (or when contiguous); NULL when the tensor is of the other
 * dtype or its memory is gone. */
float *gr_tensor_floats(const struct gr_tensor *tensor);
int64_t *gr_tensor_integers(const struct gr_tensor *tensor);
/* The same, whatever the dtype. */
static inline void *gr_tensor_data(const struct gr_tensor *tensor) {
    return tensor->dtype == GR_F32 ? (void *)gr_tensor_floats(tensor) : (void *)gr_tensor_integers(tensor);
}
/* A contiguous tensor with the same values: a reference when it already is contiguous, else a copy. */
int gr_tensor_pack(struct gr_tensor *out, const struct gr_tensor *tensor);
/* Always a copy, contiguous. */
int gr_tensor_copy(struct gr_tensor *out, const struct gr_tensor *tensor);
/* A contiguous copy of another dtype. An integer that float32 cannot hold, or a float that is not an integer,
 * is GR_ERROR_NUMBER. */
int gr_tensor_cast(struct gr_tensor *out, const struct gr_tensor *tensor, enum gr_dtype dtype);
bool gr_tensor_same_shape(const struct gr_tensor *a, const struct gr_tensor *b);
/* "[64,3,7,7]" */
const char *gr_format_shape(int rank, const int64_t *shape, char out[96]);

#endif
