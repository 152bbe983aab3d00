/* Reduced precision: names, and the tables for it. */
#include <string.h>

#include "kernels/tables.h"

static const char *const names[] = {[GR_FLOAT32] = "float32", [GR_BF16] = "bf16", [GR_INT8] = "int8"};

const char *gr_precision_name(enum gr_precision precision) {
    return names[precision];
}

bool gr_precision_find(const char *name, enum gr_precision *out) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum gr_precision)i;
            return true;
        }
    return false;
}

static bool has_bf16(void) {
#ifdef GR_SIMD_ONLY_BASELINE
    return false;
#else
    return gr_simd() == GR_SIMD_AVX512 && __builtin_cpu_supports("avx512bf16");
#endif
}

static bool has_vnni(void) {
#ifdef GR_SIMD_ONLY_BASELINE
    return false;
#else
    return gr_simd() == GR_SIMD_AVX512 && __builtin_cpu_supports("avx512vnni");
#endif
}

bool gr_precision_native(enum gr_precision precision) {
    return precision == GR_FLOAT32 || (precision == GR_BF16 ? has_bf16() : has_vnni());
}

const struct gr_reduced_kernels *gr_bf16_kernels(void) {
#ifdef GR_SIMD_ONLY_BASELINE
    return &gr_bf16_kernels_baseline;
#else
    if (has_bf16())
        return &gr_bf16_kernels_avx512bf16;
    return gr_simd() == GR_SIMD_AVX512 ? &gr_bf16_kernels_avx512
           : gr_simd() == GR_SIMD_AVX2 ? &gr_bf16_kernels_avx2
                                       : &gr_bf16_kernels_baseline;
#endif
}

const struct gr_reduced_kernels *gr_int8_kernels(void) {
#ifdef GR_SIMD_ONLY_BASELINE
    return &gr_int8_kernels_baseline;
#else
    if (has_vnni())
        return &gr_int8_kernels_avx512vnni;
    return gr_simd() == GR_SIMD_AVX512 ? &gr_int8_kernels_avx512
           : gr_simd() == GR_SIMD_AVX2 ? &gr_int8_kernels_avx2
                                       : &gr_int8_kernels_baseline;
#endif
}
