/* The standard library, recipes and architectures in Lua, and the tables beside them, as they were at build
 * time. */
#ifndef GRAFT_BINDINGS_EMBEDDED_H
#define GRAFT_BINDINGS_EMBEDDED_H

#include <stddef.h>

struct gr_embedded {
    const char *name;           /* "graft/init.lua", "recipes/head_only.lua", "models/resnet.lua",
                                   "models/imagenet_classes.tsv" */
    const unsigned char *bytes; /* not NUL-terminated */
    size_t size;
};

/* Sorted by name; ends with a NULL name. Written by bindings/embed.sh. */
extern const struct gr_embedded gr_embedded[];

#endif
