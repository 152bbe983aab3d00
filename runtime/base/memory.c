#include "base/memory.h"

#include "base/status.h"
#include "base/text.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In front of each block, padded to GR_ALIGNMENT so that the block itself stays aligned. */
struct header {
    size_t size; /* bytes that the caller may use and that `live` counts */
    void *base;  /* what the system gave */
};

/* From this size on zeros come from the system, which makes a page only when it is touched: what is filled
 * later, or never, takes no memory before. */
enum { LARGE = 1 << 18 };

static atomic_size_t live, peak, blocks, limit;
static atomic_long fail_after;
static atomic_bool fail_persist, fail_always;

bool gr_size_multiply(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool gr_size_add(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static bool fails_on_demand(void) {
    if (atomic_load_explicit(&fail_always, memory_order_relaxed))
        return true;
    if (atomic_load_explicit(&fail_after, memory_order_relaxed) <= 0)
        return false;
    if (atomic_fetch_sub(&fail_after, 1) != 1)
        return false;
    if (atomic_load(&fail_persist))
        atomic_store(&fail_always, true);
    return true;
}

/* Adds to the account; false when that would break the limit. */
static bool account(size_t size) {
    size_t before = atomic_load_explicit(&live, memory_order_relaxed), after;
    size_t most = atomic_load_explicit(&limit, memory_order_relaxed);
    do {
        if (!gr_size_add(before, size, &after) || (most && after > most))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&live, &before, after, memory_order_relaxed,
                                                    memory_order_relaxed));
    size_t highest = atomic_load_explicit(&peak, memory_order_relaxed);
    while (highest < after && !atomic_compare_exchange_weak_explicit(
                                  &peak, &highest, after, memory_order_relaxed, memory_order_relaxed))
        ;
    return true;
}

static void discount(size_t size) {
    atomic_fetch_sub_explicit(&live, size, memory_order_relaxed);
}

static void *fail(size_t size, const char *cause) {
    char wanted[32], used[32];
    gr_fail(GR_ERROR_MEMORY, "out of memory: %s more were needed with %s in use (%s)",
            gr_format_bytes(size, wanted), gr_format_bytes(atomic_load(&live), used), cause);
    return NULL;
}

/* Room for `size` bytes behind a header. */
static struct header *system_block(size_t size, bool zeros) {
    size_t total = (size + 2 * GR_ALIGNMENT - 1) / GR_ALIGNMENT * GR_ALIGNMENT;
    if (!zeros || size < LARGE) {
        /* aligned_alloc asks for a multiple of the alignment. */
        struct header *header = aligned_alloc(GR_ALIGNMENT, total);
        if (header)
            header->base = header;
        if (header && zeros)
            memset((char *)header + GR_ALIGNMENT, 0, size);
        return header;
    }
    char *base = calloc(1, total + GR_ALIGNMENT);
    if (!base)
        return NULL;
    struct header *header = (struct header *)(base + (GR_ALIGNMENT - (uintptr_t)base % GR_ALIGNMENT));
    header->base = base;
    return header;
}

static void *allocate(size_t size, bool zeros) {
    if (size > SIZE_MAX / 2)
        return fail(size, "larger than any memory");
    if (fails_on_demand())
        return fail(size, "failed on demand");
    if (!account(size))
        return fail(size, "the memory limit is reached");
    struct header *header = system_block(size, zeros);
    if (!header) {
        discount(size);
        return fail(size, "the system has no more");
    }
    header->size = size;
    atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
    return (char *)header + GR_ALIGNMENT;
}

void *gr_alloc(size_t size) {
    return allocate(size, false);
}

void *gr_calloc(size_t count, size_t size) {
    size_t total;
    if (!gr_size_multiply(count, size, &total)) {
        gr_fail(GR_ERROR_LIMIT, "%zu items of %zu bytes are more than can be counted", count, size);
        return NULL;
    }
    return allocate(total, true);
}

static struct header *header_of(void *pointer) {
    return (struct header *)((char *)pointer - GR_ALIGNMENT);
}

void *gr_realloc(void *pointer, size_t size) {
    if (!pointer)
        return gr_alloc(size);
    size_t old = header_of(pointer)->size;
    if (size <= old && size >= old / 2)
        return pointer; /* not worth a move; the account keeps the larger size */
    void *moved = gr_alloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, pointer, size < old ? size : old);
    gr_free(pointer);
    return moved;
}

void gr_free(void *pointer) {
    if (!pointer)
        return;
    struct header *header = header_of(pointer);
    discount(header->size);
    atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
    free(header->base);
}

int gr_memory_claim(size_t size) {
    if (fails_on_demand()) {
        fail(size, "failed on demand");
        return GR_ERROR_MEMORY;
    }
    if (account(size))
        return GR_OK;
    fail(size, "the memory limit is reached");
    return GR_ERROR_MEMORY;
}

void gr_memory_unclaim(size_t size) {
    discount(size);
}

char *gr_strdup(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = gr_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

struct gr_memory gr_memory(void) {
    return (struct gr_memory){
        .live = atomic_load(&live),
        .peak = atomic_load(&peak),
        .blocks = atomic_load(&blocks),
        .limit = atomic_load(&limit),
    };
}

void gr_memory_reset_peak(void) {
    atomic_store(&peak, atomic_load(&live));
}

void gr_memory_limit(size_t bytes) {
    atomic_store(&limit, bytes);
}

void gr_memory_fail(long after, bool persist) {
    atomic_store(&fail_always, false);
    atomic_store(&fail_persist, persist);
    atomic_store(&fail_after, after);
}

/* Bytes of the control group's limit, or SIZE_MAX. */
static size_t group_limit(void) {
    char text[32] = "";
    FILE *file = fopen("/sys/fs/cgroup/memory.max", "re");
    if (!file)
        return SIZE_MAX;
    bool read = fgets(text, sizeof text, file) != NULL;
    fclose(file);
    char *end = text;
    unsigned long long bytes = read ? strtoull(text, &end, 10) : 0;
    return end > text ? (size_t)bytes : SIZE_MAX; /* "max" has no digits */
}

size_t gr_memory_machine(void) {
    static atomic_size_t known; /* a sandbox can ask only before it is closed */
    size_t machine = atomic_load(&known);
    if (machine == 0) {
        long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        size_t group = group_limit();
        machine = pages > 0 && page > 0 ? (size_t)pages * (size_t)page : (size_t)1 << 30;
        if (machine > group)
            machine = group;
        atomic_store(&known, machine);
    }
    return machine;
}

size_t gr_memory_process_peak(void) {
    static atomic_int opened = -1; /* stays open */
    char text[4096];
    int fd = atomic_load(&opened);
    if (fd < 0)
        atomic_store(&opened, fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC));
    ssize_t got = fd < 0 ? 0 : pread(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = 0;
    const char *line = strstr(text, "VmHWM:");
    return line ? (size_t)strtoull(line + 6, NULL, 10) * 1024 : 0;
}

size_t gr_memory_share(void) {
    const size_t most = (size_t)1 << 30;
    size_t share = gr_memory_machine() / 4;
    struct gr_memory memory = gr_memory();
    if (share > most)
        share = most;
    size_t left = memory.limit > memory.live ? (memory.limit - memory.live) / 2 : 0;
    return memory.limit && share > left ? left : share;
}
