#include "base/digest.h"

#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

void gr_digest_start(struct gr_digest *digest) {
    SHA256Init(&digest->context);
}

/* Asked once; the same answer whoever asks first. */
static gr_digest_blocks_t *fast_blocks(void) {
    static _Atomic(gr_digest_blocks_t *) found;
    static atomic_bool asked;
    if (!atomic_load_explicit(&asked, memory_order_acquire)) {
        atomic_store(&found, gr_digest_fast_blocks());
        atomic_store_explicit(&asked, true, memory_order_release);
    }
    return atomic_load_explicit(&found, memory_order_relaxed);
}

void gr_digest_add(struct gr_digest *digest, const void *bytes, size_t size) {
    SHA2_CTX *context = &digest->context;
    gr_digest_blocks_t *blocks = fast_blocks();
    const uint8_t *from = bytes;
    if (!size)
        return;
    size_t begun = context->bitcount[0] / 8 % SHA256_BLOCK_LENGTH;
    if (blocks && begun) { /* libmd has a part of a block: it gets the rest of it */
        size_t rest = SHA256_BLOCK_LENGTH - begun, first = size < rest ? size : rest;
        SHA256Update(context, from, first);
        from += first;
        size -= first;
    }
    size_t whole = blocks ? size / SHA256_BLOCK_LENGTH : 0;
    if (whole) {
        blocks(context->state.st32, from, whole);
        context->bitcount[0] += (uint64_t)whole * SHA256_BLOCK_LENGTH * 8;
        from += whole * SHA256_BLOCK_LENGTH;
        size -= whole * SHA256_BLOCK_LENGTH;
    }
    if (size)
        SHA256Update(context, from, size);
}

void gr_digest_hex(struct gr_digest *digest, char hex[65]) {
    uint8_t bytes[SHA256_DIGEST_LENGTH];
    SHA256Final(bytes, &digest->context);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
    hex[64] = 0;
}

int gr_digest_file(const char *path, char hex[65]) {
    char name[256], room[GR_PATH_ROOM];
    const char *use;
    if (gr_path_check(path, false, room, &use))
        return gr_fail_in("%s", gr_printable(path, name, sizeof name));
    FILE *file = fopen(use, "rb");
    if (!file)
        return gr_fail(GR_ERROR_FILE, "cannot open %s: %s", gr_printable(path, name, sizeof name),
                       strerror(errno));
    struct gr_digest digest;
    gr_digest_start(&digest);
    unsigned char piece[32768];
    size_t count;
    errno = 0;
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        gr_digest_add(&digest, piece, count);
    int status = GR_OK;
    if (ferror(file))
        status = gr_fail(GR_ERROR_FILE, "cannot read %s: %s", gr_printable(path, name, sizeof name),
                         strerror(errno));
    fclose(file);
    if (!status)
        gr_digest_hex(&digest, hex);
    return status;
}
