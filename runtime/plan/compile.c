/* Compiling a plan: the passes in order, and releasing what they made. */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"

#include <string.h>

static int copy_outputs(struct gr_plan *plan, const struct gr_plan_request *request) {
    struct gr_network *net = plan->net;
    bool by_caller = request->outputs != NULL;
    int count = by_caller ? request->output_count : 1 + (request->training ? net->aux_count : 0);
    if (count < 1)
        return gr_fail(GR_ERROR_OPTION, "a plan needs at least one output, got %d", count);
    if (!by_caller && !net->output)
        return gr_fail(GR_ERROR_OPTION,
                       "%s has no classifier to run; name the layers whose output is wanted, or add a "
                       "head",
                       net->name);
    plan->output_layers = gr_calloc((size_t)count, sizeof *plan->output_layers);
    plan->outputs = gr_calloc((size_t)count, sizeof *plan->outputs);
    if (!plan->output_layers || !plan->outputs)
        return GR_ERROR_MEMORY;
    plan->output_count = count;
    for (int i = 0; i < count; i++) {
        struct gr_layer *layer = by_caller ? request->outputs[i]
                                 : i == 0  ? net->output
                                           : net->aux[i - 1].output;
        if (layer->index < 0 || layer->index >= net->layer_count || net->layers[layer->index] != layer)
            return gr_fail(GR_ERROR_NAME, "a wanted output is not a layer of %s", net->name);
        plan->output_layers[i] = layer;
    }
    plan->request.outputs = plan->output_layers;
    plan->request.output_count = count;
    return GR_OK;
}

static int copy_inputs(struct gr_plan *plan, const struct gr_plan_request *request) {
    int count = request->inputs ? request->input_count : 1;
    plan->given = gr_calloc((size_t)count, sizeof *plan->given);
    if (!plan->given)
        return GR_ERROR_MEMORY;
    for (int i = 0; request->inputs && i < count; i++) {
        const struct gr_layer *layer = request->inputs[i];
        if (layer->index < 0 || layer->index >= plan->net->layer_count ||
            plan->net->layers[layer->index] != layer)
            return gr_fail(GR_ERROR_NAME, "a given input is not a layer of %s", plan->net->name);
        plan->given[i] = layer->index;
    }
    plan->given_count = count;
    return GR_OK;
}

static int check_request(const struct gr_network *net, const struct gr_plan_request *request) {
    struct gr_shape in = request->input;
    if (request->capacity < 1)
        return gr_fail(GR_ERROR_OPTION, "batch size must be at least 1, got %d", request->capacity);
    if (request->update && !request->training)
        return gr_fail(GR_ERROR_OPTION, "only a training plan has gradients to update by");
    if ((request->exact || net->exact) && request->precision != GR_FLOAT32)
        return gr_fail(GR_ERROR_OPTION, "%s: exact kernels and %s exclude each other", net->name,
                       gr_precision_name(request->precision));
    bool among = !request->gradient_of;
    for (int i = 0; request->outputs && i < request->output_count; i++)
        among |= request->outputs[i] == request->gradient_of;
    if (!among)
        return gr_fail(GR_ERROR_OPTION, "the layer whose gradient is wanted must be one of the outputs");
    if (request->inputs && (request->input_count < 1 || request->input_gradient))
        return gr_fail(GR_ERROR_OPTION,
                       "a plan with given inputs needs at least one, and has no gradient for the photo");
    if (in.c != net->input.c || in.h < 1 || in.w < 1)
        return gr_fail(GR_ERROR_SHAPE, "%s: expected photos [%d,H,W] with H and W at least 1, got [%d,%d,%d]",
                       net->name, net->input.c, in.c, in.h, in.w);
    return GR_OK;
}

/* Everything but the memory itself, so that plans can be compared. */
static int lay_out(struct gr_plan **out, struct gr_network *net, const struct gr_plan_request *request) {
    *out = NULL;
    struct gr_plan *plan = gr_calloc(1, sizeof *plan);
    if (!plan)
        return GR_ERROR_MEMORY;
    plan->net = net;
    plan->request = *request;
    plan->request.exact = request->exact || net->exact;
    plan->request.reference = request->reference || net->reference;
    plan->version = net->version;
    plan->threads = gr_threads();
    int status = copy_outputs(plan, request);
    if (!status)
        status = copy_inputs(plan, request);
    if (!status)
        status = gr_plan_slice(plan);
    if (!status && !plan->request.reference) {
        gr_plan_fold(plan);
        gr_plan_fuse(plan);
    }
    if (!status)
        status = gr_plan_choose(plan);
    if (!status && !plan->request.reference) {
        gr_plan_defer(plan);
        gr_plan_join(plan);
    }
    if (!status && request->training && request->stash == GR_STASH_BF16)
        status = gr_plan_stash(plan);
    if (!status)
        status = gr_plan_place(plan);
    if (status)
        gr_plan_free(plan);
    else
        *out = plan;
    return status;
}

