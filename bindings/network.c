/* Networks: the userdata, and everything that looks at one. */
#include "network.h"

#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "error.h"
#include "layers/custom.h"
#include "state.h"
#include "tensor.h"
#include "value.h"

static const char TYPE[] = "graft.network";

struct graft_network *graft_new_network(lua_State *L) {
    struct graft_network *network = lua_newuserdatauv(L, sizeof *network, 0);
    memset(network, 0, sizeof *network);
    luaL_setmetatable(L, TYPE);
    return network;
}

struct graft_network *graft_check_network(lua_State *L, int index, const char *who) {
    struct graft_network *network = luaL_testudata(L, index, TYPE);
    if (!network)
        graft_bad_argument(L, who, index, "the network", "a network");
    if (!network->net)
        graft_fail(L, GR_ERROR_OPTION, "%s: this network was closed", who);
    return network;
}

struct graft_network *graft_change_network(lua_State *L, int index, const char *who) {
    struct graft_network *network = graft_check_network(L, index, who);
    graft_no_finalizer(L, who);
    if (network->locked > 0)
        graft_fail(L, GR_ERROR_OPTION,
                   "%s: this network is at work just now; a function that it calls cannot change it", who);
    return network;
}

void graft_lock(struct graft_network *network) {
    network->locked++;
}

int graft_unlock(struct graft_network *network, int status) {
    network->locked--;
    return status;
}

static size_t bytes_of(const struct gr_network *net) {
    size_t bytes = 0;
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++)
            bytes += gr_tensor_bytes(&net->layers[i]->params[p].tensor);
    return bytes;
}

int graft_made_network(lua_State *L, int status, const char *who) {
    struct graft_network *network = lua_touserdata(L, -1);
    graft_check_in(L, status, who);
    graft_charge(L, bytes_of(network->net));
    return 1;
}

/* Gives up the compiled plans. */
static void forget_plans(struct graft_network *network) {
    for (int i = 0; i < GRAFT_PLANS; i++) {
        gr_plan_free(network->plans[i].plan);
        gr_free(network->plans[i].outputs);
        network->plans[i] = (struct graft_plan){0};
    }
}

static int network_collect(lua_State *L) {
    struct graft_network *network = luaL_checkudata(L, 1, TYPE);
    forget_plans(network);
    gr_network_free(network->net);
    network->net = NULL;
    return 0;
}

static int network_close(lua_State *L) {
    const struct graft_network *network = luaL_testudata(L, 1, TYPE);
    if (!network)
        return graft_bad_argument(L, "net:close", 1, "the network", "a network");
    if (graft_in_finalizer(L))
        return 0;
    if (network->users > 0)
        return graft_fail(L, GR_ERROR_OPTION,
                          "net:close: this network is being trained; close its trainer first");
    if (network->net)
        graft_change_network(L, 1, "net:close");
    return network_collect(L);
}

static int network_closed(lua_State *L) {
    const struct graft_network *network = luaL_checkudata(L, 1, TYPE);
    lua_pushboolean(L, !network->net);
    return 1;
}

static int network_busy(lua_State *L) {
    lua_pushboolean(L, graft_check_network(L, 1, "net:busy")->users > 0);
    return 1;
}

/* ---- facts ---- */

static struct gr_network *check(lua_State *L, const char *who) {
    return graft_check_network(L, 1, who)->net;
}

static int network_name(lua_State *L) {
    lua_pushstring(L, check(L, "net:name")->name);
    return 1;
}

static int network_head(lua_State *L) {
    lua_pushstring(L, check(L, "net:head")->head);
    return 1;
}

/* The layer whose output is the logits. */
static int network_output(lua_State *L) {
    const struct gr_network *net = check(L, "net:output");
    lua_pushstring(L, net->output ? net->output->name : NULL);
    return 1;
}

static int network_version(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)check(L, "net:version")->version);
    return 1;
}

static int network_input_shape(lua_State *L) {
    graft_push_shape(L, check(L, "net:input_shape")->input);
    return 1;
}

