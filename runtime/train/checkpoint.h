/* Checkpoints: everything that a training needs to go on as if it had never stopped, in one safetensors file
 * that is a model as well.
 *
 * Tensors: the network's own, and "optimizer.MOMENT:TENSOR" with "optimizer.steps:TENSOR". Metadata
 * "graft.training": step, epoch, batch, seed, fit, optimiser, best value, and the caller's own record as
 * JSON. */
#ifndef GRAFT_TRAIN_CHECKPOINT_H
#define GRAFT_TRAIN_CHECKPOINT_H

#include "io/weights.h"
#include "train/trainer.h"

struct gr_progress {
    int64_t epoch;      /* epochs finished */
    int64_t batch;      /* batches finished in the epoch under way; 0: between epochs */
    double best;        /* best value of what is monitored; NaN: none yet */
    int64_t best_epoch; /* 0: none yet */
    cJSON *record; /* the caller's own (rows of metrics, the count of patience ...), or NULL. JSON keeps 15
                      digits of a number */
};

/* Writes trainer, network (auxiliary classifiers included) and progress to `path`, whole or not at all. */
int gr_checkpoint_save(const struct gr_trainer *trainer, const struct gr_progress *progress,
                       const char *path);
/* The same in memory, to be written by gr_weights_write: later steps do not change it. What is frozen is not
 * copied. */
int gr_checkpoint_hold(struct gr_weights **out, const struct gr_trainer *trainer,
                       const struct gr_progress *progress);

/* Puts a checkpoint into a trainer whose network has the same tensors, with the same kind of optimiser:
 * values, optimiser state, number of the step. GR_ERROR_FILE, GR_ERROR_NAME, GR_ERROR_SHAPE or
 * GR_ERROR_OPTION say what does not fit; the trainer is then unchanged. progress->record is a new object, or
 * NULL; the caller deletes it. */
int gr_checkpoint_load(struct gr_trainer *trainer, const char *path, struct gr_progress *progress);

#endif
