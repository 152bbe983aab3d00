/* slice: which layers run, which of them take part in the backward pass, and which gradients exist.
 *
 * Nothing below the lowest trainable parameter gets a gradient, and a frozen layer above a trainable one
 * passes its gradient on without getting one for its own parameters. */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"

static bool has_trained_params(const struct gr_layer *layer) {
    for (int i = 0; i < layer->param_count; i++)
        if (!layer->params[i].buffer)
            return true;
    return false;
}

/* Sets `reached` from the wanted outputs down to the photo, and `needed` down to what is given. */
static void mark(struct gr_plan *plan) {
    struct gr_network *net = plan->net;
    for (int i = 0; i < plan->given_count; i++)
        plan->values[plan->given[i]].given = true;
    for (int i = 0; i < plan->output_count; i++) {
        struct gr_value *value = &plan->values[plan->output_layers[i]->index];
        value->reached = value->needed = true;
    }
    for (int i = net->layer_count - 1; i >= 0; i--)
        for (int j = 0; j < net->layers[i]->input_count; j++) {
            struct gr_value *below = &plan->values[net->layers[i]->inputs[j]->index];
            below->reached |= plan->values[i].reached;
            below->needed |= plan->values[i].needed && !plan->values[i].given;
        }
}

static int infer_shape(struct gr_plan *plan, const struct gr_layer *layer, struct gr_shape *in) {
    for (int j = 0; j < layer->input_count; j++)
        in[j] = plan->values[layer->inputs[j]->index].shape;
    int status = layer->kind->shape(layer, in, &plan->values[layer->index].shape);
    if (status)
        return gr_fail_in("%s: layer %s (%s) at input size %dx%d", plan->net->name, layer->name,
                          layer->kind->name, plan->request.input.h, plan->request.input.w);
    return GR_OK;
}

/* Fills one step if the layer runs; the value of a layer that passes its input on becomes the same as that
 * input. */
static int add_step(struct gr_plan *plan, struct gr_layer *layer) {
    struct gr_shape in[GR_MAX_INPUTS];
    GR_TRY(infer_shape(plan, layer, in));
    struct gr_value *value = &plan->values[layer->index];
    if (!value->needed || value->given)
        return GR_OK;
    bool training = plan->request.training && !layer->frozen;
    if ((layer->kind->traits & GR_TRAIT_IDENTITY) && !training) {
        value->same_as = plan->values[layer->inputs[0]->index].same_as;
        return GR_OK;
    }
    struct gr_step *step = &plan->steps[plan->step_count++];
    int count = layer->input_count;
    *step = (struct gr_step){.layer = layer,
                             .residual = GR_NONE,
                             .output = layer->index,
                             .prologue = GR_NONE,
                             .statistics = GR_NONE,
                             .partials = GR_NONE,
                             .before = GR_NONE,
                             .within = GR_NONE,
                             .stash = GR_NONE,
                             .restore = GR_NONE};
    step->inputs = gr_calloc((size_t)count, sizeof *step->inputs);
    step->in = gr_calloc((size_t)count, sizeof *step->in);
    if (!step->inputs || !step->in)
        return GR_ERROR_MEMORY;
    step->source = plan->values[layer->inputs[0]->index].same_as;
    bool input_gradient = false;
    for (int j = 0; j < count; j++) {
        step->inputs[j] = plan->values[layer->inputs[j]->index].same_as;
        step->in[j] = in[j];
        plan->values[step->inputs[j]].uses++;
        input_gradient |= plan->values[step->inputs[j]].gradient;
    }
    step->want.training = training;
    step->want.param_gradient = training && has_trained_params(layer);
    step->want.input_gradient = input_gradient;
    step->backward = value->gradient = step->want.param_gradient || input_gradient;
    value->step = plan->step_count - 1;
    step->geometry = (struct gr_geometry){.n = plan->request.capacity,
                                          .threads = plan->threads,
                                          .exact = plan->request.exact,
                                          .in = step->in,
                                          .out = value->shape};
    if (step->backward && !layer->kind->backward)
        return gr_fail(GR_ERROR_OPTION, "layer %s (%s) has no gradient, so nothing below it can be trained",
                       layer->name, layer->kind->name);
    return GR_OK;
}

/* The value that stands for the layer whose gradient is wanted, or GR_NONE. */
static int watched(const struct gr_plan *plan) {
    const struct gr_layer *layer = plan->request.gradient_of;
    while (layer && (layer->kind->traits & GR_TRAIT_IDENTITY) && (!plan->request.training || layer->frozen))
        layer = layer->inputs[0];
    return layer ? layer->index : GR_NONE;
}

int gr_plan_slice(struct gr_plan *plan) {
    struct gr_network *net = plan->net;
    plan->value_count = net->layer_count;
    plan->values = gr_calloc((size_t)net->layer_count, sizeof *plan->values);
    plan->steps = gr_calloc((size_t)net->layer_count, sizeof *plan->steps);
    if (!plan->values || !plan->steps)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < net->layer_count; i++) {
        plan->values[i].same_as = i;
        plan->values[i].step = plan->values[i].data = plan->values[i].grad = GR_NONE;
        plan->values[i].stash = GR_NONE;
    }
    mark(plan);
    plan->values[0].shape = plan->request.input;
    int of = watched(plan);
    plan->values[0].gradient = plan->request.input_gradient || of == 0;
    for (int i = 1; i < net->layer_count; i++) {
        if (plan->values[i].reached)
            GR_TRY(add_step(plan, net->layers[i]));
        plan->values[i].gradient |= i == of;
    }
    if (plan->values[0].needed && !plan->values[0].given)
        return gr_fail(GR_ERROR_OPTION, "%s: what is given does not make up for the photo", net->name);
    for (int i = 0; i < plan->output_count; i++) {
        plan->outputs[i] = plan->values[plan->output_layers[i]->index].same_as;
        plan->values[plan->outputs[i]].wanted = true;
    }
    return GR_OK;
}
