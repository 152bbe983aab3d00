/* The one allocator of the runtime: aligned, accounted, limited, and able to fail on demand. */
#ifndef GRAFT_BASE_MEMORY_H
#define GRAFT_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GR_ALIGNMENT = 64 }; /* bytes; a cache line and a 512-bit vector */

/* Returns `size` bytes (not initialised), aligned to GR_ALIGNMENT, or NULL with GR_ERROR_MEMORY set.
 * A size of 0 gives a valid pointer. The caller owns it and releases it by gr_free. */
void *gr_alloc(size_t size);

/* The same, filled with zeros. `count * size` is checked for overflow (GR_ERROR_LIMIT). */
void *gr_calloc(size_t count, size_t size);

/* Grows or shrinks; `pointer` may be NULL. On failure the old block stays valid and NULL is returned. */
void *gr_realloc(void *pointer, size_t size);

/* Releases a block of this allocator; NULL is allowed. */
void gr_free(void *pointer);

/* Enters memory that a library takes by itself into the account, before it does: GR_ERROR_MEMORY when that
 * would break the limit. Taken out again by gr_memory_unclaim with the same size. */
int gr_memory_claim(size_t size);
void gr_memory_unclaim(size_t size);

/* A copy of `text` owned by the caller, or NULL with the error set. */
char *gr_strdup(const char *text);

/* Multiplies and adds sizes with overflow checks: return false and leave *out alone when it does not fit. */
bool gr_size_multiply(size_t a, size_t b, size_t *out);
bool gr_size_add(size_t a, size_t b, size_t *out);

struct gr_memory {
    size_t live;   /* bytes allocated and not yet freed */
    size_t peak;   /* the most that `live` has been since the last gr_memory_reset_peak */
    size_t blocks; /* blocks allocated and not yet freed */
    size_t limit;  /* bytes; 0: no limit */
};

struct gr_memory gr_memory(void);
void gr_memory_reset_peak(void);

/* Allocations that would take `live` above `bytes` fail with GR_ERROR_MEMORY; 0 lifts the limit. */
void gr_memory_limit(size_t bytes);

/* The memory of the machine, or of the control group that this process is in where that is less. */
size_t gr_memory_machine(void);

/* The most memory that the whole process has held so far, libraries and all, as the system counts; 0: it does
 * not say. A sandbox has to ask once before it is closed, and so for gr_memory_machine. */
size_t gr_memory_process_peak(void);

/* What one cache may take unless somebody says otherwise: a quarter of the memory of the machine (or of the
 * control group that this process is in), at most 1 GiB, and at most half of what the limit leaves. */
size_t gr_memory_share(void);

/* Test hook: the allocation number `after` from now (1 is the next one) fails; `persist`: so do all after it.
 * 0 switches the hook off. */
void gr_memory_fail(long after, bool persist);

#endif
