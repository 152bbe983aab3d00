#include "io/pack.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/digest.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/reader.h"

enum {
    LOCAL_SIZE = 30,   /* a local header, without its name */
    CENTRAL_SIZE = 46, /* an entry of the directory, without its name */
    END_SIZE = 22,
    NAME_MOST = 19, /* "weights.safetensors" */
    HEX = 64,
    SUMS_MOST = 1024, /* the version, and five lines */
    DIRECTORY_MOST = GR_PACK_PARTS * (CENTRAL_SIZE + NAME_MOST) + END_SIZE,
    PIECE = 64 << 10,
};

static const char VERSION_LINE[] = "# graft pack 1\n";

/* The limits keep every offset below 2^32, so that nothing of zip64 is needed. */
static const struct {
    const char *name;
    uint64_t most;
    bool needed, text;
} kinds[GR_PACK_PARTS] = {
    [GR_PACK_SUMS] = {"SHA256SUMS", SUMS_MOST, true, true},
    [GR_PACK_RECIPE] = {"recipe.lua", 1 << 20, true, true},
    [GR_PACK_LOCK] = {"recipe.lock", 1 << 20, true, true},
    [GR_PACK_METRICS] = {"metrics.csv", 16 << 20, false, true},
    [GR_PACK_REPORT] = {"report.txt", 1 << 20, false, true},
    [GR_PACK_WEIGHTS] = {"weights.safetensors", 0xFFFFFFFFu - (64 << 20), false, false},
};

const char *gr_pack_name(enum gr_pack_part part) {
    return kinds[part].name;
}

/* --- the one spelling --- */

static unsigned char *put(unsigned char *to, uint64_t value, int size) {
    for (int i = 0; i < size; i++)
        *to++ = (unsigned char)(value >> 8 * i);
    return to;
}

static uint64_t get(const unsigned char *from, int size) {
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

/* What local header and directory have in common: version, flags, method, time, date, CRC, sizes, length of
 * the name, no extra field. */
static unsigned char *put_common(unsigned char *to, const char *name, const struct gr_pack_entry *entry) {
    to = put(to, 10, 2);
    to = put(to, 0, 2);
    to = put(to, 0, 2);
    to = put(to, 0, 2);
    to = put(to, 0x21, 2); /* 1980-01-01 */
    to = put(to, entry->crc, 4);
    to = put(to, entry->size, 4);
    to = put(to, entry->size, 4);
    to = put(to, strlen(name), 2);
    return put(to, 0, 2);
}

/* Returns the size of the header with its name. */
static size_t local_header(unsigned char out[LOCAL_SIZE + NAME_MOST], enum gr_pack_part part,
                           const struct gr_pack_entry *entry) {
    const char *name = kinds[part].name;
    memcpy(out, "PK\x03\x04", 4);
    unsigned char *to = put_common(out + 4, name, entry);
    memcpy(to, name, strlen(name));
    return LOCAL_SIZE + strlen(name);
}

static uint64_t local_offset(enum gr_pack_part part, const struct gr_pack_entry *entry) {
    return entry->offset - LOCAL_SIZE - strlen(kinds[part].name);
}

/* The directory and its end record, which lie at `offset`. Returns their size. */
static size_t directory(unsigned char out[DIRECTORY_MOST], const struct gr_pack *pack, uint64_t offset) {
    unsigned char *to = out;
    int count = 0;
    for (int part = 0; part < GR_PACK_PARTS; part++) {
        const struct gr_pack_entry *entry = &pack->parts[part];
        const char *name = kinds[part].name;
        if (!entry->present)
            continue;
        memcpy(to, "PK\x01\x02", 4);
        to = put(to + 4, 10, 2);
        to = put_common(to, name, entry);
        to = put(to, 0, 2); /* comment */
        to = put(to, 0, 8); /* disk, attributes */
        to = put(to, local_offset((enum gr_pack_part)part, entry), 4);
        memcpy(to, name, strlen(name));
        to += strlen(name);
        count++;
    }
    size_t size = (size_t)(to - out);
    memcpy(to, "PK\x05\x06", 4);
    to = put(to + 4, 0, 4);
    to = put(to, (uint64_t)count, 2);
    to = put(to, (uint64_t)count, 2);
    to = put(to, size, 4);
    to = put(to, offset, 4);
    to = put(to, 0, 2);
    return (size_t)(to - out);
}

static void sums_text(char out[SUMS_MOST], const struct gr_pack *pack) {
    size_t at = (size_t)snprintf(out, SUMS_MOST, "%s", VERSION_LINE);
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++)
        if (pack->parts[part].present)
            at += (size_t)snprintf(out + at, SUMS_MOST - at, "%s  %s\n", pack->parts[part].sha256,
                                   kinds[part].name);
}

