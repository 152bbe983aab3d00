/* The `graft` program: a Lua state, the standard library in it, and graft.cli's main. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/interrupt.h"
#include "base/status.h"
#include "base/threads.h"
#include "core.h"
#include "error.h"
#include "module.h"
#include "sandbox.h"
#include "state.h"

enum {
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_SIGNAL = 128, /* and the signal's number */
    HOOK_INSTRUCTIONS =
        10000000, /* of Lua after Ctrl-C before a script that never looks is stopped: about 0.1 s */
};

static const double MOMENT = 0.5; /* seconds in which several Ctrl-C are one */

static volatile sig_atomic_t signal_came; /* what a handler can reach */
static lua_State *volatile running;       /* main, or the coroutine that a guest runs */
static const struct graft_state *main_record;
static volatile double heard_at; /* the last Ctrl-C, in seconds */
static volatile sig_atomic_t warned;

static volatile sig_atomic_t insisting; /* a script was stopped once since the signal came */

/* A script that computes without calling graft is stopped here; graft's own loops look at the flag long
 * before. A script that catches the error is stopped again at its next instruction: only the embedded
 * library, which knows what to do, goes on. */
static void stop_script(lua_State *L, lua_Debug *info) {
    if (insisting && lua_getinfo(L, "S", info) && graft_embedded(info))
        return;
    int status = graft_poll(L);
    if (status && !insisting) {
        insisting = 1;
        lua_sethook(L, stop_script, LUA_MASKCOUNT, 1);
    }
    graft_check(L, status);
}

/* At the prompt: Graft has raised the error of an interrupt, and a script may catch it. */
static void insist(lua_State *L) {
    if (!signal_came)
        return;
    insisting = 1;
    lua_sethook(L, stop_script, LUA_MASKCOUNT, 1);
    lua_sethook(running, stop_script, LUA_MASKCOUNT, 1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Another Ctrl-C at the prompt, while the first one is being obeyed: it ends the program, and with it all
 * that the session holds, only when it comes after a warning. Those that follow at once count as one. */
static bool insists(void) {
    static const char words[] = "\nstopping as soon as it can; Ctrl-C once more ends Graft at once\n";
    double time = now();
    if (time - heard_at < MOMENT)
        return false;
    heard_at = time;
    if (warned)
        return true;
    warned = 1;
    return write(STDERR_FILENO, words, sizeof words - 1) < 0; /* nobody is there */
}

static void on_signal(int number) {
    int kept = errno;
    if (signal_came) {
        bool again = number == SIGINT && signal_came == SIGINT && main_record->patient;
        if (!again || insists())
            _exit(EXIT_SIGNAL + number);
    } else {
        heard_at = now();
        warned = 0;
        signal_came = number;
        insisting = 0;
        lua_sethook(running, stop_script, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    }
    errno = kept;
}

static void catch_signals(lua_State *L) {
    struct sigaction action = {.sa_handler = on_signal};
    running = L;
    main_record = graft_state(L);
    gr_interrupt_watch(&signal_came);
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGXCPU, &action, NULL); /* the sandbox's limit of time */
}

static bool has_option(int argc, char **argv, const char *option) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], option) == 0)
            return true;
    return false;
}

/* Message handler under --trace: prints the traceback at once and leaves the error as it is. */
static int print_trace(lua_State *L) {
    if (lua_istable(L, 1) && lua_getfield(L, 1, "exit") != LUA_TNIL)
        lua_settop(L, 1);
    else {
        lua_settop(L, 1);
        luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        lua_settop(L, 1);
    }
    return 1;
}

/* Of a recipe in the sandbox: everything that is trusted is loaded, then the process gives its rights up. */
static void become_guest(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "graft.guest");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "prepare");
    lua_call(L, 0, 0);
    lua_pop(L, 1);
    if (graft_guest_lock(L)) {
        fprintf(stderr, "graft: %s\n", gr_error()->message);
        exit(GRAFT_GUEST_REFUSED);
    }
}

