/* Linear probes: core.pooled, core.pool, core.folds, core.probes. */
#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "data.h"
#include "error.h"
#include "feature_cache.h"
#include "insight/collect.h"
#include "insight/probes.h"
#include "network.h"
#include "state.h"
#include "tensor.h"

#include <string.h>

/* ---- pooled features ---- */

static struct gr_pooled_as check_pooling(lua_State *L, int index, const char *who) {
    static const char *const names[] = {"avg", "max", "avg+max", "grid"};
    const char *name = graft_field_string(L, index, who, "pool", "avg");
    struct gr_pooled_as as = {.grid = (int)graft_field_integer(L, index, who, "grid", 1, 1, 1 << 10)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            as.pooling = (enum gr_pooling)i;
            return as;
        }
    graft_fail(L, GR_ERROR_OPTION, "%s: pool must be \"avg\", \"max\", \"avg+max\" or \"grid\", got \"%s\"",
               who, name);
    return as;
}

static void release_collected(void *payload) {
    struct gr_collect *collect = payload;
    gr_collect_clear(collect);
    gr_free(collect->layers);
    gr_free(collect);
}

/* Pushes what was collected as tensors. */
static void push_rows(lua_State *L, const struct gr_collect *collect) {
    lua_createtable(L, collect->layer_count, 0);
    for (int i = 0; i < collect->layer_count; i++) {
        const struct gr_collected *of = &collect->layers[i];
        int64_t shape[] = {collect->count, of->features};
        struct gr_tensor *rows = graft_new_tensor(L);
        int status = gr_tensor_reserve(rows, GR_F32, 2, shape);
        if (!status && collect->count > 0)
            memcpy(gr_tensor_floats(rows), of->rows, (size_t)(shape[0] * shape[1]) * sizeof(float));
        graft_made_tensor(L, status, "pooled features");
        lua_rawseti(L, -2, i + 1);
    }
}

/* Pushes {files=, classes=, labels=} of the photos. */
static void push_photos(lua_State *L, const struct gr_collect *collect, const struct gr_dataset *data) {
    int count = (int)collect->count;
    lua_createtable(L, 0, 3);
    lua_createtable(L, count, 0);
    lua_createtable(L, count, 0);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, data->samples[collect->samples[i]].file);
        lua_rawseti(L, -4, i + 1);
        graft_push_class(L, data, collect->samples[i]);
        lua_rawseti(L, -3, i + 1);
        lua_pushinteger(L, data->samples[collect->samples[i]].label + 1);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -4, "labels");
    lua_setfield(L, -3, "classes");
    lua_setfield(L, -2, "files");
}

/* The layers that the list at `index` names. */
static struct gr_collect *check_layers(lua_State *L, int index, const struct gr_network *net,
                                       const char *who) {
    enum { MOST = 4096 };
    if (!lua_istable(L, index))
        graft_bad_argument(L, who, index, "the layers", "a list of names");
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    if (count < 1 || count > MOST)
        graft_fail(L, GR_ERROR_OPTION, "%s: expected 1 to %d layers, got %d", who, MOST, (int)count);
    struct gr_collect *collect = gr_calloc(1, sizeof *collect);
    void **held = graft_hold(L, release_collected);
    *held = collect;
    if (collect)
        collect->layers = gr_calloc((size_t)count, sizeof *collect->layers);
    graft_check_in(L, collect && collect->layers ? GR_OK : gr_error()->code, who);
    collect->layer_count = (int)count;
    for (int i = 0; i < (int)count; i++) {
        lua_rawgeti(L, index, i + 1);
        const char *name = graft_string(L, -1, who, "a layer");
        collect->layers[i].layer = gr_network_end(net, name);
        graft_check_in(L, collect->layers[i].layer ? GR_OK : gr_error()->code, who);
        lua_pop(L, 1);
    }
    return collect;
}

static int run_collect(void *collect, struct gr_network *net, const struct gr_set *set,
                       const struct gr_outputs_options *options) {
    return gr_collect_run(collect, net, set, options);
}