/* --- reading --- */

/* Refuses the file: the rule that it breaks, then what came. */
#define REFUSE(rule, ...) gr_fail(GR_ERROR_FILE, "is no sound pack (rule \"" rule "\"): " __VA_ARGS__)

bool gr_pack_is(const struct gr_source *source) {
    const char *name = kinds[GR_PACK_SUMS].name;
    unsigned char start[LOCAL_SIZE + NAME_MOST];
    size_t size = LOCAL_SIZE + strlen(name);
    return source->size >= size && gr_source_read(source, 0, start, size) == GR_OK &&
           memcmp(start, "PK\x03\x04", 4) == 0 && memcmp(start + LOCAL_SIZE, name, strlen(name)) == 0;
}

/* Copies bytes of the file, which need not be text, for a message. */
static const char *shown(const unsigned char *bytes, size_t length, char out[96]) {
    char text[32];
    size_t n = length < sizeof text - 1 ? length : sizeof text - 1;
    memcpy(text, bytes, n);
    text[n] = 0;
    return gr_printable(text, out, 96);
}

/* Reads the local header of `part` at *offset, checks it and moves on to behind its content. */
static int read_entry(struct gr_pack *pack, const struct gr_source *source, enum gr_pack_part part,
                      uint64_t *offset) {
    unsigned char bytes[LOCAL_SIZE + NAME_MOST], right[LOCAL_SIZE + NAME_MOST];
    const char *name = kinds[part].name;
    struct gr_pack_entry *entry = &pack->parts[part];
    size_t length = LOCAL_SIZE + strlen(name);
    char word[96];
    if (*offset > source->size || source->size - *offset < length)
        return REFUSE("short", "it ends where %s should begin", name);
    GR_TRY(gr_source_read(source, *offset, bytes, length));
    if (memcmp(bytes, "PK\x03\x04", 4) != 0)
        return REFUSE("header", "no entry begins where %s should", name);
    if (get(bytes + 26, 2) != strlen(name) || memcmp(bytes + LOCAL_SIZE, name, strlen(name)) != 0)
        return REFUSE("names", "%s expected, an entry \"%s\" of %llu bytes of name came", name,
                      shown(bytes + LOCAL_SIZE, length - LOCAL_SIZE, word),
                      (unsigned long long)get(bytes + 26, 2));
    if (get(bytes + 8, 2) != 0)
        return REFUSE("stored", "%s is compressed (zip method %d); parts are stored as they are", name,
                      (int)get(bytes + 8, 2));
    entry->crc = (uint32_t)get(bytes + 14, 4);
    entry->size = get(bytes + 22, 4);
    if (entry->size > kinds[part].most)
        return REFUSE("size", "%s has %llu bytes, at most %llu are allowed", name,
                      (unsigned long long)entry->size, (unsigned long long)kinds[part].most);
    local_header(right, part, entry);
    if (memcmp(bytes, right, length) != 0)
        return REFUSE("header", "the header of %s is not as Graft writes it (flags, times, sizes)", name);
    entry->present = true;
    entry->offset = *offset + length;
    if (entry->size > source->size - entry->offset)
        return REFUSE("short", "%s should have %llu bytes, the file ends after %llu of them", name,
                      (unsigned long long)entry->size, (unsigned long long)(source->size - entry->offset));
    *offset = entry->offset + entry->size;
    return GR_OK;
}

static int check_version(const char *text) {
    if (strncmp(text, VERSION_LINE, strlen(VERSION_LINE)) == 0)
        return GR_OK;
    char word[96];
    size_t length = strcspn(text, "\n");
    return REFUSE("version", "\"# graft pack 1\" expected, \"%s\" came: a newer Graft may read it",
                  shown((const unsigned char *)text, length, word));
}

