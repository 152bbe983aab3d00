/* cut: where a frozen prefix ends. Everything before the cut is a pure function of the photo, so it can run
 * once.
 *
 * The latest cut is at the pure layers that the first impure ones read. It is not always the smallest: a pool
 * may blow a small map up, and one tensor may be made of another that is kept as well. What has no parameters
 * costs next to nothing to run again, so among the cuts that leave only such layers behind them the smallest
 * is taken: a minimum vertex cut, found as a maximum flow (Ford and Fulkerson 1956; the paths of Edmonds and
 * Karp 1972). */
#include "plan/internal.h"

#include "base/memory.h"
#include "base/status.h"
#include "layers/custom.h"

/* True when the layer, by itself, always gives the same output for the same input while training goes on. */
static bool pure_alone(const struct gr_layer *layer) {
    if (!gr_custom_pure(layer))
        return false;
    if (layer->frozen)
        return true;
    for (int i = 0; i < layer->param_count; i++)
        if (!layer->params[i].buffer)
            return false;
    return !(layer->kind->traits & GR_TRAIT_IMPURE);
}

struct mark {
    bool reached, pure;
    bool read;    /* pure, and an impure layer (or the caller) reads it: part of the latest cut */
    bool region;  /* may be in the cut */
    bool first;   /* in the region, but what lies before it is not: it has parameters, or reads the photo */
    int64_t flow; /* through this layer; its size is the most */
    int64_t *inflow; /* region and not first: along each of its inputs */
    bool seen[2];    /* by a search, its input side and its output side */
    int from[2];     /* the side (2 * layer + side) that a search came from; GR_NONE: the start */
};

/* What the main and the auxiliary classifiers depend on. */
static void reach(const struct gr_network *net, struct mark *marks) {
    marks[net->output->index].reached = true;
    for (int i = 0; i < net->aux_count; i++)
        marks[net->aux[i].output->index].reached = true;
    for (int i = net->layer_count - 1; i >= 0; i--)
        for (int j = 0; marks[i].reached && j < net->layers[i]->input_count; j++)
            marks[net->layers[i]->inputs[j]->index].reached = true;
}

void gr_plan_pure(const struct gr_network *net, bool *pure) {
    pure[0] = true;
    for (int i = 1; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        pure[i] = pure_alone(layer);
        for (int j = 0; j < layer->input_count; j++)
            pure[i] &= pure[layer->inputs[j]->index];
    }
}

/* Marks the latest cut. */
static void mark_read(const struct gr_network *net, struct mark *marks) {
    marks[0].pure = true;
    for (int i = 1; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        marks[i].pure = pure_alone(layer);
        for (int j = 0; j < layer->input_count; j++)
            marks[i].pure &= marks[layer->inputs[j]->index].pure;
        for (int j = 0; !marks[i].pure && marks[i].reached && j < layer->input_count; j++)
            marks[layer->inputs[j]->index].read |= marks[layer->inputs[j]->index].pure;
    }
    marks[net->output->index].read |= marks[net->output->index].pure;
    for (int i = 0; i < net->aux_count; i++) /* a frozen classifier: its logits are kept */
        marks[net->aux[i].output->index].read |= marks[net->aux[i].output->index].pure;
}

/* Marks the layers that the cut may consist of: from the latest cut down to the first ones that would cost
 * something to run again. */
static int mark_region(const struct gr_network *net, struct mark *marks) {
    for (int i = net->layer_count - 1; i > 0; i--) {
        const struct gr_layer *layer = net->layers[i];
        marks[i].region |= marks[i].read;
        if (!marks[i].region)
            continue;
        marks[i].first = layer->param_count > 0 || (layer->kind->traits & GR_TRAIT_MAIN_THREAD);
        for (int j = 0; j < layer->input_count; j++)
            marks[i].first |= layer->inputs[j]->index == 0;
        if (marks[i].first)
            continue;
        marks[i].inflow = gr_calloc((size_t)layer->input_count, sizeof *marks[i].inflow);
        if (!marks[i].inflow)
            return GR_ERROR_MEMORY;
        for (int j = 0; j < layer->input_count; j++)
            marks[layer->inputs[j]->index].region = true;
    }
    return GR_OK;
}

/* ---- the flow: from the first layers of the region to those that are read ---- */

struct search {
    const struct gr_network *net;
    struct mark *marks;
    int *queue; /* sides: 2 * layer for its input, 2 * layer + 1 for its output */
    int head, tail;
};

static void visit(struct search *s, int side, int from) {
    struct mark *mark = &s->marks[side / 2];
    if (mark->seen[side % 2])
        return;
    mark->seen[side % 2] = true;
    mark->from[side % 2] = from;
    s->queue[s->tail++] = side;
}

