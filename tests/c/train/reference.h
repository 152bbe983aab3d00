/* Reading the cases of tests/fixtures/train/ (made by make_train.py), and comparing. */
#ifndef GRAFT_TESTS_TRAIN_REFERENCE_H
#define GRAFT_TESTS_TRAIN_REFERENCE_H

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline cJSON *reference_read(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    size_t size = fread(text, 1, (1 << 20) - 1, file);
    assert_true(size > 0);
    fclose(file);
    cJSON *cases = cJSON_Parse(text);
    free(text);
    assert_non_null(cases);
    return cases;
}

static inline const cJSON *reference_get(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static inline int reference_int(const cJSON *object, const char *key) {
    return reference_get(object, key)->valueint;
}

/* A list of numbers as floats, to be released by free; NULL when the key is not there. */
static inline float *reference_floats(const cJSON *object, const char *key) {
    const cJSON *list = reference_get(object, key);
    float *out = list ? calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *out) : NULL;
    int i = 0;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        out[i++] = (float)item->valuedouble;
    return out;
}

/* Relative L2 distance of two vectors. */
static inline double reference_distance(const float *a, const float *b, size_t n) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / (size > 0 ? size : 1));
}

#endif
