#include "io/zip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

enum {
    END_SIZE = 22,        /* end of central directory */
    END64_SIZE = 56,      /* its zip64 form */
    LOCATOR_SIZE = 20,    /* where that is */
    CENTRAL_SIZE = 46,    /* an entry of the directory, without its name */
    LOCAL_SIZE = 30,      /* a local header, without its name */
    COMMENT_MOST = 65535, /* bytes of a comment after the end record */
    DIRECTORY_MOST = 4 << 20,
    ZIP64_EXTRA = 1, /* id of the extra field with 64-bit sizes */
};

static uint64_t number(const unsigned char *bytes, int size) {
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

/* What the end records say. */
struct end {
    uint64_t count, size, offset; /* of the directory */
    uint64_t place;               /* where the end records begin */
};

static int read_end64(const struct gr_source *source, uint64_t locator, struct end *end) {
    unsigned char bytes[END64_SIZE];
    GR_TRY(gr_source_read(source, locator, bytes, LOCATOR_SIZE));
    if (memcmp(bytes, "PK\x06\x07", 4) != 0)
        return gr_fail(GR_ERROR_FILE, "its zip directory needs a zip64 record, and there is none");
    uint64_t place = number(bytes + 8, 8);
    if (place > locator || locator - place < END64_SIZE)
        return gr_fail(GR_ERROR_FILE, "its zip64 record is said to lie at byte %llu, which cannot be",
                       (unsigned long long)place);
    GR_TRY(gr_source_read(source, place, bytes, END64_SIZE));
    if (memcmp(bytes, "PK\x06\x06", 4) != 0)
        return gr_fail(GR_ERROR_FILE, "there is no zip64 record at byte %llu", (unsigned long long)place);
    *end = (struct end){number(bytes + 32, 8), number(bytes + 40, 8), number(bytes + 48, 8), place};
    return GR_OK;
}

/* Finds the end record: the last one whose comment reaches exactly to the end of the file. */
static int read_end(const struct gr_source *source, struct end *end) {
    size_t most = END_SIZE + COMMENT_MOST, size = source->size < most ? (size_t)source->size : most, at;
    uint64_t base = source->size - size;
    unsigned char *tail = gr_alloc(size);
    if (!tail)
        return GR_ERROR_MEMORY;
    int status = gr_source_read(source, base, tail, size);
    bool found = false;
    for (at = size; !status && !found && at >= END_SIZE; at--) {
        const unsigned char *record = tail + at - END_SIZE;
        found = memcmp(record, "PK\x05\x06", 4) == 0 && number(record + 20, 2) == size - at;
        if (found) {
            *end = (struct end){number(record + 10, 2), number(record + 12, 4), number(record + 16, 4),
                                base + at - END_SIZE};
            if (number(record + 4, 2) != 0 && number(record + 4, 2) != 0xFFFF)
                status = gr_fail(GR_ERROR_FILE, "is one part of a zip archive in several parts");
        }
    }
    gr_free(tail);
    if (!status && !found)
        return gr_fail(GR_ERROR_FILE,
                       "starts as a zip archive, but its directory at the end is missing: cut short?");
    if (!status && (end->count == 0xFFFF || end->size == 0xFFFFFFFF || end->offset == 0xFFFFFFFF)) {
        if (end->place < LOCATOR_SIZE)
            return gr_fail(GR_ERROR_FILE, "its zip directory needs a zip64 record, and there is none");
        return read_end64(source, end->place - LOCATOR_SIZE, end);
    }
    return status;
}

/* Replaces the sizes that did not fit 32 bits by those of the zip64 extra field, which holds only these, in
 * order. */
static int read_extra(struct gr_zip_entry *entry, const unsigned char *extra, size_t size) {
    uint64_t *fields[] = {&entry->size, &entry->packed, &entry->local};
    int wanted = 0;
    for (int i = 0; i < 3; i++)
        wanted += *fields[i] == 0xFFFFFFFF;
    while (wanted && size >= 4) {
        size_t length = (size_t)number(extra + 2, 2);
        if (length > size - 4)
            break;
        if (number(extra, 2) == ZIP64_EXTRA) {
            if (length < 8 * (size_t)wanted)
                break;
            const unsigned char *from = extra + 4;
            for (int i = 0; i < 3; i++) {
                if (*fields[i] != 0xFFFFFFFF)
                    continue;
                *fields[i] = number(from, 8);
                from += 8;
            }
            return GR_OK;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return wanted ? gr_fail(GR_ERROR_FILE, "an entry of its zip directory lacks its 64-bit sizes") : GR_OK;
}

static int read_entries(struct gr_zip *zip, size_t size) {
    const unsigned char *at = zip->directory;
    for (int i = 0; i < zip->count; i++) {
        struct gr_zip_entry *entry = &zip->entries[i];
        if (size < CENTRAL_SIZE || memcmp(at, "PK\x01\x02", 4) != 0)
            return gr_fail(GR_ERROR_FILE, "entry %d of its zip directory is damaged", i + 1);
        size_t extra = (size_t)number(at + 30, 2), comment = (size_t)number(at + 32, 2), whole;
        *entry = (struct gr_zip_entry){.name = (const char *)at + CENTRAL_SIZE,
                                       .length = (size_t)number(at + 28, 2),
                                       .flags = (int)number(at + 8, 2),
                                       .method = (int)number(at + 10, 2),
                                       .crc = (uint32_t)number(at + 16, 4),
                                       .packed = number(at + 20, 4),
                                       .size = number(at + 24, 4),
                                       .local = number(at + 42, 4)};
        whole = CENTRAL_SIZE + entry->length + extra + comment;
        if (whole > size)
            return gr_fail(GR_ERROR_FILE, "entry %d of its zip directory reaches beyond the directory",
                           i + 1);
        GR_TRY(read_extra(entry, at + CENTRAL_SIZE + entry->length, extra));
        at += whole;
        size -= whole;
    }
    return size ? gr_fail(GR_ERROR_FILE, "its zip directory has %zu bytes after the last entry", size)
                : GR_OK;
}

/* The name of an entry for messages. */
static const char *shown_name(const struct gr_zip_entry *entry, char out[128]) {
    char name[120];
    size_t length = entry->length < sizeof name - 1 ? entry->length : sizeof name - 1;
    memcpy(name, entry->name, length);
    name[length] = 0;
    return gr_printable(name, out, 128);
}

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t least = a_length < b_length ? a_length : b_length;
    int side = least ? memcmp(a, b, least) : 0;
    return side ? side : (a_length > b_length) - (a_length < b_length);
}

static int by_name(const void *a, const void *b) {
    const struct gr_zip_entry *x = a, *y = b;
    return compare_names(x->name, x->length, y->name, y->length);
}

static int sort_entries(struct gr_zip *zip) {
    char shown[128];
    qsort(zip->entries, (size_t)zip->count, sizeof *zip->entries, by_name);
    for (int i = 1; i < zip->count; i++)
        if (by_name(&zip->entries[i - 1], &zip->entries[i]) == 0)
            return gr_fail(GR_ERROR_FILE, "its zip directory lists \"%s\" twice",
                           shown_name(&zip->entries[i], shown));
    return GR_OK;
}

int gr_zip_open(struct gr_zip *out, const struct gr_source *source, int most) {
    struct end end = {0};
    *out = (struct gr_zip){.source = source};
    GR_TRY(read_end(source, &end));
    if (end.offset > end.place || end.size > end.place - end.offset)
        return gr_fail(GR_ERROR_FILE, "its zip directory is said to lie at byte %llu, which cannot be",
                       (unsigned long long)end.offset);
    if (end.count > (uint64_t)most || end.size > DIRECTORY_MOST)
        return gr_fail(GR_ERROR_LIMIT,
                       "its zip directory has %llu entries in %llu bytes; at most %d in %d are allowed",
                       (unsigned long long)end.count, (unsigned long long)end.size, most, DIRECTORY_MOST);
    out->count = (int)end.count;
    out->directory_offset = end.offset;
    out->directory = gr_alloc((size_t)end.size);
    out->entries = gr_calloc((size_t)end.count, sizeof *out->entries);
    int status = out->directory && out->entries ? GR_OK : GR_ERROR_MEMORY;
    if (!status)
        status = gr_source_read(source, end.offset, out->directory, (size_t)end.size);
    if (!status)
        status = read_entries(out, (size_t)end.size);
    if (!status)
        status = sort_entries(out);
    if (status)
        gr_zip_close(out);
    return status;
}

void gr_zip_close(struct gr_zip *zip) {
    gr_free(zip->directory);
    gr_free(zip->entries);
    *zip = (struct gr_zip){0};
}

const struct gr_zip_entry *gr_zip_find(const struct gr_zip *zip, const char *prefix, size_t prefix_length,
                                       const char *name, size_t name_length) {
    int low = 0, high = zip->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const struct gr_zip_entry *entry = &zip->entries[middle];
        size_t head = entry->length < prefix_length ? entry->length : prefix_length;
        int side = compare_names(entry->name, head, prefix, prefix_length);
        if (side == 0)
            side =
                compare_names(entry->name + prefix_length, entry->length - prefix_length, name, name_length);
        if (side == 0)
            return entry;
        if (side < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int check_crc(const struct gr_zip *zip, const struct gr_zip_entry *entry, uint64_t offset) {
    unsigned char piece[64 << 10];
    char shown[128];
    uLong crc = crc32(0, NULL, 0);
    if (entry->crc == 0)
        return GR_OK;
    for (uint64_t left = entry->size; left;) {
        size_t n = left < sizeof piece ? (size_t)left : sizeof piece;
        GR_TRY(gr_source_read(zip->source, offset, piece, n));
        crc = crc32(crc, piece, (uInt)n);
        offset += n;
        left -= n;
    }
    if (crc != entry->crc)
        return gr_fail(GR_ERROR_FILE, "is damaged: \"%s\" has the CRC-32 %08lx, its directory says %08lx",
                       shown_name(entry, shown), (unsigned long)crc, (unsigned long)entry->crc);
    return GR_OK;
}

int gr_zip_locate(const struct gr_zip *zip, const struct gr_zip_entry *entry, uint64_t *offset) {
    unsigned char local[LOCAL_SIZE];
    char shown[128], name[256];
    shown_name(entry, shown);
    if (entry->flags & 1)
        return gr_fail(GR_ERROR_FILE, "\"%s\" in it is encrypted", shown);
    if (entry->method != 0)
        return gr_fail(
            GR_ERROR_FILE,
            "\"%s\" in it is compressed (zip method %d); PyTorch stores without compression, so this was "
            "packed by something else",
            shown, entry->method);
    if (entry->size != entry->packed)
        return gr_fail(GR_ERROR_FILE, "\"%s\" in it has %llu bytes, stored in %llu", shown,
                       (unsigned long long)entry->size, (unsigned long long)entry->packed);
    if (entry->length > sizeof name)
        return gr_fail(GR_ERROR_LIMIT, "a name in its zip directory has %zu bytes", entry->length);
    if (entry->local > zip->directory_offset ||
        zip->directory_offset - entry->local < LOCAL_SIZE + entry->length)
        return gr_fail(GR_ERROR_FILE, "\"%s\" is said to lie at byte %llu, which cannot be", shown,
                       (unsigned long long)entry->local);
    GR_TRY(gr_source_read(zip->source, entry->local, local, sizeof local));
    GR_TRY(gr_source_read(zip->source, entry->local + LOCAL_SIZE, name, entry->length));
    if (memcmp(local, "PK\x03\x04", 4) != 0 || number(local + 26, 2) != entry->length ||
        memcmp(name, entry->name, entry->length) != 0)
        return gr_fail(GR_ERROR_FILE, "the local header of \"%s\" does not agree with the zip directory",
                       shown);
    *offset = entry->local + LOCAL_SIZE + entry->length + number(local + 28, 2);
    if (*offset > zip->directory_offset || entry->size > zip->directory_offset - *offset)
        return gr_fail(GR_ERROR_FILE, "\"%s\" reaches beyond the archive: cut short?", shown);
    return check_crc(zip, entry, *offset);
}
