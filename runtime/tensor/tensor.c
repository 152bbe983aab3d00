/* Storage, shapes, and the checks that every operation begins with. */
#include "tensor/tensor.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "tensor/rows.h"
#include "tensor/walk.h"

struct gr_storage {
    atomic_int references;
    bool borrowed;
    size_t bytes; /* 0 once revoked */
    char *data;   /* NULL once revoked */
};

/* The numbers follow the header in the same block, on a boundary of their own. */
enum { HEADER = (sizeof(struct gr_storage) + GR_ALIGNMENT - 1) / GR_ALIGNMENT * GR_ALIGNMENT };

static size_t element_size(enum gr_dtype dtype) {
    return dtype == GR_F32 ? sizeof(float) : sizeof(int64_t);
}

int gr_shape_count(int rank, const int64_t *shape, int64_t *count) {
    char text[96];
    if (rank < 0 || rank > GR_MAX_RANK)
        return gr_fail(GR_ERROR_SHAPE, "a tensor has 0 to %d dimensions, not %d", GR_MAX_RANK, rank);
    /* Strides are products of the other sizes, so these must fit even when one size is 0. */
    int64_t product = 1, most = PTRDIFF_MAX / (int64_t)sizeof(int64_t);
    bool empty = false;
    for (int d = 0; d < rank; d++) {
        if (shape[d] < 0)
            return gr_fail(GR_ERROR_SHAPE, "dimension %d of a shape is %lld; it must be 0 or more", d + 1,
                           (long long)shape[d]);
        if (shape[d] == 0)
            empty = true;
        else if (product > most / shape[d])
            return gr_fail(GR_ERROR_LIMIT, "a tensor of shape %s does not fit the memory of any machine",
                           gr_format_shape(rank, shape, text));
        else
            product *= shape[d];
    }
    *count = empty ? 0 : product;
    return GR_OK;
}

static int start(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape, size_t *bytes) {
    int64_t count = 0, stride = 1;
    memset(out, 0, sizeof *out);
    GR_TRY(gr_shape_count(rank, shape, &count));
    out->dtype = dtype;
    out->rank = rank;
    for (int d = rank - 1; d >= 0; d--) {
        out->shape[d] = shape[d];
        out->stride[d] = stride;
        stride *= shape[d] ? shape[d] : 1;
    }
    *bytes = (size_t)count * element_size(dtype);
    return GR_OK;
}

static int create(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape, bool zeros) {
    struct gr_tensor made;
    size_t bytes = 0, whole = 0;
    memset(out, 0, sizeof *out);
    GR_TRY(start(&made, dtype, rank, shape, &bytes));
    if (!gr_size_add(HEADER, bytes, &whole))
        return gr_fail(GR_ERROR_LIMIT, "a tensor of %zu bytes does not fit the address space", bytes);
    struct gr_storage *storage = zeros ? gr_calloc(1, whole) : gr_alloc(whole);
    if (!storage)
        return gr_error()->code;
    atomic_init(&storage->references, 1);
    storage->borrowed = false;
    storage->bytes = bytes;
    storage->data = (char *)storage + HEADER;
    made.storage = storage;
    *out = made;
    return GR_OK;
}

int gr_tensor_create(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape) {
    return create(out, dtype, rank, shape, true);
}

int gr_tensor_reserve(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape) {
    return create(out, dtype, rank, shape, false);
}

int gr_tensor_borrow(struct gr_tensor *out, enum gr_dtype dtype, int rank, const int64_t *shape,
                     void *memory) {
    struct gr_tensor made;
    size_t bytes = 0;
    memset(out, 0, sizeof *out);
    GR_TRY(start(&made, dtype, rank, shape, &bytes));
    struct gr_storage *storage = gr_alloc(sizeof *storage);
    if (!storage)
        return gr_error()->code;
    atomic_init(&storage->references, 1);
    storage->borrowed = true;
    storage->bytes = bytes;
    storage->data = memory;
    made.storage = storage;
    *out = made;
    return GR_OK;
}

void gr_tensor_revoke(const struct gr_tensor *tensor) {
    if (tensor->storage && tensor->storage->borrowed) {
        tensor->storage->bytes = 0;
        tensor->storage->data = NULL;
    }
}

struct gr_tensor gr_tensor_retain(const struct gr_tensor *tensor) {
    if (tensor->storage)
        atomic_fetch_add_explicit(&tensor->storage->references, 1, memory_order_relaxed);
    return *tensor;
}

void gr_tensor_release(struct gr_tensor *tensor) {
    struct gr_storage *storage = tensor->storage;
    memset(tensor, 0, sizeof *tensor);
    if (storage && atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel) == 1)
        gr_free(storage);
}

