/* The userdata "graft.features": what a frozen prefix makes of the photos of some sets. */
#ifndef GRAFT_BINDINGS_FEATURE_CACHE_H
#define GRAFT_BINDINGS_FEATURE_CACHE_H

#include <lua.h>
#include <lauxlib.h>

#include "train/outputs.h"

/* The features at `index`, or NULL for nil and none; raises for anything else, and for closed ones. */
const struct gr_features *graft_features(lua_State *L, int index, const char *who);
/* Counts what reads the features at `index` (nothing when it is none): +1 at its begin, -1 at its end. */
void graft_count_features(lua_State *L, int index, int change);

/* The features of one set that were remembered, for photos of `input` and in this precision: NULL when there
 * are none. The caller frees them; `status` is not 0 when something failed. */
struct gr_features *graft_remembered(lua_State *L, struct gr_network *net, const struct gr_set *set,
                                     struct gr_shape input, enum gr_precision precision, int *status);

/* A function of Lua that hears how far a pass is: the payload of graft_on_progress, which asks for Ctrl-C as
 * well. */
struct graft_progress {
    lua_State *L;
    int function; /* stack index, or 0: nobody asks */
};
int graft_on_progress(void *progress, int64_t done, int64_t total);

/* A pass over the photos of the set at 2 with the network at 1: from remembered features where there are
 * some, with `size` and `prefix` of the table at 4, which are entered into the options for `run`. Raises what
 * fails. */
typedef int graft_pass_body(void *payload, struct gr_network *net, const struct gr_set *set,
                            const struct gr_outputs_options *options);
void graft_pass(lua_State *L, const char *who, struct gr_outputs_options *options, graft_pass_body *run,
                void *payload);

void graft_open_features(lua_State *L);
void graft_open_probes(lua_State *L); /* bindings/probes.c */

#endif