/* Everything that may raise. Arguments: argc, argv. Returns the exit status. */
static int run(lua_State *L) {
    int argc = (int)lua_tointeger(L, 1);
    char **argv = lua_touserdata(L, 2);
    struct graft_state *state = graft_state(L);
    state->program = true;
    state->signal = &signal_came;
    state->running = &running;
    state->insist = insist;
    luaL_openlibs(L);
    graft_install(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "graft.core");
    lua_call(L, 1, 1);
    graft_open_repl(L);
    graft_open_child(L);
    graft_open_guard(L);
    bool guest = graft_guest_called(argc, argv);
    if (guest)
        graft_open_guest(L);
    lua_pop(L, 1);
    catch_signals(L);
    if (guest)
        become_guest(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "graft.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    int first = guest ? 2 : 1; /* after the program's name */
    int words = argc > first ? argc - first : 0;
    luaL_checkstack(L, words, "too many arguments");
    for (int i = 0; i < words; i++)
        lua_pushstring(L, argv[first + i]);
    lua_call(L, words, 1);
    return 1;
}

/* The exit status that an error means; what it has to say goes to stderr. */
static int report(lua_State *L, bool traced) {
    if (lua_istable(L, -1)) {
        if (lua_getfield(L, -1, "exit") == LUA_TNUMBER)
            return (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
        bool usage = lua_getfield(L, -1, "usage") == LUA_TBOOLEAN;
        lua_pop(L, 1);
        bool stopped =
            lua_getfield(L, -1, "kind") == LUA_TSTRING && strcmp(lua_tostring(L, -1), "interrupt") == 0;
        lua_pop(L, 1);
        if (stopped && signal_came)
            return EXIT_SIGNAL + signal_came;
        if (!traced)
            fprintf(stderr, "graft: %s\n", luaL_tolstring(L, -1, NULL));
        return usage ? EXIT_USAGE : EXIT_FAILED;
    }
    const char *text = lua_tostring(L, -1); /* no luaL_tolstring: memory may have run out */
    if (!traced)
        fprintf(stderr, "graft: %s\n", text ? text : "an error that is no text");
    return EXIT_FAILED;
}

static int report_protected(lua_State *L) {
    lua_pushinteger(L, report(L, lua_toboolean(L, lua_upvalueindex(1))));
    return 1;
}

int main(int argc, char **argv) {
    bool trace = has_option(argc, argv, "--trace");
    setlocale(LC_CTYPE, ""); /* for line editing; numbers stay in the C locale */
    if (graft_guest_called(argc, argv) && graft_guest_enter()) {
        fprintf(stderr, "graft: %s\n", gr_error()->message);
        return GRAFT_GUEST_REFUSED;
    }
    lua_State *L = graft_guest_called(argc, argv) ? graft_guest_state() : luaL_newstate();
    if (!L) {
        fprintf(stderr, "graft: no memory to start\n");
        return EXIT_FAILED;
    }
    lua_pushcfunction(L, print_trace);
    lua_pushcfunction(L, run);
    lua_pushinteger(L, argc);
    lua_pushlightuserdata(L, argv);
    int status = EXIT_FAILED;
    if (lua_pcall(L, 2, 1, trace ? 1 : 0) == LUA_OK) {
        status = lua_isinteger(L, -1) ? (int)lua_tointeger(L, -1) : 0;
    } else {
        lua_pushboolean(L, trace);
        lua_pushcclosure(L, report_protected, 1);
        lua_insert(L, -2);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK)
            status = (int)lua_tointeger(L, -1);
        else
            fprintf(stderr, "graft: not enough memory\n");
    }
    lua_close(L);
    gr_threads_stop();
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) {
        fprintf(stderr, "graft: standard output: cannot be written\n");
        status = EXIT_FAILED;
    }
    return status;
}
