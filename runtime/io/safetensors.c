/* safetensors: an 8-byte little-endian length N, N bytes of JSON, then the numbers to the end of the file.
 *
 * The header is scanned here and not by a JSON library, since a library accepts what two readers may
 * understand differently: repeated keys, zero bytes in names, 1e2 for 100. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/reader.h"

struct entry {
    char *name;
    const struct gr_element *element;
    int rank;
    int64_t shape[GR_MAX_RANK];
    uint64_t begin, end;
    int position; /* in the header */
};

struct scanner {
    struct gr_reader *reader;
    const unsigned char *text;
    size_t size, at;
    char *string; /* the string scanned last, unescaped; as large as the header */
    size_t length;
    struct entry *entries;
    int count, capacity;
};

static int bad(const struct scanner *scanner, const char *expected) {
    char came[16] = "the end";
    if (scanner->at < scanner->size) {
        char byte[2] = {(char)scanner->text[scanner->at], 0};
        char shown[8];
        snprintf(came, sizeof came, "\"%s\"", byte[0] ? gr_printable(byte, shown, sizeof shown) : "\\x00");
    }
    return gr_fail(GR_ERROR_FILE, "header, byte %zu: %s expected, %s came", scanner->at + 8, expected, came);
}

static void skip_space(struct scanner *scanner) {
    while (scanner->at < scanner->size && strchr(" \t\r\n", scanner->text[scanner->at]) &&
           scanner->text[scanner->at])
        scanner->at++;
}

/* Skips space, then takes `byte` if it is there. */
static bool take(struct scanner *scanner, char byte) {
    skip_space(scanner);
    if (scanner->at >= scanner->size || scanner->text[scanner->at] != (unsigned char)byte)
        return false;
    scanner->at++;
    return true;
}

static int expect(struct scanner *scanner, char byte, const char *what) {
    return take(scanner, byte) ? GR_OK : bad(scanner, what);
}

static int scan_hex(struct scanner *scanner, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++, scanner->at++) {
        int byte = scanner->at < scanner->size ? scanner->text[scanner->at] : 0;
        int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
        if (digit < 0)
            return bad(scanner, "four hexadecimal digits after \\u");
        *code = *code << 4 | (uint32_t)digit;
    }
    return GR_OK;
}

static void put_utf8(struct scanner *scanner, uint32_t code) {
    char *to = scanner->string + scanner->length;
    if (code < 0x80) {
        to[0] = (char)code;
        scanner->length += 1;
    } else if (code < 0x800) {
        to[0] = (char)(0xC0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3F));
        scanner->length += 2;
    } else if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code & 0x3F));
        scanner->length += 3;
    } else {
        to[0] = (char)(0xF0 | code >> 18);
        to[1] = (char)(0x80 | (code >> 12 & 0x3F));
        to[2] = (char)(0x80 | (code >> 6 & 0x3F));
        to[3] = (char)(0x80 | (code & 0x3F));
        scanner->length += 4;
    }
}

