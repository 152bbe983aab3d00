#include "net/network.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "net/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CHANNELS = 1 << 20, MAX_INPUT_SIDE = 1 << 14, MAX_INPUT = 1 << 30 /* numbers in one photo */ };

static int input_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    (void)in;
    *out = layer->shape;
    return GR_OK;
}

/* The photo itself: the one kind that is not in the registry, since nobody may add it. */
static const struct gr_layer_kind input_kind = {
    .name = "input",
    .summary = "the photo, preprocessed",
    .shape = input_shape,
};

static int add_input(struct gr_network *net) {
    struct gr_layer *layer = gr_calloc(1, sizeof *layer);
    if (!layer)
        return GR_ERROR_MEMORY;
    layer->kind = &input_kind;
    layer->shape = net->input;
    layer->lr_scale = 1;
    layer->name = gr_strdup("input");
    layer->options = gr_calloc(1, 0);
    if (!layer->name || !layer->options || gr_graph_reserve(net, 1)) {
        gr_graph_release(layer);
        return GR_ERROR_MEMORY;
    }
    gr_graph_insert(net, 0, layer);
    net->output = layer;
    return GR_OK;
}

static struct gr_preprocessing default_preprocessing(struct gr_shape input) {
    struct gr_preprocessing p = {
        .interpolation = GR_BILINEAR, .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}};
    int side = input.h < input.w ? input.h : input.w;
    p.resize = (int)lround(side * 256.0 / 224.0);
    return p;
}

static int check_preprocessing(const struct gr_preprocessing *p) {
    for (int i = 0; i < 3; i++)
        if (!isfinite(p->mean[i]) || !isfinite(p->std[i]) || p->std[i] <= 0)
            return gr_fail(GR_ERROR_OPTION, "preprocessing: mean must be finite and std above 0");
    if (!p->stretch && (p->resize < 1 || p->resize > 2 * MAX_INPUT_SIDE))
        return gr_fail(GR_ERROR_OPTION, "preprocessing: resize must be from 1 to %d pixels, not %d",
                       2 * MAX_INPUT_SIDE, p->resize);
    return GR_OK;
}

int gr_network_create(struct gr_network **out, const char *name, struct gr_shape input,
                      const struct gr_preprocessing *preprocessing, uint64_t seed) {
    GR_TRY(gr_graph_check_name("a network's name", name, GR_MAX_NAME));
    if (input.c < 1 || input.c > MAX_CHANNELS || input.h < 1 || input.h > MAX_INPUT_SIDE || input.w < 1 ||
        input.w > MAX_INPUT_SIDE || gr_shape_size(input) > MAX_INPUT)
        return gr_fail(GR_ERROR_SHAPE, "network \"%s\": an input of [%d,%d,%d] is not possible", name,
                       input.c, input.h, input.w);
    struct gr_preprocessing p = preprocessing ? *preprocessing : default_preprocessing(input);
    GR_TRY(check_preprocessing(&p));
    struct gr_network *net = gr_calloc(1, sizeof *net);
    if (!net)
        return GR_ERROR_MEMORY;
    net->input = input;
    net->preprocessing = p;
    net->seed = seed;
    net->version = 1;
    net->name = gr_strdup(name);
    net->metadata = cJSON_CreateObject();
    int status = net->name && net->metadata ? add_input(net) : gr_fail(GR_ERROR_MEMORY, "out of memory");
    if (status) {
        gr_network_free(net);
        return status;
    }
    *out = net;
    return GR_OK;
}

void gr_network_free(struct gr_network *net) {
    if (!net)
        return;
    for (int i = 0; i < net->layer_count; i++)
        gr_graph_release(net->layers[i]);
    for (int i = 0; i < net->aux_count; i++)
        gr_free(net->aux[i].at);
    gr_strings_free(net->stages, net->stage_count);
    gr_strings_free(net->classes, net->class_count);
    gr_free(net->layers);
    gr_free(net->aux);
    gr_free(net->name);
    gr_free(net->head);
    cJSON_Delete(net->metadata);
    gr_free(net);
}

void gr_network_defer(struct gr_network *net) {
    net->deferred = true;
}

void gr_network_draw(struct gr_network *net) {
    if (!net->deferred)
        return;
    net->deferred = false;
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++)
            if (net->layers[i]->params[j].version == 0)
                gr_graph_draw(net, &net->layers[i]->params[j]);
}

