/* Matrix products: shapes here, arithmetic in kernels/gemm. */
#include "tensor/matmul.h"

#include <limits.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/status.h"
#include "kernels/gemm.h"
#include "tensor/arithmetic.h"
#include "tensor/view.h"

/* A matrix as gemm wants it: rows that lie one after the other, or the transpose of such. */
struct matrix {
    struct gr_tensor tensor; /* [..., rows, columns] */
    bool transposed;
    int leading; /* elements from one row in memory to the next */
};

static bool lies_in_rows(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
    return (columns == 1 || column_stride == 1) &&
           (rows == 1 || (row_stride >= columns && row_stride <= INT_MAX));
}

static int prepare(struct matrix *out, const struct gr_tensor *tensor) {
    int r = tensor->rank - 2, c = tensor->rank - 1;
    int64_t rows = tensor->shape[r], columns = tensor->shape[c];
    memset(out, 0, sizeof *out);
    bool straight = lies_in_rows(rows, columns, tensor->stride[r], tensor->stride[c]);
    out->transposed = !straight && lies_in_rows(columns, rows, tensor->stride[c], tensor->stride[r]);
    if (straight || out->transposed)
        out->tensor = gr_tensor_retain(tensor);
    else
        GR_TRY(gr_tensor_copy(&out->tensor, tensor));
    int64_t length = out->transposed ? rows : columns, lines = out->transposed ? columns : rows;
    int64_t stride = out->tensor.stride[out->transposed ? c : r];
    out->leading = (int)(lines > 1 ? stride : length > 0 ? length : 1);
    return GR_OK;
}

/* Elements from the first matrix to the one that `batch` (a number in row-major order of out's batch) uses.
 */
static int64_t batch_offset(const struct gr_tensor *tensor, const struct gr_tensor *out, int64_t batch) {
    int64_t offset = 0;
    int missing = out->rank - tensor->rank;
    for (int d = out->rank - 3; d >= 0; d--) {
        int64_t index = batch % out->shape[d];
        batch /= out->shape[d];
        if (d >= missing && tensor->shape[d - missing] != 1)
            offset += index * tensor->stride[d - missing];
    }
    return offset;
}

/* One product in slabs of rows that take a moment each: between them somebody may wish to stop. How it is cut
 * depends on the shapes alone. */
static int multiply_one(const struct matrix *a, const struct matrix *b, int m, int n, int k,
                        const float *left, const float *right, float *out) {
    enum { LEAST = 64 };       /* rows of a slab */
    const double moment = 4e9; /* multiplications: some tens of milliseconds */
    double slab = moment / ((double)n * k);
    int rows = slab >= m ? m : slab < LEAST ? LEAST : (int)slab;
    for (int done = 0; done < m; done += rows) {
        int height = m - done < rows ? m - done : rows;
        GR_TRY(gr_interrupt_check());
        gr_gemm_parallel(a->transposed, b->transposed, height, n, k, 1.0f,
                         left + (int64_t)done * (a->transposed ? 1 : a->leading), a->leading, right,
                         b->leading, 0.0f, out + (int64_t)done * n, n);
    }
    return GR_OK;
}

static int multiply(const struct gr_tensor *out, const struct matrix *a, const struct matrix *b) {
    int m = (int)out->shape[out->rank - 2], n = (int)out->shape[out->rank - 1];
    int k = (int)a->tensor.shape[a->tensor.rank - 1];
    int64_t batches = 1;
    for (int d = 0; d < out->rank - 2; d++)
        batches *= out->shape[d];
    for (int64_t i = 0; i < batches; i++)
        GR_TRY(multiply_one(a, b, m, n, k, gr_tensor_floats(&a->tensor) + batch_offset(&a->tensor, out, i),
                            gr_tensor_floats(&b->tensor) + batch_offset(&b->tensor, out, i),
                            gr_tensor_floats(out) + i * m * n));
    return GR_OK;
}

/* Shape of the product of two tensors of rank 2 and more. */
static int product_shape(int *rank, int64_t *shape, const struct gr_tensor *a, const struct gr_tensor *b) {
    char left[96], right[96];
    int64_t m = a->shape[a->rank - 2], k = a->shape[a->rank - 1], n = b->shape[b->rank - 1];
    if (k != b->shape[b->rank - 2])
        return gr_fail(GR_ERROR_SHAPE, "shapes %s and %s do not multiply: %lld columns against %lld rows",
                       gr_format_shape(a->rank, a->shape, left), gr_format_shape(b->rank, b->shape, right),
                       (long long)k, (long long)b->shape[b->rank - 2]);
    if (m > INT_MAX || n > INT_MAX || k > INT_MAX)
        return gr_fail(GR_ERROR_LIMIT,
                       "a matrix of more than 2147483647 rows or columns cannot be multiplied");
    struct gr_tensor batch_a = *a, batch_b = *b;
    const struct gr_tensor *both[] = {&batch_a, &batch_b};
    batch_a.rank -= 2;
    batch_b.rank -= 2;
    GR_TRY(gr_broadcast_shape(rank, shape, both, 2));
    shape[(*rank)++] = m;
    shape[(*rank)++] = n;
    return GR_OK;
}

static int product(struct gr_tensor *out, const struct gr_tensor *a, const struct gr_tensor *b) {
    struct matrix left = {0}, right = {0};
    int rank;
    int64_t shape[GR_MAX_RANK];
    GR_TRY(product_shape(&rank, shape, a, b));
    GR_TRY(gr_tensor_create(out, GR_F32, rank, shape));
    int status = prepare(&left, a);
    if (!status)
        status = prepare(&right, b);
    if (!status && gr_tensor_count(out) > 0 && a->shape[a->rank - 1] > 0)
        status = multiply(out, &left, &right);
    gr_tensor_release(&left.tensor);
    gr_tensor_release(&right.tensor);
    if (status)
        gr_tensor_release(out);
    return status;
}

int gr_matmul(struct gr_tensor *out, const struct gr_tensor *a, const struct gr_tensor *b) {
    char left[96], right[96];
    struct gr_tensor row = {0}, column = {0}, made = {0}, squeezed;
    memset(out, 0, sizeof *out);
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_float_check(b));
    if (a->rank == 0 || b->rank == 0)
        return gr_fail(GR_ERROR_SHAPE, "shapes %s and %s do not multiply: a scalar is no matrix",
                       gr_format_shape(a->rank, a->shape, left), gr_format_shape(b->rank, b->shape, right));
    bool vector_a = a->rank == 1, vector_b = b->rank == 1;
    row = gr_tensor_retain(a);
    column = gr_tensor_retain(b);
    int status = GR_OK;
    if (vector_a) {
        gr_tensor_release(&row);
        status = gr_tensor_unsqueeze(&row, a, 0);
    }
    if (vector_b && !status) {
        gr_tensor_release(&column);
        status = gr_tensor_unsqueeze(&column, b, 1);
    }
    if (!status)
        status = product(&made, &row, &column);
    if (!status && vector_b) {
        status = gr_tensor_squeeze(&squeezed, &made, made.rank - 1);
        gr_tensor_release(&made);
        made = squeezed;
    }
    if (!status && vector_a) {
        status = gr_tensor_squeeze(&squeezed, &made, made.rank - (vector_b ? 1 : 2));
        gr_tensor_release(&made);
        made = squeezed;
    }
    gr_tensor_release(&row);
    gr_tensor_release(&column);
    *out = made;
    return status;
}