/* What follows \u: one code, or a pair of surrogates. */
static int scan_unicode(struct scanner *scanner) {
    uint32_t code, low;
    GR_TRY(scan_hex(scanner, &code));
    if (code == 0)
        return gr_fail(GR_ERROR_FILE, "header, byte %zu: \\u0000 is not allowed in a string",
                       scanner->at + 2);
    if (code >= 0xDC00 && code < 0xE000)
        return bad(scanner, "the first half of a surrogate pair before the second");
    if (code >= 0xD800 && code < 0xDC00) {
        if (scanner->size - scanner->at < 2 || memcmp(scanner->text + scanner->at, "\\u", 2) != 0)
            return bad(scanner, "the second half of a surrogate pair");
        scanner->at += 2;
        GR_TRY(scan_hex(scanner, &low));
        if (low < 0xDC00 || low >= 0xE000)
            return bad(scanner, "the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    put_utf8(scanner, code);
    return GR_OK;
}

static int scan_escape(struct scanner *scanner) {
    static const char letters[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    const char *letter = NULL;
    if (scanner->at < scanner->size && scanner->text[scanner->at])
        letter = strchr(letters, scanner->text[scanner->at]);
    if (letter) {
        scanner->at++;
        scanner->string[scanner->length++] = codes[letter - letters];
        return GR_OK;
    }
    if (scanner->at < scanner->size && scanner->text[scanner->at] == 'u') {
        scanner->at++;
        return scan_unicode(scanner);
    }
    return bad(scanner, "one of \" \\ / b f n r t u after a backslash");
}

/* A string into scanner->string: valid UTF-8, NUL-terminated, no NUL inside. */
static int scan_string(struct scanner *scanner, const char *what) {
    GR_TRY(expect(scanner, '"', what));
    size_t start = scanner->at;
    scanner->length = 0;
    for (;;) {
        if (scanner->at >= scanner->size)
            return bad(scanner, "the closing quote of a string");
        unsigned char byte = scanner->text[scanner->at];
        if (byte < 0x20)
            return bad(scanner, "no control byte in a string");
        scanner->at++;
        if (byte == '"')
            break;
        if (byte == '\\')
            GR_TRY(scan_escape(scanner));
        else
            scanner->string[scanner->length++] = (char)byte;
    }
    scanner->string[scanner->length] = 0;
    if (!gr_utf8_valid(scanner->string, scanner->length))
        return gr_fail(GR_ERROR_FILE, "header, byte %zu: a string is not valid UTF-8", start + 8);
    return GR_OK;
}

/* A plain decimal integer 0..2^63-1: no sign, no leading zero, no fraction, no exponent. */
static int scan_integer(struct scanner *scanner, uint64_t *out) {
    skip_space(scanner);
    size_t start = scanner->at;
    uint64_t value = 0;
    for (; scanner->at < scanner->size; scanner->at++) {
        unsigned digit = scanner->text[scanner->at] - (unsigned)'0';
        if (digit > 9)
            break;
        if (value > ((uint64_t)INT64_MAX - digit) / 10)
            return gr_fail(GR_ERROR_FILE, "header, byte %zu: a number is beyond 2^63", start + 8);
        value = value * 10 + digit;
    }
    if (scanner->at == start)
        return bad(scanner, "a plain decimal integer");
    if (scanner->text[start] == '0' && scanner->at > start + 1)
        return gr_fail(GR_ERROR_FILE, "header, byte %zu: a number starts with 0", start + 8);
    if (scanner->at < scanner->size && strchr(".eE", scanner->text[scanner->at]) &&
        scanner->text[scanner->at])
        return bad(scanner, "a plain decimal integer");
    *out = value;
    return GR_OK;
}

static int scan_shape(struct scanner *scanner, struct entry *entry) {
    GR_TRY(expect(scanner, '[', "[ of the shape"));
    if (take(scanner, ']'))
        return GR_OK;
    do {
        uint64_t size;
        if (entry->rank == scanner->reader->limits.rank)
            return gr_fail(GR_ERROR_LIMIT, "header, byte %zu: a shape with more than %d dimensions",
                           scanner->at + 8, scanner->reader->limits.rank);
        GR_TRY(scan_integer(scanner, &size));
        entry->shape[entry->rank++] = (int64_t)size;
    } while (take(scanner, ','));
    return expect(scanner, ']', ", or ] of the shape");
}

static int scan_offsets(struct scanner *scanner, struct entry *entry) {
    GR_TRY(expect(scanner, '[', "[ of the data offsets"));
    GR_TRY(scan_integer(scanner, &entry->begin));
    GR_TRY(expect(scanner, ',', ", between two data offsets"));
    GR_TRY(scan_integer(scanner, &entry->end));
    return expect(scanner, ']', "] after two data offsets");
}

static int scan_dtype(struct scanner *scanner, struct entry *entry) {
    char shown[32];
    GR_TRY(scan_string(scanner, "the dtype in quotes"));
    entry->element = gr_element_find(scanner->string, scanner->length);
    if (!entry->element)
        return gr_fail(GR_ERROR_FILE, "dtype \"%s\" is not read; F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL are",
                       gr_printable(scanner->string, shown, sizeof shown));
    return GR_OK;
}

/* {"dtype": ..., "shape": ..., "data_offsets": ...}: each once, in any order, nothing else. */
static int scan_entry(struct scanner *scanner, struct entry *entry) {
    static const char *const keys[] = {"dtype", "shape", "data_offsets"};
    unsigned seen = 0;
    char shown[64];
    GR_TRY(expect(scanner, '{', "{ of a tensor's entry"));
    do {
        int key = 0;
        GR_TRY(scan_string(scanner, "\"dtype\", \"shape\" or \"data_offsets\""));
        while (key < 3 && strcmp(keys[key], scanner->string) != 0)
            key++;
        if (key == 3)
            return gr_fail(GR_ERROR_FILE,
                           "an entry has the key \"%s\"; dtype, shape and data_offsets are expected",
                           gr_printable(scanner->string, shown, sizeof shown));
        if (seen & 1u << key)
            return gr_fail(GR_ERROR_FILE, "an entry has the key \"%s\" twice", keys[key]);
        seen |= 1u << key;
        GR_TRY(expect(scanner, ':', ": after a key"));
        GR_TRY(key == 0   ? scan_dtype(scanner, entry)
               : key == 1 ? scan_shape(scanner, entry)
                          : scan_offsets(scanner, entry));
    } while (take(scanner, ','));
    GR_TRY(expect(scanner, '}', ", or } of a tensor's entry"));
    for (int key = 0; key < 3; key++)
        if (!(seen & 1u << key))
            return gr_fail(GR_ERROR_FILE, "an entry has no \"%s\"", keys[key]);
    return GR_OK;
}

static int scan_metadata(struct scanner *scanner) {
    GR_TRY(expect(scanner, '{', "{ of the metadata"));
    if (take(scanner, '}'))
        return GR_OK;
    do {
        GR_TRY(scan_string(scanner, "a metadata key in quotes"));
        char *key = gr_strdup(scanner->string);
        if (!key)
            return GR_ERROR_MEMORY;
        int status = expect(scanner, ':', ": after a metadata key");
        if (!status)
            status = scan_string(scanner, "a metadata value in quotes");
        if (!status)
            status = gr_reader_metadata(scanner->reader, key, scanner->string);
        gr_free(key);
        GR_TRY(status);
    } while (take(scanner, ','));
    return expect(scanner, '}', ", or } of the metadata");
}

static struct entry *new_entry(struct scanner *scanner) {
    if (scanner->count >= scanner->reader->limits.tensors) {
        gr_fail(GR_ERROR_LIMIT, "more than %d tensors", scanner->reader->limits.tensors);
        return NULL;
    }
    if (scanner->count == scanner->capacity) {
        int capacity = scanner->capacity ? scanner->capacity * 2 : 64;
        struct entry *entries = gr_realloc(scanner->entries, (size_t)capacity * sizeof *entries);
        if (!entries)
            return NULL;
        scanner->entries = entries;
        scanner->capacity = capacity;
    }
    struct entry *entry = &scanner->entries[scanner->count];
    *entry = (struct entry){.name = gr_strdup(scanner->string), .position = scanner->count};
    if (!entry->name)
        return NULL;
    scanner->count++;
    return entry;
}

static int scan_header(struct scanner *scanner) {
    bool metadata = false;
    GR_TRY(expect(scanner, '{', "{ of the header"));
    if (!take(scanner, '}')) {
        do {
            GR_TRY(scan_string(scanner, "a tensor name in quotes"));
            if (strcmp(scanner->string, "__metadata__") == 0) {
                if (metadata)
                    return gr_fail(GR_ERROR_FILE, "the header has \"__metadata__\" twice");
                metadata = true;
                GR_TRY(expect(scanner, ':', ": after __metadata__"));
                GR_TRY(scan_metadata(scanner));
                continue;
            }
            struct entry *entry = new_entry(scanner);
            if (!entry)
                return gr_error()->code;
            GR_TRY(expect(scanner, ':', ": after a tensor name"));
            if (scan_entry(scanner, entry) != 0) {
                char shown[128];
                return gr_fail_in("tensor \"%s\"", gr_printable(entry->name, shown, sizeof shown));
            }
        } while (take(scanner, ','));
        GR_TRY(expect(scanner, '}', ", or } of the header"));
    }
    skip_space(scanner);
    return scanner->at == scanner->size ? GR_OK : bad(scanner, "nothing but spaces after the header's }");
}

static void sort_entries(struct scanner *scanner, int (*compare)(const void *, const void *)) {
    if (scanner->count)
        qsort(scanner->entries, (size_t)scanner->count, sizeof *scanner->entries, compare);
}

static int by_place(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end != y->end ? (x->end < y->end ? -1 : 1) : x->position - y->position;
}

/* Entries in the order of the data: each starts where the one before ended, and the last ends with the
 * file. */
static int check_places(struct scanner *scanner, uint64_t size) {
    uint64_t at = 0;
    char shown[128], shape[96];
    sort_entries(scanner, by_place);
    for (int i = 0; i < scanner->count; i++) {
        const struct entry *entry = &scanner->entries[i];
        int64_t count;
        gr_printable(entry->name, shown, sizeof shown);
        if (entry->end < entry->begin || entry->end > size)
            return gr_fail(GR_ERROR_FILE,
                           "tensor \"%s\" lies at bytes %llu to %llu of the data, which has %llu bytes",
                           shown, (unsigned long long)entry->begin, (unsigned long long)entry->end,
                           (unsigned long long)size);
        if (entry->begin != at)
            return gr_fail(GR_ERROR_FILE,
                           "tensor \"%s\" starts at byte %llu of the data and %s: %llu was expected", shown,
                           (unsigned long long)entry->begin,
                           entry->begin < at ? "overlaps the one before it" : "leaves a gap before it",
                           (unsigned long long)at);
        if (gr_shape_count(entry->rank, entry->shape, &count) != 0)
            return gr_fail_in("tensor \"%s\"", shown);
        uint64_t bytes = entry->end - entry->begin, each = (uint64_t)entry->element->size;
        if ((uint64_t)count != bytes / each || bytes % each)
            return gr_fail(GR_ERROR_FILE, "tensor \"%s\": shape %s of %s does not fill its %llu bytes", shown,
                           gr_format_shape(entry->rank, entry->shape, shape), entry->element->name,
                           (unsigned long long)bytes);
        at = entry->end;
    }
    if (at != size)
        return gr_fail(GR_ERROR_FILE, "%llu bytes after the last tensor belong to none",
                       (unsigned long long)(size - at));
    return GR_OK;
}

static int by_position(const void *a, const void *b) {
    return ((const struct entry *)a)->position - ((const struct entry *)b)->position;
}

static int read_tensors(struct scanner *scanner, uint64_t data) {
    sort_entries(scanner, by_position);
    for (int i = 0; i < scanner->count; i++) {
        const struct entry *entry = &scanner->entries[i];
        struct gr_placement placement = {.element = entry->element,
                                         .offset = data + entry->begin,
                                         .rank = entry->rank,
                                         .shape = entry->shape};
        GR_TRY(gr_reader_add(scanner->reader, entry->name, strlen(entry->name), &placement));
    }
    return GR_OK;
}

static int read_scanned(struct scanner *scanner, uint64_t size) {
    uint64_t data = 8 + (uint64_t)scanner->size;
    GR_TRY(scan_header(scanner));
    GR_TRY(check_places(scanner, size - data));
    return read_tensors(scanner, data);
}

int gr_safetensors_read(struct gr_reader *reader) {
    unsigned char prefix[8];
    uint64_t size = reader->source->size, header = 0;
    GR_TRY(gr_source_read(reader->source, 0, prefix, sizeof prefix));
    for (int i = 7; i >= 0; i--)
        header = header << 8 | prefix[i];
    if (header > size - 8)
        return gr_fail(GR_ERROR_FILE,
                       "its header claims %llu bytes, but the whole file has %llu: cut short or no "
                       "safetensors file",
                       (unsigned long long)header, (unsigned long long)size);
    if (header > reader->limits.header_bytes)
        return gr_fail(GR_ERROR_LIMIT, "its header has %llu bytes; at most %llu are allowed",
                       (unsigned long long)header, (unsigned long long)reader->limits.header_bytes);
    struct scanner scanner = {.reader = reader, .size = (size_t)header};
    unsigned char *text = gr_alloc(scanner.size);
    scanner.text = text;
    scanner.string = gr_alloc(scanner.size + 1);
    int status = text && scanner.string ? GR_OK : GR_ERROR_MEMORY;
    if (!status)
        status = gr_source_read(reader->source, 8, text, scanner.size);
    if (!status)
        status = read_scanned(&scanner, size);
    for (int i = 0; i < scanner.count; i++)
        gr_free(scanner.entries[i].name);
    gr_free(scanner.entries);
    gr_free(scanner.string);
    gr_free(text);
    return status;
}
