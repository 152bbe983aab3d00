/* Classifiers: replacing and adding the head, auxiliary ones. Everything that can fail happens before the
 * network is touched, so that a failed call leaves it as it was. */
#include "base/memory.h"
#include "base/status.h"
#include "net/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct gr_head_options plain_head = {.hidden = 0, .dropout = -1};

/* Layers that are made and not in the network yet, each reading the one before it. */
struct chain {
    struct gr_layer *layers[5];
    int count;
};

static void chain_release(struct chain *chain) {
    for (int i = 0; i < chain->count; i++)
        gr_graph_release(chain->layers[i]);
    chain->count = 0;
}

/* Makes the next layer, named PREFIX + suffix. Takes ownership of `options`. */
static int chain_add(struct chain *chain, const struct gr_network *net, const char *prefix,
                     const char *suffix, const char *kind, cJSON *options, struct gr_layer **top) {
    char name[2 * GR_MAX_NAME];
    int status = GR_OK;
    snprintf(name, sizeof name, "%s%s", prefix, suffix);
    if (strlen(name) > GR_MAX_NAME)
        status =
            gr_fail(GR_ERROR_LIMIT, "the name \"%.60s...\" would be longer than %d bytes", name, GR_MAX_NAME);
    if (!status)
        status = gr_graph_make(&chain->layers[chain->count], net, name, kind, options, top, 1);
    cJSON_Delete(options);
    if (status)
        return status;
    *top = chain->layers[chain->count++];
    return GR_OK;
}

/* {"key": number}; NULL with the error set. */
static cJSON *option(const char *key, double number) {
    cJSON *object = cJSON_CreateObject();
    if (object && cJSON_AddNumberToObject(object, key, number))
        return object;
    cJSON_Delete(object);
    gr_fail(GR_ERROR_MEMORY, "out of memory");
    return NULL;
}

/* The options of a classifier with another number of outputs. */
static cJSON *resized(const struct gr_layer *classifier, int out) {
    cJSON *options = gr_options_write(classifier->kind->options, classifier->options);
    cJSON *item = options ? cJSON_GetObjectItemCaseSensitive(options, "out") : NULL;
    if (item)
        cJSON_SetNumberValue(item, out);
    return options;
}

static int check_options(const struct gr_head_options *options) {
    if (options->hidden < 0 || options->hidden > 1 << 20)
        return gr_fail(GR_ERROR_OPTION, "hidden must be from 0 to %d, not %d", 1 << 20, options->hidden);
    if (!(options->dropout < 1))
        return gr_fail(GR_ERROR_OPTION, "dropout must be below 1, not %g", (double)options->dropout);
    return GR_OK;
}

static int check_classes(const char *const *classes, int count) {
    if (count < 2 || count > GR_MAX_CLASSES)
        return gr_fail(GR_ERROR_DATA, "a classifier needs from 2 to %d classes, not %d", GR_MAX_CLASSES,
                       count);
    for (int i = 0; i < count; i++)
        GR_TRY(gr_graph_check_name("a class name", classes[i], GR_MAX_CLASS_NAME));
    return GR_OK;
}

/* --- fresh classifiers in old places --- */

struct refit {
    struct gr_layer *layer; /* stays where it is */
    struct gr_layer *twin;  /* its new options, parameters and shape */
};

struct refits {
    struct refit *list;
    int count;
    struct gr_shape *shapes; /* of all layers, once they are refitted */
};

static void refits_release(struct refits *refits) {
    for (int i = 0; i < refits->count; i++)
        gr_graph_release(refits->list[i].twin);
    gr_free(refits->list);
    gr_free(refits->shapes);
}

