/* fuse: what follows a convolution or a linear layer moves into its epilogue: first an addition, then an
 * activation.
 *
 * An addition goes to the operand that is computed last; the other one becomes its residual. An activation
 * that takes part in the backward pass is fused only if its derivative can be had from its output, or if the
 * layer before it computes its input again. */
#include "plan/internal.h"

#include "kernels/elementwise.h"

static struct gr_step *epilogue_maker(struct gr_plan *plan, int value) {
    if (!gr_plan_absorbable(plan, value))
        return NULL;
    struct gr_step *maker = &plan->steps[plan->values[value].step];
    bool open = (maker->layer->kind->traits & GR_TRAIT_EPILOGUE) && !maker->activation;
    return open ? maker : NULL;
}

static void fuse_add(struct gr_plan *plan, struct gr_step *add) {
    for (int j = 0; j < 2; j++) {
        int residual = add->inputs[1 - j];
        struct gr_step *maker = epilogue_maker(plan, add->inputs[j]);
        if (!maker || maker->add || residual == add->inputs[j])
            continue;
        if (plan->values[residual].step >= (int)(maker - plan->steps))
            continue; /* not computed yet when the maker runs */
        maker->add = add->layer;
        maker->residual = residual;
        maker->backward |= add->backward;
        gr_plan_absorb(plan, maker, add);
        return;
    }
}

static void fuse_activation(struct gr_plan *plan, struct gr_step *step) {
    struct gr_step *maker = epilogue_maker(plan, step->inputs[0]);
    if (!maker)
        return;
    float a = 0;
    enum gr_activation f = step->layer->kind->activation(step->layer, &a);
    bool again =
        (maker->layer->kind->traits & GR_TRAIT_EPILOGUE_BACKWARD) && !maker->add && maker->want.training;
    if (maker->backward && !gr_activation_from_output(f) && !again)
        return;
    maker->activation = step->layer;
    maker->epilogue.activation = f;
    maker->epilogue.a = a;
    gr_plan_absorb(plan, maker, step);
}

void gr_plan_fuse(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->layer->kind->traits & GR_TRAIT_ADD)
            fuse_add(plan, step);
        else if (step->layer->kind->activation)
            fuse_activation(plan, step);
    }
}
