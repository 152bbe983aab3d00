/* place: which bytes live when, and where in the one arena they lie.
 *
 * Lifetimes come from the list of steps; in-place pairs are merged; then buffers are placed largest first,
 * each at the lowest offset where it meets no buffer that is alive at the same time (greedy by size,
 * Pisarchyk and Lee 2020). */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"
#include "kernels/norm.h"

#include <stdlib.h>

static int forward_time(int step) {
    return step;
}

static int backward_time(const struct gr_plan *plan, int step) {
    return 2 * plan->step_count - step;
}

static int add_buffer(struct gr_plan *plan, size_t bytes, int first, int last, int *out) {
    if (plan->buffer_count == plan->buffer_capacity) {
        int capacity = plan->buffer_capacity ? 2 * plan->buffer_capacity : 256;
        struct gr_buffer *grown = gr_realloc(plan->buffers, (size_t)capacity * sizeof *grown);
        if (!grown)
            return GR_ERROR_MEMORY;
        plan->buffers = grown;
        plan->buffer_capacity = capacity;
    }
    size_t rounded;
    if (!gr_size_add(bytes, GR_ALIGNMENT - 1, &rounded))
        return gr_fail(GR_ERROR_LIMIT, "an activation does not fit the address space");
    rounded -= rounded % GR_ALIGNMENT;
    *out = plan->buffer_count++;
    plan->buffers[*out] =
        (struct gr_buffer){.bytes = rounded, .first = first, .last = last, .early = first, .root = *out};
    return GR_OK;
}

static struct gr_buffer *root_of(struct gr_plan *plan, int buffer) {
    while (plan->buffers[buffer].root != buffer)
        buffer = plan->buffers[buffer].root;
    return &plan->buffers[buffer];
}

static void alive_at(struct gr_plan *plan, int buffer, int time) {
    struct gr_buffer *b = &plan->buffers[buffer];
    if (time < b->first)
        b->first = b->early = time;
    if (time > b->last)
        b->last = time;
}

static int value_bytes(const struct gr_plan *plan, int value, size_t *bytes) {
    struct gr_shape s = plan->values[value].shape;
    size_t count;
    if (!gr_size_multiply((size_t)s.h, (size_t)s.w, &count) ||
        !gr_size_multiply(count, (size_t)s.c, &count) ||
        !gr_size_multiply(count, (size_t)plan->request.capacity, &count) ||
        !gr_size_multiply(count, sizeof(float), bytes))
        return gr_fail(GR_ERROR_LIMIT, "%s: a batch of %d at this size does not fit the address space",
                       plan->net->name, plan->request.capacity);
    return GR_OK;
}

static int add_value(struct gr_plan *plan, int value, int time) {
    size_t bytes;
    GR_TRY(value_bytes(plan, value, &bytes));
    return add_buffer(plan, bytes, time, time, &plan->values[value].data);
}

/* The copies of what is stashed, and where it is restored. */
static int place_stashes(struct gr_plan *plan) {
    for (int i = 0; i < plan->stash_count; i++) {
        struct gr_stash *s = &plan->stashes[i];
        int then = backward_time(plan, s->before);
        size_t bytes;
        GR_TRY(value_bytes(plan, s->value, &bytes));
        GR_TRY(add_buffer(plan, bytes, then, backward_time(plan, s->last), &s->back));
        GR_TRY(add_buffer(plan, plan->buffers[s->back].bytes / 2, forward_time(s->after), then, &s->half));
    }
    return GR_OK;
}

static void read_backward(struct gr_plan *plan, int value, int step) {
    struct gr_value *v = &plan->values[value];
    v->kept = true;
    if (v->stash == GR_NONE)
        alive_at(plan, v->data, backward_time(plan, step));
}

/* The activations: made by one step, read by others, kept for backward where a step says so. */
static int place_values(struct gr_plan *plan) {
    for (int i = 0; i < plan->given_count; i++)
        GR_TRY(add_value(plan, plan->given[i], 0));
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped)
            continue;
        if (!step->deferred && step->within == GR_NONE)
            GR_TRY(add_value(plan, step->output, forward_time(i)));
        for (int j = 0; step->before == GR_NONE && j < step->layer->input_count; j++)
            alive_at(plan, plan->values[gr_plan_source(step, j)].data,
                     forward_time(gr_plan_runs_at(plan, i)));
        if (step->residual != GR_NONE)
            alive_at(plan, plan->values[step->residual].data, forward_time(i));
        if (!step->backward)
            continue;
        if (step->needs.keep & GR_KEEP_OUTPUT)
            read_backward(plan, step->output, i);
        for (int j = 0; (step->needs.keep & GR_KEEP_INPUTS) && j < step->layer->input_count; j++)
            read_backward(plan, gr_plan_source(step, j), i);
    }
    bool backward = plan->request.training || plan->request.gradient_of;
    for (int i = 0; i < plan->output_count; i++) /* readable until the next pass */
        alive_at(plan, plan->values[plan->outputs[i]].data,
                 backward ? 2 * plan->step_count : plan->step_count);
    return GR_OK;
}

