/* Weights files and models: the userdata "graft.weights", and core's functions that save and load. */
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "error.h"
#include "io/model.h"
#include "io/onnx.h"
#include "io/weights.h"
#include "network.h"
#include "state.h"
#include "tensor.h"
#include "train/snapshot.h"
#include "training.h"
#include "value.h"

static const char TYPE[] = "graft.weights", SNAPSHOT[] = "graft.snapshot";

struct weights {
    struct gr_weights *list; /* NULL: closed */
    int readers;             /* calls under way that may ask a script's functions: no closing meanwhile */
};

static struct weights *new_weights(lua_State *L) {
    struct weights *weights = lua_newuserdatauv(L, sizeof *weights, 0);
    *weights = (struct weights){0};
    luaL_setmetatable(L, TYPE);
    return weights;
}

static struct gr_weights *check(lua_State *L, const char *who) {
    struct weights *weights = luaL_testudata(L, 1, TYPE);
    if (!weights)
        graft_bad_argument(L, who, 1, "the weights", "a weights file opened by core.weights");
    if (!weights->list)
        graft_fail(L, GR_ERROR_OPTION, "%s: these weights were closed", who);
    return weights->list;
}

static int weights_collect(lua_State *L) {
    struct weights *weights = luaL_checkudata(L, 1, TYPE);
    gr_weights_free(weights->list);
    weights->list = NULL;
    return 0;
}

static int weights_close(lua_State *L) {
    const struct weights *weights = luaL_checkudata(L, 1, TYPE);
    if (weights->readers > 0)
        return graft_fail(L, GR_ERROR_OPTION, "weights:close: a network is being made of them");
    return graft_in_finalizer(L) ? 0 : weights_collect(L);
}

static size_t bytes_of(const struct gr_weights *list) {
    size_t bytes = 0;
    for (int i = 0; i < list->count; i++)
        bytes += gr_tensor_bytes(&list->items[i].tensor);
    return bytes;
}

static int core_weights(lua_State *L) {
    const char *path = graft_string(L, 1, "core.weights", "the path");
    struct weights *weights = new_weights(L);
    graft_check(L, gr_weights_read(&weights->list, path));
    graft_charge(L, bytes_of(weights->list));
    return 1;
}

static void push_sizes(lua_State *L, const struct gr_tensor *tensor) {
    lua_createtable(L, tensor->rank, 0);
    for (int d = 0; d < tensor->rank; d++) {
        lua_pushinteger(L, (lua_Integer)tensor->shape[d]);
        lua_rawseti(L, -2, d + 1);
    }
}

