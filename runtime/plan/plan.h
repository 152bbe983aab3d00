/* A plan: what a network does for one input size, batch capacity and purpose, as a list of steps over one
 * arena.
 *
 * Compiling runs the passes slice, fold, fuse, choose, defer, join, stash, place (one file each); running a
 * plan allocates nothing, looks nothing up and decides nothing. A plan reads the network's parameters in file
 * layout and packs copies of them: kept, and made anew when a parameter's version has grown, or made in each
 * pass. */
#ifndef GRAFT_PLAN_PLAN_H
#define GRAFT_PLAN_PLAN_H

#include "net/network.h"

struct gr_plan;

/* What activations that the backward pass reads are kept as. */
enum gr_stash_kind { GR_STASH_NONE /* float32, where they were computed */, GR_STASH_BF16 };

/* Called in the backward pass when all gradients of a layer are there and nothing needs its parameters any
 * more, once for each of them; `trained` is its place in gr_plan_trained. It may change the parameter. A
 * status other than 0 ends the pass with that status. */
typedef int gr_plan_update(void *payload, int trained);

/* The smallest and the largest value. */
struct gr_range {
    float low, high;
};

struct gr_plan_request {
    int capacity;                    /* photos a batch holds at most */
    struct gr_shape input;           /* of one photo */
    bool training;                   /* trainable layers in training mode, and gradients for backward */
    struct gr_layer *const *outputs; /* whose outputs are wanted (features, heads); NULL: the main classifier,
                                        and in training the auxiliary ones too, in the order of net->aux */
    int output_count;
    struct gr_layer *const *inputs; /* layers whose outputs the caller gives (kept from an earlier pass): what
                                       they read does not run. NULL: the photo is given */
    int input_count;
    bool input_gradient;          /* gradient with respect to the photo as well */
    struct gr_layer *gradient_of; /* gradient with respect to the output of this layer as well, in inference
                                     too: then there is a backward pass down to it, and no parameter has a
                                     gradient. It is one of the outputs. NULL: none */
    gr_plan_update *update; /* NULL: gradients are there until the next pass. Else they share memory, and each
                               is there only while update is called for it */
    void *update_payload;
    enum gr_stash_kind stash; /* in training: halves that memory; gradients are off by about 0.2 % then. Where
                                 the arena would not be smaller, the plan is the one without */
    enum gr_precision precision; /* of convolutions in the frozen prefix (gr_plan_cut) that take no part in a
                                    backward pass, where a kernel of that precision is faster; all else is
                                    float32. Not together with `exact` */
    const struct gr_range *ranges; /* for GR_INT8: of each layer's first input [net->layer_count], read while
                                      compiling. NULL: the plan can be explained, but not run */
    bool exact;     /* only kernels that round as a direct computation does (no Winograd); also where the
                       network asks for it */
    bool measure;   /* gr_plan_measure will be called: what every layer reads is stored */
    bool reference; /* no folding, no fusing: the oracle that tests compare with */
    bool
        lean; /* weights are packed anew in each pass, into memory that activations use at other times: about
                 as much less memory as the weights take, for the time of copying them once a batch. The same
                 bits. What a training plan trains is always packed so, since its weights are new each time */
};

/* Compiles. The network must outlive the plan; changing its structure makes the plan stale (gr_plan_stale).
 */
int gr_plan_create(struct gr_plan **out, struct gr_network *net, const struct gr_plan_request *request);
void gr_plan_free(struct gr_plan *plan);
/* True when the network changed since: the plan must be compiled again. */
bool gr_plan_stale(const struct gr_plan *plan);

/* Where the photos of the next forward pass go: [capacity,h,w,c], NHWC, preprocessed. */
float *gr_plan_input(struct gr_plan *plan);
/* What is given: the photo, or the outputs of request->inputs in that order; each [capacity,h,w,c]. The
 * forward pass may overwrite them. */
int gr_plan_inputs(const struct gr_plan *plan);
float *gr_plan_given(struct gr_plan *plan, int i);
struct gr_shape gr_plan_given_shape(const struct gr_plan *plan, int i);

/* Where training can be cut: before the first layers that are not a pure function of the photo (trained,
 * batch statistics, active dropout, a Lua layer that is not marked pure). The cut is the smallest set of
 * tensors from which those can be fed by layers without parameters alone; of equal ones the latest. What lies
 * before it can run once and be kept. cut[net->layer_count] receives *count layers in network order; 0 when
 * only the photo itself would be kept. GR_ERROR_MEMORY. */