static int place_gradient(struct gr_plan *plan, int value, int time, bool *accumulate) {
    struct gr_value *v = &plan->values[value];
    *accumulate = v->grad != GR_NONE;
    if (*accumulate) {
        alive_at(plan, v->grad, time);
        return GR_OK;
    }
    size_t bytes;
    GR_TRY(value_bytes(plan, value, &bytes));
    return add_buffer(plan, bytes, time, time, &v->grad);
}

/* The gradients of activations: the first step of the backward pass that writes one overwrites it, the others
 * add. */
static int place_gradients(struct gr_plan *plan) {
    bool ignored;
    for (int i = 0; i < plan->output_count; i++)
        if (plan->values[plan->outputs[i]].gradient)
            GR_TRY(place_gradient(plan, plan->outputs[i], plan->step_count, &ignored));
    for (int i = plan->step_count - 1; i >= 0; i--) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || !step->backward)
            continue;
        alive_at(plan, plan->values[step->output].grad, backward_time(plan, i));
        if (step->residual != GR_NONE && plan->values[step->residual].gradient)
            GR_TRY(place_gradient(plan, step->residual, backward_time(plan, i), &step->residual_accumulate));
        for (int j = 0; j < step->layer->input_count; j++)
            if (plan->values[step->inputs[j]].gradient)
                GR_TRY(place_gradient(plan, step->inputs[j], backward_time(plan, i), &step->accumulate[j]));
    }
    if (plan->values[0].grad != GR_NONE)
        alive_at(plan, plan->values[0].grad, 2 * plan->step_count);
    const struct gr_layer *of = plan->request.gradient_of;
    if (of)
        alive_at(plan, plan->values[plan->values[of->index].same_as].grad, 2 * plan->step_count);
    return GR_OK;
}

/* Where the maker of a step's input leaves its partial sums for it. */
static int place_partials(struct gr_plan *plan, const struct gr_step *step, int index) {
    struct gr_step *maker = &plan->steps[step->statistics];
    int64_t count = 0; /* the way work is cut does not make it grow evenly with the batch */
    for (int n = 1; n <= maker->geometry.n; n++) {
        int64_t some = maker->layer->kind->partials(maker->layer, &maker->geometry, maker->kernel, n);
        count = some > count ? some : count;
    }
    size_t bytes;
    if (!gr_size_multiply((size_t)count, gr_statistics_floats(maker->geometry.out.c) * sizeof(float), &bytes))
        return gr_fail(GR_ERROR_LIMIT, "%s: the plan does not fit the address space", plan->net->name);
    GR_TRY(add_buffer(plan, bytes, forward_time(step->statistics), forward_time(index), &maker->partials));
    return GR_OK;
}

/* A deferred norm's scale and shift live as long as somebody applies them. */
static void keep_prologues(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (!step->dropped && step->prologue != GR_NONE)
            alive_at(plan, plan->steps[step->prologue].saved,
                     step->backward ? backward_time(plan, i) : forward_time(i));
    }
}

/* Packed weights that live only while their step runs. */
static int place_packed(struct gr_plan *plan, struct gr_step *step, int now, int then) {
    size_t bytes;
    step->transient = step->needs.packed && (plan->request.lean || step->want.param_gradient);
    if (!step->transient)
        return GR_OK;
    if (!gr_size_multiply(step->needs.packed, sizeof(float), &bytes))
        return gr_fail(GR_ERROR_LIMIT, "%s: the plan does not fit the address space", plan->net->name);
    GR_TRY(add_buffer(plan, bytes, now, now, &step->packed_forward));
    if (step->backward && step->want.input_gradient)
        GR_TRY(add_buffer(plan, bytes, then, then, &step->packed_backward));
    return GR_OK;
}

