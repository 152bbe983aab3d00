/* Feature cache: what a frozen prefix makes of each photo, computed once.
 *
 * A frozen prefix is a pure function, so its output for a photo can be kept and training starts from there.
 * Rows (train/frozen.h) are computed before training begins, never while it goes on. A photo can be kept as
 * it is (view 0) and as chance changes it (views 1, 2, ...: a mirrored photo is a view like any other, since
 * the features of a mirror image are not mirrored features). Rows lie in blocks (train/feature_block.h), one
 * for each set and view, which are found again by a digest of all that they depend on. */
#ifndef GRAFT_TRAIN_FEATURES_H
#define GRAFT_TRAIN_FEATURES_H

#include "train/feature_block.h"
#include "train/frozen.h"

struct gr_features {
    struct gr_rows rows; /* what a loader reads instead of photos */
    struct gr_frozen prefix;
    struct gr_feature_block **blocks;
    int block_count;
    size_t bytes;   /* of all rows */
    int64_t photos; /* rows: one for each photo and view */
    int64_t found;  /* of them: not computed, but found */
    bool in_file;   /* some rows are in files */
};

struct gr_features_part {
    const struct gr_set *set;
    int views; /* 0: the photos as they are (view 0); k: k augmented views (1..k) instead */
};

struct gr_features_options {
    struct gr_shape input;            /* c 0: the network's own */
    size_t budget;                    /* bytes that rows may take in memory */
    const char *folder;               /* where rows beyond the budget go, as features-*.rows; NULL: nowhere */
    const struct gr_augment *augment; /* of the views, keyed by (seed, view, photo) */
    uint64_t seed;
    enum gr_precision precision;    /* of the prefix */
    struct gr_feature_store *store; /* blocks are looked for and kept there; NULL: neither */
    const char *version;            /* of the program, a part of each block's key; NULL: "" */
    bool only_found; /* compute nothing: the features are made only when every block is found in the store */
    /* Called after each batch with the rows computed so far and in all; a status other than 0 ends it. */
    int (*progress)(void *payload, int64_t done, int64_t total);
    void *payload;
};

/* The rows of some sets of one data set. *out stays NULL, and 0 is returned, when there is no frozen prefix,
 * when the rows are larger than the budget and no folder is given, or when `only_found` finds too little. The
 * sets, their data and the network stay alive as long as the features. Photos that cannot be read are left
 * out and listed, as a loader does. GR_ERROR_FILE: a file of rows cannot be written. */
int gr_features_create(struct gr_features **out, struct gr_network *net, const struct gr_features_part *parts,
                       int part_count, const struct gr_features_options *options);
void gr_features_free(struct gr_features *features); /* NULL is allowed; files stay */

#endif
