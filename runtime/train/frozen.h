/* The frozen prefix of a network: the layers that are a pure function of the photo (plan/plan.h,
 * gr_plan_cut).
 *
 * Its output for one photo is a row: the tensors of the cut side by side, in network order. Rows are always
 * computed in the order of a set, in batches of one size that depends on the set alone (the last one filled
 * up), because the rows of a matrix product can differ in their last bits with the number and the place of
 * the others. So the same set gives the same rows, whenever and for whatever they are computed. */
#ifndef GRAFT_TRAIN_FROZEN_H
#define GRAFT_TRAIN_FROZEN_H

#include "data/loader.h"
#include "plan/plan.h"

struct gr_frozen {
    struct gr_network *net;
    uint64_t version;            /* of the network when this was found */
    struct gr_shape input;       /* of the photos */
    struct gr_layer **layers;    /* the cut, in network order */
    int layer_count;             /* 0: there is no frozen prefix */
    size_t floats;               /* of a row */
    enum gr_precision precision; /* of its convolutions */
    struct gr_range *ranges;     /* for int8: of what each layer of the network reads first */
    bool measure;                /* what its layers read is measured: its plans store all of it */
    bool lasting; /* can be recognised again: no layer of it is the embedding program's (written in Lua) */
};

/* Finds the prefix for photos of `input` (c 0: the network's own); nothing is run. Its precision is float32
 * until the caller sets another. Release it by gr_frozen_clear, also after a failure. */
int gr_frozen_find(struct gr_frozen *out, struct gr_network *net, struct gr_shape input);
void gr_frozen_clear(struct gr_frozen *prefix);

/* GR_OK while rows of this prefix are what photos of `input` need; GR_ERROR_OPTION when the network was
 * changed (freezing, structure) since the prefix was found or rows have another precision, GR_ERROR_SHAPE for
 * photos of another size. */
int gr_frozen_check(const struct gr_frozen *prefix, struct gr_shape input, enum gr_precision precision);
/* Where the precision is int8: runs the prefix in float32 over photos of the data set's training set and
 * notes what its layers read: GR_CALIBRATION_PHOTOS drawn evenly over its list (those of them that can be
 * read), by a seed that never changes, so that the same list gives the same ranges to training and to
 * evaluation. GR_ERROR_DATA: there are none. Does nothing for other precisions. */
enum { GR_CALIBRATION_PHOTOS = 32 };
int gr_frozen_calibrate(struct gr_frozen *prefix, struct gr_dataset *data);
/* *feeds: can this layer's output be computed from a row? */
int gr_frozen_feeds(const struct gr_frozen *prefix, const struct gr_layer *layer, bool *feeds);

/* SHA-256 over all that its rows depend on besides the photos: layers with options and parameters,
 * preprocessing, input size, the cut, precision, instruction set, BLAS, threads, batch, and `version` (the
 * program's). */
int gr_frozen_digest(const struct gr_frozen *prefix, const char *version, char hex[65]);

/* Spreads n rows over the given inputs of a plan (made with request.inputs = prefix->layers). */
void gr_frozen_give(const struct gr_frozen *prefix, struct gr_plan *plan, int n, const float *rows);

/* Photos in a pass's batch: 8, or the whole set where that is smaller. A few are enough for the kernels:
 * eight photos take a fraction of the memory of 32, and within a few per cent of the time. */
int gr_frozen_batch(const struct gr_set *set);

struct gr_frozen_view { /* what chance does to the photos; all zero: nothing */
    const struct gr_augment *augment;
    uint64_t seed, view; /* view: 1, 2, ... */
    bool once;           /* no later pass reads these photos: decoded ones are not kept in memory */
};

/* One pass over a set. Set, prefix, augmentation and columns (see data/loader.h) stay alive as long. */
struct gr_frozen_pass;
int gr_frozen_open(struct gr_frozen_pass **out, const struct gr_frozen *prefix, const struct gr_set *set,
                   const struct gr_frozen_view *view, const int *columns);
/* The next batch, as gr_loader_next gives it, with rows for photos: batch->x is [n, floats]. `pass` is a
 * struct gr_frozen_pass. */
int gr_frozen_next(void *pass, const struct gr_batch **batch);
void gr_frozen_close(struct gr_frozen_pass *pass); /* NULL is allowed */

#endif
