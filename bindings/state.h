/* What belongs to one Lua state: its seed, the fit that runs, the words of the command line, and where a
 * signal shows. */
#ifndef GRAFT_BINDINGS_STATE_H
#define GRAFT_BINDINGS_STATE_H

#include <lua.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct graft_state {
    uint64_t seed;       /* of every random stream; 1 at the start */
    uint64_t draws;      /* random tensors since the seed was set: the next one's number */
    uint64_t fit;        /* ordinal of the present fit */
    bool program;        /* build/graft itself, not a module of another program */
    size_t limit;        /* of memory, as it was asked for; 0: none */
    size_t collected_at; /* bytes of ours that were live after the last whole collection (see graft_charge) */
    int callbacks;       /* functions of a script that the runtime is calling just now */
    bool patient;        /* the prompt: a second Ctrl-C does not end the program at once */
    bool guest;          /* a recipe in the sandbox: bindings/sandbox.h */
    bool ended;          /* of a guest: memory ran out, or a signal came; no pcall goes on */
    void (*set_limit)(size_t bytes); /* of a guest: its own limit of memory below the sandbox's; 0: none */
    bool held;                       /* the signal was heard: what is under way may finish */
    lua_State *volatile
        *running; /* whom a signal stops: the coroutine that runs; NULL: signals are the host's */
    void (*insist)(lua_State *L);  /* stops a script that caught the error of an interrupt; or NULL */
    volatile sig_atomic_t *signal; /* the signal that asked to stop, or 0; NULL: signals are the host's */
};

/* The state's record; made on the first call. */
struct graft_state *graft_state(lua_State *L);

/* Sets the interrupt error and returns GR_ERROR_INTERRUPT when a signal has come, else GR_OK. */
int graft_poll(lua_State *L);

#endif
