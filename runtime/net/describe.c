/* The network as data and back. What is read may come from a hostile file. */
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "net/graph.h"

#include <math.h>
#include <string.h>

enum { FORMAT = 1 };

/* --- writing --- */

static bool put(cJSON *object, const char *key, cJSON *value) {
    if (value && cJSON_AddItemToObject(object, key, value))
        return true;
    cJSON_Delete(value);
    return false;
}

static cJSON *write_strings(char *const *strings, int count) {
    return count ? cJSON_CreateStringArray((const char *const *)strings, count) : cJSON_CreateArray();
}

static cJSON *write_layer(const struct gr_layer *layer) {
    cJSON *object = cJSON_CreateObject(), *inputs = cJSON_CreateArray();
    cJSON *options = gr_options_write(layer->kind->options, layer->options);
    bool ok = object && inputs && options && put(object, "name", cJSON_CreateString(layer->name)) &&
              put(object, "kind", cJSON_CreateString(layer->kind->name));
    for (int i = 0; ok && i < layer->input_count; i++) {
        cJSON *name = cJSON_CreateString(layer->inputs[i]->name);
        ok = name && cJSON_AddItemToArray(inputs, name);
    }
    if (ok) {
        ok = put(object, "inputs", inputs);
        inputs = NULL;
    }
    if (ok && options->child) {
        ok = put(object, "options", options);
        options = NULL;
    }
    cJSON_Delete(inputs);
    cJSON_Delete(options);
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

static cJSON *write_floats(const float *values, int count) {
    return cJSON_CreateFloatArray(values, count);
}

static cJSON *write_preprocessing(const struct gr_preprocessing *p) {
    cJSON *object = cJSON_CreateObject();
    if (object && put(object, "resize", cJSON_CreateNumber(p->resize)) &&
        put(object, "stretch", cJSON_CreateBool(p->stretch)) &&
        put(object, "interpolation",
            cJSON_CreateString(p->interpolation == GR_BICUBIC ? "bicubic" : "bilinear")) &&
        put(object, "mean", write_floats(p->mean, 3)) && put(object, "std", write_floats(p->std, 3)) &&
        put(object, "bgr", cJSON_CreateBool(p->bgr)))
        return object;
    cJSON_Delete(object);
    return NULL;
}

static cJSON *write_aux(const struct gr_network *net) {
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (int i = 0; ok && i < net->aux_count; i++) {
        cJSON *object = cJSON_CreateObject();
        ok = object && put(object, "at", cJSON_CreateString(net->aux[i].at)) &&
             put(object, "output", cJSON_CreateString(net->aux[i].output->name)) &&
             put(object, "weight", cJSON_CreateNumber(net->aux[i].weight)) &&
             cJSON_AddItemToArray(list, object);
        if (!ok)
            cJSON_Delete(object);
    }
    if (ok)
        return list;
    cJSON_Delete(list);
    return NULL;
}

static cJSON *write_layers(const struct gr_network *net) {
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (int i = 1; ok && i < net->layer_count; i++) {
        cJSON *layer = write_layer(net->layers[i]);
        ok = layer && cJSON_AddItemToArray(list, layer);
        if (!ok)
            cJSON_Delete(layer);
    }
    if (ok)
        return list;
    cJSON_Delete(list);
    return NULL;
}

cJSON *gr_network_describe(const struct gr_network *net) {
    int input[] = {net->input.c, net->input.h, net->input.w};
    cJSON *object = cJSON_CreateObject();
    if (object && put(object, "format", cJSON_CreateNumber(FORMAT)) &&
        put(object, "name", cJSON_CreateString(net->name)) &&
        put(object, "input", cJSON_CreateIntArray(input, 3)) && put(object, "layers", write_layers(net)) &&
        put(object, "output", cJSON_CreateString(net->output->name)) &&
        (!net->head || put(object, "head", cJSON_CreateString(net->head))) &&
        put(object, "stages", write_strings(net->stages, net->stage_count)) &&
        put(object, "classes", write_strings(net->classes, net->class_count)) &&
        put(object, "multilabel", cJSON_CreateBool(net->multilabel)) &&
        put(object, "preprocessing", write_preprocessing(&net->preprocessing)) &&
        put(object, "aux", write_aux(net)) && put(object, "metadata", cJSON_Duplicate(net->metadata, true)))
        return object;
    cJSON_Delete(object);
    gr_fail(GR_ERROR_MEMORY, "out of memory while describing %s", net->name);
    return NULL;
}

/* --- reading --- */

static int wrong(const char *key, const char *expected) {
    return gr_fail(GR_ERROR_FILE, "description of a network: \"%s\" must be %s", key, expected);
}

static const cJSON *get(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* NULL unless the key holds a string. */
static const char *get_string(const cJSON *object, const char *key) {
    const cJSON *value = get(object, key);
    return cJSON_IsString(value) ? value->valuestring : NULL;
}

static int read_whole(const cJSON *value, const char *key, int low, int high, int *out) {
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= low && value->valuedouble <= high) ||
        value->valuedouble != floor(value->valuedouble))
        return gr_fail(GR_ERROR_FILE, "description of a network: \"%s\" must be a whole number from %d to %d",
                       key, low, high);
    *out = (int)value->valuedouble;
    return GR_OK;
}

