/* The feature cache: core.cut, core.features and the userdata "graft.features". */
#include "feature_cache.h"

#include "arguments.h"
#include "base/memory.h"
#include "data.h"
#include "error.h"
#include "network.h"
#include "state.h"

static const char TYPE[] = "graft.features";

enum { USER_NETWORK = 1, USER_DATA, USER_VALUES = 2 };

struct features {
    struct gr_features *features; /* NULL: closed */
    struct graft_network *network;
    struct graft_dataset *dataset; /* stays open as long: rows are found by the number of a photo in it */
    int users;                     /* trainers and loops that read them: they cannot be closed meanwhile */
};

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
    push_layers(L, features->layers, features->layer_count);
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

struct making {
    lua_State *L;
    int progress; /* stack index of the function, or 0 */
};

static int on_progress(void *payload, int64_t done, int64_t total) {
    const struct making *making = payload;
    lua_State *L = making->L;
    GR_TRY(graft_poll(L));
    if (!making->progress)
        return GR_OK;
    if (!lua_checkstack(L, 4))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a function");
    lua_pushvalue(L, making->progress);
    lua_pushinteger(L, (lua_Integer)done);
    lua_pushinteger(L, (lua_Integer)total);
    return graft_callback(L, 2, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

/* core.features(net, list of sets, {batch_size=, budget=, size=, progress=}) -> features | nil */
static int core_features(lua_State *L) {
    static const char who[] = "core.features";
    static const char *const known[] = {"batch_size", "budget", "size", "progress", NULL};
    struct graft_network *network = graft_check_network(L, 1, who);
    graft_no_finalizer(L, who);
    if (!lua_istable(L, 2))
        return graft_bad_argument(L, who, 2, "the sets", "a list");
    lua_settop(L, 3);
    graft_known(L, 3, who, known);
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    if (count < 1 || count > 64)
        return graft_fail(L, GR_ERROR_OPTION, "%s: expected 1 to 64 sets, got %d", who, (int)count);
    const struct gr_set **sets = graft_scratch(L, (size_t)count, sizeof *sets);
    struct graft_dataset *dataset = NULL;
    for (int i = 0; i < (int)count; i++) {
        lua_rawgeti(L, 2, i + 1);
        sets[i] = graft_check_set(L, lua_gettop(L), who)->set;
        dataset = graft_dataset_of(L, lua_gettop(L));
        if (i > 0)
            lua_pop(L, 1); /* the first stays, and with it the data */
        if (sets[i]->data != sets[0]->data)
            return graft_fail(L, GR_ERROR_OPTION, "%s: the sets must be of one data set", who);
    }
    struct making making = {L, 0};
    struct gr_features_options options = {
        .input = network->net->input,
        .batch_size = (int)graft_field_integer(L, 3, who, "batch_size", 0, 0, 1 << 16),
        .budget = (size_t)graft_field_integer(L, 3, who, "budget", 1 << 30, 0, LUA_MAXINTEGER),
        .progress = on_progress,
        .payload = &making,
    };
    int size = (int)graft_field_integer(L, 3, who, "size", sets[0]->data->size, 0, 1 << 14);
    if (size > 0)
        options.input.h = options.input.w = size;
    int first = lua_gettop(L);
    if (graft_field(L, 3, "progress"))
        making.progress = lua_gettop(L);
    struct features *held = lua_newuserdatauv(L, sizeof *held, USER_VALUES);
    *held = (struct features){0};
    luaL_setmetatable(L, TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, USER_NETWORK);
    lua_pushvalue(L, first);
    lua_setiuservalue(L, -2, USER_DATA);
    dataset->loaders++;
    graft_lock(network);
    int status = gr_features_create(&held->features, network->net, sets, (int)count, &options);
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

/* core.cut(net) -> list of layer names (empty: nothing can be kept), bytes a photo */
static int core_cut(lua_State *L) {
    const struct gr_network *net = graft_check_network(L, 1, "core.cut")->net;
    struct gr_layer **cut = graft_scratch(L, (size_t)net->layer_count, sizeof *cut);
    size_t bytes = 0;
    int count = 0;
    graft_check(L, gr_features_size(net, cut, &count, &bytes));
    push_layers(L, cut, count);
    lua_pushinteger(L, (lua_Integer)bytes);
    return 2;
}

void graft_open_features(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"layers", features_layers},
        {"bytes", features_bytes},
        {"photos", features_photos},
        {"close", features_close},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"features", core_features}, {"cut", core_cut}, {NULL, NULL}};
    graft_class(L, TYPE, methods, features_collect);
    luaL_setfuncs(L, functions, 0);
}
