/* What the tensor tests share: building small tensors, and ending each test without a block left. */
#ifndef GRAFT_TESTS_CHECK_TENSOR_H
#define GRAFT_TESTS_CHECK_TENSOR_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "tensor/tensor.h"

#define SHAPE(...)                                                                                           \
    ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))), (const int64_t[]) {                         \
        __VA_ARGS__                                                                                          \
    }

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != GR_OK)                                                                                 \
            fail_msg("%s", gr_error()->message);                                                             \
    } while (0)

/* The call fails with this code and a message that holds `words`. */
#define assert_fails(call, wanted, words)                                                                    \
    do {                                                                                                     \
        assert_int_equal((call), (wanted));                                                                  \
        if (!strstr(gr_error()->message, (words)))                                                           \
            fail_msg("\"%s\" is not in \"%s\"", (words), gr_error()->message);                               \
    } while (0)

/* 1, 2, 3 ... in row-major order. */
static inline struct gr_tensor counting(int rank, const int64_t *shape) {
    struct gr_tensor tensor;
    assert_ok(gr_tensor_create(&tensor, GR_F32, rank, shape));
    for (int64_t i = 0; i < gr_tensor_count(&tensor); i++)
        gr_tensor_floats(&tensor)[i] = (float)(i + 1);
    return tensor;
}

/* The element at the given indices, found the slow way. */
static inline float element(const struct gr_tensor *tensor, const int64_t *index) {
    int64_t place = 0;
    for (int d = 0; d < tensor->rank; d++)
        place += index[d] * tensor->stride[d];
    return gr_tensor_floats(tensor)[place];
}

/* Goes to the next index in row-major order; false after the last. */
static inline bool next_index(int rank, const int64_t *shape, int64_t *index) {
    for (int d = rank - 1; d >= 0; d--) {
        if (++index[d] < shape[d])
            return true;
        index[d] = 0;
    }
    return false;
}

/* Shape and all elements in row-major order. */
static inline void assert_values(const struct gr_tensor *tensor, int rank, const int64_t *shape,
                                 const float *values) {
    int64_t index[GR_MAX_RANK] = {0};
    assert_int_equal(tensor->rank, rank);
    for (int d = 0; d < rank; d++)
        assert_int_equal(tensor->shape[d], shape[d]);
    if (gr_tensor_count(tensor) == 0)
        return;
    size_t i = 0;
    do {
        float x = element(tensor, index);
        if (!(fabsf(x - values[i]) <= 1e-5f * (1 + fabsf(values[i]))) &&
            !(x != x && values[i] != values[i]) && x != values[i])
            fail_msg("element %zu is %g, not %g", i, (double)x, (double)values[i]);
        i++;
    } while (next_index(rank, shape, index));
}

static inline int remember_blocks(void **state) {
    static size_t blocks;
    blocks = gr_memory().blocks;
    *state = &blocks;
    return 0;
}

static inline int compare_blocks(void **state) {
    return gr_memory().blocks == *(size_t *)*state ? 0 : -1;
}

#define LEAKLESS(test) cmocka_unit_test_setup_teardown(test, remember_blocks, compare_blocks)

#endif
