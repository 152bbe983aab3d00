/* Sums, extremes, softmax: one lane at a time. */
#include "tensor/reduce.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "tensor/arithmetic.h"
#include "tensor/view.h"
#include "tensor/walk.h"

static const char *const NAMES[GR_REDUCE_COUNT] = {"sum", "mean", "prod", "max", "min", "var", "std"};

const char *gr_reduction_name(enum gr_reduction op) {
    return NAMES[op];
}

/* Eight running sums: fast without reordering by the compiler, and the same on every machine. */
static double sum(const float *x, int64_t n, int64_t stride) {
    double part[8] = {0}, rest = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int k = 0; k < 8; k++)
            part[k] += (double)x[(i + k) * stride];
    }
    for (; i < n; i++)
        rest += (double)x[i * stride];
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7])) + rest;
}

static double variance(const float *x, int64_t n, int64_t stride) {
    double mean = sum(x, n, stride) / (double)n, squares = 0;
    for (int64_t i = 0; i < n; i++)
        squares += ((double)x[i * stride] - mean) * ((double)x[i * stride] - mean);
    return squares / (double)(n - 1);
}

/* The first largest or smallest element; the first NaN if there is one. n >= 1. */
static int64_t extreme(const float *x, int64_t n, int64_t stride, bool largest) {
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        float value = x[i * stride];
        if (value != value)
            return i;
        if (largest ? value > x[best * stride] : value < x[best * stride])
            best = i;
    }
    return best;
}

static double product(const float *x, int64_t n, int64_t stride) {
    double value = 1;
    for (int64_t i = 0; i < n; i++)
        value *= (double)x[i * stride];
    return value;
}

static double reduce_lane(enum gr_reduction op, const float *x, int64_t n, int64_t stride) {
    switch (op) {
    case GR_REDUCE_SUM:
        return sum(x, n, stride);
    case GR_REDUCE_MEAN:
        return sum(x, n, stride) / (double)n;
    case GR_REDUCE_PROD:
        return product(x, n, stride);
    case GR_REDUCE_MAX:
    case GR_REDUCE_MIN:
        return (double)x[extreme(x, n, stride, op == GR_REDUCE_MAX) * stride];
    case GR_REDUCE_VAR:
        return variance(x, n, stride);
    case GR_REDUCE_STD:
        return sqrt(variance(x, n, stride));
    case GR_REDUCE_COUNT:
        break;
    }
    return 0;
}

static int refuse_nothing(const struct gr_tensor *tensor, int64_t n, const char *what) {
    char text[96];
    if (n > 0)
        return GR_OK;
    return gr_fail(GR_ERROR_SHAPE, "nothing to take the %s of: the shape is %s", what,
                   gr_format_shape(tensor->rank, tensor->shape, text));
}

int gr_reduce_all(double *out, enum gr_reduction op, const struct gr_tensor *tensor) {
    struct gr_tensor packed;
    *out = 0;
    GR_TRY(gr_float_check(tensor));
    int64_t n = gr_tensor_count(tensor);
    if (op == GR_REDUCE_MAX || op == GR_REDUCE_MIN)
        GR_TRY(refuse_nothing(tensor, n, NAMES[op]));
    GR_TRY(gr_tensor_pack(&packed, tensor));
    *out = reduce_lane(op, gr_tensor_floats(&packed), n, 1);
    gr_tensor_release(&packed);
    return GR_OK;
}

/* What the lane functions below work on. */
struct lane_job {
    const struct gr_tensor *tensor, *out;
    int dim, op;
    bool flag; /* largest, or logarithm */
};

static const float *lane_floats(const struct lane_job *job, int64_t lane) {
    return gr_tensor_floats(job->tensor) + gr_lane_offset(job->tensor, job->dim, lane);
}

static void reduce_one(void *context, int64_t lane) {
    const struct lane_job *job = context;
    gr_tensor_floats(job->out)[lane] =
        (float)reduce_lane((enum gr_reduction)job->op, lane_floats(job, lane), job->tensor->shape[job->dim],
                           job->tensor->stride[job->dim]);
}

