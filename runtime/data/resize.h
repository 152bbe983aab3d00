/* Antialiased resizing of RGB bytes, the same bytes as Pillow's Image.resize gives: the filter is widened
 * when shrinking, rows are filtered before columns, and each pass rounds to bytes. */
#ifndef GRAFT_DATA_RESIZE_H
#define GRAFT_DATA_RESIZE_H

#include "data/image.h"
#include "net/network.h"

struct gr_box { /* in source pixels, edges: the whole image is {0, 0, w, h} */
    float left, top, right, bottom;
};

struct gr_window { /* a part of the result, in pixels */
    int x, y, w, h;
};

/* Resizes the part `box` of `source` (NULL: all of it) to w x h pixels and keeps the part `window` of that
 * (NULL: all of it): the same bytes as resizing and cropping, without the work for what is cut off. *out is
 * the caller's. A box or window that does not lie inside is GR_ERROR_OPTION. */
int gr_resize(struct gr_image *out, const struct gr_image *source, int w, int h,
              enum gr_interpolation interpolation, const struct gr_box *box, const struct gr_window *window);

/* The size of w x h pixels with the longer side reduced to `side`, the ratio kept, at least one pixel a side.
 */
void gr_resize_fit(int w, int h, int side, int *fit_w, int *fit_h);

#endif
