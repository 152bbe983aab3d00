/* Packs: the list, every part, and weights inside. */
#include "base/memory.h"
#include "io/pack.h"
#include "io/weights.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct gr_source source = gr_source_memory(bytes, size);
    struct gr_pack pack;
    gr_memory_limit((size_t)256 << 20);
    if (gr_pack_open(&pack, &source))
        return 0;
    for (int part = 0; part < GR_PACK_PARTS; part++) {
        const struct gr_pack_entry *entry = &pack.parts[part];
        if (!entry->present)
            continue;
        /* what the reader lets through lies in the file */
        if (entry->offset > size || entry->size > size - entry->offset)
            __builtin_trap();
        void *buffer = gr_alloc((size_t)entry->size);
        if (buffer)
            gr_pack_read(&pack, &source, (enum gr_pack_part)part, buffer);
        gr_free(buffer);
    }
    const struct gr_pack_entry *entry = &pack.parts[GR_PACK_WEIGHTS];
    struct gr_weights_limits limits = gr_weights_default_limits();
    struct gr_weights *weights = NULL;
    if (entry->present)
        gr_weights_parse(&weights, bytes + entry->offset, (size_t)entry->size, "input", &limits);
    gr_weights_free(weights);
    return 0;
}
