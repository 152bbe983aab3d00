/* What the kernels' tests share: numbers, errors, runs at every SIMD level and thread count. */
#ifndef GRAFT_TESTS_CHECK_KERNELS_H
#define GRAFT_TESTS_CHECK_KERNELS_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/threads.h"
#include "kernels/convolution.h"
#include "kernels/kernels.h"

/* `count` numbers in [-1, 1), the same for the same seed. The caller frees them with gr_free. */
static inline float *numbers(int64_t count, uint32_t seed) {
    float *x = gr_alloc(sizeof(float) * (size_t)(count > 0 ? count : 1));
    uint32_t state = seed * 2654435761u + 12345u;
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1;
    }
    return x;
}

/* An array that is all NaN, so that what a kernel does not write is seen. */
static inline float *unwritten(int64_t count) {
    float *x = numbers(count, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = NAN;
    return x;
}

static inline double *zeros(int64_t count) {
    double *x = gr_calloc((size_t)(count > 0 ? count : 1), sizeof(double));
    assert_non_null(x);
    return x;
}

/* |got - wanted| / |wanted| in the 2-norm. */
static inline double distance(int64_t count, const float *got, const double *wanted) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        error += ((double)got[i] - wanted[i]) * ((double)got[i] - wanted[i]);
        size += wanted[i] * wanted[i];
    }
    return size > 0 ? sqrt(error / size) : sqrt(error);
}

static inline void check_close(const char *what, int64_t count, const float *got, const double *wanted,
                               double bound) {
    double error = distance(count, got, wanted);
    if (!(error <= bound))
        fail_msg("%s: relative error %.3g, at most %.3g was expected (%s)", what, error, bound,
                 gr_simd_name());
}

static inline void check_same_bits(const char *what, int64_t count, const float *a, const float *b) {
    if (memcmp(a, b, sizeof(float) * (size_t)count) != 0)
        fail_msg("%s: bits differ between runs or thread counts (%s)", what, gr_simd_name());
}

/* Runs the program once for every SIMD level; in each of those runs, the group itself. */
static inline int every_level(int (*group)(void)) {
    static const char *const levels[] = {"baseline", "avx2", "avx512"};
    int failed = 0;
    if (getenv("GRAFT_SIMD"))
        return group();
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            setenv("GRAFT_SIMD", levels[i], 1);
            execl("/proc/self/exe", "test", (char *)NULL);
            _exit(127);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "failed at SIMD level %s\n", levels[i]);
            failed = 1;
        }
    }
    return failed;
}

/* Padding before and after; the output size follows. */
static inline struct gr_convolution geometry(int h, int w, int c, int k, int kernel, int stride, int dilation,
                                             int before, int after, int groups) {
    int reach = (kernel - 1) * dilation + 1;
    struct gr_convolution v = {.h = h,
                               .w = w,
                               .c = c,
                               .oh = (h + before + after - reach) / stride + 1,
                               .ow = (w + before + after - reach) / stride + 1,
                               .k = k,
                               .kh = kernel,
                               .kw = kernel,
                               .sh = stride,
                               .sw = stride,
                               .dh = dilation,
                               .dw = dilation,
                               .top = before,
                               .left = before,
                               .groups = groups};
    return v;
}

#endif
