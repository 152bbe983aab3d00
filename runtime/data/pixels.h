/* A block of pixels that several data sets share (IDX files). Private to this room. */
#ifndef GRAFT_DATA_PIXELS_H
#define GRAFT_DATA_PIXELS_H

#include <stddef.h>
#include <stdint.h>

struct gr_pixels {
    int users; /* data sets; they are made and freed by one thread */
    uint8_t *bytes;
};

int gr_pixels_create(struct gr_pixels **out, size_t size);
void gr_pixels_release(struct gr_pixels *pixels); /* NULL is allowed */

#endif
