/* Tensors for people. */
#include "tensor/print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"

enum { MOST_SHOWN = 1000, EDGE = 3, LONG = 2 * EDGE + 4 }; /* a dimension longer than LONG is elided */

/* How the numbers of one tensor are written, so that columns align. */
struct style {
    int width, digits;
    bool exponent, whole;
};

struct range {
    double min, max, sum, smallest; /* smallest: the least absolute value that is not 0 */
    int64_t finite, nan, infinite;
    bool whole;
};

static double element(const struct gr_tensor *packed, int64_t i) {
    return packed->dtype == GR_F32 ? (double)gr_tensor_floats(packed)[i]
                                   : (double)gr_tensor_integers(packed)[i];
}

static struct range measure(const struct gr_tensor *packed) {
    struct range range = {.min = INFINITY, .max = -INFINITY, .smallest = INFINITY, .whole = true};
    for (int64_t i = 0, count = gr_tensor_count(packed); i < count; i++) {
        double x = element(packed, i);
        if (x != x)
            range.nan++;
        if (isinf(x))
            range.infinite++;
        if (!isfinite(x))
            continue;
        range.finite++;
        range.sum += x;
        range.min = x < range.min ? x : range.min;
        range.max = x > range.max ? x : range.max;
        range.whole = range.whole && trunc(x) == x;
        if (x != 0 && fabs(x) < range.smallest)
            range.smallest = fabs(x);
    }
    return range;
}

static int write_number(char *out, size_t size, const struct style *style, const struct gr_tensor *packed,
                        int64_t i) {
    double x = element(packed, i);
    if (packed->dtype == GR_I64)
        return snprintf(out, size, "%*lld", style->width, (long long)gr_tensor_integers(packed)[i]);
    if (!isfinite(x))
        return snprintf(out, size, "%*s", style->width, x != x ? "nan" : x > 0 ? "inf" : "-inf");
    if (style->exponent)
        return snprintf(out, size, "%*.4e", style->width, x);
    return snprintf(out, size, "%*.*f", style->width, style->whole ? 0 : style->digits, x);
}

static struct style choose_style(const struct gr_tensor *packed, const struct range *range) {
    struct style style = {.digits = 4, .whole = range->whole};
    char number[64];
    double most = range->finite ? fmax(fabs(range->min), fabs(range->max)) : 0;
    if (packed->dtype == GR_F32)
        style.exponent = range->whole ? most >= 1e8 : most >= 1e6 || range->smallest < 5e-4;
    for (int64_t i = 0, count = gr_tensor_count(packed); i < count; i++) {
        struct style bare = style;
        bare.width = 0;
        int length = write_number(number, sizeof number, &bare, packed, i);
        style.width = length > style.width ? length : style.width;
    }
    return style;
}

static void print_rows(struct gr_text *text, const struct gr_tensor *packed, const struct style *style,
                       int dim, int64_t at) {
    char number[64];
    if (dim == packed->rank) {
        write_number(number, sizeof number, style, packed, at);
        gr_text_add(text, "%s", number);
        return;
    }
    int64_t n = packed->shape[dim];
    bool last = dim == packed->rank - 1;
    gr_text_add(text, "[");
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 && last)
            gr_text_add(text, "  ");
        if (i > 0 && !last)
            gr_text_add(text, "\n%*s", dim + 1, "");
        if (n > LONG && i == EDGE) {
            gr_text_add(text, "...");
            i = n - EDGE - 1;
            continue;
        }
        print_rows(text, packed, style, dim + 1, at + i * packed->stride[dim]);
    }
    gr_text_add(text, "]");
}

static const char *format_summary(double x, double most, char *out, size_t size) {
    snprintf(out, size, most >= 0.1 && most < 1e5 ? "%.2f" : "%.3g", x);
    return out;
}

static void print_range(struct gr_text *text, const struct range *range) {
    char number[3][64];
    if (range->finite) {
        double most = fmax(fabs(range->min), fabs(range->max));
        gr_text_add(text, "  min %s  mean %s  max %s", format_summary(range->min, most, number[0], 64),
                    format_summary(range->sum / (double)range->finite, most, number[1], 64),
                    format_summary(range->max, most, number[2], 64));
    }
    if (range->nan)
        gr_text_add(text, "  nan %lld", (long long)range->nan);
    if (range->infinite)
        gr_text_add(text, "  inf %lld", (long long)range->infinite);
}

int gr_tensor_print(struct gr_text *text, const struct gr_tensor *tensor) {
    char shape[96];
    struct gr_tensor packed;
    GR_TRY(gr_tensor_pack(&packed, tensor));
    struct range range = measure(&packed);
    int64_t count = gr_tensor_count(&packed);
    gr_text_add(text, "tensor %s%s", gr_format_shape(packed.rank, packed.shape, shape),
                packed.dtype == GR_I64 ? " (integers)" : "");
    if (count > MOST_SHOWN) {
        print_range(text, &range);
    } else if (count == 0) {
        gr_text_add(text, "  empty");
    } else {
        struct style style = choose_style(&packed, &range);
        gr_text_add(text, packed.rank == 0 ? "  " : "\n");
        print_rows(text, &packed, &style, 0, 0);
    }
    gr_tensor_release(&packed);
    return gr_text_status(text);
}
