#include "base/digest.h"

#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

void gr_digest_start(struct gr_digest *digest) {
    sha256_init(&digest->context);
}

void gr_digest_add(struct gr_digest *digest, const void *bytes, size_t size) {
    if (size)
        sha256_update(&digest->context, size, bytes);
}

void gr_digest_hex(struct gr_digest *digest, char hex[65]) {
    uint8_t bytes[SHA256_DIGEST_SIZE];
    sha256_digest(&digest->context, sizeof bytes, bytes);
    for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
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
