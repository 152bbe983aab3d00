/* Element-wise arithmetic: what to walk over. The loops over rows are in rows.c. */
#include "tensor/arithmetic.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "tensor/rows.h"
#include "tensor/walk.h"

int gr_float_check(const struct gr_tensor *tensor) {
    GR_TRY(gr_tensor_check(tensor));
    if (tensor->dtype != GR_F32)
        return gr_fail(GR_ERROR_OPTION,
                       "arithmetic is on float32 tensors and this one holds 64-bit integers; "
                       "x:float() converts");
    return GR_OK;
}

int gr_writable_check(const struct gr_tensor *tensor) {
    char text[96];
    GR_TRY(gr_tensor_check(tensor));
    for (int d = 0; d < tensor->rank; d++) {
        if (tensor->shape[d] > 1 && tensor->stride[d] == 0)
            return gr_fail(GR_ERROR_SHAPE,
                           "elements of this expanded view of shape %s share memory, so it cannot be "
                           "written to; x:clone() gives each its own",
                           gr_format_shape(tensor->rank, tensor->shape, text));
    }
    return GR_OK;
}

int gr_broadcast_shape(int *rank, int64_t *shape, const struct gr_tensor *const *tensors, int count) {
    char one[96], other[96];
    *rank = 0;
    for (int k = 0; k < count; k++)
        *rank = tensors[k]->rank > *rank ? tensors[k]->rank : *rank;
    for (int d = 0; d < *rank; d++)
        shape[d] = 1;
    for (int k = 0; k < count; k++) {
        int missing = *rank - tensors[k]->rank;
        for (int d = missing; d < *rank; d++) {
            int64_t size = tensors[k]->shape[d - missing];
            if (size == 1 || size == shape[d])
                continue;
            if (shape[d] != 1)
                return gr_fail(GR_ERROR_SHAPE,
                               "shapes %s and %s do not fit: %lld against %lld in dimension %d",
                               gr_format_shape(*rank, shape, one),
                               gr_format_shape(tensors[k]->rank, tensors[k]->shape, other),
                               (long long)shape[d], (long long)size, d - missing + 1);
            shape[d] = size;
        }
    }
    return GR_OK;
}

int gr_unary(struct gr_tensor *out, enum gr_unary op, const struct gr_tensor *a) {
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_tensor_reserve(out, GR_F32, a->rank, a->shape));
    struct gr_walk walk = gr_walk(a->rank, a->shape);
    gr_walk_add(&walk, out);
    gr_walk_add(&walk, a);
    return gr_walk_make(&walk, gr_row_unary, &op, out);
}

int gr_unary_in_place(struct gr_tensor *a, enum gr_unary op) {
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_writable_check(a));
    struct gr_walk walk = gr_walk(a->rank, a->shape);
    gr_walk_add(&walk, a);
    gr_walk_add(&walk, a);
    gr_walk_run(&walk, gr_row_unary, &op);
    return GR_OK;
}

int gr_binary(struct gr_tensor *out, enum gr_binary op, const struct gr_tensor *a,
              const struct gr_tensor *b) {
    int rank;
    int64_t shape[GR_MAX_RANK];
    const struct gr_tensor *both[] = {a, b};
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_float_check(b));
    GR_TRY(gr_broadcast_shape(&rank, shape, both, 2));
    GR_TRY(gr_tensor_reserve(out, GR_F32, rank, shape));
    struct gr_walk walk = gr_walk(rank, shape);
    gr_walk_add(&walk, out);
    gr_walk_add(&walk, a);
    gr_walk_add(&walk, b);
    return gr_walk_make(&walk, gr_row_binary, &op, out);
}

int gr_binary_number(struct gr_tensor *out, enum gr_binary op, const struct gr_tensor *a, float number,
                     bool number_first) {
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_tensor_reserve(out, GR_F32, a->rank, a->shape));
    struct gr_walk walk = gr_walk(a->rank, a->shape);
    gr_walk_add(&walk, out);
    if (number_first)
        gr_walk_add_number(&walk, &number);
    gr_walk_add(&walk, a);
    if (!number_first)
        gr_walk_add_number(&walk, &number);
    return gr_walk_make(&walk, gr_row_binary, &op, out);
}

/* What can be read while target is written: source itself, or a copy when it shares target's storage in
 * another arrangement. Also checks that source broadcasts to target. The caller releases *ready. */
static int prepare_source(struct gr_tensor *ready, const struct gr_tensor *target,
                          const struct gr_tensor *source) {
    int rank;
    int64_t shape[GR_MAX_RANK];
    char from[96], to[96];
    const struct gr_tensor *both[] = {target, source};
    memset(ready, 0, sizeof *ready);
    if (gr_broadcast_shape(&rank, shape, both, 2) || rank != target->rank ||
        memcmp(shape, target->shape, (size_t)rank * sizeof shape[0]) != 0)
        return gr_fail(GR_ERROR_SHAPE, "a tensor of shape %s does not fit into one of shape %s",
                       gr_format_shape(source->rank, source->shape, from),
                       gr_format_shape(target->rank, target->shape, to));
    bool same_place = gr_tensor_same_shape(target, source) && target->offset == source->offset &&
                      memcmp(target->stride, source->stride, (size_t)rank * sizeof target->stride[0]) == 0;
    if (target->storage == source->storage && !same_place)
        return gr_tensor_copy(ready, source);
    *ready = gr_tensor_retain(source);
    return GR_OK;
}

