/* Networks: building one, and what transfer learning does to one. Methods that change a network return it. */
#include "network.h"

#include <limits.h>
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "error.h"
#include "state.h"
#include "value.h"

/* The network that the method `who` changes. */
static struct gr_network *check(lua_State *L, const char *who) {
    return graft_change_network(L, 1, who)->net;
}

/* Its userdata, for locking it while the runtime may ask a layer kind of the script. */
static struct graft_network *held(lua_State *L) {
    return lua_touserdata(L, 1);
}

/* Ends a method that changed the network: raises, or returns it. */
static int changed(lua_State *L, int status, const char *who) {
    graft_check_in(L, status, who);
    lua_settop(L, 1);
    return 1;
}

/* A layer by its exact name. */
static struct gr_layer *find_layer(lua_State *L, const struct gr_network *net, const char *who,
                                   const char *name) {
    struct gr_layer *layer = gr_network_layer(net, name);
    if (!layer) {
        const char **names = graft_scratch(L, (size_t)net->layer_count, sizeof *names);
        for (int i = 0; i < net->layer_count; i++)
            names[i] = net->layers[i]->name;
        lua_pushfstring(L, "%s: %s", who, net->name);
        graft_no_field(L, lua_tostring(L, -1), name, names, (size_t)net->layer_count);
    }
    return layer;
}

/* net:add(kind, name|nil, options|nil, inputs) -> name, shape */
static int network_add(lua_State *L) {
    int count;
    cJSON *options = NULL;
    struct gr_layer *layer = NULL;
    struct gr_network *net = check(L, "net:add");
    const char *kind = graft_string(L, 2, "net:add", "the kind");
    const char *name = lua_isnoneornil(L, 3) ? NULL : graft_string(L, 3, "net:add", "the name");
    const char *const *names = graft_strings(L, 5, "net:add", "the inputs", &count);
    struct gr_layer **inputs = graft_scratch(L, (size_t)count, sizeof *inputs);
    void **json = graft_hold_json(L);
    for (int i = 0; i < count; i++)
        inputs[i] = find_layer(L, net, "net:add", names[i]);
    if (!lua_isnoneornil(L, 4)) {
        int status = graft_to_json(L, 4, &options);
        *json = options;
        graft_check_in(L, status, name ? name : kind);
    }
    graft_lock(held(L));
    int status = graft_unlock(held(L), gr_network_add(net, name, kind, options, inputs, count, &layer));
    graft_drop(json);
    graft_check(L, status);
    lua_pushstring(L, layer->name);
    graft_push_shape(L, layer->shape);
    return 2;
}

/* net:finish{output=, head=, stages={}} */
static int network_finish(lua_State *L) {
    static const char *const known[] = {"output", "head", "stages", NULL};
    int count = 0;
    const char *const *stages = NULL;
    struct gr_network *net = check(L, "net:finish");
    graft_known(L, 2, "net:finish", known);
    const char *output = graft_field_string(L, 2, "net:finish", "output", NULL);
    const char *head = graft_field_string(L, 2, "net:finish", "head", NULL);
    if (!output)
        return graft_fail(L, GR_ERROR_OPTION,
                          "net:finish: output, the layer that gives the logits, is missing");
    struct gr_layer *layer = find_layer(L, net, "net:finish", output);
    if (graft_field(L, 2, "stages"))
        stages = graft_strings(L, -1, "net:finish", "stages", &count);
    return changed(L, gr_network_finish(net, layer, head, stages, count), "net:finish");
}

static int network_mark_aux(lua_State *L) {
    struct gr_network *net = check(L, "net:mark_aux");
    const char *at = graft_string(L, 2, "net:mark_aux", "the layer that it reads");
    struct gr_layer *output =
        find_layer(L, net, "net:mark_aux", graft_string(L, 3, "net:mark_aux", "the layer of its logits"));
    float weight = (float)graft_optional_number(L, 4, "net:mark_aux", "the weight", 0.3);
    return changed(L, gr_network_mark_aux(net, at, output, weight), "net:mark_aux");
}