static int refits_add(struct refits *refits, const struct gr_network *net, struct gr_layer *layer,
                      struct gr_layer *input, int out) {
    cJSON *options = resized(layer, out);
    if (!options)
        return GR_ERROR_MEMORY;
    int status = gr_graph_make(&refits->list[refits->count].twin, net, layer->name, layer->kind->name,
                               options, &input, 1);
    cJSON_Delete(options);
    if (status)
        return status;
    gr_graph_draw_classifier(net, refits->list[refits->count].twin);
    refits->list[refits->count++].layer = layer;
    return GR_OK;
}

/* Room for the main classifier and the auxiliary ones; these are refitted. */
static int refits_start(struct refits *refits, const struct gr_network *net, int out) {
    refits->list = gr_calloc((size_t)net->aux_count + 1, sizeof *refits->list);
    if (!refits->list)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < net->aux_count; i++) {
        struct gr_layer *layer = gr_graph_classifier(net->aux[i].output);
        if (!layer || !layer->aux || layer->input_count != 1)
            return gr_fail(GR_ERROR_SHAPE, "the auxiliary classifier at \"%s\" has no last layer to replace",
                           net->aux[i].at);
        GR_TRY(refits_add(refits, net, layer, layer->inputs[0], out));
    }
    return GR_OK;
}

/* Infers what the refitted layers change below them. */
static int refits_check(struct refits *refits, const struct gr_network *net, int out) {
    refits->shapes = gr_calloc((size_t)net->layer_count, sizeof *refits->shapes);
    if (!refits->shapes)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        bool changed = false;
        for (int j = 0; j < layer->input_count; j++) {
            const struct gr_layer *input = layer->inputs[j];
            changed |= refits->shapes[input->index].c == 0;
            for (int k = 0; k < refits->count; k++)
                changed |= refits->list[k].layer == input;
        }
        if (!changed)
            refits->shapes[i] = layer->shape;
        for (int k = 0; k < refits->count; k++)
            if (refits->list[k].layer == layer)
                refits->shapes[i] = refits->list[k].twin->shape;
    }
    GR_TRY(gr_graph_shapes(net, refits->shapes));
    for (int i = -1; i < net->aux_count; i++) {
        const struct gr_layer *output = i < 0 ? net->output : net->aux[i].output;
        if ((i >= 0 || net->head) && gr_shape_size(refits->shapes[output->index]) != out)
            return gr_fail(GR_ERROR_SHAPE, "%d classes do not lead to %d outputs of \"%s\"", out, out,
                           output->name);
    }
    return GR_OK;
}

static void swap_contents(struct gr_layer *a, struct gr_layer *b) {
    void *options = a->options;
    struct gr_param *params = a->params;
    int count = a->param_count;
    a->options = b->options;
    a->params = b->params;
    a->param_count = b->param_count;
    b->options = options;
    b->params = params;
    b->param_count = count;
}

/* Cannot fail. */
static void refits_apply(struct refits *refits, struct gr_network *net) {
    for (int i = 0; i < net->layer_count; i++)
        net->layers[i]->shape = refits->shapes[i];
    for (int i = 0; i < refits->count; i++) {
        struct gr_layer *layer = refits->list[i].layer;
        swap_contents(layer, refits->list[i].twin);
        layer->frozen = layer->fixed_norm = false;
        gr_free(layer->source);
        layer->source = NULL;
    }
}

/* Class names in place of the old ones. Cannot fail. */
static void set_classes(struct gr_network *net, char **classes, int count) {
    gr_strings_free(net->classes, net->class_count);
    net->classes = classes;
    net->class_count = count;
    net->version++;
}

/* --- the head --- */

static int readers(const struct gr_network *net, const struct gr_layer *layer) {
    int count = 0;
    for (int i = layer->index + 1; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->input_count; j++)
            count += net->layers[i]->inputs[j] == layer;
    return count;
}