/* An array of strings as an array of pointers into the JSON, which the caller releases by gr_free. */
static int read_strings(const cJSON *list, const char *key, int most, const char ***out, int *count) {
    int n = 0;
    *out = NULL;
    *count = 0;
    if (!list)
        return GR_OK;
    if (!cJSON_IsArray(list))
        return wrong(key, "a list of strings");
    for (const cJSON *item = list->child; item; item = item->next, n++)
        if (!cJSON_IsString(item) || n >= most)
            return wrong(key, n >= most ? "a shorter list" : "a list of strings");
    const char **strings = gr_calloc((size_t)n, sizeof *strings);
    if (!strings)
        return GR_ERROR_MEMORY;
    n = 0;
    for (const cJSON *item = list->child; item; item = item->next)
        strings[n++] = item->valuestring;
    *out = strings;
    *count = n;
    return GR_OK;
}

static int read_floats(const cJSON *list, const char *key, int count, float *out) {
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != count)
        return wrong(key, "a list of three numbers");
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) || !isfinite((float)item->valuedouble))
            return wrong(key, "a list of three numbers");
        *out++ = (float)item->valuedouble;
    }
    return GR_OK;
}

static int read_bool(const cJSON *value, const char *key, bool *out) {
    if (value && !cJSON_IsBool(value))
        return wrong(key, "true or false");
    *out = cJSON_IsTrue(value);
    return GR_OK;
}

static int read_preprocessing(const cJSON *object, struct gr_preprocessing *p) {
    *p = (struct gr_preprocessing){0};
    if (!cJSON_IsObject(object))
        return wrong("preprocessing", "an object");
    const char *interpolation = get_string(object, "interpolation");
    if (!interpolation || (strcmp(interpolation, "bilinear") != 0 && strcmp(interpolation, "bicubic") != 0))
        return wrong("interpolation", "\"bilinear\" or \"bicubic\"");
    p->interpolation = strcmp(interpolation, "bicubic") == 0 ? GR_BICUBIC : GR_BILINEAR;
    GR_TRY(read_bool(get(object, "stretch"), "stretch", &p->stretch));
    GR_TRY(read_bool(get(object, "bgr"), "bgr", &p->bgr));
    GR_TRY(read_whole(get(object, "resize"), "resize", 0, 1 << 16, &p->resize));
    GR_TRY(read_floats(get(object, "mean"), "mean", 3, p->mean));
    return read_floats(get(object, "std"), "std", 3, p->std);
}

/* Positions of layers by name, for the inputs of a description with many layers. */
struct names {
    int *slots;  /* layer index + 1, or 0 */
    size_t size; /* a power of two, at least twice the layers */
};

static struct gr_layer *find(const struct names *names, const struct gr_network *net, const char *name) {
    for (size_t i = gr_hash(name) & (names->size - 1); names->slots[i]; i = (i + 1) & (names->size - 1))
        if (strcmp(net->layers[names->slots[i] - 1]->name, name) == 0)
            return net->layers[names->slots[i] - 1];
    return NULL;
}

static void remember(struct names *names, const struct gr_layer *layer) {
    size_t i = gr_hash(layer->name) & (names->size - 1);
    while (names->slots[i])
        i = (i + 1) & (names->size - 1);
    names->slots[i] = layer->index + 1;
}

static int read_layer(struct gr_network *net, struct names *names, const cJSON *object) {
    struct gr_layer *inputs[GR_MAX_INPUTS], *layer;
    const char *name = get_string(object, "name"), *kind = get_string(object, "kind");
    const cJSON *list = get(object, "inputs");
    int count = 0;
    if (!cJSON_IsObject(object) || !name || !kind || !cJSON_IsArray(list))
        return wrong("layers", "a list of objects with \"name\", \"kind\" and \"inputs\"");
    for (const cJSON *item = list->child; item; item = item->next) {
        if (count == GR_MAX_INPUTS)
            return gr_fail(GR_ERROR_LIMIT, "layer \"%.80s\": at most %d inputs", name, GR_MAX_INPUTS);
        inputs[count] = cJSON_IsString(item) ? find(names, net, item->valuestring) : NULL;
        if (!inputs[count++])
            return gr_fail(GR_ERROR_FILE, "layer \"%.80s\": its input \"%.80s\" is not an earlier layer",
                           name, cJSON_IsString(item) ? item->valuestring : "?");
    }
    GR_TRY(gr_network_add(net, name, kind, get(object, "options"), inputs, count, &layer));
    remember(names, layer);
    return GR_OK;
}

