/* Schedules: the factor on the learning rate at each step. Pure functions, so that resuming needs no state.
 */
#ifndef GRAFT_TRAIN_SCHEDULE_H
#define GRAFT_TRAIN_SCHEDULE_H

#include <stdint.h>
#include <cjson/cJSON.h>

enum gr_schedule_kind {
    GR_CONSTANT,
    GR_STEP,      /* times `factor` after every `every` epochs */
    GR_COSINE,    /* half a cosine from 1 down to `floor` */
    GR_ONE_CYCLE, /* from 1/25 up to 1 during the warmup, then down to 1/250,000, both by half a cosine */
};

struct gr_schedule {
    enum gr_schedule_kind kind;
    float warmup; /* part of all steps, 0..1, during which the factor grows evenly to 1; one_cycle: default
                     0.3 */
    float every;  /* step: epochs, > 0 */
    float factor; /* step: default 0.1 */
    float floor;  /* cosine: default 0 */
};

/* Reads {"warmup": 0.1} for "constant", "step", "cosine" or "one_cycle". Unknown keys fail with the nearest
 * one. */
int gr_schedule_read(struct gr_schedule *out, const char *kind, const cJSON *options);
/* {"kind": "cosine", ...}: what differs from the defaults. A new object; NULL with the error set. */
cJSON *gr_schedule_describe(const struct gr_schedule *schedule);

/* The factor for step 0..total-1 (later steps keep the last one). `epoch_steps`: steps in an epoch, for
 * `every`; 0 when there are no epochs: then `every` counts steps. */
double gr_schedule_factor(const struct gr_schedule *schedule, int64_t step, int64_t total,
                          int64_t epoch_steps);

#endif
