#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "net/graph.h"

#include <string.h>

static const char *const words[] = {"*", "body", "head", "aux"};
enum { WORDS = 4 };

/* --- where stages and subtrees end --- */

static bool is_stage(const struct gr_network *net, const char *name) {
    for (int i = 0; i < net->stage_count; i++)
        if (strcmp(net->stages[i], name) == 0)
            return true;
    return false;
}

/* Layers that belong to what they follow: activations, norms, additions, concatenations. */
static bool follows(const struct gr_layer *layer, bool norms) {
    if (layer->param_count)
        return norms && layer->input_count == 1 && !layer->kind->multiply_adds;
    return layer->kind->activation || layer->input_count > 1;
}

static bool reads(const struct gr_layer *layer, const struct gr_layer *input) {
    for (int i = 0; i < layer->input_count; i++)
        if (layer->inputs[i] == input)
            return true;
    return false;
}

static bool same_place(struct gr_shape a, struct gr_shape b) {
    return a.h == b.h && a.w == b.w && a.flat == b.flat;
}

static bool below_other_stage(const struct gr_network *net, const char *name, const char *tree) {
    for (int i = 0; i < net->stage_count; i++)
        if (strcmp(net->stages[i], tree) != 0 && gr_graph_below(name, net->stages[i]))
            return true;
    return false;
}

/* The last layer of a subtree, with what directly follows it; -1 when there is none. A stage that is one
 * layer (a stem's "conv1") takes its norm along; of a real subtree the norms have its name. */
static int tree_end(const struct gr_network *net, const char *tree) {
    int end = gr_graph_last(net, tree);
    if (end < 0 || net->layers[end]->aux || net->layers[end]->head)
        return end;
    bool single = strcmp(net->layers[end]->name, tree) == 0;
    for (int i = end + 1; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        if (layer->aux)
            continue;
        if (layer->head || !follows(layer, single) || !same_place(layer->shape, net->layers[end]->shape) ||
            !reads(layer, net->layers[end]) || below_other_stage(net, layer->name, tree))
            break;
        end = i;
    }
    return end;
}

int gr_network_stage(const struct gr_network *net, const struct gr_layer *layer) {
    if (layer->head || layer->aux)
        return -1;
    for (int i = 0; i < net->stage_count; i++)
        if (layer->index <= tree_end(net, net->stages[i]))
            return i;
    return -1;
}

/* --- the nearest name --- */

/* Every layer's name and every prefix of one, each once, after the words and the stages. */
struct candidates {
    char **names;
    int count, capacity;
};

static bool add_candidate(struct candidates *c, const char *name, size_t length) {
    for (int i = c->count - 1; i >= 0; i--)
        if (strncmp(c->names[i], name, length) == 0 && c->names[i][length] == 0)
            return true;
    if (c->count == c->capacity) {
        int capacity = c->capacity ? 2 * c->capacity : 64;
        char **grown = gr_realloc(c->names, (size_t)capacity * sizeof *grown);
        if (!grown)
            return false;
        c->names = grown;
        c->capacity = capacity;
    }
    char *copy = gr_alloc(length + 1);
    if (!copy)
        return false;
    memcpy(copy, name, length);
    copy[length] = 0;
    c->names[c->count++] = copy;
    return true;
}

static bool add_prefixes(struct candidates *c, const char *name) {
    for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.'))
        if (!add_candidate(c, name, (size_t)(dot - name)))
            return false;
    return add_candidate(c, name, strlen(name));
}

/* Sets the error for a pattern that hits nothing. */
static int no_such(const struct gr_network *net, const char *pattern, bool with_words) {
    enum { MOST = 2000 }; /* names that are compared; a network of more is not one that a person typed */
    struct candidates c = {0};
    char shown[GR_MAX_NAME + 1];
    bool ok = true;
    gr_printable(pattern, shown, sizeof shown);
    for (int i = 0; ok && with_words && i < WORDS; i++)
        ok = add_candidate(&c, words[i], strlen(words[i]));
    for (int i = 0; ok && i < net->stage_count; i++)
        ok = add_candidate(&c, net->stages[i], strlen(net->stages[i]));
    for (int i = 0; ok && i < net->layer_count && c.count < MOST; i++)
        ok = add_prefixes(&c, net->layers[i]->name);
    const char *near = ok ? gr_nearest(pattern, (const char *const *)c.names, (size_t)c.count) : NULL;
    gr_fail(GR_ERROR_NAME, "no layer \"%s\" in %s", shown, net->name);
    gr_fail_near(near);
    gr_strings_free(c.names, c.count);
    return GR_ERROR_NAME;
}

