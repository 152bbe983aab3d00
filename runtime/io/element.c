#include "io/element.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights files are little-endian, and so must the machine be"
#endif

static float from_half(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023, bits;
    float value;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in float32 */
        value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 0x7F800000u : (exponent + 112) << 23) | fraction << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void convert_f64(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, from + i * sizeof value, sizeof value);
        ((float *)to)[i] = (float)value;
    }
}

static void convert_f32(const unsigned char *from, void *to, size_t n) {
    memcpy(to, from, n * sizeof(float));
}

static void convert_f16(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((float *)to)[i] = from_half((uint16_t)(from[2 * i] | from[2 * i + 1] << 8));
}

static void convert_bf16(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)from[2 * i] << 16 | (uint32_t)from[2 * i + 1] << 24;
        memcpy((float *)to + i, &bits, sizeof bits);
    }
}

static void convert_i64(const unsigned char *from, void *to, size_t n) {
    memcpy(to, from, n * sizeof(int64_t));
}

static void convert_i32(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int32_t value;
        memcpy(&value, from + i * sizeof value, sizeof value);
        ((int64_t *)to)[i] = value;
    }
}

static void convert_i16(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int16_t value;
        memcpy(&value, from + i * sizeof value, sizeof value);
        ((int64_t *)to)[i] = value;
    }
}

static void convert_i8(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((int64_t *)to)[i] = (int8_t)from[i];
}

static void convert_u8(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((int64_t *)to)[i] = from[i];
}

static void convert_bool(const unsigned char *from, void *to, size_t n) {
    for (size_t i = 0; i < n; i++)
        ((int64_t *)to)[i] = from[i] != 0;
}

const struct gr_element gr_elements[] = {
    {"F64", "DoubleStorage", 8, GR_F32, convert_f64},
    {"F32", "FloatStorage", 4, GR_F32, convert_f32},
    {"F16", "HalfStorage", 2, GR_F32, convert_f16},
    {"BF16", "BFloat16Storage", 2, GR_F32, convert_bf16},
    {"I64", "LongStorage", 8, GR_I64, convert_i64},
    {"I32", "IntStorage", 4, GR_I64, convert_i32},
    {"I16", "ShortStorage", 2, GR_I64, convert_i16},
    {"I8", "CharStorage", 1, GR_I64, convert_i8},
    {"U8", "ByteStorage", 1, GR_I64, convert_u8},
    {"BOOL", "BoolStorage", 1, GR_I64, convert_bool},
    {NULL, NULL, 0, GR_F32, NULL},
};

const struct gr_element *gr_element_find(const char *name, size_t length) {
    for (const struct gr_element *element = gr_elements; element->name; element++)
        if (strlen(element->name) == length && memcmp(element->name, name, length) == 0)
            return element;
    return NULL;
}
