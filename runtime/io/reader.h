/* What the readers of the formats share: the list under construction, the limits, and the memory that is
 * left. Private to io/. Messages of readers speak about the file without its path: gr_weights_read puts it in
 * front. */
#ifndef GRAFT_IO_READER_H
#define GRAFT_IO_READER_H

#include "io/element.h"
#include "io/file.h"
#include "io/weights.h"

struct gr_reader {
    const struct gr_source *source;
    struct gr_weights_limits limits;
    struct gr_weights *weights;
    uint64_t budget; /* bytes that tensors may still take */
};

/* Where a tensor's numbers are: element e of the tensor is number `start + sum(index * stride)` after byte
 * `offset`. The caller has checked that all of them lie inside the source. */
struct gr_placement {
    const struct gr_element *element;
    uint64_t offset; /* bytes */
    int64_t start;   /* elements */
    int rank;
    const int64_t *shape, *stride; /* stride NULL: row-major without gaps */
};

/* Fills a fresh tensor of the placement's shape. */
int gr_placement_read(const struct gr_source *source, const struct gr_placement *placement,
                      struct gr_tensor *out);

/* Reads a tensor and adds it to the list under `name` (of `length` bytes, checked here). GR_ERROR_LIMIT when
 * the limits or the memory are exceeded. */
int gr_reader_add(struct gr_reader *reader, const char *name, size_t length,
                  const struct gr_placement *placement);
/* Adds a metadata entry. */
int gr_reader_metadata(struct gr_reader *reader, const char *key, const char *value);

/* True for well-formed UTF-8 without NUL. */
bool gr_utf8_valid(const char *text, size_t length);

/* First byte of a contiguous tensor of either dtype. */
const void *gr_weight_bytes(const struct gr_tensor *tensor);

int gr_safetensors_read(struct gr_reader *reader);
int gr_pth_read_zip(struct gr_reader *reader);
int gr_pth_read_legacy(struct gr_reader *reader);

#endif
