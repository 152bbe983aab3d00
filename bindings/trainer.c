/* Training: the userdata "graft.trainer", and evaluation. */
#include <string.h>

#include "arguments.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "core.h"
#include "data.h"
#include "error.h"
#include "feature_cache.h"
#include "network.h"
#include "state.h"
#include "tensor.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"
#include "train/trainer.h"
#include "training.h"
#include "value.h"

static const char TYPE[] = "graft.trainer";

enum { USER_NETWORK = 1, USER_LOSS, USER_NORMS, USER_FEATURES, USER_VALUES = 4 };

/* User values: the network; the loss function, or what keeps the class weights; names of the norms to let go
 * again; the features that it reads. */
struct trainer {
    struct gr_trainer *trainer; /* NULL: closed */
    struct graft_network *network;
    struct graft_loss_call call;
    float *buffer; /* photos as the runtime has them */
    size_t capacity;
    bool busy;  /* in a step: a loss written in Lua must not begin another one or close it */
    int photos; /* of the last step, 0 when it failed */
    int outputs;
};

static struct trainer *check(lua_State *L, const char *who) {
    struct trainer *trainer = luaL_testudata(L, 1, TYPE);
    if (!trainer)
        graft_bad_argument(L, who, 1, "the trainer", "a trainer");
    if (!trainer->trainer)
        graft_fail(L, GR_ERROR_OPTION, "%s: this trainer was closed", who);
    return trainer;
}

/* The same for what may not happen during a step. */
static struct trainer *check_idle(lua_State *L, const char *who) {
    struct trainer *trainer = check(L, who);
    graft_no_finalizer(L, who);
    if (trainer->busy)
        graft_fail(L, GR_ERROR_OPTION, "%s: a step of this trainer is under way", who);
    return trainer;
}