static void arg_one(void *context, int64_t lane) {
    const struct lane_job *job = context;
    gr_tensor_integers(job->out)[lane] = extreme(lane_floats(job, lane), job->tensor->shape[job->dim],
                                                 job->tensor->stride[job->dim], job->flag);
}

/* A contiguous result of one element a lane. */
static int reserve_lanes(struct gr_tensor *out, enum gr_dtype dtype, const struct gr_tensor *tensor, int dim,
                         bool keep) {
    int64_t shape[GR_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < tensor->rank; d++) {
        if (d != dim)
            shape[rank++] = tensor->shape[d];
        else if (keep)
            shape[rank++] = 1;
    }
    return gr_tensor_reserve(out, dtype, rank, shape);
}

int gr_reduce(struct gr_tensor *out, enum gr_reduction op, const struct gr_tensor *tensor, int dim,
              bool keep) {
    struct lane_job job = {.tensor = tensor, .out = out, .dim = dim, .op = (int)op};
    GR_TRY(gr_float_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    if (op == GR_REDUCE_MAX || op == GR_REDUCE_MIN)
        GR_TRY(refuse_nothing(tensor, tensor->shape[dim], NAMES[op]));
    GR_TRY(reserve_lanes(out, GR_F32, tensor, dim, keep));
    return gr_lanes_make(tensor, dim, reduce_one, &job, out);
}

int gr_arg_all(int64_t *out, const struct gr_tensor *tensor, bool largest) {
    struct gr_tensor packed;
    *out = 0;
    GR_TRY(gr_float_check(tensor));
    GR_TRY(refuse_nothing(tensor, gr_tensor_count(tensor), largest ? "argmax" : "argmin"));
    GR_TRY(gr_tensor_pack(&packed, tensor));
    *out = extreme(gr_tensor_floats(&packed), gr_tensor_count(tensor), 1, largest);
    gr_tensor_release(&packed);
    return GR_OK;
}

int gr_arg(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool keep, bool largest) {
    struct lane_job job = {.tensor = tensor, .out = out, .dim = dim, .flag = largest};
    GR_TRY(gr_float_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    GR_TRY(refuse_nothing(tensor, tensor->shape[dim], largest ? "argmax" : "argmin"));
    GR_TRY(reserve_lanes(out, GR_I64, tensor, dim, keep));
    return gr_lanes_make(tensor, dim, arg_one, &job, out);
}

static void softmax_one(void *context, int64_t lane) {
    const struct lane_job *job = context;
    int64_t n = job->tensor->shape[job->dim], from = job->tensor->stride[job->dim];
    int64_t to = job->out->stride[job->dim];
    const float *x = lane_floats(job, lane);
    float *y = gr_tensor_floats(job->out) + gr_lane_offset(job->out, job->dim, lane);
    float most = x[extreme(x, n, from, true) * from];
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        float e = expf(x[i * from] - most);
        total += (double)e;
        y[i * to] = job->flag ? x[i * from] - most : e;
    }
    float scale = (float)(1 / total), shift = (float)log(total);
    for (int64_t i = 0; i < n; i++)
        y[i * to] = job->flag ? y[i * to] - shift : y[i * to] * scale;
}

int gr_tensor_softmax(struct gr_tensor *out, const struct gr_tensor *tensor, int dim, bool logarithm) {
    struct lane_job job = {.tensor = tensor, .out = out, .dim = dim, .flag = logarithm};
    GR_TRY(gr_float_check(tensor));
    GR_TRY(gr_dim_check(tensor, dim));
    GR_TRY(gr_tensor_reserve(out, GR_F32, tensor->rank, tensor->shape));
    return gr_tensor_count(tensor) > 0 ? gr_lanes_make(tensor, dim, softmax_one, &job, out) : GR_OK;
}
