/* A trainer: network, loss, optimiser and schedule, one step at a time. It compiles the plan when the network
 * has changed, so freezing, unfreezing and rates take effect at the next step. */
#ifndef GRAFT_TRAIN_TRAINER_H
#define GRAFT_TRAIN_TRAINER_H

#include "plan/plan.h"
#include "train/features.h"
#include "train/loss.h"
#include "train/optimizer.h"
#include "train/schedule.h"

struct gr_trainer_options {
    struct gr_loss loss; /* for every head; its class_weights and payload stay the caller's */
    struct gr_optimizer_options optimizer;
    struct gr_schedule schedule;
    int64_t steps; /* of the whole training, for the schedule; 0: no end, the schedule stays at its start */
    int64_t epoch_steps; /* steps in an epoch, for schedules that count epochs; 0: none */
    float clip;          /* largest global norm of the gradients; 0: no clipping */
    uint64_t seed, fit;  /* of the random streams: with the number of the step they name each dropout mask */
    bool
        at_once; /* each layer is updated in the backward pass, as soon as its gradients are there, which then
                    need no memory of their own: the same bits, and in a large network much less memory. But a
                    gradient that is not finite is found when the layers above it are updated already (see
                    gr_trainer_step). Without effect where gradients are clipped, which takes all of them, and
                    in networks with layers of the embedding program, whose backward pass may fail. */
    enum gr_stash_kind stash;    /* what activations are kept as for the backward pass */
    enum gr_precision precision; /* of the frozen prefix */
    int capacity; /* photos in the largest batch, if known: saves compiling again; 0: grow when needed */
};

struct gr_trainer;

/* The network must outlive the trainer. */
int gr_trainer_create(struct gr_trainer **out, struct gr_network *net,
                      const struct gr_trainer_options *options);
void gr_trainer_free(struct gr_trainer *trainer); /* NULL is allowed */

/* In int8, before the first step on photos: notes what the frozen layers read of photos to train on, of
 * `input` (c 0: the network's own); see gr_frozen_calibrate. Steps on features need none, other precisions
 * neither. */
int gr_trainer_calibrate(struct gr_trainer *trainer, struct gr_dataset *data, struct gr_shape input);

/* One step on n photos: x [n,h,w,c] of shape `input`, targets [n,k] in the order of the network's classes.
 * *loss becomes main + sum of weight * auxiliary. A loss or gradient that is not finite is GR_ERROR_NUMBER,
 * naming the step: then parameters, statistics and optimiser are as before the step, and so is the step's
 * number. Only with options.at_once and a gradient that is not finite, parameters and optimiser are of no
 * more use: every later step is GR_ERROR_OPTION until they are restored from a checkpoint. */
int gr_trainer_step(struct gr_trainer *trainer, int n, struct gr_shape input, const float *x, int k,
                    const float *targets, double *loss);

/* Compiles what a step on n photos of this shape needs, if that was not done yet; a step does so by itself.
 */
int gr_trainer_prepare(struct gr_trainer *trainer, int n, struct gr_shape input);
/* The plan of the last gr_trainer_prepare or step; NULL before the first. It stays the trainer's, which may
 * compile another one in any later step. */
struct gr_plan *gr_trainer_plan(const struct gr_trainer *trainer);

/* Releases that plan until the next step compiles the same one again: its memory serves what comes between,
 * such as a validation. The losses and logits of the last step are gone with it. */
void gr_trainer_rest(struct gr_trainer *trainer);

/* From the next step on, x of gr_trainer_step is rows of these features instead of photos (`input` stays the
 * photos' size); NULL: photos again. They stay the caller's, and must not be stale. */
void gr_trainer_use_features(struct gr_trainer *trainer, const struct gr_features *features);
const struct gr_features *gr_trainer_features(const struct gr_trainer *trainer);

/* Losses of the last step, one a head: the main one, then net->aux in order. */
const double *gr_trainer_losses(const struct gr_trainer *trainer, int *count);
/* Logits of the last step's main classifier [n,k], valid until the next step; NULL before the first. */
const float *gr_trainer_logits(const struct gr_trainer *trainer);
/* How many activations the last plan kept rounded for the backward pass (plan/plan.h, stash); -1 before the
 * first. */
int gr_trainer_stashed(const struct gr_trainer *trainer);
/* Global norm of the last step's gradients, before clipping. */
double gr_trainer_norm(const struct gr_trainer *trainer);
/* Learning rate of the next step, before the layers' own factors. */
double gr_trainer_lr(const struct gr_trainer *trainer);
/* The base rate, before the schedule. */
float gr_trainer_base_lr(const struct gr_trainer *trainer);
/* Another base rate from the next step on (> 0). */
int gr_trainer_set_lr(struct gr_trainer *trainer, float lr);

int64_t gr_trainer_steps(const struct gr_trainer *trainer); /* steps done */
/* A part of restoring network, optimiser and trainer (train/checkpoint.h). */
void gr_trainer_set_steps(struct gr_trainer *trainer, int64_t steps);
struct gr_network *gr_trainer_network(const struct gr_trainer *trainer);
struct gr_optimizer *gr_trainer_optimizer(const struct gr_trainer *trainer);
const struct gr_trainer_options *gr_trainer_options(const struct gr_trainer *trainer);

#endif
