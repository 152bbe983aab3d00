/* stash: between the forward and the backward pass an activation that backward reads takes half its memory,
 * as bfloat16 (rounded to the nearest; gradients and everything else stay float32).
 *
 * A value's float32 buffer dies with its last reader of the forward pass, which reads it unrounded; a copy
 * lives until the first step of the backward pass that reads it, and from then to the last one a float32
 * buffer is alive again. Who reads it does not matter: the layer behind it, or one further on that dresses it
 * (defer). What lies between `after` and `before` is one record's own affair, so that a value could as well
 * be computed again there. */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"
#include "kernels/bfloat16.h"

enum {
    LEAST = 16 << 10, /* bytes of float32 below which a copy is not worth its two passes */
    NEAR = 2          /* steps before the end: what is read there in both passes lives through it anyhow */
};

/* Who reads each value, as steps: last in the forward pass, first and last in the backward pass. */
struct reading {
    int forward, first, last;
};

static void read_backward(struct reading *reading, int step) {
    reading->first =
        step > reading->first ? step : reading->first; /* backward runs from the last step down */
    reading->last = reading->last == GR_NONE || step < reading->last ? step : reading->last;
}

static void read_step(const struct gr_plan *plan, int index, struct reading *readings) {
    const struct gr_step *step = &plan->steps[index];
    for (int j = 0; j < step->layer->input_count; j++) {
        int source = gr_plan_source(step, j);
        readings[source].forward = gr_plan_runs_at(plan, index);
        if (step->backward && (step->needs.keep & GR_KEEP_INPUTS))
            read_backward(&readings[source], index);
    }
    if (step->residual != GR_NONE)
        readings[step->residual].forward = index;
    if (step->backward && (step->needs.keep & GR_KEEP_OUTPUT))
        read_backward(&readings[step->output], index);
}

static bool worth_it(const struct gr_plan *plan, int value, const struct reading *reading) {
    const struct gr_value *v = &plan->values[value];
    double bytes = (double)gr_shape_size(v->shape) * plan->request.capacity * sizeof(float);
    return reading->first != GR_NONE && v->step != GR_NONE && !v->given && !v->wanted && bytes >= LEAST &&
           2 * plan->step_count - reading->forward - reading->first > 2 * NEAR;
}

/* The step that computes its result again from this value, corners and all, or GR_NONE. */
static int corner_reader(const struct gr_plan *plan, int value) {
    for (int i = 0; i < plan->step_count; i++) {
        const struct gr_step *step = &plan->steps[i];
        if (!step->dropped && step->backward && step->activation && step->source == value &&
            (step->layer->kind->traits & GR_TRAIT_DEFER) && !(step->needs.keep & GR_KEEP_OUTPUT) &&
            gr_activation_simple(step->epilogue.activation))
            return i;
    }
    return GR_NONE;
}

int gr_plan_stash(struct gr_plan *plan) {
    struct reading *readings = gr_calloc((size_t)plan->value_count, sizeof *readings);
    plan->stashes = gr_calloc((size_t)plan->value_count, sizeof *plan->stashes);
    if (!readings || !plan->stashes) {
        gr_free(readings);
        return GR_ERROR_MEMORY;
    }
    for (int v = 0; v < plan->value_count; v++)
        readings[v] = (struct reading){plan->values[v].step, GR_NONE, GR_NONE};
    for (int i = 0; i < plan->step_count; i++)
        if (!plan->steps[i].dropped)
            read_step(plan, i, readings);
    for (int v = 0; v < plan->value_count; v++) {
        if (!worth_it(plan, v, &readings[v]))
            continue;
        struct gr_step *after = &plan->steps[readings[v].forward], *before = &plan->steps[readings[v].first];
        plan->stashes[plan->stash_count] = (struct gr_stash){.value = v,
                                                             .after = readings[v].forward,
                                                             .before = readings[v].first,
                                                             .last = readings[v].last,
                                                             .reader = corner_reader(plan, v),
                                                             .next_after = after->stash,
                                                             .next_before = before->restore};
        plan->values[v].stash = after->stash = before->restore = plan->stash_count++;
    }
    gr_free(readings);
    return GR_OK;
}

/* ---- running ---- */

void gr_stash_store(const struct gr_plan *plan, const struct gr_step *step, int n) {
    for (int i = step->stash; i != GR_NONE; i = plan->stashes[i].next_after) {
        const struct gr_stash *s = &plan->stashes[i];
        struct gr_shape shape = plan->values[s->value].shape;
        if (s->reader != GR_NONE)
            gr_bfloat16_store_for(&s->dress, (int64_t)n * shape.h * shape.w, shape.c, s->from, s->copy);
        else
            gr_bfloat16_store(n * gr_shape_size(shape), s->from, s->copy);
    }
}

void gr_stash_restore(const struct gr_plan *plan, const struct gr_step *step, int n) {
    for (int i = step->restore; i != GR_NONE; i = plan->stashes[i].next_before) {
        const struct gr_stash *s = &plan->stashes[i];
        gr_bfloat16_load(n * gr_shape_size(plan->values[s->value].shape), s->copy, s->to);
    }
}
