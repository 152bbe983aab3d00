/* Batches: set:batches{...} and what a batch tells. */
#include <string.h>

#include "arguments.h"
#include "data.h"
#include "error.h"
#include "feature_cache.h"
#include "network.h"
#include "state.h"
#include "tensor.h"

static const char LOADER[] = "graft.loader", BATCH[] = "graft.batch";

enum { USER_SET = 1, USER_FEATURES, USER_VALUES = 2 }; /* of a loader */

/* ---- options ---- */

static float probability(lua_State *L, int index, const char *who, lua_Number otherwise) {
    lua_Number p = graft_field_number(L, index, who, "p", otherwise);
    if (!(p >= 0 && p <= 1))
        graft_fail(L, GR_ERROR_OPTION, "%s: p must be 0 to 1, got %g", who, p);
    return (float)p;
}

static void read_crop(lua_State *L, int index, struct gr_augment *augment) {
    static const char who[] = "graft.augment.random_resized_crop";
    static const char *const known[] = {"kind", "name", "scale", "ratio", NULL};
    static const struct gr_augment usual = {.scale = {0.08f, 1}, .ratio = {3.0f / 4, 4.0f / 3}};
    graft_known(L, index, who, known);
    augment->crop = true;
    memcpy(augment->scale, usual.scale, sizeof usual.scale);
    memcpy(augment->ratio, usual.ratio, sizeof usual.ratio);
    graft_field_numbers(L, index, who, "scale", augment->scale, 2);
    graft_field_numbers(L, index, who, "ratio", augment->ratio, 2);
}

static void read_jitter(lua_State *L, int index, struct gr_augment *augment) {
    static const char who[] = "graft.augment.color_jitter";
    static const char *const known[] = {"kind", "name", "brightness", "contrast", "saturation", "hue", NULL};
    graft_known(L, index, who, known);
    augment->brightness = (float)graft_field_number(L, index, who, "brightness", 0);
    augment->contrast = (float)graft_field_number(L, index, who, "contrast", 0);
    augment->saturation = (float)graft_field_number(L, index, who, "saturation", 0);
    augment->hue = (float)graft_field_number(L, index, who, "hue", 0);
}

static void read_erasing(lua_State *L, int index, struct gr_augment *augment) {
    static const char who[] = "graft.augment.random_erasing";
    static const char *const known[] = {"kind", "name", "p", NULL};
    graft_known(L, index, who, known);
    augment->erasing = probability(L, index, who, 0.5);
}

/* One entry of the list, at the top of the stack. */
static void read_augmentation(lua_State *L, struct gr_augment *augment) {
    static const char *const kinds[] = {"random_resized_crop", "hflip", "color_jitter", "rotation",
                                        "random_erasing",      "mixup"};
    static const char *const flip[] = {"kind", "name", "p", NULL},
                             *const turn[] = {"kind", "name", "degrees", NULL},
                             *const mix[] = {"kind", "name", "alpha", NULL};
    int index = lua_gettop(L);
    size_t k = 0;
    const char *kind = lua_istable(L, index) ? graft_field_string(L, index, "augment", "kind", "") : "";
    while (k < 6 && strcmp(kinds[k], kind) != 0)
        k++;
    switch (k) {
    case 0:
        read_crop(L, index, augment);
        break;
    case 1:
        graft_known(L, index, "graft.augment.hflip", flip);
        augment->hflip = probability(L, index, "graft.augment.hflip", 0.5);
        break;
    case 2:
        read_jitter(L, index, augment);
        break;
    case 3:
        graft_known(L, index, "graft.augment.rotation", turn);
        augment->degrees = (float)graft_field_number(L, index, "graft.augment.rotation", "degrees", 10);
        break;
    case 4:
        read_erasing(L, index, augment);
        break;
    case 5:
        graft_known(L, index, "graft.augment.mixup", mix);
        augment->mixup = (float)graft_field_number(L, index, "graft.augment.mixup", "alpha", 0.2);
        break;
    default:
        graft_fail(L, GR_ERROR_OPTION,
                   "augment: expected a list of graft.augment.hflip{} and the like, got \"%s\"", kind);
    }
}

