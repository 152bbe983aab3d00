/* defer: a norm behind a convolution takes no pass over memory of its own where its neighbours can do its
 * work.
 *
 * The convolution before it sums up what it writes while the cache still holds it, so that the norm's
 * statistics are there when it is done. And where all that read the norm's output are convolutions, the
 * output is never stored: they apply scale, shift and activation to what the norm read, whenever they load
 * it, in both directions. That spares the memory of the output as well. */
#include "plan/internal.h"

#include "kernels/kernels.h"

static void take_statistics(struct gr_plan *plan, struct gr_step *norm) {
    const struct gr_value *in = &plan->values[norm->inputs[0]];
    if (!norm->needs.statistics || in->step == GR_NONE)
        return;
    const struct gr_step *maker = &plan->steps[in->step];
    if (maker->needs.takes_norms && !maker->norm && !maker->add && !maker->activation)
        norm->statistics = in->step;
}

/* Whether every reader of this value is a step that applies a prologue to it. */
static bool all_dress(const struct gr_plan *plan, int value) {
    int readers = 0;
    for (int i = 0; i < plan->step_count; i++) {
        const struct gr_step *step = &plan->steps[i];
        if (step->dropped)
            continue;
        if (step->residual == value)
            return false;
        for (int j = 0; j < step->layer->input_count; j++)
            if (step->inputs[j] == value) {
                if (j > 0 || !step->needs.takes_norms)
                    return false;
                readers++;
            }
    }
    return readers > 0;
}

static void defer_output(struct gr_plan *plan, int index) {
    struct gr_step *norm = &plan->steps[index];
    bool recompute = !norm->backward || (norm->needs.keep & GR_KEEP_INPUTS);
    if (norm->add || norm->needs.keep & GR_KEEP_OUTPUT || !recompute || plan->values[norm->output].wanted ||
        !gr_activation_simple(norm->epilogue.activation) || !all_dress(plan, norm->output))
        return;
    norm->deferred = true;
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || step->inputs[0] != norm->output)
            continue;
        step->prologue = index;
        step->source = norm->source;
    }
}

void gr_plan_defer(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || !(step->layer->kind->traits & GR_TRAIT_DEFER))
            continue;
        take_statistics(plan, step);
        defer_output(plan, i);
    }
}
