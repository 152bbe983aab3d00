/* stb_image_write: pixels to the bytes of a PNG or JPEG file. */
#include "data/decode.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>
#include <zlib.h>

/* zlib's own: smaller files, and it reports when memory runs out. */
static unsigned char *compress_rows(unsigned char *bytes, int size, int *out_size, int level) {
    uLongf length = compressBound((uLong)size);
    unsigned char *out = gr_alloc(length);
    if (!out || compress2(out, &length, bytes, (uLong)size, level) != Z_OK) {
        gr_free(out);
        return NULL;
    }
    *out_size = (int)length;
    return out;
}

#define STBIW_ZLIB_COMPRESS compress_rows
#define STBIW_MALLOC(size) gr_alloc(size)
#define STBIW_REALLOC(pointer, size) gr_realloc(pointer, size)
#define STBIW_FREE(pointer) gr_free(pointer)
#define STBIW_ASSERT(condition) ((void)0)
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
/* Not switched back below: the compiler reports these at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include <stb/stb_image_write.h>

static void add_piece(void *text, void *bytes, int size) {
    gr_text_bytes(text, bytes, (size_t)size);
}

int gr_encode_png(const struct gr_image *image, struct gr_text *out) {
    if (!stbi_write_png_to_func(add_piece, out, image->w, image->h, 3, image->pixels, image->w * 3))
        return gr_fail(GR_ERROR_MEMORY, "no memory is left to write %dx%d pixels", image->w, image->h);
    return gr_text_status(out);
}

int gr_encode_jpeg(const struct gr_image *image, int quality, struct gr_text *out) {
    if (!stbi_write_jpg_to_func(add_piece, out, image->w, image->h, 3, image->pixels, quality))
        return gr_fail(GR_ERROR_MEMORY, "no memory is left to write %dx%d pixels", image->w, image->h);
    return gr_text_status(out);
}
