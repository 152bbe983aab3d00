/* The feature cache: core.cut, core.features, core.outputs and the userdata "graft.features". */
#include "feature_cache.h"

#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "data.h"
#include "error.h"
#include "network.h"
#include "state.h"
#include "tensor.h"
#include "train/outputs.h"

static const char TYPE[] = "graft.features", STORE[] = "graft.feature_store";

enum { USER_NETWORK = 1, USER_DATA, USER_VALUES = 2 };

struct features {
    struct gr_features *features; /* NULL: closed */
    struct graft_network *network;
    struct graft_dataset *dataset; /* stays open as long: rows are found by the number of a photo in it */
    int users;                     /* trainers and loops that read them: they cannot be closed meanwhile */
};

/* ---- what is remembered ---- */

static int store_collect(lua_State *L) {
    gr_feature_store_clear(lua_touserdata(L, 1));
    return 0;
}

/* This state's store. */
static struct gr_feature_store *store_of(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, STORE) == LUA_TNIL) {
        lua_pop(L, 1);
        struct gr_feature_store *store = lua_newuserdatauv(L, sizeof *store, 0);
        *store = (struct gr_feature_store){0};
        lua_createtable(L, 0, 1);
        lua_pushcfunction(L, store_collect);
        lua_setfield(L, -2, "__gc");
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, STORE);
    }
    struct gr_feature_store *store = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return store;
}

struct gr_features *graft_remembered(lua_State *L, struct gr_network *net, const struct gr_set *set,
                                     struct gr_shape input, enum gr_precision precision, int *status) {
    const struct gr_features_part part = {.set = set};
    struct gr_features *features = NULL;
    struct gr_features_options options = {.input = input,
                                          .budget = SIZE_MAX,
                                          .precision = precision,
                                          .store = store_of(L),
                                          .version = GRAFT_VERSION,
                                          .only_found = true};
    *status = options.store->first ? gr_features_create(&features, net, &part, 1, &options) : GR_OK;
    return features;
}

/* core.forget() */
static int core_forget(lua_State *L) {
    gr_feature_store_clear(store_of(L));
    return 0;
}

/* core.remembered() -> bytes in memory of the features that are remembered */
static int core_remembered(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)gr_feature_store_memory(store_of(L)));
    return 1;
}

/* ---- features ---- */

static int features_collect(lua_State *L) {
    struct features *held = luaL_checkudata(L, 1, TYPE);
    if (held->network) {
        held->network->users--;
        held->dataset->loaders--;
    }
    held->network = NULL;
    gr_features_free(held->features);
    held->features = NULL;
    return 0;
}

static int features_close(lua_State *L) {
    const struct features *held = luaL_checkudata(L, 1, TYPE);
    if (graft_in_finalizer(L))
        return 0;
    if (held->users > 0)
        return graft_fail(L, GR_ERROR_OPTION, "features:close: a trainer or a loop still reads them");
    return features_collect(L);
}

void graft_count_features(lua_State *L, int index, int change) {
    struct features *held = luaL_testudata(L, index, TYPE);
    if (held)
        held->users += change;
}

const struct gr_features *graft_features(lua_State *L, int index, const char *who) {
    if (lua_isnoneornil(L, index))
        return NULL;
    const struct features *held = luaL_testudata(L, index, TYPE);
    if (!held || !held->features)
        graft_fail(L, GR_ERROR_OPTION, "%s: expected features of core.features, got %s", who,
                   held ? "closed ones" : luaL_typename(L, index));
    return held->features;
}

static void push_layers(lua_State *L, struct gr_layer *const *layers, int count) {
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, layers[i]->name);
        lua_rawseti(L, -2, i + 1);
    }
}

/* The features that the method `who` asks. */
static const struct gr_features *check(lua_State *L, const char *who) {
    if (lua_isnoneornil(L, 1))
        graft_bad_argument(L, who, 1, "the features", "features of core.features");
    return graft_features(L, 1, who);
}

static int features_layers(lua_State *L) {
    const struct gr_features *features = check(L, "features:layers");
    push_layers(L, features->prefix.layers, features->prefix.layer_count);
    return 1;
}

static int features_bytes(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L, "features:bytes")->bytes);
    return 1;
}

static int features_photos(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L, "features:photos")->photos);
    return 1;
}

static int features_found(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L, "features:found")->found);
    return 1;
}

static int features_in_file(lua_State *L) {
    lua_pushboolean(L, check(L, "features:in_file")->in_file);
    return 1;
}