/* Statistics of norms that only this trainer held fixed are let go. */
static void release_norms(lua_State *L, const struct gr_network *net) {
    if (lua_getiuservalue(L, 1, USER_NORMS) == LUA_TTABLE && net) {
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
            struct gr_layer *layer = gr_network_layer(net, lua_tostring(L, -1));
            if (layer)
                layer->fixed_norm = false;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int trainer_collect(lua_State *L) {
    struct trainer *trainer = luaL_checkudata(L, 1, TYPE);
    if (!trainer->network)
        return 0;
    gr_trainer_free(trainer->trainer);
    trainer->trainer = NULL;
    gr_free(trainer->buffer);
    trainer->buffer = NULL;
    struct graft_network *network = trainer->network;
    trainer->network = NULL;
    network->users--;
    lua_getiuservalue(L, 1, USER_FEATURES);
    graft_count_features(L, -1, -1);
    lua_pop(L, 1);
    release_norms(L, network->net);
    if (network->net)
        network->net->version++;
    return 0;
}

static int trainer_close(lua_State *L) {
    const struct trainer *trainer = luaL_testudata(L, 1, TYPE);
    if (!trainer)
        return graft_bad_argument(L, "trainer:close", 1, "the trainer", "a trainer");
    if (graft_in_finalizer(L))
        return 0;
    if (trainer->trainer)
        check_idle(L, "trainer:close");
    return trainer_collect(L);
}

/* Holds the statistics of every norm that is not held yet, and remembers their names. The trainer is on top.
 */
static void fix_norms(lua_State *L, struct gr_network *net) {
    lua_Integer n = 0;
    lua_newtable(L);
    for (int i = 0; i < net->layer_count; i++) {
        struct gr_layer *layer = net->layers[i];
        if (layer->fixed_norm || !layer->kind->affine)
            continue;
        lua_pushstring(L, layer->name);
        lua_rawseti(L, -2, ++n);
    }
    lua_setiuservalue(L, -2, USER_NORMS);
    for (int i = 0; i < net->layer_count; i++)
        if (net->layers[i]->kind->affine)
            net->layers[i]->fixed_norm = true;
    net->version++;
}

/* core.trainer(net, {optimizer=, loss=, schedule=, steps=, epoch_steps=, clip=, batch_size=, fit=, seed=,
 * fixed_norms=, at_once=, stash=, prefix=}) */
static int core_trainer(lua_State *L) {
    static const char who[] = "graft.trainer";
    static const char *const known[] = {"optimizer", "loss",       "schedule", "steps", "epoch_steps",
                                        "clip",      "batch_size", "fit",      "seed",  "fixed_norms",
                                        "at_once",   "stash",      "prefix",   NULL};
    const struct graft_state *state = graft_state(L);
    struct graft_network *network = graft_change_network(L, 1, who);
    const struct gr_network *net = network->net;
    lua_settop(L, 2);
    graft_known(L, 2, who, known);
    if (!graft_field(L, 2, "optimizer"))
        return graft_fail(L, GR_ERROR_OPTION, "%s: optimizer is required, for example graft.sgd{ lr = 0.01 }",
                          who);
    struct gr_trainer_options options = {
        .optimizer = graft_optimizer(L, -1, who),
        .steps = graft_field_integer(L, 2, who, "steps", 0, 0, LUA_MAXINTEGER),
        .epoch_steps = graft_field_integer(L, 2, who, "epoch_steps", 0, 0, LUA_MAXINTEGER),
        .clip = (float)graft_field_number(L, 2, who, "clip", 0),
        .seed = (uint64_t)graft_field_integer(L, 2, who, "seed", (lua_Integer)state->seed, LUA_MININTEGER,
                                              LUA_MAXINTEGER),
        .fit = (uint64_t)graft_field_integer(L, 2, who, "fit", (lua_Integer)state->fit, 0, LUA_MAXINTEGER),
        .stash = graft_field_stash(L, 2, who),
        .capacity = (int)graft_field_integer(L, 2, who, "batch_size", 0, 0, 1 << 16),
        .at_once = graft_field_boolean(L, 2, who, "at_once", false),
        .precision = graft_field_precision(L, 2, who),
    };
    if (graft_field(L, 2, "schedule"))
        options.schedule = graft_schedule(L, -1, who);
    if (!(options.clip >= 0))
        return graft_fail(L, GR_ERROR_OPTION, "%s: clip must be 0 (none) or more, got %g", who,
                          (double)options.clip);
    bool fixed = graft_field_boolean(L, 2, who, "fixed_norms", false);
    struct trainer *trainer = lua_newuserdatauv(L, sizeof *trainer, USER_VALUES);
    *trainer = (struct trainer){0};
    luaL_setmetatable(L, TYPE);
    int self = lua_gettop(L);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, self, USER_NETWORK);
    if (!graft_field(L, 2, "loss"))
        lua_pushnil(L);
    graft_loss(L, -1, who, (const char *const *)net->classes, net->class_count, net->multilabel,
               &trainer->call, &options.loss);
    lua_setiuservalue(L, self, USER_LOSS);
    lua_settop(L, self);
    if (fixed)
        fix_norms(L, network->net);
    trainer->network = network;
    network->users++;
    int status = gr_trainer_create(&trainer->trainer, network->net, &options);
    if (status) {
        lua_replace(L, 1); /* where closing looks for it */
        lua_settop(L, 1);
        trainer_collect(L);
    }
    graft_check_in(L, status, who);
    return 1;
}

/* ---- steps ---- */

/* Pushes [N,K] of targets given as a list of class names. */
static struct gr_tensor *targets_by_name(lua_State *L, int index, const struct gr_network *net) {
    int count;
    const char *const *names = graft_strings(L, index, "trainer:step", "the classes", &count);
    int64_t sizes[] = {count, net->class_count};
    struct gr_tensor *y = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_create(y, GR_F32, 2, sizes), "trainer:step");
    for (int i = 0; i < count; i++) {
        int c = 0;
        while (c < net->class_count && strcmp(net->classes[c], names[i]) != 0)
            c++;
        if (c == net->class_count)
            graft_no_field(L, "trainer:step: the network's classes", names[i],
                           (const char *const *)net->classes, (size_t)net->class_count);
        gr_tensor_floats(y)[(size_t)i * (size_t)net->class_count + (size_t)c] = 1;
    }
    return y;
}

/* Runs one step and pushes its loss and those of the auxiliary classifiers. `batch`: stack index of b, or 0;
 * `loader`: whose memory x and y are, or NULL. */