static int weights_tensors(lua_State *L) {
    const struct gr_weights *list = check(L, "weights:tensors");
    lua_createtable(L, list->count, 0);
    for (int i = 0; i < list->count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, list->items[i].name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, list->items[i].dtype);
        lua_setfield(L, -2, "dtype");
        push_sizes(L, &list->items[i].tensor);
        lua_setfield(L, -2, "shape");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int weights_get(lua_State *L) {
    const struct gr_weights *list = check(L, "weights:get");
    const char *name = graft_string(L, 2, "weights:get", "the tensor's name");
    const struct gr_weight *found = gr_weights_find(list, name);
    if (!found) {
        const char **names = graft_scratch(L, (size_t)list->count, sizeof *names);
        for (int i = 0; i < list->count; i++)
            names[i] = list->items[i].name;
        return graft_no_field(L, list->path ? list->path : "the weights", name, names, (size_t)list->count);
    }
    struct gr_tensor *out = graft_new_tensor(L);
    return graft_made_tensor(L, gr_tensor_cast(out, &found->tensor, GR_F32), "weights:get");
}

static int weights_metadata(lua_State *L) {
    const struct gr_weights *list = check(L, "weights:metadata");
    lua_createtable(L, 0, list->metadata_count);
    for (int i = 0; i < list->metadata_count; i++) {
        lua_pushstring(L, list->metadata[i].value);
        lua_setfield(L, -2, list->metadata[i].key);
    }
    return 1;
}

/* weights:record() -> what trainer:save was given with this checkpoint; nil when it is none */
static int weights_record(lua_State *L) {
    const struct gr_weights *list = check(L, "weights:record");
    const char *text = gr_weights_get(list, "graft.training");
    void **held = graft_hold_json(L);
    *held = text ? cJSON_Parse(text) : NULL;
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(*held, "record");
    if (!record)
        return 0;
    graft_check(L, graft_from_json(L, record));
    graft_drop(held);
    return 1;
}

static int weights_format(lua_State *L) {
    lua_pushstring(L, check(L, "weights:format")->format);
    return 1;
}

static int weights_path(lua_State *L) {
    lua_pushstring(L, check(L, "weights:path")->path);
    return 1;
}

/* weights:sha256() -> hex: of the file itself, as it was read */
static int weights_sha256(lua_State *L) {
    lua_pushstring(L, check(L, "weights:sha256")->sha256);
    return 1;
}

static int weights_digest(lua_State *L) {
    char hex[65];
    graft_check(L, gr_weights_digest(check(L, "weights:digest"), hex));
    lua_pushstring(L, hex);
    return 1;
}

/* ---- into a network ---- */

static void push_names(lua_State *L, const struct gr_names *names) {
    graft_push_strings(L, (const char *const *)names->names, names->count);
}

/* Holds what a report owns; closed by the collector when something raises. */
static int report_close(lua_State *L) {
    gr_apply_report_clear(lua_touserdata(L, 1));
    return 0;
}

static struct gr_apply_report *new_report(lua_State *L) {
    struct gr_apply_report *report = lua_newuserdatauv(L, sizeof *report, 0);
    memset(report, 0, sizeof *report);
    if (luaL_newmetatable(L, "graft.apply_report")) {
        lua_pushcfunction(L, report_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return report;
}

/* Pushes the same tensors under the names that the table at `map` gives them (absent: their own). */
static struct gr_weights *renamed(lua_State *L, const struct gr_weights *list, int map) {
    struct weights *out = new_weights(L);
    graft_check(L, gr_weights_create(&out->list));
    for (int i = 0; i < list->count; i++) {
        const char *name = list->items[i].name;
        lua_pushstring(L, name);
        if (lua_rawget(L, map) == LUA_TSTRING)
            name = lua_tostring(L, -1);
        graft_check(L, gr_weights_add(out->list, name, &list->items[i].tensor));
        lua_pop(L, 1);
    }
    for (int i = 0; i < list->metadata_count; i++)
        graft_check(L, gr_weights_set(out->list, list->metadata[i].key, list->metadata[i].value));
    if (list->path) {
        out->list->path = gr_strdup(list->path);
        if (!out->list->path)
            graft_raise(L);
    }
    memcpy(out->list->sha256, list->sha256, sizeof list->sha256);
    out->list->format = list->format;
    return out->list;
}

/* After their tensors were given away. */
static void spend(struct weights *weights) {
    gr_weights_free(weights->list);
    weights->list = NULL;
}

/* weights:apply(net, {allow_head=, allow_aux=, map=, source=, take=}) -> {missing=, unused=, mismatched=,
 * loaded=}
 */
static int weights_apply(lua_State *L) {
    static const char *const known[] = {"allow_head", "allow_aux", "map", "source", "take", NULL};
    const struct gr_weights *list = check(L, "weights:apply");
    struct graft_network *network = graft_change_network(L, 2, "weights:apply");
    lua_settop(L, 3);
    graft_known(L, 3, "weights:apply", known);
    struct gr_apply_options options = {
        .allow_head_mismatch = graft_field_boolean(L, 3, "weights:apply", "allow_head", false),
        .allow_missing_aux = graft_field_boolean(L, 3, "weights:apply", "allow_aux", true),
        .take = graft_field_boolean(L, 3, "weights:apply", "take", false),
        .source = graft_field_string(L, 3, "weights:apply", "source", NULL),
    };
    struct weights *own = lua_touserdata(L, 1), *other = NULL;
    if (graft_field(L, 3, "map")) {
        luaL_argcheck(L, lua_istable(L, -1), 3, "map must be a table of names");
        list = renamed(L, list, lua_gettop(L));
        other = lua_touserdata(L, -1);
    }
    if (options.take && own->readers > 0)
        return graft_fail(L, GR_ERROR_OPTION, "weights:apply: a network is being made of them");
    struct gr_apply_report *report = new_report(L);
    graft_check(L, gr_weights_apply(network->net, list, &options, report));
    if (options.take) {
        spend(own);
        if (other)
            spend(other);
    }
    lua_createtable(L, 0, 4);
    push_names(L, &report->missing);
    lua_setfield(L, -2, "missing");
    push_names(L, &report->unused);
    lua_setfield(L, -2, "unused");
    push_names(L, &report->other_shape);
    lua_setfield(L, -2, "mismatched");
    lua_pushinteger(L, report->applied);
    lua_setfield(L, -2, "loaded");
    return 1;
}

/* ---- saving and loading ---- */

/* Sets metadata from the table at `index` (nil: none): text by text. */
static void add_metadata(lua_State *L, int index, struct gr_weights *list, const char *who) {
    if (lua_isnoneornil(L, index))
        return;
    index = lua_absindex(L, index);
    if (!lua_istable(L, index))
        graft_bad_argument(L, who, index, "the metadata", "a table of texts");
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            graft_fail(L, GR_ERROR_OPTION, "%s: metadata must be texts under names", who);
        graft_check(L, gr_weights_set(list, lua_tostring(L, -2), lua_tostring(L, -1)));
    }
}

/* core.save_weights(path, {{name, T}, ...} [, metadata]) */
static int core_save_weights(lua_State *L) {
    const char *path = graft_string(L, 1, "core.save_weights", "the path");
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    struct weights *weights = new_weights(L);
    graft_check(L, gr_weights_create(&weights->list));
    for (lua_Integer i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
        if (!lua_istable(L, -1) || lua_rawgeti(L, -1, 1) != LUA_TSTRING)
            return graft_fail(L, GR_ERROR_OPTION, "core.save_weights: entry %d must be {name, tensor}",
                              (int)i);
        lua_rawgeti(L, -2, 2);
        const struct gr_tensor *tensor = graft_check_tensor(L, -1);
        graft_check(L, gr_weights_add(weights->list, lua_tostring(L, -2), tensor));
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
    add_metadata(L, 3, weights->list, "core.save_weights");
    graft_check(L, gr_weights_write(weights->list, path));
    return 0;
}

/* core.hold_model(net) -> weights: the network as it is now, to be written later */
static int core_hold_model(lua_State *L) {
    const struct graft_network *network = graft_check_network(L, 1, "core.hold_model");
    struct weights *weights = new_weights(L);
    graft_check(L, gr_model_hold(&weights->list, network->net));
    graft_charge(L, bytes_of(weights->list));
    return 1;
}

struct gr_weights **graft_new_weights(lua_State *L) {
    return &new_weights(L)->list;
}

/* weights:write(path) */
static int weights_write(lua_State *L) {
    const struct gr_weights *list = check(L, "weights:write");
    graft_check(L, gr_weights_write(list, graft_string(L, 2, "weights:write", "the path")));
    return 0;
}

/* core.save_model(net, path, {aux=, metadata=}) */
static int core_save_model(lua_State *L) {
    static const char *const known[] = {"aux", "metadata", NULL};
    const struct graft_network *network = graft_check_network(L, 1, "net:save");
    const char *path = graft_string(L, 2, "net:save", "the path");
    lua_settop(L, 3);
    graft_known(L, 3, "net:save", known);
    bool aux = graft_field_boolean(L, 3, "net:save", "aux", false);
    struct weights *weights = new_weights(L);
    graft_check(L, gr_model_pack(&weights->list, network->net, aux));
    if (graft_field(L, 3, "metadata"))
        add_metadata(L, -1, weights->list, "net:save");
    graft_check(L, gr_weights_write(weights->list, path));
    return 0;
}

/* weights:model([take]) -> net: the architecture that the file holds, with its values */
static int weights_model(lua_State *L) {
    bool take = lua_toboolean(L, 2);
    const struct gr_weights *list = check(L, "weights:model");
    const char *path = list->path ? list->path : "the weights";
    struct graft_network *network = graft_new_network(L);
    if (!gr_model_is(list))
        return graft_fail(L, GR_ERROR_FILE,
                          "%s: holds weights but no architecture, so it is no model file of Graft", path);
    struct weights *weights = lua_touserdata(L, 1);
    if (take && weights->readers > 0)
        return graft_fail(L, GR_ERROR_OPTION, "weights:model: a network is being made of them");
    weights->readers++;
    int status = gr_model_load(&network->net, list, graft_state(L)->seed, take);
    weights->readers--;
    if (status)
        gr_fail_in("%s", path);
    graft_check(L, status);
    if (take)
        spend(weights);
    return graft_made_network(L, GR_OK, "weights:model");
}

/* core.load_model(path) -> net */
static int core_load_model(lua_State *L) {
    const char *path = graft_string(L, 1, "core.load_model", "the path");
    struct weights *weights = new_weights(L);
    graft_check(L, gr_weights_read(&weights->list, path));
    lua_replace(L, 1);
    lua_settop(L, 1);
    lua_pushboolean(L, true);
    return weights_model(L);
}

/* ---- export ---- */

static int operators_close(lua_State *L) {
    gr_operators_free(lua_touserdata(L, 1));
    return 0;
}

static struct gr_operators *new_operators(lua_State *L) {
    struct gr_operators *operators = lua_newuserdatauv(L, sizeof *operators, 0);
    *operators = (struct gr_operators){0};
    if (luaL_newmetatable(L, "graft.operators")) {
        lua_pushcfunction(L, operators_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return operators;
}

static void push_outputs(lua_State *L, const struct gr_operators *operators) {
    lua_createtable(L, operators->output_count, 0);
    for (int i = 0; i < operators->output_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, operators->outputs[i].name);
        lua_setfield(L, -2, "name");
        graft_push_shape(L, operators->outputs[i].shape);
        lua_setfield(L, -2, "shape");
        lua_rawseti(L, -2, i + 1);
    }
}

/* core.export(net, path, {aux=}) -> {operators=, parameters=, operator_set=, bytes=, outputs=, left_out=} */
static int core_export(lua_State *L) {
    static const char *const known[] = {"aux", NULL};
    const struct graft_network *network = graft_check_network(L, 1, "net:export");
    const char *path = graft_string(L, 2, "net:export", "the path");
    uint64_t bytes = 0;
    lua_settop(L, 3);
    graft_known(L, 3, "net:export", known);
    bool aux = graft_field_boolean(L, 3, "net:export", "aux", false);
    struct gr_operators *operators = new_operators(L);
    int status = gr_operators_make(operators, network->net, aux);
    if (status)
        gr_fail_in("%s", path);
    graft_check(L, status);
    graft_check(L, gr_onnx_write(operators, path, GRAFT_VERSION, &bytes));
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, operators->count);
    lua_setfield(L, -2, "operators");
    lua_pushinteger(L, (lua_Integer)operators->parameters);
    lua_setfield(L, -2, "parameters");
    lua_pushinteger(L, GR_OPERATOR_SET);
    lua_setfield(L, -2, "operator_set");
    lua_pushinteger(L, (lua_Integer)bytes);
    lua_setfield(L, -2, "bytes");
    push_outputs(L, operators);
    lua_setfield(L, -2, "outputs");
    graft_push_strings(L, (const char *const *)operators->left_out, operators->left_out_count);
    lua_setfield(L, -2, "left_out");
    gr_operators_free(operators);
    return 1;
}

/* ---- snapshots ---- */

struct snapshot {
    struct gr_snapshot *snapshot;
};

static int snapshot_collect(lua_State *L) {
    struct snapshot *held = luaL_checkudata(L, 1, SNAPSHOT);
    gr_snapshot_free(held->snapshot);
    held->snapshot = NULL;
    return 0;
}

static int snapshot_close(lua_State *L) {
    return graft_in_finalizer(L) ? 0 : snapshot_collect(L);
}

static struct gr_snapshot *check_snapshot(lua_State *L, const char *who) {
    struct snapshot *held = luaL_checkudata(L, 1, SNAPSHOT);
    if (!held->snapshot)
        graft_fail(L, GR_ERROR_OPTION, "%s: this snapshot was closed", who);
    return held->snapshot;
}

/* core.snapshot(net [, trainable_only]) */
static int core_snapshot(lua_State *L) {
    const struct graft_network *network = graft_check_network(L, 1, "core.snapshot");
    bool trainable_only = lua_toboolean(L, 2);
    struct snapshot *held = lua_newuserdatauv(L, sizeof *held, 0);
    held->snapshot = NULL;
    luaL_setmetatable(L, SNAPSHOT);
    graft_check(L, gr_snapshot_take(&held->snapshot, network->net, trainable_only));
    return 1;
}

static int snapshot_restore(lua_State *L) {
    const struct gr_snapshot *snapshot = check_snapshot(L, "snapshot:restore");
    graft_check(L, gr_snapshot_restore(snapshot, graft_change_network(L, 2, "snapshot:restore")->net));
    return 0;
}

void graft_open_weights(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"tensors", weights_tensors},
        {"get", weights_get},
        {"model", weights_model},
        {"metadata", weights_metadata},
        {"format", weights_format},
        {"path", weights_path},
        {"digest", weights_digest},
        {"sha256", weights_sha256},
        {"record", weights_record},
        {"apply", weights_apply},
        {"write", weights_write},
        {"close", weights_close},
        {NULL, NULL},
    };
    static const luaL_Reg snapshot_methods[] = {
        {"restore", snapshot_restore},
        {"close", snapshot_close},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"weights", core_weights},       {"save_weights", core_save_weights},
        {"save_model", core_save_model}, {"load_model", core_load_model},
        {"export", core_export},         {"hold_model", core_hold_model},
        {"snapshot", core_snapshot},     {NULL, NULL},
    };
    graft_class(L, TYPE, methods, weights_collect);
    graft_class(L, SNAPSHOT, snapshot_methods, snapshot_collect);
    luaL_setfuncs(L, functions, 0);
}
