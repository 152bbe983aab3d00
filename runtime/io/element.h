/* Kinds of numbers in weights files, and how they become float32 or 64-bit integers. Files are
 * little-endian. */
#ifndef GRAFT_IO_ELEMENT_H
#define GRAFT_IO_ELEMENT_H

#include "tensor/tensor.h"

struct gr_element {
    const char *name;    /* in safetensors: "F16" */
    const char *pickled; /* PyTorch's class: "HalfStorage" */
    int size;            /* bytes in the file */
    enum gr_dtype dtype; /* what it becomes */
    /* n numbers from unaligned bytes to float[n] or int64_t[n] */
    void (*convert)(const unsigned char *from, void *to, size_t n);
};

/* Ends with a NULL name. */
extern const struct gr_element gr_elements[];

/* By name of `length` bytes (safetensors), or NULL. */
const struct gr_element *gr_element_find(const char *name, size_t length);

#endif
