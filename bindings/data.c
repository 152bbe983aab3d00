/* Data sets and their sets. */
#include "data.h"

#include <limits.h>
#include <string.h>

#include "arguments.h"
#include "base/digest.h"
#include "core.h"
#include "data/loader.h"
#include "error.h"
#include "state.h"
#include "tensor.h"

static const char DATASET[] = "graft.dataset", SET[] = "graft.set";
static const char *const set_names[] = {"train", "val", "test", NULL};

/* ---- data sets ---- */

static struct graft_dataset *new_dataset(lua_State *L) {
    struct graft_dataset *dataset = lua_newuserdatauv(L, sizeof *dataset, 2);
    *dataset = (struct graft_dataset){.owner = dataset};
    luaL_setmetatable(L, DATASET);
    return dataset;
}

static struct graft_dataset *check(lua_State *L, int index, const char *who) {
    struct graft_dataset *dataset = luaL_testudata(L, index, DATASET);
    if (!dataset)
        graft_bad_argument(L, who, index, "the data", "a data set");
    if (!dataset->data || !dataset->owner->data)
        graft_fail(L, GR_ERROR_OPTION, "%s: this data set was closed", who);
    return dataset;
}

static int dataset_collect(lua_State *L) {
    struct graft_dataset *dataset = luaL_checkudata(L, 1, DATASET);
    if (!dataset->shared)
        gr_data_free(dataset->data);
    dataset->data = NULL;
    return 0;
}

static int dataset_close(lua_State *L) {
    const struct graft_dataset *dataset = luaL_testudata(L, 1, DATASET);
    if (!dataset)
        return graft_bad_argument(L, "data:close", 1, "the data", "a data set");
    if (graft_in_finalizer(L))
        return 0;
    if (dataset->loaders > 0)
        return graft_fail(L, GR_ERROR_OPTION, "data:close: a loop over its batches is still running");
    return dataset_collect(L);
}

static const char *const common[] = {"val", "classes", "size", "on_bad", "max_skip", NULL};

/* Reads the options that all kinds of data have; pushes one userdata that keeps the array of classes. */
static struct gr_data_options read_options(lua_State *L, int index, const char *who) {
    struct gr_data_options options = GR_DATA_OPTIONS;
    options.val = (float)graft_field_number(L, index, who, "val", -1);
    options.max_skip = (float)graft_field_number(L, index, who, "max_skip", -1);
    options.size = (int)graft_field_integer(L, index, who, "size", 0, 0, 1 << 14);
    const char *on_bad = graft_field_string(L, index, who, "on_bad", "skip");
    if (strcmp(on_bad, "skip") != 0 && strcmp(on_bad, "error") != 0)
        graft_fail(L, GR_ERROR_OPTION, "%s: on_bad must be \"skip\" or \"error\", got \"%s\"", who, on_bad);
    options.bad_is_error = strcmp(on_bad, "error") == 0;
    if (options.val >= 1)
        graft_fail(L, GR_ERROR_OPTION, "%s: val must be at least 0 and below 1, got %g", who,
                   (double)options.val);
    if (graft_field(L, index, "classes")) {
        options.classes = graft_strings(L, -1, who, "classes", &options.class_count);
        lua_remove(L, -2); /* the options table keeps the list */
    } else {
        lua_pushnil(L);
    }
    return options;
}

/* Checks the keys against the common ones and `own` (NULL-terminated). */
static void check_keys(lua_State *L, int index, const char *who, const char *const *own) {
    const char *keys[24];
    size_t n = 0;
    lua_settop(L, index);
    for (size_t i = 0; common[i]; i++)
        keys[n++] = common[i];
    for (size_t i = 0; own && own[i]; i++)
        keys[n++] = own[i];
    keys[n] = NULL;
    graft_known(L, index, who, keys);
}

static int core_data_folder(lua_State *L) {
    const char *path = graft_string(L, 1, "graft.data.folder", "the folder");
    check_keys(L, 2, "graft.data.folder", NULL);
    struct gr_data_options options = read_options(L, 2, "graft.data.folder");
    struct graft_dataset *dataset = new_dataset(L);
    graft_check(L, gr_data_folder(&dataset->data, path, &options));
    return 1;
}

