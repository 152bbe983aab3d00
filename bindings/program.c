/* core: state, threads, memory, clocks, the terminal, names and text. */
#define _GNU_SOURCE /* for the terminal's size, and the notes of an ELF file */
#include "core.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "base/paths.h"
#include "base/threads.h"
#include "data/image.h"
#include "error.h"
#include "kernels/kernels.h"
#include "state.h"

enum { MOST_NUMBERS = 1 << 24 }; /* in one list */

static int core_seed(lua_State *L) {
    struct graft_state *state = graft_state(L);
    if (!lua_isnoneornil(L, 1)) {
        state->seed = (uint64_t)graft_integer(L, 1, "core.seed", "the seed");
        state->draws = 0;
    }
    lua_pushinteger(L, (lua_Integer)state->seed);
    return 1;
}

/* core.draws([n]) -> random tensors since the seed was set */
static int core_draws(lua_State *L) {
    struct graft_state *state = graft_state(L);
    if (!lua_isnoneornil(L, 1))
        state->draws = (uint64_t)graft_integer(L, 1, "core.draws", "their number");
    lua_pushinteger(L, (lua_Integer)state->draws);
    return 1;
}

static int core_fit(lua_State *L) {
    struct graft_state *state = graft_state(L);
    if (!lua_isnoneornil(L, 1))
        state->fit = (uint64_t)graft_integer(L, 1, "core.fit", "the ordinal");
    lua_pushinteger(L, (lua_Integer)state->fit);
    return 1;
}

static int core_threads(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer n = graft_integer(L, 1, "threads", "their number");
        if (n < 0 || n > GR_MAX_THREADS)
            return graft_fail(L, GR_ERROR_OPTION, "threads must be 0 (one a processor) to %d, got %lld",
                              GR_MAX_THREADS, (long long)n);
        if (graft_state(L)->callbacks > 0) /* what is under way has its memory cut for so many */
            return graft_fail(
                L, GR_ERROR_OPTION,
                "threads: their number cannot change inside a loss, a layer or a progress function");
        graft_check(L, gr_threads_set((int)n));
    }
    lua_pushinteger(L, gr_threads());
    return 1;
}

static int core_memory(lua_State *L) {
    if (!lua_isnoneornil(L, 1)) {
        lua_Integer limit = graft_integer(L, 1, "memory", "the limit in bytes");
        if (limit < 0)
            return graft_fail(L, GR_ERROR_OPTION,
                              "memory: the limit must be 0 (none) or more bytes, got %lld", (long long)limit);
        struct graft_state *state = graft_state(L);
        state->limit = (size_t)limit;
        if (state->guest)
            state->set_limit(state->limit);
        else
            gr_memory_limit(state->limit);
    }
    struct gr_memory memory = gr_memory();
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, (lua_Integer)gr_memory_share());
    lua_setfield(L, -2, "share");
    lua_pushinteger(L, (lua_Integer)memory.live);
    lua_setfield(L, -2, "live");
    lua_pushinteger(L, (lua_Integer)memory.peak);
    lua_setfield(L, -2, "peak");
    lua_pushinteger(L, (lua_Integer)memory.blocks);
    lua_setfield(L, -2, "blocks");
    lua_pushinteger(L, (lua_Integer)graft_state(L)->limit);
    lua_setfield(L, -2, "limit");
    return 1;
}

static int core_process_peak(lua_State *L) {
    size_t peak = gr_memory_process_peak();
    if (peak == 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)peak);
    return 1;
}

/* core.watch(coroutine): the one that a signal stops from now on */
static int core_watch(lua_State *L) {
    struct graft_state *state = graft_state(L);
    luaL_checktype(L, 1, LUA_TTHREAD);
    if (state->running)
        *state->running = lua_tothread(L, 1);
    return 0;
}

/* core.ended() -> boolean */
static int core_ended(lua_State *L) {
    lua_pushboolean(L, graft_state(L)->ended);
    return 1;
}

static int core_reset_peak(lua_State *L) {
    (void)L;
    gr_memory_reset_peak();
    return 0;
}

static int push_clock(lua_State *L, clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec * 1e-9);
    return 1;
}

static int core_clock(lua_State *L) {
    return push_clock(L, CLOCK_MONOTONIC);
}

static int core_interrupted(lua_State *L) {
    lua_pushboolean(L, graft_poll(L) != GR_OK);
    return 1;
}

static int core_check_interrupt(lua_State *L) {
    graft_check(L, graft_poll(L));
    return 0;
}

static int core_clear_interrupt(lua_State *L) {
    struct graft_state *state = graft_state(L);
    if (state->signal) {
        *state->signal = 0;
        lua_sethook(L, NULL, 0, 0); /* main.c's */
        gr_interrupt_watch(state->signal);
    }
    state->held = false;
    return 0;
}

