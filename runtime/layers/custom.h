/* Layers whose functions belong to the program that embeds the runtime (a layer written in Lua).
 *
 * Such a layer has the kind "custom" and the options {kind = NAME, options = ...}; a file keeps these, never
 * code, so a network with one can only be built while a kind of that name is registered. The registry is one
 * for the process. Callbacks run in the thread that runs the plan, return GR_OK or set an error
 * (GR_ERROR_USER when their own code failed), and see activations in users' order: [n,c,h,w], row-major, or
 * [n,c] when flat. */
#ifndef GRAFT_LAYERS_CUSTOM_H
#define GRAFT_LAYERS_CUSTOM_H

#include "net/layer.h"

/* One forward or backward pass over n photos. All arrays are the runtime's and valid during the call alone.
 */
struct gr_custom_pass {
    const struct gr_layer *layer;
    const cJSON *options; /* of the layer, or NULL */
    const void *use; /* the same in the forward and backward pass of one step of one plan: a key for values
                        that the callbacks keep between the two */
    bool training;   /* the layer is trainable and a backward pass may follow */
    int n, inputs;
    const struct gr_shape *in; /* one for each input */
    struct gr_shape out;
    const float *const *x;      /* inputs */
    float *y;                   /* output: written by forward, read by backward */
    const float *const *params; /* in file layout, in the order of `parameters` */
    /* backward only */
    const float *gy;  /* gradient of the output */
    float *const *gx; /* gradient of each input, overwritten; NULL entries are not wanted */
    float *const
        *gp; /* gradient of each parameter in file layout, overwritten; NULL entries are not wanted */
};

struct gr_custom_kind {
    const char *name; /* what files call it; registering copies the text */
    void *payload;    /* handed to every callback; stays the registrant's */
    bool pure; /* the output depends on inputs and parameters alone, so that a frozen one may be cached */
    /* Output shape from input shapes, or an error. A pure function. */
    int (*shape)(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                 struct gr_shape *out);
    /* Declares up to GR_MAX_PARAMS tensors of GR_F32; returns their number or a negative status. The role
     * texts must live as long as the kind is registered. NULL: no parameters. */
    int (*parameters)(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                      struct gr_param_spec *out);
    int (*forward)(void *payload, const struct gr_custom_pass *pass);
    int (*backward)(void *payload, const struct gr_custom_pass *pass); /* NULL: no gradient exists */
};

/* Adds a kind to the registry, or replaces the one of its name. GR_ERROR_OPTION when name, shape or forward
 * is missing. */
int gr_custom_register(const struct gr_custom_kind *kind);
/* Removes a kind; GR_ERROR_NAME when there is none of that name. */
int gr_custom_unregister(const char *name);
/* Copies the registered kind of that name; GR_ERROR_NAME names it and the nearest one. `name` in the copy is
 * the caller's argument. */
int gr_custom_find(const char *name, struct gr_custom_kind *out);

/* True unless this is a custom layer whose kind is not marked pure or is not registered. */
bool gr_custom_pure(const struct gr_layer *layer);

#endif
