/* The child: takes its policy, prepares what needs rights, gives them up. */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/threads.h"
#include "error.h"
#include "kernels/gemm.h"
#include "sandbox.h"
#include "state.h"
#include "value.h"

enum {
    MAX_POLICY = 64 << 20,
    WARM = 192,       /* rows and columns of the products that make BLAS take its buffers */
    NOTED = 1 << 20,  /* bytes that Lua may grow before the limit of tensors is moved */
    LEAST = 16 << 20, /* bytes that are left to a recipe, however small its limit */
};

static const char WHEN_READ[] = "is not for this recipe: in the sandbox it reads only what the command line "
                                "names. Name it there (--data DIR, "
                                "--weights FILE or another option of the recipe, or --read PATH), or run a "
                                "recipe of your own with --trust";
static const char WHEN_WRITTEN[] = "is not for this recipe: in the sandbox it writes only into its run "
                                   "folder, which graft.out(\"NAME\") gives and "
                                   "--out chooses. A recipe of your own runs without it with --trust";

static struct {
    cJSON *policy;
    char *bytes; /* the policy and the recipe */
    const char *text;
    size_t length;
    size_t memory; /* the limit of the whole process */
    size_t budget; /* of Lua and tensors; 0: not locked yet */
    size_t wished; /* the script's own limit; 0: none */
    size_t lua, noted;
} guest;

bool graft_guest_called(int argc, char **argv) {
    return argc > 1 && strcmp(argv[1], "--guest") == 0;
}

static size_t number(const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(guest.policy, key);
    return cJSON_IsNumber(item) && item->valuedouble > 0 ? (size_t)item->valuedouble : 0;
}

static int take_policy(void) {
    struct stat info;
    if (fstat(GRAFT_GUEST_POLICY, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > MAX_POLICY)
        return gr_fail(GR_ERROR_OPTION, "--guest is how Graft starts itself; for people there is graft run");
    size_t size = (size_t)info.st_size;
    guest.bytes = malloc(size + 1);
    if (!guest.bytes || pread(GRAFT_GUEST_POLICY, guest.bytes, size, 0) != (ssize_t)size)
        return gr_fail(GR_ERROR_FILE, "the sandbox cannot read its policy");
    close(GRAFT_GUEST_POLICY);
    guest.bytes[size] = 0;
    char *end = memchr(guest.bytes, '\n', size);
    guest.policy = end ? cJSON_ParseWithLength(guest.bytes, (size_t)(end - guest.bytes)) : NULL;
    if (!cJSON_IsObject(guest.policy))
        return gr_fail(GR_ERROR_FILE, "the sandbox has no policy");
    guest.memory = number("memory");
    guest.text = end + 1;
    guest.length = size - (size_t)(guest.text - guest.bytes);
    return GR_OK;
}

static int allow_paths(void) {
    const cJSON *path, *out = cJSON_GetObjectItemCaseSensitive(guest.policy, "out");
    /* a word that is no path in any way is none to read either */
    cJSON_ArrayForEach(path, cJSON_GetObjectItemCaseSensitive(guest.policy, "read")) {
        if (cJSON_IsString(path))
            gr_paths_allow(path->valuestring, false);
    }
    if (cJSON_IsString(out) && gr_paths_allow(out->valuestring, true))
        return gr_fail_in("%s", out->valuestring);
    gr_paths_close(WHEN_READ, WHEN_WRITTEN);
    return GR_OK;
}

/* One matrix product in every thread: OpenBLAS takes memory for each on the first call, and when there is
 * none it never returns. */
static void multiply(void *square, int64_t chunk, int worker) {
    (void)worker;
    float *c = (float *)square + (1 + chunk) * WARM * WARM;
    gr_gemm(false, false, WARM, WARM, WARM, 1, square, WARM, square, WARM, 0, c, WARM);
}

static int warm_up(void) {
    GR_TRY(gr_threads_set((int)number("threads")));
    int64_t threads = gr_threads();
    float *squares = gr_calloc((size_t)(1 + threads) * WARM * WARM, sizeof *squares);
    if (!squares)
        return GR_ERROR_MEMORY;
    gr_parallel(threads, multiply, squares);
    gr_free(squares);
    return GR_OK;
}

/* What is remembered since it can be read only now. */
static void ask_the_system(void) {
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local); /* the time zone */
    gr_memory_machine();
    gr_memory_process_peak();
}

int graft_guest_enter(void) {
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too large is an error, not an end */
    signal(SIGTTOU, SIG_IGN); /* the child is in the background of the terminal that it writes to */
    GR_TRY(take_policy());
    GR_TRY(allow_paths());
    ask_the_system();
    GR_TRY(graft_rules_files(guest.policy));
    GR_TRY(graft_rules_limits(number("disk")));
    return warm_up();
}

/* ---- one budget for Lua and tensors ---- */

static size_t present_limit(void) {
    size_t most = guest.wished && guest.wished < guest.budget ? guest.wished : guest.budget;
    return most > guest.lua ? most - guest.lua : 1;
}

/* No error that a script could catch, and no collection in the middle of Lua: the process ends, and the
 * parent says why. */
static void end_for_memory(void) {
    fflush(stdout);
    _exit(GRAFT_GUEST_MEMORY);
}

/* What a block takes: the allocator keeps some bytes of its own with each. */
static size_t cost(size_t size) {
    return size ? size + 2 * sizeof(size_t) : 0;
}

static void *allocate(void *unused, void *block, size_t old, size_t size) {
    (void)unused;
    size_t before = block ? cost(old) : 0; /* without a block, `old` tells what kind of object is made */
    if (size > guest.budget && guest.budget)
        end_for_memory();
    size_t after = cost(size);
    if (after > before && guest.budget && guest.lua + (after - before) + gr_memory().live > guest.budget)
        end_for_memory();
    if (size == 0) {
        free(block);
        block = NULL;
    } else {
        void *moved = realloc(block, size);
        if (!moved && after > before)
            end_for_memory();
        if (!moved)
            return block; /* as large as before: to Lua, making a block smaller cannot fail */
        block = moved;
    }
    guest.lua += after - before;
    if (guest.budget && (guest.lua > guest.noted + NOTED || guest.lua + NOTED < guest.noted)) {
        guest.noted = guest.lua;
        gr_memory_limit(present_limit());
    }
    return block;
}

lua_State *graft_guest_state(void) {
    return lua_newstate(allocate, NULL);
}

static void set_limit(size_t bytes) {
    guest.wished = bytes;
    gr_memory_limit(present_limit());
}

static size_t resident(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}

int graft_guest_lock(lua_State *L) {
    struct graft_state *state = graft_state(L);
    size_t used = resident();
    GR_TRY(graft_rules_calls());
    state->guest = true;
    state->set_limit = set_limit;
    guest.budget = (guest.memory > used + LEAST ? guest.memory - used : LEAST) + guest.lua + gr_memory().live;
    set_limit(0);
    return GR_OK;
}

/* ---- what Lua sees of it ---- */

void graft_open_guest(lua_State *L) {
    graft_check(L, graft_from_json(L, guest.policy));
    lua_pushlstring(L, guest.text, guest.length);
    lua_setfield(L, -2, "text");
    lua_setfield(L, -2, "guest");
    free(guest.bytes);
    cJSON_Delete(guest.policy);
    guest.bytes = NULL;
    guest.policy = NULL;
}