struct gr_augment graft_augment(lua_State *L, int index) {
    struct gr_augment augment = {0};
    if (!graft_field(L, index, "augment"))
        return augment;
    if (lua_type(L, -1) == LUA_TSTRING) {
        graft_check(L, gr_augment_preset(&augment, lua_tostring(L, -1)));
    } else {
        luaL_checktype(L, -1, LUA_TTABLE);
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
            read_augmentation(L, &augment);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    graft_check(L, gr_augment_check(&augment));
    return augment;
}

/* Input and preprocessing as `net` (NULL: nobody) wants them, at the data's or the caller's size. */
static struct gr_shape choose_input(const struct gr_network *net, int size,
                                    struct gr_preprocessing *preprocessing) {
    struct gr_shape own = net ? net->input : (struct gr_shape){3, 224, 224, false}, input = own;
    if (size > 0)
        input.h = input.w = size;
    *preprocessing =
        net ? net->preprocessing
            : (struct gr_preprocessing){.resize = 256, .interpolation = GR_BILINEAR, .std = {1, 1, 1}};
    *preprocessing = gr_preprocessing_for(preprocessing, own, input);
    return input;
}

/* ---- the loader ---- */

static int loader_collect(lua_State *L) {
    struct graft_loader *loader = luaL_checkudata(L, 1, LOADER);
    if (loader->loader) {
        gr_loader_close(loader->loader);
        loader->dataset->loaders--;
        lua_getiuservalue(L, 1, USER_FEATURES);
        graft_count_features(L, -1, -1);
    }
    loader->loader = NULL;
    loader->batch = NULL;
    return 0;
}

static int loader_close(lua_State *L) {
    const struct graft_loader *loader = luaL_testudata(L, 1, LOADER);
    if (!loader)
        return graft_bad_argument(L, "batches:close", 1, "the loop", "what set:batches gave");
    if (graft_in_finalizer(L))
        return 0;
    if (loader->busy > 0)
        return graft_fail(L, GR_ERROR_OPTION, "batches: a step on the present batch is under way");
    return loader_collect(L);
}

/* Pushes y [N,K]. */
static void push_targets(lua_State *L, const struct graft_loader *loader) {
    int64_t sizes[] = {loader->batch->n, loader->set->data->class_count};
    struct gr_tensor *y = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_reserve(y, GR_F32, 2, sizes), "batches");
    memcpy(gr_tensor_floats(y), loader->batch->y, gr_tensor_bytes(y));
}

/* Pushes [N,C,H,W] of activations that lie as the runtime has them. */
static void push_photos(lua_State *L, int n, struct gr_shape shape, const float *inner) {
    int64_t sizes[] = {n, shape.c, shape.h, shape.w};
    struct gr_tensor *x = graft_new_tensor(L);
    int status = gr_tensor_reserve(x, GR_F32, 4, sizes);
    if (!status)
        status = graft_from_inner(x, n, shape, inner);
    graft_made_tensor(L, status, "batches");
}

/* Pushes the batch as Lua keeps it; the loader is at `index`. */
static void push_batch(lua_State *L, int index, struct graft_loader *loader) {
    size_t size = sizeof(struct graft_batch) + (size_t)loader->batch->n * sizeof(int64_t);
    struct graft_batch *batch = lua_newuserdatauv(L, size, 1);
    *batch = (struct graft_batch){.loader = loader, .serial = loader->serial, .n = loader->batch->n};
    memcpy(batch->samples, loader->batch->samples, (size_t)batch->n * sizeof(int64_t));
    lua_pushvalue(L, index);
    lua_setiuservalue(L, -2, 1);
    luaL_setmetatable(L, BATCH);
}

