/* Kinds of layers written in Lua. */
#include "layers/custom.h"

#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "error.h"
#include "tensor.h"
#include "tensor/arithmetic.h"
#include "training.h"
#include "value.h"

static const char TYPE[] = "graft.kind";

enum { USER_LAYER = 1, USER_THREAD, USER_SAVED, USER_ROLES, USER_VALUES = 4 };

/* User values: the table given to register_layer; a thread to make others from; what forward saved for
 * backward, by use; the texts of roles. The runtime calls back with this as payload, which is its key in the
 * registry too. */
struct kind {
    lua_State *thread;
    char *name;
    bool registered;
};

/* ---- calling Lua: every callback fills a job and runs one C function under lua_pcall ---- */

struct job {
    struct kind *kind;
    lua_State *thread;
    const cJSON *options;
    int inputs;
    const struct gr_shape *in;
    struct gr_shape *shape;      /* of `shape` */
    struct gr_param_spec *specs; /* of `parameters` */
    int spec_count;
    const struct gr_custom_pass *pass; /* of forward and backward */
};

/* Makes the thread of a job; the registry keeps it under the job's address. */
static int make_thread(lua_State *T) {
    struct job *job = lua_touserdata(T, 1);
    job->thread = lua_newthread(T);
    luaL_checkstack(job->thread, 8, "a layer's function");
    lua_rawsetp(T, LUA_REGISTRYINDEX, job);
    return 0;
}

/* Each call has a thread of its own: calls may be nested, and a script that keeps coroutine.running() of one
 * may do with it what it likes afterwards. */
static int run(struct kind *kind, lua_CFunction function, struct job *job) {
    if (!lua_checkstack(kind->thread, 4))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a layer written in Lua");
    lua_pushcfunction(kind->thread, make_thread);
    lua_pushlightuserdata(kind->thread, job);
    if (lua_pcall(kind->thread, 1, 0, 0) != LUA_OK) {
        lua_pop(kind->thread, 1);
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a layer written in Lua");
    }
    lua_State *T = job->thread;
    lua_pushcfunction(T, function);
    lua_pushlightuserdata(T, job);
    lua_rawgetp(T, LUA_REGISTRYINDEX, kind);
    int status = graft_callback(T, 2, 0) == LUA_OK ? GR_OK : graft_keep_error(T);
    lua_pushnil(T);
    lua_rawsetp(T, LUA_REGISTRYINDEX, job);
    return status;
}

/* In a job's function: pushes the layer's table (index 3) and returns the job. */
static struct job *begin(lua_State *T) {
    lua_getiuservalue(T, 2, USER_LAYER);
    return lua_touserdata(T, 1);
}

static void push_options(lua_State *T, const cJSON *options) {
    if (options)
        graft_check(T, graft_from_json(T, options));
    else
        lua_newtable(T);
}

/* Pushes the shape of the only input, or a list of shapes. */
static void push_shapes(lua_State *T, const struct job *job) {
    if (job->inputs == 1) {
        graft_push_shape(T, job->in[0]);
        return;
    }
    lua_createtable(T, job->inputs, 0);
    for (int i = 0; i < job->inputs; i++) {
        graft_push_shape(T, job->in[i]);
        lua_rawseti(T, -2, i + 1);
    }
}

static int call_shape(lua_State *T) {
    const struct job *job = begin(T);
    if (lua_getfield(T, 3, "shape") != LUA_TFUNCTION) {
        *job->shape = job->in[0];
        return 0;
    }
    push_shapes(T, job);
    push_options(T, job->options);
    lua_call(T, 2, 1);
    *job->shape = graft_shape(T, -1, job->kind->name);
    return 0;
}

/* Reads one entry {name=, shape=, init=, decays=} at the top into a spec; its name is kept in the table
 * `roles`. */