/* One line "DIGEST  NAME": marks the part as listed. *last is the part of the line before. */
static int read_line(struct gr_pack *pack, const char *line, size_t length, int *last) {
    char word[96];
    int part = GR_PACK_RECIPE;
    if (length < HEX + 3 || strspn(line, "0123456789abcdef") != HEX || memcmp(line + HEX, "  ", 2) != 0)
        return REFUSE("list", "a line of SHA256SUMS is not \"DIGEST  NAME\": \"%s\"",
                      shown((const unsigned char *)line, length, word));
    const char *name = line + HEX + 2;
    length -= HEX + 2;
    while (part < GR_PACK_PARTS &&
           (length != strlen(kinds[part].name) || memcmp(name, kinds[part].name, length) != 0))
        part++;
    if (part == GR_PACK_PARTS)
        return REFUSE("names", "\"%s\" is none of the parts that a pack may have",
                      shown((const unsigned char *)name, length, word));
    if (pack->parts[part].sha256[0])
        return REFUSE("duplicate", "%s is listed twice", kinds[part].name);
    if (part < *last)
        return REFUSE("order", "%s is listed behind %s", kinds[part].name, kinds[*last].name);
    *last = part;
    memcpy(pack->parts[part].sha256, line, HEX);
    return GR_OK;
}

static int read_sums(struct gr_pack *pack, const char *text) {
    int last = 0;
    GR_TRY(check_version(text));
    for (const char *line = text + strlen(VERSION_LINE); *line;) {
        const char *end = strchr(line, '\n');
        if (!end)
            return REFUSE("list", "the last line of SHA256SUMS does not end");
        GR_TRY(read_line(pack, line, (size_t)(end - line), &last));
        line = end + 1;
    }
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++)
        if (kinds[part].needed && !pack->parts[part].sha256[0])
            return REFUSE("missing", "it has no %s", kinds[part].name);
    return GR_OK;
}

static int check_directory(const struct gr_pack *pack, const struct gr_source *source, uint64_t offset) {
    unsigned char right[DIRECTORY_MOST], bytes[DIRECTORY_MOST];
    size_t size = directory(right, pack, offset);
    uint64_t rest = source->size - offset;
    if (rest < size)
        return REFUSE("short", "its directory should have %zu bytes, %llu are there", size,
                      (unsigned long long)rest);
    GR_TRY(gr_source_read(source, offset, bytes, size));
    if (memcmp(bytes, right, size) != 0)
        return REFUSE("directory", "what follows the last listed part is not the directory of these parts");
    if (rest > size)
        return REFUSE("trailing", "%llu bytes follow its end", (unsigned long long)(rest - size));
    return GR_OK;
}

int gr_pack_open(struct gr_pack *out, const struct gr_source *source) {
    char text[SUMS_MOST + 1] = {0};
    uint64_t offset = 0;
    *out = (struct gr_pack){0};
    if (!gr_pack_is(source))
        return REFUSE("signature", "a file that begins with the entry SHA256SUMS expected");
    GR_TRY(read_entry(out, source, GR_PACK_SUMS, &offset));
    GR_TRY(gr_pack_read(out, source, GR_PACK_SUMS, text));
    GR_TRY(read_sums(out, text));
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++)
        if (out->parts[part].sha256[0])
            GR_TRY(read_entry(out, source, (enum gr_pack_part)part, &offset));
    return check_directory(out, source, offset);
}

int gr_pack_read(const struct gr_pack *pack, const struct gr_source *source, enum gr_pack_part part,
                 void *buffer) {
    const struct gr_pack_entry *entry = &pack->parts[part];
    const char *name = kinds[part].name;
    unsigned char piece[PIECE];
    char hex[HEX + 1];
    struct gr_digest digest;
    uLong crc = crc32(0, NULL, 0);
    gr_digest_start(&digest);
    for (uint64_t at = 0; at < entry->size;) {
        size_t n = entry->size - at < sizeof piece ? (size_t)(entry->size - at) : sizeof piece;
        unsigned char *to = buffer ? (unsigned char *)buffer + at : piece;
        GR_TRY(gr_source_read(source, entry->offset + at, to, n));
        crc = crc32(crc, to, (uInt)n);
        gr_digest_add(&digest, to, n);
        at += n;
    }
    gr_digest_hex(&digest, hex);
    if (entry->sha256[0] && strcmp(hex, entry->sha256) != 0)
        return REFUSE("digest", "%s has the digest %.16s..., SHA256SUMS says %.16s...", name, hex,
                      entry->sha256);
    if (crc != entry->crc)
        return REFUSE("crc", "%s has the CRC-32 %08lx, its header says %08lx", name, (unsigned long)crc,
                      (unsigned long)entry->crc);
    if (kinds[part].text && buffer && !gr_utf8_valid(buffer, (size_t)entry->size))
        return REFUSE("text", "%s is not UTF-8 text, or holds a zero byte", name);
    return GR_OK;
}

/* --- writing --- */

