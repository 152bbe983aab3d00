/* Views. Each checks its source once, changes shape and strides, and takes a reference. */
#include "tensor/view.h"

#include <string.h>

#include "base/status.h"

int gr_dim_check(const struct gr_tensor *tensor, int dim) {
    char text[96];
    if (dim >= 0 && dim < tensor->rank)
        return GR_OK;
    return gr_fail(GR_ERROR_SHAPE, "no dimension %d in a tensor of shape %s, which has %d", dim + 1,
                   gr_format_shape(tensor->rank, tensor->shape, text), tensor->rank);
}

static void drop_dimension(struct gr_tensor *tensor, int dim) {
    for (int d = dim; d < tensor->rank - 1; d++) {
        tensor->shape[d] = tensor->shape[d + 1];
        tensor->stride[d] = tensor->stride[d + 1];
    }
    tensor->rank--;
}

int gr_tensor_select(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, int64_t index) {
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    if (index < 0 || index >= tensor->shape[dim])
        return gr_fail(GR_ERROR_SHAPE, "no index %lld along dimension %d, which has %lld",
                       (long long)index + 1, dim + 1, (long long)tensor->shape[dim]);
    struct gr_tensor view = *tensor;
    view.offset += index * view.stride[dim];
    drop_dimension(&view, dim);
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_slice(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, int64_t first,
                    int64_t length) {
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    if (first < 0 || length < 0 || first > tensor->shape[dim] || length > tensor->shape[dim] - first)
        return gr_fail(GR_ERROR_SHAPE,
                       "%lld elements from %lld on do not lie in dimension %d, which has %lld",
                       (long long)length, (long long)first + 1, dim + 1, (long long)tensor->shape[dim]);
    struct gr_tensor view = *tensor;
    if (length > 0)
        view.offset += first * view.stride[dim];
    view.shape[dim] = length;
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_permute(struct gr_tensor *out, const struct gr_tensor *tensor, const int *order) {
    GR_TRY(gr_tensor_check(tensor));
    struct gr_tensor view = *tensor;
    bool used[GR_MAX_RANK] = {false};
    for (int d = 0; d < tensor->rank; d++) {
        GR_TRY(gr_dim_check(tensor, order[d]));
        if (used[order[d]])
            return gr_fail(GR_ERROR_SHAPE, "dimension %d is named twice", order[d] + 1);
        used[order[d]] = true;
        view.shape[d] = tensor->shape[order[d]];
        view.stride[d] = tensor->stride[order[d]];
    }
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_transpose(struct gr_tensor *out, const struct gr_tensor *tensor, int a, int b) {
    int order[GR_MAX_RANK];
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(gr_dim_check(tensor, a));
    GR_TRY(gr_dim_check(tensor, b));
    for (int d = 0; d < tensor->rank; d++)
        order[d] = d;
    order[a] = b;
    order[b] = a;
    return gr_tensor_permute(out, tensor, order);
}

/* Copies `shape` to `full`, with a -1 replaced by the size that makes the counts equal. */
static int infer_shape(const struct gr_tensor *tensor, int rank, const int64_t *shape, int64_t *full) {
    char from[96], to[96];
    int64_t count = gr_tensor_count(tensor), product = 0;
    int open = -1;
    for (int d = 0; d < rank && d < GR_MAX_RANK; d++) {
        full[d] = shape[d];
        if (shape[d] != -1)
            continue;
        if (open >= 0)
            return gr_fail(GR_ERROR_SHAPE, "only one size can be -1, but dimensions %d and %d both are",
                           open + 1, d + 1);
        open = d;
        full[d] = 1;
    }
    GR_TRY(gr_shape_count(rank, full, &product));
    if (open >= 0 && product > 0 && count % product == 0) {
        full[open] = count / product;
        return GR_OK;
    }
    if (open < 0 && product == count)
        return GR_OK;
    return gr_fail(GR_ERROR_SHAPE, "the %lld elements of shape %s do not fit shape %s", (long long)count,
                   gr_format_shape(tensor->rank, tensor->shape, from), gr_format_shape(rank, shape, to));
}

/* Strides that show the elements of `from` in row-major order under view's shape; false when there are none.
 * Both shapes are cut into groups of equal products; a group works when its source dimensions lie evenly. */
static bool find_strides(struct gr_tensor *view, const struct gr_tensor *from) {
    int64_t shape[GR_MAX_RANK], stride[GR_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < from->rank; d++) {
        if (from->shape[d] == 1)
            continue;
        if (rank > 0 && stride[rank - 1] == from->stride[d] * from->shape[d]) {
            shape[rank - 1] *= from->shape[d];
            stride[rank - 1] = from->stride[d];
        } else {
            shape[rank] = from->shape[d];
            stride[rank++] = from->stride[d];
        }
    }
    int source = rank - 1;
    int64_t left = source >= 0 ? shape[source] : 1, step = source >= 0 ? stride[source] : 1;
    for (int d = view->rank - 1; d >= 0; d--) {
        if (left == 1 && source > 0 && view->shape[d] != 1) {
            source--;
            left = shape[source];
            step = stride[source];
        }
        if (left % view->shape[d] != 0)
            return false;
        view->stride[d] = step;
        step *= view->shape[d];
        left /= view->shape[d];
    }
    return true;
}

static int reshape(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape,
                   bool copy) {
    char from[96], to[96];
    int64_t full[GR_MAX_RANK];
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(infer_shape(tensor, rank, shape, full));
    struct gr_tensor view = *tensor;
    view.rank = rank;
    memcpy(view.shape, full, (size_t)rank * sizeof full[0]);
    if (gr_tensor_count(tensor) == 0 || gr_tensor_contiguous(tensor)) {
        int64_t stride = 1;
        for (int d = rank - 1; d >= 0; d--) {
            view.stride[d] = stride;
            stride *= full[d] ? full[d] : 1;
        }
    } else if (!find_strides(&view, tensor)) {
        if (!copy)
            return gr_fail(GR_ERROR_SHAPE,
                           "the elements of this view of shape %s do not lie so that shape %s could "
                           "show them; reshape copies them",
                           gr_format_shape(tensor->rank, tensor->shape, from),
                           gr_format_shape(rank, full, to));
        struct gr_tensor packed;
        GR_TRY(gr_tensor_copy(&packed, tensor));
        int status = reshape(out, &packed, rank, full, false);
        gr_tensor_release(&packed);
        return status;
    }
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_view(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape) {
    return reshape(out, tensor, rank, shape, false);
}

int gr_tensor_reshape(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape) {
    return reshape(out, tensor, rank, shape, true);
}

int gr_tensor_expand(struct gr_tensor *out, const struct gr_tensor *tensor, int rank, const int64_t *shape) {
    char from[96], to[96];
    int64_t count;
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(gr_shape_count(rank, shape, &count));
    if (count > GR_MOST_EXPANDED)
        return gr_fail(GR_ERROR_LIMIT, "an expanded view of shape %s has more than %lld elements",
                       gr_format_shape(rank, shape, to), (long long)GR_MOST_EXPANDED);
    struct gr_tensor view = *tensor;
    int added = rank - tensor->rank;
    bool fits = added >= 0;
    view.rank = rank;
    for (int d = 0; d < rank && fits; d++) {
        int64_t size = d < added ? 1 : tensor->shape[d - added];
        fits = size == shape[d] || size == 1;
        view.shape[d] = shape[d];
        view.stride[d] = d < added || size != shape[d] ? 0 : tensor->stride[d - added];
    }
    if (!fits)
        return gr_fail(GR_ERROR_SHAPE, "shape %s cannot be expanded to %s; only sizes of 1 are repeated",
                       gr_format_shape(tensor->rank, tensor->shape, from), gr_format_shape(rank, shape, to));
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_unsqueeze(struct gr_tensor *out, const struct gr_tensor *tensor, int dim) {
    GR_TRY(gr_tensor_check(tensor));
    if (dim < 0 || dim > tensor->rank || tensor->rank == GR_MAX_RANK)
        return gr_fail(GR_ERROR_SHAPE,
                       "no room for a new dimension %d in a tensor of %d dimensions (of at most %d)", dim + 1,
                       tensor->rank, GR_MAX_RANK);
    struct gr_tensor view = *tensor;
    for (int d = view.rank; d > dim; d--) {
        view.shape[d] = view.shape[d - 1];
        view.stride[d] = view.stride[d - 1];
    }
    view.shape[dim] = 1;
    view.stride[dim] = 1;
    view.rank++;
    *out = gr_tensor_retain(&view);
    return GR_OK;
}

int gr_tensor_squeeze(struct gr_tensor *out, const struct gr_tensor *tensor, int dim) {
    GR_TRY(gr_tensor_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    if (tensor->shape[dim] != 1)
        return gr_fail(GR_ERROR_SHAPE, "dimension %d has %lld elements; only one of size 1 can be taken out",
                       dim + 1, (long long)tensor->shape[dim]);
    struct gr_tensor view = *tensor;
    drop_dimension(&view, dim);
    *out = gr_tensor_retain(&view);
    return GR_OK;
}
