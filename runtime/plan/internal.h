/* What the passes of a plan share. Private to runtime/plan.
 *
 * Time: with S steps, forward of step i is time i, the caller's loss is time S, backward of step i is time 2S
 * - i. */
#ifndef GRAFT_PLAN_INTERNAL_H
#define GRAFT_PLAN_INTERNAL_H

#include "kernels/inverted_residual.h"
#include "plan/plan.h"

enum { GR_NONE = -1 };

/* A piece of the arena: bytes that are in use from time `first` to time `last`, both included; the upper half
 * of them from time `early` on, which is `first` for most. */
struct gr_buffer {
    size_t bytes, offset;
    int first, last, early;
    int root; /* the buffer whose memory this one shares (its own index, unless merged) */
};

/* The output of one layer for a whole batch; values are numbered as layers. */
struct gr_value {
    struct gr_shape shape;
    bool needed;    /* some wanted output depends on it, and it is not behind what is given */
    bool reached;   /* some wanted output depends on it */
    bool given;     /* the caller fills it: the photo, or one of request->inputs */
    bool wanted;    /* the caller reads it */
    bool gradient;  /* its gradient exists: something that is trained lies at or below it */
    bool kept;      /* backward reads it */
    int same_as;    /* the value that stands for it (itself, unless the layer passes its input on) */
    int uses;       /* how many inputs of steps read it */
    int step;       /* the step that makes it, GR_NONE for the photo */
    int data, grad; /* buffers, or GR_NONE */
    int stash;      /* how it gets from the forward to the backward pass, or GR_NONE: it stays where it is */
};

/* A value that lives elsewhere between the passes: stored after its last reader forward, restored before its
 * first reader backward. */
struct gr_stash {
    int value;
    int after, before, last;     /* steps: the last reader forward, the first and the last one backward */
    int reader;                  /* the step that computes its activation again from it, or GR_NONE */
    int next_after, next_before; /* the next one with the same `after`, with the same `before`; or GR_NONE */
    int half, back;              /* buffers: the copy, and where it is restored */
    bool inside;                 /* the copy is the upper half of `back` instead, and is widened in place */
    const float *from;           /* ready to run: the value's data, the copy, the restored value */
    uint16_t *copy;
    float *to;
    struct gr_prologue dress; /* of the reader */
};

/* One layer's work, with the layers that were folded and fused into it. */
struct gr_step {
    struct gr_layer *layer;
    struct gr_layer *norm;       /* folded into the weights, or NULL */
    struct gr_layer *add;        /* its other operand is the residual, or NULL */
    struct gr_layer *activation; /* applied by the epilogue, or NULL */
    int residual;                /* value, or GR_NONE */
    int *inputs;                 /* values */
    struct gr_shape *in;
    int output; /* value */
    struct gr_geometry geometry;
    struct gr_want want;
    bool backward; /* takes part in the backward pass */
    bool dropped;  /* became part of another step */
    int kernel;
    const char *kernel_name;
    struct gr_kernel_choice choices[GR_MAX_KERNELS]; /* what it was chosen from */
    int choice_count;                                /* 0: the kind has only one */
    struct gr_needs needs;
    int source;              /* value whose data input 0 is read from: inputs[0], unless that is deferred */
    int prologue;            /* the step whose scale and shift are applied to it, or GR_NONE */
    int statistics;          /* the step that takes statistics of input 0, or GR_NONE */
    int partials;            /* buffer of the statistics that this step takes of its output, or GR_NONE */
    bool deferred;           /* its output is never stored: who reads it applies scale and shift */
    int before;              /* the step whose output this one computes as well, rows at a time, or GR_NONE */
    int within;              /* the step that does this one's work, or GR_NONE */
    double block_seconds[2]; /* the estimates: with the steps before it in one pass, and apart; 0: no such
                                block */
    int stash;               /* first of the stashes to store after its forward pass, or GR_NONE */
    int restore;             /* first of those to restore before its backward pass, or GR_NONE */
    int saved, scratch_forward, scratch_backward; /* buffers, or GR_NONE */
    bool transient;                      /* its weights are packed anew in each pass, into the next two */
    int packed_forward, packed_backward; /* buffers, or GR_NONE */
    int *gradients;    /* buffers of the parameters' gradients; NULL: they stay outside the arena */
    int first_trained; /* its place in plan->trained */

