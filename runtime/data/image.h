/* Photos in memory, read from and written to JPEG and PNG.
 *
 * A file is a stranger's: before a decoder sees it, its markers (JPEG) or chunks (PNG) are walked here, which
 * finds files that end early, wrong checksums and sizes over the limits before any pixel is allocated. The
 * decoder then works within a budget of memory. Errors name the cause and say what to do ("HEIC is not read;
 * export it as JPEG"); the caller puts the file's name before them where it is not there yet. */
#ifndef GRAFT_DATA_IMAGE_H
#define GRAFT_DATA_IMAGE_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GR_IMAGE_MAX_FILE = 32 << 20,    /* bytes of a file */
    GR_IMAGE_MAX_SIDE = 16384,       /* pixels a side */
    GR_IMAGE_MAX_PIXELS = 32000000,  /* width x height */
    GR_IMAGE_MAX_SCANS = 64,         /* of a progressive JPEG */
    GR_IMAGE_MAX_DECODE = 256 << 20, /* bytes that decoding one photo may take */
};

/* Rows from top to bottom, RGB RGB ..., [h, w, 3]. */
struct gr_image {
    int w, h;
    int channels; /* always 3 */
    uint8_t *pixels;
};

enum gr_image_format { GR_IMAGE_JPEG, GR_IMAGE_PNG };

struct gr_image_info {
    enum gr_image_format format;
    int w, h;        /* as stored, before the orientation is applied */
    int orientation; /* EXIF: 1 (upright) to 8 */
    int channels;    /* stored: 1 grey, 2 grey + alpha, 3 colour (or palette), 4 colour + alpha or CMYK */
    int bits;        /* a channel: 8; PNG also 1, 2, 4, 16 */
    bool alpha;      /* has transparent pixels, perhaps */
    int scans;       /* JPEG: 1 unless progressive */
    bool buffered;   /* JPEG: the coefficients of the whole photo are kept while it is decoded */
};

/* An image of w x h pixels, not initialised. GR_ERROR_LIMIT above the limits. Release by gr_image_free. */
int gr_image_create(struct gr_image *out, int w, int h);

/* Releases the pixels and zeroes the struct; an all-zero struct is allowed. */
void gr_image_free(struct gr_image *image);

/* Walks the file without decoding it. GR_ERROR_FILE: not a photo, another format (named), ends early,
 * damaged; GR_ERROR_LIMIT: too large. */
int gr_image_check(const void *bytes, size_t size, struct gr_image_info *info);

/* Checks and decodes a photo: upright (EXIF orientation applied), grey made RGB, transparent pixels laid over
 * white, 16 bits a channel reduced to 8. *out is the caller's, to be released by gr_image_free; on failure it
 * is zero. */
int gr_image_read_memory(struct gr_image *out, const void *bytes, size_t size);

/* The same from a file; the message begins with the path. Only regular files. */
int gr_image_read(struct gr_image *out, const char *path);

/* What decodes JPEG in this build: "stb_image", or "libjpeg-turbo 2.1.5". The two differ in the last bits of
 * pixels, so whatever is compared bit by bit depends on it. */
const char *gr_image_jpeg_decoder(void);

/* Reads a whole regular file of at most GR_IMAGE_MAX_FILE bytes; *bytes is released by gr_free. */
int gr_image_file(const char *path, uint8_t **bytes, size_t *size);

/* The same for a file beneath the folder `root` (a descriptor of it): a path or a link that leaves the folder
 * is GR_ERROR_FILE. `root` < 0: as gr_image_file. Messages do not name the file. */
int gr_image_file_at(int root, const char *path, uint8_t **bytes, size_t *size);

/* Writes a file beside `path` and renames it, so that a crash leaves the old one or the new one whole.
 * `quality` 1..100 (90 is usual). GR_ERROR_FILE names path and cause. */
int gr_image_write_png(const struct gr_image *image, const char *path);
int gr_image_write_jpeg(const struct gr_image *image, const char *path, int quality);

/* Appends the bytes of such a file to `out`, which the caller releases by gr_text_free. `quality`: of JPEG.
 */
int gr_image_encode(const struct gr_image *image, enum gr_image_format format, int quality,
                    struct gr_text *out);

/* "png" or "jpg" written by the ending of the path (.png, .jpg, .jpeg); another one is GR_ERROR_OPTION. */
int gr_image_write(const struct gr_image *image, const char *path);

/* SHA-256 of size and pixels. */
void gr_image_digest(const struct gr_image *image, char hex[65]);

#endif
