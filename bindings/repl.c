/* core: reading lines at the prompt, with editing, history and completion (libedit).
 *
 * Only the program has this, not the Lua module: the host of a module has its own terminal, and perhaps its
 * own line editor. */
#define _GNU_SOURCE /* wcwidth's family, for libedit's header */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "error.h"
#include "state.h"

enum {
    HISTORY_ENTRIES = 2000,
    LONGEST_PASTE = 1 << 20, /* characters; the rest of a longer one is left out */
};

/* A terminal that knows bracketed paste puts these around what was pasted; others ignore the first two. */
static const char PASTE_ON[] = "\x1b[?2004h", PASTE_OFF[] = "\x1b[?2004l", PASTE_END[] = "\x1b[201~";

/* One a Lua state, in the registry; made by the first call. */
struct repl {
    EditLine *editor;
    History *history;
    lua_State *L;   /* while a line is read */
    int complete;   /* stack index of the completion function, or 0 */
    bool brackets;  /* the terminal is asked to mark what is pasted */
    bool cancelled; /* a signal was heard; the cursor is on its way behind the line */
    const char *prompt;
};

/* The key that nobody presses by which a signal becomes a command of the editor's. */
enum { CANCEL_KEY = 0x1f };

static const char REPL = 0; /* its address is the registry key */

static volatile sig_atomic_t redraw; /* the window has another size, or the program was stopped and goes on */
static pthread_t reader;             /* the thread that waits for the terminal */

static void on_redraw(int number) {
    redraw = 1;
    if (!pthread_equal(pthread_self(), reader)) /* a library's: the one that waits has to hear of it */
        pthread_kill(reader, number);
}

static volatile sig_atomic_t *pending_signal(lua_State *L) {
    return graft_state(L)->signal;
}

/* After a change of the window or a stop: the line again, from the left edge. */
static void draw_again(struct repl *repl) {
    redraw = 0;
    if (repl->brackets)
        fputs("\r\x1b[J", stdout);
    el_set(repl->editor, EL_PREP_TERM, 0); /* a shell may have changed how the terminal is set */
    el_set(repl->editor, EL_PREP_TERM, 1);
    el_resize(repl->editor);
    el_set(repl->editor, EL_REFRESH);
}

/* One byte: 1, 0 at the end of input, or -1, also when a signal asks to stop. */
static int read_byte(struct repl *repl, char *out) {
    for (;;) {
        const volatile sig_atomic_t *came = pending_signal(repl->L);
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (came && *came && !repl->cancelled) {
            repl->cancelled = true;
            *out = CANCEL_KEY;
            return 1;
        }
        if (came && *came) {
            errno = EINTR;
            return -1;
        }
        if (redraw)
            draw_again(repl);
        if (poll(&input, 1, -1) < 0) { /* unlike read, poll is never started over after a signal */
            if (errno == EINTR)
                continue;
            return -1;
        }
        ssize_t count = read(STDIN_FILENO, out, 1);
        if (count >= 0)
            return (int)count;
        if (errno != EINTR)
            return -1;
    }
}

/* One character from the terminal. libedit's own reader starts over after a signal; here a signal ends the
 * line. */
