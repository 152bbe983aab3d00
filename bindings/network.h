/* The userdata "graft.network": one gr_network with the inference plans that its last uses compiled. */
#ifndef GRAFT_BINDINGS_NETWORK_H
#define GRAFT_BINDINGS_NETWORK_H

#include <lua.h>
#include <lauxlib.h>

#include "net/network.h"
#include "plan/plan.h"

enum { GRAFT_PLANS = 4 }; /* kept a network */

struct graft_plan {
    struct gr_plan *plan;
    struct gr_layer **outputs; /* asked for; NULL: the main classifier */
    int output_count, capacity;
    struct gr_shape input;
    uint64_t used; /* when it was used last; the oldest is given up */
};

struct graft_network {
    struct gr_network *net; /* NULL: closed */
    int users;              /* trainers that hold it: it cannot be closed meanwhile */
    int locked;             /* calls of the runtime that may ask a script's functions: no change meanwhile */
    bool running;           /* in inference, which is no place to begin it again */
    struct graft_plan plans[GRAFT_PLANS];
    uint64_t clock;
};

/* Pushes an empty network for the caller to fill: userdata first, resource second. */
struct graft_network *graft_new_network(lua_State *L);
/* The network at `index`; raises kind "option" when it is none or was closed. `who` is the user's function.
 */
struct graft_network *graft_check_network(lua_State *L, int index, const char *who);
/* The same for a function that changes it: raises while it runs or learns, and in a finalizer. */
struct graft_network *graft_change_network(lua_State *L, int index, const char *who);
/* Around calls of the runtime that may call functions of a script: lock before, unlock after, nothing raised
 * between. */
void graft_lock(struct graft_network *network);
int graft_unlock(struct graft_network *network, int status);
/* To be called when a network was filled: raises when status is not GR_OK, else tells the collector of its
 * memory. Returns 1. The network is on top of the stack. */
int graft_made_network(lua_State *L, int status, const char *who);

/* Moves values between users' order [N,C,H,W] (or [N,C]) and the runtime's [N,H,W,C]. Neither raises. */
int graft_to_inner(const struct gr_tensor *x, struct gr_shape shape, float *inner);
int graft_from_inner(struct gr_tensor *out, int n, struct gr_shape shape, const float *inner);

/* Reads {resize=, stretch=, interpolation=, mean=, std=, bgr=}: keys given replace those in *out. */
void graft_preprocessing(lua_State *L, int index, const char *who, struct gr_preprocessing *out);

extern const luaL_Reg graft_network_building[]; /* network_build.c */
extern const luaL_Reg graft_network_running[];  /* network_run.c */

#endif