static void read_spec(lua_State *T, const struct job *job, int roles, struct gr_param_spec *spec) {
    static const char *const known[] = {"name", "shape", "init", "decays", NULL};
    static const char *const inits[] = {"uniform", "he", "zeros", "ones"};
    static const enum gr_init values[] = {GR_INIT_UNIFORM, GR_INIT_HE, GR_INIT_ZEROS, GR_INIT_ONES};
    int entry = lua_gettop(T);
    size_t k = 0;
    graft_known(T, entry, job->kind->name, known);
    const char *name = graft_field_string(T, entry, job->kind->name, "name", NULL);
    const char *init = graft_field_string(T, entry, job->kind->name, "init", "uniform");
    while (k < 4 && strcmp(inits[k], init) != 0)
        k++;
    if (!name || k == 4)
        graft_fail(T, GR_ERROR_OPTION,
                   "layer kind %s: a parameter needs a name, a shape, and init \"uniform\", \"he\", "
                   "\"zeros\" or \"ones\"",
                   job->kind->name);
    lua_getfield(T, entry, "shape");
    lua_Unsigned rank = lua_istable(T, -1) ? lua_rawlen(T, -1) : 0;
    if (rank < 1 || rank > 4)
        graft_fail(T, GR_ERROR_OPTION, "layer kind %s: parameter %s needs a shape of one to four sizes",
                   job->kind->name, name);
    *spec = (struct gr_param_spec){.rank = (int)rank, .init = values[k], .fan_in = 1, .fan_out = 1};
    for (int d = 0; d < spec->rank; d++) {
        lua_rawgeti(T, -1, d + 1);
        int whole = 0;
        spec->shape[d] = lua_tointegerx(T, -1, &whole);
        lua_pop(T, 1);
        if (!whole || spec->shape[d] < 1 || spec->shape[d] > 1 << 24)
            graft_fail(T, GR_ERROR_SHAPE,
                       "layer kind %s: parameter %s: sizes must be whole numbers from 1 on", job->kind->name,
                       name);
        if (d > 0)
            spec->fan_in = (int)(spec->fan_in * spec->shape[d] & 0x3fffffff);
    }
    spec->fan_out = (int)spec->shape[0];
    spec->decays = graft_field_boolean(T, entry, job->kind->name, "decays", spec->rank > 1);
    lua_getfield(T, entry, "name");
    spec->role = lua_tostring(T, -1);
    lua_pushboolean(T, 1);
    lua_rawset(T, roles); /* the text lives as long as the kind */
    lua_settop(T, entry);
}

static int call_parameters(lua_State *T) {
    struct job *job = begin(T);
    lua_getiuservalue(T, 2, USER_ROLES);
    int roles = lua_gettop(T);
    if (lua_getfield(T, 3, "parameters") == LUA_TFUNCTION) {
        push_shapes(T, job);
        push_options(T, job->options);
        lua_call(T, 2, 1);
    }
    if (lua_isnil(T, -1))
        return 0;
    if (!lua_istable(T, -1))
        return graft_fail(T, GR_ERROR_OPTION, "layer kind %s: parameters must be a list, got a %s",
                          job->kind->name, luaL_typename(T, -1));
    int list = lua_gettop(T);
    for (lua_Integer i = 1; lua_rawgeti(T, list, i) == LUA_TTABLE; i++) {
        if (i > GR_MAX_PARAMS)
            return graft_fail(T, GR_ERROR_LIMIT, "layer kind %s: at most %d parameters", job->kind->name,
                              GR_MAX_PARAMS);
        read_spec(T, job, roles, &job->specs[i - 1]);
        job->spec_count = (int)i;
        lua_pop(T, 1);
    }
    return 0;
}

/* ---- tensors lent for a call ---- */

static void lend(lua_State *T, int lent, int rank, const int64_t *sizes, const float *memory) {
    graft_check(T, gr_tensor_borrow(graft_new_tensor(T), GR_F32, rank, sizes, (float *)memory));
    lua_pushvalue(T, -1);
    lua_rawseti(T, lent, (lua_Integer)lua_rawlen(T, lent) + 1);
}

static void lend_activation(lua_State *T, int lent, int n, struct gr_shape shape, const float *memory) {
    int64_t sizes[] = {n, shape.c, shape.h, shape.w};
    lend(T, lent, shape.flat ? 2 : 4, sizes, memory);
}

/* Pushes the only input, or a list of them. */
static void lend_inputs(lua_State *T, int lent, const struct gr_custom_pass *pass) {
    if (pass->inputs == 1) {
        lend_activation(T, lent, pass->n, pass->in[0], pass->x[0]);
        return;
    }
    lua_createtable(T, pass->inputs, 0);
    for (int i = 0; i < pass->inputs; i++) {
        lend_activation(T, lent, pass->n, pass->in[i], pass->x[i]);
        lua_rawseti(T, -2, i + 1);
    }
}

/* Pushes the parameters as a list that knows their names too. */
static void lend_params(lua_State *T, int lent, const struct gr_custom_pass *pass) {
    lua_createtable(T, pass->layer->param_count, pass->layer->param_count);
    for (int p = 0; p < pass->layer->param_count; p++) {
        const struct gr_param *param = &pass->layer->params[p];
        lend(T, lent, param->tensor.rank, param->tensor.shape, pass->params[p]);
        lua_pushvalue(T, -1);
        lua_rawseti(T, -3, p + 1);
        lua_setfield(T, -2, param->role);
    }
}

