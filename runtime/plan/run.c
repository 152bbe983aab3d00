/* bind and run: after binding every step has its pointers, so running is a loop over steps. */
#include "plan/internal.h"

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "kernels/elementwise.h"

#include <string.h>

/* Memory that the plan holds outside the arena. */
static void *hold(struct gr_plan *plan, size_t count, size_t size) {
    void *block = gr_calloc(count, size);
    if (block)
        plan->held_bytes += count * size;
    return block;
}

static void *address(const struct gr_plan *plan, int buffer) {
    if (buffer == GR_NONE)
        return NULL;
    while (plan->buffers[buffer].root != buffer)
        buffer = plan->buffers[buffer].root;
    return plan->arena + plan->buffers[buffer].offset;
}

static int bind_weights(struct gr_plan *plan, struct gr_step *step) {
    if (step->needs.packed && !step->transient &&
        !(step->packed = hold(plan, step->needs.packed, sizeof(float))))
        return GR_ERROR_MEMORY;
    if (step->norm) {
        size_t channels = (size_t)step->geometry.out.c;
        step->bias = hold(plan, channels, sizeof(float));
        step->scale = hold(plan, channels, sizeof(float));
        if (!step->bias || !step->scale)
            return GR_ERROR_MEMORY;
        step->epilogue.bias = step->bias;
        return GR_OK;
    }
    const struct gr_param *bias = gr_layer_param(step->layer, "bias");
    if (step->layer->kind->traits & GR_TRAIT_SCALED)
        step->epilogue.bias = bias ? gr_tensor_floats(&bias->tensor) : NULL;
    return GR_OK;
}

/* What a norm leaves for whoever applies it. */
static struct gr_prologue prologue_of(const struct gr_plan *plan, const struct gr_step *norm) {
    const float *saved = address(plan, norm->saved);
    return (struct gr_prologue){.scale = saved,
                                .shift = saved + norm->geometry.out.c,
                                .activation = norm->epilogue.activation,
                                .a = norm->epilogue.a};
}

static void bind_stashes(struct gr_plan *plan) {
    for (int i = 0; i < plan->stash_count; i++) {
        struct gr_stash *s = &plan->stashes[i];
        s->from = address(plan, plan->values[s->value].data);
        s->to = address(plan, s->back);
        s->copy = address(plan, s->half);
        if (s->inside)
            s->copy = (uint16_t *)(void *)((char *)s->to + plan->buffers[s->back].bytes / 2);
        if (s->reader != GR_NONE)
            s->dress = prologue_of(plan, &plan->steps[s->reader]);
    }
}

/* Where the backward pass reads a value. */
static float *kept_value(const struct gr_plan *plan, int value) {
    const struct gr_value *v = &plan->values[value];
    return address(plan, v->stash == GR_NONE ? v->data : plan->stashes[v->stash].back);
}