struct gr_layer *gr_network_layer(const struct gr_network *net, const char *name) {
    for (int i = 0; name && i < net->layer_count; i++)
        if (strcmp(net->layers[i]->name, name) == 0)
            return net->layers[i];
    return NULL;
}

struct gr_param *gr_network_param(const struct gr_network *net, const char *name) {
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++)
            if (strcmp(net->layers[i]->params[j].name, name) == 0)
                return &net->layers[i]->params[j];
    return NULL;
}

int64_t gr_network_parameters(const struct gr_network *net, bool trainable_only) {
    int64_t sum = 0;
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        for (int j = 0; j < layer->param_count && !(trainable_only && layer->frozen); j++)
            if (!layer->params[j].buffer)
                sum += gr_tensor_count(&layer->params[j].tensor);
    }
    return sum;
}

/* "relu_3": the kind and the first free number. */
static int automatic_name(const struct gr_network *net, const char *kind, char *name, size_t size) {
    int number = 1;
    for (int i = 0; i < net->layer_count; i++)
        if (strcmp(net->layers[i]->kind->name, kind) == 0)
            number++;
    do
        snprintf(name, size, "%s_%d", kind, number++);
    while (gr_network_layer(net, name));
    return GR_OK;
}

static int check_layer_name(const struct gr_network *net, const char *name) {
    GR_TRY(gr_graph_check_name("a layer's name", name, GR_MAX_NAME));
    if (strpbrk(name, "*?"))
        return gr_fail(GR_ERROR_NAME, "layer \"%s\": a name must not hold * or ?", name);
    if (strcmp(name, "body") == 0 || strcmp(name, "aux") == 0)
        return gr_fail(GR_ERROR_NAME,
                       "layer \"%s\": this word stands for a part of every network; choose another", name);
    if (gr_network_layer(net, name))
        return gr_fail(GR_ERROR_NAME, "layer \"%s\": there is a layer of that name already", name);
    return GR_OK;
}

int gr_network_add(struct gr_network *net, const char *name, const char *kind, const cJSON *options,
                   struct gr_layer *const *inputs, int input_count, struct gr_layer **out) {
    char automatic[GR_MAX_NAME + 16];
    struct gr_layer *layer;
    if (net->layer_count >= GR_MAX_LAYERS)
        return gr_fail(GR_ERROR_LIMIT, "a network has at most %d layers", GR_MAX_LAYERS);
    if (!kind)
        return gr_fail(GR_ERROR_NAME, "a layer needs a kind");
    if (name) {
        GR_TRY(check_layer_name(net, name));
    } else {
        GR_TRY(gr_graph_check_name("a kind of layer", kind, GR_MAX_NAME));
        GR_TRY(automatic_name(net, kind, automatic, sizeof automatic));
        name = automatic;
    }
    for (int i = 0; i < input_count; i++)
        if (!inputs[i] || inputs[i]->index < 0 || inputs[i]->index >= net->layer_count ||
            net->layers[inputs[i]->index] != inputs[i])
            return gr_fail(GR_ERROR_NAME, "layer \"%s\": input %d is not a layer of this network", name,
                           i + 1);
    GR_TRY(gr_graph_reserve(net, 1));
    GR_TRY(gr_graph_make(&layer, net, name, kind, options, inputs, input_count));
    gr_graph_insert(net, net->layer_count, layer);
    net->output = layer;
    net->version++;
    if (out)
        *out = layer;
    return GR_OK;
}

/* Each stage must exist, and come after the one before it. */
static int check_stages(const struct gr_network *net, const char *const *stages, int count) {
    int before = -1;
    if (count < 0 || count > GR_MAX_STAGES)
        return gr_fail(GR_ERROR_LIMIT, "a network has at most %d stages", GR_MAX_STAGES);
    for (int i = 0; i < count; i++) {
        GR_TRY(gr_graph_check_name("a stage's name", stages[i], GR_MAX_NAME));
        int last = gr_graph_last(net, stages[i]);
        if (last < 0)
            return gr_fail(GR_ERROR_NAME, "stage \"%s\": no layer of that name in %s", stages[i], net->name);
        if (last <= before)
            return gr_fail(GR_ERROR_OPTION, "stage \"%s\" must come after stage \"%s\"", stages[i],
                           stages[i - 1]);
        before = last;
    }
    return GR_OK;
}

