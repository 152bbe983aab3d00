/* A network: a named directed graph of layers with their parameters. It knows shapes, names, what is frozen
 * and at what rate each layer learns; nothing about execution, which is a plan's matter (plan/plan.h). */
#ifndef GRAFT_NET_NETWORK_H
#define GRAFT_NET_NETWORK_H

#include "net/layer.h"

enum gr_interpolation { GR_BILINEAR, GR_BICUBIC };

/* How a photo becomes the network's input; it travels with the weights. */
struct gr_preprocessing {
    int resize;   /* short side before the centre crop, in pixels for the network's own input size */
    bool stretch; /* resize both sides to the input size instead of resizing the short side and cropping */
    enum gr_interpolation interpolation;
    float mean[3], std[3]; /* of values 0..1, per channel: x = (v - mean) / std */
    bool bgr;
};

struct gr_aux {              /* an auxiliary classifier */
    char *at;                /* the layer that it reads */
    struct gr_layer *output; /* its logits */
    float weight;            /* of its loss */
};

struct gr_network {
    char *name; /* architecture: "resnet18" */
    struct gr_shape input;
    struct gr_layer **layers; /* layers[0] is the input; every layer comes after its inputs */
    int layer_count;
    struct gr_layer *output; /* logits of the main classifier */
    char *head;              /* name of the classifier layer */
    char **stages; /* names, stem first; a stage is everything after the previous one up to its last layer */
    int stage_count;
    char **classes;
    int class_count;
    bool multilabel; /* probabilities are sigmoids */
    struct gr_preprocessing preprocessing;
    struct gr_aux *aux;
    int aux_count;
    cJSON *metadata;  /* string -> string: licence, digests of the weights that it started from ... */
    uint64_t version; /* grows with every change of structure, freezing, modes or rates */
    uint64_t seed;    /* of the streams that fresh parameters are drawn from */
    bool exact;       /* its plans take only kernels that round as a direct computation does; not saved */
    bool reference;   /* its plans fold and fuse nothing: the oracle for measurements; not saved */
    bool deferred;    /* see gr_network_defer */
};

/* A network with only its input layer. `preprocessing` may be NULL (224/256, ImageNet mean and std). */
int gr_network_create(struct gr_network **out, const char *name, struct gr_shape input,
                      const struct gr_preprocessing *preprocessing, uint64_t seed);
void gr_network_free(struct gr_network *net);

/* Fresh parameters stay zeros from now on, until gr_network_draw: saves the drawing of a network whose values
 * come from a file next. */
void gr_network_defer(struct gr_network *net);
/* Ends the deferring: draws the parameters that nobody has written meanwhile (their version is 0).
 * gr_weights_apply and gr_model_load call it; it does nothing to a network that is not deferred. */
void gr_network_draw(struct gr_network *net);

/* Adds a layer and draws its parameters. `name` NULL makes one from the kind ("relu_3"). A name that exists
 * already, a kind, an option or shapes that do not fit are errors that name the layer. `options` stays the
 * caller's. */
int gr_network_add(struct gr_network *net, const char *name, const char *kind, const cJSON *options,
                   struct gr_layer *const *inputs, int input_count, struct gr_layer **out);

/* Ends the building: names the output, the head and the stages (each must exist; copies are taken). */
int gr_network_finish(struct gr_network *net, struct gr_layer *output, const char *head,
                      const char *const *stages, int stage_count);

/* Declares an auxiliary classifier that the architecture brings along (googlenet): `output` gives its logits,
 * `at` is the layer that it reads. After gr_network_finish. Its layers are those that nothing but `output`
 * needs. */
int gr_network_mark_aux(struct gr_network *net, const char *at, struct gr_layer *output, float weight);

/* Other photos: the same channels, another size. Shapes are inferred again and the resize before the crop
 * keeps its ratio; GR_ERROR_SHAPE when a layer cannot take it (the network is then as before). */
int gr_network_set_input(struct gr_network *net, struct gr_shape input);

/* Class names; count must equal the outputs of the head. */
int gr_network_set_classes(struct gr_network *net, const char *const *classes, int count);

/* The network as data, and a network from data (with fresh parameters): what model files keep. Frozen flags
 * and rates belong to a run and are left out. Data may come from a hostile file: everything is checked. NULL
 * or the status with the error set. */