int gr_tensor_check(const struct gr_tensor *tensor) {
    char text[96];
    if (!tensor->storage)
        return gr_fail(GR_ERROR_OPTION, "this tensor was closed");
    if (!tensor->storage->data)
        return gr_fail(GR_ERROR_OPTION, "this tensor was lent for one call, which is over; "
                                        "x:clone() inside the call keeps the values");
    if (tensor->rank < 0 || tensor->rank > GR_MAX_RANK)
        return gr_fail(GR_ERROR_SHAPE, "a tensor has 0 to %d dimensions, not %d", GR_MAX_RANK, tensor->rank);
    int64_t last = tensor->offset, reach;
    bool empty = false, inside = last >= 0;
    for (int d = 0; d < tensor->rank; d++) {
        inside = inside && tensor->shape[d] >= 0 && tensor->stride[d] >= 0;
        empty = empty || tensor->shape[d] == 0;
    }
    for (int d = 0; d < tensor->rank && inside && !empty; d++)
        inside = !__builtin_mul_overflow(tensor->shape[d] - 1, tensor->stride[d], &reach) &&
                 !__builtin_add_overflow(last, reach, &last);
    size_t elements = tensor->storage->bytes / element_size(tensor->dtype);
    if (!inside || (!empty && (uint64_t)last >= elements))
        return gr_fail(GR_ERROR_SHAPE, "a view of shape %s reaches beyond its storage of %zu elements",
                       gr_format_shape(tensor->rank, tensor->shape, text), elements);
    return GR_OK;
}

int64_t gr_tensor_count(const struct gr_tensor *tensor) {
    int64_t count = 1;
    for (int d = 0; d < tensor->rank; d++)
        count *= tensor->shape[d];
    return count;
}

size_t gr_tensor_bytes(const struct gr_tensor *tensor) {
    return (size_t)gr_tensor_count(tensor) * element_size(tensor->dtype);
}

bool gr_tensor_contiguous(const struct gr_tensor *tensor) {
    int64_t stride = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        if (tensor->shape[d] != 1 && tensor->stride[d] != stride)
            return gr_tensor_count(tensor) == 0;
        stride *= tensor->shape[d];
    }
    return true;
}

float *gr_tensor_floats(const struct gr_tensor *tensor) {
    if (!tensor->storage || !tensor->storage->data || tensor->dtype != GR_F32)
        return NULL;
    return (float *)tensor->storage->data + tensor->offset;
}

int64_t *gr_tensor_integers(const struct gr_tensor *tensor) {
    if (!tensor->storage || !tensor->storage->data || tensor->dtype != GR_I64)
        return NULL;
    return (int64_t *)tensor->storage->data + tensor->offset;
}

bool gr_tensor_same_shape(const struct gr_tensor *a, const struct gr_tensor *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]) == 0;
}

int gr_tensor_copy(struct gr_tensor *out, const struct gr_tensor *tensor) {
    struct gr_tensor from = *tensor; /* `out` may be the variable that `tensor` points to */
    GR_TRY(gr_tensor_check(&from));
    GR_TRY(gr_tensor_reserve(out, from.dtype, from.rank, from.shape));
    struct gr_walk walk = gr_walk(out->rank, out->shape);
    gr_walk_add(&walk, out);
    gr_walk_add(&walk, &from);
    gr_walk_run(&walk, from.dtype == GR_F32 ? gr_row_copy_floats : gr_row_copy_integers, NULL);
    return GR_OK;
}

int gr_tensor_pack(struct gr_tensor *out, const struct gr_tensor *tensor) {
    if (!gr_tensor_contiguous(tensor))
        return gr_tensor_copy(out, tensor);
    GR_TRY(gr_tensor_check(tensor));
    *out = gr_tensor_retain(tensor);
    return GR_OK;
}

/* 2^63 as a float: the first value above every 64-bit integer. */
static const float INTEGER_END = 9223372036854775808.0f;

static int cast_values(struct gr_tensor *out, const struct gr_tensor *packed) {
    int64_t count = gr_tensor_count(packed);
    for (int64_t i = 0; i < count && out->dtype == GR_F32; i++) {
        int64_t value = gr_tensor_integers(packed)[i];
        float number = (float)value;
        if (number >= INTEGER_END || (int64_t)number != value)
            return gr_fail(GR_ERROR_NUMBER, "the integer %lld (element %lld) does not fit float32 exactly",
                           (long long)value, (long long)i + 1);
        gr_tensor_floats(out)[i] = number;
    }
    for (int64_t i = 0; i < count && out->dtype == GR_I64; i++) {
        float number = gr_tensor_floats(packed)[i];
        if (!(number >= -INTEGER_END && number < INTEGER_END) || truncf(number) != number)
            return gr_fail(GR_ERROR_NUMBER, "%g (element %lld) is not an integer", (double)number,
                           (long long)i + 1);
        gr_tensor_integers(out)[i] = (int64_t)number;
    }
    return GR_OK;
}

int gr_tensor_cast(struct gr_tensor *out, const struct gr_tensor *tensor, enum gr_dtype dtype) {
    struct gr_tensor packed = {0}, made = {0};
    if (tensor->dtype == dtype)
        return gr_tensor_copy(out, tensor);
    memset(out, 0, sizeof *out);
    int status = gr_tensor_pack(&packed, tensor);
    if (!status)
        status = gr_tensor_reserve(&made, dtype, packed.rank, packed.shape);
    if (!status)
        status = cast_values(&made, &packed);
    gr_tensor_release(&packed);
    if (status)
        gr_tensor_release(&made);
    else
        *out = made;
    return status;
}

const char *gr_format_shape(int rank, const int64_t *shape, char out[96]) {
    size_t used = (size_t)snprintf(out, 96, "[");
    for (int d = 0; d < rank && d < GR_MAX_RANK && used < 96; d++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%lld", d ? "," : "", (long long)shape[d]);
    snprintf(out + (used < 94 ? used : 94), 96 - (used < 94 ? used : 94), "]");
    return out;
}