static int bind_step(struct gr_plan *plan, struct gr_step *step) {
    int inputs = step->layer->input_count, params = step->layer->param_count;
    step->x = gr_calloc((size_t)inputs, sizeof *step->x);
    step->kept = gr_calloc((size_t)inputs, sizeof *step->kept);
    step->gx = gr_calloc((size_t)inputs, sizeof *step->gx);
    step->gp = gr_calloc((size_t)params, sizeof *step->gp);
    if (!step->x || !step->kept || !step->gx || !step->gp)
        return GR_ERROR_MEMORY;
    for (int j = 0; j < inputs; j++) {
        const struct gr_value *in = &plan->values[step->inputs[j]];
        step->x[j] = address(plan, plan->values[gr_plan_source(step, j)].data);
        step->kept[j] = kept_value(plan, gr_plan_source(step, j));
        if (step->backward && in->gradient)
            step->gx[j] = address(plan, in->grad);
    }
    step->y = address(plan, plan->values[step->output].data);
    step->kept_y = kept_value(plan, step->output);
    if (step->backward)
        step->gy = address(plan, plan->values[step->output].grad);
    if (step->residual != GR_NONE) {
        step->epilogue.residual = address(plan, plan->values[step->residual].data);
        if (step->backward && plan->values[step->residual].gradient)
            step->residual_gradient = address(plan, plan->values[step->residual].grad);
    }
    GR_TRY(bind_weights(plan, step));
    step->epilogue.statistics = address(plan, step->partials);
    if (step->prologue != GR_NONE)
        step->dress = prologue_of(plan, &plan->steps[step->prologue]);
    step->pass = (struct gr_pass){.layer = step->layer,
                                  .geometry = &step->geometry,
                                  .kernel = step->kernel,
                                  .training = step->want.training,
                                  .x = step->x,
                                  .y = step->y,
                                  .epilogue = &step->epilogue,
                                  .prologue = step->prologue == GR_NONE ? NULL : &step->dress,
                                  .saved = address(plan, step->saved),
                                  .scratch = address(plan, step->scratch_forward),
                                  .key = step->key,
                                  .gy = step->gy,
                                  .gx = step->gx,
                                  .accumulate = step->accumulate,
                                  .gresidual = step->residual_gradient,
                                  .accumulate_residual = step->residual_accumulate,
                                  .gp = step->gp};
    return GR_OK;
}

static int bind_gradients(struct gr_plan *plan) {
    int count = 0;
    for (int i = 0; i < plan->step_count; i++)
        if (!plan->steps[i].dropped && plan->steps[i].want.param_gradient)
            count += plan->steps[i].layer->param_count;
    plan->trained = gr_calloc((size_t)count, sizeof *plan->trained);
    plan->trained_layers = gr_calloc((size_t)count, sizeof *plan->trained_layers);
    plan->gradients = gr_calloc((size_t)count, sizeof *plan->gradients);
    if (!plan->trained || !plan->trained_layers || !plan->gradients)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        step->first_trained = plan->trained_count;
        for (int p = 0; !step->dropped && step->want.param_gradient && p < step->layer->param_count; p++) {
            struct gr_param *param = &step->layer->params[p];
            if (param->buffer)
                continue;
            step->gp[p] = step->gradients
                              ? address(plan, step->gradients[p])
                              : hold(plan, (size_t)gr_tensor_count(&param->tensor), sizeof(float));
            if (!step->gp[p])
                return GR_ERROR_MEMORY;
            plan->trained[plan->trained_count] = param;
            plan->trained_layers[plan->trained_count] = step->layer;
            plan->gradients[plan->trained_count++] = step->gp[p];
        }
    }
    return GR_OK;
}

int gr_plan_bind(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++)
        if (!plan->steps[i].dropped)
            GR_TRY(bind_step(plan, &plan->steps[i]));
    bind_stashes(plan);
    return bind_gradients(plan);
}

static uint64_t versions(const struct gr_layer *layer) {
    uint64_t sum = 0;
    for (int p = 0; p < layer->param_count; p++)
        sum += layer->params[p].version;
    return sum;
}

/* Makes folded biases and packed weights anew when a parameter changed. Versions only grow, so their sum
 * tells. */
static void refresh(struct gr_step *step) {
    const struct gr_layer *layer = step->layer;
    if (!step->packed && !step->norm)
        return;
    uint64_t version = 1 + versions(layer) + (step->norm ? versions(step->norm) : 0);
    if (version == step->packed_version)
        return;
    if (step->norm) {
        step->norm->kind->affine(step->norm, step->scale, step->bias);
        const struct gr_param *bias = gr_layer_param(layer, "bias");
        const float *own = bias ? gr_tensor_floats(&bias->tensor) : NULL;
        for (int k = 0; own && k < step->geometry.out.c; k++)
            step->bias[k] += step->scale[k] * own[k];
    }
    if (step->packed)
        layer->kind->pack(layer, &step->geometry, step->kernel, step->scale, step->packed);
    step->packed_version = version;
}

