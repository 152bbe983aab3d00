/* The loops over one row. */
#include "tensor/rows.h"

#include <math.h>
#include <string.h>

#include "tensor/arithmetic.h"

void gr_row_copy_floats(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    float *to = (float *)at[0];
    const float *from = (const float *)at[1];
    (void)context;
    if (stride[0] == 1 && stride[1] == 1) {
        memmove(to, from, (size_t)n * sizeof *to); /* x:copy_(x) copies a row onto itself */
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i * stride[0]] = from[i * stride[1]];
}

void gr_row_copy_integers(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    int64_t *to = (int64_t *)at[0];
    const int64_t *from = (const int64_t *)at[1];
    (void)context;
    for (int64_t i = 0; i < n; i++)
        to[i * stride[0]] = from[i * stride[1]];
}

void gr_row_fill_floats(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    float *to = (float *)at[0], value = *(const float *)context;
    for (int64_t i = 0; i < n; i++)
        to[i * stride[0]] = value;
}

void gr_row_fill_integers(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    int64_t *to = (int64_t *)at[0], value = *(const int64_t *)context;
    for (int64_t i = 0; i < n; i++)
        to[i * stride[0]] = value;
}

void gr_row_where(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    float *to = (float *)at[0];
    const float *condition = (const float *)at[1], *a = (const float *)at[2], *b = (const float *)at[3];
    (void)context;
    for (int64_t i = 0; i < n; i++)
        to[i * stride[0]] = condition[i * stride[1]] != 0 ? a[i * stride[2]] : b[i * stride[3]];
}

static float sigmoid(float x) {
    float e = expf(-fabsf(x)); /* at most 1, so that nothing overflows */
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static const char *const UNARY_NAMES[GR_UNARY_COUNT] = {
    [GR_UNARY_EXP] = "exp",       [GR_UNARY_LOG] = "log",     [GR_UNARY_SQRT] = "sqrt",
    [GR_UNARY_ABS] = "abs",       [GR_UNARY_NEG] = "neg",     [GR_UNARY_SIGN] = "sign",
    [GR_UNARY_SQUARE] = "square", [GR_UNARY_TANH] = "tanh",   [GR_UNARY_SIGMOID] = "sigmoid",
    [GR_UNARY_RELU] = "relu",     [GR_UNARY_ROUND] = "round", [GR_UNARY_FLOOR] = "floor",
    [GR_UNARY_CEIL] = "ceil",     [GR_UNARY_SIN] = "sin",     [GR_UNARY_COS] = "cos",
};

static const char *const BINARY_NAMES[GR_BINARY_COUNT] = {
    [GR_BINARY_ADD] = "add",         [GR_BINARY_SUB] = "sub", [GR_BINARY_MUL] = "mul",
    [GR_BINARY_DIV] = "div",         [GR_BINARY_POW] = "pow", [GR_BINARY_MAXIMUM] = "maximum",
    [GR_BINARY_MINIMUM] = "minimum", [GR_BINARY_EQ] = "eq",   [GR_BINARY_NE] = "ne",
    [GR_BINARY_LT] = "lt",           [GR_BINARY_LE] = "le",   [GR_BINARY_GT] = "gt",
    [GR_BINARY_GE] = "ge",
};

const char *gr_unary_name(enum gr_unary op) {
    return UNARY_NAMES[op];
}

const char *gr_binary_name(enum gr_binary op) {
    return BINARY_NAMES[op];
}

/* `expression` of x for every element. The first loop is the one that the compiler turns into vectors. */
#define UNARY_LOOP(expression)                                                                               \
    if (stride[0] == 1 && stride[1] == 1) {                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            float x = in[i];                                                                                 \
            out[i] = (expression);                                                                           \
        }                                                                                                    \
    } else {                                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            float x = in[i * stride[1]];                                                                     \
            out[i * stride[0]] = (expression);                                                               \
        }                                                                                                    \
    }                                                                                                        \
    break

