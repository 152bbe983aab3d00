/* Text for people: growing strings, globs, the nearest right name, sizes and times in words. */
#ifndef GRAFT_BASE_TEXT_H
#define GRAFT_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing string. Start from {0}; `bytes` is NUL-terminated once something was added. After a failed growth
 * `failed` stays true and later additions do nothing, so a writer checks once, at the end. */
struct gr_text {
    char *bytes;
    size_t length, capacity;
    bool failed;
};

void gr_text_add(struct gr_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gr_text_bytes(struct gr_text *text, const char *bytes, size_t length);
/* The bytes in base64 (RFC 4648, with padding), by nettle: pictures inside a page. */
void gr_text_base64(struct gr_text *text, const void *bytes, size_t length);
int gr_text_status(const struct gr_text *text); /* 0, or GR_ERROR_MEMORY if a growth failed */
void gr_text_free(struct gr_text *text);

/* Shell-like globs for layer and tensor names: `*` any run of characters, dots included; `?` one character.
 */
bool gr_glob(const char *pattern, const char *name);

/* The name among `names` with the smallest edit distance to `wanted` (ties: the first), or NULL when none is
 * near enough to be a slip of the fingers (distance above a third of the length, at least 2). */
const char *gr_nearest(const char *wanted, const char *const *names, size_t count);

/* "9,408" into `out`: groups of three. */
const char *gr_format_count(int64_t count, char out[32]);
/* "0.6 MiB", "171 MiB", "512 B". */
const char *gr_format_bytes(size_t bytes, char out[32]);
/* "31 ms", "0.2 s", "7.4 s", "3 min 20 s", "2 h 05 min". */
const char *gr_format_seconds(double seconds, char out[32]);

/* Copies file text with control bytes and broken UTF-8 made visible (\x1b), for names that reach a terminal.
 * Cuts to `size` - 1 bytes. Returns out. */
const char *gr_printable(const char *text, char *out, size_t size);

#endif