static int step(lua_State *L, struct trainer *trainer, int n, struct gr_shape input, const float *x, int k,
                const float *y, int batch, struct graft_loader *loader) {
    double loss = 0;
    int heads = 0;
    graft_check(L, graft_poll(L));
    lua_getiuservalue(L, 1, USER_LOSS);
    if (loader)
        loader->busy++;
    trainer->call = (struct graft_loss_call){L, lua_gettop(L), batch};
    trainer->photos = 0;
    trainer->busy = true;
    graft_lock(trainer->network);
    gr_interrupt_hold(true); /* a step is made whole */
    int status = graft_unlock(trainer->network, gr_trainer_step(trainer->trainer, n, input, x, k, y, &loss));
    gr_interrupt_hold(false);
    trainer->busy = false;
    trainer->call.L = NULL;
    if (loader)
        loader->busy--;
    graft_check(L, status);
    trainer->photos = n;
    trainer->outputs = trainer->network->net->output->shape.c;
    const struct gr_network *net = trainer->network->net;
    const double *losses = gr_trainer_losses(trainer->trainer, &heads);
    lua_pushnumber(L, loss);
    lua_newtable(L);
    for (int i = 1; i < heads && i <= net->aux_count; i++) {
        lua_pushnumber(L, losses[i]);
        lua_setfield(L, -2, net->aux[i - 1].at);
    }
    return 2;
}

static int reserve(struct trainer *trainer, size_t floats) {
    size_t bytes = 0;
    if (floats <= trainer->capacity)
        return GR_OK;
    if (!gr_size_multiply(floats, sizeof(float), &bytes))
        return gr_fail(GR_ERROR_LIMIT, "a batch of %zu numbers is too large", floats);
    gr_free(trainer->buffer);
    trainer->capacity = 0;
    trainer->buffer = gr_alloc(bytes);
    if (!trainer->buffer)
        return gr_error()->code;
    trainer->capacity = floats;
    return GR_OK;
}

/* trainer:step(x, y [, b]) -> loss, {[aux layer] = loss} */
static int trainer_step(lua_State *L) {
    static const char who[] = "trainer:step";
    char came[96];
    struct trainer *trainer = check_idle(L, who);
    const struct gr_tensor *x = graft_tensor_argument(L, 2, who, "the photos");
    const struct gr_network *net = trainer->network->net;
    if (gr_trainer_features(trainer->trainer))
        return graft_fail(L, GR_ERROR_OPTION, "%s: this trainer reads kept features, not photos", who);
    lua_settop(L, 4);
    const struct gr_tensor *y =
        lua_istable(L, 3) ? targets_by_name(L, 3, net) : graft_tensor_argument(L, 3, who, "the targets");
    if (x->rank != 4 || x->dtype != GR_F32 || x->shape[1] != net->input.c || x->shape[0] < 1 ||
        x->shape[0] > 1 << 16 || x->shape[2] > 1 << 16 || x->shape[3] > 1 << 16)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: %s takes photos [N,%d,H,W], got %s", who, net->name,
                          net->input.c, gr_format_shape(x->rank, x->shape, came));
    if (y->rank != 2 || y->dtype != GR_F32 || y->shape[0] != x->shape[0])
        return graft_fail(L, GR_ERROR_SHAPE, "%s: the targets must be [%d,%d], one row a photo, got %s", who,
                          (int)x->shape[0], net->class_count, gr_format_shape(y->rank, y->shape, came));
    struct gr_shape input = {(int)x->shape[1], (int)x->shape[2], (int)x->shape[3], false};
    struct gr_tensor *packed = graft_new_tensor(L);
    graft_check_in(L, gr_tensor_pack(packed, y), who);
    graft_check_in(L, reserve(trainer, (size_t)gr_tensor_count(x)), who);
    graft_check_in(L, graft_to_inner(x, input, trainer->buffer), who);
    return step(L, trainer, (int)x->shape[0], input, trainer->buffer, (int)y->shape[1],
                gr_tensor_floats(packed), lua_isnil(L, 4) ? 0 : 4, NULL);
}

/* trainer:step_batch(b [, what the loss gets]) -> loss, {...}: straight from the loader's memory */
static int trainer_step_batch(lua_State *L) {
    static const char who[] = "trainer:step_batch";
    struct trainer *trainer = check_idle(L, who);
    lua_settop(L, 3);
    const struct gr_batch *batch = graft_current_batch(L, 2, who);
    struct graft_loader *loader = graft_check_batch(L, 2, who)->loader;
    if (loader->features != gr_trainer_features(trainer->trainer))
        return graft_fail(L, GR_ERROR_OPTION, "%s: the batch and the trainer must read the same features",
                          who);
    return step(L, trainer, batch->n, loader->input, batch->x, loader->set->data->class_count, batch->y,
                lua_isnil(L, 3) ? 2 : 3, loader);
}

/* trainer:rest(): gives its plan's memory back until the next step */
static int trainer_rest(lua_State *L) {
    gr_trainer_rest(check_idle(L, "trainer:rest")->trainer);
    return 0;
}