static int network_set_classes(lua_State *L) {
    int count;
    struct gr_network *net = check(L, "net:set_classes");
    const char *const *classes = graft_strings(L, 2, "net:set_classes", "the classes", &count);
    return changed(L, gr_network_set_classes(net, classes, count), "net:set_classes");
}

static int network_set_multilabel(lua_State *L) {
    struct gr_network *net = check(L, "net:set_multilabel");
    if (!lua_isboolean(L, 2))
        return graft_bad_argument(L, "net:set_multilabel", 2, "whether a photo has several labels",
                                  "true or false");
    net->multilabel = lua_toboolean(L, 2);
    net->version++;
    return changed(L, GR_OK, "net:set_multilabel");
}

/* net:set_exact(on): kernels that round as a direct computation does only, or all of them again */
static int network_set_exact(lua_State *L) {
    struct gr_network *net = check(L, "net:exact");
    if (!lua_isboolean(L, 2))
        return graft_bad_argument(L, "net:exact", 2, "whether only exact kernels may be used",
                                  "true or false");
    net->exact = lua_toboolean(L, 2);
    net->version++;
    return changed(L, GR_OK, "net:exact");
}

/* net:set_reference(on): plans that fold and fuse nothing, to measure the others by */
static int network_set_reference(lua_State *L) {
    struct gr_network *net = check(L, "net:set_reference");
    if (!lua_isboolean(L, 2))
        return graft_bad_argument(L, "net:set_reference", 2, "whether nothing is folded and fused",
                                  "true or false");
    net->reference = lua_toboolean(L, 2);
    net->version++;
    return changed(L, GR_OK, "net:set_reference");
}

/* net:set_size(n): photos of n x n pixels */
static int network_set_size(lua_State *L) {
    struct gr_network *net = check(L, "net:set_size");
    lua_Integer size = graft_integer(L, 2, "net:set_size", "the size in pixels");
    struct gr_shape input = net->input;
    input.h = input.w = size > INT_MAX ? INT_MAX : size < 0 ? 0 : (int)size;
    graft_lock(held(L));
    return changed(L, graft_unlock(held(L), gr_network_set_input(net, input)), "net:set_size");
}

/* net:defer(): what is added from now on is not drawn, since weights:apply fills it next */
static int network_defer(lua_State *L) {
    struct gr_network *net = check(L, "net:defer");
    gr_network_defer(net);
    return changed(L, GR_OK, "net:defer");
}

static int network_set_metadata(lua_State *L) {
    struct gr_network *net = check(L, "net:set_metadata");
    const char *key = graft_string(L, 2, "net:set_metadata", "the key");
    const char *value = lua_isnoneornil(L, 3) ? NULL : graft_string(L, 3, "net:set_metadata", "the text");
    cJSON *text = value ? cJSON_CreateString(value) : NULL;
    if (value && !text)
        return graft_fail(L, GR_ERROR_MEMORY, "no memory for metadata");
    cJSON_DeleteItemFromObjectCaseSensitive(net->metadata, key);
    if (text && !cJSON_AddItemToObject(net->metadata, key, text)) {
        cJSON_Delete(text);
        return graft_fail(L, GR_ERROR_MEMORY, "no memory for metadata");
    }
    return changed(L, GR_OK, "net:set_metadata");
}

static void read_three(lua_State *L, int index, const char *who, const char *key, float out[3]) {
    float values[3];
    int n = graft_field_numbers(L, index, who, key, values, 3);
    if (n == 1) /* grey photos */
        values[1] = values[2] = values[0];
    else if (n == 2)
        graft_fail(L, GR_ERROR_OPTION, "%s: %s takes one number a channel, three or one, got 2", who, key);
    for (int i = 0; i < 3 && n > 0; i++)
        out[i] = values[i];
}