/* The iterator. Upvalue 1: the loader. */
static int loader_next(lua_State *L) {
    int index = lua_upvalueindex(1);
    struct graft_loader *loader = lua_touserdata(L, index);
    if (!loader->loader)
        return 0;
    graft_no_finalizer(L, "batches");
    if (loader->busy > 0)
        return graft_fail(L, GR_ERROR_OPTION, "batches: a step on the present batch is under way");
    graft_check(L, graft_poll(L));
    loader->batch = NULL;
    graft_check(L, gr_loader_next(loader->loader, &loader->batch));
    if (!loader->batch)
        return 0;
    loader->serial++;
    if (loader->tensors) {
        push_photos(L, loader->batch->n, loader->input, loader->batch->x);
        push_targets(L, loader);
    } else {
        lua_pushinteger(L, loader->batch->n);
        lua_pushboolean(L, 0);
    }
    push_batch(L, index, loader);
    return 3;
}

/* Pushes a loader that is not open yet, for the set at 1 and the options at 2; it keeps set and features
 * alive. */
static struct graft_loader *new_loader(lua_State *L, const struct gr_set *set,
                                       struct gr_loader_options *options) {
    if (!graft_field(L, 2, "features"))
        lua_pushnil(L);
    int kept = lua_gettop(L);
    const struct gr_features *features = graft_features(L, kept, "set:batches");
    options->rows = features ? &features->rows : NULL;
    bool tensors = graft_field_boolean(L, 2, "set:batches", "tensors", true);
    struct graft_loader *loader = lua_newuserdatauv(L, sizeof *loader, USER_VALUES);
    *loader = (struct graft_loader){.set = set,
                                    .input = options->input,
                                    .epoch = options->epoch,
                                    .features = features,
                                    .tensors = tensors && !features};
    luaL_setmetatable(L, LOADER);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, USER_SET);
    lua_pushvalue(L, kept);
    lua_setiuservalue(L, -2, USER_FEATURES);
    loader->dataset = graft_dataset_of(L, 1);
    return loader;
}

int graft_set_batches(lua_State *L) {
    static const char who[] = "set:batches";
    static const char *const known[] = {"net",       "batch_size", "shuffle",  "epoch", "augment",
                                        "drop_last", "fit",        "seed",     "size",  "view",
                                        "skip",      "tensors",    "features", NULL};
    const struct graft_set *set = graft_check_set(L, 1, who);
    const struct graft_state *state = graft_state(L);
    const struct gr_network *net = NULL;
    struct gr_preprocessing preprocessing;
    lua_settop(L, 2);
    graft_known(L, 2, who, known);
    if (graft_field(L, 2, "net"))
        net = graft_check_network(L, -1, who)->net;
    struct gr_augment augment = graft_augment(L, 2);
    int size = (int)graft_field_integer(L, 2, who, "size", set->set->data->size, 0, 1 << 14);
    struct gr_loader_options options = {
        .input = choose_input(net, size, &preprocessing),
        .preprocessing = &preprocessing,
        .augment = &augment,
        .batch_size = (int)graft_field_integer(L, 2, who, "batch_size", 32, 1, 1 << 16),
        .shuffle = graft_field_boolean(L, 2, who, "shuffle", false),
        .drop_last = graft_field_boolean(L, 2, who, "drop_last", false),
        .epoch = (uint64_t)graft_field_integer(L, 2, who, "epoch", 1, 0, LUA_MAXINTEGER),
        .fit = (uint64_t)graft_field_integer(L, 2, who, "fit", (lua_Integer)state->fit, 0, LUA_MAXINTEGER),
        .seed = (uint64_t)graft_field_integer(L, 2, who, "seed", (lua_Integer)state->seed, LUA_MININTEGER,
                                              LUA_MAXINTEGER),
        .view = (uint64_t)graft_field_integer(L, 2, who, "view", 0, 0, LUA_MAXINTEGER),
        .skip = graft_field_integer(L, 2, who, "skip", 0, 0, LUA_MAXINTEGER),
    };
    int *columns = graft_scratch(L, (size_t)set->set->data->class_count, sizeof *columns);
    /* targets in the network's order when it has just these classes: its logits come in that order */
    if (net &&
        gr_data_match(set->set->data, (const char *const *)net->classes, net->class_count, columns) == GR_OK)
        options.columns = columns;
    struct graft_loader *loader = new_loader(L, set->set, &options);
    graft_check(L, gr_loader_open(&loader->loader, set->set, &options));
    loader->dataset->loaders++;
    lua_getiuservalue(L, -1, USER_FEATURES);
    graft_count_features(L, -1, 1);
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, loader_next, 1);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_insert(L, -2);
    return 4;
}

