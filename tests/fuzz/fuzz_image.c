/* Photos, the whole path: the check of the structure, the decoder, both halves of preprocessing. */
#include "base/memory.h"
#include "base/status.h"
#include "data/augment.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed);

/* Puts the checksums of a PNG right after a change, or nothing behind the check would ever be reached. */
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t most, unsigned seed) {
    (void)seed;
    size = LLVMFuzzerMutate(bytes, size, most);
    if (size < 8 || memcmp(bytes, "\x89PNG\r\n\x1A\n", 8))
        return size;
    for (size_t at = 8; size - at >= 12;) {
        uint8_t *chunk = bytes + at;
        size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12)
            break;
        uLong crc = crc32(0, chunk + 4, (uInt)length + 4);
        for (int i = 0; i < 4; i++)
            chunk[8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static float x[3 * 32 * 32];
    const struct gr_shape input = {3, 32, 32, false}, small = {3, 2, 2, false};
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
    if (!gr_photo_read(&photo, bytes, size, small, &preprocessing,
                       NULL)) /* the decoder may make it smaller */
        gr_photo_finish(&photo, small, &preprocessing, NULL, NULL, x);
    gr_photo_free(&photo);
    gr_image_free(&image);
    return 0;
}