void gr_row_unary(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    float *out = (float *)at[0];
    const float *in = (const float *)at[1];
    switch (*(const enum gr_unary *)context) {
    case GR_UNARY_EXP:
        UNARY_LOOP(expf(x));
    case GR_UNARY_LOG:
        UNARY_LOOP(logf(x));
    case GR_UNARY_SQRT:
        UNARY_LOOP(sqrtf(x));
    case GR_UNARY_ABS:
        UNARY_LOOP(fabsf(x));
    case GR_UNARY_NEG:
        UNARY_LOOP(-x);
    case GR_UNARY_SIGN:
        UNARY_LOOP(x > 0 ? 1.0f : x < 0 ? -1.0f : x); /* 0 and NaN stay */
    case GR_UNARY_SQUARE:
        UNARY_LOOP(x * x);
    case GR_UNARY_TANH:
        UNARY_LOOP(tanhf(x));
    case GR_UNARY_SIGMOID:
        UNARY_LOOP(sigmoid(x));
    case GR_UNARY_RELU:
        UNARY_LOOP(x < 0 ? 0.0f : x); /* NaN stays */
    case GR_UNARY_ROUND:
        UNARY_LOOP(nearbyintf(x));
    case GR_UNARY_FLOOR:
        UNARY_LOOP(floorf(x));
    case GR_UNARY_CEIL:
        UNARY_LOOP(ceilf(x));
    case GR_UNARY_SIN:
        UNARY_LOOP(sinf(x));
    case GR_UNARY_COS:
        UNARY_LOOP(cosf(x));
    case GR_UNARY_COUNT:
        break;
    }
}

/* The same with x and y; a number or a repeated element on either side has stride 0. */
#define BINARY_LOOP(expression)                                                                              \
    if (stride[0] == 1 && stride[1] == 1 && stride[2] == 1) {                                                \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            float x = left[i], y = right[i];                                                                 \
            out[i] = (expression);                                                                           \
        }                                                                                                    \
    } else if (stride[0] == 1 && stride[1] == 1 && stride[2] == 0) {                                         \
        float y = right[0];                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            float x = left[i];                                                                               \
            out[i] = (expression);                                                                           \
        }                                                                                                    \
    } else {                                                                                                 \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            float x = left[i * stride[1]], y = right[i * stride[2]];                                         \
            out[i * stride[0]] = (expression);                                                               \
        }                                                                                                    \
    }                                                                                                        \
    break

void gr_row_binary(const void *context, int64_t n, char *const *at, const int64_t *stride) {
    float *out = (float *)at[0];
    const float *left = (const float *)at[1], *right = (const float *)at[2];
    switch (*(const enum gr_binary *)context) {
    case GR_BINARY_ADD:
        BINARY_LOOP(x + y);
    case GR_BINARY_SUB:
        BINARY_LOOP(x - y);
    case GR_BINARY_MUL:
        BINARY_LOOP(x * y);
    case GR_BINARY_DIV:
        BINARY_LOOP(x / y);
    case GR_BINARY_POW:
        BINARY_LOOP(powf(x, y));
    case GR_BINARY_MAXIMUM:
        BINARY_LOOP(x > y || x != x ? x : y);
    case GR_BINARY_MINIMUM:
        BINARY_LOOP(x < y || x != x ? x : y);
    case GR_BINARY_EQ:
        BINARY_LOOP(x == y ? 1.0f : 0.0f);
    case GR_BINARY_NE:
        BINARY_LOOP(x != y ? 1.0f : 0.0f);
    case GR_BINARY_LT:
        BINARY_LOOP(x < y ? 1.0f : 0.0f);
    case GR_BINARY_LE:
        BINARY_LOOP(x <= y ? 1.0f : 0.0f);
    case GR_BINARY_GT:
        BINARY_LOOP(x > y ? 1.0f : 0.0f);
    case GR_BINARY_GE:
        BINARY_LOOP(x >= y ? 1.0f : 0.0f);
    case GR_BINARY_COUNT:
        break;
    }
}