static void revoke_all(lua_State *T, int lent) {
    for (lua_Integer i = 1; lua_rawgeti(T, lent, i) != LUA_TNIL; i++) {
        graft_revoke_tensor(T, -1);
        lua_pop(T, 1);
    }
    lua_pop(T, 1);
}

/* Copies the tensor at `index` into memory of this shape; `what` names it in errors. */
static void take(lua_State *T, int index, const char *kind, const char *what, int rank, const int64_t *sizes,
                 float *memory) {
    char wanted[96], came[96];
    struct gr_tensor target = {0};
    const struct gr_tensor *tensor = graft_test_tensor(T, index);
    if (!tensor)
        graft_fail(T, GR_ERROR_OPTION, "layer kind %s: %s must be a tensor, got a %s", kind, what,
                   luaL_typename(T, index));
    graft_check(T, gr_tensor_borrow(&target, GR_F32, rank, sizes, memory));
    int status =
        gr_tensor_same_shape(&target, tensor)
            ? gr_assign(&target, tensor)
            : gr_fail(GR_ERROR_SHAPE, "%s must be %s, got %s", what, gr_format_shape(rank, sizes, wanted),
                      gr_format_shape(tensor->rank, tensor->shape, came));
    gr_tensor_release(&target);
    if (status)
        gr_fail_in("layer kind %s", kind);
    graft_check(T, status);
}

static void take_activation(lua_State *T, int index, const char *kind, const char *what, int n,
                            struct gr_shape shape, float *memory) {
    int64_t sizes[] = {n, shape.c, shape.h, shape.w};
    take(T, index, kind, what, shape.flat ? 2 : 4, sizes, memory);
}

/* forward(x, p, options) -> y [, saved] */
static int do_forward(lua_State *T) {
    const struct job *job = begin(T);
    const struct gr_custom_pass *pass = job->pass;
    lua_getfield(T, 3, "forward");
    lend_inputs(T, 4, pass);
    lend_params(T, 4, pass);
    push_options(T, pass->options);
    lua_call(T, 3, 2);
    take_activation(T, -2, job->kind->name, "what forward returns", pass->n, pass->out, pass->y);
    if (pass->training) {
        lua_getiuservalue(T, 2, USER_SAVED);
        lua_pushvalue(T, -2);
        lua_rawsetp(T, -2, pass->use);
    }
    return 0;
}

static void take_input_gradients(lua_State *T, const struct job *job, int index) {
    const struct gr_custom_pass *pass = job->pass;
    for (int i = 0; i < pass->inputs; i++) {
        if (!pass->gx[i])
            continue;
        if (pass->inputs == 1)
            lua_pushvalue(T, index);
        else if (lua_istable(T, index))
            lua_rawgeti(T, index, i + 1);
        else
            lua_pushnil(T);
        take_activation(T, -1, job->kind->name, "the gradient of the input that backward returns", pass->n,
                        pass->in[i], pass->gx[i]);
        lua_pop(T, 1);
    }
}

static void take_parameter_gradients(lua_State *T, const struct job *job, int index) {
    const struct gr_custom_pass *pass = job->pass;
    for (int p = 0; p < pass->layer->param_count; p++) {
        const struct gr_param *param = &pass->layer->params[p];
        if (!pass->gp[p])
            continue;
        if (!lua_istable(T, index))
            graft_fail(T, GR_ERROR_OPTION,
                       "layer kind %s: backward must return the input's gradient and a list of the "
                       "parameters' gradients",
                       job->kind->name);
        if (lua_rawgeti(T, index, p + 1) == LUA_TNIL) {
            lua_pop(T, 1);
            lua_getfield(T, index, param->role);
        }
        take(T, -1, job->kind->name, param->role, param->tensor.rank, param->tensor.shape, pass->gp[p]);
        lua_pop(T, 1);
    }
}

/* backward(gy, x, y, p, saved, options) -> gx [, {gradients of the parameters}] */
static int do_backward(lua_State *T) {
    const struct job *job = begin(T);
    const struct gr_custom_pass *pass = job->pass;
    lua_getfield(T, 3, "backward");
    int base = lua_gettop(T);
    lend_activation(T, 4, pass->n, pass->out, pass->gy);
    lend_inputs(T, 4, pass);
    lend_activation(T, 4, pass->n, pass->out, pass->y);
    lend_params(T, 4, pass);
    lua_getiuservalue(T, 2, USER_SAVED);
    lua_rawgetp(T, -1, pass->use);
    lua_pushnil(T);
    lua_rawsetp(T, -3, pass->use);
    lua_remove(T, -2);
    push_options(T, pass->options);
    lua_call(T, 6, 2);
    take_input_gradients(T, job, base);
    take_parameter_gradients(T, job, base + 1);
    return 0;
}