struct gr_layer *gr_network_end(const struct gr_network *net, const char *name) {
    struct gr_layer *exact = name ? gr_network_layer(net, name) : NULL;
    if (exact && !is_stage(net, name))
        return exact;
    int end = name ? tree_end(net, name) : -1;
    if (end >= 0)
        return net->layers[end];
    no_such(net, name ? name : "", false);
    return NULL;
}

/* --- patterns --- */

static int choose_word(const struct gr_network *net, const char *word, bool *chosen) {
    bool any = false;
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        bool hit = word[0] == '*'   ? true
                   : word[0] == 'b' ? !layer->head && !layer->aux
                   : word[0] == 'h' ? layer->head
                                    : layer->aux;
        chosen[i] |= hit;
        any |= hit;
    }
    if (any)
        return GR_OK;
    return gr_fail(GR_ERROR_NAME, "%s has no %s", net->name,
                   word[0] == 'h' ? "head" : "auxiliary classifiers");
}

/* A stage: everything after the stage before it, up to its own end. */
static void choose_stage(const struct gr_network *net, const char *name, bool *chosen) {
    int first = 0;
    for (int i = 0; i < net->stage_count && strcmp(net->stages[i], name) != 0; i++)
        first = tree_end(net, net->stages[i]) + 1;
    for (int i = first; i <= tree_end(net, name); i++)
        chosen[i] |= !net->layers[i]->head && !net->layers[i]->aux;
}

/* How many of a layer's tensors a pattern hits; *which is one of them. */
static int tensors_hit(const struct gr_layer *layer, const char *pattern, const char **which) {
    int hits = 0;
    for (int i = 0; i < layer->param_count; i++)
        if (gr_glob(pattern, layer->params[i].name)) {
            *which = layer->params[i].name;
            hits++;
        }
    return hits;
}

static int choose_glob(const struct gr_network *net, const char *pattern, bool *chosen) {
    bool any = false;
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        const char *tensor = NULL;
        bool hit = gr_glob(pattern, layer->name);
        int tensors = hit ? 0 : tensors_hit(layer, pattern, &tensor);
        if (tensors && tensors < layer->param_count)
            return gr_fail(GR_ERROR_NAME,
                           "\"%s\" names single tensors such as \"%s\", but only whole layers can be chosen",
                           pattern, tensor);
        hit |= tensors > 0;
        chosen[i] |= hit;
        any |= hit;
    }
    return any ? GR_OK : no_such(net, pattern, true);
}

static int choose_name(const struct gr_network *net, const char *name, bool *chosen) {
    bool any = false;
    for (int i = 0; i < net->layer_count; i++) {
        bool hit = gr_graph_below(net->layers[i]->name, name);
        chosen[i] |= hit;
        any |= hit;
    }
    if (any)
        return GR_OK;
    if (!gr_network_param(net, name))
        return no_such(net, name, true);
    size_t length = (size_t)(strrchr(name, '.') - name);
    gr_fail(GR_ERROR_NAME, "\"%s\" is a tensor, but only whole layers can be chosen; its layer is \"%.*s\"",
            name, (int)length, name);
    char layer[GR_MAX_NAME + 1] = "";
    memcpy(layer, name, length < GR_MAX_NAME ? length : GR_MAX_NAME);
    return gr_fail_near(layer);
}

int gr_network_choose(const struct gr_network *net, const char *const *patterns, int count, bool *chosen) {
    if (count < 1)
        return gr_fail(GR_ERROR_NAME, "no layer was named; \"*\" stands for all of %s", net->name);
    for (int i = 0; i < count; i++) {
        const char *pattern = patterns[i];
        bool word = false;
        if (!pattern || !*pattern)
            return gr_fail(GR_ERROR_NAME, "the name of a layer must not be empty");
        for (int j = 0; j < WORDS; j++)
            word |= strcmp(pattern, words[j]) == 0;
        if (word)
            GR_TRY(choose_word(net, pattern, chosen));
        else if (strpbrk(pattern, "*?"))
            GR_TRY(choose_glob(net, pattern, chosen));
        else if (is_stage(net, pattern))
            choose_stage(net, pattern, chosen);
        else
            GR_TRY(choose_name(net, pattern, chosen));
    }
    return GR_OK;
}