static int trainer_lr(lua_State *L) {
    lua_pushnumber(L, gr_trainer_lr(check(L, "trainer:lr")->trainer));
    return 1;
}

/* trainer:set_lr(rate): another base rate from the next step on */
static int trainer_set_lr(lua_State *L) {
    static const char who[] = "trainer:set_lr";
    const struct trainer *trainer = check_idle(L, who);
    graft_check_in(L, gr_trainer_set_lr(trainer->trainer, (float)graft_number(L, 2, who, "the rate")), who);
    return 0;
}

static int trainer_norm(lua_State *L) {
    lua_pushnumber(L, gr_trainer_norm(check(L, "trainer:norm")->trainer));
    return 1;
}

static int trainer_stashed(lua_State *L) {
    int count = gr_trainer_stashed(check(L, "trainer:stashed")->trainer);
    if (count < 0)
        return 0;
    lua_pushinteger(L, count);
    return 1;
}

static int trainer_steps(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)gr_trainer_steps(check(L, "trainer:steps")->trainer));
    return 1;
}

static int trainer_net(lua_State *L) {
    check(L, "trainer:net");
    lua_getiuservalue(L, 1, USER_NETWORK);
    return 1;
}

/* trainer:logits(n) -> [n,K] of the last step's n photos from the main classifier, a copy; nil when there
 * were fewer */
static int trainer_logits(lua_State *L) {
    const struct trainer *trainer = check(L, "trainer:logits");
    const float *logits = gr_trainer_logits(trainer->trainer);
    lua_Integer n = graft_integer(L, 2, "trainer:logits", "the number of photos in the last batch");
    if (!logits || n < 1 || n > trainer->photos)
        return 0;
    int64_t sizes[] = {n, trainer->outputs};
    struct gr_tensor borrowed = {0}, *out = graft_new_tensor(L);
    int status = gr_tensor_borrow(&borrowed, GR_F32, 2, sizes, (float *)logits);
    if (!status)
        status = gr_tensor_copy(out, &borrowed);
    gr_tensor_release(&borrowed);
    return graft_made_tensor(L, status, "trainer:logits");
}

/* ---- checkpoints ---- */

/* The caller's record at stack index 3 as JSON, held by a new value on the stack. */
static void **read_record(lua_State *L, int index, const char *who, struct gr_progress *progress) {
    void **held = graft_hold_json(L);
    *progress = (struct gr_progress){.best = __builtin_nan("")};
    if (!lua_isnil(L, index)) {
        int status = graft_to_json(L, index, &progress->record);
        *held = progress->record;
        graft_check_in(L, status, who);
    }
    return held;
}

/* trainer:save(path [, record]) */
static int trainer_save(lua_State *L) {
    const struct trainer *trainer = check_idle(L, "trainer:save");
    const char *path = graft_string(L, 2, "trainer:save", "the path");
    struct gr_progress progress;
    lua_settop(L, 3);
    void **held = read_record(L, 3, "trainer:save", &progress);
    graft_check(L, gr_checkpoint_save(trainer->trainer, &progress, path));
    graft_drop(held);
    return 0;
}

/* trainer:hold([record]) -> weights: the checkpoint of this moment, to be written later */
static int trainer_hold(lua_State *L) {
    const struct trainer *trainer = check_idle(L, "trainer:hold");
    struct gr_progress progress;
    lua_settop(L, 2);
    void **held = read_record(L, 2, "trainer:hold", &progress);
    struct gr_weights **weights = graft_new_weights(L);
    graft_check(L, gr_checkpoint_hold(weights, trainer->trainer, &progress));
    graft_drop(held);
    return 1;
}

/* trainer:restore(path) -> record */
static int trainer_restore(lua_State *L) {
    const struct trainer *trainer = check_idle(L, "trainer:restore");
    const char *path = graft_string(L, 2, "trainer:restore", "the path");
    struct gr_progress progress = {0};
    void **held = graft_hold_json(L);
    int status = gr_checkpoint_load(trainer->trainer, path, &progress);
    *held = status ? NULL : progress.record;
    graft_check(L, status);
    if (!*held)
        lua_newtable(L);
    else
        graft_check(L, graft_from_json(L, *held));
    graft_drop(held);
    return 1;
}

