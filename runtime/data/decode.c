/* stb_image behind a fence: only JPEG and PNG, no file access, no failure strings (they hold bytes of the
 * file), no assertions (its input is a stranger's), and memory from our allocator within a budget for each
 * photo. */
#include "data/decode.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>

/* What the decoder of this thread may still take, and why it was refused; each block keeps its size in front.
 */
static _Thread_local struct {
    size_t left;
    bool over;    /* more than an honest file needs */
    bool starved; /* the machine has no more */
} budget;

/* Zeroed: the decoder leaves what a damaged file does not fill, and a photo must not show old memory. */
static void *decoder_alloc(size_t size) {
    size_t whole;
    if (!gr_size_add(size, GR_ALIGNMENT, &whole) || whole > budget.left) {
        budget.over = true;
        return NULL;
    }
    char *block = gr_calloc(1, whole);
    if (!block) {
        budget.starved = true;
        return NULL;
    }
    budget.left -= whole;
    memcpy(block, &whole, sizeof whole);
    return block + GR_ALIGNMENT;
}

static void decoder_free(void *pointer) {
    if (!pointer)
        return;
    char *block = (char *)pointer - GR_ALIGNMENT;
    size_t whole;
    memcpy(&whole, block, sizeof whole);
    budget.left += whole;
    gr_free(block);
}

static void *decoder_realloc(void *pointer, size_t old, size_t size) {
    void *block = decoder_alloc(size);
    if (block && pointer) {
        memcpy(block, pointer, old < size ? old : size);
        decoder_free(pointer);
    }
    return block;
}

#define STBI_MALLOC(size) decoder_alloc(size)
#define STBI_REALLOC_SIZED(pointer, old, size) decoder_realloc(pointer, old, size)
#define STBI_FREE(pointer) decoder_free(pointer)
#define STBI_ASSERT(condition) ((void)0)
#define STBI_MAX_DIMENSIONS 16384
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_NO_FAILURE_STRINGS
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
/* Not switched back below: the compiler reports these at the end of the file. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>

/* The most that an honest file with this header takes: what it inflates to (PNG) or its coefficients (JPEG),
 * the pixels before and after conversion, rows for up-sampling, and tables. */
static size_t honest_budget(size_t size, const struct gr_image_info *info) {
    size_t pixels = ((size_t)info->w + 64) * ((size_t)info->h + 64); /* JPEG rounds up to blocks */
    size_t bytes = pixels * 4 * (info->bits == 16 ? 2 : 1);
    size_t all = (info->format == GR_IMAGE_PNG ? 4 : 5) * bytes + 4 * size + (1 << 20);
    return all < GR_IMAGE_MAX_DECODE ? all : GR_IMAGE_MAX_DECODE;
}

/* RGBA to RGB over white. */
static void lay_over_white(const uint8_t *rgba, uint8_t *rgb, size_t pixels) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] =
                (uint8_t)((rgba[4 * i + c] * rgba[4 * i + 3] + 255 * (255 - rgba[4 * i + 3]) + 127) / 255);
}

/* The decoder's RGB pixels become the image's: the block moves down over its size, so that there is one copy
 * of a large photo. */
static void take_over(struct gr_image *out, uint8_t *pixels, int w, int h) {
    uint8_t *block = pixels - GR_ALIGNMENT;
    memmove(block, pixels, (size_t)w * (size_t)h * 3);
    *out = (struct gr_image){.w = w, .h = h, .channels = 3, .pixels = block};
}

static int flatten(struct gr_image *out, uint8_t *rgba, int w, int h) {
    int status = gr_image_create(out, w, h);
    if (!status)
        lay_over_white(rgba, out->pixels, (size_t)w * (size_t)h);
    decoder_free(rgba);
    return status;
}

int gr_decode_damaged(const struct gr_image_info *info) {
    return gr_fail(GR_ERROR_FILE, "the %s data is damaged, or of a kind that is not read",
                   info->format == GR_IMAGE_PNG ? "PNG" : "JPEG");
}

int gr_decode_stb(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info) {
    int w = 0, h = 0, stored = 0, wanted = info->alpha ? 4 : 3;
    *out = (struct gr_image){0};
    budget.left = honest_budget(size, info);
    budget.over = budget.starved = false;
    uint8_t *pixels = stbi_load_from_memory(bytes, (int)size, &w, &h, &stored, wanted);
    int status = GR_OK;
    if (!pixels && budget.starved)
        status = gr_fail(GR_ERROR_MEMORY, "no memory is left to decode %dx%d pixels", info->w, info->h);
    else if (!pixels && budget.over)
        status = gr_fail(GR_ERROR_LIMIT, "takes more memory than %dx%d pixels can need: damaged or hostile",
                         info->w, info->h);
    else if (!pixels)
        status = gr_decode_damaged(info);
    else if (w != info->w || h != info->h)
        status = gr_fail(GR_ERROR_FILE, "is damaged: it says %dx%d pixels and holds %dx%d", info->w, info->h,
                         w, h);
    if (status) {
        decoder_free(pixels);
        return status;
    }
    if (wanted == 4)
        return flatten(out, pixels, w, h);
    take_over(out, pixels, w, h);
    return GR_OK;
}

int gr_decode(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info,
              int *reduction) {
    if (info->format == GR_IMAGE_JPEG)
        return gr_jpeg_decoder.decode(out, bytes, size, info, reduction);
    *reduction = 1;
    return gr_decode_stb(out, bytes, size, info);
}
