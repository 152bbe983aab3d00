/* The userdata "graft.dataset", "graft.set" and "graft.batch". */
#ifndef GRAFT_BINDINGS_DATA_H
#define GRAFT_BINDINGS_DATA_H

#include <lua.h>
#include <lauxlib.h>

#include "train/features.h"

struct graft_dataset {
    struct gr_dataset *data; /* NULL: closed */
    bool shared;          /* the data belongs to the dataset in user value 1, the train set to user value 2 */
    struct gr_set *train; /* stands for the data's own train set, when shared */
    int loaders;          /* open: the data cannot be closed meanwhile */
    struct graft_dataset *owner; /* whose data it is: itself unless shared */
};

/* User value 1: its dataset. */
struct graft_set {
    struct gr_set *set;
    bool owned; /* not one of the data set's own three */
};

/* User value 1: its set; 2: its features. */
struct graft_loader {
    struct gr_loader *loader;      /* NULL: closed */
    const struct gr_batch *batch;  /* the current one, or NULL */
    struct graft_dataset *dataset; /* the owner of the data */
    const struct gr_set *set;
    struct gr_shape input;
    const struct gr_features *features; /* read instead of photos, or NULL */
    uint64_t epoch, serial;             /* serial: number of the current batch, from 1 */
    bool tensors;                       /* the iterator gives x and y */
    int busy;                           /* steps on the current batch that are under way */
};

/* A batch as Lua holds it. User value 1: its loader. */
struct graft_batch {
    struct graft_loader *loader;
    uint64_t serial;
    int n;
    int64_t samples[];
};

struct graft_set *graft_check_set(lua_State *L, int index, const char *who);
/* The owner of the data of the set at `index`. */
struct graft_dataset *graft_dataset_of(lua_State *L, int index);
struct graft_batch *graft_check_batch(lua_State *L, int index, const char *who);
/* The batch while it is the loader's current one; raises afterwards. */
const struct gr_batch *graft_current_batch(lua_State *L, int index, const char *who);

/* Pushes the name of a sample's class, or for several labels a photo the list of names. */
void graft_push_class(lua_State *L, const struct gr_dataset *data, int64_t sample);
/* The option augment= of the table at `index`: a preset's name, or a list. */
struct gr_augment graft_augment(lua_State *L, int index);
int graft_set_batches(lua_State *L); /* set:batches{...}, loader.c */
void graft_open_loader(lua_State *L);
void graft_open_image(lua_State *L);

/* Pushes an empty image that the collector releases. */
struct gr_image *graft_new_image(lua_State *L);
/* Pushes an image as a tensor [3,H,W] of 0..1, its longer side at most `side` pixels. */
int graft_push_photo(lua_State *L, const struct gr_image *image, int side, const char *who);

#endif
