/* join: an inverted residual block (a convolution to more channels, a depthwise one, a convolution to fewer)
 * runs as one step where nothing in it takes part in a backward pass, so that what lies inside is never
 * stored.
 *
 * It asks layers only whether they are convolutions, and kernels/inverted_residual.h whether three of them
 * are such a block and what that would take: a block that would be slower stays apart. So does one whose
 * inner outputs are wanted or read by others, or whose convolutions have reduced precision. */
#include "plan/internal.h"

/* Whether the step can be a part of a block: a plain convolution by this kernel. */
static bool plain(const struct gr_plan *plan, int index, int kernel) {
    const struct gr_step *step = &plan->steps[index];
    if (step->dropped || step->before != GR_NONE || step->within != GR_NONE || step->backward ||
        step->prologue != GR_NONE || !step->layer->kind->convolution || step->kernel != kernel)
        return false;
    for (int i = 0; i < plan->step_count; i++)
        if (!plan->steps[i].dropped && plan->steps[i].statistics == index)
            return false;
    return true;
}

/* The step before this one, if it is such a part and nobody else reads its output; else GR_NONE. */
static int part_before(const struct gr_plan *plan, int index, int kernel) {
    int value = plan->steps[index].inputs[0];
    if (!gr_plan_absorbable(plan, value))
        return GR_NONE;
    int before = plan->values[value].step;
    return plain(plan, before, kernel) && !plan->steps[before].add ? before : GR_NONE;
}

static struct gr_convolution convolution_of(const struct gr_step *step) {
    struct gr_convolution conv = {0};
    step->layer->kind->convolution(step->layer, &step->geometry, &conv);
    return conv;
}

/* The estimate for the kernel that was chosen. */
static double seconds_of(const struct gr_step *step) {
    for (int i = 0; i < step->choice_count; i++)
        if (step->choices[i].id == step->kernel)
            return step->choices[i].seconds;
    return 0;
}

static void put_within(struct gr_plan *plan, int before, int last) {
    struct gr_step *step = &plan->steps[before];
    step->within = last;
    step->needs.scratch = 0;
}

/* Joins the step with those before it if that is faster. */
static void join(struct gr_plan *plan, int index) {
    struct gr_step *last = &plan->steps[index];
    int middle = part_before(plan, index, GR_CONV_DEPTHWISE);
    if (middle == GR_NONE)
        return;
    int first = part_before(plan, middle, GR_CONV_SEGMENT);
    struct gr_inverted_residual *block = &last->block;
    block->depthwise = convolution_of(&plan->steps[middle]);
    block->project = convolution_of(last);
    double apart = seconds_of(last) + seconds_of(&plan->steps[middle]);
    if (first != GR_NONE) {
        block->expands = true;
        block->expand = convolution_of(&plan->steps[first]);
        if (!gr_inverted_residual_fits(block))
            first = GR_NONE; /* it is no 1x1 convolution */
    }
    block->expands = first != GR_NONE;
    apart += block->expands ? seconds_of(&plan->steps[first]) : 0;
    if (!gr_inverted_residual_fits(block))
        return;
    double together = gr_inverted_residual_cost(block, last->geometry.n, last->geometry.threads, apart);
    last->block_seconds[0] = together;
    last->block_seconds[1] = apart;
    if (together >= apart)
        return;
    last->before = middle;
    plan->steps[middle].before = first;
    put_within(plan, middle, index);
    if (block->expands)
        put_within(plan, first, index);
    last->needs.scratch = gr_inverted_residual_scratch(block);
    last->kernel_name = "inverted residual";
    last->choices[0] = (struct gr_kernel_choice){last->kernel, last->kernel_name, together};
    last->choices[1] = (struct gr_kernel_choice){last->kernel, "separate kernels", apart};
    last->choice_count = 2;
}

void gr_plan_join(struct gr_plan *plan) {
    if (plan->request.measure)
        return; /* what every layer reads is looked at */
    for (int i = 0; i < plan->step_count; i++)
        if (plain(plan, i, GR_CONV_SEGMENT))
            join(plan, i);
}
