/* JPEG by libjpeg-turbo, at 1/2, 1/4 or 1/8 of its size where that is enough. Compiled by `make TURBOJPEG=1`.
 *
 * libjpeg goes on after damage and paints what is missing grey; here its first warning ends the photo. What
 * it has no way for goes to stb_image instead, which is there anyway: CMYK, headers it objects to, and files
 * with a few idle bytes behind the picture's data, as some cameras write them. Which of the two reads a file
 * depends on nothing but the file.
 *
 * GR_TURBOJPEG_VERSION is the version that was compiled against; the library cannot be asked. */
#include "data/decode.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>
#include <turbojpeg.h>

enum { MOST_REDUCTION = 8 };

/* The most that libjpeg takes beside its result: all coefficients where the scans come one after the other,
 * else strips of rows (at most 4 x 8 before and after up-sampling and their borders), and its tables. */
static size_t working_memory(const struct gr_image_info *info) {
    size_t w = (size_t)info->w + 64, h = (size_t)info->h + 64, channels = (size_t)info->channels;
    return (info->buffered ? w * h * channels * sizeof(short) : 0) + w * channels * 128 + (1 << 20);
}

/* libjpeg's words. They hold numbers of the file, never its bytes. */
static bool says(tjhandle handle, const char *words) {
    const char *message = tjGetErrorStr2(handle);
    return message && strstr(message, words);
}

/* Into *out; *other: stb_image is to have a look. */
static int decompress(tjhandle handle, struct gr_image *out, const void *bytes, size_t size,
                      const struct gr_image_info *info, int reduction, bool *other) {
    int w, h, sampling, colours;
    if (tjDecompressHeader3(handle, bytes, (unsigned long)size, &w, &h, &sampling, &colours) ||
        w != info->w || h != info->h) {
        *other = true;
        return GR_OK;
    }
    GR_TRY(gr_image_create(out, (w + reduction - 1) / reduction, (h + reduction - 1) / reduction));
    if (!tjDecompress2(handle, bytes, (unsigned long)size, out->pixels, out->w, out->w * 3, out->h, TJPF_RGB,
                       TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING))
        return GR_OK;
    gr_image_free(out);
    *other = says(handle, "extraneous bytes before marker");
    if (*other)
        return GR_OK;
    if (says(handle, "Insufficient memory") || says(handle, "Memory allocation failure"))
        return gr_fail(GR_ERROR_MEMORY, "no memory is left to decode %dx%d pixels", info->w, info->h);
    return gr_decode_damaged(info);
}

static int decode(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info,
                  int *reduction) {
    size_t memory = working_memory(info);
    bool other = info->channels == 4;
    *out = (struct gr_image){0};
    if (!other) {
        if (memory > GR_IMAGE_MAX_DECODE)
            return gr_fail(GR_ERROR_LIMIT, "%dx%d pixels in many scans take too much memory", info->w,
                           info->h);
        GR_TRY(gr_memory_claim(memory));
        tjhandle handle = tjInitDecompress();
        int status = handle ? decompress(handle, out, bytes, size, info, *reduction, &other)
                            : gr_fail(GR_ERROR_MEMORY, "no memory is left to decode photos");
        if (handle)
            tjDestroy(handle);
        gr_memory_unclaim(memory);
        if (status || !other)
            return status;
    }
    *reduction = 1;
    return gr_decode_stb(out, bytes, size, info);
}

const struct gr_jpeg_decoder gr_jpeg_decoder = {"libjpeg-turbo " GR_TURBOJPEG_VERSION, MOST_REDUCTION,
                                                decode};