static int network_output_shape(lua_State *L) {
    const struct gr_network *net = check(L, "net:output_shape");
    graft_push_shape(L, net->output->shape);
    return 1;
}

static int network_stages(lua_State *L) {
    const struct gr_network *net = check(L, "net:stages");
    graft_push_strings(L, (const char *const *)net->stages, net->stage_count);
    return 1;
}

static int network_classes(lua_State *L) {
    const struct gr_network *net = check(L, "net:classes");
    graft_push_strings(L, (const char *const *)net->classes, net->class_count);
    return 1;
}

static int network_multilabel(lua_State *L) {
    lua_pushboolean(L, check(L, "net:multilabel")->multilabel);
    return 1;
}

static int network_exact(lua_State *L) {
    lua_pushboolean(L, check(L, "net:exact")->exact);
    return 1;
}

static void push_three(lua_State *L, const float values[3]) {
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        lua_pushnumber(L, (lua_Number)values[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

static int network_preprocessing(lua_State *L) {
    const struct gr_preprocessing *p = &check(L, "net:preprocessing")->preprocessing;
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, p->resize);
    lua_setfield(L, -2, "resize");
    lua_pushboolean(L, p->stretch);
    lua_setfield(L, -2, "stretch");
    lua_pushstring(L, p->interpolation == GR_BICUBIC ? "bicubic" : "bilinear");
    lua_setfield(L, -2, "interpolation");
    push_three(L, p->mean);
    lua_setfield(L, -2, "mean");
    push_three(L, p->std);
    lua_setfield(L, -2, "std");
    lua_pushboolean(L, p->bgr);
    lua_setfield(L, -2, "bgr");
    return 1;
}

static int network_metadata(lua_State *L) {
    const struct gr_network *net = check(L, "net:metadata");
    lua_newtable(L);
    for (const cJSON *item = net->metadata ? net->metadata->child : NULL; item; item = item->next) {
        if (!cJSON_IsString(item))
            continue;
        lua_pushstring(L, item->valuestring);
        lua_setfield(L, -2, item->string);
    }
    return 1;
}

static int network_describe(lua_State *L) {
    const struct gr_network *net = check(L, "net:describe");
    void **held = graft_hold_json(L);
    *held = gr_network_describe(net);
    if (!*held)
        return graft_raise(L);
    graft_check(L, graft_from_json(L, *held));
    graft_drop(held);
    return 1;
}

/* ---- layers ---- */

static int64_t count_parameters(const struct gr_layer *layer) {
    int64_t count = 0;
    for (int p = 0; p < layer->param_count; p++)
        if (!layer->params[p].buffer)
            count += gr_tensor_count(&layer->params[p].tensor);
    return count;
}

static void set_boolean(lua_State *L, const char *key, bool value) {
    lua_pushboolean(L, value);
    lua_setfield(L, -2, key);
}

static void push_options(lua_State *L, const struct gr_layer *layer) {
    void **held = graft_hold_json(L);
    *held = gr_options_write(layer->kind->options, layer->options);
    if (!*held)
        graft_raise(L);
    graft_check(L, graft_from_json(L, *held));
    graft_drop(held);
    lua_remove(L, -2);
}

static void push_row(lua_State *L, const struct gr_network *net, const struct gr_layer *layer) {
    int64_t parameters = count_parameters(layer);
    int stage = gr_network_stage(net, layer);
    lua_createtable(L, 0, 16);
    lua_pushstring(L, layer->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, layer->kind->name);
    lua_setfield(L, -2, "kind");
    graft_push_shape(L, layer->shape);
    lua_setfield(L, -2, "shape");
    lua_pushinteger(L, (lua_Integer)parameters);
    lua_setfield(L, -2, "parameters");
    lua_pushnumber(L, (lua_Number)layer->lr_scale);
    lua_setfield(L, -2, "lr_scale");
    set_boolean(L, "trained", parameters > 0 && !layer->frozen);
    set_boolean(L, "frozen", layer->frozen);
    set_boolean(L, "fixed_norm", layer->fixed_norm);
    set_boolean(L, "head", layer->head);
    set_boolean(L, "aux", layer->aux);
    set_boolean(L, "norm", layer->kind->affine && gr_layer_param(layer, "running_mean"));
    if (stage >= 0) {
        lua_pushstring(L, net->stages[stage]);
        lua_setfield(L, -2, "stage");
    }
    if (layer->source) {
        lua_pushstring(L, layer->source);
        lua_setfield(L, -2, "source");
    }
    lua_createtable(L, layer->input_count, 0);
    for (int i = 0; i < layer->input_count; i++) {
        lua_pushstring(L, layer->inputs[i]->name);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "inputs");
    lua_createtable(L, layer->param_count, 0);
    for (int p = 0; p < layer->param_count; p++) {
        lua_pushstring(L, layer->params[p].name);
        lua_rawseti(L, -2, p + 1);
    }
    lua_setfield(L, -2, "tensors");
    push_options(L, layer);
    lua_setfield(L, -2, "options");
}

static int network_layers(lua_State *L) {
    const struct gr_network *net = check(L, "net:layers");
    lua_createtable(L, net->layer_count, 0);
    for (int i = 1; i < net->layer_count; i++) {
        push_row(L, net, net->layers[i]);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int network_choose(lua_State *L) {
    int count;
    lua_Integer n = 0;
    const struct gr_network *net = check(L, "net:choose");
    const char *const *patterns = graft_strings(L, 2, "net:choose", "the layers", &count);
    bool *chosen = graft_scratch(L, (size_t)net->layer_count, sizeof *chosen);
    graft_check_in(L, gr_network_choose(net, patterns, count, chosen), "net:choose");
    lua_newtable(L);
    for (int i = 0; i < net->layer_count; i++) {
        if (!chosen[i])
            continue;
        lua_pushstring(L, net->layers[i]->name);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int network_layer_end(lua_State *L) {
    const struct gr_network *net = check(L, "net:layer_end");
    const struct gr_layer *layer = gr_network_end(net, graft_string(L, 2, "net:layer_end", "the name"));
    if (!layer)
        return graft_raise(L);
    lua_pushstring(L, layer->name);
    return 1;
}

/* ---- tensors ---- */

static int network_tensors(lua_State *L) {
    const struct gr_network *net = check(L, "net:tensors");
    lua_Integer n = 0;
    lua_newtable(L);
    for (int i = 0; i < net->layer_count; i++) {
        const struct gr_layer *layer = net->layers[i];
        for (int p = 0; p < layer->param_count; p++) {
            const struct gr_param *param = &layer->params[p];
            lua_createtable(L, 0, 8);
            lua_pushstring(L, param->name);
            lua_setfield(L, -2, "name");
            lua_pushstring(L, layer->name);
            lua_setfield(L, -2, "layer");
            lua_pushstring(L, param->tensor.dtype == GR_F32 ? "f32" : "i64");
            lua_setfield(L, -2, "dtype");
            lua_createtable(L, param->tensor.rank, 0);
            for (int d = 0; d < param->tensor.rank; d++) {
                lua_pushinteger(L, (lua_Integer)param->tensor.shape[d]);
                lua_rawseti(L, -2, d + 1);
            }
            lua_setfield(L, -2, "shape");
            set_boolean(L, "frozen", layer->frozen);
            set_boolean(L, "buffer", param->buffer);
            set_boolean(L, "trainable", !layer->frozen && !param->buffer);
            lua_pushnumber(L, (lua_Number)layer->lr_scale);
            lua_setfield(L, -2, "lr_scale");
            lua_rawseti(L, -2, ++n);
        }
    }
    return 1;
}

static int no_tensor(lua_State *L, const struct gr_network *net, const char *who, const char *wanted) {
    size_t n = 0, count = 0;
    for (int i = 0; i < net->layer_count; i++)
        count += (size_t)net->layers[i]->param_count;
    const char **names = graft_scratch(L, count, sizeof *names);
    for (int i = 0; i < net->layer_count; i++)
        for (int p = 0; p < net->layers[i]->param_count; p++)
            names[n++] = net->layers[i]->params[p].name;
    lua_pushfstring(L, "%s: %s", who, net->name);
    return graft_no_field(L, lua_tostring(L, -1), wanted, names, count);
}

static struct gr_param *check_param(lua_State *L, const struct gr_network *net, const char *who) {
    const char *name = graft_string(L, 2, who, "the tensor's name");
    struct gr_param *param = gr_network_param(net, name);
    if (!param)
        no_tensor(L, net, who, name);
    return param;
}

static int network_get(lua_State *L) {
    const struct gr_network *net = check(L, "net:get");
    const struct gr_param *param = check_param(L, net, "net:get");
    struct gr_tensor *out = graft_new_tensor(L);
    return graft_made_tensor(L, gr_tensor_cast(out, &param->tensor, GR_F32), "net:get");
}

/* Copies values of the same shape into a parameter, whole numbers into a counter. */
static int assign(struct gr_param *param, const struct gr_tensor *values) {
    char ours[96], theirs[96];
    struct gr_tensor cast = {0};
    if (!gr_tensor_same_shape(&param->tensor, values))
        return gr_fail(GR_ERROR_SHAPE, "%s is %s, the tensor is %s", param->name,
                       gr_format_shape(param->tensor.rank, param->tensor.shape, ours),
                       gr_format_shape(values->rank, values->shape, theirs));
    GR_TRY(gr_tensor_cast(&cast, values, param->tensor.dtype));
    if (param->tensor.dtype == GR_F32)
        memcpy(gr_tensor_floats(&param->tensor), gr_tensor_floats(&cast), gr_tensor_bytes(&cast));
    else
        memcpy(gr_tensor_integers(&param->tensor), gr_tensor_integers(&cast), gr_tensor_bytes(&cast));
    gr_tensor_release(&cast);
    gr_param_touch(param);
    return GR_OK;
}

static int network_set(lua_State *L) {
    struct gr_network *net = graft_change_network(L, 1, "net:set")->net;
    struct gr_param *param = check_param(L, net, "net:set");
    graft_check_in(L, assign(param, graft_tensor_argument(L, 3, "net:set", "the values")), "net:set");
    lua_settop(L, 1);
    return 1;
}

static int network_parameters(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)gr_network_parameters(check(L, "net:parameters"), lua_toboolean(L, 2)));
    return 1;
}

static int network_digest(lua_State *L) {
    char hex[65];
    int tensors = 0;
    graft_check(L, gr_network_digest(check(L, "net:digest"), lua_toboolean(L, 2), hex, &tensors));
    lua_pushstring(L, hex);
    lua_pushinteger(L, tensors);
    return 2;
}

static int network_aux(lua_State *L) {
    const struct gr_network *net = check(L, "net:aux");
    lua_createtable(L, net->aux_count, 0);
    for (int i = 0; i < net->aux_count; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, net->aux[i].at);
        lua_setfield(L, -2, "at");
        lua_pushstring(L, net->aux[i].output->name);
        lua_setfield(L, -2, "output");
        lua_pushnumber(L, (lua_Number)net->aux[i].weight);
        lua_setfield(L, -2, "weight");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int network_tostring(lua_State *L) {
    const struct graft_network *network = luaL_checkudata(L, 1, TYPE);
    if (network->net)
        lua_pushfstring(L, "network %s", network->net->name);
    else
        lua_pushliteral(L, "network (closed)");
    return 1;
}

/* ---- kinds ---- */

static void push_option(lua_State *L, const struct gr_option *option) {
    static const char *const types[] = {
        [GR_OPTION_INT] = "integer", [GR_OPTION_FLOAT] = "number",    [GR_OPTION_BOOL] = "boolean",
        [GR_OPTION_PAIR] = "pair",   [GR_OPTION_PADDING] = "padding", [GR_OPTION_STRING] = "string",
        [GR_OPTION_JSON] = "table"};
    lua_createtable(L, 0, 4);
    lua_pushstring(L, option->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, types[option->type]);
    lua_setfield(L, -2, "type");
    set_boolean(L, "required", option->required);
    if (option->required || option->type == GR_OPTION_STRING || option->type == GR_OPTION_JSON)
        return;
    if (option->type == GR_OPTION_BOOL)
        lua_pushboolean(L, option->fallback != 0);
    else if (option->type == GR_OPTION_FLOAT)
        lua_pushnumber(L, option->fallback);
    else
        lua_pushinteger(L, (lua_Integer)option->fallback);
    lua_setfield(L, -2, "default");
}

static int core_kinds(lua_State *L) {
    lua_newtable(L);
    for (int k = 0; gr_layer_kinds[k]; k++) {
        const struct gr_layer_kind *kind = gr_layer_kinds[k];
        lua_createtable(L, 0, 5);
        lua_pushstring(L, kind->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, kind->summary);
        lua_setfield(L, -2, "summary");
        lua_pushinteger(L, kind->inputs_min);
        lua_setfield(L, -2, "inputs");
        set_boolean(L, "weights", kind->parameters != NULL);
        lua_newtable(L);
        for (int i = 0; kind->options && kind->options[i].name; i++) {
            push_option(L, &kind->options[i]);
            lua_rawseti(L, -2, i + 1);
        }
        lua_setfield(L, -2, "options");
        lua_rawseti(L, -2, k + 1);
    }
    return 1;
}

static int core_network(lua_State *L) {
    lua_settop(L, 4);
    const char *name = graft_string(L, 1, "core.network", "the name");
    struct gr_shape input = graft_shape(L, 2, "core.network");
    uint64_t seed = (uint64_t)luaL_optinteger(L, 4, (lua_Integer)graft_state(L)->seed);
    struct graft_network *network = graft_new_network(L);
    graft_check(L, gr_network_create(&network->net, name, input, NULL, seed));
    graft_preprocessing(L, 3, "preprocessing", &network->net->preprocessing);
    return graft_made_network(L, GR_OK, "core.network");
}

static int core_build(lua_State *L) {
    cJSON *json = NULL;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    uint64_t seed = (uint64_t)luaL_optinteger(L, 2, (lua_Integer)graft_state(L)->seed);
    void **held = graft_hold_json(L);
    struct graft_network *network = graft_new_network(L);
    int status = graft_to_json(L, 1, &json);
    *held = json;
    graft_check_in(L, status, "core.build");
    status = gr_network_build(&network->net, json, seed);
    graft_drop(held);
    return graft_made_network(L, status, "core.build");
}

static const luaL_Reg looking[] = {
    {"close", network_close},
    {"closed", network_closed},
    {"busy", network_busy},
    {"name", network_name},
    {"head", network_head},
    {"output", network_output},
    {"version", network_version},
    {"input_shape", network_input_shape},
    {"output_shape", network_output_shape},
    {"stages", network_stages},
    {"classes", network_classes},
    {"multilabel", network_multilabel},
    {"exact", network_exact},
    {"preprocessing", network_preprocessing},
    {"metadata", network_metadata},
    {"describe", network_describe},
    {"layers", network_layers},
    {"choose", network_choose},
    {"layer_end", network_layer_end},
    {"tensors", network_tensors},
    {"get", network_get},
    {"set", network_set},
    {"parameters", network_parameters},
    {"digest", network_digest},
    {"aux", network_aux},
    {NULL, NULL},
};

void graft_open_network(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"kinds", core_kinds},
        {"network", core_network},
        {"build", core_build},
        {NULL, NULL},
    };
    graft_class(L, TYPE, looking, network_collect);
    luaL_getmetatable(L, TYPE);
    lua_pushcfunction(L, network_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_getfield(L, -1, "__index");
    luaL_setfuncs(L, graft_network_building, 0);
    luaL_setfuncs(L, graft_network_running, 0);
    lua_pop(L, 2);
    luaL_setfuncs(L, functions, 0);
}
