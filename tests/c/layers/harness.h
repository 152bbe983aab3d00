/* Runs the cases of tests/fixtures/layers/ (made by make_layers.py): small networks with PyTorch's results.
 */
#ifndef GRAFT_TESTS_LAYERS_HARNESS_H
#define GRAFT_TESTS_LAYERS_HARNESS_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "net/network.h"
#include "plan/plan.h"

struct cases {
    cJSON *root;
    const cJSON *list;
    float *values;
    int64_t count;
};

static char *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s: cannot be read; tests run from the top of the repository", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static inline void cases_open(struct cases *cases) {
    size_t size;
    char *text = read_whole("tests/fixtures/layers/cases.json", &size);
    cases->root = cJSON_ParseWithLength(text, size);
    free(text);
    assert_non_null(cases->root);
    assert_string_equal(cJSON_GetObjectItem(cases->root, "format")->valuestring, "graft layer cases");
    assert_int_equal(cJSON_GetObjectItem(cases->root, "version")->valueint, 1);
    cases->list = cJSON_GetObjectItem(cases->root, "cases");
    cases->values = (float *)(void *)read_whole("tests/fixtures/layers/values.bin", &size);
    cases->count = (int64_t)(size / sizeof(float));
    assert_int_equal(cases->count, cJSON_GetObjectItem(cases->root, "values")->valueint);
}

static inline void cases_close(struct cases *cases) {
    cJSON_Delete(cases->root);
    free(cases->values);
}

static inline const char *case_name(const cJSON *one) {
    return cJSON_GetObjectItem(one, "name")->valuestring;
}

static inline int case_n(const cJSON *one) {
    return cJSON_GetObjectItem(one, "n")->valueint;
}

/* A tensor of a case and its number of values, or NULL when the case has none of that name. */
static inline const float *case_tensor(const struct cases *cases, const cJSON *one, const char *name,
                                       int64_t *count) {
    const cJSON *tensor = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItem(one, "tensors"), name), *size;
    if (!tensor)
        return NULL;
    int64_t at = cJSON_GetObjectItem(tensor, "at")->valueint;
    *count = 1;
    cJSON_ArrayForEach(size, cJSON_GetObjectItem(tensor, "shape")) *count *= size->valueint;
    assert_true(at >= 0 && at + *count <= cases->count);
    return cases->values + at;
}

static inline struct gr_shape shape_from(const cJSON *list) {
    struct gr_shape shape = {cJSON_GetArrayItem(list, 0)->valueint, 1, 1, cJSON_GetArraySize(list) == 1};
    if (!shape.flat) {
        shape.h = cJSON_GetArrayItem(list, 1)->valueint;
        shape.w = cJSON_GetArrayItem(list, 2)->valueint;
    }
    return shape;
}

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if (call)                                                                                            \
            fail_msg("%s", gr_error()->message);                                                             \
    } while (0)

/* Parameters and running statistics as the case gives them. */
static inline void case_set_params(const struct cases *cases, const cJSON *one, struct gr_network *net) {
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++) {
            struct gr_param *param = &net->layers[i]->params[p];
            char name[128];
            int64_t count = 0;
            snprintf(name, sizeof name, "param/%s", param->name);
            const float *values = case_tensor(cases, one, name, &count);
            if (!values)
                fail_msg("%s: no values for %s", case_name(one), param->name);
            assert_int_equal(count, gr_tensor_count(&param->tensor));
            if (param->tensor.dtype == GR_I64)
                gr_tensor_integers(&param->tensor)[0] = (int64_t)values[0];
            else
                memcpy(gr_tensor_floats(&param->tensor), values, (size_t)count * sizeof(float));
            gr_param_touch(param);
        }
}

static inline struct gr_network *case_network(const struct cases *cases, const cJSON *one) {
    struct gr_network *net;
    const cJSON *at, *in;
    assert_ok(gr_network_create(&net, "case", shape_from(cJSON_GetObjectItem(one, "input")), NULL, 1));
    cJSON_ArrayForEach(at, cJSON_GetObjectItem(one, "layers")) {
        struct gr_layer *inputs[GR_MAX_INPUTS], *layer;
        int count = 0;
        cJSON_ArrayForEach(in, cJSON_GetObjectItem(at, "inputs")) {
            inputs[count] = gr_network_layer(net, in->valuestring);
            assert_non_null(inputs[count++]);
        }
        assert_ok(gr_network_add(net, cJSON_GetObjectItem(at, "name")->valuestring,
                                 cJSON_GetObjectItem(at, "kind")->valuestring,
                                 cJSON_GetObjectItem(at, "options"), inputs, count, &layer));
        layer->frozen = cJSON_IsTrue(cJSON_GetObjectItem(at, "frozen"));
        layer->fixed_norm = cJSON_IsTrue(cJSON_GetObjectItem(at, "fixed_norm"));
    }
    net->version++;
    case_set_params(cases, one, net);
    return net;
}

/* [n,c,h,w] to [n,h,w,c], and back. */
static inline void to_inside(int n, struct gr_shape s, const float *from, float *to) {
    for (int i = 0; i < n; i++)
        for (int c = 0; c < s.c; c++)
            for (int p = 0; p < s.h * s.w; p++)
                to[((int64_t)i * s.h * s.w + p) * s.c + c] = from[((int64_t)i * s.c + c) * s.h * s.w + p];
}

static inline void to_outside(int n, struct gr_shape s, const float *from, float *to) {
    for (int i = 0; i < n; i++)
        for (int c = 0; c < s.c; c++)
            for (int p = 0; p < s.h * s.w; p++)
                to[((int64_t)i * s.c + c) * s.h * s.w + p] = from[((int64_t)i * s.h * s.w + p) * s.c + c];
}

/* ||a - b|| / ||b||; not a number when one of a is. */
static inline double relative_error(int64_t count, const float *a, const float *b) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / (norm > 0 ? norm : 1));
}

static inline struct gr_plan *plan_for(struct gr_network *net, int capacity, bool training, bool reference) {
    struct gr_plan_request request = {.capacity = capacity,
                                      .input = net->input,
                                      .training = training,
                                      .outputs = &net->output,
                                      .output_count = 1,
                                      .input_gradient = training,
                                      .reference = reference};
    struct gr_plan *plan;
    assert_ok(gr_plan_create(&plan, net, &request));
    return plan;
}

#endif