/* core.patient(): from now on a second Ctrl-C gives what is under way a moment to stop. */
static int core_patient(lua_State *L) {
    graft_state(L)->patient = true;
    return 0;
}

static int core_hold_interrupt(lua_State *L) {
    graft_state(L)->held = true;
    gr_interrupt_watch(NULL);
    return 0;
}

static int core_signal(lua_State *L) {
    struct graft_state *state = graft_state(L);
    if (!state->signal || !*state->signal)
        return 0;
    lua_pushinteger(L, *state->signal);
    return 1;
}

/* core.terminal(stream) -> columns, lines, or nothing */
static int core_terminal(lua_State *L) {
    static const char *const names[] = {"stdin", "stdout", "stderr", NULL};
    int stream = graft_choice(L, 1, "core.terminal", "the stream", names, -1);
    struct winsize size = {0};
    const char *kind = getenv("TERM");
    if (!isatty(stream) || (kind && strcmp(kind, "dumb") == 0))
        return 0;
    bool known = ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    lua_pushinteger(L, known ? size.ws_col : 80);
    lua_pushinteger(L, known && size.ws_row > 0 ? size.ws_row : 24);
    return 2;
}

/* core.native(precision) -> boolean */
static int core_native(lua_State *L) {
    enum gr_precision precision = GR_FLOAT32;
    const char *name = graft_string(L, 1, "core.native", "the precision");
    if (!gr_precision_find(name, &precision))
        return graft_fail(L, GR_ERROR_OPTION, "core.native: there is no precision \"%s\"", name);
    lua_pushboolean(L, gr_precision_native(precision));
    return 1;
}

/* The linker's digest of this program or module, as text. */
struct build {
    char hex[2 * 32 + 1];
};

/* Looks for the note NT_GNU_BUILD_ID in one of its segments. */
static void read_notes(const char *at, size_t size, struct build *out) {
    ElfW(Nhdr) note;
    while (size >= sizeof note) {
        memcpy(&note, at, sizeof note);
        size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3,
               value = ((size_t)note.n_descsz + 3) & ~(size_t)3;
        if (name > size - sizeof note || value > size - sizeof note - name)
            return;
        const unsigned char *bytes = (const unsigned char *)at + sizeof note + name;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at + sizeof note, "GNU", 4) == 0)
            for (size_t i = 0; i < note.n_descsz && i < 32; i++)
                snprintf(out->hex + 2 * i, 3, "%02x", bytes[i]);
        at += sizeof note + name + value;
        size -= sizeof note + name + value;
    }
}

/* Is this the object that we are in? Then its notes are read. */
static int find_build(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    bool ours = false;
    uintptr_t here = (uintptr_t)core_draws;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t from = (uintptr_t)info->dlpi_addr + part->p_vaddr;
        ours = ours || (part->p_type == PT_LOAD && here >= from && here - from < part->p_memsz);
    }
    for (int i = 0; ours && i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes((const char *)(uintptr_t)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                       info->dlpi_phdr[i].p_memsz, out);
    return ours;
}

/* core.build() -> hex: another one for every other build; nothing when the linker left none */
static int core_build(lua_State *L) {
    struct build build = {""};
    dl_iterate_phdr(find_build, &build);
    if (!build.hex[0])
        return 0;
    lua_pushstring(L, build.hex);
    return 1;
}

static int core_blas(lua_State *L) {
    lua_pushstring(L, gr_blas_name());
    return 1;
}

/* core.error(kind, message [, near [, usage]]): `usage` marks a mistake on the command line (exit status 2).
 */
static int core_error(lua_State *L) {
    bool usage = lua_toboolean(L, 4);
    lua_settop(L, 3);
    lua_pushcfunction(L, graft_core_error);
    lua_insert(L, 1);
    lua_pcall(L, 3, 0, 0);
    if (usage && lua_istable(L, -1)) {
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, "usage");
    }
    return lua_error(L);
}

static int core_nearest(lua_State *L) {
    int count;
    const char *word = graft_string(L, 1, "core.nearest", "the word");
    luaL_checktype(L, 2, LUA_TTABLE);
    const char *const *names = graft_strings(L, 2, "core.nearest", "the names", &count);
    lua_pushstring(L, gr_nearest(word, names, (size_t)count));
    return 1;
}

/* core.missing(path, "run folder") -> "PATH: no such run folder; nearest: OTHER", OTHER | nil */
static int core_missing(lua_State *L) {
    char room[GR_PATH_ROOM], name[512];
    const char *path = graft_string(L, 1, "core.missing", "the path");
    const char *what = graft_string(L, 2, "core.missing", "what it is");
    const char *near = gr_path_nearest(path, room);
    lua_pushfstring(L, "%s: no such %s", gr_printable(path, name, sizeof name), what);
    if (near) {
        lua_pushfstring(L, "; nearest: %s", gr_printable(near, name, sizeof name));
        lua_concat(L, 2);
    }
    lua_pushstring(L, near);
    return 2;
}

