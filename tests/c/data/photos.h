/* For the tests of this room: folders that go away again, small photos, fixtures. */
#ifndef GRAFT_TESTS_PHOTOS_H
#define GRAFT_TESTS_PHOTOS_H

#define _GNU_SOURCE

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"
#include "data/image.h"

#define FIXTURES "tests/fixtures/data/"

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        if ((call) != GR_OK)                                                                                 \
            fail_msg("%s: %s", #call, gr_error()->message);                                                  \
    } while (0)

/* The call fails with this code and its message holds `part`. */
#define assert_fails(call, status, part)                                                                     \
    do {                                                                                                     \
        int got = (call);                                                                                    \
        if (got != (status) || !strstr(gr_error()->message, part))                                           \
            fail_msg("%s gave %d: %s", #call, got, gr_error()->message);                                     \
    } while (0)

static inline int remove_one(const char *path, const struct stat *info, int flag, struct FTW *at) {
    (void)info, (void)flag, (void)at;
    return remove(path);
}

static char work[64]; /* the folder of the running test */

static inline int make_work(void **state) {
    (void)state;
    strcpy(work, "/tmp/graft-data-XXXXXX");
    return mkdtemp(work) ? 0 : -1;
}

static inline int remove_work(void **state) {
    (void)state;
    return nftw(work, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the work folder; eight may be in use at a time. Its folders are made. */
static inline const char *at(const char *format, ...) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    int length = snprintf(path, 512, "%s/", work);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path + length, 512 - (size_t)length, format, arguments);
    va_end(arguments);
    for (char *slash = path + length; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    return path;
}

static inline uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file)
        fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

static inline void write_file(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void write_text(const char *path, const char *text) {
    write_file(path, text, strlen(text));
}

/* A photo whose content is a function of `number`: a gradient, so that crops and mirrors differ. */
static inline void draw_photo(struct gr_image *image, int w, int h, unsigned number) {
    assert_ok(gr_image_create(image, w, h));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = image->pixels + 3 * ((size_t)y * (size_t)w + (size_t)x);
            p[0] = (uint8_t)((unsigned)x * 255 / (unsigned)w);
            p[1] = (uint8_t)((unsigned)y * 200 / (unsigned)h + number % 50);
            p[2] = (uint8_t)(number * 37 + number / 7);
        }
}

static inline void put_photo(const char *path, int w, int h, unsigned number) {
    struct gr_image image;
    draw_photo(&image, w, h, number);
    assert_ok(gr_image_write(&image, path));
    gr_image_free(&image);
}

/* A fixture of w, h and RGB bytes. */
static inline void read_pixels(struct gr_image *image, const char *name) {
    char path[256];
    size_t size;
    int32_t sides[2];
    snprintf(path, sizeof path, FIXTURES "%s", name);
    uint8_t *bytes = read_file(path, &size);
    memcpy(sides, bytes, sizeof sides);
    assert_ok(gr_image_create(image, sides[0], sides[1]));
    assert_int_equal(size, 8 + 3 * (size_t)sides[0] * (size_t)sides[1]);
    memcpy(image->pixels, bytes + 8, size - 8);
    free(bytes);
}

/* Mean and largest difference of two images of one size. */
static inline double difference(const struct gr_image *a, const struct gr_image *b, int *largest) {
    size_t count = 3 * (size_t)a->w * (size_t)a->h;
    double sum = 0;
    int most = 0;
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->h, b->h);
    for (size_t i = 0; i < count; i++) {
        int d = abs(a->pixels[i] - b->pixels[i]);
        sum += d;
        most = d > most ? d : most;
    }
    if (largest)
        *largest = most;
    return sum / (double)count;
}

#endif
