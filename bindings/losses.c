/* Losses, optimisers and schedules: read from their descriptions, and usable on their own. */
#include "training.h"

#include <string.h>

#include "arguments.h"
#include "error.h"
#include "tensor.h"
#include "tensor/arithmetic.h"
#include "value.h"

/* ---- a loss in Lua ---- */

struct job { /* one call, handed through lua_pcall */
    struct graft_loss_call *call;
    int n, k;
    const float *logits, *targets;
    double *value;
    float *gradient; /* NULL: not wanted */
};

/* Pushes a tensor over memory of the runtime; the caller revokes it. */
static void lend(lua_State *L, int n, int k, const float *memory) {
    int64_t sizes[] = {n, k};
    graft_check(L, gr_tensor_borrow(graft_new_tensor(L), GR_F32, 2, sizes, (float *)memory));
}

static void take_gradient(lua_State *L, const struct job *job) {
    char came[96];
    int64_t sizes[] = {job->n, job->k};
    struct gr_tensor target = {0};
    const struct gr_tensor *gradient = graft_test_tensor(L, -1);
    if (!gradient)
        graft_fail(L, GR_ERROR_OPTION,
                   "loss: it must return a number and its gradient, a tensor; the second result is a %s",
                   luaL_typename(L, -1));
    if (gradient->rank != 2 || gradient->shape[0] != job->n || gradient->shape[1] != job->k)
        graft_fail(L, GR_ERROR_SHAPE, "loss: its gradient must be shaped like the logits, [%d,%d], and is %s",
                   job->n, job->k, gr_format_shape(gradient->rank, gradient->shape, came));
    graft_check(L, gr_tensor_borrow(&target, GR_F32, 2, sizes, job->gradient));
    int status = gr_assign(&target, gradient);
    gr_tensor_release(&target);
    graft_check_in(L, status, "loss");
}

/* Calls loss(logits, y, b) and takes its results. Arguments: the job, the function, b, logits, y. */
static int do_loss(lua_State *L) {
    const struct job *job = lua_touserdata(L, 1);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 4);
    lua_pushvalue(L, 5);
    lua_pushvalue(L, 3);
    lua_call(L, 3, 2);
    if (lua_type(L, -2) != LUA_TNUMBER)
        graft_fail(L, GR_ERROR_OPTION, "loss: its first result must be a number, and is a %s",
                   luaL_typename(L, -2));
    if (job->gradient)
        take_gradient(L, job);
    *job->value = lua_tonumber(L, -2);
    return 0;
}

/* The same under lua_pcall, with logits and y lent: they are revoked whatever happens. Arguments: the job,
 * the function, b. */
static int call_loss(lua_State *L) {
    const struct job *job = lua_touserdata(L, 1);
    lend(L, job->n, job->k, job->logits);
    lend(L, job->n, job->k, job->targets);
    lua_pushcfunction(L, do_loss);
    for (int i = 1; i <= 5; i++)
        lua_pushvalue(L, i);
    int failed = lua_pcall(L, 5, 0, 0);
    graft_revoke_tensor(L, 4);
    graft_revoke_tensor(L, 5);
    return failed ? lua_error(L) : 0;
}