void graft_preprocessing(lua_State *L, int index, const char *who, struct gr_preprocessing *out) {
    static const char *const known[] = {"resize", "stretch", "interpolation", "mean", "std", "bgr", NULL};
    graft_known(L, index, who, known);
    out->resize = (int)graft_field_integer(L, index, who, "resize", out->resize, 1, 1 << 16);
    out->stretch = graft_field_boolean(L, index, who, "stretch", out->stretch);
    out->bgr = graft_field_boolean(L, index, who, "bgr", out->bgr);
    const char *interpolation = graft_field_string(L, index, who, "interpolation", NULL);
    if (interpolation && strcmp(interpolation, "bilinear") != 0 && strcmp(interpolation, "bicubic") != 0)
        graft_fail(L, GR_ERROR_OPTION, "%s: interpolation must be \"bilinear\" or \"bicubic\", got \"%s\"",
                   who, interpolation);
    if (interpolation)
        out->interpolation = strcmp(interpolation, "bicubic") == 0 ? GR_BICUBIC : GR_BILINEAR;
    read_three(L, index, who, "mean", out->mean);
    read_three(L, index, who, "std", out->std);
    for (int i = 0; i < 3; i++)
        if (!(out->std[i] > 0))
            graft_fail(L, GR_ERROR_OPTION, "%s: std must be above 0, got %g", who, (double)out->std[i]);
}

static int network_set_source(lua_State *L) {
    struct gr_network *net = check(L, "net:set_source");
    const char *source = graft_string(L, 2, "net:set_source", "the source");
    for (int i = 0; i < net->layer_count; i++) {
        struct gr_layer *layer = net->layers[i];
        if (layer->param_count == 0)
            continue;
        char *copy = gr_strdup(source);
        if (!copy)
            return graft_raise(L);
        gr_free(layer->source);
        layer->source = copy;
    }
    return changed(L, GR_OK, "net:set_source");
}

/* ---- surgery ---- */

static int by_patterns(lua_State *L, const char *who,
                       int (*change)(struct gr_network *net, const char *const *patterns, int count,
                                     bool value),
                       bool value) {
    int count;
    struct gr_network *net = check(L, who);
    const char *const *patterns = graft_strings(L, 2, who, "the layers", &count);
    return changed(L, change(net, patterns, count, value), who);
}

static int network_freeze(lua_State *L) {
    return by_patterns(L, "net:freeze", gr_network_freeze, true);
}

static int network_unfreeze(lua_State *L) {
    return by_patterns(L, "net:unfreeze", gr_network_freeze, false);
}

static int network_fix_norms(lua_State *L) {
    return by_patterns(L, "net:fix_norms", gr_network_fix_norms,
                       lua_isnoneornil(L, 3) || lua_toboolean(L, 3));
}

static int network_reinit(lua_State *L) {
    int count;
    struct gr_network *net = check(L, "net:reinit");
    const char *const *patterns = graft_strings(L, 2, "net:reinit", "the layers", &count);
    net->seed = graft_state(L)->seed;
    graft_lock(held(L));
    return changed(L, graft_unlock(held(L), gr_network_reinit(net, patterns, count)), "net:reinit");
}

/* net:lr_scale{ {pattern, scale}, ... } */
static int network_lr_scale(lua_State *L) {
    struct gr_network *net = check(L, "net:lr_scale");
    if (!lua_istable(L, 2))
        return graft_bad_argument(L, "net:lr_scale", 2, "the rules", "a list of {layers, factor}");
    int count = (int)lua_rawlen(L, 2);
    struct gr_rate_rule *rules = graft_scratch(L, (size_t)count, sizeof *rules);
    for (int i = 0; i < count; i++) {
        if (lua_rawgeti(L, 2, i + 1) != LUA_TTABLE || lua_rawgeti(L, -1, 1) != LUA_TSTRING ||
            lua_rawgeti(L, -2, 2) != LUA_TNUMBER)
            return graft_fail(L, GR_ERROR_OPTION,
                              "net:lr_scale: rule %d must be {layers, factor}, for example {\"body\", 1/10}",
                              i + 1);
        rules[i] = (struct gr_rate_rule){lua_tostring(L, -2), (float)lua_tonumber(L, -1)};
        lua_pop(L, 3); /* the rule's own table keeps the string */
    }
    return changed(L, gr_network_lr_scale(net, rules, count), "net:lr_scale");
}

