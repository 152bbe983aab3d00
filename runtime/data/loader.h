/* One pass over a set: batches of floats, decoded one batch ahead by the pool.
 *
 *     struct gr_loader *loader;
 *     GR_TRY(gr_loader_open(&loader, set, &options));
 *     const struct gr_batch *batch;
 *     while (!(status = gr_loader_next(loader, &batch)) && batch)
 *         step(batch);
 *     gr_loader_close(loader);
 *
 * What comes out depends on set and options alone, not on threads. A photo that cannot be decoded is left out
 * of its batch (which is then smaller), listed once in data->skipped, and left out in later epochs too. */
#ifndef GRAFT_DATA_LOADER_H
#define GRAFT_DATA_LOADER_H

#include "data/augment.h"
#include "data/dataset.h"

/* Numbers that are kept for each photo, to be handed out in its place (train/features.h). */
struct gr_rows {
    size_t floats;                 /* of a row */
    const struct gr_dataset *data; /* whose samples these are */
    const int64_t *places;         /* [views + 1, samples]: where `read` finds the row; -1: there is none */
    uint64_t views;                /* the highest view */
    /* Copies a row to out[floats]; called from any thread. */
    int (*read)(const struct gr_rows *rows, int64_t place, float *out);
    const void *payload;
};

struct gr_loader_options {
    struct gr_shape input; /* c 1 or 3 */
    const struct gr_preprocessing *preprocessing;
    int batch_size;                   /* >= 1; the last batch may be smaller */
    bool shuffle;                     /* by (seed, fit, epoch) */
    bool drop_last;                   /* leave out a last batch that is not full */
    const struct gr_augment *augment; /* NULL: none */
    uint64_t seed, fit, epoch;
    uint64_t
        view; /* 0: chance differs from epoch to epoch; v: it is that of view v, whatever fit and epoch */
    const int *columns; /* column of the targets for each class (gr_data_match); NULL: the same order */
    const struct gr_rows *rows; /* NULL: photos; else batch->x is [n, floats], the rows of `view`: no photo is
                                   decoded, and there is no augmentation */
    int64_t skip;               /* batches to leave out at the start: resuming inside an epoch */
    bool once; /* decoded photos are not kept in memory for later passes: there is none that reads them */
};

struct gr_batch {
    int n;                  /* photos in it, 1..batch_size */
    const float *x;         /* [n, h, w, c] */
    const float *y;         /* [n, class_count]: one-hot, soft after mixup, multi-hot */
    const int64_t *samples; /* [n] sample numbers, before mixup */
    int64_t number;         /* of the batch in its epoch, from 0 */
};

struct gr_loader;

/* Copies the options (arrays too). GR_ERROR_OPTION names a field out of its range. The set and its data set
 * stay alive and unchanged until the loader is closed. */
int gr_loader_open(struct gr_loader **out, const struct gr_set *set, const struct gr_loader_options *options);

/* The next batch, or NULL in *batch after the last one. It is valid until the next call on this loader.
 * Failures: too many photos that cannot be read (GR_ERROR_DATA), memory. */
int gr_loader_next(struct gr_loader *loader, const struct gr_batch **batch);

/* The current batch's photos, the same crops and the same mixup, as another network wants them: into
 * x[n, h, w, c] of `input`. GR_ERROR_OPTION when there is no current batch. */
int gr_loader_input(struct gr_loader *loader, struct gr_shape input,
                    const struct gr_preprocessing *preprocessing, float *x);

int64_t gr_loader_batches(const struct gr_loader *loader); /* of the whole epoch */

/* Stops the work under way and releases everything; NULL is allowed. At any time. */
void gr_loader_close(struct gr_loader *loader);

/* The order in which an epoch visits the set: order[set->count] sample numbers. */
void gr_loader_order(const struct gr_set *set, bool shuffle, uint64_t seed, uint64_t fit, uint64_t epoch,
                     int64_t *order);

/* Releases the decoded photos that loaders kept in memory; no loader of `data` may be open. */
void gr_data_forget(struct gr_dataset *data);

/* Bytes of decoded photos in memory, and how many they are (`photos` may be NULL). A photo is there once for
 * each input size and kind of crop that asked for it. */
size_t gr_data_kept(const struct gr_dataset *data, int64_t *photos);

#endif