/* Gradients that are used up as soon as they are there. */
static int place_used_up(struct gr_plan *plan, struct gr_step *step, int then) {
    const struct gr_layer *layer = step->layer;
    if (!plan->request.update || !step->want.param_gradient)
        return GR_OK;
    step->gradients = gr_calloc((size_t)layer->param_count, sizeof *step->gradients);
    if (!step->gradients)
        return GR_ERROR_MEMORY;
    for (int p = 0; p < layer->param_count; p++) {
        step->gradients[p] = GR_NONE;
        if (!layer->params[p].buffer)
            GR_TRY(
                add_buffer(plan, gr_tensor_bytes(&layer->params[p].tensor), then, then, &step->gradients[p]));
    }
    return GR_OK;
}

static int place_step_memory(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        step->saved = step->scratch_forward = step->scratch_backward = GR_NONE;
        step->packed_forward = step->packed_backward = GR_NONE;
        if (step->dropped)
            continue;
        int now = forward_time(gr_plan_runs_at(plan, i)),
            then = step->backward ? backward_time(plan, i) : now;
        if (step->needs.saved)
            GR_TRY(add_buffer(plan, step->needs.saved, now, then, &step->saved));
        if (step->statistics != GR_NONE)
            GR_TRY(place_partials(plan, step, i));
        GR_TRY(place_packed(plan, step, now, then));
        GR_TRY(place_used_up(plan, step, then));
        if (!step->needs.scratch)
            continue;
        GR_TRY(add_buffer(plan, step->needs.scratch, now, now, &step->scratch_forward));
        if (step->backward)
            GR_TRY(add_buffer(plan, step->needs.scratch, then, then, &step->scratch_backward));
    }
    return GR_OK;
}

/* Lets `later` use the memory of `earlier` when they meet only at `time`. */
static void merge(struct gr_plan *plan, int earlier, int later, int time) {
    struct gr_buffer *a = root_of(plan, earlier), *b = root_of(plan, later);
    if (a == b || a->bytes != b->bytes || a->last != time || b->first != time)
        return;
    a->last = b->last;
    b->root = (int)(a - plan->buffers);
}

static void merge_in_place(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        if (!step->dropped && !step->deferred && (step->layer->kind->traits & GR_TRAIT_INPLACE) &&
            plan->values[step->inputs[0]].stash == GR_NONE) /* else it is copied after this step */
            merge(plan, plan->values[step->inputs[0]].data, plan->values[step->output].data, forward_time(i));
    }
    for (int i = plan->step_count - 1; i >= 0; i--) {
        struct gr_step *step = &plan->steps[i];
        if (step->dropped || !step->backward)
            continue;
        bool residual = step->residual != GR_NONE && plan->values[step->residual].gradient;
        bool inplace = plan->values[step->inputs[0]].gradient && !step->accumulate[0] &&
                       (step->layer->kind->traits & GR_TRAIT_INPLACE);
        int to = step->inputs[0];
        if (residual) { /* the residual's gradient is the output's, behind the activation */
            to = step->residual;
            inplace = !step->residual_accumulate && (step->layer->kind->traits & GR_TRAIT_EPILOGUE_BACKWARD);
        }
        if (inplace)
            merge(plan, plan->values[step->output].grad, plan->values[to].grad, backward_time(plan, i));
    }
}