/* Gives the step its packed weights for one pass; `buffer`: where, if they do not stay. */
static void bind_packed(const struct gr_plan *plan, struct gr_step *step, int buffer) {
    float *packed = step->transient ? address(plan, buffer) : step->packed;
    if (step->transient && packed)
        step->layer->kind->pack(step->layer, &step->geometry, step->kernel, step->scale, packed);
    step->pass.packed = packed;
}

static void set_key(struct gr_step *step, const struct gr_stream *stream) {
    struct gr_random random =
        gr_random(stream->seed, GR_RANDOM_DROPOUT, stream->fit, stream->step, gr_hash(step->layer->name));
    for (int i = 0; i < 4; i++)
        step->key[i] = gr_random_u32(&random);
}

/* Weights for the forward pass of a step, and of those whose work it does. */
static void bind_weights_of(const struct gr_plan *plan, struct gr_step *step) {
    for (;; step = &plan->steps[step->before]) {
        refresh(step);
        bind_packed(plan, step, step->packed_forward);
        if (step->before == GR_NONE)
            return;
    }
}

static int run_step(const struct gr_plan *plan, const struct gr_step *step) {
    if (step->before == GR_NONE)
        return step->layer->kind->forward(&step->pass);
    struct gr_inverted_part parts[3] = {{NULL, NULL}};
    const struct gr_step *first = step;
    for (int i = 2;; i--, first = &plan->steps[first->before]) {
        parts[i] = (struct gr_inverted_part){first->pass.packed, &first->epilogue};
        if (first->before == GR_NONE)
            break;
    }
    gr_inverted_residual_forward(&step->block, step->pass.n, first->x[0], parts, step->y, step->pass.scratch);
    return GR_OK;
}

/* How many partial sums there are depends on the batch. */
static void bind_statistics(struct gr_plan *plan, struct gr_step *step, int n) {
    const struct gr_step *maker = &plan->steps[step->statistics];
    step->pass.statistics = maker->epilogue.statistics;
    step->pass.partials = maker->layer->kind->partials(maker->layer, &maker->geometry, maker->kernel, n);
}

static int fail_in_step(const struct gr_plan *plan, const struct gr_step *step) {
    return gr_fail_in("%s: layer %s (%s)", plan->net->name, step->layer->name, step->layer->kind->name);
}

float *gr_plan_given(struct gr_plan *plan, int i) {
    return address(plan, plan->values[plan->given[i]].data);
}

float *gr_plan_input(struct gr_plan *plan) {
    return gr_plan_given(plan, 0);
}

void gr_plan_measure(struct gr_plan *plan, struct gr_range *ranges) {
    plan->measured = ranges;
}

static void widen(struct gr_range *range, int64_t count, const float *x) {
    for (int64_t i = 0; i < count; i++) {
        range->low = x[i] < range->low ? x[i] : range->low;
        range->high = x[i] > range->high ? x[i] : range->high;
    }
}

/* Where a norm is applied on load, what counts is its output. */
static void measure(const struct gr_plan *plan, const struct gr_step *step, int n) {
    enum { SOME = 256 };
    struct gr_range *range = &plan->measured[step->layer->index];
    const struct gr_prologue *dress = step->pass.prologue;
    int64_t count = n * gr_shape_size(step->geometry.in[0]), channels = step->geometry.in[0].c;
    float some[SOME];
    if (!dress)
        widen(range, count, step->x[0]);
    for (int64_t first = 0; dress && first < count; first += SOME) {
        int64_t m = count - first < SOME ? count - first : SOME;
        for (int64_t i = 0; i < m; i++) {
            int64_t c = (first + i) % channels;
            some[i] = step->x[0][first + i] * dress->scale[c] + dress->shift[c];
        }
        gr_activation_forward(dress->activation, dress->a, m, some, some);
        widen(range, m, some);
    }
}

