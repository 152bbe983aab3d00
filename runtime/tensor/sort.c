/* Sorting along a dimension: a heap whose order has no equals, so that the result is stable. */
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/status.h"
#include "tensor/arithmetic.h"
#include "tensor/reduce.h"
#include "tensor/view.h"
#include "tensor/walk.h"

struct item {
    float value;
    int64_t index;
};

static bool less(float a, float b) /* NaN is the largest */
{
    return a < b || (b != b && a == a);
}

static bool before(const struct item *a, const struct item *b, bool descending) {
    if (less(a->value, b->value))
        return !descending;
    if (less(b->value, a->value))
        return descending;
    return a->index < b->index;
}

/* Restores the heap below `root`: no item is before its parent. */
static void sift(struct item *heap, int64_t n, int64_t root, bool descending) {
    struct item moving = heap[root];
    for (;;) {
        int64_t child = 2 * root + 1;
        if (child >= n)
            break;
        if (child + 1 < n && before(&heap[child + 1], &heap[child], descending))
            child++;
        if (!before(&heap[child], &moving, descending))
            break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = moving;
}

int gr_topk(struct gr_tensor *indices, struct gr_tensor *values, const struct gr_tensor *tensor, int dim,
            int64_t k, bool largest) {
    struct gr_tensor places = {0}, found = {0};
    int64_t shape[GR_MAX_RANK];
    memset(indices, 0, sizeof *indices);
    if (values)
        memset(values, 0, sizeof *values);
    GR_TRY(gr_float_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    int64_t n = tensor->shape[dim], step = tensor->stride[dim];
    if (k < 0 || k > n)
        return gr_fail(GR_ERROR_OPTION, "k is %lld, but dimension %d has %lld elements", (long long)k,
                       dim + 1, (long long)n);
    memcpy(shape, tensor->shape, sizeof shape);
    shape[dim] = k;
    struct item *heap = gr_calloc((size_t)n, sizeof *heap);
    int status = heap ? gr_tensor_reserve(&places, GR_I64, tensor->rank, shape) : gr_error()->code;
    if (!status)
        status = gr_tensor_reserve(&found, GR_F32, tensor->rank, shape);
    enum { LOOK = 1 << 16 }; /* elements between two looks at whether somebody wishes to stop */
    int64_t lanes = status || gr_tensor_count(&places) == 0 ? 0 : gr_lane_count(tensor, dim);
    for (int64_t lane = 0; lane < lanes && !status; lane++) {
        const float *x = gr_tensor_floats(tensor) + gr_lane_offset(tensor, dim, lane);
        int64_t to = gr_lane_offset(&places, dim, lane), left = n;
        for (int64_t i = 0; i < n; i++)
            heap[i] = (struct item){x[i * step], i};
        for (int64_t i = n / 2 - 1; i >= 0; i--)
            sift(heap, n, i, largest);
        for (int64_t i = 0; i < k && !status; i++) {
            gr_tensor_integers(&places)[to + i * places.stride[dim]] = heap[0].index;
            gr_tensor_floats(&found)[to + i * found.stride[dim]] = heap[0].value;
            heap[0] = heap[--left];
            if (left > 0)
                sift(heap, left, 0, largest);
            if (i % LOOK == 0)
                status = gr_interrupt_check();
        }
    }
    gr_free(heap);
    if (status || !values)
        gr_tensor_release(&found);
    if (status)
        gr_tensor_release(&places);
    *indices = places;
    if (values)
        *values = found;
    return status;
}

int gr_argsort(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool descending) {
    memset(out, 0, sizeof *out);
    GR_TRY(gr_float_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    return gr_topk(out, NULL, tensor, dim, tensor->shape[dim], descending);
}
