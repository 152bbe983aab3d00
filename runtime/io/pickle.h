/* Python pickles as PyTorch writes them for dictionaries of tensors: a stack machine that builds values and
 * can call nothing. Private to io/.
 *
 * Only the few classes that such a dictionary needs are known; every other one is refused by its name. */
#ifndef GRAFT_IO_PICKLE_H
#define GRAFT_IO_PICKLE_H

#include "io/element.h"

enum gr_value_kind {
    GR_VALUE_NONE,
    GR_VALUE_BOOL,
    GR_VALUE_INTEGER,
    GR_VALUE_REAL,
    GR_VALUE_TEXT,
    GR_VALUE_TUPLE,
    GR_VALUE_LIST,
    GR_VALUE_DICT,    /* children: key, value, key, value ... */
    GR_VALUE_CLASS,   /* one of the known classes */
    GR_VALUE_STORAGE, /* children: "storage", class, key, location, numel[, view] */
    GR_VALUE_TENSOR,  /* children: storage, offset, sizes, strides ...: kinds checked */
    GR_VALUE_OTHER,   /* an integer beyond 64 bits */
};

struct gr_value {
    enum gr_value_kind kind;
    uint32_t count;       /* children; bytes of a text */
    uint32_t first, last; /* cells + 1; 0: none */
    union {
        int64_t integer;
        double real;
        const char *text;                 /* into the pickle's bytes, not NUL-terminated */
        const struct gr_element *element; /* of a STORAGE, and of its CLASS */
    };
};

struct gr_cell {
    uint32_t value, next; /* next: cell + 1; 0: the last */
};

struct gr_pickle {
    struct gr_value *values;
    struct gr_cell *cells;
    uint32_t value_count, value_capacity, cell_count, cell_capacity;
    uint32_t root;
};

/* Reads one pickle. The bytes must outlive the values. *used: how many it took. */
int gr_pickle_read(struct gr_pickle *out, const unsigned char *bytes, size_t size, size_t *used);
void gr_pickle_free(struct gr_pickle *pickle);

/* Child number i, which must exist. */
const struct gr_value *gr_pickle_child(const struct gr_pickle *pickle, const struct gr_value *value,
                                       uint32_t i);
/* "a dictionary", for messages. */
const char *gr_value_kind_name(enum gr_value_kind kind);

#endif