static int read_character(EditLine *editor, wchar_t *out) {
    struct repl *repl;
    mbstate_t state = {0};
    el_get(editor, EL_CLIENTDATA, &repl);
    for (;;) {
        char byte;
        int count = read_byte(repl, &byte);
        if (count <= 0)
            return count;
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

/* A pasted character as the line takes it: line ends of all systems are one, control characters are left out.
 */
static wchar_t pasted(wchar_t c, wchar_t before) {
    if (c == L'\r' || (c == L'\n' && before != L'\r'))
        return L'\n';
    return c == L'\t' || (c >= L' ' && c != 0x7f) ? c : 0;
}

/* Reads what was pasted, up to the mark of its end, which stays in `text`. Returns the length without it. */
static size_t read_paste(struct repl *repl, wchar_t *text) {
    size_t length = 0, matched = 0, end = sizeof PASTE_END - 1;
    wchar_t c, before = 0;
    while (matched < end && read_character(repl->editor, &c) == 1) {
        matched = c == (wchar_t)PASTE_END[matched] ? matched + 1 : c == L'\x1b';
        wchar_t kept = pasted(c, before);
        before = c;
        if (kept && length < LONGEST_PASTE)
            text[length++] = kept;
    }
    if (matched == end)
        length -= length < end - 1 ? length : end - 1; /* the mark without its escape character */
    return length;
}

/* The whole block goes into the line, where it can be seen and changed; Enter runs it. */
static unsigned char on_paste(EditLine *editor, int character) {
    struct repl *repl;
    (void)character;
    el_get(editor, EL_CLIENTDATA, &repl);
    wchar_t *text = calloc(LONGEST_PASTE + 1, sizeof *text);
    if (!text)
        return CC_ERROR;
    size_t length = read_paste(repl, text);
    while (length > 0 && wcschr(L"\n\t ", text[length - 1]))
        length--;
    text[length] = 0;
    int status = length > 0 ? el_winsertstr(editor, text) : 0;
    free(text);
    return status ? CC_ERROR : CC_REFRESH;
}

static int release(lua_State *L) {
    struct repl *repl = lua_touserdata(L, 1);
    if (repl->editor)
        el_end(repl->editor);
    if (repl->history)
        history_end(repl->history);
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
    history(repl->history, &event, H_SETSIZE, HISTORY_ENTRIES);
    history(repl->history, &event, H_SETUNIQUE, 1);
    return repl;
}

/* A signal ended the line: what comes next is written behind it. */
static unsigned char on_cancel(EditLine *editor, int character) {
    struct repl *repl;
    (void)character;
    el_get(editor, EL_CLIENTDATA, &repl);
    if (!repl->cancelled)
        return CC_ERROR;
    const LineInfo *line = el_line(editor);
    el_cursor(editor, (int)(line->lastchar - line->cursor));
    return CC_REFRESH;
}

static void bind_keys(EditLine *editor) {
    static const char *const keys[][2] = {
        {"^I", "graft-complete"},          {"\\e[200~", "graft-paste"},  {"^_", "graft-cancel"},
        {"^R", "em-inc-search-prev"},      {"^S", "em-inc-search-next"}, {"\\e[1~", "ed-move-to-beg"},
        {"\\e[4~", "ed-move-to-end"},      {"\\e[H", "ed-move-to-beg"},  {"\\e[F", "ed-move-to-end"},
        {"\\e[3~", "ed-delete-next-char"}, {"\\e[1;5D", "ed-prev-word"}, {"\\e[1;5C", "em-next-word"},
    };
    /* the wide form keeps these pointers; the narrow one would copy the strings and never free them */
    el_wset(editor, EL_ADDFN, L"graft-complete", L"completes names", on_tab);
    el_wset(editor, EL_ADDFN, L"graft-paste", L"takes what is pasted as it is", on_paste);
    el_wset(editor, EL_ADDFN, L"graft-cancel", L"gives the line up", on_cancel);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        el_set(editor, EL_BIND, keys[i][0], keys[i][1], NULL);
}

static void open_editor(lua_State *L, struct repl *repl) {
    struct sigaction action = {.sa_handler = on_redraw, .sa_flags = SA_RESTART};
    const char *kind = getenv("TERM");
    if (MB_CUR_MAX == 1) /* no locale is set: file names are UTF-8 all the same */
        setlocale(LC_CTYPE, "C.UTF-8");
    repl->editor = el_init("graft", stdin, stdout, stderr);
    if (!repl->editor)
        luaL_error(L, "core.read_line: the terminal cannot be used");
    repl->brackets = kind && strcmp(kind, "dumb") != 0;
    el_set(repl->editor, EL_CLIENTDATA, repl);
    el_set(repl->editor, EL_PROMPT, show_prompt);
    el_set(repl->editor, EL_EDITOR, "emacs");
    el_set(repl->editor, EL_SIGNAL, 0); /* signals are main.c's */
    el_set(repl->editor, EL_HIST, history, repl->history);
    bind_keys(repl->editor);
    el_source(repl->editor, NULL); /* ~/.editrc */
    el_set(repl->editor, EL_GETCFN, read_character);
    reader = pthread_self();
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
}

/* Turns the marks around pasted text on while a line is read: what runs meanwhile may read the terminal too.
 */
static void bracket_pastes(const struct repl *repl, const char *how) {
    if (!repl->brackets)
        return;
    fputs(how, stdout);
    fflush(stdout);
}

/* core.read_line(prompt [, complete]) -> text without its last newline | nil [, "interrupt" or "terminate",
 * whether nothing was typed] */
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
    repl->cancelled = false;
    redraw = 0;
    el_resize(repl->editor);
    bracket_pastes(repl, PASTE_ON);
    int count = 0;
    const char *line = el_gets(repl->editor, &count);
    volatile sig_atomic_t *came = pending_signal(L);
    if (!line || count <= 0) {
        bool empty = el_line(repl->editor)->lastchar == el_line(repl->editor)->buffer;
        fputs(came && *came == SIGINT ? "^C\n" : "\n", stdout);
        fflush(stdout);
        bracket_pastes(repl, PASTE_OFF);
        lua_pushnil(L);
        if (!came || !*came)
            return 1;
        lua_pushstring(L, *came == SIGTERM ? "terminate" : "interrupt");
        lua_pushboolean(L, empty);
        return 3;
    }
    if (line[count - 1] == '\n')
        count--;
    lua_pushlstring(L, line, (size_t)count);
    bracket_pastes(repl, PASTE_OFF);
    return 1;
}

/* core.remember(text): an entry of the history, which may have several lines. */
static int core_remember(lua_State *L) {
    const char *text = graft_string(L, 1, "core.remember", "the text");
    HistEvent event;
    history(get_repl(L)->history, &event, H_ENTER, text);
    return 0;
}

/* core.make_private(path): the file is there, and when it is a plain file, nobody else may read it. */
static int core_make_private(lua_State *L) {
    const char *path = graft_string(L, 1, "core.make_private", "the file");
    struct stat info;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    bool done = descriptor >= 0 && fstat(descriptor, &info) == 0 &&
                (!S_ISREG(info.st_mode) || fchmod(descriptor, 0600) == 0);
    int why = errno;
    if (descriptor >= 0)
        close(descriptor);
    return done ? 0 : graft_fail(L, GR_ERROR_FILE, "%s: %s", path, strerror(why));
}

/* core.interactive() -> boolean: does somebody type at standard input? */
static int core_interactive(lua_State *L) {
    lua_pushboolean(L, isatty(STDIN_FILENO));
    return 1;
}

void graft_open_repl(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"read_line", core_read_line},
        {"remember", core_remember},
        {"make_private", core_make_private},
        {"interactive", core_interactive},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