cJSON *gr_network_describe(const struct gr_network *net);
int gr_network_build(struct gr_network **out, const cJSON *description, uint64_t seed);
/* The same, deferred: to be filled, then gr_network_draw. */
int gr_network_build_empty(struct gr_network **out, const cJSON *description, uint64_t seed);
/* A deep copy: parameters, flags, classes, everything. */
int gr_network_clone(struct gr_network **out, const struct gr_network *net);

struct gr_layer *gr_network_layer(const struct gr_network *net,
                                  const char *name); /* NULL: none of that name */
struct gr_param *gr_network_param(const struct gr_network *net, const char *name); /* "fc.weight" */
int64_t gr_network_parameters(const struct gr_network *net,
                              bool trainable_only); /* elements, buffers left out */

/* --- choosing layers ---
 * Patterns are layer names (a name means its subtree too), globs, stages, and the words "*", "body", "head",
 * "aux". chosen[layer->index] is set for every hit; the caller has cleared it (layer_count entries). A
 * pattern without a hit is GR_ERROR_NAME with the nearest name; one that names a tensor is an error that says
 * so; so is count == 0. */
int gr_network_choose(const struct gr_network *net, const char *const *patterns, int count, bool *chosen);
/* Which stage a layer belongs to: an index into net->stages, or -1 (after the last stage, head, auxiliary). A
 * stage ends with the norms, activations, additions and concatenations that directly follow its last layer.
 */
int gr_network_stage(const struct gr_network *net, const struct gr_layer *layer);
/* The layer whose output stands for `name`: the last layer of a stage or of a subtree (with what directly
 * follows it, as above), or the layer of exactly that name. NULL with GR_ERROR_NAME and the nearest name set.
 */
struct gr_layer *gr_network_end(const struct gr_network *net, const char *name);

/* --- what transfer learning does to a network (net/surgery.c) --- all by patterns as above */
int gr_network_freeze(struct gr_network *net, const char *const *patterns, int count, bool frozen);
int gr_network_fix_norms(struct gr_network *net, const char *const *patterns, int count, bool fixed);
/* Fresh parameters and statistics. */
int gr_network_reinit(struct gr_network *net, const char *const *patterns, int count);

struct gr_rate_rule {
    const char *pattern;
    float scale; /* > 0 */
};
/* Replaces all rules: layers start at 1, then the rules apply in order, the last match wins. */
int gr_network_lr_scale(struct gr_network *net, const struct gr_rate_rule *rules, int count);

struct gr_head_options {
    int hidden;    /* a hidden linear layer + relu of that size before the classifier; 0: none */
    float dropout; /* before the classifier; < 0: keep what is there */
};                 /* NULL where options are asked for: hidden 0, dropout -1 */
/* A fresh classifier for these classes in the place of the old head; body untouched, auxiliary classifiers
 * get a fresh last layer for the same classes. */
int gr_network_replace_head(struct gr_network *net, const char *const *classes, int count,
                            const struct gr_head_options *options);
/* A new network that ends at `layer` (the layer or the last layer of its subtree); without a classifier. */
int gr_network_cut(struct gr_network **out, const struct gr_network *net, const char *layer);
/* A new network that ends in the auxiliary classifier which reads `at`: it becomes the head, with the weights
 * that it has. GR_ERROR_NAME when there is none. */
int gr_network_exit(struct gr_network **out, const struct gr_network *net, const char *at);
/* Global average pool (unless flat) and a linear layer "head" on the output. */
int gr_network_add_head(struct gr_network *net, const char *const *classes, int count,
                        const struct gr_head_options *options);

struct gr_aux_options {
    float weight; /* of its loss; default 0.3 is the caller's */
    int hidden;
    const char *pool; /* "avg" or "max" */
};
/* An auxiliary classifier on `layer`'s output; its layers are "aux.LAYER.fc" (and "aux.LAYER.hidden"). */
int gr_network_add_aux(struct gr_network *net, const char *layer, const struct gr_aux_options *options);
/* Removes one (by the layer that it reads) or, with NULL, all. */
int gr_network_remove_aux(struct gr_network *net, const char *layer);

/* SHA-256 over name, dtype, shape and bytes of every tensor, sorted by name; `frozen_only`: of frozen layers
 * alone. */
int gr_network_digest(const struct gr_network *net, bool frozen_only, char hex[65], int *tensors);

#endif
