/* Feature cache: what a frozen prefix makes of each photo, computed once.
 *
 * A frozen prefix is a pure function, so its output for a photo can be kept and training starts from there.
 * The cut is where plan/plan.h's gr_plan_cut says; with residual blocks or auxiliary classifiers it can be
 * several tensors, which lie side by side in a photo's row. Rows are computed in the order of the listing, in
 * batches of one size, before training begins: never while it goes on, so they do not depend on the order of
 * an epoch. */
#ifndef GRAFT_TRAIN_FEATURES_H
#define GRAFT_TRAIN_FEATURES_H

#include "data/loader.h"
#include "plan/plan.h"

struct gr_features {
    struct gr_rows rows;      /* what a loader reads instead of photos */
    struct gr_layer **layers; /* the cut, in network order */
    int layer_count;
    size_t bytes;   /* of all rows */
    int64_t photos; /* rows that are filled */
    struct gr_network *net;
    uint64_t version;      /* of the network when they were made */
    struct gr_shape input; /* the photos' size */
};

struct gr_features_options {
    struct gr_shape input; /* c 0: the network's own */
    int batch_size;        /* photos a pass; 0: 32 */
    size_t budget;         /* bytes that the rows may take; more: none are made */
    /* Called after each batch with the photos done so far and in all; a status other than 0 ends it. */
    int (*progress)(void *payload, int64_t done, int64_t total);
    void *payload;
};

/* Bytes a photo at the cut of this network, and the cut (as gr_plan_cut; *count 0: there is none). Nothing is
 * run. */
int gr_features_size(const struct gr_network *net, struct gr_layer **cut, int *count, size_t *bytes);

/* Runs the prefix over the sets. *out stays NULL, and 0 is returned, when there is no cut or the rows would
 * be larger than the budget. The sets, their data and the network stay alive as long as the features. Photos
 * that cannot be read are left out and listed, as a loader does. */
int gr_features_create(struct gr_features **out, struct gr_network *net, const struct gr_set *const *sets,
                       int set_count, const struct gr_features_options *options);
void gr_features_free(struct gr_features *features); /* NULL is allowed */

/* True when the network was changed (freezing, structure) since they were made. */
bool gr_features_stale(const struct gr_features *features);

/* Spreads the rows of a batch over the given inputs of a plan. */
void gr_features_fill(const struct gr_features *features, struct gr_plan *plan, int n, const float *rows);

#endif
