/* What layers make of the photos of a set, batch by batch. Looking changes nothing. */
#ifndef GRAFT_TRAIN_OUTPUTS_H
#define GRAFT_TRAIN_OUTPUTS_H

#include "train/features.h"

/* Valid during the call that gets it. */
struct gr_output_batch {
    int n;                        /* photos */
    const int64_t *samples;       /* [n] their numbers */
    const struct gr_shape *shape; /* of each layer */
    const float *const *output;   /* of each layer: [n,h,w,c] (NHWC) */
};

struct gr_outputs_options {
    struct gr_shape input;       /* c 0: the network's own */
    enum gr_precision precision; /* of the frozen prefix */
    const struct gr_features
        *features; /* read instead of photos where the layers can be had from rows; or NULL */
    int (*each)(void *payload, const struct gr_output_batch *batch); /* a status other than 0 ends the pass */
    void *payload;
};

/* Runs the set in listing order, once for all the layers. Layers behind the frozen prefix are computed from
 * its rows (train/frozen.h), kept or not, with the same bits, when all that are asked for are behind it. */
int gr_outputs(struct gr_network *net, const struct gr_set *set, struct gr_layer *const *layers, int count,
               const struct gr_outputs_options *options);

#endif
