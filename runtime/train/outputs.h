/* What a layer makes of the photos of a set, batch by batch. Looking changes nothing. */
#ifndef GRAFT_TRAIN_OUTPUTS_H
#define GRAFT_TRAIN_OUTPUTS_H

#include "train/features.h"

struct gr_outputs_options {
    struct gr_shape input;       /* c 0: the network's own */
    enum gr_precision precision; /* of the frozen prefix */
    const struct gr_features
        *features; /* read instead of photos where the layer can be had from rows; or NULL */
    /* Gets each batch: n photos, the layer's shape, its output [n,h,w,c] (NHWC, valid during the call), and
     * their sample numbers. A status other than 0 ends the pass. */
    int (*each)(void *payload, int n, struct gr_shape shape, const float *output, const int64_t *samples);
    void *payload;
};

/* Runs the set in listing order. A layer behind the frozen prefix is computed from its rows (train/frozen.h),
 * kept or not, with the same bits. */
int gr_outputs(struct gr_network *net, const struct gr_set *set, struct gr_layer *layer,
               const struct gr_outputs_options *options);

#endif
