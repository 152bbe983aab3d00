/* The seams to the decoders and encoders. Private to this room: data/image.h is for everybody. */
#ifndef GRAFT_DATA_DECODE_H
#define GRAFT_DATA_DECODE_H

#include "base/text.h"
#include "data/image.h"
#include "data/resize.h"

/* What reads JPEG. A build has exactly one, in jpeg_stb.c (the default) or jpeg_turbo.c (`make TURBOJPEG=1`):
 * the two differ in the last bits of pixels, so it is a choice and never depends on what happens to be
 * installed. */
struct gr_jpeg_decoder {
    const char *name;   /* with its version: "stb_image 2.27" */
    int most_reduction; /* 1, or the largest power of 2 that `reduction` may be */
    /* `reduction`, a power of 2: each side of *out is 1 / *reduction of the photo's, rounded up. The decoder
     * sets *reduction to what it did, which may be 1 for a kind of photo that it cannot reduce. */
    int (*decode)(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info,
                  int *reduction);
};

extern const struct gr_jpeg_decoder gr_jpeg_decoder;

/* Decodes bytes that gr_image_check passed; stored orientation, transparent pixels over white. The decoder
 * gets no more memory than a file with this header can need. `reduction` as above; a PNG is never reduced. */
int gr_decode(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info,
              int *reduction);

/* The same and turned upright. *photo is the part of *out that the photo covers: where its size is no
 * multiple of the reduction, *out reaches less than a pixel beyond two of its edges. */
int gr_decode_upright(struct gr_image *out, struct gr_box *photo, const void *bytes, size_t size,
                      const struct gr_image_info *info, int reduction);

/* stb_image: every PNG, and JPEG of every kind that is read, at full size. */
int gr_decode_stb(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info);

/* The one message for pixels that do not follow from the file. */
int gr_decode_damaged(const struct gr_image_info *info);

/* Add the encoded file to `out`. */
int gr_encode_png(const struct gr_image *image, struct gr_text *out);
int gr_encode_jpeg(const struct gr_image *image, int quality, struct gr_text *out);

#endif
