/* Freezing, rates, fresh values, cutting. What changes a head is in head.c. */
#include "base/memory.h"
#include "base/status.h"
#include "net/graph.h"

#include <math.h>
#include <string.h>

/* The layers that the patterns hit, one flag a layer; the caller releases it by gr_free. NULL: *status says
 * why. */
static bool *choose(const struct gr_network *net, const char *const *patterns, int count, int *status) {
    bool *chosen = gr_calloc((size_t)net->layer_count, sizeof *chosen);
    *status = chosen ? gr_network_choose(net, patterns, count, chosen) : GR_ERROR_MEMORY;
    if (*status) {
        gr_free(chosen);
        return NULL;
    }
    return chosen;
}

int gr_network_freeze(struct gr_network *net, const char *const *patterns, int count, bool frozen) {
    int status;
    bool *chosen = choose(net, patterns, count, &status);
    if (!chosen)
        return status;
    for (int i = 0; i < net->layer_count; i++)
        if (chosen[i])
            net->layers[i]->frozen = frozen;
    net->version++;
    gr_free(chosen);
    return GR_OK;
}

int gr_network_fix_norms(struct gr_network *net, const char *const *patterns, int count, bool fixed) {
    int status;
    bool *chosen = choose(net, patterns, count, &status);
    if (!chosen)
        return status;
    for (int i = 0; i < net->layer_count; i++)
        if (chosen[i])
            net->layers[i]->fixed_norm = fixed;
    net->version++;
    gr_free(chosen);
    return GR_OK;
}

int gr_network_reinit(struct gr_network *net, const char *const *patterns, int count) {
    int status;
    bool *chosen = choose(net, patterns, count, &status);
    if (!chosen)
        return status;
    for (int i = 0; i < net->layer_count; i++) {
        struct gr_layer *layer = net->layers[i];
        if (!chosen[i])
            continue;
        for (int j = 0; j < layer->param_count; j++)
            gr_graph_draw(net, &layer->params[j]);
        gr_free(layer->source);
        layer->source = NULL;
    }
    net->version++;
    gr_free(chosen);
    return GR_OK;
}

static int apply_rule(const struct gr_network *net, const struct gr_rate_rule *rule, bool *chosen,
                      float *rates) {
    if (rule->scale == 0)
        return gr_fail(GR_ERROR_OPTION,
                       "rate 0 for \"%s\": a layer that must not learn is frozen by net:freeze(\"%s\")",
                       rule->pattern, rule->pattern);
    if (!(rule->scale > 0) || !isfinite(rule->scale))
        return gr_fail(GR_ERROR_OPTION, "rate for \"%s\" must be above 0, not %g", rule->pattern,
                       (double)rule->scale);
    memset(chosen, 0, (size_t)net->layer_count * sizeof *chosen);
    GR_TRY(gr_network_choose(net, &rule->pattern, 1, chosen));
    /* Auxiliary classifiers are as fresh as the head and learn at its rate. */
    bool head = strcmp(rule->pattern, "head") == 0;
    for (int i = 0; i < net->layer_count; i++)
        if (chosen[i] || (head && net->layers[i]->aux))
            rates[i] = rule->scale;
    return GR_OK;
}

int gr_network_lr_scale(struct gr_network *net, const struct gr_rate_rule *rules, int count) {
    float *rates = gr_calloc((size_t)net->layer_count, sizeof *rates);
    bool *chosen = gr_calloc((size_t)net->layer_count, sizeof *chosen);
    int status = rates && chosen ? GR_OK : GR_ERROR_MEMORY;
    for (int i = 0; !status && i < net->layer_count; i++)
        rates[i] = 1;
    for (int i = 0; !status && i < count; i++)
        status = apply_rule(net, &rules[i], chosen, rates);
    for (int i = 0; !status && i < net->layer_count; i++)
        net->layers[i]->lr_scale = rates[i];
    if (!status)
        net->version++;
    gr_free(rates);
    gr_free(chosen);
    return status;
}