int graft_on_progress(void *payload, int64_t done, int64_t total) {
    const struct graft_progress *told = payload;
    lua_State *L = told->L;
    GR_TRY(graft_poll(L));
    if (!told->function)
        return GR_OK;
    if (!lua_checkstack(L, 4))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a function");
    lua_pushvalue(L, told->function);
    lua_pushinteger(L, (lua_Integer)done);
    lua_pushinteger(L, (lua_Integer)total);
    return graft_callback(L, 2, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

/* Reads the list of sets at 2 into parts, which are pushed, with the first set below them: it keeps the data.
 */
static struct gr_features_part *check_parts(lua_State *L, const char *who, int *count,
                                            struct graft_dataset **dataset) {
    if (!lua_istable(L, 2))
        graft_bad_argument(L, who, 2, "the sets", "a list");
    lua_Integer length = (lua_Integer)lua_rawlen(L, 2);
    if (length < 1 || length > 64)
        graft_fail(L, GR_ERROR_OPTION, "%s: expected 1 to 64 sets, got %d", who, (int)length);
    lua_rawgeti(L, 2, 1);
    graft_check_set(L, -1, who);
    *dataset = graft_dataset_of(L, lua_gettop(L));
    struct gr_features_part *parts = graft_scratch(L, (size_t)length, sizeof *parts);
    for (int i = 0; i < (int)length; i++) {
        lua_rawgeti(L, 2, i + 1);
        parts[i].set = graft_check_set(L, -1, who)->set;
        lua_pop(L, 1); /* the list keeps it */
    }
    *count = (int)length;
    return parts;
}

/* core.features(net, list of sets, {...}) -> features | nil; see core.h */
static int core_features(lua_State *L) {
    static const char who[] = "core.features";
    static const char *const known[] = {"budget", "folder",   "size",       "progress", "views", "augment",
                                        "seed",   "remember", "only_found", "prefix",   NULL};
    struct graft_network *network = graft_check_network(L, 1, who);
    struct graft_dataset *dataset = NULL;
    graft_no_finalizer(L, who);
    lua_settop(L, 3);
    graft_known(L, 3, who, known);
    struct graft_progress told = {L, 0};
    struct gr_augment augment = graft_augment(L, 3);
    struct gr_features_options options = {
        .input = network->net->input,
        .budget = (size_t)graft_field_integer(L, 3, who, "budget", (lua_Integer)gr_memory_share(), 0,
                                              LUA_MAXINTEGER),
        .folder = graft_field_string(L, 3, who, "folder", NULL),
        .augment = &augment,
        .seed = (uint64_t)graft_field_integer(L, 3, who, "seed", (lua_Integer)graft_state(L)->seed,
                                              LUA_MININTEGER, LUA_MAXINTEGER),
        .precision = graft_field_precision(L, 3, who),
        .store = graft_field_boolean(L, 3, who, "remember", true) ? store_of(L) : NULL,
        .version = GRAFT_VERSION,
        .only_found = graft_field_boolean(L, 3, who, "only_found", false),
        .progress = graft_on_progress,
        .payload = &told,
    };
    int count, first = lua_gettop(L) + 1;
    struct gr_features_part *parts = check_parts(L, who, &count, &dataset);
    parts[0].views = (int)graft_field_integer(L, 3, who, "views", 0, 0, 1 << 16);
    int size = (int)graft_field_integer(L, 3, who, "size", parts[0].set->data->size, 0, 1 << 14);
    if (size > 0)
        options.input.h = options.input.w = size;
    if (graft_field(L, 3, "progress"))
        told.function = lua_gettop(L);
    struct features *held = lua_newuserdatauv(L, sizeof *held, USER_VALUES);
    *held = (struct features){0};
    luaL_setmetatable(L, TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, USER_NETWORK);
    lua_pushvalue(L, first);
    lua_setiuservalue(L, -2, USER_DATA);
    dataset->loaders++;
    graft_lock(network);
    int status = gr_features_create(&held->features, network->net, parts, count, &options);
    dataset->loaders--;
    graft_check_in(L, graft_unlock(network, status), who);
    if (!held->features) {
        lua_pushnil(L);
        return 1;
    }
    held->network = network;
    network->users++;
    held->dataset = dataset;
    dataset->loaders++;
    graft_charge(L, held->features->bytes);
    return 1;
}

/* core.cut(net [, size]) -> list of layer names (empty: nothing can be kept), bytes a photo */
static int core_cut(lua_State *L) {
    struct graft_network *network = graft_check_network(L, 1, "core.cut");
    struct gr_shape input = network->net->input;
    lua_Integer size = graft_optional_integer(L, 2, "core.cut", "the size of the photos", 0);
    if (size < 0 || size > 1 << 14)
        return graft_fail(L, GR_ERROR_OPTION, "core.cut: photos have 1 to %d pixels a side", 1 << 14);
    if (size > 0)
        input.h = input.w = (int)size;
    struct gr_layer **cut = graft_scratch(L, (size_t)network->net->layer_count, sizeof *cut);
    struct gr_frozen prefix;
    graft_no_finalizer(L, "core.cut");
    graft_lock(network);
    int status = graft_unlock(network, gr_frozen_find(&prefix, network->net, input));
    int count = prefix.layer_count;
    size_t bytes = prefix.floats * sizeof(float);
    for (int i = 0; i < count; i++)
        cut[i] = prefix.layers[i];
    gr_frozen_clear(&prefix);
    graft_check_in(L, status, "core.cut");
    push_layers(L, cut, count);
    lua_pushinteger(L, (lua_Integer)bytes);
    return 2;
}

/* ---- outputs ---- */

struct telling {
    lua_State *L;
    int set, function; /* stack indices */
    const struct gr_output_batch *batch;
};

/* Calls the function with a batch. In a call of its own, since it may raise. */
static int tell(lua_State *L) {
    const struct telling *telling = lua_touserdata(L, 1);
    const struct gr_output_batch *batch = telling->batch;
    struct gr_shape shape = batch->shape[0];
    const struct gr_dataset *data = graft_check_set(L, 2, "core.outputs")->set->data;
    int64_t sizes[] = {batch->n, shape.c, shape.h, shape.w};
    lua_settop(L, 3);
    struct gr_tensor *output = graft_new_tensor(L);
    int status = gr_tensor_reserve(output, GR_F32, shape.flat ? 2 : 4, sizes);
    if (!status)
        status = graft_from_inner(output, batch->n, shape, batch->output[0]);
    graft_made_tensor(L, status, "core.outputs");
    lua_createtable(L, batch->n, 0);
    lua_createtable(L, batch->n, 0);
    for (int i = 0; i < batch->n; i++) {
        lua_pushstring(L, data->samples[batch->samples[i]].file);
        lua_rawseti(L, -3, i + 1);
        graft_push_class(L, data, batch->samples[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_call(L, 3, 0);
    return 0;
}

static int on_output(void *payload, const struct gr_output_batch *batch) {
    struct telling *telling = payload;
    lua_State *L = telling->L;
    GR_TRY(graft_poll(L));
    if (!lua_checkstack(L, 8))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a function");
    telling->batch = batch;
    lua_pushcfunction(L, tell);
    lua_pushlightuserdata(L, telling);
    lua_pushvalue(L, telling->set);
    lua_pushvalue(L, telling->function);
    return graft_callback(L, 3, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

void graft_pass(lua_State *L, const char *who, struct gr_outputs_options *options, graft_pass_body *run,
                void *payload) {
    struct graft_network *network = graft_check_network(L, 1, who);
    const struct gr_set *set = graft_check_set(L, 2, who)->set;
    struct graft_dataset *dataset = graft_dataset_of(L, 2);
    int size = (int)graft_field_integer(L, 4, who, "size", set->data->size, 0, 1 << 14), status = GR_OK;
    options->input = network->net->input;
    options->precision = graft_field_precision(L, 4, who);
    if (size > 0)
        options->input.h = options->input.w = size;
    dataset->loaders++;
    graft_lock(network);
    struct gr_features *features =
        graft_remembered(L, network->net, set, options->input, options->precision, &status);
    options->features = features;
    if (!status)
        status = run(payload, network->net, set, options);
    gr_features_free(features);
    dataset->loaders--;
    graft_check_in(L, graft_unlock(network, status), who);
}

static int run_outputs(void *layer, struct gr_network *net, const struct gr_set *set,
                       const struct gr_outputs_options *options) {
    struct gr_layer *layers[] = {layer};
    return gr_outputs(net, set, layers, 1, options);
}

/* core.outputs(net, set, layer, {size=, prefix=}, function(T, files, classes)) */
static int core_outputs(lua_State *L) {
    static const char who[] = "core.outputs";
    static const char *const known[] = {"size", "prefix", NULL};
    struct graft_network *network = graft_check_network(L, 1, who);
    graft_check_set(L, 2, who);
    const char *name = graft_string(L, 3, who, "the layer");
    graft_no_finalizer(L, who);
    lua_settop(L, 5);
    graft_known(L, 4, who, known);
    if (!lua_isfunction(L, 5))
        return graft_bad_argument(L, who, 5, "what gets the batches", "a function");
    struct gr_layer *layer = gr_network_end(network->net, name);
    graft_check_in(L, layer ? GR_OK : gr_error()->code, who);
    struct telling telling = {.L = L, .set = 2, .function = 5};
    struct gr_outputs_options options = {.each = on_output, .payload = &telling};
    graft_pass(L, who, &options, run_outputs, layer);
    return 0;
}

void graft_open_features(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"layers", features_layers},
        {"bytes", features_bytes},
        {"photos", features_photos},
        {"found", features_found},
        {"in_file", features_in_file},
        {"close", features_close},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"features", core_features},     {"cut", core_cut},
                                         {"outputs", core_outputs},       {"forget", core_forget},
                                         {"remembered", core_remembered}, {NULL, NULL}};
    graft_class(L, TYPE, methods, features_collect);
    luaL_setfuncs(L, functions, 0);
}
