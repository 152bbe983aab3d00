#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct gr_error current;

/* Drops a multi-byte character that a cut at the end of `text` has left incomplete. */
static void trim_utf8(char *text) {
    size_t length = strlen(text), start = length;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t needed = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (length - (start - 1) < needed)
        text[start - 1] = 0;
}

/* Copies with a cut at a character's boundary. */
static void copy_cut(char *out, size_t size, const char *text) {
    size_t length = strlen(text);
    bool cut = length >= size;
    if (cut)
        length = size - 1;
    memcpy(out, text, length);
    out[length] = 0;
    if (cut)
        trim_utf8(out);
}

int gr_fail(int code, const char *format, ...) {
    /* Formatted aside first: the arguments may point into the message that is replaced. */
    char message[sizeof current.message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        message[0] = 0;
    else if ((size_t)length >= sizeof message)
        trim_utf8(message);
    current.code = code;
    current.near[0] = 0;
    memcpy(current.message, message, sizeof message);
    return code;
}

int gr_fail_near(const char *near) {
    copy_cut(current.near, sizeof current.near, near ? near : "");
    return current.code;
}

int gr_fail_in(const char *format, ...) {
    char message[sizeof current.message];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        return current.code;
    if ((size_t)length + 2 >= sizeof message) {
        trim_utf8(message);
    } else {
        memcpy(message + length, ": ", 3);
        copy_cut(message + length + 2, sizeof message - (size_t)length - 2, current.message);
    }
    memcpy(current.message, message, sizeof message);
    return current.code;
}

const struct gr_error *gr_error(void) {
    return &current;
}

int gr_error_restore(const struct gr_error *error) {
    if (error != &current)
        current = *error;
    return current.code;
}

const char *gr_status_name(int code) {
    static const char *const names[] = {"ok",     "name",  "option", "shape",     "file", "data",
                                        "memory", "limit", "number", "interrupt", "user"};
    int index = -code;
    if (index < 0 || index >= (int)(sizeof names / sizeof *names))
        return "unknown";
    return names[index];
}