int gr_plan_forward(struct gr_plan *plan, int n, const struct gr_stream *stream) {
    if (n < 1 || n > plan->request.capacity)
        return gr_fail(GR_ERROR_SHAPE, "%s: expected a batch of 1 to %d photos, got %d", plan->net->name,
                       plan->request.capacity, n);
    if (plan->uncalibrated)
        return gr_fail(GR_ERROR_OPTION, "%s: a plan in int8 needs the ranges of what its layers read",
                       plan->net->name);
    static const struct gr_stream first = {0};
    plan->batch = 0;
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || step->within != GR_NONE)
            continue;
        GR_TRY(gr_interrupt_check()); /* held where a training step must be whole */
        double began = gr_profile_begin(plan);
        if (plan->measured && step->layer->input_count > 0)
            measure(plan, step, n);
        bind_weights_of(plan, step);
        step->pass.n = n;
        step->pass.x = step->x;
        step->pass.y = step->y;
        step->pass.scratch = address(plan, step->scratch_forward);
        if (step->statistics != GR_NONE)
            bind_statistics(plan, step, n);
        if (step->want.training && (step->layer->kind->traits & GR_TRAIT_IMPURE))
            set_key(step, stream ? stream : &first);
        if (run_step(plan, step))
            return fail_in_step(plan, step);
        gr_stash_store(plan, step, n);
        gr_profile_end(plan, i, false, began);
    }
    plan->batch = n;
    return GR_OK;
}

const float *gr_plan_output(const struct gr_plan *plan, int i) {
    return address(plan, plan->values[plan->outputs[i]].data);
}

float *gr_plan_output_gradient(struct gr_plan *plan, int i) {
    return address(plan, plan->values[plan->outputs[i]].grad);
}

const float *gr_plan_input_gradient(const struct gr_plan *plan) {
    return address(plan, plan->values[0].grad);
}

float *gr_plan_gradient_of(const struct gr_plan *plan) {
    const struct gr_layer *layer = plan->request.gradient_of;
    return layer ? address(plan, plan->values[plan->values[layer->index].same_as].grad) : NULL;
}

/* The way back through what was fused, in reverse: activation, then the residual gets its share. */
static void backward_epilogue(struct gr_step *step, int64_t count) {
    if (step->layer->kind->traits & GR_TRAIT_EPILOGUE_BACKWARD)
        return;
    if (step->activation)
        gr_activation_backward(step->epilogue.activation, step->epilogue.a, count, step->kept_y, step->gy,
                               step->gy, false);
    if (!step->residual_gradient)
        return;
    if (step->residual_accumulate)
        gr_accumulate(count, step->gy, step->residual_gradient);
    else
        memcpy(step->residual_gradient, step->gy, (size_t)count * sizeof(float));
}

/* The step's gradients are there, and everything that reads its parameters is done. */
static int use_up(const struct gr_plan *plan, const struct gr_step *step) {
    int trained = step->first_trained;
    for (int p = 0; step->gradients && p < step->layer->param_count; p++)
        if (step->gradients[p] != GR_NONE)
            GR_TRY(plan->request.update(plan->request.update_payload, trained++));
    return GR_OK;
}

int gr_plan_backward(struct gr_plan *plan) {
    if (!plan->batch)
        return gr_fail(GR_ERROR_OPTION, "%s: a backward pass needs a forward pass before it",
                       plan->net->name);
    for (int i = plan->step_count - 1; i >= 0; i--) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || !step->backward)
            continue;
        double began = gr_profile_begin(plan);
        gr_stash_restore(plan, step, plan->batch);
        backward_epilogue(step, plan->batch * gr_shape_size(step->geometry.out));
        step->pass.x = step->kept;
        step->pass.y = step->needs.keep & GR_KEEP_OUTPUT ? step->kept_y : NULL;
        step->pass.scratch = address(plan, step->scratch_backward);
        bind_packed(plan, step, step->packed_backward);
        bool work = step->want.param_gradient || step->want.input_gradient ||
                    (step->layer->kind->traits & GR_TRAIT_EPILOGUE_BACKWARD);
        if (work && step->layer->kind->backward(&step->pass))
            return fail_in_step(plan, step);
        GR_TRY(use_up(plan, step));
        gr_profile_end(plan, i, true, began);
    }
    plan->batch = 0;
    return GR_OK;
}