static int by_size(const void *a, const void *b) {
    const struct gr_buffer *x = *(struct gr_buffer *const *)a, *y = *(struct gr_buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->root - y->root; /* buffers are distinct roots: a total order */
}

/* Bytes low..high-1 of a buffer in use from time first to time last. */
struct part {
    int64_t low, high;
    int first, last;
};

static int parts_of(const struct gr_buffer *b, struct part parts[2]) {
    int64_t bytes = (int64_t)b->bytes;
    parts[0] = (struct part){0, bytes, b->first, b->last};
    parts[1] = (struct part){bytes / 2, bytes, b->early, b->first - 1};
    return b->early < b->first ? 2 : 1;
}

/* Offsets above `low` and below `high` at which a buffer would meet another one. */
struct taken {
    int64_t low, high;
};

static int by_low(const void *a, const void *b) {
    const struct taken *x = a, *y = b;
    if (x->low != y->low)
        return x->low < y->low ? -1 : 1;
    return x->high < y->high ? -1 : x->high > y->high;
}

/* Adds the offsets at which `buffer` would meet `other`, at most MOST_TAKEN. */
enum { MOST_TAKEN = 4 };
static int add_taken(const struct gr_buffer *other, const struct gr_buffer *buffer, struct taken *taken) {
    struct part theirs[2], own[2];
    int their_count = parts_of(other, theirs), own_count = parts_of(buffer, own), n = 0;
    for (int i = 0; i < their_count; i++)
        for (int j = 0; j < own_count; j++)
            if (theirs[i].first <= own[j].last && own[j].first <= theirs[i].last)
                taken[n++] = (struct taken){(int64_t)other->offset + theirs[i].low - own[j].high,
                                            (int64_t)other->offset + theirs[i].high - own[j].low};
    return n;
}

/* The lowest offset where `buffer` meets none of the placed ones. `taken` is room for MOST_TAKEN of each. */
static size_t lowest_gap(struct gr_buffer *const *placed, int count, const struct gr_buffer *buffer,
                         struct taken *taken) {
    int n = 0;
    for (int i = 0; i < count; i++)
        n += add_taken(placed[i], buffer, taken + n);
    qsort(taken, (size_t)n, sizeof *taken, by_low);
    int64_t offset = 0;
    for (int i = 0; i < n && taken[i].low < offset; i++)
        if (taken[i].high > offset)
            offset = taken[i].high;
    return (size_t)offset;
}

static int assign_offsets(struct gr_plan *plan) {
    struct gr_buffer **order = gr_calloc((size_t)plan->buffer_count, sizeof *order);
    struct taken *taken = gr_calloc((size_t)plan->buffer_count * MOST_TAKEN, sizeof *taken);
    if (!order || !taken) {
        gr_free(order);
        gr_free(taken);
        return GR_ERROR_MEMORY;
    }
    int count = 0;
    plan->arena_bytes = 0;
    for (int i = 0; i < plan->buffer_count; i++)
        if (plan->buffers[i].root == i)
            order[count++] = &plan->buffers[i];
    qsort(order, (size_t)count, sizeof *order, by_size);
    int status = GR_OK;
    for (int i = 0; i < count && !status; i++) {
        order[i]->offset = lowest_gap(order, i, order[i], taken);
        size_t end;
        if (!gr_size_add(order[i]->offset, order[i]->bytes, &end))
            status = gr_fail(GR_ERROR_LIMIT, "%s: the plan does not fit the address space", plan->net->name);
        else if (end > plan->arena_bytes)
            plan->arena_bytes = end;
    }
    gr_free(order);
    gr_free(taken);
    return status;
}

/* Copies whose value takes at least `bytes` lie where it is restored, the others have memory of their own. */
static void put_inside(struct gr_plan *plan, size_t bytes) {
    for (int i = 0; i < plan->stash_count; i++) {
        struct gr_stash *s = &plan->stashes[i];
        struct gr_buffer *back = &plan->buffers[s->back];
        s->inside = back->bytes >= bytes;
        back->early = s->inside ? forward_time(s->after) : back->first;
        plan->buffers[s->half].root = s->inside ? s->back : s->half;
    }
}

/* The largest size of a stashed value that is below `bytes`, or 0. */
static size_t next_size(const struct gr_plan *plan, size_t bytes) {
    size_t size = 0;
    for (int i = 0; i < plan->stash_count; i++) {
        size_t own = plan->buffers[plan->stashes[i].back].bytes;
        size = own < bytes && own > size ? own : size;
    }
    return size;
}

/* A copy that is widened in place saves its own size while it is widened, but holds the place for longer, so
 * that gaps arise. Which is better is tried: for none, for the largest values, for more and more of them. */
static int assign_best_offsets(struct gr_plan *plan) {
    enum { TRIES = 6 };
    size_t best = SIZE_MAX, best_bytes = SIZE_MAX, bytes = SIZE_MAX;
    for (int i = 0; i < TRIES && bytes > 0; i++, bytes = next_size(plan, bytes)) {
        put_inside(plan, bytes);
        GR_TRY(assign_offsets(plan));
        if (plan->arena_bytes < best) {
            best = plan->arena_bytes;
            best_bytes = bytes;
        }
    }
    put_inside(plan, best_bytes);
    return assign_offsets(plan);
}

int gr_plan_place(struct gr_plan *plan) {
    for (int i = 0; i < plan->step_count; i++) {
        struct gr_step *step = &plan->steps[i];
        step->accumulate = gr_calloc((size_t)step->layer->input_count, sizeof *step->accumulate);
        if (!step->accumulate)
            return GR_ERROR_MEMORY;
    }
    GR_TRY(place_stashes(plan));
    GR_TRY(place_values(plan));
    if (plan->request.training || plan->request.input_gradient || plan->request.gradient_of)
        GR_TRY(place_gradients(plan));
    GR_TRY(place_step_memory(plan));
    keep_prologues(plan);
    merge_in_place(plan);
    return plan->stash_count ? assign_best_offsets(plan) : assign_offsets(plan);
}
