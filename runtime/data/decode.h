/* The seam to stb_image and stb_image_write. Private to this room: data/image.h is for everybody. */
#ifndef GRAFT_DATA_DECODE_H
#define GRAFT_DATA_DECODE_H

#include "base/text.h"
#include "data/image.h"

/* Decodes bytes that gr_image_check passed; stored orientation, transparent pixels over white. The decoder
 * gets no more memory than a file with this header can need. */
int gr_decode(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info);

/* Add the encoded file to `out`. */
int gr_encode_png(const struct gr_image *image, struct gr_text *out);
int gr_encode_jpeg(const struct gr_image *image, int quality, struct gr_text *out);

#endif