static int core_data_csv(lua_State *L) {
    static const char who[] = "graft.data.csv";
    static const char *const own[] = {"image", "label", "labels", "separator", "split", NULL};
    const char *path = graft_string(L, 1, who, "the file");
    check_keys(L, 2, who, own);
    struct gr_csv_options csv = {
        .image = graft_field_string(L, 2, who, "image", NULL),
        .label = graft_field_string(L, 2, who, "label", NULL),
        .separator = graft_field_string(L, 2, who, "separator", NULL),
        .split = graft_field_string(L, 2, who, "split", NULL),
    };
    if (graft_field(L, 2, "labels")) {
        if (lua_type(L, -1) == LUA_TSTRING)
            csv.labels = lua_tostring(L, -1);
        else
            csv.flags = graft_strings(L, -1, who, "labels", &csv.flag_count);
    }
    struct gr_data_options options = read_options(L, 2, who);
    struct graft_dataset *dataset = new_dataset(L);
    graft_check(L, gr_data_csv(&dataset->data, path, &csv, &options));
    return 1;
}

static int core_data_idx(lua_State *L) {
    static const char who[] = "graft.data.idx";
    static const char *const own[] = {"names", NULL};
    const char *path = graft_string(L, 1, who, "the folder");
    const char *const *names = NULL;
    int count = 0;
    check_keys(L, 2, who, own);
    if (graft_field(L, 2, "names"))
        names = graft_strings(L, -1, who, "names", &count);
    struct gr_data_options options = read_options(L, 2, who);
    struct graft_dataset *dataset = new_dataset(L);
    graft_check(L, gr_data_idx(&dataset->data, path, names, count, &options));
    return 1;
}

static int core_data_list(lua_State *L) {
    static const char who[] = "graft.data.list";
    if (!lua_istable(L, 1))
        return graft_bad_argument(L, who, 1, "the photos", "a list of {image=, class=}");
    check_keys(L, 2, who, NULL);
    lua_Unsigned count = lua_rawlen(L, 1);
    struct gr_data_item *items = graft_scratch(L, count, sizeof *items);
    for (lua_Unsigned i = 0; i < count; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i + 1) != LUA_TTABLE)
            return graft_fail(L, GR_ERROR_OPTION, "%s: entry %d must be {image=, class=}", who, (int)i + 1);
        items[i].set = -1; /* train, or val by hash */
        items[i].image = graft_field_string(L, -1, who, "image", NULL);
        items[i].label = graft_field_string(L, -1, who, "class", NULL);
        if (!items[i].image || !items[i].label)
            return graft_fail(L, GR_ERROR_OPTION, "%s: entry %d must have an image and a class", who,
                              (int)i + 1);
        lua_pop(L, 1);
    }
    struct gr_data_options options = read_options(L, 2, who);
    struct graft_dataset *dataset = new_dataset(L);
    graft_check(L, gr_data_list(&dataset->data, items, (int64_t)count, &options));
    return 1;
}

static int dataset_name(lua_State *L) {
    lua_pushstring(L, check(L, 1, "data:name")->data->name);
    return 1;
}

static int dataset_path(lua_State *L) {
    lua_pushstring(L, check(L, 1, "data:path")->data->path);
    return 1;
}

static int dataset_size(lua_State *L) {
    int size = check(L, 1, "data:size")->data->size;
    if (size == 0)
        return 0;
    lua_pushinteger(L, size);
    return 1;
}

static int dataset_multilabel(lua_State *L) {
    lua_pushboolean(L, check(L, 1, "data:multilabel")->data->multilabel);
    return 1;
}

