/* Pooled features: one row of numbers a photo from what a layer makes of it. */
#ifndef GRAFT_INSIGHT_COLLECT_H
#define GRAFT_INSIGHT_COLLECT_H

#include "train/outputs.h"

enum gr_pooling {
    GR_POOL_AVG,     /* the mean over all pixels: C numbers */
    GR_POOL_MAX,     /* the largest: C numbers */
    GR_POOL_AVG_MAX, /* both, means first: 2 C numbers */
    GR_POOL_GRID,    /* means over grid x grid cells, row by row, C numbers each; cells as in adaptive average
                        pooling */
};

struct gr_pooled_as {
    enum gr_pooling pooling;
    int grid; /* cells a side, for GR_POOL_GRID */
};

/* Numbers in a row for features of this shape. A flat shape is taken as it is, whatever the pooling.
 * GR_ERROR_LIMIT when they are too many, GR_ERROR_OPTION for a grid below 1 or finer than the pixels. */
int gr_pooled_size(struct gr_shape shape, struct gr_pooled_as as, int *size);

/* One photo's row. The value of channel c at pixel p lies at x[c * channel + p * pixel]. */
void gr_pool_row(struct gr_shape shape, struct gr_pooled_as as, const float *x, int64_t channel,
                 int64_t pixel, float *row);

struct gr_collected {
    struct gr_layer *layer; /* in */
    int features;           /* out: of a row */
    float *rows;            /* out: [count, features] */
};

struct gr_collect {
    struct gr_collected *layers;
    int layer_count;
    struct gr_pooled_as as;
    int64_t count;    /* out: photos, those that cannot be read left out */
    int64_t *samples; /* out: [count] their numbers in the data set */
    /* Called after each batch with the photos done; a status other than 0 ends the pass with it. */
    int (*progress)(void *payload, int64_t done, int64_t total);
    void *payload;
};

/* One pass over the set for all the layers. `options` as in train/outputs.h, `each` and `payload` aside.
 * Release by gr_collect_clear, also after a failure. */
int gr_collect_run(struct gr_collect *collect, struct gr_network *net, const struct gr_set *set,
                   const struct gr_outputs_options *options);
void gr_collect_clear(struct gr_collect *collect);

#endif
