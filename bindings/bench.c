/* core.bench: a network, random photos and labels, and what runs them again and again: the userdata
 * "graft.bench". What is timed is the runtime alone, on photos that lie as a loader leaves them. */
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "error.h"
#include "network.h"
#include "plan/plan.h"
#include "state.h"
#include "tensor/fill.h"
#include "train/trainer.h"

static const char TYPE[] = "graft.bench";

enum { LABEL_STRIDE = 37 }; /* from one photo's class to the next one's */

struct bench {
    struct graft_network *network; /* NULL: closed */
    struct gr_trainer *trainer;    /* NULL: inference */
    struct gr_plan *plan;          /* of inference, else NULL */
    struct gr_tensor x, y;         /* [N,H,W,C], [N,K]; made for the first run */
    int batch;
    enum gr_stash_kind stash;
    bool busy; /* in a run: a layer written in Lua must not close it or run it again */
};

static struct bench *check(lua_State *L, const char *who) {
    struct bench *bench = luaL_testudata(L, 1, TYPE);
    if (!bench || !bench->network)
        graft_bad_argument(L, who, 1, "the bench", "an open bench of core.bench");
    if (bench->busy)
        graft_fail(L, GR_ERROR_OPTION, "%s: a run is under way", who);
    graft_no_finalizer(L, who);
    return bench;
}

static int bench_collect(lua_State *L) {
    struct bench *bench = luaL_checkudata(L, 1, TYPE);
    gr_trainer_free(bench->trainer);
    gr_plan_free(bench->plan);
    gr_tensor_release(&bench->x);
    gr_tensor_release(&bench->y);
    if (bench->network)
        bench->network->users--;
    *bench = (struct bench){0};
    return 0;
}

static int bench_close(lua_State *L) {
    const struct bench *bench = luaL_testudata(L, 1, TYPE);
    if (!bench)
        return graft_bad_argument(L, "bench:close", 1, "the bench", "a bench");
    if (graft_in_finalizer(L))
        return 0;
    if (bench->network)
        check(L, "bench:close");
    return bench_collect(L);
}

/* Random photos, each with one class. */
static int fill(struct bench *bench, const struct gr_network *net, uint64_t seed) {
    int64_t photos[] = {bench->batch, net->input.h, net->input.w, net->input.c};
    int64_t targets[] = {bench->batch, net->output->shape.c};
    if (bench->y.rank)
        return GR_OK;
    GR_TRY(gr_randn(&bench->x, 4, photos, 0, 1, seed, 0));
    GR_TRY(gr_tensor_create(&bench->y, GR_F32, 2, targets));
    float *y = gr_tensor_floats(&bench->y);
    for (int64_t i = 0; i < bench->batch; i++)
        y[i * targets[1] + i * LABEL_STRIDE % targets[1]] = 1;
    return GR_OK;
}

/* An inference plan in this precision. For int8 the ranges are those of the batch itself. */
static int make_plan(struct bench *bench, struct gr_network *net, enum gr_precision precision,
                     uint64_t seed) {
    struct gr_layer *outputs[] = {net->output};
    struct gr_range *ranges = NULL;
    struct gr_plan *exact = NULL;
    struct gr_plan_request request = {
        .capacity = bench->batch, .input = net->input, .outputs = outputs, .output_count = 1};
    int status = GR_OK;
    if (precision == GR_INT8) {
        ranges = gr_calloc((size_t)net->layer_count, sizeof *ranges);
        status = ranges ? fill(bench, net, seed) : GR_ERROR_MEMORY;
        request.measure = true;
        if (!status)
            status = gr_plan_create(&exact, net, &request);
        request.measure = false;
        if (!status) {
            gr_plan_measure(exact, ranges);
            memcpy(gr_plan_input(exact), gr_tensor_floats(&bench->x), gr_tensor_bytes(&bench->x));
            status = gr_plan_forward(exact, bench->batch, NULL);
        }
        gr_plan_free(exact);
    }
    request.precision = precision;
    request.ranges = ranges;
    if (!status)
        status = gr_plan_create(&bench->plan, net, &request);
    gr_free(ranges);
    return status;
}

static int prepare(struct bench *bench, struct gr_network *net, bool training, enum gr_precision precision,
                   uint64_t seed) {
    if (!training)
        return make_plan(bench, net, precision, seed);
    struct gr_trainer_options options = {
        /* so small a rate that weights stay near where they began, however often a step runs */
        .optimizer = {.kind = GR_SGD, .lr = 1e-5f, .momentum = 0.9f},
        .loss = {.kind = GR_CROSS_ENTROPY},
        .at_once = true, /* as a fit does */
        .capacity = bench->batch,
        .stash = bench->stash,
        .precision = precision,
        .seed = seed,
    };
    GR_TRY(gr_trainer_create(&bench->trainer, net, &options));
    return gr_trainer_prepare(bench->trainer, bench->batch, net->input);
}