int gr_plan_cut(const struct gr_network *net, struct gr_layer **cut, int *count);

/* Which random streams a training pass uses. */
struct gr_stream {
    uint64_t seed, fit, step;
};

/* Runs `n` photos (1..capacity) forward. `stream` may be NULL when not training. GR_ERROR_INTERRUPT between
 * two layers when somebody wishes to stop (base/interrupt.h). */
int gr_plan_forward(struct gr_plan *plan, int n, const struct gr_stream *stream);

/* For a plan that was made with request.measure. From now on each forward pass widens
 * ranges[net->layer_count], the caller's, by what the layers read first; NULL: no longer. Layers that do no
 * work of their own keep what they have. */
void gr_plan_measure(struct gr_plan *plan, struct gr_range *ranges);

int gr_plan_outputs(const struct gr_plan *plan);
struct gr_layer *gr_plan_output_layer(const struct gr_plan *plan, int i);
struct gr_shape gr_plan_output_shape(const struct gr_plan *plan, int i);
/* NHWC, valid until the next forward or backward pass. */
const float *gr_plan_output(const struct gr_plan *plan, int i);

/* Training plans: where the caller writes the gradient of output i, laid out as the output, after forward;
 * NULL when nothing that is trained lies below that output. */
float *gr_plan_output_gradient(struct gr_plan *plan, int i);
/* Gradients of all trainable parameters for the batch of the last forward pass. */
int gr_plan_backward(struct gr_plan *plan);
/* Gradient in file layout after backward (with request.update: in it); NULL when the parameter is not trained
 * by this plan. */
float *gr_plan_gradient(struct gr_plan *plan, const struct gr_param *param);
/* The parameters that have a gradient, in network order. */
int gr_plan_trained(const struct gr_plan *plan, struct gr_param *const **params,
                    struct gr_layer *const **layers);
const float *gr_plan_input_gradient(const struct gr_plan *plan);
/* With respect to the output of request->gradient_of, laid out as it: where the caller writes 0 (or what it
 * adds, since that layer is an output like others) after forward, and what backward has added to it. NULL
 * when no wanted output but itself depends on it. */
float *gr_plan_gradient_of(const struct gr_plan *plan);

/* Bytes: the arena, and everything that the plan holds (arena, packed weights, gradients). */
size_t gr_plan_arena(const struct gr_plan *plan);
size_t gr_plan_memory(const struct gr_plan *plan);

/* Bytes of the copies that activations are kept as from the forward to the backward pass, and how many. */
size_t gr_plan_stashed(const struct gr_plan *plan, int *count);

/* One row a layer of the network, in network order: name, kind, shape, parameters, trainable,
 * lr_scale, batch_norm ("fixed", "train" or absent), kernel, why (that kernel), candidates (where kernels
 * were compared: a list of {kernel, ms}, the estimates for a batch forward), stash ("bf16" where the output
 * is kept so), source, and cached (false). A new JSON array. */
cJSON *gr_plan_explain(const struct gr_plan *plan);

/* Times every step from now on (or no longer), from sums of 0; it costs two readings of the clock a step. */
int gr_plan_profile(struct gr_plan *plan, bool on);

/* One direction of a step: its time since gr_plan_profile, and what it has to do for a full batch at least.
 */
struct gr_work {
    double seconds;
    int64_t runs;
    double flop;  /* 2 for each multiply-add of a direct computation, whatever the kernel does instead */
    double bytes; /* inputs, parameters, outputs and their gradients, each touched once */
};

enum { GR_MAX_ABSORBED = 9 };
struct gr_step_profile {
    const struct gr_layer *layer;
    const struct gr_layer *absorbed[GR_MAX_ABSORBED]; /* norms folded in, additions and activations fused,
                                                         convolutions before it; or NULL */
    const char *kernel;
    struct gr_shape shape; /* of its output, for one photo */
    bool has_backward;     /* false: nothing at or below it is trained, and `backward` is all 0 */
    struct gr_work forward, backward;
};

/* Step i = 0, 1, ... in the order of the forward pass; false when there are no more. Works without
 * gr_plan_profile too: then seconds and runs are 0. */
bool gr_plan_step_profile(const struct gr_plan *plan, int i, struct gr_step_profile *out);

#endif