/* Visits every side to which more can flow from `side`. */
static void spread(struct search *s, int side) {
    const struct gr_layer *layer = s->net->layers[side / 2];
    const struct mark *mark = &s->marks[side / 2];
    if (side % 2 == 0) {
        if (mark->flow < gr_shape_size(layer->shape))
            visit(s, side + 1, side);
        for (int j = 0; mark->inflow && j < layer->input_count; j++)
            if (mark->inflow[j] > 0) /* what came this way can come another */
                visit(s, 2 * layer->inputs[j]->index + 1, side);
        return;
    }
    if (mark->flow > 0)
        visit(s, side - 1, side);
    for (int i = layer->index + 1; i < s->net->layer_count; i++)
        for (int j = 0; s->marks[i].inflow && j < s->net->layers[i]->input_count; j++)
            if (s->net->layers[i]->inputs[j] == layer)
                visit(s, 2 * i, side);
}

/* Looks for a way along which more can flow. The output side of the layer where it ends, or GR_NONE. */
static int find_way(struct search *s) {
    s->head = s->tail = 0;
    for (int i = 0; i < s->net->layer_count; i++)
        s->marks[i].seen[0] = s->marks[i].seen[1] = false;
    for (int i = 0; i < s->net->layer_count; i++)
        if (s->marks[i].first)
            visit(s, 2 * i, GR_NONE);
    while (s->head < s->tail) {
        int side = s->queue[s->head++];
        if (side % 2 && s->marks[side / 2].read)
            return side;
        spread(s, side);
    }
    return GR_NONE;
}

/* The flow between two neighbouring sides, as a number to add to; *most: how much more may go from `a` to
 * `b`, and *sign what that adds. */
static int64_t *flow_between(const struct search *s, int a, int b, int64_t *most, int *sign) {
    struct mark *mark = &s->marks[a / 2];
    *sign = 1;
    *most = INT64_MAX;
    if (a / 2 == b / 2) {
        *sign = a < b ? 1 : -1;
        *most = a < b ? gr_shape_size(s->net->layers[a / 2]->shape) - mark->flow : mark->flow;
        return &mark->flow;
    }
    int above = a % 2 ? b / 2 : a / 2, below = a % 2 ? a / 2 : b / 2, j = 0;
    while (s->net->layers[above]->inputs[j]->index != below)
        j++;
    int64_t *flow = &s->marks[above].inflow[j];
    if (a % 2 == 0) {
        *sign = -1;
        *most = *flow;
    }
    return flow;
}

static void send(const struct search *s, int end) {
    int64_t amount = INT64_MAX, most;
    int sign;
    for (int b = end, a; (a = s->marks[b / 2].from[b % 2]) != GR_NONE; b = a) {
        flow_between(s, a, b, &most, &sign);
        amount = most < amount ? most : amount;
    }
    for (int b = end, a; (a = s->marks[b / 2].from[b % 2]) != GR_NONE; b = a) {
        int64_t *flow = flow_between(s, a, b, &most, &sign);
        *flow += sign * amount;
    }
}

/* Marks (in `seen`) the sides from which more could flow to the end. A layer whose output is marked and whose
 * input is not lies in the minimum cut; of several it is the latest. */
static void mark_behind(const struct search *s) {
    const struct gr_network *net = s->net;
    struct mark *marks = s->marks;
    for (int i = 0; i < net->layer_count; i++)
        marks[i].seen[0] = marks[i].seen[1] = false;
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = net->layer_count - 1; i > 0; i--) {
            const struct gr_layer *layer = net->layers[i];
            bool in = marks[i].seen[0], out = marks[i].seen[1] || marks[i].read;
            if (!marks[i].region)
                continue;
            in |= out && marks[i].flow < gr_shape_size(layer->shape);
            for (int j = 0; marks[i].inflow && j < layer->input_count; j++) {
                struct mark *below = &marks[layer->inputs[j]->index];
                in |= below->seen[1] && marks[i].inflow[j] > 0;
                changed |= in && !below->seen[1];
                below->seen[1] |= in;
            }
            out |= in && marks[i].flow > 0;
            changed |= in != marks[i].seen[0] || out != marks[i].seen[1];
            marks[i].seen[0] = in;
            marks[i].seen[1] = out;
        }
    }
}

static int find_smallest(const struct gr_network *net, struct mark *marks) {
    struct search search = {.net = net, .marks = marks};
    GR_TRY(mark_region(net, marks));
    search.queue = gr_calloc((size_t)net->layer_count * 2, sizeof *search.queue);
    if (!search.queue)
        return GR_ERROR_MEMORY;
    for (int end; (end = find_way(&search)) != GR_NONE;)
        send(&search, end);
    mark_behind(&search);
    gr_free(search.queue);
    return GR_OK;
}

int gr_plan_cut(const struct gr_network *net, struct gr_layer **cut, int *count) {
    *count = 0;
    if (!net->output)
        return GR_OK;
    struct mark *marks = gr_calloc((size_t)net->layer_count, sizeof *marks);
    if (!marks)
        return GR_ERROR_MEMORY;
    reach(net, marks);
    mark_read(net, marks);
    /* where the photo itself is read, it would have to be kept whole: then nothing is won */
    int status = marks[0].read ? GR_OK : find_smallest(net, marks);
    for (int i = 1; i < net->layer_count; i++) {
        if (!status && marks[i].region && marks[i].seen[1] && !marks[i].seen[0])
            cut[(*count)++] = net->layers[i];
        gr_free(marks[i].inflow);
    }
    gr_free(marks);
    return status;
}