static int open_input(struct gr_source *out, const struct gr_pack_input *input) {
    if (!input->path) {
        *out = gr_source_memory(input->bytes, input->size);
        return GR_OK;
    }
    return gr_source_open(out, input->path) ? gr_fail_in("%s", input->path) : GR_OK;
}

/* Size, CRC and digest of what a part will hold; or, with a writer, its bytes. */
static int pass(const struct gr_source *source, struct gr_pack_entry *entry, struct gr_writer *writer) {
    unsigned char piece[PIECE];
    struct gr_digest digest;
    uLong crc = crc32(0, NULL, 0);
    gr_digest_start(&digest);
    for (uint64_t at = 0; at < source->size;) {
        size_t n = source->size - at < sizeof piece ? (size_t)(source->size - at) : sizeof piece;
        GR_TRY(gr_source_read(source, at, piece, n));
        crc = crc32(crc, piece, (uInt)n);
        gr_digest_add(&digest, piece, n);
        if (writer)
            GR_TRY(gr_writer_put(writer, piece, n));
        at += n;
    }
    if (writer && crc != entry->crc)
        return gr_fail(GR_ERROR_FILE, "changed while it was packed");
    entry->crc = (uint32_t)crc;
    entry->size = source->size;
    gr_digest_hex(&digest, entry->sha256);
    return GR_OK;
}

static int examine(struct gr_pack_entry *entry, enum gr_pack_part part, const struct gr_pack_input *input) {
    struct gr_source source;
    GR_TRY(open_input(&source, input));
    int status = GR_OK;
    if (source.size > kinds[part].most)
        status = gr_fail(GR_ERROR_LIMIT, "%s has %llu bytes; a pack takes at most %llu", kinds[part].name,
                         (unsigned long long)source.size, (unsigned long long)kinds[part].most);
    else if (kinds[part].text && !gr_utf8_valid(input->bytes, input->size))
        status = gr_fail(GR_ERROR_OPTION, "%s is not UTF-8 text, so it cannot be packed", kinds[part].name);
    if (!status)
        status = pass(&source, entry, NULL);
    gr_source_close(&source);
    entry->present = true;
    return status;
}

static int write_part(struct gr_writer *writer, struct gr_pack *pack, enum gr_pack_part part,
                      const struct gr_pack_input *input, uint64_t *offset) {
    unsigned char header[LOCAL_SIZE + NAME_MOST];
    struct gr_pack_entry *entry = &pack->parts[part];
    struct gr_source source;
    size_t length = local_header(header, part, entry);
    GR_TRY(gr_writer_put(writer, header, length));
    GR_TRY(open_input(&source, input));
    int status = source.size == entry->size ? pass(&source, entry, writer)
                                            : gr_fail(GR_ERROR_FILE, "changed while it was packed");
    gr_source_close(&source);
    if (status)
        return gr_fail_in("%s", kinds[part].name);
    entry->offset = *offset + length;
    *offset = entry->offset + entry->size;
    return GR_OK;
}

static int write_all(struct gr_writer *writer, struct gr_pack *pack, const struct gr_pack_input *inputs) {
    unsigned char end[DIRECTORY_MOST];
    uint64_t offset = 0;
    for (int part = 0; part < GR_PACK_PARTS; part++)
        if (pack->parts[part].present)
            GR_TRY(write_part(writer, pack, (enum gr_pack_part)part, &inputs[part], &offset));
    return gr_writer_put(writer, end, directory(end, pack, offset));
}

int gr_pack_write(const char *path, const struct gr_pack_input inputs[GR_PACK_PARTS]) {
    struct gr_pack pack = {0};
    struct gr_pack_input all[GR_PACK_PARTS];
    struct gr_writer writer;
    char sums[SUMS_MOST];
    memcpy(all, inputs, sizeof all);
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++) {
        if (all[part].bytes || all[part].path)
            GR_TRY(examine(&pack.parts[part], (enum gr_pack_part)part, &all[part]));
        else if (kinds[part].needed)
            return gr_fail(GR_ERROR_OPTION, "a pack needs %s", kinds[part].name);
    }
    sums_text(sums, &pack);
    all[GR_PACK_SUMS] = (struct gr_pack_input){sums, strlen(sums), NULL};
    GR_TRY(examine(&pack.parts[GR_PACK_SUMS], GR_PACK_SUMS, &all[GR_PACK_SUMS]));
    GR_TRY(gr_writer_open(&writer, path));
    int status = write_all(&writer, &pack, all);
    if (!status)
        return gr_writer_commit(&writer);
    gr_writer_abort(&writer);
    return status;
}
