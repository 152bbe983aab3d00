/* choose: the kernel with the least estimated time for each step. The estimate is a pure function of shapes,
 * batch, threads and the instruction set, never a timing, so that every run on a machine makes the same
 * choice. */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"

static int choose_kernel(struct gr_step *step) {
    const struct gr_layer_kind *kind = step->layer->kind;
    step->kernel = 0;
    step->kernel_name = kind->name;
    if (!kind->kernels)
        return GR_OK;
    struct gr_kernel_choice *choices = step->choices;
    int count = kind->kernels(step->layer, &step->geometry, choices);
    if (count < 1)
        return count < 0 ? count : gr_fail(GR_ERROR_SHAPE, "layer %s: no kernel fits", step->layer->name);
    int best = 0;
    for (int i = 1; i < count; i++)
        if (choices[i].seconds < choices[best].seconds)
            best = i;
    step->choice_count = count;
    step->kernel = choices[best].id;
    step->kernel_name = choices[best].name;
    return GR_OK;
}

/* Says which steps may have the precision that was asked for. */
static int allow_precision(struct gr_plan *plan) {
    if (plan->request.precision == GR_FLOAT32)
        return GR_OK;
    bool *pure = gr_calloc((size_t)plan->net->layer_count, sizeof *pure);
    if (!pure)
        return GR_ERROR_MEMORY;
    gr_plan_pure(plan->net, pure);
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (!pure[step->layer->index] || step->backward)
            continue;
        step->geometry.precision = plan->request.precision;
        if (plan->request.ranges) {
            step->geometry.low = plan->request.ranges[step->layer->index].low;
            step->geometry.high = plan->request.ranges[step->layer->index].high;
        }
        plan->uncalibrated |= plan->request.precision == GR_INT8 && !plan->request.ranges && !step->dropped &&
                              step->layer->kind->kernels;
    }
    gr_free(pure);
    plan->request.ranges = NULL; /* the caller's */
    return GR_OK;
}

int gr_plan_choose(struct gr_plan *plan) {
    GR_TRY(allow_precision(plan));
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped)
            continue;
        GR_TRY(choose_kernel(step));
        step->want.folded = step->norm != NULL;
        if (step->layer->kind->needs)
            step->layer->kind->needs(step->layer, &step->geometry, &step->want, step->kernel, &step->needs);
        bool again = (step->layer->kind->traits & GR_TRAIT_EPILOGUE_BACKWARD) && !step->add &&
                     (step->needs.keep & GR_KEEP_INPUTS);
        if (step->backward && step->activation && !again)
            step->needs.keep |= GR_KEEP_OUTPUT; /* its derivative is had from the output */
    }
    return GR_OK;
}