/* In a shallow network the largest moment may be one that no copy makes smaller, or the float32 buffer of a
 * restored value comes on top of what was needed anyhow. Rounding is then for nothing: float32 it stays. */
static int keep_stash_if_smaller(struct gr_plan **plan, const struct gr_plan_request *request) {
    struct gr_plan_request without = *request;
    struct gr_plan *plain = NULL;
    without.stash = GR_STASH_NONE;
    GR_TRY(lay_out(&plain, (*plan)->net, &without));
    bool smaller = (*plan)->arena_bytes < plain->arena_bytes;
    gr_plan_free(smaller ? plain : *plan);
    *plan = smaller ? *plan : plain;
    return GR_OK;
}

int gr_plan_create(struct gr_plan **out, struct gr_network *net, const struct gr_plan_request *request) {
    struct gr_plan *plan = NULL;
    *out = NULL;
    GR_TRY(check_request(net, request));
    GR_TRY(lay_out(&plan, net, request));
    int status = plan->stash_count ? keep_stash_if_smaller(&plan, request) : GR_OK;
    if (!status && !(plan->arena = gr_alloc(plan->arena_bytes)))
        status = gr_fail_in("%s, batch %d: the plan's arena", net->name, request->capacity);
    if (!status)
        status = gr_plan_bind(plan);
    if (status)
        gr_plan_free(plan);
    else
        *out = plan;
    return status;
}

static void free_step(struct gr_step *step) {
    gr_free(step->inputs);
    gr_free(step->in);
    gr_free(step->packed);
    gr_free(step->bias);
    gr_free(step->scale);
    gr_free(step->x);
    gr_free(step->kept);
    gr_free(step->gx);
    gr_free(step->accumulate);
    gr_free(step->gp);
    gr_free(step->gradients);
}

void gr_plan_free(struct gr_plan *plan) {
    if (!plan)
        return;
    for (int i = 0; plan->steps && i < plan->step_count; i++)
        free_step(&plan->steps[i]);
    for (int i = 0; plan->gradients && !plan->request.update && i < plan->trained_count; i++)
        gr_free(plan->gradients[i]);
    gr_free(plan->steps);
    gr_free(plan->values);
    gr_free(plan->buffers);
    gr_free(plan->stashes);
    gr_free(plan->given);
    gr_free(plan->outputs);
    gr_free(plan->output_layers);
    gr_free(plan->trained);
    gr_free(plan->trained_layers);
    gr_free(plan->gradients);
    gr_free(plan->times);
    gr_free(plan->arena);
    gr_free(plan);
}

bool gr_plan_stale(const struct gr_plan *plan) {
    return plan->version != plan->net->version || plan->threads != gr_threads();
}

int gr_plan_outputs(const struct gr_plan *plan) {
    return plan->output_count;
}

struct gr_layer *gr_plan_output_layer(const struct gr_plan *plan, int i) {
    return plan->output_layers[i];
}

struct gr_shape gr_plan_output_shape(const struct gr_plan *plan, int i) {
    return plan->values[plan->outputs[i]].shape;
}

int gr_plan_inputs(const struct gr_plan *plan) {
    return plan->given_count;
}

struct gr_shape gr_plan_given_shape(const struct gr_plan *plan, int i) {
    return plan->values[plan->given[i]].shape;
}

size_t gr_plan_arena(const struct gr_plan *plan) {
    return plan->arena_bytes;
}

size_t gr_plan_memory(const struct gr_plan *plan) {
    return plan->arena_bytes + plan->held_bytes;
}

size_t gr_plan_stashed(const struct gr_plan *plan, int *count) {
    size_t bytes = 0;
    for (int i = 0; i < plan->stash_count; i++)
        bytes += plan->buffers[plan->stashes[i].half].bytes;
    *count = plan->stash_count;
    return bytes;
}

int gr_plan_trained(const struct gr_plan *plan, struct gr_param *const **params,
                    struct gr_layer *const **layers) {
    *params = plan->trained;
    *layers = plan->trained_layers;
    return plan->trained_count;
}

float *gr_plan_gradient(struct gr_plan *plan, const struct gr_param *param) {
    for (int i = 0; i < plan->trained_count; i++)
        if (plan->trained[i] == param)
            return plan->gradients[i];
    return NULL;
}
