/* Model files: a network as tensors and a description. */
#include "io/model.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "io/apply.h"

#define NETWORK_KEY "graft.network"
#define FORMAT_KEY "graft.format"
#define OWN_KEYS "graft." /* keys of model files and checkpoints; all others are the network's metadata */
#define FORMAT "1"

static int add_tensors(struct gr_weights *weights, const struct gr_network *net) {
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++)
            GR_TRY(
                gr_weights_add(weights, net->layers[i]->params[j].name, &net->layers[i]->params[j].tensor));
    return GR_OK;
}

static int add_metadata(struct gr_weights *weights, const struct gr_network *net) {
    for (const cJSON *item = net->metadata ? net->metadata->child : NULL; item; item = item->next)
        if (cJSON_IsString(item) && strncmp(item->string, OWN_KEYS, strlen(OWN_KEYS)) != 0)
            GR_TRY(gr_weights_set(weights, item->string, item->valuestring));
    cJSON *description = gr_network_describe(net);
    if (!description)
        return gr_error()->code;
    /* It stands in the file's own metadata, where other readers find it too. */
    cJSON_DeleteItemFromObjectCaseSensitive(description, "metadata");
    char *text = cJSON_PrintUnformatted(description);
    int status = text ? gr_weights_set(weights, NETWORK_KEY, text)
                      : gr_fail(GR_ERROR_MEMORY, "out of memory while describing %s", net->name);
    cJSON_free(text);
    cJSON_Delete(description);
    return status ? status : gr_weights_set(weights, FORMAT_KEY, FORMAT);
}

static int pack(struct gr_weights **out, const struct gr_network *net) {
    *out = NULL;
    struct gr_weights *weights;
    GR_TRY(gr_weights_create(&weights));
    int status = add_tensors(weights, net);
    if (!status)
        status = add_metadata(weights, net);
    if (status)
        gr_weights_free(weights);
    else
        *out = weights;
    return status;
}

int gr_model_pack(struct gr_weights **out, const struct gr_network *net, bool with_aux) {
    struct gr_network *copy;
    *out = NULL;
    if (with_aux || net->aux_count == 0)
        return pack(out, net);
    GR_TRY(gr_network_clone(&copy, net));
    int status = gr_network_remove_aux(copy, NULL);
    if (!status)
        status = pack(out, copy);
    gr_network_free(copy);
    return status;
}

int gr_model_hold(struct gr_weights **out, const struct gr_network *net) {
    GR_TRY(gr_model_pack(out, net, true));
    int status = GR_OK;
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; !status && !net->layers[i]->frozen && j < net->layers[i]->param_count; j++)
            status = gr_weights_own(*out, net->layers[i]->params[j].name);
    if (status) {
        gr_weights_free(*out);
        *out = NULL;
    }
    return status;
}

int gr_model_save(const struct gr_network *net, const char *path, bool with_aux) {
    struct gr_weights *weights;
    if (gr_model_pack(&weights, net, with_aux) != 0)
        return gr_fail_in("%s", path);
    int status = gr_weights_write(weights, path);
    gr_weights_free(weights);
    return status;
}

bool gr_model_is(const struct gr_weights *weights) {
    return gr_weights_get(weights, NETWORK_KEY) != NULL;
}

/* A description of a few bytes may claim layers of any size. What its tensors do not fill is not
 * allocated. */
static int build(struct gr_network **out, const struct gr_weights *weights, const cJSON *description,
                 uint64_t seed) {
    enum { SPARE = 64 << 20 };
    struct gr_memory memory = gr_memory();
    size_t wanted = memory.live + SPARE;
    for (int i = 0; i < weights->count; i++)
        wanted += 2 * gr_tensor_bytes(&weights->items[i].tensor);
    gr_memory_limit(memory.limit && memory.limit < wanted ? memory.limit : wanted);
    int status = gr_network_build_empty(out, description, seed);
    gr_memory_limit(memory.limit);
    return status;
}

/* The file's metadata becomes the network's, except for what describes the file itself. */
static int take_metadata(struct gr_network *net, const struct gr_weights *weights) {
    for (int i = 0; i < weights->metadata_count; i++) {
        const struct gr_pair *pair = &weights->metadata[i];
        if (strncmp(pair->key, OWN_KEYS, strlen(OWN_KEYS)) == 0)
            continue;
        GR_TRY(gr_apply_note(net, pair->key, pair->value));
    }
    return GR_OK;
}

static int load(struct gr_network **out, const struct gr_weights *weights, uint64_t seed, bool take) {
    const struct gr_apply_options options = {.take = take};
    const char *text = gr_weights_get(weights, NETWORK_KEY), *format = gr_weights_get(weights, FORMAT_KEY);
    struct gr_network *net = NULL;
    if (!text)
        return gr_fail(GR_ERROR_FILE, "holds weights, but no description of a network");
    if (!format || strcmp(format, FORMAT) != 0)
        return gr_fail(GR_ERROR_FILE,
                       "is a model file of format \"%.20s\"; this program reads format " FORMAT,
                       format ? format : "none");
    cJSON *description = cJSON_ParseWithLengthOpts(text, strlen(text) + 1, NULL, true);
    if (!description)
        return gr_fail(GR_ERROR_FILE, "its description of the network is not JSON");
    int status = build(&net, weights, description, seed);
    cJSON_Delete(description);
    if (status)
        return status;
    status = gr_apply_tensors(net, weights, &options, NULL);
    if (!status)
        status = take_metadata(net, weights);
    if (status)
        gr_network_free(net);
    else
        *out = net;
    return status;
}

int gr_model_load(struct gr_network **out, const struct gr_weights *weights, uint64_t seed, bool take) {
    *out = NULL;
    int status = load(out, weights, seed, take);
    return status ? gr_fail_in("%s", weights->path ? weights->path : "model") : GR_OK;
}
