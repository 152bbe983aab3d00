/* SHA-256 (FIPS 180-4), by libmd; whole blocks by the SHA instructions of processors that have them. */
#ifndef GRAFT_BASE_DIGEST_H
#define GRAFT_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sha2.h>

struct gr_digest {
    SHA2_CTX context;
};

/* Enters `count` blocks of 64 bytes into the state. */
typedef void gr_digest_blocks_t(uint32_t state[8], const uint8_t *bytes, size_t count);

/* A faster way for whole blocks than libmd's on this processor, or NULL. */
gr_digest_blocks_t *gr_digest_fast_blocks(void);

void gr_digest_start(struct gr_digest *digest);
void gr_digest_add(struct gr_digest *digest, const void *bytes, size_t size);
void gr_digest_hex(struct gr_digest *digest,
                   char hex[65]); /* ends the digest: 64 lower-case digits and NUL */

/* Digest of a whole file, read in pieces. GR_ERROR_FILE names the file and the cause. */
int gr_digest_file(const char *path, char hex[65]);

#endif