/* True for the layers that replace_head itself puts before a classifier. */
static bool is_part(const struct gr_network *net, const struct gr_layer *layer) {
    const char *name = layer->name;
    size_t length = strlen(net->head);
    if (!layer->head || layer->input_count != 1 || readers(net, layer) != 1)
        return false;
    return (layer->kind->traits & GR_TRAIT_IDENTITY) ||
           (strncmp(name, net->head, length) == 0 &&
            (strcmp(name + length, ".hidden") == 0 || strcmp(name + length, ".relu") == 0));
}

/* What replace_head is about to do. */
struct exchange {
    struct gr_layer *classifier, *base; /* base: the last layer of the body */
    struct gr_layer *dropout;           /* stays before the classifier, or NULL */
    struct chain fresh;                 /* goes between base and dropout or classifier */
    struct refits refits;
    bool *gone;
    char **classes;
};

/* Makes hidden layer, activation and dropout; *top becomes what the classifier reads. */
static int make_parts(struct exchange *x, const struct gr_network *net, const struct gr_head_options *options,
                      struct gr_layer **top) {
    if (options->hidden > 0) {
        cJSON *hidden = resized(x->classifier, options->hidden);
        if (!hidden)
            return GR_ERROR_MEMORY;
        GR_TRY(chain_add(&x->fresh, net, net->head, ".hidden", x->classifier->kind->name, hidden, top));
        GR_TRY(chain_add(&x->fresh, net, net->head, ".relu", "relu", NULL, top));
    }
    if (options->dropout > 0) {
        cJSON *p = option("p", options->dropout);
        if (!p)
            return GR_ERROR_MEMORY;
        GR_TRY(chain_add(&x->fresh, net, net->head, ".dropout", "dropout", p, top));
    }
    return GR_OK;
}

/* Finds the old parts and makes the new ones. */
static int exchange_prepare(struct exchange *x, struct gr_network *net, const char *const *classes, int count,
                            const struct gr_head_options *options) {
    x->classifier = gr_network_layer(net, net->head);
    x->base = x->classifier->inputs[0];
    x->gone = gr_calloc((size_t)net->layer_count + 5, sizeof *x->gone);
    x->classes = gr_strings_copy(classes, count);
    if (!x->gone || !x->classes)
        return GR_ERROR_MEMORY;
    for (; is_part(net, x->base); x->base = x->base->inputs[0])
        if (options->dropout < 0 && !x->dropout && (x->base->kind->traits & GR_TRAIT_IDENTITY))
            x->dropout = x->base;
    struct gr_layer *top = x->base;
    GR_TRY(make_parts(x, net, options, &top));
    GR_TRY(refits_start(&x->refits, net, count));
    GR_TRY(refits_add(&x->refits, net, x->classifier, top, count));
    GR_TRY(refits_check(&x->refits, net, count));
    return gr_graph_reserve(net, x->fresh.count);
}

/* Cannot fail. */
static void exchange_apply(struct exchange *x, struct gr_network *net, int count) {
    struct gr_layer *top = x->base;
    refits_apply(&x->refits, net);
    for (struct gr_layer *old = x->classifier->inputs[0]; old != x->base; old = old->inputs[0])
        x->gone[old->index] = old != x->dropout;
    /* Positions shift by the insertions below, so the old layers go first. */
    struct gr_layer *next = x->dropout ? x->dropout : x->classifier;
    struct gr_layer *last = x->classifier;
    if (x->fresh.count)
        top = x->fresh.layers[x->fresh.count - 1];
    next->inputs[0] = top;
    if (x->dropout) {
        x->dropout->shape = top->shape;
        x->dropout->frozen = false;
        last->inputs[0] = x->dropout;
    }
    gr_graph_remove(net, x->gone);
    for (int i = 0; i < x->fresh.count; i++) {
        x->fresh.layers[i]->head = true;
        gr_graph_insert(net, next->index, x->fresh.layers[i]);
    }
    x->fresh.count = 0;
    set_classes(net, x->classes, count);
    x->classes = NULL;
}