/* ---- a batch ---- */

struct graft_batch *graft_check_batch(lua_State *L, int index, const char *who) {
    struct graft_batch *batch = luaL_testudata(L, index, BATCH);
    if (!batch)
        graft_bad_argument(L, who, index, "the batch", "a batch of set:batches");
    return batch;
}

const struct gr_batch *graft_current_batch(lua_State *L, int index, const char *who) {
    const struct graft_batch *batch = graft_check_batch(L, index, who);
    if (!batch->loader->batch || batch->loader->serial != batch->serial)
        graft_fail(L, GR_ERROR_OPTION, "%s: the loop has gone on, so this batch is no longer in memory", who);
    return batch->loader->batch;
}

/* The data of a batch; raises when it was closed meanwhile. */
static const struct gr_dataset *data_of(lua_State *L, const char *who) {
    graft_check_batch(L, 1, who);
    lua_getiuservalue(L, 1, 1);
    lua_getiuservalue(L, -1, 1);
    const struct gr_dataset *data = graft_check_set(L, -1, who)->set->data;
    lua_pop(L, 2);
    return data;
}

static int batch_files(lua_State *L) {
    const struct gr_dataset *data = data_of(L, "b:files");
    const struct graft_batch *batch = lua_touserdata(L, 1);
    lua_createtable(L, batch->n, 0);
    for (int i = 0; i < batch->n; i++) {
        lua_pushstring(L, data->samples[batch->samples[i]].file);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* b:classes() -> list of names, or with several labels a photo of lists of names */
static int batch_classes(lua_State *L) {
    const struct gr_dataset *data = data_of(L, "b:classes");
    const struct graft_batch *batch = lua_touserdata(L, 1);
    lua_createtable(L, batch->n, 0);
    for (int i = 0; i < batch->n; i++) {
        graft_push_class(L, data, batch->samples[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int batch_epoch(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)graft_check_batch(L, 1, "b:epoch")->loader->epoch);
    return 1;
}

static int batch_count(lua_State *L) {
    lua_pushinteger(L, graft_check_batch(L, 1, "b:count")->n);
    return 1;
}

/* b:input(net) -> the same photos and crops as another network wants them */
static int batch_input(lua_State *L) {
    const struct gr_batch *current = graft_current_batch(L, 1, "b:input");
    struct graft_loader *loader = graft_check_batch(L, 1, "b:input")->loader;
    const struct gr_network *net = graft_check_network(L, 2, "b:input")->net;
    struct gr_tensor inner = {0};
    int64_t sizes[] = {current->n, net->input.h, net->input.w, net->input.c};
    struct gr_tensor *held = graft_new_tensor(L);
    graft_check(L, gr_tensor_reserve(&inner, GR_F32, 4, sizes));
    *held = inner;
    graft_check(L, gr_loader_input(loader->loader, net->input, &net->preprocessing, gr_tensor_floats(held)));
    push_photos(L, current->n, net->input, gr_tensor_floats(held));
    return 1;
}

void graft_open_loader(lua_State *L) {
    static const luaL_Reg loader_methods[] = {{"close", loader_close}, {NULL, NULL}};
    static const luaL_Reg batch_methods[] = {
        {"files", batch_files}, {"classes", batch_classes}, {"epoch", batch_epoch},
        {"count", batch_count}, {"input", batch_input},     {NULL, NULL},
    };
    graft_class(L, LOADER, loader_methods, loader_collect);
    graft_class(L, BATCH, batch_methods, NULL);
}