static int check_head(const struct gr_network *net, struct gr_layer *output, const char *head) {
    struct gr_layer *layer = gr_network_layer(net, head);
    if (!layer)
        return gr_fail(GR_ERROR_NAME, "head \"%s\": no layer of that name in %s", head, net->name);
    if (gr_graph_classifier(layer) != layer || layer->input_count != 1)
        return gr_fail(GR_ERROR_OPTION, "head \"%s\" must be a layer with an option \"out\", such as linear",
                       head);
    for (struct gr_layer *at = output; at; at = at->input_count ? at->inputs[0] : NULL)
        if (at == layer)
            return GR_OK;
    return gr_fail(GR_ERROR_OPTION, "head \"%s\" does not lead to the output \"%s\"", head, output->name);
}

int gr_network_finish(struct gr_network *net, struct gr_layer *output, const char *head,
                      const char *const *stages, int stage_count) {
    char *head_copy = NULL, **stages_copy = NULL;
    if (!output || output->index >= net->layer_count || net->layers[output->index] != output)
        return gr_fail(GR_ERROR_NAME, "the output is not a layer of network \"%s\"", net->name);
    if (head)
        GR_TRY(check_head(net, output, head));
    GR_TRY(check_stages(net, stages, stage_count));
    if (head && !(head_copy = gr_strdup(head)))
        return GR_ERROR_MEMORY;
    if (!(stages_copy = gr_strings_copy(stages, stage_count))) {
        gr_free(head_copy);
        return GR_ERROR_MEMORY;
    }
    gr_free(net->head);
    gr_strings_free(net->stages, net->stage_count);
    net->output = output;
    net->head = head_copy;
    net->stages = stages_copy;
    net->stage_count = stage_count;
    net->version++;
    return gr_graph_mark(net);
}

int gr_network_set_classes(struct gr_network *net, const char *const *classes, int count) {
    int64_t outputs = gr_shape_size(net->output->shape);
    if (count < 1 || count > GR_MAX_CLASSES)
        return gr_fail(GR_ERROR_DATA, "there must be from 1 to %d classes, not %d", GR_MAX_CLASSES, count);
    if (count != outputs)
        return gr_fail(GR_ERROR_SHAPE, "%d classes do not fit the %lld outputs of \"%s\" in %s", count,
                       (long long)outputs, net->head ? net->head : net->output->name, net->name);
    for (int i = 0; i < count; i++)
        GR_TRY(gr_graph_check_name("a class name", classes[i], GR_MAX_CLASS_NAME));
    char **copy = gr_strings_copy(classes, count);
    if (!copy)
        return GR_ERROR_MEMORY;
    gr_strings_free(net->classes, net->class_count);
    net->classes = copy;
    net->class_count = count;
    return GR_OK;
}

int gr_network_mark_aux(struct gr_network *net, const char *at, struct gr_layer *output, float weight) {
    struct gr_layer *reads = gr_network_end(net, at);
    if (!reads)
        return gr_fail_in("auxiliary classifier");
    if (!output || output->index >= net->layer_count || net->layers[output->index] != output)
        return gr_fail(GR_ERROR_NAME, "auxiliary classifier at \"%s\": its output is not a layer of %s", at,
                       net->name);
    if (!(weight > 0) || !isfinite(weight))
        return gr_fail(GR_ERROR_OPTION, "auxiliary classifier at \"%s\": weight must be above 0, not %g", at,
                       (double)weight);
    for (int i = 0; i < net->aux_count; i++)
        if (strcmp(net->aux[i].at, at) == 0)
            return gr_fail(GR_ERROR_NAME, "there is an auxiliary classifier at \"%s\" already", at);
    struct gr_aux *grown = gr_realloc(net->aux, (size_t)(net->aux_count + 1) * sizeof *grown);
    if (!grown)
        return GR_ERROR_MEMORY;
    net->aux = grown;
    char *copy = gr_strdup(at);
    if (!copy)
        return GR_ERROR_MEMORY;
    /* In network order, since results are listed so. */
    int i = net->aux_count++;
    for (; i > 0 && gr_network_end(net, grown[i - 1].at)->index > reads->index; i--)
        grown[i] = grown[i - 1];
    grown[i] = (struct gr_aux){copy, output, weight};
    if (gr_graph_mark(net)) {
        memmove(&grown[i], &grown[i + 1], (size_t)(--net->aux_count - i) * sizeof *grown);
        gr_free(copy);
        return GR_ERROR_MEMORY;
    }
    net->version++;
    return GR_OK;
}