/* trainer:use(features|nil): batches are rows of these features from now on */
static int trainer_use(lua_State *L) {
    struct trainer *trainer = check_idle(L, "trainer:use");
    lua_settop(L, 2);
    const struct gr_features *features = graft_features(L, 2, "trainer:use");
    if (features && features->prefix.net != trainer->network->net)
        return graft_fail(L, GR_ERROR_OPTION, "trainer:use: these features are of another network");
    gr_trainer_use_features(trainer->trainer, features);
    graft_count_features(L, 2, 1);
    lua_getiuservalue(L, 1, USER_FEATURES);
    graft_count_features(L, 3, -1);
    lua_settop(L, 2);
    lua_setiuservalue(L, 1, USER_FEATURES);
    return 0;
}

/* ---- evaluation ---- */

struct evaluation {
    lua_State *L;
    int progress; /* stack index of the function, or 0 */
    int64_t total;
};

static int on_progress(void *payload, int64_t done) {
    const struct evaluation *evaluation = payload;
    lua_State *L = evaluation->L;
    GR_TRY(graft_poll(L));
    if (!evaluation->progress)
        return GR_OK;
    if (!lua_checkstack(L, 4))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a function");
    lua_pushvalue(L, evaluation->progress);
    lua_pushinteger(L, (lua_Integer)done);
    lua_pushinteger(L, (lua_Integer)evaluation->total);
    return graft_callback(L, 2, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

static int result_close(lua_State *L) {
    gr_result_clear(lua_touserdata(L, 1));
    return 0;
}

static struct gr_result *new_result(lua_State *L) {
    struct gr_result *result = lua_newuserdatauv(L, sizeof *result, 0);
    memset(result, 0, sizeof *result);
    if (luaL_newmetatable(L, "graft.result")) {
        lua_pushcfunction(L, result_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return result;
}

/* Evaluates, from features that were remembered where none are given (at the stack index `features`). */
static int evaluate(lua_State *L, struct graft_network *network, const struct gr_set *set,
                    struct graft_dataset *dataset, int features, struct gr_evaluate_options *options,
                    struct gr_result *result, bool remembered) {
    struct gr_features *found = NULL;
    int status = GR_OK;
    dataset->loaders++;
    graft_count_features(L, features, 1);
    graft_lock(network);
    if (remembered && !options->features)
        options->features = found =
            graft_remembered(L, network->net, set, options->input, options->precision, &status);
    if (!status)
        status = gr_evaluate(result, network->net, set, options);
    gr_features_free(found);
    dataset->loaders--;
    graft_count_features(L, features, -1);
    return graft_unlock(network, status);
}

/* Sets `photos` of the table on top: a row for each photo. */
static void push_photos(lua_State *L, const struct gr_result *result, const struct gr_network *net,
                        const struct gr_set *set) {
    lua_createtable(L, (int)result->count, 0);
    for (int64_t i = 0; i < result->count; i++) {
        const struct gr_photo_result *photo = &result->photos[i];
        lua_createtable(L, 0, 6);
        lua_pushstring(L, set->data->samples[photo->sample].file);
        lua_setfield(L, -2, "file");
        lua_pushstring(L, net->classes[photo->label]);
        lua_setfield(L, -2, "class");
        lua_pushnumber(L, (double)photo->label_p);
        lua_setfield(L, -2, "p");
        lua_pushnumber(L, (double)photo->margin);
        lua_setfield(L, -2, "margin");
        if (net->multilabel) {
            lua_pushboolean(L, photo->given);
            lua_setfield(L, -2, "given");
            lua_pushinteger(L, photo->wrong);
            lua_setfield(L, -2, "wrong");
        } else {
            lua_pushstring(L, net->classes[photo->guess]);
            lua_setfield(L, -2, "said");
            lua_pushnumber(L, (double)photo->guess_p);
            lua_setfield(L, -2, "p_said");
        }
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "photos");
}

/* core.evaluate(net, set, {batch_size=, loss=, heads=true, photos=false, size=, features=, remembered=true,
 * progress=, prefix=}) -> the document of graft eval, `count` and `right`, and `photos` when asked for */
static int core_evaluate(lua_State *L) {
    static const char who[] = "graft.evaluate";
    static const char *const known[] = {"batch_size", "loss",       "heads",    "photos", "size",
                                        "features",   "remembered", "progress", "prefix", NULL};
    struct graft_network *network = graft_check_network(L, 1, who);
    struct gr_network *net = network->net;
    const struct gr_set *set = graft_check_set(L, 2, who)->set;
    struct graft_dataset *dataset = graft_dataset_of(L, 2);
    graft_no_finalizer(L, who);
    struct graft_loss_call call = {0};
    struct gr_loss loss;
    struct evaluation evaluation = {L, 0, set->count};
    lua_settop(L, 3);
    graft_known(L, 3, who, known);
    int size = (int)graft_field_integer(L, 3, who, "size", set->data->size, 0, 1 << 14);
    struct gr_evaluate_options options = {
        .batch_size = (int)graft_field_integer(L, 3, who, "batch_size", 0, 0, 1 << 16),
        .heads = graft_field_boolean(L, 3, who, "heads", true),
        .photos = graft_field_boolean(L, 3, who, "photos", false),
        .loss = &loss,
        .precision = graft_field_precision(L, 3, who),
        .progress = on_progress,
        .payload = &evaluation,
    };
    options.input = net->input;
    if (size > 0)
        options.input.h = options.input.w = size;
    bool remembered = graft_field_boolean(L, 3, who, "remembered", true);
    if (!graft_field(L, 3, "features"))
        lua_pushnil(L);
    int features = lua_gettop(L);
    options.features = graft_features(L, features, who);
    if (options.features && options.features->prefix.net != net)
        return graft_fail(L, GR_ERROR_OPTION, "%s: these features are of another network", who);
    if (!graft_field(L, 3, "loss"))
        lua_pushnil(L);
    graft_loss(L, -1, who, (const char *const *)net->classes, net->class_count, net->multilabel, &call,
               &loss);
    call = (struct graft_loss_call){L, lua_gettop(L), 0};
    if (graft_field(L, 3, "progress"))
        evaluation.progress = lua_gettop(L);
    struct gr_result *result = new_result(L);
    void **held = graft_hold_json(L);
    graft_check(L, evaluate(L, network, set, dataset, features, &options, result, remembered));
    *held = gr_result_describe(result, net);
    if (!*held)
        return graft_raise(L);
    graft_check(L, graft_from_json(L, *held));
    lua_pushinteger(L, (lua_Integer)result->count);
    lua_setfield(L, -2, "count");
    lua_pushinteger(L, (lua_Integer)result->right);
    lua_setfield(L, -2, "right");
    graft_drop(held);
    if (options.photos)
        push_photos(L, result, net, set);
    return 1;
}

/* core.interval(right, count) -> low, high: Wilson's 95 % interval */
static int core_interval(lua_State *L) {
    double low = 0, high = 0;
    gr_wilson(graft_integer(L, 1, "core.interval", "how many are right"),
              graft_integer(L, 2, "core.interval", "how many there are"), &low, &high);
    lua_pushnumber(L, low);
    lua_pushnumber(L, high);
    return 2;
}

/* trainer:calibrate(set): in int8, notes what the frozen layers read of photos of the set's data */
static int trainer_calibrate(lua_State *L) {
    static const char who[] = "trainer:calibrate";
    const struct trainer *trainer = check_idle(L, who);
    const struct gr_set *set = graft_check_set(L, 2, who)->set;
    struct graft_dataset *dataset = graft_dataset_of(L, 2);
    struct gr_shape input = trainer->network->net->input;
    graft_no_finalizer(L, who);
    if (set->data->size > 0)
        input.h = input.w = set->data->size;
    dataset->loaders++;
    graft_lock(trainer->network);
    int status = gr_trainer_calibrate(trainer->trainer, set->data, input);
    dataset->loaders--;
    graft_check_in(L, graft_unlock(trainer->network, status), who);
    return 0;
}

void graft_open_trainer(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"step", trainer_step},
        {"step_batch", trainer_step_batch},
        {"lr", trainer_lr},
        {"steps", trainer_steps},
        {"norm", trainer_norm},
        {"logits", trainer_logits},
        {"net", trainer_net},
        {"save", trainer_save},
        {"hold", trainer_hold},
        {"restore", trainer_restore},
        {"use", trainer_use},
        {"calibrate", trainer_calibrate},
        {"rest", trainer_rest},
        {"close", trainer_close},
        {"stashed", trainer_stashed},
        {"set_lr", trainer_set_lr},
        {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"trainer", core_trainer}, {"evaluate", core_evaluate}, {"interval", core_interval}, {NULL, NULL}};
    graft_class(L, TYPE, methods, trainer_collect);
    luaL_setfuncs(L, functions, 0);
    graft_open_features(L);
    graft_open_probes(L);
    graft_open_losses(L);
    graft_open_custom(L);
}
