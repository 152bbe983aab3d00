#define _GNU_SOURCE /* O_PATH's neighbours and openat2's number */

#include "data/image.h"

#include "base/digest.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"
#include "data/decode.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int gr_image_create(struct gr_image *out, int w, int h) {
    *out = (struct gr_image){0};
    if (w < 1 || h < 1)
        return gr_fail(GR_ERROR_OPTION, "an image has at least one pixel a side, not %dx%d", w, h);
    if (w > GR_IMAGE_MAX_SIDE || h > GR_IMAGE_MAX_SIDE || (int64_t)w * h > GR_IMAGE_MAX_PIXELS)
        return gr_fail(GR_ERROR_LIMIT, "%dx%d pixels are too many: at most %d a side and %d million in all",
                       w, h, GR_IMAGE_MAX_SIDE, GR_IMAGE_MAX_PIXELS / 1000000);
    out->pixels = gr_alloc((size_t)w * (size_t)h * 3);
    if (!out->pixels)
        return GR_ERROR_MEMORY;
    out->w = w;
    out->h = h;
    out->channels = 3;
    return GR_OK;
}

void gr_image_free(struct gr_image *image) {
    gr_free(image->pixels);
    *image = (struct gr_image){0};
}

void gr_image_digest(const struct gr_image *image, char hex[65]) {
    struct gr_digest digest;
    int32_t size[2] = {image->w, image->h};
    gr_digest_start(&digest);
    gr_digest_add(&digest, size, sizeof size);
    gr_digest_add(&digest, image->pixels, (size_t)image->w * (size_t)image->h * 3);
    gr_digest_hex(&digest, hex);
}

/* ---- orientation ---- */

/* EXIF orientation o: from 5 on it swaps rows and columns; the tables say from which end each is read. */
static const bool flip_x[] = {0, 0, 1, 1, 0, 0, 0, 1, 1}; /* source column runs backwards */
static const bool flip_y[] = {0, 0, 0, 1, 1, 0, 1, 1, 0}; /* source row runs backwards */

static int turn_upright(struct gr_image *image, int orientation) {
    bool swap = orientation >= 5;
    struct gr_image upright;
    int w = image->w, h = image->h;
    GR_TRY(gr_image_create(&upright, swap ? h : w, swap ? w : h));
    for (int y = 0; y < upright.h; y++) {
        uint8_t *to = upright.pixels + (size_t)y * (size_t)upright.w * 3;
        for (int x = 0; x < upright.w; x++, to += 3) {
            int sx = swap ? y : x, sy = swap ? x : y;
            sx = flip_x[orientation] ? w - 1 - sx : sx;
            sy = flip_y[orientation] ? h - 1 - sy : sy;
            memcpy(to, image->pixels + ((size_t)sy * (size_t)w + (size_t)sx) * 3, 3);
        }
    }
    gr_image_free(image);
    *image = upright;
    return GR_OK;
}

int gr_decode_upright(struct gr_image *out, struct gr_box *photo, const void *bytes, size_t size,
                      const struct gr_image_info *info, int reduction) {
    GR_TRY(gr_decode(out, bytes, size, info, &reduction));
    int o = info->orientation;
    float w = (float)info->w / (float)reduction, h = (float)info->h / (float)reduction;
    float left = flip_x[o] ? (float)out->w - w : 0, top = flip_y[o] ? (float)out->h - h : 0;
    *photo = o >= 5 ? (struct gr_box){top, left, top + h, left + w}
                    : (struct gr_box){left, top, left + w, top + h};
    int status = o > 1 ? turn_upright(out, o) : GR_OK;
    if (status)
        gr_image_free(out);
    return status;
}

int gr_image_read_memory(struct gr_image *out, const void *bytes, size_t size) {
    struct gr_image_info info;
    struct gr_box all;
    *out = (struct gr_image){0};
    GR_TRY(gr_image_check(bytes, size, &info));
    return gr_decode_upright(out, &all, bytes, size, &info, 1);
}

const char *gr_image_jpeg_decoder(void) {
    return gr_jpeg_decoder.name;
}

int gr_image_read(struct gr_image *out, const char *path) {
    uint8_t *bytes = NULL;
    size_t size = 0;
    char name[256];
    *out = (struct gr_image){0};
    int status = gr_image_file(path, &bytes, &size);
    if (!status)
        status = gr_image_read_memory(out, bytes, size);
    gr_free(bytes);
    if (status)
        gr_fail_in("%s", gr_printable(path, name, sizeof name));
    return status;
}

/* ---- files ---- */

