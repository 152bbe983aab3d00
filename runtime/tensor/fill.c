/* Tensors from rules, and joined tensors. */
#include "tensor/fill.h"

#include <string.h>

#include "base/interrupt.h"
#include "base/random.h"
#include "base/status.h"
#include "tensor/arithmetic.h"
#include "tensor/view.h"

int gr_full(struct gr_tensor *out, int rank, const int64_t *shape, float value) {
    GR_TRY(gr_tensor_reserve(out, GR_F32, rank, shape));
    return gr_assign_number(out, (double)value);
}

int gr_range(struct gr_tensor *out, double first, double step, int64_t count) {
    GR_TRY(gr_tensor_reserve(out, GR_F32, 1, &count));
    float *x = gr_tensor_floats(out);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(first + (double)i * step);
    return GR_OK;
}

int gr_eye(struct gr_tensor *out, int64_t rows, int64_t columns) {
    const int64_t shape[] = {rows, columns};
    GR_TRY(gr_tensor_create(out, GR_F32, 2, shape));
    float *x = gr_tensor_floats(out);
    for (int64_t i = 0; i < rows && i < columns; i++)
        x[i * columns + i] = 1;
    return GR_OK;
}

enum { LOOK = 1 << 20 }; /* numbers between two looks at whether somebody wishes to stop */

static int drawing(struct gr_tensor *out) {
    int status = gr_interrupt_check();
    if (status)
        gr_tensor_release(out);
    return status;
}

int gr_rand(struct gr_tensor *out, int rank, const int64_t *shape, float low, float high, uint64_t seed,
            uint64_t draw) {
    struct gr_random random = gr_random(seed, GR_RANDOM_TENSOR, draw, 0, 0);
    GR_TRY(gr_tensor_reserve(out, GR_F32, rank, shape));
    float *x = gr_tensor_floats(out);
    for (int64_t i = 0, count = gr_tensor_count(out); i < count; i++) {
        if (i % LOOK == 0)
            GR_TRY(drawing(out));
        x[i] = gr_random_between(&random, low, high);
    }
    return GR_OK;
}

int gr_randn(struct gr_tensor *out, int rank, const int64_t *shape, float mean, float deviation,
             uint64_t seed, uint64_t draw) {
    struct gr_random random = gr_random(seed, GR_RANDOM_TENSOR, draw, 0, 0);
    GR_TRY(gr_tensor_reserve(out, GR_F32, rank, shape));
    float *x = gr_tensor_floats(out);
    for (int64_t i = 0, count = gr_tensor_count(out); i < count; i++) {
        if (i % LOOK == 0)
            GR_TRY(drawing(out));
        x[i] = mean + deviation * gr_random_normal(&random);
    }
    return GR_OK;
}

/* Copies each tensor to its place along `dim`. A tensor without that dimension (stack) takes one index of it.
 */
static int join(struct gr_tensor *out, const struct gr_tensor *const *tensors, int64_t count, int dim) {
    int64_t at = 0;
    int status = GR_OK;
    for (int64_t i = 0; i < count && !status; i++) {
        struct gr_tensor place;
        if (tensors[i]->rank < out->rank) {
            status = gr_tensor_select(&place, out, dim, at++);
        } else {
            status = gr_tensor_slice(&place, out, dim, at, tensors[i]->shape[dim]);
            at += tensors[i]->shape[dim];
        }
        if (status)
            break;
        status = gr_assign(&place, tensors[i]);
        gr_tensor_release(&place);
    }
    if (status)
        gr_tensor_release(out);
    return status;
}

/* All tensors live, of one dtype and of one shape but for dimension `dim` (-1: but for none). */
static int check_alike(const struct gr_tensor *const *tensors, int64_t count, int dim) {
    char first[96], other[96];
    if (count < 1)
        return gr_fail(GR_ERROR_OPTION, "an empty list of tensors cannot be joined");
    for (int64_t i = 0; i < count; i++) {
        const struct gr_tensor *a = tensors[0], *b = tensors[i];
        GR_TRY(gr_tensor_check(b));
        bool alike = a->rank == b->rank && a->dtype == b->dtype;
        for (int d = 0; d < a->rank && alike; d++)
            alike = d == dim || a->shape[d] == b->shape[d];
        if (!alike)
            return gr_fail(GR_ERROR_SHAPE,
                           "tensor %lld of the list has shape %s, which does not fit the first, %s",
                           (long long)i + 1, gr_format_shape(b->rank, b->shape, other),
                           gr_format_shape(a->rank, a->shape, first));
    }
    return GR_OK;
}

int gr_concat(struct gr_tensor *out, const struct gr_tensor *const *tensors, int64_t count, int dim) {
    int64_t shape[GR_MAX_RANK];
    memset(out, 0, sizeof *out);
    GR_TRY(check_alike(tensors, count, dim));
    GR_TRY(gr_dim_check(tensors[0], dim));
    memcpy(shape, tensors[0]->shape, sizeof shape);
    for (int64_t i = 1; i < count; i++) {
        if (__builtin_add_overflow(shape[dim], tensors[i]->shape[dim], &shape[dim]))
            return gr_fail(GR_ERROR_LIMIT, "the joined tensor would be too large");
    }
    GR_TRY(gr_tensor_reserve(out, tensors[0]->dtype, tensors[0]->rank, shape));
    return join(out, tensors, count, dim);
}

int gr_stack(struct gr_tensor *out, const struct gr_tensor *const *tensors, int64_t count, int dim) {
    struct gr_tensor model;
    memset(out, 0, sizeof *out);
    GR_TRY(check_alike(tensors, count, -1));
    GR_TRY(gr_tensor_unsqueeze(&model, tensors[0], dim));
    model.shape[dim] = count;
    int status = gr_tensor_reserve(out, model.dtype, model.rank, model.shape);
    gr_tensor_release(&model);
    return status ? status : join(out, tensors, count, dim);
}