/* Runs a pass with a list of what was lent (index 4), which is revoked whatever happens. Upvalue 1: the
 * pass's function. */
static int run_pass(lua_State *T, lua_CFunction function) {
    begin(T);
    lua_newtable(T);
    lua_pushcfunction(T, function);
    lua_pushvalue(T, 1);
    lua_pushvalue(T, 2);
    lua_pushvalue(T, 3);
    lua_pushvalue(T, 4);
    int failed = lua_pcall(T, 4, 0, 0);
    revoke_all(T, 4);
    return failed ? lua_error(T) : 0;
}

static int call_forward(lua_State *T) {
    return run_pass(T, do_forward);
}

static int call_backward(lua_State *T) {
    return run_pass(T, do_backward);
}

/* ---- what the runtime calls ---- */

static int custom_shape(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                        struct gr_shape *out) {
    struct job job = {.kind = payload, .options = options, .inputs = inputs, .in = in, .shape = out};
    return run(payload, call_shape, &job);
}

static int custom_parameters(void *payload, const cJSON *options, int inputs, const struct gr_shape *in,
                             struct gr_param_spec *out) {
    struct job job = {.kind = payload, .options = options, .inputs = inputs, .in = in, .specs = out};
    GR_TRY(run(payload, call_parameters, &job));
    return job.spec_count;
}

static int custom_forward(void *payload, const struct gr_custom_pass *pass) {
    struct job job = {.kind = payload, .pass = pass};
    return run(payload, call_forward, &job);
}

static int custom_backward(void *payload, const struct gr_custom_pass *pass) {
    struct job job = {.kind = payload, .pass = pass};
    return run(payload, call_backward, &job);
}

/* ---- registering ---- */

static int kind_close(lua_State *L) {
    struct kind *kind = luaL_checkudata(L, 1, TYPE);
    if (kind->registered)
        gr_custom_unregister(kind->name);
    kind->registered = false;
    gr_free(kind->name);
    kind->name = NULL;
    return 0;
}

/* The runtime does not know this one (any more). */
static void forget(lua_State *L, struct kind *kind) {
    kind->registered = false;
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, kind);
}

/* core.register_layer{kind=, shape=, parameters=, forward=, backward=, pure=} */
static int core_register_layer(lua_State *L) {
    static const char who[] = "graft.nn.layer";
    static const char *const known[] = {"kind",     "shape",   "parameters", "forward",
                                        "backward", "options", "pure",       NULL};
    if (!lua_istable(L, 1))
        return graft_bad_argument(L, who, 1, "the layer", "a table {kind=, forward=, ...}");
    lua_settop(L, 1);
    graft_known(L, 1, who, known);
    const char *name = graft_field_string(L, 1, who, "kind", NULL);
    if (!name || !graft_field(L, 1, "forward") || !lua_isfunction(L, -1))
        return graft_fail(L, GR_ERROR_OPTION, "%s: kind, a name, and forward, a function, are required", who);
    bool backward = graft_field(L, 1, "backward") && lua_isfunction(L, -1);
    struct kind *kind = lua_newuserdatauv(L, sizeof *kind, USER_VALUES);
    *kind = (struct kind){0};
    luaL_setmetatable(L, TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, USER_LAYER);
    kind->thread = lua_newthread(L);
    lua_setiuservalue(L, -2, USER_THREAD);
    lua_newtable(L);
    lua_setiuservalue(L, -2, USER_SAVED);
    lua_newtable(L);
    lua_setiuservalue(L, -2, USER_ROLES);
    kind->name = gr_strdup(name);
    if (!kind->name)
        return graft_raise(L);
    struct gr_custom_kind custom = {
        .name = kind->name,
        .payload = kind,
        .pure = graft_field_boolean(L, 1, who, "pure", false),
        .shape = custom_shape,
        .parameters = custom_parameters,
        .forward = custom_forward,
        .backward = backward ? custom_backward : NULL,
    };
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "graft.kinds");
    lua_pushvalue(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, kind);
    int status = gr_custom_register(&custom);
    kind->registered = !status;
    if (status)
        forget(L, kind);
    graft_check(L, status);
    if (lua_getfield(L, -1, name) != LUA_TNIL)
        forget(L, lua_touserdata(L, -1)); /* the new one takes its place */
    lua_pop(L, 1);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, name);
    return 0;
}

void graft_open_custom(lua_State *L) {
    static const luaL_Reg functions[] = {{"register_layer", core_register_layer}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{NULL, NULL}};
    graft_class(L, TYPE, methods, kind_close);
    luaL_setfuncs(L, functions, 0);
}