static int core_glob(lua_State *L) {
    lua_pushboolean(L, gr_glob(graft_string(L, 1, "core.glob", "the pattern"),
                               graft_string(L, 2, "core.glob", "the name")));
    return 1;
}

static int core_format_bytes(lua_State *L) {
    char text[32];
    lua_Number bytes = graft_number(L, 1, "core.format_bytes", "the bytes");
    lua_pushstring(L, gr_format_bytes(bytes > 0 && bytes < 1e18 ? (size_t)bytes : 0, text));
    return 1;
}

static int core_format_seconds(lua_State *L) {
    char text[32];
    lua_pushstring(L, gr_format_seconds(graft_number(L, 1, "core.format_seconds", "the seconds"), text));
    return 1;
}

static int core_format_count(lua_State *L) {
    char text[32];
    lua_pushstring(L, gr_format_count(graft_integer(L, 1, "core.format_count", "the count"), text));
    return 1;
}

static int core_printable(lua_State *L) {
    size_t length = 0;
    const char *text = graft_bytes(L, 1, "core.printable", "the text", &length);
    size_t room = 4 * length + 1; /* \x1b for each byte at worst */
    char *out = graft_scratch(L, 1, room);
    lua_pushstring(L, gr_printable(text, out, room));
    return 1;
}

static uint64_t key(lua_State *L, int argument) {
    return (uint64_t)luaL_optinteger(L, argument, 0);
}

static lua_Integer how_many(lua_State *L, int argument, const char *function) {
    lua_Integer n = graft_integer(L, argument, function, "how many");
    if (n > MOST_NUMBERS)
        graft_fail(L, GR_ERROR_LIMIT, "%s: %lld is more than %d", function, (long long)n, MOST_NUMBERS);
    return n;
}

static int core_random(lua_State *L) {
    static const char *const names[] = {"sample", "script", NULL};
    static const enum gr_purpose purposes[] = {GR_RANDOM_SAMPLE, GR_RANDOM_SCRIPT};
    enum gr_purpose purpose = purposes[graft_choice(L, 1, "core.random", "the purpose", names, -1)];
    lua_Integer n = how_many(L, 5, "core.random");
    struct gr_random random = gr_random(graft_state(L)->seed, purpose, key(L, 2), key(L, 3), key(L, 4));
    lua_newtable(L);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_pushnumber(L, (lua_Number)gr_random_uniform(&random));
        lua_rawseti(L, -2, i);
    }
    return 1;
}

static int core_shuffle(lua_State *L) {
    lua_Integer n = how_many(L, 1, "core.shuffle");
    if (n < 0)
        n = 0;
    struct gr_random random =
        gr_random(graft_state(L)->seed, GR_RANDOM_SAMPLE, key(L, 2), key(L, 3), key(L, 4));
    int64_t *order = graft_scratch(L, (size_t)n, sizeof *order);
    for (lua_Integer i = 0; i < n; i++)
        order[i] = i + 1;
    gr_random_shuffle(&random, order, n);
    lua_createtable(L, 0, 0);
    for (lua_Integer i = 0; i < n; i++) {
        lua_pushinteger(L, (lua_Integer)order[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void graft_open_program(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"seed", core_seed},
        {"draws", core_draws},
        {"fit", core_fit},
        {"threads", core_threads},
        {"memory", core_memory},
        {"reset_peak", core_reset_peak},
        {"process_peak", core_process_peak},
        {"ended", core_ended},
        {"watch", core_watch},
        {"clock", core_clock},
        {"interrupted", core_interrupted},
        {"check_interrupt", core_check_interrupt},
        {"clear_interrupt", core_clear_interrupt},
        {"hold_interrupt", core_hold_interrupt},
        {"patient", core_patient},
        {"signal", core_signal},
        {"terminal", core_terminal},
        {"native", core_native},
        {"blas", core_blas},
        {"program_build", core_build},
        {"error", core_error},
        {"is_error", graft_core_is_error},
        {"nearest", core_nearest},
        {"missing", core_missing},
        {"glob", core_glob},
        {"format_bytes", core_format_bytes},
        {"format_seconds", core_format_seconds},
        {"format_count", core_format_count},
        {"printable", core_printable},
        {"random", core_random},
        {"shuffle", core_shuffle},
        {NULL, NULL},
    };
    const struct graft_state *state = graft_state(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushliteral(L, GRAFT_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, GR_MAX_THREADS);
    lua_setfield(L, -2, "most_threads");
    lua_pushboolean(L, state->program);
    lua_setfield(L, -2, "program");
    lua_pushstring(L, gr_simd_name());
    lua_setfield(L, -2, "cpu");
    lua_pushstring(L, gr_image_jpeg_decoder());
    lua_setfield(L, -2, "jpeg");
}