/* core.pooled(net, set, layers, {...}) -> list of T, photos; see core.h */
static int core_pooled(lua_State *L) {
    static const char who[] = "pooled features";
    static const char *const known[] = {"pool", "grid", "size", "prefix", "progress", NULL};
    const struct graft_network *network = graft_check_network(L, 1, who);
    const struct gr_dataset *data = graft_check_set(L, 2, who)->set->data;
    graft_no_finalizer(L, who);
    lua_settop(L, 4);
    graft_known(L, 4, who, known);
    struct gr_outputs_options options = {0};
    struct gr_pooled_as as = check_pooling(L, 4, who);
    struct graft_progress told = {L, 0};
    if (graft_field(L, 4, "progress"))
        told.function = lua_gettop(L);
    struct gr_collect *collect = check_layers(L, 3, network->net, who);
    int held = lua_gettop(L);
    collect->as = as;
    collect->progress = graft_on_progress;
    collect->payload = &told;
    graft_pass(L, who, &options, run_collect, collect);
    push_rows(L, collect);
    push_photos(L, collect, data);
    graft_drop(lua_touserdata(L, held));
    return 2;
}

/* core.pool(T [N,C,H,W], {pool=, grid=}) -> T [N,D] */
static int core_pool(lua_State *L) {
    static const char who[] = "core.pool";
    static const char *const known[] = {"pool", "grid", NULL};
    const struct gr_tensor *x = graft_tensor_argument(L, 1, who, "the features");
    lua_settop(L, 2);
    graft_known(L, 2, who, known);
    struct gr_pooled_as as = check_pooling(L, 2, who);
    int size = 0;
    graft_check_in(L, gr_tensor_check(x), who);
    if (x->rank == 2) { /* there is nothing to pool */
        lua_settop(L, 1);
        return 1;
    }
    if (x->rank != 4 || x->dtype != GR_F32 || x->shape[1] > INT32_MAX || x->shape[2] > INT32_MAX ||
        x->shape[3] > INT32_MAX || x->stride[2] != x->shape[3] * x->stride[3])
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected features [N,C,H,W]", who);
    struct gr_shape shape = {(int)x->shape[1], (int)x->shape[2], (int)x->shape[3], false};
    graft_check_in(L, gr_pooled_size(shape, as, &size), who);
    int64_t sizes[] = {x->shape[0], size};
    struct gr_tensor *rows = graft_new_tensor(L);
    int status = gr_tensor_reserve(rows, GR_F32, 2, sizes);
    for (int64_t i = 0; i < sizes[0] && !status; i++)
        gr_pool_row(shape, as, gr_tensor_floats(x) + i * x->stride[0], x->stride[1], x->stride[3],
                    gr_tensor_floats(rows) + i * size);
    return graft_made_tensor(L, status, who);
}

/* ---- folds and probes ---- */

/* The list of whole numbers 1..most at `index` as 0..most-1, in a userdata that is pushed. */
static int *check_numbers(lua_State *L, int index, const char *who, const char *what, int most,
                          lua_Integer *count) {
    if (!lua_istable(L, index))
        graft_bad_argument(L, who, index, what, "a list");
    *count = (lua_Integer)lua_rawlen(L, index);
    int *numbers = graft_scratch(L, (size_t)*count + 1, sizeof *numbers);
    for (lua_Integer i = 0; i < *count; i++) {
        lua_rawgeti(L, index, i + 1);
        int whole = 0;
        lua_Integer number = lua_tointegerx(L, -1, &whole);
        if (!whole || number < 1 || number > most)
            graft_fail(L, GR_ERROR_OPTION, "%s: %s must be from 1 to %d", who, what, most);
        numbers[i] = (int)number - 1;
        lua_pop(L, 1);
    }
    return numbers;
}

static void push_numbers(lua_State *L, const int *numbers, int64_t count) {
    lua_createtable(L, (int)count, 0);
    for (int64_t i = 0; i < count; i++) {
        lua_pushinteger(L, numbers[i] + 1);
        lua_rawseti(L, -2, i + 1);
    }
}

/* core.folds(labels, classes, folds, seed) -> list of 1..folds */
static int core_folds(lua_State *L) {
    static const char who[] = "core.folds";
    lua_Integer count = 0;
    int classes = (int)luaL_checkinteger(L, 2), folds = (int)luaL_checkinteger(L, 3);
    uint64_t seed = (uint64_t)luaL_checkinteger(L, 4);
    int *labels = check_numbers(L, 1, who, "labels", classes, &count);
    int *fold = graft_scratch(L, (size_t)count + 1, sizeof *fold);
    graft_check(L, gr_folds(labels, count, classes, folds, seed, fold));
    push_numbers(L, fold, count);
    return 1;
}