static int dataset_digest(lua_State *L) {
    char hex[65];
    gr_data_digest(check(L, 1, "data:digest")->data, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int dataset_classes(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:classes")->data;
    graft_push_strings(L, (const char *const *)data->classes, data->class_count);
    return 1;
}

/* Adds one line as sha256sum writes it: digest, two blanks, name; a name with a newline or a backslash is
 * escaped, and the line begins with a backslash. */
static void add_sum(luaL_Buffer *text, const struct gr_sample *sample) {
    static const char digits[] = "0123456789abcdef";
    char hex[sizeof sample->hash * 2];
    for (size_t i = 0; i < sizeof sample->hash; i++) {
        hex[2 * i] = digits[sample->hash[i] >> 4];
        hex[2 * i + 1] = digits[sample->hash[i] & 15];
    }
    if (strpbrk(sample->relative, "\n\\"))
        luaL_addchar(text, '\\');
    luaL_addlstring(text, hex, sizeof hex);
    luaL_addstring(text, "  ");
    for (const char *c = sample->relative; *c; c++) {
        if (*c == '\n' || *c == '\\')
            luaL_addchar(text, '\\');
        luaL_addchar(text, *c == '\n' ? 'n' : *c);
    }
    luaL_addchar(text, '\n');
}

/* data:sums() -> the digest of each photo's file, a line each, in listing order */
static int dataset_sums(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:sums")->data;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int64_t i = 0; i < data->sample_count; i++)
        if (!data->samples[i].pixels) /* those of IDX files are no files */
            add_sum(&text, &data->samples[i]);
    luaL_pushresult(&text);
    return 1;
}

/* val held out by hash: its part, and whether nobody asked for it */
static int dataset_split(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:split")->data;
    lua_pushnumber(L, (lua_Number)data->val_fraction);
    lua_pushboolean(L, data->val_by_default);
    return 2;
}

static struct gr_set *set_of(const struct graft_dataset *dataset, int which) {
    return which == GR_TRAIN && dataset->shared ? dataset->train : dataset->data->sets[which];
}

/* dataset:counts([set name]) -> {class = photos} */
static int dataset_counts(lua_State *L) {
    const struct graft_dataset *dataset = check(L, 1, "data:counts");
    const struct gr_dataset *data = dataset->data;
    int only = lua_isnoneornil(L, 2) ? -1 : graft_choice(L, 2, "data:counts", "the set", set_names, -1);
    int64_t *counts = graft_scratch(L, (size_t)data->class_count, sizeof *counts);
    int64_t *sums = graft_scratch(L, (size_t)data->class_count, sizeof *sums);
    for (int which = 0; which < GR_SETS; which++) {
        if (only >= 0 && which != only)
            continue;
        gr_data_counts(data, set_of(dataset, which), counts);
        for (int c = 0; c < data->class_count; c++)
            sums[c] += counts[c];
    }
    lua_createtable(L, 0, data->class_count);
    for (int c = 0; c < data->class_count; c++) {
        lua_pushinteger(L, (lua_Integer)sums[c]);
        lua_setfield(L, -2, data->classes[c]);
    }
    return 1;
}

static int dataset_skipped(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:skipped")->data;
    lua_newtable(L);
    for (int64_t i = 0; i < data->skipped_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, data->skipped[i].file);
        lua_setfield(L, -2, "file");
        lua_pushstring(L, data->skipped[i].reason);
        lua_setfield(L, -2, "reason");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* dataset:decoded() -> bytes of decoded photos in memory, the most there may be, and how many photos they are
 */
static int dataset_decoded(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:decoded")->data;
    int64_t photos;
    lua_pushinteger(L, (lua_Integer)gr_data_kept(data, &photos));
    lua_pushinteger(L, (lua_Integer)data->cache_limit);
    lua_pushinteger(L, (lua_Integer)photos);
    return 3;
}

/* dataset:duplicates() -> list of {first=file, second=file}: the same content in two classes or two sets */
static int dataset_duplicates(lua_State *L) {
    const struct gr_dataset *data = check(L, 1, "data:duplicates")->data;
    lua_newtable(L);
    for (int64_t i = 0; i < data->duplicate_count; i++) {
        lua_createtable(L, 0, 2);
        lua_pushstring(L, data->samples[data->duplicates[i].first].file);
        lua_setfield(L, -2, "first");
        lua_pushstring(L, data->samples[data->duplicates[i].second].file);
        lua_setfield(L, -2, "second");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* ---- sets ---- */

/* Pushes an empty set of the dataset at `dataset` (an absolute index). */
static struct graft_set *new_set(lua_State *L, int dataset) {
    struct graft_set *set = lua_newuserdatauv(L, sizeof *set, 1);
    *set = (struct graft_set){0};
    luaL_setmetatable(L, SET);
    lua_pushvalue(L, dataset);
    lua_setiuservalue(L, -2, 1);
    return set;
}

struct graft_set *graft_check_set(lua_State *L, int index, const char *who) {
    struct graft_set *set = luaL_testudata(L, index, SET);
    if (!set)
        graft_bad_argument(L, who, index, "the set", "a set of photos, such as data.val");
    index = lua_absindex(L, index);
    lua_getiuservalue(L, index, 1);
    check(L, -1, who);
    lua_pop(L, 1);
    return set;
}

struct graft_dataset *graft_dataset_of(lua_State *L, int index) {
    lua_getiuservalue(L, index, 1);
    struct graft_dataset *dataset = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return dataset->owner;
}

static int set_collect(lua_State *L) {
    struct graft_set *set = luaL_checkudata(L, 1, SET);
    if (set->owned)
        gr_set_free(set->set);
    *set = (struct graft_set){0};
    return 0;
}

/* dataset:set(name) */
static int dataset_set(lua_State *L) {
    const struct graft_dataset *dataset = check(L, 1, "data:set");
    int which = graft_choice(L, 2, "data:set", "the set", set_names, -1);
    if (which == GR_TRAIN && dataset->shared) {
        lua_getiuservalue(L, 1, 2);
        return 1;
    }
    struct graft_set *set = new_set(L, 1);
    set->set = dataset->data->sets[which];
    if (!set->set) {
        set->owned = true;
        graft_check(L, gr_set_create(&set->set, dataset->data, (enum gr_set_kind)which, NULL, 0));
    }
    return 1;
}

/* dataset:with(train) -> dataset: the same data with another train set */
static int dataset_with(lua_State *L) {
    const struct graft_dataset *dataset = check(L, 1, "data:with");
    const struct graft_set *train = graft_check_set(L, 2, "data:with");
    if (train->set->data != dataset->data)
        return graft_fail(L, GR_ERROR_OPTION, "data:with: the set belongs to other data");
    struct graft_dataset *with = new_dataset(L);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, 2);
    *with = (struct graft_dataset){
        .data = dataset->data, .shared = true, .train = train->set, .owner = dataset->owner};
    return 1;
}

static int set_count(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)graft_check_set(L, 1, "set:count")->set->count);
    return 1;
}

static int set_name(lua_State *L) {
    lua_pushstring(L, set_names[graft_check_set(L, 1, "set:name")->set->kind]);
    return 1;
}

/* set:digest() -> SHA-256 of the photos' names and contents, in the set's order */
static int set_digest(lua_State *L) {
    const struct gr_set *set = graft_check_set(L, 1, "set:digest")->set;
    struct gr_digest digest;
    char hex[65];
    gr_digest_start(&digest);
    for (int64_t i = 0; i < set->count; i++) {
        const struct gr_sample *sample = &set->data->samples[set->samples[i]];
        gr_digest_add(&digest, sample->relative, strlen(sample->relative) + 1);
        gr_digest_add(&digest, sample->hash, sizeof sample->hash);
    }
    gr_digest_hex(&digest, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int set_dataset(lua_State *L) {
    graft_check_set(L, 1, "set:dataset");
    lua_getiuservalue(L, 1, 1);
    return 1;
}

void graft_push_class(lua_State *L, const struct gr_dataset *data, int64_t sample) {
    if (!data->multilabel) {
        lua_pushstring(L, gr_data_class(data, sample));
        return;
    }
    float *row = graft_scratch(L, (size_t)data->class_count, sizeof *row);
    lua_Integer n = 0;
    gr_data_target(data, sample, row);
    lua_newtable(L);
    for (int c = 0; c < data->class_count; c++) {
        if (row[c] == 0)
            continue;
        lua_pushstring(L, data->classes[c]);
        lua_rawseti(L, -2, ++n);
    }
    lua_remove(L, -2);
}

static int set_at(lua_State *L) {
    const struct gr_set *set = graft_check_set(L, 1, "set:at")->set;
    lua_Integer i = graft_integer(L, 2, "set:at", "the position");
    if (i < 1 || i > set->count)
        return graft_fail(L, GR_ERROR_SHAPE, "set:at: no photo %lld; the set has %lld", (long long)i,
                          (long long)set->count);
    int64_t sample = set->samples[i - 1];
    lua_createtable(L, 0, 2);
    lua_pushstring(L, set->data->samples[sample].file);
    lua_setfield(L, -2, "file");
    graft_push_class(L, set->data, sample);
    lua_setfield(L, -2, set->data->multilabel ? "classes" : "class");
    return 1;
}

/* set:take(list of positions) -> set */
/* set:photo(file, side) -> T [3,H,W] of 0..1: the photo of that name, its longer side at most `side` pixels
 */
static int set_photo(lua_State *L) {
    static const char who[] = "set:photo";
    const struct gr_set *set = graft_check_set(L, 1, who)->set;
    const char *file = graft_string(L, 2, who, "the file");
    lua_Integer side = graft_integer(L, 3, who, "the side");
    int64_t i = 0;
    while (i < set->count && strcmp(set->data->samples[set->samples[i]].file, file) != 0)
        i++;
    if (i == set->count || side < 1 || side > GR_IMAGE_MAX_SIDE)
        return graft_fail(L, GR_ERROR_OPTION, "%s: expected a photo of the set and a side of 1 to %d pixels",
                          who, GR_IMAGE_MAX_SIDE);
    struct gr_image *image = graft_new_image(L);
    graft_check(L, gr_data_read(set->data, set->samples[i], image));
    return graft_push_photo(L, image, (int)side, who);
}

static int set_take(lua_State *L) {
    const struct gr_set *set = graft_check_set(L, 1, "set:take")->set;
    if (!lua_istable(L, 2))
        return graft_bad_argument(L, "set:take", 2, "the positions", "a list");
    lua_Unsigned count = lua_rawlen(L, 2);
    int64_t *samples = graft_scratch(L, count, sizeof *samples);
    for (lua_Unsigned i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        lua_Integer position = luaL_checkinteger(L, -1);
        if (position < 1 || position > set->count)
            return graft_fail(L, GR_ERROR_SHAPE, "set:take: no photo %lld; the set has %lld",
                              (long long)position, (long long)set->count);
        samples[i] = set->samples[position - 1];
        lua_pop(L, 1);
    }
    lua_getiuservalue(L, 1, 1);
    struct graft_set *taken = new_set(L, lua_gettop(L));
    taken->owned = true;
    graft_check(L, gr_set_create(&taken->set, set->data, set->kind, samples, (int64_t)count));
    return 1;
}

/* set:targets() -> [N,K] */
static int set_targets(lua_State *L) {
    const struct gr_set *set = graft_check_set(L, 1, "set:targets")->set;
    int64_t sizes[] = {set->count, set->data->class_count};
    struct gr_tensor *out = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_create(out, GR_F32, 2, sizes), "set:targets");
    for (int64_t i = 0; i < set->count; i++)
        gr_data_target(set->data, set->samples[i], gr_tensor_floats(out) + i * sizes[1]);
    return 1;
}

/* set:order(fit, epoch) -> list of positions: in which order a shuffled epoch of that fit visits its photos
 */
static int set_order(lua_State *L) {
    static const char who[] = "set:order";
    const struct gr_set *set = graft_check_set(L, 1, who)->set;
    lua_Integer fit = graft_integer(L, 2, who, "the fit"), epoch = graft_integer(L, 3, who, "the epoch");
    int64_t *positions = graft_scratch(L, (size_t)set->count + 1, sizeof *positions);
    int64_t *order = graft_scratch(L, (size_t)set->count + 1, sizeof *order);
    for (int64_t i = 0; i < set->count; i++)
        positions[i] = i + 1;
    const struct gr_set numbered = {.data = set->data, .samples = positions, .count = set->count};
    gr_loader_order(&numbered, true, graft_state(L)->seed, (uint64_t)fit, (uint64_t)epoch, order);
    lua_createtable(L, (int)(set->count < INT_MAX ? set->count : INT_MAX), 0);
    for (int64_t i = 0; i < set->count; i++) {
        lua_pushinteger(L, order[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void graft_open_data(lua_State *L) {
    static const luaL_Reg dataset_methods[] = {
        {"name", dataset_name},       {"path", dataset_path},
        {"size", dataset_size},       {"multilabel", dataset_multilabel},
        {"digest", dataset_digest},   {"sums", dataset_sums},
        {"classes", dataset_classes}, {"counts", dataset_counts},
        {"skipped", dataset_skipped}, {"split", dataset_split},
        {"decoded", dataset_decoded}, {"duplicates", dataset_duplicates},
        {"set", dataset_set},         {"with", dataset_with},
        {"close", dataset_close},     {NULL, NULL},
    };
    static const luaL_Reg set_methods[] = {
        {"count", set_count},     {"name", set_name},   {"dataset", set_dataset},
        {"at", set_at},           {"photo", set_photo}, {"take", set_take},
        {"targets", set_targets}, {"order", set_order}, {"batches", graft_set_batches},
        {"digest", set_digest},   {NULL, NULL},
    };
    static const luaL_Reg functions[] = {
        {"data_folder", core_data_folder},
        {"data_csv", core_data_csv},
        {"data_idx", core_data_idx},
        {"data_list", core_data_list},
        {NULL, NULL},
    };
    graft_class(L, DATASET, dataset_methods, dataset_collect);
    graft_class(L, SET, set_methods, set_collect);
    luaL_setfuncs(L, functions, 0);
    graft_open_loader(L);
    graft_open_image(L);
}
