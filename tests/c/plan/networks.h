/* Networks written as tables of rows, for tests of plans, and what such tests compare with. */
#ifndef GRAFT_TESTS_PLAN_NETWORKS_H
#define GRAFT_TESTS_PLAN_NETWORKS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "net/network.h"
#include "plan/plan.h"

struct row {
    const char *name, *kind, *options, *inputs[2];
};

/* A network [3,size,size] of these layers, whose last one is the head. */
static inline struct gr_network *network_of(const char *name, int size, const struct row *rows, size_t count,
                                            const char *const *stages, int stage_count) {
    struct gr_network *net = NULL;
    struct gr_layer *layer = NULL;
    if (gr_network_create(&net, name, (struct gr_shape){3, size, size, false}, NULL, 7))
        fail_msg("%s", gr_error()->message);
    for (size_t i = 0; i < count; i++) {
        struct gr_layer *inputs[2];
        int input_count = 0;
        for (; input_count < 2 && rows[i].inputs[input_count]; input_count++)
            inputs[input_count] = gr_network_layer(net, rows[i].inputs[input_count]);
        cJSON *options = rows[i].options ? cJSON_Parse(rows[i].options) : NULL;
        if (gr_network_add(net, rows[i].name, rows[i].kind, options, inputs, input_count, &layer))
            fail_msg("%s", gr_error()->message);
        cJSON_Delete(options);
    }
    if (gr_network_finish(net, layer, rows[count - 1].name, stages, stage_count))
        fail_msg("%s", gr_error()->message);
    return net;
}

static inline void fill(float *x, int64_t count, uint64_t stream) {
    struct gr_random random = gr_random(5, GR_RANDOM_TENSOR, stream, 0, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = gr_random_normal(&random);
}

/* |a - b| / |b|, in L2. */
static inline double distance(const float *a, const float *b, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / (norm + 1e-30));
}

/* Plans of `request` while each allocation in turn, and all after it, fail: an error, and nothing is left
 * behind. */
static inline void survives_failed_allocations(struct gr_network *net,
                                               const struct gr_plan_request *request) {
    size_t before = gr_memory().blocks;
    int status = GR_ERROR_MEMORY;
    for (long n = 1; status; n++) {
        struct gr_plan *plan = NULL;
        gr_memory_fail(n, true);
        status = gr_plan_create(&plan, net, request);
        gr_memory_fail(0, false);
        assert_true(status == GR_OK || status == GR_ERROR_MEMORY);
        gr_plan_free(plan);
        assert_int_equal(gr_memory().blocks, before);
    }
}

#endif
