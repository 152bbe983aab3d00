#include "net/graph.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>

int gr_graph_reserve(struct gr_network *net, int extra) {
    size_t wanted = (size_t)net->layer_count + (size_t)extra, capacity = 16;
    while (capacity < wanted)
        capacity *= 2;
    struct gr_layer **grown = gr_realloc(net->layers, capacity * sizeof *grown);
    if (!grown)
        return GR_ERROR_MEMORY;
    net->layers = grown;
    return GR_OK;
}

void gr_graph_insert(struct gr_network *net, int position, struct gr_layer *layer) {
    for (int i = net->layer_count++; i > position; i--) {
        net->layers[i] = net->layers[i - 1];
        net->layers[i]->index = i;
    }
    net->layers[position] = layer;
    layer->index = position;
}

void gr_graph_remove(struct gr_network *net, const bool *gone) {
    int kept = 0;
    for (int i = 0; i < net->layer_count; i++) {
        if (gone[i]) {
            gr_graph_release(net->layers[i]);
            continue;
        }
        net->layers[kept] = net->layers[i];
        net->layers[kept]->index = kept;
        kept++;
    }
    net->layer_count = kept;
}

int gr_graph_shapes(const struct gr_network *net, struct gr_shape *shapes) {
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        struct gr_shape in[GR_MAX_INPUTS];
        if (shapes[i].c)
            continue;
        for (int j = 0; j < layer->input_count; j++)
            in[j] = shapes[layer->inputs[j]->index];
        GR_TRY(gr_graph_shape(layer, in, &shapes[i]));
    }
    return GR_OK;
}

int gr_graph_check_name(const char *what, const char *name, size_t longest) {
    if (!name || !*name)
        return gr_fail(GR_ERROR_NAME, "%s must not be empty", what);
    if (strlen(name) > longest)
        return gr_fail(GR_ERROR_LIMIT, "%s is longer than %zu bytes: \"%.40s...\"", what, longest, name);
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < 0x20 || *c == 0x7F)
            return gr_fail(GR_ERROR_NAME, "%s must not hold control characters", what);
    return GR_OK;
}

bool gr_graph_below(const char *name, const char *tree) {
    size_t length = strlen(tree);
    return strncmp(name, tree, length) == 0 && (name[length] == 0 || name[length] == '.');
}

int gr_graph_last(const struct gr_network *net, const char *tree) {
    for (int i = net->layer_count - 1; i >= 0; i--)
        if (gr_graph_below(net->layers[i]->name, tree))
            return i;
    return -1;
}

void gr_graph_ancestors(const struct gr_network *net, const struct gr_layer *layer, bool *needed) {
    needed[layer->index] = true;
    for (int i = layer->index; i >= 0; i--)
        for (int j = 0; needed[i] && j < net->layers[i]->input_count; j++)
            needed[net->layers[i]->inputs[j]->index] = true;
}

struct gr_layer *gr_graph_classifier(struct gr_layer *layer) {
    for (; layer; layer = layer->input_count ? layer->inputs[0] : NULL)
        for (const struct gr_option *option = layer->kind->options; option && option->name; option++)
            if (option->type == GR_OPTION_INT && strcmp(option->name, "out") == 0)
                return layer;
    return NULL;
}

void gr_graph_mark_head(struct gr_network *net) {
    for (int i = 0; i < net->layer_count; i++)
        net->layers[i]->head = net->head && gr_graph_below(net->layers[i]->name, net->head);
    struct gr_layer *layer = gr_network_layer(net, net->head);
    while (layer && layer->input_count == 1) {
        struct gr_layer *before = layer->inputs[0];
        if (!before->head && !(before->kind->traits & GR_TRAIT_IDENTITY))
            break;
        before->head = true;
        layer = before;
    }
}

int gr_graph_mark(struct gr_network *net) {
    bool *main = gr_calloc((size_t)net->layer_count, sizeof *main);
    bool *aux = gr_calloc((size_t)net->layer_count, sizeof *aux);
    if (main && aux) {
        gr_graph_ancestors(net, net->output, main);
        for (int i = 0; i < net->aux_count; i++)
            gr_graph_ancestors(net, net->aux[i].output, aux);
        for (int i = 0; i < net->layer_count; i++)
            net->layers[i]->aux = aux[i] && !main[i];
        gr_graph_mark_head(net);
        for (int i = -1; i < net->aux_count; i++) {
            struct gr_layer *last = gr_graph_classifier(i < 0 ? net->output : net->aux[i].output);
            if (last && (last->head || last->aux) && !last->source)
                gr_graph_draw_classifier(net, last);
        }
    }
    int status = main && aux ? GR_OK : GR_ERROR_MEMORY;
    gr_free(main);
    gr_free(aux);
    return status;
}

char **gr_strings_copy(const char *const *strings, int count) {
    char **copy = gr_calloc((size_t)count, sizeof *copy);
    for (int i = 0; copy && i < count; i++) {
        copy[i] = gr_strdup(strings[i]);
        if (!copy[i]) {
            gr_strings_free(copy, i);
            return NULL;
        }
    }
    return copy;
}

void gr_strings_free(char **strings, int count) {
    for (int i = 0; strings && i < count; i++)
        gr_free(strings[i]);
    gr_free(strings);
}
