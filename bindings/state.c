/* What belongs to one Lua state. */
#include "state.h"

#include "base/status.h"

static const char KEY = 0; /* its address is the registry key */

struct graft_state *graft_state(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &KEY);
    struct graft_state *state = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!state) {
        state = lua_newuserdatauv(L, sizeof *state, 0);
        *state = (struct graft_state){.seed = 1};
        lua_rawsetp(L, LUA_REGISTRYINDEX, &KEY);
    }
    return state;
}

int graft_poll(lua_State *L) {
    const struct graft_state *state = graft_state(L);
    if (!state->held && state->signal && *state->signal)
        return gr_fail(GR_ERROR_INTERRUPT, *state->signal == SIGTERM   ? "ended by the system"
                                           : *state->signal == SIGXCPU ? "the limit of time is reached"
                                                                       : "stopped by you");
    return GR_OK;
}