/* Keeps an auxiliary classifier when all that it reads is kept anyway. */
static void keep_aux(const struct gr_network *net, bool *keep, bool *needed) {
    for (int i = 0; i < net->aux_count; i++) {
        bool inside = true;
        memset(needed, 0, (size_t)net->layer_count * sizeof *needed);
        gr_graph_ancestors(net, net->aux[i].output, needed);
        for (int j = 0; j < net->layer_count; j++)
            inside &= !needed[j] || keep[j] || net->layers[j]->aux;
        for (int j = 0; inside && j < net->layer_count; j++)
            keep[j] |= needed[j];
    }
}

int gr_network_cut(struct gr_network **out, const struct gr_network *net, const char *name) {
    struct gr_layer *end = gr_network_end(net, name);
    struct gr_network *copy;
    if (!end)
        return GR_ERROR_NAME;
    if (end->head || end->aux)
        return gr_fail(GR_ERROR_NAME,
                       "cannot cut %s at \"%s\", which belongs to a classifier; choose a layer before it",
                       net->name, name);
    bool *keep = gr_calloc((size_t)net->layer_count, sizeof *keep);
    bool *needed = gr_calloc((size_t)net->layer_count, sizeof *needed);
    int status = keep && needed ? GR_OK : GR_ERROR_MEMORY;
    if (!status) {
        gr_graph_ancestors(net, end, keep);
        keep_aux(net, keep, needed);
        status = gr_graph_subset(&copy, net, keep);
    }
    if (!status) {
        copy->output = gr_network_layer(copy, end->name);
        *out = copy;
    }
    gr_free(keep);
    gr_free(needed);
    return status;
}

/* The network with the auxiliary classifier number `aux` as its head; the old head is a loose end. */
static int promote(struct gr_network *net, int aux) {
    const struct gr_layer *classifier = gr_graph_classifier(net->aux[aux].output);
    char *head = classifier ? gr_strdup(classifier->name) : NULL;
    if (!classifier)
        return gr_fail(GR_ERROR_SHAPE, "the auxiliary classifier at \"%s\" has no last layer",
                       net->aux[aux].at);
    if (!head)
        return GR_ERROR_MEMORY;
    gr_free(net->head);
    net->head = head;
    net->output = net->aux[aux].output;
    gr_free(net->aux[aux].at);
    for (int i = aux + 1; i < net->aux_count; i++)
        net->aux[i - 1] = net->aux[i];
    net->aux_count--;
    return GR_OK;
}

/* What the network needs for its output, and the auxiliary classifiers that can be had from that, as a new
 * network. */
static int without_loose_ends(struct gr_network **out, const struct gr_network *net) {
    bool *keep = gr_calloc((size_t)net->layer_count, sizeof *keep);
    bool *needed = gr_calloc((size_t)net->layer_count, sizeof *needed);
    int status = keep && needed ? GR_OK : GR_ERROR_MEMORY;
    if (!status) {
        gr_graph_ancestors(net, net->output, keep);
        for (int i = 0; i < net->layer_count; i++)
            net->layers[i]->aux &= !keep[i];
        keep_aux(net, keep, needed);
        status = gr_graph_subset(out, net, keep);
    }
    gr_free(keep);
    gr_free(needed);
    return status;
}

int gr_network_exit(struct gr_network **out, const struct gr_network *net, const char *at) {
    int aux = 0;
    struct gr_network *whole;
    while (aux < net->aux_count && strcmp(net->aux[aux].at, at) != 0)
        aux++;
    if (aux == net->aux_count) {
        gr_fail(GR_ERROR_NAME, "%s has no auxiliary classifier at \"%.80s\"", net->name, at);
        gr_fail_near(net->aux_count ? net->aux[0].at : NULL);
        return GR_ERROR_NAME;
    }
    GR_TRY(gr_network_clone(&whole, net));
    int status = promote(whole, aux);
    if (!status)
        status = without_loose_ends(out, whole);
    if (!status)
        gr_graph_mark_head(*out);
    gr_network_free(whole);
    return status;
}
