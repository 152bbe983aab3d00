/* JPEG by stb_image: the decoder of every build that does not ask for another one. */
#include "data/decode.h"

static int decode(struct gr_image *out, const void *bytes, size_t size, const struct gr_image_info *info,
                  int *reduction) {
    *reduction = 1;
    return gr_decode_stb(out, bytes, size, info);
}

const struct gr_jpeg_decoder gr_jpeg_decoder = {"stb_image", 1, decode};