    /* ready to run */
    float *packed;
    float *bias;             /* folded bias [K], or NULL */
    float *scale;            /* folded scale [K], or NULL */
    uint64_t packed_version; /* of the parameters that packed and bias were made from; 0: never made */
    struct gr_epilogue epilogue;
    struct gr_inverted_residual block; /* with the steps before it, unless `before` is GR_NONE */
    struct gr_prologue dress;          /* of this step's prologue */
    const float **x;
    const float **kept; /* x in the backward pass: elsewhere where it was stashed */
    float **gx;
    bool *accumulate;
    float **gp;
    float *residual_gradient; /* NULL: not wanted */
    bool residual_accumulate;
    float *gy;
    float *y;
    float *kept_y; /* y in the backward pass */
    uint32_t key[4];
    struct gr_pass pass;
};

/* What a step took since the profile began: [0] forward, [1] backward. */
struct gr_step_time {
    double seconds[2];
    int64_t runs[2];
};

struct gr_plan {
    struct gr_network *net;
    struct gr_plan_request request;
    uint64_t version; /* of the network when this was compiled */
    int threads;
    struct gr_value *values;
    int value_count;
    struct gr_step *steps;
    int step_count;
    struct gr_buffer *buffers;
    int buffer_count, buffer_capacity;
    struct gr_stash *stashes;
    int stash_count;
    int *given; /* values, in the caller's order */
    int given_count;
    int *outputs; /* values */
    struct gr_layer **output_layers;
    int output_count;
    char *arena;
    size_t arena_bytes;
    size_t held_bytes; /* outside the arena: packed weights that stay, folded vectors, gradients */
    struct gr_param **trained;
    struct gr_layer **trained_layers;
    float **gradients; /* one a trained parameter */
    int trained_count;
    int batch;                  /* photos of the last forward pass; 0 when none can be followed by backward */
    bool uncalibrated;          /* in int8 without ranges: it cannot run */
    struct gr_range *measured;  /* by gr_plan_measure, or NULL */
    struct gr_step_time *times; /* one a step while profiled, else NULL */
};

/* The passes, in the order in which they run. Each reads what the earlier ones left. */
int gr_plan_slice(struct gr_plan *plan);  /* values, steps, wants: what runs, what has a gradient */
void gr_plan_fold(struct gr_plan *plan);  /* fixed norms into the convolution before them */
void gr_plan_fuse(struct gr_plan *plan);  /* add and activation into the epilogue before them */
int gr_plan_choose(struct gr_plan *plan); /* a kernel for each step, and its memory */
void gr_plan_defer(
    struct gr_plan *plan); /* norms whose statistics are taken, and that are applied, by others */
void gr_plan_join(struct gr_plan *plan); /* blocks of convolutions that run as one step */
int gr_plan_stash(struct gr_plan *plan); /* what lives as bfloat16 between the passes */
int gr_plan_place(struct gr_plan *plan); /* buffers, lifetimes, offsets, the arena's size */
int gr_plan_bind(struct gr_plan *plan);  /* pointers of every step */

/* The value whose data input j is read from. */
static inline int gr_plan_source(const struct gr_step *step, int j) {
    return j == 0 ? step->source : step->inputs[j];
}

/* The step in whose forward pass step i's work is done. */
static inline int gr_plan_runs_at(const struct gr_plan *plan, int i) {
    return plan->steps[i].within == GR_NONE ? i : plan->steps[i].within;
}

/* What is stashed after this step's forward pass, and restored before its backward pass, for n photos. */
void gr_stash_store(const struct gr_plan *plan, const struct gr_step *step, int n);
void gr_stash_restore(const struct gr_plan *plan, const struct gr_step *step, int n);

/* Which layers are a pure function of the photo: pure[net->layer_count]. */
void gr_plan_pure(const struct gr_network *net, bool *pure);

/* Around a step's work in `run`: a branch, and nothing else unless the plan is profiled. */
double gr_profile_clock(void);
void gr_profile_add(struct gr_plan *plan, int step, bool backward, double began);
static inline double gr_profile_begin(const struct gr_plan *plan) {
    return plan->times ? gr_profile_clock() : 0;
}
static inline void gr_profile_end(struct gr_plan *plan, int step, bool backward, double began) {
    if (plan->times)
        gr_profile_add(plan, step, backward, began);
}

/* True when the step's forward pass only feeds what this value's single use reads: it can be absorbed. */
bool gr_plan_absorbable(const struct gr_plan *plan, int value);
/* Takes a step out of the list and makes `into` the maker of its output. */
void gr_plan_absorb(struct gr_plan *plan, struct gr_step *into, struct gr_step *step);

#endif
