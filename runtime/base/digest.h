/* SHA-256 (FIPS 180-4), by nettle, which takes the SHA instructions of processors that have them. */
#ifndef GRAFT_BASE_DIGEST_H
#define GRAFT_BASE_DIGEST_H

#include <stddef.h>
#include <nettle/sha2.h>

struct gr_digest {
    struct sha256_ctx context;
};

void gr_digest_start(struct gr_digest *digest);
void gr_digest_add(struct gr_digest *digest, const void *bytes, size_t size);
void gr_digest_hex(struct gr_digest *digest,
                   char hex[65]); /* ends the digest: 64 lower-case digits and NUL */

/* Digest of a whole file, read in pieces. GR_ERROR_FILE names the file and the cause. */
int gr_digest_file(const char *path, char hex[65]);

#endif
