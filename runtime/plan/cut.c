/* cut: where a frozen prefix ends. Everything before the cut is a pure function of the photo, so it can run
 * once. */
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
    bool reached, pure, cut;
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

int gr_plan_cut(const struct gr_network *net, struct gr_layer **cut, int *count) {
    *count = 0;
    if (!net->output)
        return GR_OK;
    struct mark *marks = gr_calloc((size_t)net->layer_count, sizeof *marks);
    if (!marks)
        return GR_ERROR_MEMORY;
    reach(net, marks);
    marks[0].pure = true;
    for (int i = 1; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        marks[i].pure = pure_alone(layer);
        for (int j = 0; j < layer->input_count; j++)
            marks[i].pure &= marks[layer->inputs[j]->index].pure;
        for (int j = 0; !marks[i].pure && marks[i].reached && j < layer->input_count; j++)
            marks[layer->inputs[j]->index].cut |= marks[layer->inputs[j]->index].pure;
    }
    marks[net->output->index].cut |= marks[net->output->index].pure;
    for (int i = 0; i < net->aux_count; i++) /* a frozen classifier: its logits are kept */
        marks[net->aux[i].output->index].cut |= marks[net->aux[i].output->index].pure;
    /* where the photo itself is read, it would have to be kept whole: then nothing is won */
    for (int i = 1; i < net->layer_count && !marks[0].cut; i++)
        if (marks[i].cut)
            cut[(*count)++] = net->layers[i];
    gr_free(marks);
    return GR_OK;
}
