/* Weights files in memory for the tests of io/: fixtures, and good or bad files built piece by piece. */
#ifndef GRAFT_TESTS_IO_FILES_H
#define GRAFT_TESTS_IO_FILES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "base/status.h"
#include "io/weights.h"

#define FIXTURES "tests/fixtures/io/"

struct bytes {
    unsigned char *at;
    size_t size, capacity;
};

static inline void put(struct bytes *bytes, const void *from, size_t size) {
    if (bytes->size + size > bytes->capacity) {
        bytes->capacity = 2 * (bytes->size + size) + 64;
        bytes->at = realloc(bytes->at, bytes->capacity);
        assert_non_null(bytes->at);
    }
    if (size)
        memcpy(bytes->at + bytes->size, from, size);
    bytes->size += size;
}

static inline void put_text(struct bytes *bytes, const char *text) {
    put(bytes, text, strlen(text));
}

/* A little-endian number of `size` bytes. */
static inline void put_number(struct bytes *bytes, uint64_t value, int size) {
    for (int i = 0; i < size; i++)
        put(bytes, &(unsigned char){(unsigned char)(value >> 8 * i)}, 1);
}

static inline void set_number(struct bytes *bytes, size_t at, uint64_t value, int size) {
    for (int i = 0; i < size; i++)
        bytes->at[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

static inline struct bytes fixture(const char *name) {
    char path[256];
    struct bytes bytes = {0};
    unsigned char piece[4096];
    size_t got;
    snprintf(path, sizeof path, FIXTURES "%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0)
        put(&bytes, piece, got);
    fclose(file);
    return bytes;
}

static inline int parse(struct gr_weights **out, const struct bytes *bytes) {
    struct gr_weights_limits limits = gr_weights_default_limits();
    return gr_weights_parse(out, bytes->at, bytes->size, "memory", &limits);
}

/* The file is refused, with these words in the message, and nothing stays allocated. Releases the bytes. */
static inline void refused(struct bytes bytes, const char *words) {
    size_t blocks = gr_memory().blocks;
    struct gr_weights *weights;
    int status = parse(&weights, &bytes);
    if (status == GR_OK || !strstr(gr_error()->message, words)) {
        print_error("expected \"%s\", came \"%s\"\n", words, status ? gr_error()->message : "success");
        gr_weights_free(weights);
        fail();
    }
    assert_null(weights);
    assert_int_equal(strncmp(gr_error()->message, "memory: ", 8), 0);
    assert_int_equal(gr_memory().blocks, blocks);
    free(bytes.at);
}

/* A safetensors file of this header and so many bytes of data. */
static inline struct bytes safetensors(const char *header, size_t data) {
    struct bytes bytes = {0};
    put_number(&bytes, strlen(header), 8);
    put_text(&bytes, header);
    for (size_t i = 0; i < data; i++)
        put_number(&bytes, i & 0x3F, 1);
    return bytes;
}

/* --- zip --- */

struct zip_entry {
    const char *name;
    struct bytes content; /* owned */
    int method, flags;
    bool wrong_crc, no_entry; /* no_entry: left out */
};

/* A stored zip archive of the entries, whose contents it releases. */
static inline struct bytes zip(struct zip_entry *entries, int count) {
    struct bytes out = {0}, directory = {0};
    int listed = 0;
    for (int i = 0; i < count; i++) {
        struct zip_entry *e = &entries[i];
        size_t local = out.size, length = strlen(e->name);
        uint32_t crc =
            (uint32_t)crc32(crc32(0, NULL, 0), e->content.at, (uInt)e->content.size) ^ e->wrong_crc;
        if (!e->no_entry) {
            put(&out, "PK\x03\x04", 4);
            put_number(&out, 20, 2);
            put_number(&out, (uint64_t)e->flags, 2);
            put_number(&out, (uint64_t)e->method, 2);
            put_number(&out, 0, 4);
            put_number(&out, crc, 4);
            put_number(&out, e->content.size, 4);
            put_number(&out, e->content.size, 4);
            put_number(&out, length, 2);
            put_number(&out, 0, 2);
            put(&out, e->name, length);
            put(&out, e->content.at, e->content.size);
            put(&directory, "PK\x01\x02", 4);
            put_number(&directory, 20, 2);
            put_number(&directory, 20, 2);
            put_number(&directory, (uint64_t)e->flags, 2);
            put_number(&directory, (uint64_t)e->method, 2);
            put_number(&directory, 0, 4);
            put_number(&directory, crc, 4);
            put_number(&directory, e->content.size, 4);
            put_number(&directory, e->content.size, 4);
            put_number(&directory, length, 2);
            put_number(&directory, 0, 8); /* extra, comment, disk, attributes */
            put_number(&directory, 0, 4);
            put_number(&directory, local, 4);
            put(&directory, e->name, length);
            listed++;
        }
        free(e->content.at);
    }
    size_t place = out.size;
    put(&out, directory.at, directory.size);
    put(&out, "PK\x05\x06", 4);
    put_number(&out, 0, 4);
    put_number(&out, (uint64_t)listed, 2);
    put_number(&out, (uint64_t)listed, 2);
    put_number(&out, directory.size, 4);
    put_number(&out, place, 4);
    put_number(&out, 0, 2);
    free(directory.at);
    return out;
}

#endif