int gr_network_replace_head(struct gr_network *net, const char *const *classes, int count,
                            const struct gr_head_options *options) {
    struct exchange x = {0};
    if (!options)
        options = &plain_head;
    if (!net->head)
        return gr_fail(GR_ERROR_NAME, "%s has no head to replace; net:add_head makes one", net->name);
    GR_TRY(check_classes(classes, count));
    GR_TRY(check_options(options));
    int status = exchange_prepare(&x, net, classes, count, options);
    if (!status)
        exchange_apply(&x, net, count);
    chain_release(&x.fresh);
    refits_release(&x.refits);
    gr_strings_free(x.classes, x.classes ? count : 0);
    gr_free(x.gone);
    return status;
}

/* Appends a finished chain to the network; room was reserved. */
static void chain_append(struct chain *chain, struct gr_network *net, bool head, bool aux) {
    for (int i = 0; i < chain->count; i++) {
        chain->layers[i]->head = head;
        chain->layers[i]->aux = aux;
        gr_graph_insert(net, net->layer_count, chain->layers[i]);
    }
    chain->count = 0;
}

/* Pool (of what is not flat), hidden layer, dropout and a linear layer PREFIX + last on top. */
static int make_classifier(struct chain *chain, const struct gr_network *net, const char *prefix,
                           const char *last, const char *pool, const struct gr_head_options *options,
                           struct gr_layer **top, int out) {
    cJSON *json;
    if (!(*top)->shape.flat)
        GR_TRY(chain_add(chain, net, prefix, ".pool", pool, NULL, top));
    if (options->hidden > 0) {
        if (!(json = option("out", options->hidden)))
            return GR_ERROR_MEMORY;
        GR_TRY(chain_add(chain, net, prefix, ".hidden", "linear", json, top));
        GR_TRY(chain_add(chain, net, prefix, ".relu", "relu", NULL, top));
    }
    if (options->dropout > 0) {
        if (!(json = option("p", options->dropout)))
            return GR_ERROR_MEMORY;
        GR_TRY(chain_add(chain, net, prefix, ".dropout", "dropout", json, top));
    }
    if (!(json = option("out", out)))
        return GR_ERROR_MEMORY;
    GR_TRY(chain_add(chain, net, prefix, last, "linear", json, top));
    gr_graph_draw_classifier(net, *top);
    return GR_OK;
}

static int check_free(const struct gr_network *net, const char *tree) {
    int last = gr_graph_last(net, tree);
    if (last < 0)
        return GR_OK;
    return gr_fail(GR_ERROR_NAME, "%s has a layer \"%s\" already", net->name, net->layers[last]->name);
}

int gr_network_add_head(struct gr_network *net, const char *const *classes, int count,
                        const struct gr_head_options *options) {
    static const char name[] = "head";
    struct gr_layer *top = net->output;
    struct chain chain = {0};
    struct refits refits = {0};
    if (!options)
        options = &plain_head;
    if (net->head)
        return gr_fail(GR_ERROR_NAME, "%s has a head already, \"%s\"; net:replace_head replaces it",
                       net->name, net->head);
    GR_TRY(check_classes(classes, count));
    GR_TRY(check_options(options));
    GR_TRY(check_free(net, name));
    char **copy = gr_strings_copy(classes, count), *head = gr_strdup(name);
    int status = copy && head ? GR_OK : GR_ERROR_MEMORY;
    if (!status)
        status = make_classifier(&chain, net, name, "", "global_avg_pool", options, &top, count);
    if (!status && !(status = refits_start(&refits, net, count)))
        status = refits_check(&refits, net, count);
    if (!status)
        status = gr_graph_reserve(net, chain.count);
    if (!status) {
        refits_apply(&refits, net);
        chain_append(&chain, net, true, false);
        net->output = top;
        net->head = head;
        set_classes(net, copy, count);
        copy = NULL;
        head = NULL;
    }
    chain_release(&chain);
    refits_release(&refits);
    gr_strings_free(copy, copy ? count : 0);
    gr_free(head);
    return status;
}

