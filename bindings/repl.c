/* core: reading lines at the prompt, with editing, history and completion (libedit).
 *
 * Only the program has this, not the Lua module: the host of a module has its own terminal, and perhaps its
 * own line editor. */
#define _GNU_SOURCE /* wcwidth's family, for libedit's header */
#include "core.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "error.h"
#include "state.h"

enum { HISTORY_LINES = 2000 };

/* One a Lua state, in the registry; made by the first call. */
struct repl {
    EditLine *editor;
    History *history;
    char *history_path; /* NULL: nothing is kept */
    lua_State *L;       /* while a line is read */
    int complete;       /* stack index of the completion function, or 0 */
    const char *prompt;
};

static const char REPL = 0; /* its address is the registry key */

static volatile sig_atomic_t *pending_signal(lua_State *L) {
    return graft_state(L)->signal;
}

/* One character from the terminal. libedit's own reader starts over after a signal; here a signal ends the
 * line. */
static int read_character(EditLine *editor, wchar_t *out) {
    struct repl *repl;
    mbstate_t state = {0};
    el_get(editor, EL_CLIENTDATA, &repl);
    for (;;) {
        volatile sig_atomic_t *came = pending_signal(repl->L);
        if (came && *came) {
            errno = EINTR;
            return -1;
        }
        char byte;
        ssize_t count = read(STDIN_FILENO, &byte, 1);
        if (count == 0)
            return 0;
        if (count < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        size_t used = mbrtowc(out, &byte, 1, &state);
        if (used == (size_t)-2)
            continue;
        if (used == (size_t)-1) { /* no text in this encoding: the byte is left out */
            memset(&state, 0, sizeof state);
            continue;
        }
        return 1;
    }
}

static char *show_prompt(EditLine *editor) {
    struct repl *repl;
    el_get(editor, EL_CLIENTDATA, &repl);
    return (char *)repl->prompt;
}

/* Tab: complete(text before the cursor) -> text to insert, text to show below the line or nil. */
static unsigned char on_tab(EditLine *editor, int character) {
    struct repl *repl;
    (void)character;
    el_get(editor, EL_CLIENTDATA, &repl);
    lua_State *L = repl->L;
    if (!repl->complete)
        return CC_NORM;
    int top = lua_gettop(L);
    const LineInfo *line = el_line(editor);
    lua_pushvalue(L, repl->complete);
    lua_pushlstring(L, line->buffer, (size_t)(line->cursor - line->buffer));
    unsigned char result = CC_NORM;
    if (lua_pcall(L, 1, 2, 0) == LUA_OK) {
        const char *insert = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        const char *show = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        if (insert[0] && el_insertstr(editor, insert) == 0)
            result = CC_REFRESH;
        if (show) {
            printf("\n%s\n", show);
            result = CC_REDISPLAY;
        }
    }
    lua_settop(L, top);
    return result;
}

static int release(lua_State *L) {
    struct repl *repl = lua_touserdata(L, 1);
    if (repl->editor)
        el_end(repl->editor);
    if (repl->history)
        history_end(repl->history);
    free(repl->history_path);
    *repl = (struct repl){0};
    return 0;
}

/* The state's record. It lives in the registry, so that the pointer stays good. */
static struct repl *get_repl(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &REPL) != LUA_TNIL) {
        struct repl *repl = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return repl;
    }
    lua_pop(L, 1);
    struct repl *repl = lua_newuserdatauv(L, sizeof *repl, 0);
    *repl = (struct repl){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, release);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &REPL);
    HistEvent event;
    repl->history = history_init();
    if (!repl->history)
        luaL_error(L, "core.read_line: no memory for the history");
    history(repl->history, &event, H_SETSIZE, HISTORY_LINES);
    history(repl->history, &event, H_SETUNIQUE, 1);
    return repl;
}

static void open_editor(lua_State *L, struct repl *repl) {
    if (MB_CUR_MAX == 1) /* no locale is set: file names are UTF-8 all the same */
        setlocale(LC_CTYPE, "C.UTF-8");
    repl->editor = el_init("graft", stdin, stdout, stderr);
    if (!repl->editor)
        luaL_error(L, "core.read_line: the terminal cannot be used");
    el_set(repl->editor, EL_CLIENTDATA, repl);
    el_set(repl->editor, EL_PROMPT, show_prompt);
    el_set(repl->editor, EL_EDITOR, "emacs");
    el_set(repl->editor, EL_SIGNAL, 0); /* signals are main.c's */
    el_set(repl->editor, EL_HIST, history, repl->history);
    /* the wide form keeps these pointers; the narrow one would copy the strings and never free them */
    el_wset(repl->editor, EL_ADDFN, L"graft-complete", L"completes names", on_tab);
    el_set(repl->editor, EL_BIND, "^I", "graft-complete", NULL);
    el_set(repl->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(repl->editor, NULL); /* ~/.editrc */
    el_set(repl->editor, EL_GETCFN, read_character);
}

static void remember(struct repl *repl, const char *line) {
    HistEvent event;
    if (line[strspn(line, " \t\n")] == '\0')
        return;
    history(repl->history, &event, H_ENTER, line);
    if (repl->history_path)
        history(repl->history, &event, H_SAVE, repl->history_path);
}

/* core.read_line(prompt [, complete]) -> line without its newline | nil [, "interrupt" or "terminate"] */
static int core_read_line(lua_State *L) {
    const char *prompt = graft_string(L, 1, "core.read_line", "the prompt");
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    struct repl *repl = get_repl(L);
    if (!repl->editor)
        open_editor(L, repl);
    repl->L = L;
    repl->prompt = prompt;
    repl->complete = lua_isnil(L, 2) ? 0 : 2;
    el_resize(repl->editor);
    int count = 0;
    const char *line = el_gets(repl->editor, &count);
    volatile sig_atomic_t *came = pending_signal(L);
    if (!line || count <= 0) {
        fputs(came && *came == SIGINT ? "^C\n" : "\n", stdout);
        fflush(stdout);
        lua_pushnil(L);
        if (!came || !*came)
            return 1;
        lua_pushstring(L, *came == SIGTERM ? "terminate" : "interrupt");
        if (*came == SIGINT)
            *came = 0;
        return 2;
    }
    if (line[count - 1] == '\n')
        count--;
    lua_pushlstring(L, line, (size_t)count);
    remember(repl, lua_tostring(L, -1));
    return 1;
}

/* core.history(path): reads the lines kept there, and keeps those of this session there from now on. */
static int core_history(lua_State *L) {
    const char *path = graft_string(L, 1, "core.history", "the file");
    struct repl *repl = get_repl(L);
    HistEvent event;
    char *copy = strdup(path);
    if (!copy)
        return luaL_error(L, "core.history: not enough memory");
    free(repl->history_path);
    repl->history_path = copy;
    history(repl->history, &event, H_LOAD, path); /* there may be none yet */
    return 0;
}

/* core.interactive() -> boolean: does somebody type at standard input? */
static int core_interactive(lua_State *L) {
    lua_pushboolean(L, isatty(STDIN_FILENO));
    return 1;
}

void graft_open_repl(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"read_line", core_read_line},
        {"history", core_history},
        {"interactive", core_interactive},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