static struct gr_head_options head_options(lua_State *L, int index, const char *who) {
    static const char *const known[] = {"hidden", "dropout", NULL};
    graft_known(L, index, who, known);
    struct gr_head_options options = {
        .hidden = (int)graft_field_integer(L, index, who, "hidden", 0, 0, 1 << 20),
        .dropout = (float)graft_field_number(L, index, who, "dropout", -1),
    };
    if (options.dropout >= 1)
        graft_fail(L, GR_ERROR_OPTION, "%s: dropout must be at least 0 and below 1, got %g", who,
                   (double)options.dropout);
    return options;
}

static int new_head(lua_State *L, const char *who,
                    int (*change)(struct gr_network *net, const char *const *classes, int count,
                                  const struct gr_head_options *options)) {
    int count;
    struct gr_network *net = check(L, who);
    struct gr_head_options options = head_options(L, 3, who);
    const char *const *classes = graft_strings(L, 2, who, "the classes", &count);
    net->seed = graft_state(L)->seed;
    graft_lock(held(L));
    return changed(L, graft_unlock(held(L), change(net, classes, count, &options)), who);
}

static int network_replace_head(lua_State *L) {
    return new_head(L, "net:replace_head", gr_network_replace_head);
}

static int network_add_head(lua_State *L) {
    return new_head(L, "net:add_head", gr_network_add_head);
}

static int network_add_aux(lua_State *L) {
    static const char *const known[] = {"weight", "hidden", "pool", NULL};
    struct gr_network *net = check(L, "net:add_aux");
    const char *layer = graft_string(L, 2, "net:add_aux", "the layer");
    graft_known(L, 3, "net:add_aux", known);
    struct gr_aux_options options = {
        .weight = (float)graft_field_number(L, 3, "net:add_aux", "weight", 0.3),
        .hidden = (int)graft_field_integer(L, 3, "net:add_aux", "hidden", 0, 0, 1 << 20),
        .pool = graft_field_string(L, 3, "net:add_aux", "pool", "avg"),
    };
    net->seed = graft_state(L)->seed;
    graft_lock(held(L));
    return changed(L, graft_unlock(held(L), gr_network_add_aux(net, layer, &options)), "net:add_aux");
}

static int network_remove_aux(lua_State *L) {
    struct gr_network *net = check(L, "net:remove_aux");
    const char *layer = lua_isnoneornil(L, 2) ? NULL : graft_string(L, 2, "net:remove_aux", "the layer");
    return changed(L, gr_network_remove_aux(net, layer), "net:remove_aux");
}

static int network_cut(lua_State *L) {
    const struct gr_network *net = graft_check_network(L, 1, "net:cut")->net;
    const char *layer = graft_string(L, 2, "net:cut", "the layer");
    bool exit = lua_toboolean(L, 3);
    struct graft_network *cut = graft_new_network(L);
    graft_lock(held(L));
    return graft_made_network(L,
                              graft_unlock(held(L), exit ? gr_network_exit(&cut->net, net, layer)
                                                         : gr_network_cut(&cut->net, net, layer)),
                              "net:cut");
}

static int network_clone(lua_State *L) {
    const struct gr_network *net = graft_check_network(L, 1, "net:clone")->net;
    struct graft_network *clone = graft_new_network(L);
    graft_lock(held(L));
    return graft_made_network(L, graft_unlock(held(L), gr_network_clone(&clone->net, net)), "net:clone");
}

const luaL_Reg graft_network_building[] = {
    {"add", network_add},
    {"finish", network_finish},
    {"mark_aux", network_mark_aux},
    {"set_classes", network_set_classes},
    {"set_multilabel", network_set_multilabel},
    {"set_exact", network_set_exact},
    {"set_reference", network_set_reference},
    {"defer", network_defer},
    {"set_size", network_set_size},
    {"set_metadata", network_set_metadata},
    {"set_source", network_set_source},
    {"freeze", network_freeze},
    {"unfreeze", network_unfreeze},
    {"fix_norms", network_fix_norms},
    {"reinit", network_reinit},
    {"lr_scale", network_lr_scale},
    {"replace_head", network_replace_head},
    {"add_head", network_add_head},
    {"add_aux", network_add_aux},
    {"remove_aux", network_remove_aux},
    {"cut", network_cut},
    {"clone", network_clone},
    {NULL, NULL},
};