/* The probes in the list at 1, with room for what they say. */
static struct gr_probe *check_probes(lua_State *L, const char *who, int64_t n, int *count) {
    if (!lua_istable(L, 1))
        graft_bad_argument(L, who, 1, "the probes", "a list");
    *count = (int)lua_rawlen(L, 1);
    struct gr_probe *probes = graft_scratch(L, (size_t)*count + 1, sizeof *probes);
    for (int i = 0; i < *count; i++) {
        lua_rawgeti(L, 1, i + 1);
        lua_rawgeti(L, -1, 1);
        const struct gr_tensor *x = graft_check_tensor(L, -1);
        lua_rawgeti(L, -2, 2);
        probes[i].fraction = lua_tonumber(L, -1);
        graft_check_in(L, gr_tensor_check(x), who);
        if (x->rank != 2 || x->dtype != GR_F32 || x->shape[0] != n || x->shape[1] > INT32_MAX ||
            !gr_tensor_contiguous(x))
            graft_fail(L, GR_ERROR_SHAPE, "%s: expected features [%d,D] in one piece", who, (int)n);
        probes[i].x = gr_tensor_floats(x);
        probes[i].features = (int)x->shape[1];
        lua_pop(L, 3); /* the list keeps the tensor */
        probes[i].said = graft_scratch(L, (size_t)n + 1, sizeof *probes[i].said);
        probes[i].sure = graft_scratch(L, (size_t)n + 1, sizeof *probes[i].sure);
        luaL_checkstack(L, 8, "too many probes");
    }
    return probes;
}

static void push_probe(lua_State *L, const struct gr_probe *probe, int64_t n) {
    lua_createtable(L, 0, 3);
    push_numbers(L, probe->said, n);
    lua_setfield(L, -2, "said");
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushnumber(L, (lua_Number)probe->sure[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "sure");
    lua_pushnumber(L, probe->l2);
    lua_setfield(L, -2, "l2");
}

/* core.probes(list of {T, fraction}, {...}) -> list of {said=, sure=, l2=}; see core.h */
static int core_probes(lua_State *L) {
    static const char who[] = "core.probes";
    static const char *const known[] = {"labels", "classes", "folds", "seed", "progress", NULL};
    enum { MOST = 1 << 20 };
    struct gr_probes probes = {0};
    struct graft_progress told = {L, 0};
    lua_Integer n = 0, folded = 0;
    graft_no_finalizer(L, who);
    lua_settop(L, 2);
    graft_known(L, 2, who, known);
    probes.classes = (int)graft_field_integer(L, 2, who, "classes", 0, 1, MOST);
    probes.seed = (uint64_t)graft_field_integer(L, 2, who, "seed", 1, LUA_MININTEGER, LUA_MAXINTEGER);
    lua_getfield(L, 2, "labels");
    probes.labels = check_numbers(L, lua_gettop(L), who, "labels", probes.classes, &n);
    lua_getfield(L, 2, "folds");
    int *fold = check_numbers(L, lua_gettop(L), who, "folds", MOST, &folded);
    if (folded != n)
        return graft_fail(L, GR_ERROR_OPTION, "%s: %d folds for %d labels", who, (int)folded, (int)n);
    probes.fold = fold;
    for (lua_Integer i = 0; i < n; i++)
        probes.folds = fold[i] + 1 > probes.folds ? fold[i] + 1 : probes.folds;
    if (graft_field(L, 2, "progress"))
        told.function = lua_gettop(L);
    probes.n = n;
    probes.probes = check_probes(L, who, n, &probes.probe_count);
    probes.progress = graft_on_progress;
    probes.payload = &told;
    graft_check(L, gr_probes_run(&probes));
    lua_createtable(L, probes.probe_count, 0);
    for (int i = 0; i < probes.probe_count; i++) {
        push_probe(L, &probes.probes[i], n);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void graft_open_probes(lua_State *L) {
    static const luaL_Reg functions[] = {{"pooled", core_pooled},
                                         {"pool", core_pool},
                                         {"folds", core_folds},
                                         {"probes", core_probes},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
