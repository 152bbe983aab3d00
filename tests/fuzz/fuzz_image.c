/* Photos: the header check, then the decoder. */
#include "base/memory.h"
#include "data/image.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct gr_image image = {0};
    gr_memory_limit((size_t)256 << 20);
    if (!gr_image_read_memory(&image, bytes, size))
        gr_image_free(&image);
    return 0;
}