/* core.bench(net, {batch=, training=, stash=, prefix=}) -> bench */
static int core_bench(lua_State *L) {
    static const char who[] = "core.bench";
    static const char *const known[] = {"batch", "training", "stash", "prefix", NULL};
    struct graft_network *network = graft_change_network(L, 1, who);
    lua_settop(L, 2);
    graft_known(L, 2, who, known);
    if (!network->net->output)
        return graft_fail(L, GR_ERROR_OPTION, "%s: the network has no classifier", who);
    int batch = (int)graft_field_integer(L, 2, who, "batch", 32, 1, 1 << 16);
    bool training = graft_field_boolean(L, 2, who, "training", false);
    enum gr_stash_kind stash = graft_field_stash(L, 2, who);
    enum gr_precision precision = graft_field_precision(L, 2, who);
    struct bench *bench = lua_newuserdatauv(L, sizeof *bench, 1);
    *bench = (struct bench){.batch = batch, .stash = stash};
    luaL_setmetatable(L, TYPE);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    bench->network = network;
    network->users++;
    graft_lock(network);
    int status =
        graft_unlock(network, prepare(bench, network->net, training, precision, graft_state(L)->seed));
    if (status) {
        lua_replace(L, 1); /* where closing looks for it */
        lua_settop(L, 1);
        bench_collect(L);
    }
    graft_check_in(L, status, who);
    return 1;
}

static int run(struct bench *bench, uint64_t seed) {
    struct gr_network *net = bench->network->net;
    double loss = 0;
    GR_TRY(fill(bench, net, seed));
    if (bench->trainer)
        return gr_trainer_step(bench->trainer, bench->batch, net->input, gr_tensor_floats(&bench->x),
                               (int)bench->y.shape[1], gr_tensor_floats(&bench->y), &loss);
    memcpy(gr_plan_input(bench->plan), gr_tensor_floats(&bench->x), gr_tensor_bytes(&bench->x));
    return gr_plan_forward(bench->plan, bench->batch, NULL);
}

/* bench:run(): one batch forward, or one training step */
static int bench_run(lua_State *L) {
    struct bench *bench = check(L, "bench:run");
    graft_check(L, graft_poll(L));
    graft_lock(bench->network);
    bench->busy = true;
    int status = graft_unlock(bench->network, run(bench, graft_state(L)->seed));
    bench->busy = false;
    graft_check_in(L, status, "bench:run");
    return 0;
}

static struct gr_plan *plan_of(const struct bench *bench) {
    return bench->trainer ? gr_trainer_plan(bench->trainer) : bench->plan;
}

/* bench:profile(on): times every step of the plan, or no longer */
static int bench_profile(lua_State *L) {
    const struct bench *bench = check(L, "bench:profile");
    graft_check_in(L, gr_plan_profile(plan_of(bench), lua_toboolean(L, 2)), "bench:profile");
    return 0;
}

static void push_work(lua_State *L, const struct gr_work *work) {
    lua_createtable(L, 0, 4);
    lua_pushnumber(L, work->seconds);
    lua_setfield(L, -2, "seconds");
    lua_pushinteger(L, (lua_Integer)work->runs);
    lua_setfield(L, -2, "runs");
    lua_pushnumber(L, work->flop);
    lua_setfield(L, -2, "flop");
    lua_pushnumber(L, work->bytes);
    lua_setfield(L, -2, "bytes");
}

static void push_absorbed(lua_State *L, const struct gr_step_profile *step) {
    lua_Integer count = 0;
    lua_newtable(L);
    for (size_t i = 0; i < sizeof step->absorbed / sizeof *step->absorbed; i++)
        if (step->absorbed[i]) {
            lua_pushstring(L, step->absorbed[i]->kind->name);
            lua_rawseti(L, -2, ++count);
        }
}

/* bench:steps() -> list of {layer=, kind=, kernel=, absorbed={kinds}, shape=, forward=, backward=}, the last
 * two {seconds=, runs=, flop=, bytes=}; backward is nil where there is none */
static int bench_steps(lua_State *L) {
    const struct gr_plan *plan = plan_of(check(L, "bench:steps"));
    struct gr_step_profile step;
    lua_newtable(L);
    for (int i = 0; gr_plan_step_profile(plan, i, &step); i++) {
        lua_createtable(L, 0, 7);
        lua_pushstring(L, step.layer->name);
        lua_setfield(L, -2, "layer");
        lua_pushstring(L, step.layer->kind->name);
        lua_setfield(L, -2, "kind");
        lua_pushstring(L, step.kernel);
        lua_setfield(L, -2, "kernel");
        push_absorbed(L, &step);
        lua_setfield(L, -2, "absorbed");
        graft_push_shape(L, step.shape);
        lua_setfield(L, -2, "shape");
        push_work(L, &step.forward);
        lua_setfield(L, -2, "forward");
        if (step.has_backward) {
            push_work(L, &step.backward);
            lua_setfield(L, -2, "backward");
        }
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void graft_open_bench(lua_State *L) {
    static const luaL_Reg methods[] = {{"run", bench_run},
                                       {"profile", bench_profile},
                                       {"steps", bench_steps},
                                       {"close", bench_close},
                                       {NULL, NULL}};
    graft_class(L, TYPE, methods, bench_collect);
    lua_pushcfunction(L, core_bench);
    lua_setfield(L, -2, "bench");
}
