/* Photos, the whole path: the check of the structure, the decoder, both halves of preprocessing. */
#include "base/memory.h"
#include "base/status.h"
#include "data/augment.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static float x[3 * 32 * 32];
    const struct gr_shape input = {3, 32, 32, false};
    const struct gr_preprocessing preprocessing = {
        .resize = 36, .interpolation = GR_BICUBIC, .std = {1, 1, 1}};
    struct gr_image image = {0};
    struct gr_photo photo = {0};
    struct gr_augment augment;
    const struct gr_view view = {size, 0, 0, 0, 0};
    gr_memory_limit((size_t)512 << 20);
    if (gr_image_read_memory(&image, bytes, size))
        return 0;
    gr_preprocess(&image, input, &preprocessing, x);
    if (!gr_augment_preset(&augment, "standard") &&
        !gr_photo_prepare(&photo, &image, input, &preprocessing, &augment))
        gr_photo_finish(&photo, input, &preprocessing, &augment, &view, x);
    gr_photo_free(&photo);
    gr_image_free(&image);
    return 0;
}
