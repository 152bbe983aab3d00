/* What chance decided for one photo. Private to this room. */
#ifndef GRAFT_DATA_DRAW_H
#define GRAFT_DATA_DRAW_H

#include "data/augment.h"

struct gr_draw {
    struct gr_box crop; /* parts of the photo's sides, 0..1 */
    bool flip;
    float angle;                            /* degrees */
    float brightness, contrast, saturation; /* factors; 1: unchanged */
    float hue;                              /* turns of the colour circle */
    bool erase;
    struct gr_box erased; /* parts of the input's sides */
};

/* For a photo of w x h pixels. Every kind of chance has its place in the stream whether it is used or not, so
 * switching one on leaves the others as they were. */
struct gr_draw gr_draw(const struct gr_augment *augment, const struct gr_view *view, int w, int h);

#endif