static int lua_loss(void *payload, int head, int n, int k, const float *logits, const float *targets,
                    double *value, float *gradient) {
    struct graft_loss_call *call = payload;
    lua_State *L = call->L;
    struct job job = {call, n, k, logits, targets, value, gradient};
    (void)head;
    if (!L)
        return gr_fail(GR_ERROR_OPTION, "a loss written in Lua was called outside of training");
    if (!lua_checkstack(L, 8))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a loss");
    lua_pushcfunction(L, call_loss);
    lua_pushlightuserdata(L, &job);
    lua_pushvalue(L, call->function);
    if (call->batch)
        lua_pushvalue(L, call->batch);
    else
        lua_pushnil(L);
    return graft_callback(L, 3, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

/* ---- descriptions ---- */

/* Pushes a holder of the description as JSON without its kind, and returns the JSON. *kind is the table's
 * string. */
static cJSON *read_description(lua_State *L, int index, const char *who, const char *what, const char **kind,
                               void ***slot) {
    cJSON *json = NULL;
    if (!lua_istable(L, index))
        graft_fail(L, GR_ERROR_OPTION, "%s: %s must be a description such as {kind=...}, got a %s", who, what,
                   luaL_typename(L, index));
    index = lua_absindex(L, index);
    *kind = graft_field_string(L, index, who, "kind", "");
    *slot = graft_hold_json(L);
    int status = graft_to_json(L, index, &json);
    **slot = json;
    graft_check_in(L, status, who);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "kind");
    return json;
}

struct gr_optimizer_options graft_optimizer(lua_State *L, int index, const char *who) {
    struct gr_optimizer_options options;
    const char *kind;
    void **slot;
    const cJSON *json = read_description(L, index, who, "the optimizer", &kind, &slot);
    graft_check_in(L, gr_optimizer_read(&options, kind, json), who);
    graft_drop(slot);
    lua_pop(L, 1);
    return options;
}

struct gr_schedule graft_schedule(lua_State *L, int index, const char *who) {
    struct gr_schedule schedule;
    const char *kind;
    void **slot;
    const cJSON *json = read_description(L, index, who, "the schedule", &kind, &slot);
    graft_check_in(L, gr_schedule_read(&schedule, kind, json), who);
    graft_drop(slot);
    lua_pop(L, 1);
    return schedule;
}

/* Pushes the weights of the classes from the table at the top: a list in their order, or by name (absent: 1).
 */
static const float *read_class_weights(lua_State *L, const char *who, const char *const *classes, int count) {
    int index = lua_gettop(L);
    if (!lua_istable(L, index))
        graft_fail(L, GR_ERROR_OPTION, "%s: class_weights must be a table of numbers, got a %s", who,
                   luaL_typename(L, index));
    float *weights = graft_scratch(L, (size_t)count, sizeof *weights);
    bool list = lua_rawlen(L, index) > 0;
    if (list && (int)lua_rawlen(L, index) != count)
        graft_fail(L, GR_ERROR_OPTION, "%s: class_weights lists %d numbers for %d classes", who,
                   (int)lua_rawlen(L, index), count);
    for (int c = 0; c < count; c++) {
        if (!list && !classes)
            graft_fail(L, GR_ERROR_OPTION,
                       "%s: class_weights by name need class names; give a list of numbers", who);
        lua_pushstring(L, list ? NULL : classes[c]);
        int type = list ? lua_rawgeti(L, index, c + 1) : lua_rawget(L, index);
        if (list)
            lua_remove(L, -2);
        if (type != LUA_TNIL && type != LUA_TNUMBER)
            graft_fail(L, GR_ERROR_OPTION, "%s: class_weights must be numbers, got a %s", who,
                       luaL_typename(L, -1));
        weights[c] = type == LUA_TNIL ? 1 : (float)lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    if (list)
        return weights;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        int c = 0;
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        while (c < count && strcmp(classes[c], name) != 0)
            c++;
        if (c == count)
            graft_no_field(L, "class_weights: the network's classes", name, classes, (size_t)count);
    }
    return weights;
}

void graft_loss(lua_State *L, int index, const char *who, const char *const *classes, int class_count,
                bool multilabel, struct graft_loss_call *call, struct gr_loss *out) {
    *out = (struct gr_loss){.kind = multilabel ? GR_BINARY_CROSS_ENTROPY : GR_CROSS_ENTROPY};
    if (lua_isnoneornil(L, index)) {
        lua_pushnil(L);
        return;
    }
    if (lua_isfunction(L, index)) {
        *out = (struct gr_loss){.kind = GR_CALLBACK_LOSS, .callback = lua_loss, .payload = call};
        lua_pushvalue(L, index);
        return;
    }
    const char *kind;
    void **slot;
    index = lua_absindex(L, index);
    cJSON *json = read_description(L, index, who, "the loss", &kind, &slot);
    cJSON_DeleteItemFromObjectCaseSensitive(json, "class_weights");
    graft_check_in(L, gr_loss_read(out, kind, json), who);
    graft_drop(slot);
    lua_pop(L, 1);
    if (!graft_field(L, index, "class_weights")) {
        lua_pushnil(L);
        return;
    }
    out->class_weights = read_class_weights(L, who, classes, class_count);
    lua_remove(L, -2);
    graft_check_in(L, gr_loss_check(out, class_count), who);
}

/* ---- on their own ---- */

/* core.loss(description, logits, y [, classes]) -> number, gradient */
static int core_loss(lua_State *L) {
    char ours[96], theirs[96];
    struct gr_loss loss;
    double value = 0;
    int count;
    const char *const *classes = NULL;
    const struct gr_tensor *logits = graft_tensor_argument(L, 2, "loss", "the logits");
    const struct gr_tensor *targets = graft_tensor_argument(L, 3, "loss", "the targets");
    lua_settop(L, 4);
    if (logits->rank != 2 || !gr_tensor_same_shape(logits, targets))
        return graft_fail(L, GR_ERROR_SHAPE, "loss: logits and targets must both be [N,K], got %s and %s",
                          gr_format_shape(logits->rank, logits->shape, ours),
                          gr_format_shape(targets->rank, targets->shape, theirs));
    int n = (int)logits->shape[0], k = (int)logits->shape[1];
    if (lua_istable(L, 4)) {
        classes = graft_strings(L, 4, "loss", "the classes", &count);
        if (count != k)
            return graft_fail(L, GR_ERROR_SHAPE, "loss: %d classes for %d logits", count, k);
    }
    if (!lua_istable(L, 1))
        return graft_bad_argument(L, "core.loss", 1, "the loss", "a description");
    graft_loss(L, 1, "loss", classes, k, false, NULL, &loss);
    struct gr_tensor *x = graft_new_tensor(L), *y = graft_new_tensor(L), *gradient = graft_new_tensor(L);
    graft_check_in(L, gr_tensor_pack(x, logits), "loss");
    graft_check_in(L, gr_tensor_pack(y, targets), "loss");
    graft_made_tensor(L, gr_tensor_reserve(gradient, GR_F32, 2, logits->shape), "loss");
    if (!gr_tensor_floats(x) || !gr_tensor_floats(y))
        return graft_fail(L, GR_ERROR_OPTION, "loss: logits and targets must be numbers of kind float32");
    graft_check_in(
        L,
        gr_loss(&loss, 0, n, k, gr_tensor_floats(x), gr_tensor_floats(y), &value, gr_tensor_floats(gradient)),
        "loss");
    lua_pushnumber(L, value);
    lua_insert(L, -2);
    return 2;
}

/* core.schedule(description, lr, step, steps [, steps in an epoch]) -> lr of that step, counted from 0 */
static int core_schedule(lua_State *L) {
    struct gr_schedule schedule = graft_schedule(L, 1, "schedule");
    lua_Number lr = graft_number(L, 2, "core.schedule", "the rate");
    lua_Integer step = graft_integer(L, 3, "core.schedule", "the step");
    lua_Integer steps = graft_integer(L, 4, "core.schedule", "the number of steps");
    lua_Integer epoch = graft_optional_integer(L, 5, "core.schedule", "the steps in an epoch", 0);
    lua_pushnumber(L, lr * gr_schedule_factor(&schedule, step, steps, epoch));
    return 1;
}

static const char OPTIMIZER[] = "graft.optimizer";

struct optimizer {
    struct gr_optimizer *optimizer;
};

static int optimizer_collect(lua_State *L) {
    struct optimizer *held = luaL_checkudata(L, 1, OPTIMIZER);
    gr_optimizer_free(held->optimizer);
    held->optimizer = NULL;
    return 0;
}

static int optimizer_close(lua_State *L) {
    return graft_in_finalizer(L) ? 0 : optimizer_collect(L);
}

static int core_optimizer(lua_State *L) {
    struct gr_optimizer_options options = graft_optimizer(L, 1, "optimizer");
    struct optimizer *held = lua_newuserdatauv(L, sizeof *held, 0);
    held->optimizer = NULL;
    luaL_setmetatable(L, OPTIMIZER);
    graft_check(L, gr_optimizer_create(&held->optimizer, &options));
    return 1;
}

/* optimizer:step({T, ...}, {gradient T, ...} [, lr [, scale]]): changes the tensors */
static int optimizer_step(lua_State *L) {
    static const char who[] = "optimizer:step";
    char name[24];
    struct optimizer *held = luaL_checkudata(L, 1, OPTIMIZER);
    graft_no_finalizer(L, who);
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (!held->optimizer)
        return graft_fail(L, GR_ERROR_OPTION, "%s: this optimizer was closed", who);
    lua_Number lr =
        graft_optional_number(L, 4, who, "the rate", (lua_Number)gr_optimizer_options(held->optimizer)->lr);
    lua_Number scale = graft_optional_number(L, 5, who, "the scale", 1);
    for (int i = 1; lua_rawgeti(L, 2, i) != LUA_TNIL; i++) {
        lua_rawgeti(L, 3, i);
        struct gr_slot *slot = NULL;
        struct gr_tensor *tensor = graft_check_tensor(L, -2), *gradient = graft_check_tensor(L, -1);
        if (!gr_tensor_same_shape(tensor, gradient) || !gr_tensor_contiguous(tensor) ||
            !gr_tensor_contiguous(gradient))
            return graft_fail(L, GR_ERROR_SHAPE,
                              "%s: tensor %d and its gradient must be contiguous and of one shape", who, i);
        lua_pushfstring(L, "%d", i);
        strncpy(name, lua_tostring(L, -1), sizeof name - 1);
        name[sizeof name - 1] = 0;
        struct gr_param param = {.name = name, .role = "weight", .tensor = *tensor, .decays = true};
        graft_check_in(L, gr_optimizer_slot(held->optimizer, &param, &slot), who);
        gr_optimizer_step(held->optimizer, slot, &param, gr_tensor_floats(gradient), scale, lr);
        lua_pop(L, 3);
    }
    return 0;
}

void graft_open_losses(lua_State *L) {
    static const luaL_Reg methods[] = {{"step", optimizer_step}, {"close", optimizer_close}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"loss", core_loss}, {"schedule", core_schedule}, {"optimizer", core_optimizer}, {NULL, NULL}};
    graft_class(L, OPTIMIZER, methods, optimizer_collect);
    luaL_setfuncs(L, functions, 0);
}
