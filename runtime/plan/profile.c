/* profile: how long each step takes, beside what it has to do at least. */
#define _POSIX_C_SOURCE 200809L /* for the clock */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"

#include <time.h>

double gr_profile_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void gr_profile_add(struct gr_plan *plan, int step, bool backward, double began) {
    struct gr_step_time *time = &plan->times[step];
    time->seconds[backward] += gr_profile_clock() - began;
    time->runs[backward]++;
}

int gr_plan_profile(struct gr_plan *plan, bool on) {
    gr_free(plan->times);
    plan->times = NULL;
    if (!on)
        return GR_OK;
    plan->times = gr_calloc((size_t)plan->step_count, sizeof *plan->times);
    return plan->times ? GR_OK : GR_ERROR_MEMORY;
}

static double floats_of(const struct gr_plan *plan, int value) {
    return (double)plan->request.capacity * (double)gr_shape_size(plan->values[value].shape);
}

static double parameters_of(const struct gr_layer *layer) {
    double count = 0;
    for (int p = 0; p < layer->param_count; p++)
        count += (double)gr_tensor_count(&layer->params[p].tensor);
    return count;
}

/* Multiply-adds of one direction are those of a forward pass, once for the gradient of the input and once for
 * that of the parameters. */
static double flop_of(const struct gr_plan *plan, const struct gr_step *step) {
    const struct gr_layer *layer = step->layer;
    double before = step->before == GR_NONE ? 0 : flop_of(plan, &plan->steps[step->before]);
    if (!layer->kind->multiply_adds)
        return before;
    return before + 2.0 * plan->request.capacity *
                        (double)layer->kind->multiply_adds(layer, step->geometry.in, step->geometry.out);
}

static double forward_bytes(const struct gr_plan *plan, const struct gr_step *step) {
    double count = floats_of(plan, step->output) + parameters_of(step->layer);
    const struct gr_step *first = step; /* what lies between it and this one is not stored */
    for (; first->before != GR_NONE; count += parameters_of(first->layer))
        first = &plan->steps[first->before];
    for (int j = 0; j < first->layer->input_count; j++)
        count += floats_of(plan, first->inputs[j]);
    if (step->residual != GR_NONE)
        count += floats_of(plan, step->residual);
    return sizeof(float) * count;
}

static double backward_bytes(const struct gr_plan *plan, const struct gr_step *step) {
    double count = floats_of(plan, step->output); /* its gradient */
    if (step->activation || (step->needs.keep & GR_KEEP_OUTPUT))
        count += floats_of(plan, step->output);
    for (int j = 0; j < step->layer->input_count; j++) {
        if (step->needs.keep & GR_KEEP_INPUTS)
            count += floats_of(plan, step->inputs[j]);
        if (step->gx[j])
            count += floats_of(plan, step->inputs[j]);
    }
    if (step->residual_gradient)
        count += floats_of(plan, step->residual);
    count += parameters_of(step->layer) * (step->want.param_gradient + step->want.input_gradient);
    return sizeof(float) * count;
}

/* The layers whose work the step does beside its own, in the order in which they are computed. */
static void list_absorbed(const struct gr_plan *plan, const struct gr_step *step,
                          struct gr_step_profile *out) {
    const struct gr_step *part = step;
    int steps[3], count = 0, at = 0;
    for (; part->before != GR_NONE; part = &plan->steps[part->before])
        steps[count++] = part->before;
    while (count-- > 0) {
        part = &plan->steps[steps[count]];
        out->absorbed[at++] = part->layer;
        out->absorbed[at++] = part->norm;
        out->absorbed[at++] = part->activation;
    }
    out->absorbed[at++] = step->norm;
    out->absorbed[at++] = step->add;
    out->absorbed[at++] = step->activation;
}

static void describe(const struct gr_plan *plan, const struct gr_step *step, const struct gr_step_time *time,
                     struct gr_step_profile *out) {
    *out = (struct gr_step_profile){
        .layer = step->layer,
        .kernel = step->kernel_name,
        .shape = step->geometry.out,
        .has_backward = step->backward,
        .forward = {.flop = flop_of(plan, step), .bytes = forward_bytes(plan, step)},
    };
    list_absorbed(plan, step, out);
    if (step->backward)
        out->backward = (struct gr_work){.flop = flop_of(plan, step) *
                                                 (step->want.param_gradient + step->want.input_gradient),
                                         .bytes = backward_bytes(plan, step)};
    if (!time)
        return;
    out->forward.seconds = time->seconds[0];
    out->forward.runs = time->runs[0];
    out->backward.seconds = time->seconds[1];
    out->backward.runs = time->runs[1];
}

bool gr_plan_step_profile(const struct gr_plan *plan, int i, struct gr_step_profile *out) {
    for (int s = 0; s < plan->step_count; s++) {
        if (plan->steps[s].dropped || plan->steps[s].within != GR_NONE || i-- > 0)
            continue;
        describe(plan, &plan->steps[s], plan->times ? &plan->times[s] : NULL, out);
        return true;
    }
    return false;
}
