/* A pack: a run in one file, to be given to somebody else.
 *
 * It is a ZIP archive that can be spelt in one way only, so that every unzip program opens it and nothing can
 * hide in it:
 *
 *     SHA256SUMS           "# graft pack 1", then "DIGEST  NAME" for every part below that is there (as
 * sha256sum writes it) recipe.lua           at most 1 MiB of text recipe.lock          at most 1 MiB of text
 *     metrics.csv          may be absent; at most 16 MiB of text
 *     report.txt           may be absent; at most 1 MiB of text
 *     weights.safetensors  may be absent; less than 4 GiB
 *
 * in this order, stored without compression, dated 1980-01-01, with no paths, flags, extra fields or
 * comments, and nothing before, between or behind. The reader makes every header and the directory anew from
 * what it knows and compares bytes, so a deviation of any kind is refused. Messages name the rule: signature,
 * version, list, names, order, duplicate, missing, stored, size, header, directory, trailing, short, crc,
 * digest, text. Nothing is allocated by what the file says but a part that is within its limit and within the
 * file. */
#ifndef GRAFT_IO_PACK_H
#define GRAFT_IO_PACK_H

#include <stdbool.h>

#include "io/file.h"

enum gr_pack_part {
    GR_PACK_SUMS,
    GR_PACK_RECIPE,
    GR_PACK_LOCK,
    GR_PACK_METRICS,
    GR_PACK_REPORT,
    GR_PACK_WEIGHTS,
    GR_PACK_PARTS /* how many there are */
};

struct gr_pack_entry {
    bool present;
    uint64_t offset, size; /* of the content, in bytes */
    uint32_t crc;          /* CRC-32, as the archive has it */
    char sha256[65];       /* as SHA256SUMS has it; "" for SHA256SUMS itself */
};

struct gr_pack {
    struct gr_pack_entry parts[GR_PACK_PARTS];
};

/* "recipe.lua" for GR_PACK_RECIPE ... */
const char *gr_pack_name(enum gr_pack_part part);

/* True when the file begins as a pack does; false also when it cannot be read. */
bool gr_pack_is(const struct gr_source *source);

/* Reads the list of parts and checks that the archive is spelt as a pack has to be. The parts' contents are
 * not looked at yet, but for the list. GR_ERROR_FILE, without the path, names the rule that is broken. Owns
 * nothing. */
int gr_pack_open(struct gr_pack *out, const struct gr_source *source);

/* Checks the CRC-32 and the digest of a part that is present, and that a text is UTF-8 without zero bytes.
 * `buffer` NULL, or room for the part's size: then it is filled. */
int gr_pack_read(const struct gr_pack *pack, const struct gr_source *source, enum gr_pack_part part,
                 void *buffer);

/* What a pack is made of: bytes in memory, or a file. All NULL: the part is absent. */
struct gr_pack_input {
    const void *bytes;
    size_t size;
    const char *path;
};

/* Writes a pack: whole, or not at all. inputs[GR_PACK_SUMS] is not looked at. GR_ERROR_LIMIT when a part is
 * too large, GR_ERROR_OPTION when recipe or lock are absent or a text is none. Messages of what cannot be
 * written start with the path. */
int gr_pack_write(const char *path, const struct gr_pack_input inputs[GR_PACK_PARTS]);

#endif
