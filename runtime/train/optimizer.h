/* Optimisers with PyTorch's formulas and defaults. State is kept by the name of the tensor, so that it
 * survives freezing, unfreezing and changes of the network around it. */
#ifndef GRAFT_TRAIN_OPTIMIZER_H
#define GRAFT_TRAIN_OPTIMIZER_H

#include "net/network.h"

enum gr_optimizer_kind { GR_SGD, GR_ADAM, GR_ADAMW, GR_RMSPROP };

/* A description: plain values, no state. */
struct gr_optimizer_options {
    enum gr_optimizer_kind kind;
    float lr;           /* > 0 */
    float weight_decay; /* default 0, adamw 0.01. Spares parameters whose `decays` is false (biases, norms) */
    float momentum;     /* sgd, rmsprop; default 0 */
    float dampening;    /* sgd; default 0 */
    bool nesterov;      /* sgd */
    float beta1, beta2; /* adam, adamw: 0.9, 0.999 */
    float alpha;        /* rmsprop: 0.99 */
    float eps;          /* 1e-8 */
    bool centered;      /* rmsprop */
};

/* Reads {"lr": 0.01, "momentum": 0.9} for "sgd", "adam", "adamw" or "rmsprop"; `betas` is a list of two. `lr`
 * is required. Unknown keys fail with the nearest one. */
int gr_optimizer_read(struct gr_optimizer_options *out, const char *kind, const cJSON *options);
/* {"kind": "sgd", "lr": 0.01, ...}: what differs from the defaults. A new object; NULL with the error set. */
cJSON *gr_optimizer_describe(const struct gr_optimizer_options *options);
/* "sgd lr 0.01 momentum 0.9" into `out`. */
const char *gr_optimizer_format(const struct gr_optimizer_options *options, char out[128]);

enum { GR_MAX_MOMENTS = 3 };

/* What an optimiser remembers of one parameter. */
struct gr_slot {
    char *name;                               /* of the parameter */
    struct gr_tensor moments[GR_MAX_MOMENTS]; /* of the parameter's shape; see gr_optimizer_moments */
    int64_t steps;                            /* steps taken so far */
};

struct gr_optimizer;

int gr_optimizer_create(struct gr_optimizer **out, const struct gr_optimizer_options *options);
void gr_optimizer_free(struct gr_optimizer *optimizer); /* NULL is allowed */
const struct gr_optimizer_options *gr_optimizer_options(const struct gr_optimizer *optimizer);

/* Names of the moments that this kind keeps ("momentum", "square" ...); returns their number,
 * 0..GR_MAX_MOMENTS. */
int gr_optimizer_moments(const struct gr_optimizer_options *options, const char *names[GR_MAX_MOMENTS]);

/* The slot of a parameter, made when there is none (or when the parameter's shape is another than before).
 * Valid until the optimiser is freed. */
int gr_optimizer_slot(struct gr_optimizer *optimizer, const struct gr_param *param, struct gr_slot **out);
/* All slots, in the order in which they were made. */
struct gr_slot *const *gr_optimizer_slots(const struct gr_optimizer *optimizer, int *count);

/* One step on a parameter: gradient in file layout, multiplied by `scale` first (clipping); `rate` is the
 * learning rate after schedule and lr_scale. Cannot fail. The result does not depend on the number of
 * threads. */
void gr_optimizer_step(const struct gr_optimizer *optimizer, struct gr_slot *slot, struct gr_param *param,
                       const float *gradient, double scale, double rate);

#endif