static int read_layers(struct gr_network *net, const cJSON *list) {
    struct names names = {.size = 64};
    size_t count = 0;
    int status = GR_OK;
    if (!cJSON_IsArray(list))
        return wrong("layers", "a list");
    for (const cJSON *item = list->child; item; item = item->next)
        if (++count >= GR_MAX_LAYERS)
            return gr_fail(GR_ERROR_LIMIT, "description of a network: more than %d layers", GR_MAX_LAYERS);
    while (names.size < 2 * (count + 1))
        names.size *= 2;
    names.slots = gr_calloc(names.size, sizeof *names.slots);
    if (!names.slots)
        return GR_ERROR_MEMORY;
    remember(&names, net->layers[0]);
    for (const cJSON *item = list->child; item && !status; item = item->next)
        status = read_layer(net, &names, item);
    gr_free(names.slots);
    return status;
}

static int read_finish(struct gr_network *net, const cJSON *object) {
    const char **stages, *output = get_string(object, "output");
    const cJSON *head = get(object, "head");
    int count;
    struct gr_layer *layer = gr_network_layer(net, output);
    if (!layer)
        return wrong("output", "the name of a layer");
    if (head && !cJSON_IsString(head))
        return wrong("head", "the name of a layer");
    GR_TRY(read_strings(get(object, "stages"), "stages", GR_MAX_STAGES, &stages, &count));
    int status = gr_network_finish(net, layer, head ? head->valuestring : NULL, stages, count);
    gr_free(stages);
    return status;
}

static int read_classes(struct gr_network *net, const cJSON *object) {
    const char **classes;
    int count;
    GR_TRY(read_bool(get(object, "multilabel"), "multilabel", &net->multilabel));
    GR_TRY(read_strings(get(object, "classes"), "classes", GR_MAX_CLASSES, &classes, &count));
    int status = count ? gr_network_set_classes(net, classes, count) : GR_OK;
    gr_free(classes);
    return status;
}

static int read_aux(struct gr_network *net, const cJSON *list) {
    enum { MOST = 100 };
    if (list && !cJSON_IsArray(list))
        return wrong("aux", "a list");
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        const char *at = get_string(item, "at"), *output = get_string(item, "output");
        const cJSON *weight = get(item, "weight");
        struct gr_layer *layer = gr_network_layer(net, output);
        if (!at || !layer || !cJSON_IsNumber(weight) || net->aux_count >= MOST)
            return wrong("aux", "a list of objects with \"at\", \"output\" and \"weight\"");
        GR_TRY(gr_graph_check_name("an auxiliary classifier's layer", at, GR_MAX_NAME));
        GR_TRY(gr_network_mark_aux(net, at, layer, (float)weight->valuedouble));
    }
    return GR_OK;
}

static int read_metadata(struct gr_network *net, const cJSON *object) {
    if (!object)
        return GR_OK;
    if (!cJSON_IsObject(object))
        return wrong("metadata", "an object");
    for (const cJSON *item = object->child; item; item = item->next)
        if (!cJSON_IsString(item))
            return wrong("metadata", "an object that holds strings");
    cJSON *copy = cJSON_Duplicate(object, true);
    if (!copy)
        return gr_fail(GR_ERROR_MEMORY, "out of memory");
    cJSON_Delete(net->metadata);
    net->metadata = copy;
    return GR_OK;
}

int gr_network_build_empty(struct gr_network **out, const cJSON *description, uint64_t seed) {
    const char *name = get_string(description, "name");
    const cJSON *input = get(description, "input");
    struct gr_preprocessing p;
    struct gr_network *net;
    int format = 0, size[3];
    if (!cJSON_IsObject(description))
        return gr_fail(GR_ERROR_FILE, "description of a network: an object was expected");
    GR_TRY(read_whole(get(description, "format"), "format", 1, 1 << 20, &format));
    if (format != FORMAT)
        return gr_fail(GR_ERROR_FILE,
                       "description of a network: format %d is newer than this program, which reads %d",
                       format, FORMAT);
    if (!name)
        return wrong("name", "a string");
    if (!cJSON_IsArray(input) || cJSON_GetArraySize(input) != 3)
        return wrong("input", "channels, height and width");
    for (int i = 0; i < 3; i++)
        GR_TRY(read_whole(cJSON_GetArrayItem(input, i), "input", 1, 1 << 20, &size[i]));
    GR_TRY(read_preprocessing(get(description, "preprocessing"), &p));
    GR_TRY(gr_network_create(&net, name, (struct gr_shape){size[0], size[1], size[2], false}, &p, seed));
    gr_network_defer(net);
    int status = read_layers(net, get(description, "layers"));
    if (!status)
        status = read_finish(net, description);
    if (!status)
        status = read_aux(net, get(description, "aux"));
    if (!status)
        status = read_classes(net, description);
    if (!status)
        status = read_metadata(net, get(description, "metadata"));
    if (status)
        gr_network_free(net);
    else
        *out = net;
    return status;
}

int gr_network_build(struct gr_network **out, const cJSON *description, uint64_t seed) {
    GR_TRY(gr_network_build_empty(out, description, seed));
    gr_network_draw(*out);
    return GR_OK;
}
