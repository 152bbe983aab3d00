/* fold: a norm with fixed statistics is y = scale * x + shift, so it disappears into the weights and the bias
 * of the layer before it. Only where neither of the two is trained: otherwise the gradients of both would
 * have to be told apart again. */
#include "plan/internal.h"

bool gr_plan_absorbable(const struct gr_plan *plan, int value) {
    const struct gr_value *v = &plan->values[value];
    return v->uses == 1 && !v->wanted && v->step != GR_NONE;
}

void gr_plan_absorb(struct gr_plan *plan, struct gr_step *into, struct gr_step *step) {
    step->dropped = true;
    into->output = step->output;
    plan->values[into->output].step = (int)(into - plan->steps);
}

void gr_plan_fold(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *norm = &plan->steps[i];
        if (!norm->layer->kind->affine || norm->want.training || !gr_plan_absorbable(plan, norm->inputs[0]))
            continue;
        struct gr_step *maker = &plan->steps[plan->values[norm->inputs[0]].step];
        bool plain = maker->layer->kind->traits & GR_TRAIT_SCALED && !maker->norm;
        if (!plain || maker->want.param_gradient)
            continue;
        maker->norm = norm->layer;
        gr_plan_absorb(plan, maker, norm);
    }
}