/* --- auxiliary classifiers --- */

static int check_aux(const struct gr_network *net, const char *at, const struct gr_layer *reads,
                     const struct gr_aux_options *options) {
    if (reads->head || reads->aux)
        return gr_fail(GR_ERROR_NAME,
                       "\"%s\" belongs to a classifier; an auxiliary one needs a layer of the body", at);
    if (net->class_count < 1)
        return gr_fail(GR_ERROR_DATA, "%s has no classes yet; net:replace_head(classes) sets them",
                       net->name);
    if (options->hidden < 0 || options->hidden > 1 << 20)
        return gr_fail(GR_ERROR_OPTION, "hidden must be from 0 to %d, not %d", 1 << 20, options->hidden);
    if (options->pool && strcmp(options->pool, "avg") != 0 && strcmp(options->pool, "max") != 0)
        return gr_fail(GR_ERROR_OPTION, "pool must be \"avg\" or \"max\", not \"%.40s\"", options->pool);
    return GR_OK;
}

int gr_network_add_aux(struct gr_network *net, const char *at, const struct gr_aux_options *options) {
    struct gr_head_options plain = {.hidden = options->hidden, .dropout = -1};
    struct gr_layer *reads = gr_network_end(net, at), *top = reads;
    struct chain chain = {0};
    char prefix[GR_MAX_NAME + 8];
    if (!reads)
        return GR_ERROR_NAME;
    GR_TRY(check_aux(net, at, reads, options));
    snprintf(prefix, sizeof prefix, "aux.%s", at);
    GR_TRY(check_free(net, prefix));
    bool max = options->pool && strcmp(options->pool, "max") == 0;
    int status = make_classifier(&chain, net, prefix, ".fc", max ? "global_max_pool" : "global_avg_pool",
                                 &plain, &top, net->class_count);
    if (!status)
        status = gr_graph_reserve(net, chain.count);
    if (!status) {
        int first = net->layer_count;
        bool *gone = gr_calloc((size_t)first + 5, sizeof *gone);
        if (!gone) {
            chain_release(&chain);
            return GR_ERROR_MEMORY;
        }
        chain_append(&chain, net, false, true);
        status = gr_network_mark_aux(net, at, top, options->weight);
        for (int i = first; i < net->layer_count; i++)
            gone[i] = true;
        if (status)
            gr_graph_remove(net, gone);
        gr_free(gone);
    }
    chain_release(&chain);
    return status;
}

int gr_network_remove_aux(struct gr_network *net, const char *at) {
    bool *gone = gr_calloc((size_t)net->layer_count, sizeof *gone);
    bool *needed = gr_calloc((size_t)net->layer_count, sizeof *needed);
    int status = gone && needed ? GR_OK : GR_ERROR_MEMORY, kept = 0, removed = 0;
    for (int i = 0; !status && i < net->aux_count; i++)
        removed += !at || strcmp(net->aux[i].at, at) == 0;
    if (!status && at && !removed) {
        const char *near = net->aux_count ? net->aux[0].at : NULL;
        status = gr_fail(GR_ERROR_NAME, "%s has no auxiliary classifier at \"%.80s\"", net->name, at);
        gr_fail_near(near);
    }
    if (status)
        goto done;
    gr_graph_ancestors(net, net->output, needed);
    for (int i = 0; i < net->aux_count; i++) {
        if (!at || strcmp(net->aux[i].at, at) == 0) {
            gr_free(net->aux[i].at);
        } else {
            gr_graph_ancestors(net, net->aux[i].output, needed);
            net->aux[kept++] = net->aux[i];
        }
    }
    net->aux_count = kept;
    for (int i = 0; i < net->layer_count; i++)
        gone[i] = net->layers[i]->aux && !needed[i];
    gr_graph_remove(net, gone);
    net->version++;
done:
    gr_free(gone);
    gr_free(needed);
    return status;
}
