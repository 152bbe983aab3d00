/* The part of zip that PyTorch uses: stored entries, found through the central directory, zip64 included.
 * Private to io/. */
#ifndef GRAFT_IO_ZIP_H
#define GRAFT_IO_ZIP_H

#include "io/file.h"

struct gr_zip_entry {
    const char *name; /* not NUL-terminated */
    size_t length;
    int method; /* 0: stored */
    int flags;
    uint32_t crc;
    uint64_t size, packed; /* bytes of the content, and as stored */
    uint64_t local;        /* place of its local header */
};

struct gr_zip {
    const struct gr_source *source;
    unsigned char *directory;     /* names point into it */
    struct gr_zip_entry *entries; /* sorted by name */
    int count;
    uint64_t directory_offset;
};

/* Reads the central directory. GR_ERROR_FILE when it is not sound, GR_ERROR_LIMIT above `most` entries. */
int gr_zip_open(struct gr_zip *out, const struct gr_source *source, int most);
void gr_zip_close(struct gr_zip *zip);

/* The entry called PREFIX + NAME, or NULL. */
const struct gr_zip_entry *gr_zip_find(const struct gr_zip *zip, const char *prefix, size_t prefix_length,
                                       const char *name, size_t name_length);

/* Where the content of a stored entry begins. Checks the local header, that the content lies before the
 * central directory, and its CRC-32 (unless it was not computed, which PyTorch marks by 0). */
int gr_zip_locate(const struct gr_zip *zip, const struct gr_zip_entry *entry, uint64_t *offset);

#endif
