/* Weights files: named tensors and metadata, read from safetensors and from PyTorch's .pth (both kinds),
 * written as safetensors. Files are data: nothing in them is ever executed, and every number in them is
 * checked before use. */
#ifndef GRAFT_IO_WEIGHTS_H
#define GRAFT_IO_WEIGHTS_H

#include <stdbool.h>
#include "tensor/tensor.h"

struct gr_weight {
    char *name;              /* "layer4.1.conv2.weight": UTF-8, 1..256 bytes */
    struct gr_tensor tensor; /* contiguous; floating kinds are GR_F32, integers and booleans GR_I64 */
    const char *dtype;       /* as in the file: "F64" "F32" "F16" "BF16" "I64" "I32" "I16" "I8" "U8" "BOOL" */
};

struct gr_pair {
    char *key, *value;
};

struct gr_weights {
    struct gr_weight *items; /* in the order of the file */
    int count;
    struct gr_pair *metadata;
    int metadata_count;
    const char *format; /* "safetensors", "pth (zip)" or "pth (legacy)" */
    char *path;         /* where it was read from, or NULL */
    char sha256[65];    /* of that file, made while it was read; "" without a file */
    int *order;         /* positions in items, sorted by name: the index of gr_weights_find */
    int capacity, metadata_capacity;
};

/* What a file may ask for. Memory stays below the file's size + `spare_bytes` (half-precision files: twice
 * their size, since they grow to float32). */
struct gr_weights_limits {
    uint64_t header_bytes; /* of a safetensors header; default 1 MiB */
    uint64_t pickle_bytes; /* of the pickle in a .pth; default 4 MiB */
    uint64_t spare_bytes;  /* default 32 MiB: with the readers' own needs below 64 MiB */
    int tensors;           /* default 10,000 */
    int rank;              /* default and most 8 */
    int name_bytes;        /* default 256 */
};
struct gr_weights_limits gr_weights_default_limits(void);

/* Reads a weights file whatever its kind (told by its content). When the file carries Graft's digest it is
 * checked. Every error's message starts with the path. The caller owns *out: gr_weights_free. */
int gr_weights_read(struct gr_weights **out, const char *path);
int gr_weights_read_limited(struct gr_weights **out, const char *path,
                            const struct gr_weights_limits *limits);
/* The same from memory; `name` stands for the path in messages. */
int gr_weights_parse(struct gr_weights **out, const void *bytes, size_t size, const char *name,
                     const struct gr_weights_limits *limits);

/* An empty list, to be filled and written. */
int gr_weights_create(struct gr_weights **out);
void gr_weights_free(struct gr_weights *weights); /* NULL is allowed */

/* Adds a tensor under a new name; the list takes its own reference (a copy when it is not contiguous). A name
 * that is empty, too long, not UTF-8 or already there is GR_ERROR_NAME. */
int gr_weights_add(struct gr_weights *weights, const char *name, const struct gr_tensor *tensor);
/* Gives the list a copy of its own of a tensor that it refers to, so that later changes do not reach it.
 * Names that are not in the list are passed over. */
int gr_weights_own(struct gr_weights *weights, const char *name);
/* Sets a metadata entry, replacing an older one; `value` NULL removes it. */
int gr_weights_set(struct gr_weights *weights, const char *key, const char *value);

/* The tensor of this name, or NULL. */
const struct gr_weight *gr_weights_find(const struct gr_weights *weights, const char *name);
/* The value of a metadata key, or NULL. */
const char *gr_weights_get(const struct gr_weights *weights, const char *key);

/* Writes everything as safetensors: tensors in the order that the format's own library uses, metadata with a
 * digest of the tensors under "graft.digest". On any error the file that stood at `path` is whole. The
 * message starts with the path. */
int gr_weights_write(const struct gr_weights *weights, const char *path);

/* SHA-256 over name, dtype, shape and bytes of every tensor, sorted by name; the same number as
 * gr_network_digest gives for a network with exactly these tensors. */
int gr_weights_digest(const struct gr_weights *weights, char hex[65]);

#endif