/* Opens `path` beneath the folder `root`, link by link where the kernel does not know how. */
static int open_beneath(int root, const char *path) {
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
        return (int)fd;
    /* An older kernel, or a sandbox without that call: every part by itself, and no links at all. */
    char part[256];
    int folder = root;
    for (;;) {
        size_t length = strcspn(path, "/");
        bool last = path[length] == 0;
        int next = -1;
        if (length == 0 || length >= sizeof part) {
            errno = length ? ENAMETOOLONG : EXDEV;
        } else {
            memcpy(part, path, length);
            part[length] = 0;
            if (!strcmp(part, ".."))
                errno = EXDEV;
            else
                next = openat(folder, part,
                              O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | (last ? 0 : O_DIRECTORY));
        }
        int cause = errno;
        if (folder != root)
            close(folder);
        errno = cause;
        if (next < 0 || last)
            return next;
        folder = next;
        path += length + 1;
    }
}

/* Reads all of an open file that fstat says has `size` bytes. */
static int read_all(int fd, uint8_t *bytes, size_t size) {
    size_t got = 0;
    while (got < size) {
        ssize_t count = read(fd, bytes + got, size - got);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return gr_fail(GR_ERROR_FILE, "cannot be read: %s", strerror(errno));
        if (count == 0)
            return gr_fail(GR_ERROR_FILE, "became shorter while it was read");
        got += (size_t)count;
    }
    return GR_OK;
}

int gr_image_file_at(int root, const char *path, uint8_t **bytes, size_t *size) {
    struct stat info;
    int status = GR_ERROR_FILE;
    char room[GR_PATH_ROOM];
    *bytes = NULL;
    *size = 0;
    if (root < 0)
        GR_TRY(gr_path_check(path, false, room, &path));
    int fd = root < 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : open_beneath(root, path);
    if (fd < 0)
        return root >= 0 && (errno == EXDEV || errno == ELOOP) ? gr_fail(GR_ERROR_FILE, "leaves the folder")
               : root >= 0 && errno == ENOENT                  ? gr_fail(GR_ERROR_FILE, "no such file")
                                                               : gr_path_fail(path, "file");
    if (fstat(fd, &info)) {
        gr_fail(GR_ERROR_FILE, "cannot be examined: %s", strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        gr_fail(GR_ERROR_FILE, "is %s, not a file",
                S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
    } else if (info.st_size > GR_IMAGE_MAX_FILE) {
        char text[32], most[32];
        status =
            gr_fail(GR_ERROR_LIMIT, "is too large (%s; photos have at most %s)",
                    gr_format_bytes((size_t)info.st_size, text), gr_format_bytes(GR_IMAGE_MAX_FILE, most));
    } else {
        *bytes = gr_alloc((size_t)info.st_size);
        status = *bytes ? read_all(fd, *bytes, (size_t)info.st_size) : GR_ERROR_MEMORY;
        *size = (size_t)info.st_size;
    }
    close(fd);
    if (status) {
        gr_free(*bytes);
        *bytes = NULL;
        *size = 0;
    }
    return status;
}

int gr_image_file(const char *path, uint8_t **bytes, size_t *size) {
    return gr_image_file_at(-1, path, bytes, size);
}

/* ---- writing ---- */

static int replace(const char *path, struct gr_text *encoded, int status) {
    if (!status)
        status = gr_text_status(encoded);
    if (!status)
        status = gr_file_replace(path, encoded->bytes, encoded->length);
    gr_text_free(encoded);
    return status;
}

int gr_image_encode(const struct gr_image *image, enum gr_image_format format, int quality,
                    struct gr_text *out) {
    if (format == GR_IMAGE_PNG)
        return gr_encode_png(image, out);
    if (quality < 1 || quality > 100)
        return gr_fail(GR_ERROR_OPTION, "quality must be 1 to 100, not %d", quality);
    return gr_encode_jpeg(image, quality, out);
}

int gr_image_write_png(const struct gr_image *image, const char *path) {
    struct gr_text encoded = {0};
    return replace(path, &encoded, gr_image_encode(image, GR_IMAGE_PNG, 0, &encoded));
}

int gr_image_write_jpeg(const struct gr_image *image, const char *path, int quality) {
    struct gr_text encoded = {0};
    return replace(path, &encoded, gr_image_encode(image, GR_IMAGE_JPEG, quality, &encoded));
}

int gr_image_write(const struct gr_image *image, const char *path) {
    const char *dot = strrchr(path, '.');
    char name[256];
    if (dot && !strcasecmp(dot, ".png"))
        return gr_image_write_png(image, path);
    if (dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg")))
        return gr_image_write_jpeg(image, path, 90);
    return gr_fail(GR_ERROR_OPTION, "%s: images are written as .png, .jpg or .jpeg",
                   gr_printable(path, name, sizeof name));
}
