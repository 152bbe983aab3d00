#include "kernels/kernels.h"

#include <cblas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/tables.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static enum gr_simd level = GR_SIMD_BASELINE;
static char blas_name[96];

static const char *const level_names[] = {"baseline", "avx2", "avx512"};

static enum gr_simd best_level(void) {
#ifdef GR_SIMD_ONLY_BASELINE
    return GR_SIMD_BASELINE;
#else
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return GR_SIMD_BASELINE;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return GR_SIMD_AVX2;
    return GR_SIMD_AVX512;
#endif
}

static void start_blas(void) {
    float one[64], product[64] = {0};
    openblas_set_num_threads(1);
    for (int i = 0; i < 64; i++)
        one[i] = 1;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 8, 8, 8, 1, one, 8, one, 8, 0, product, 8);

    /* The configuration reads "OpenBLAS 0.3.21 NO_LAPACKE ...": its first two words name the version. */
    const char *config = openblas_get_config();
    size_t length = strcspn(config, " ");
    if (config[length])
        length += 1 + strcspn(config + length + 1, " ");
    snprintf(blas_name, sizeof blas_name, "%.*s %s", (int)length, config, openblas_get_corename());
}

static void start(void) {
    enum gr_simd best = best_level();
    const char *wanted = getenv("GRAFT_SIMD");
    level = best;
    for (int i = 0; wanted && i <= (int)best; i++)
        if (strcmp(wanted, level_names[i]) == 0)
            level = (enum gr_simd)i;
    start_blas();
}

enum gr_simd gr_simd(void) {
    pthread_once(&once, start);
    return level;
}

const char *gr_simd_name(void) {
    return level_names[gr_simd()];
}

const char *gr_blas_name(void) {
    pthread_once(&once, start);
    return blas_name;
}

#ifdef GR_SIMD_ONLY_BASELINE
#define GR_SIMD_CHOICE(name)                                                                                 \
    const struct gr_##name##_kernels *gr_##name##_kernels(void) {                                            \
        return &gr_##name##_kernels_baseline;                                                                \
    }
#else
#define GR_SIMD_CHOICE(name)                                                                                 \
    const struct gr_##name##_kernels *gr_##name##_kernels(void) {                                            \
        enum gr_simd simd = gr_simd();                                                                       \
        return simd == GR_SIMD_AVX512 ? &gr_##name##_kernels_avx512                                          \
               : simd == GR_SIMD_AVX2 ? &gr_##name##_kernels_avx2                                            \
                                      : &gr_##name##_kernels_baseline;                                       \
    }
#endif

GR_SIMD_CHOICE(elementwise)
GR_SIMD_CHOICE(bfloat16)
GR_SIMD_CHOICE(norm)
GR_SIMD_CHOICE(pool)
GR_SIMD_CHOICE(depthwise)
GR_SIMD_CHOICE(tile)
GR_SIMD_CHOICE(winograd)
GR_SIMD_CHOICE(points)
