#include "base/text.h"

#include "base/memory.h"
#include "base/status.h"

#include <math.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes room for `more` bytes and the NUL. */
static bool reserve(struct gr_text *text, size_t more) {
    size_t needed, doubled;
    if (text->failed)
        return false;
    if (!gr_size_add(text->length, more, &needed) || !gr_size_add(needed, 1, &needed)) {
        text->failed = true;
        return false;
    }
    if (needed <= text->capacity)
        return true;
    if (!gr_size_multiply(text->capacity, 2, &doubled) || doubled < needed)
        doubled = needed < 64 ? 64 : needed;
    char *bytes = gr_realloc(text->bytes, doubled);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    text->bytes = bytes;
    text->capacity = doubled;
    return true;
}

void gr_text_add(struct gr_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = true;
        return;
    }
    if (!reserve(text, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

void gr_text_bytes(struct gr_text *text, const char *bytes, size_t length) {
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = 0;
}

void gr_text_base64(struct gr_text *text, const void *bytes, size_t length) {
    size_t encoded = 0;
    if (!gr_size_add(length, 2, &encoded) || !gr_size_multiply(encoded / 3, 4, &encoded)) {
        text->failed = true;
        return;
    }
    if (!reserve(text, encoded))
        return;
    base64_encode_raw(text->bytes + text->length, length, bytes);
    text->length += encoded;
    text->bytes[text->length] = 0;
}

int gr_text_status(const struct gr_text *text) {
    return text->failed
               ? gr_fail(GR_ERROR_MEMORY, "out of memory while writing a text of %zu bytes", text->length)
               : GR_OK;
}

void gr_text_free(struct gr_text *text) {
    gr_free(text->bytes);
    *text = (struct gr_text){0};
}

bool gr_glob(const char *pattern, const char *name) {
    /* Only the latest star can need another try: what an earlier one swallowed never has to change. */
    const char *star = NULL, *resume = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            resume = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

enum { LONGEST_NAME = 127 }; /* longer names are not compared: nobody types them */

static int least(int a, int b) {
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`. */
static int edit_distance(const char *a, size_t m, const char *b, size_t n) {
    int rows[3][LONGEST_NAME + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= n; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= m; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int best = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = least(best, before[j - 2] + 1);
            row[j] = best;
        }
        int *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[n];
}

const char *gr_nearest(const char *wanted, const char *const *names, size_t count) {
    size_t length = strlen(wanted);
    if (length == 0 || length > LONGEST_NAME)
        return NULL;
    int allowed = length / 3 > 2 ? (int)(length / 3) : 2;
    if (allowed >= (int)length)
        allowed = (int)length - 1; /* with every letter replaced it is another word, not a slip */
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(names[i]);
        if (size > LONGEST_NAME)
            continue;
        int distance = edit_distance(wanted, length, names[i], size);
        if (distance <= allowed) {
            nearest = names[i];
            allowed = distance - 1;
        }
    }
    return nearest;
}

const char *gr_format_count(int64_t count, char out[32]) {
    char digits[24];
    uint64_t size = count < 0 ? 0 - (uint64_t)count : (uint64_t)count;
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)size);
    char *to = out;
    if (count < 0)
        *to++ = '-';
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = 0;
    return out;
}

const char *gr_format_bytes(size_t bytes, char out[32]) {
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        snprintf(out, 32, "%zu B", bytes);
        return out;
    }
    /* A unit is left at a tenth of the next: 0.6 MiB, not 614 KiB. Above MiB only whole ones count. */
    double value = (double)bytes / 1024;
    int unit = 0;
    while (unit < 3 && value >= (unit == 0 ? 102.4 : 1023.5)) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

const char *gr_format_seconds(double seconds, char out[32]) {
    if (!(seconds >= 0) || seconds > 1e12) {
        snprintf(out, 32, "unknown");
    } else if (seconds > 0 && seconds < 0.0995) {
        snprintf(out, 32, "%.0f ms", fmax(1, seconds * 1e3));
    } else if (seconds < 59.95) {
        snprintf(out, 32, "%.1f s", seconds);
    } else if (seconds < 3599.5) {
        long whole = lround(seconds);
        snprintf(out, 32, "%ld min %02ld s", whole / 60, whole % 60);
    } else {
        long long minutes = llround(seconds / 60);
        snprintf(out, 32, "%lld h %02lld min", minutes / 60, minutes % 60);
    }
    return out;
}

/* Bytes of the character that starts at `text` if it is well-formed and printable, else 0. */
static int printable_length(const unsigned char *text) {
    unsigned char lead = text[0];
    if (lead < 0x80)
        return lead >= 0x20 && lead != 0x7F;
    int length = lead >= 0xC2 && lead < 0xE0   ? 2
                 : lead >= 0xE0 && lead < 0xF0 ? 3
                 : lead >= 0xF0 && lead < 0xF5 ? 4
                                               : 0;
    if (length == 0)
        return 0;
    uint32_t code = lead & (0xFFu >> (length + 1));
    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3F);
    }
    bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    bool surrogate = code >= 0xD800 && code < 0xE000;
    bool control = code >= 0x80 && code < 0xA0;
    return overlong || surrogate || control || code > 0x10FFFF ? 0 : length;
}

const char *gr_printable(const char *text, char *out, size_t size) {
    const unsigned char *from = (const unsigned char *)text;
    size_t used = 0;
    if (size == 0)
        return out;
    while (*from) {
        int length = printable_length(from);
        size_t needed = length ? (size_t)length : 4;
        if (used + needed >= size)
            break;
        if (length) {
            memcpy(out + used, from, (size_t)length);
            from += length;
        } else {
            snprintf(out + used, size - used, "\\x%02x", *from++);
        }
        used += needed;
    }
    out[used] = 0;
    return out;
}
