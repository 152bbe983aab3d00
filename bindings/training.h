/* What the files of the training bindings share: losses (built in, or written in Lua) and descriptions. */
#ifndef GRAFT_BINDINGS_TRAINING_H
#define GRAFT_BINDINGS_TRAINING_H

#include <lua.h>
#include <lauxlib.h>

#include "io/weights.h"
#include "train/loss.h"
#include "train/optimizer.h"
#include "train/schedule.h"

/* A loss that is a Lua function, for the time of one call: set before the runtime is entered. */
struct graft_loss_call {
    lua_State *L;
    int function; /* stack index of the function */
    int batch;    /* stack index of what it gets as its third argument; 0: nil */
};

/* Reads the loss at `index`: a description {kind=, ...}, a function, or nil (the usual one for `multilabel`).
 * `classes` are the names in class_weights. Pushes one value that keeps what *out points to; `call` stays the
 * caller's. */
void graft_loss(lua_State *L, int index, const char *who, const char *const *classes, int class_count,
                bool multilabel, struct graft_loss_call *call, struct gr_loss *out);

struct gr_optimizer_options graft_optimizer(lua_State *L, int index, const char *who);
struct gr_schedule graft_schedule(lua_State *L, int index, const char *who);

void graft_open_losses(lua_State *L);
void graft_open_custom(lua_State *L);

/* A new weights object on the stack; the list that it will hold and release goes where this points. */
struct gr_weights **graft_new_weights(lua_State *L);

#endif