int gr_binary_in_place(struct gr_tensor *a, enum gr_binary op, const struct gr_tensor *b) {
    struct gr_tensor source;
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_writable_check(a));
    GR_TRY(gr_float_check(b));
    GR_TRY(prepare_source(&source, a, b));
    struct gr_walk walk = gr_walk(a->rank, a->shape);
    gr_walk_add(&walk, a);
    gr_walk_add(&walk, a);
    gr_walk_add(&walk, &source);
    gr_walk_run(&walk, gr_row_binary, &op);
    gr_tensor_release(&source);
    return GR_OK;
}

int gr_binary_number_in_place(struct gr_tensor *a, enum gr_binary op, float number) {
    GR_TRY(gr_float_check(a));
    GR_TRY(gr_writable_check(a));
    struct gr_walk walk = gr_walk(a->rank, a->shape);
    gr_walk_add(&walk, a);
    gr_walk_add(&walk, a);
    gr_walk_add_number(&walk, &number);
    gr_walk_run(&walk, gr_row_binary, &op);
    return GR_OK;
}

int gr_where(struct gr_tensor *out, const struct gr_tensor *condition, const struct gr_tensor *a,
             const struct gr_tensor *b) {
    int rank;
    int64_t shape[GR_MAX_RANK];
    const struct gr_tensor *all[] = {condition, a, b};
    for (int k = 0; k < 3; k++)
        GR_TRY(gr_float_check(all[k]));
    GR_TRY(gr_broadcast_shape(&rank, shape, all, 3));
    GR_TRY(gr_tensor_reserve(out, GR_F32, rank, shape));
    struct gr_walk walk = gr_walk(rank, shape);
    gr_walk_add(&walk, out);
    for (int k = 0; k < 3; k++)
        gr_walk_add(&walk, all[k]);
    return gr_walk_make(&walk, gr_row_where, NULL, out);
}

int gr_clamp(struct gr_tensor *out, const struct gr_tensor *a, float low, float high) {
    if (!(low <= high))
        return gr_fail(GR_ERROR_OPTION, "the lower bound %g must not be above the upper bound %g",
                       (double)low, (double)high);
    GR_TRY(gr_binary_number(out, GR_BINARY_MAXIMUM, a, low, false));
    return gr_binary_number_in_place(out, GR_BINARY_MINIMUM, high);
}

int gr_assign(struct gr_tensor *target, const struct gr_tensor *source) {
    struct gr_tensor ready;
    GR_TRY(gr_writable_check(target));
    GR_TRY(gr_tensor_check(source));
    if (target->dtype != source->dtype)
        return gr_fail(GR_ERROR_OPTION, "float32 and 64-bit integers do not mix; x:float() converts");
    GR_TRY(prepare_source(&ready, target, source));
    struct gr_walk walk = gr_walk(target->rank, target->shape);
    gr_walk_add(&walk, target);
    gr_walk_add(&walk, &ready);
    gr_walk_run(&walk, target->dtype == GR_F32 ? gr_row_copy_floats : gr_row_copy_integers, NULL);
    gr_tensor_release(&ready);
    return GR_OK;
}

int gr_assign_number(struct gr_tensor *target, double number) {
    float value = (float)number;
    int64_t whole = 0;
    GR_TRY(gr_writable_check(target));
    if (target->dtype == GR_I64) {
        if (!(number >= -0x1p63 && number < 0x1p63) || trunc(number) != number)
            return gr_fail(GR_ERROR_NUMBER, "%g does not go into a tensor of 64-bit integers", number);
        whole = (int64_t)number;
    }
    struct gr_walk walk = gr_walk(target->rank, target->shape);
    gr_walk_add(&walk, target);
    if (target->dtype == GR_F32)
        gr_walk_run(&walk, gr_row_fill_floats, &value);
    else
        gr_walk_run(&walk, gr_row_fill_integers, &whole);
    return GR_OK;
}

int gr_equal(bool *equal, const struct gr_tensor *a, const struct gr_tensor *b) {
    struct gr_tensor left = {0}, right = {0};
    *equal = false;
    GR_TRY(gr_tensor_check(a));
    GR_TRY(gr_tensor_check(b));
    if (a->dtype != b->dtype || !gr_tensor_same_shape(a, b))
        return GR_OK;
    int status = gr_tensor_pack(&left, a);
    if (!status)
        status = gr_tensor_pack(&right, b);
    if (!status) {
        int64_t i = 0, count = gr_tensor_count(a);
        if (a->dtype == GR_F32)
            for (const float *x = gr_tensor_floats(&left), *y = gr_tensor_floats(&right);
                 i < count && x[i] == y[i];)
                i++;
        else
            for (const int64_t *x = gr_tensor_integers(&left), *y = gr_tensor_integers(&right);
                 i < count && x[i] == y[i];)
                i++;
        *equal = i == count;
    }
    gr_tensor_release(&left);
    gr_tensor_release(&right);
    return status;
}
