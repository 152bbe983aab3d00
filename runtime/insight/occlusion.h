/* Where a photo must not be covered: the drop of a class's probability while a patch hides a part of it
 * (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2). */
#ifndef GRAFT_INSIGHT_OCCLUSION_H
#define GRAFT_INSIGHT_OCCLUSION_H

#include "net/network.h"

struct gr_occlusion {
    struct gr_shape input; /* of the photo */
    int patch, stride;     /* pixels; 1 <= stride <= patch <= the shorter side */
    const float *fill;     /* [c], preprocessed: what patches are painted with; NULL: the photo's mean */
    int class;         /* position in net->classes; negative: the most likely one. Receives what was taken */
    float p;           /* receives the class's probability for the whole photo */
    int64_t positions; /* receives how many patches were tried */
};

/* map [h,w] receives for each pixel the mean drop of the probability over the patches that cover it: from -1
 * to 1, positive where the network needs what is there. x [h,w,c] is one preprocessed photo. Patches lie
 * `stride` pixels apart, and the last ones end with the photo. GR_ERROR_OPTION: patch or stride do not fit.
 */
int gr_occlusion(struct gr_network *net, struct gr_occlusion *occlusion, const float *x, float *map);

#endif
