#include "base/memory.h"
#include "base/status.h"
#include "net/graph.h"

#include <string.h>

/* Copies the kept layers; twin[i] becomes the copy of layers[i]. */
static int copy_layers(struct gr_network *to, const struct gr_network *from, const bool *keep,
                       struct gr_layer **twin) {
    GR_TRY(gr_graph_reserve(to, from->layer_count));
    for (int i = 0; i < from->layer_count; i++) {
        const struct gr_layer *layer = from->layers[i];
        if (!keep[i])
            continue;
        GR_TRY(gr_graph_copy(&twin[i], layer));
        gr_graph_insert(to, to->layer_count, twin[i]);
        twin[i]->inputs = gr_calloc((size_t)layer->input_count, sizeof *twin[i]->inputs);
        if (!twin[i]->inputs)
            return GR_ERROR_MEMORY;
        twin[i]->input_count = layer->input_count;
        for (int j = 0; j < layer->input_count; j++)
            twin[i]->inputs[j] = twin[layer->inputs[j]->index];
    }
    return GR_OK;
}

static int copy_aux(struct gr_network *to, const struct gr_network *from, struct gr_layer *const *twin) {
    to->aux = gr_calloc((size_t)from->aux_count, sizeof *to->aux);
    if (!to->aux)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < from->aux_count; i++) {
        struct gr_layer *output = twin[from->aux[i].output->index];
        if (!output)
            continue;
        char *at = gr_strdup(from->aux[i].at);
        if (!at)
            return GR_ERROR_MEMORY;
        to->aux[to->aux_count++] = (struct gr_aux){at, output, from->aux[i].weight};
    }
    return GR_OK;
}

/* The stages of which a layer is left; input layers come first, so they are a prefix in order. */
static int copy_stages(struct gr_network *to, const struct gr_network *from) {
    to->stages = gr_calloc((size_t)from->stage_count, sizeof *to->stages);
    if (!to->stages)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < from->stage_count; i++) {
        if (gr_graph_last(to, from->stages[i]) < 0)
            continue;
        to->stages[to->stage_count] = gr_strdup(from->stages[i]);
        if (!to->stages[to->stage_count])
            return GR_ERROR_MEMORY;
        to->stage_count++;
    }
    return GR_OK;
}

static int copy_rest(struct gr_network *to, const struct gr_network *from) {
    to->input = from->input;
    to->multilabel = from->multilabel;
    to->exact = from->exact;
    to->reference = from->reference;
    to->preprocessing = from->preprocessing;
    to->version = 1;
    to->seed = from->seed;
    to->deferred = from->deferred;
    to->name = gr_strdup(from->name);
    to->metadata = cJSON_Duplicate(from->metadata, true);
    if (!to->name)
        return GR_ERROR_MEMORY;
    return to->metadata ? GR_OK : gr_fail(GR_ERROR_MEMORY, "out of memory while copying %s", from->name);
}

static int copy_classes(struct gr_network *to, const struct gr_network *from) {
    to->classes = gr_strings_copy((const char *const *)from->classes, from->class_count);
    if (!to->classes)
        return GR_ERROR_MEMORY;
    to->class_count = from->class_count;
    return GR_OK;
}

int gr_graph_subset(struct gr_network **out, const struct gr_network *net, const bool *keep) {
    struct gr_network *copy = gr_calloc(1, sizeof *copy);
    struct gr_layer **twin = gr_calloc((size_t)net->layer_count, sizeof *twin);
    int status = GR_ERROR_MEMORY;
    if (!copy || !twin || (status = copy_rest(copy, net)) || (status = copy_layers(copy, net, keep, twin)) ||
        (status = copy_aux(copy, net, twin)) || (status = copy_stages(copy, net)))
        goto done;
    copy->output = twin[net->output->index];
    if (copy->output && (status = copy_classes(copy, net)))
        goto done;
    if (net->head && gr_network_layer(copy, net->head) && !(copy->head = gr_strdup(net->head)))
        status = GR_ERROR_MEMORY;
    if (!status)
        *out = copy;
done:
    gr_free(twin);
    if (status)
        gr_network_free(copy);
    return status;
}

int gr_network_clone(struct gr_network **out, const struct gr_network *net) {
    bool *keep = gr_calloc((size_t)net->layer_count, sizeof *keep);
    if (!keep)
        return GR_ERROR_MEMORY;
    memset(keep, true, (size_t)net->layer_count * sizeof *keep);
    int status = gr_graph_subset(out, net, keep);
    gr_free(keep);
    return status;
}
