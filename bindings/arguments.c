/* Options tables, lists of names and shapes. */
#include "arguments.h"

#include <limits.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "error.h"
#include "state.h"

enum {
    GROWTH = 32 << 20, /* bytes of ours that may pile up between whole collections */
    MAX_CALLBACKS = 8, /* each has a Lua stack of its own, all of them share the C stack */
};

static const char HOLDER[] = "graft.holder";

struct holder {
    void *pointer; /* first, so that a slot is a holder */
    graft_release *release;
};

void *graft_scratch(lua_State *L, size_t count, size_t size) {
    size_t bytes = 0;
    if (!gr_size_multiply(count, size, &bytes))
        graft_fail(L, GR_ERROR_LIMIT, "a list of %zu entries is too long", count);
    void *memory = lua_newuserdatauv(L, bytes > 0 ? bytes : 1, 0);
    memset(memory, 0, bytes);
    return memory;
}

void graft_drop(void **slot) {
    struct holder *holder = (struct holder *)slot;
    void *pointer = holder->pointer;
    holder->pointer = NULL;
    if (pointer)
        holder->release(pointer);
}

static int holder_close(lua_State *L) {
    graft_drop(lua_touserdata(L, 1));
    return 0;
}

void **graft_hold(lua_State *L, graft_release *release) {
    struct holder *holder = lua_newuserdatauv(L, sizeof *holder, 0);
    *holder = (struct holder){NULL, release};
    if (luaL_newmetatable(L, HOLDER)) {
        lua_pushcfunction(L, holder_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return &holder->pointer;
}

static void release_text(void *text) {
    gr_text_free(text);
    gr_free(text);
}

struct gr_text *graft_hold_text(lua_State *L) {
    void **held = graft_hold(L, release_text);
    *held = gr_calloc(1, sizeof(struct gr_text));
    if (!*held)
        graft_raise(L);
    return *held;
}

/* ---- options ---- */

static size_t length_of(const char *const *known) {
    size_t n = 0;
    while (known[n])
        n++;
    return n;
}

static void unknown_option(lua_State *L, const char *who, const char *key, const char *const *known) {
    char shown[96];
    struct gr_text list = {0};
    const char *near = gr_nearest(key, known, length_of(known));
    for (size_t i = 0; known[i]; i++)
        gr_text_add(&list, "%s%s", i ? ", " : "", known[i]);
    gr_printable(key, shown, sizeof shown);
    if (near)
        gr_fail(GR_ERROR_OPTION, "%s has no option \"%s\"", who, shown);
    else
        gr_fail(GR_ERROR_OPTION, "%s has no option \"%s\"; it takes: %s", who, shown,
                list.bytes ? list.bytes : "none");
    gr_fail_near(near);
    gr_text_free(&list);
    graft_raise(L);
}

void graft_known(lua_State *L, int index, const char *who, const char *const *known) {
    if (lua_isnoneornil(L, index))
        return;
    if (!lua_istable(L, index))
        graft_bad_argument(L, who, index, "the options", "a table");
    index = lua_absindex(L, index);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        size_t i = 0;
        if (lua_type(L, -2) != LUA_TSTRING)
            graft_fail(L, GR_ERROR_OPTION, "%s: the options have an entry without a name", who);
        while (known[i] && strcmp(known[i], lua_tostring(L, -2)) != 0)
            i++;
        if (!known[i])
            unknown_option(L, who, lua_tostring(L, -2), known);
    }
}

bool graft_field(lua_State *L, int index, const char *key) {
    if (lua_isnoneornil(L, index))
        return false;
    if (!lua_istable(L, index))
        graft_fail(L, GR_ERROR_OPTION, "the options must be a table, got a %s", luaL_typename(L, index));
    index = lua_absindex(L, index);
    lua_pushstring(L, key);
    if (lua_rawget(L, index) != LUA_TNIL) /* raw: what a metamethod gives, nothing keeps alive */
        return true;
    lua_pop(L, 1);
    return false;
}

/* The string at the top of the stack, which the runtime will read up to its first NUL. */
static const char *whole_string(lua_State *L, const char *who, const char *what) {
    const char *text = lua_tostring(L, -1);
    if (strlen(text) != lua_rawlen(L, -1))
        graft_fail(L, GR_ERROR_OPTION, "%s: %s cannot hold a NUL byte", who, what);
    return text;
}

static void wrong_type(lua_State *L, const char *who, const char *key, const char *wanted) {
    graft_fail(L, GR_ERROR_OPTION, "%s: option %s must be %s, got a %s", who, key, wanted,
               luaL_typename(L, -1));
}

lua_Integer graft_field_integer(lua_State *L, int index, const char *who, const char *key,
                                lua_Integer otherwise, lua_Integer low, lua_Integer high) {
    if (!graft_field(L, index, key))
        return otherwise;
    int whole = 0;
    lua_Integer value = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &whole) : 0;
    if (!whole && lua_type(L, -1) == LUA_TNUMBER)
        graft_fail(L, GR_ERROR_OPTION, "%s: option %s must be a whole number, got %g", who, key,
                   lua_tonumber(L, -1));
    if (!whole)
        wrong_type(L, who, key, "a whole number");
    if (value < low || value > high)
        graft_fail(L, GR_ERROR_OPTION, "%s: option %s must be %lld to %lld, got %lld", who, key,
                   (long long)low, (long long)high, (long long)value);
    lua_pop(L, 1);
    return value;
}

lua_Number graft_field_number(lua_State *L, int index, const char *who, const char *key,
                              lua_Number otherwise) {
    if (!graft_field(L, index, key))
        return otherwise;
    if (lua_type(L, -1) != LUA_TNUMBER)
        wrong_type(L, who, key, "a number");
    lua_Number value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

bool graft_field_boolean(lua_State *L, int index, const char *who, const char *key, bool otherwise) {
    if (!graft_field(L, index, key))
        return otherwise;
    if (!lua_isboolean(L, -1))
        wrong_type(L, who, key, "true or false");
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

const char *graft_field_string(lua_State *L, int index, const char *who, const char *key,
                               const char *otherwise) {
    if (!graft_field(L, index, key))
        return otherwise;
    if (lua_type(L, -1) != LUA_TSTRING)
        wrong_type(L, who, key, "a string");
    const char *value = whole_string(L, who, key);
    lua_pop(L, 1);
    return value;
}

enum gr_stash_kind graft_field_stash(lua_State *L, int index, const char *who) {
    static const char *const names[] = {[GR_STASH_NONE] = "none", [GR_STASH_BF16] = "bf16"};
    enum { COUNT = sizeof names / sizeof *names };
    const char *name = graft_field_string(L, index, who, "stash", names[GR_STASH_NONE]);
    for (int i = 0; i < COUNT; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum gr_stash_kind)i;
    graft_no_field(L, "stash", name, names, COUNT);
    return GR_STASH_NONE;
}

enum gr_precision graft_field_precision(lua_State *L, int index, const char *who) {
    const char *name = graft_field_string(L, index, who, "prefix", "float32");
    enum gr_precision precision = GR_FLOAT32;
    if (!gr_precision_find(name, &precision))
        graft_fail(L, GR_ERROR_OPTION, "%s: prefix must be \"float32\", \"bf16\" or \"int8\", got \"%s\"",
                   who, name);
    return precision;
}

int graft_field_numbers(lua_State *L, int index, const char *who, const char *key, float *out, int most) {
    if (!graft_field(L, index, key))
        return 0;
    if (!lua_istable(L, -1))
        wrong_type(L, who, key, "a list of numbers");
    int n = (int)lua_rawlen(L, -1);
    if (n > most)
        graft_fail(L, GR_ERROR_OPTION, "%s: option %s takes at most %d numbers, got %d", who, key, most, n);
    for (int i = 0; i < n; i++) {
        if (lua_rawgeti(L, -1, i + 1) != LUA_TNUMBER)
            graft_fail(L, GR_ERROR_OPTION, "%s: option %s: entry %d must be a number, got a %s", who, key,
                       i + 1, luaL_typename(L, -1));
        out[i] = (float)lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return n;
}

/* ---- lists ---- */

const char *const *graft_strings(lua_State *L, int index, const char *who, const char *what, int *count) {
    index = lua_absindex(L, index);
    if (lua_type(L, index) == LUA_TSTRING) {
        lua_pushvalue(L, index);
        const char *only = whole_string(L, who, what), **one = graft_scratch(L, 1, sizeof *one);
        lua_remove(L, -2);
        one[0] = only;
        *count = 1;
        return one;
    }
    if (!lua_istable(L, index))
        graft_fail(L, GR_ERROR_OPTION, "%s: %s must be a string or a list of strings, got a %s", who, what,
                   luaL_typename(L, index));
    lua_Unsigned n = lua_rawlen(L, index);
    if (n > INT_MAX / 2)
        graft_fail(L, GR_ERROR_LIMIT, "%s: %s: the list is too long", who, what);
    const char **strings = graft_scratch(L, n, sizeof *strings);
    for (lua_Unsigned i = 0; i < n; i++) {
        if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
            graft_fail(L, GR_ERROR_OPTION, "%s: %s: entry %d must be a string, got a %s", who, what,
                       (int)i + 1, luaL_typename(L, -1));
        strings[i] = whole_string(L, who, what);
        lua_pop(L, 1);
    }
    *count = (int)n;
    return strings;
}

void graft_push_strings(lua_State *L, const char *const *strings, int count) {
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, strings[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

struct gr_shape graft_shape(lua_State *L, int index, const char *who) {
    int sizes[3] = {1, 1, 1};
    index = lua_absindex(L, index);
    if (!lua_istable(L, index) || (lua_rawlen(L, index) != 3 && lua_rawlen(L, index) != 1))
        graft_fail(L, GR_ERROR_OPTION, "%s: a shape must be a list {channels, height, width} or {features}",
                   who);
    int n = (int)lua_rawlen(L, index);
    for (int i = 0; i < n; i++) {
        int whole = 0;
        lua_rawgeti(L, index, i + 1);
        lua_Integer size = lua_tointegerx(L, -1, &whole);
        if (!whole || size < 1 || size > (1 << 24))
            graft_fail(L, GR_ERROR_OPTION, "%s: a shape's sizes must be whole numbers from 1 on, got %s", who,
                       luaL_tolstring(L, -1, NULL));
        sizes[i] = (int)size;
        lua_pop(L, 1);
    }
    return (struct gr_shape){sizes[0], sizes[1], sizes[2], n == 1};
}

void graft_push_shape(lua_State *L, struct gr_shape shape) {
    lua_createtable(L, shape.flat ? 1 : 3, 0);
    lua_pushinteger(L, shape.c);
    lua_rawseti(L, -2, 1);
    if (shape.flat)
        return;
    lua_pushinteger(L, shape.h);
    lua_rawseti(L, -2, 2);
    lua_pushinteger(L, shape.w);
    lua_rawseti(L, -2, 3);
}

/* ---- classes ---- */

/* __index of the table of methods: a name that is none. Upvalue: the type's name. */
static int no_method(lua_State *L) {
    const char *names[128];
    size_t n = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return graft_fail(L, GR_ERROR_NAME, "a %s has no fields but its methods",
                          lua_tostring(L, lua_upvalueindex(1)));
    for (lua_pushnil(L); lua_next(L, 1) && n < 128; lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            names[n++] = lua_tostring(L, -2);
    return graft_no_field(L, lua_tostring(L, lua_upvalueindex(1)), lua_tostring(L, 2), names, n);
}

void graft_class(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction collect) {
    if (!luaL_newmetatable(L, type)) {
        lua_pop(L, 1);
        return;
    }
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, strchr(type, '.') ? strchr(type, '.') + 1 : type);
    lua_pushcclosure(L, no_method, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    for (const luaL_Reg *each = methods; each->name; each++) {
        if (strcmp(each->name, "close") != 0)
            continue;
        lua_pushcfunction(L, each->func);
        lua_setfield(L, -3, "__close");
    }
    lua_setfield(L, -2, "__index");
    if (collect) {
        lua_pushcfunction(L, collect);
        lua_setfield(L, -2, "__gc");
    }
    lua_pushstring(L, type); /* what getmetatable gives: a script must not reach __gc */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

bool graft_in_finalizer(lua_State *L) {
    return lua_gc(L, LUA_GCCOUNT) < 0; /* the collector is at work: it answers nothing */
}

void graft_no_finalizer(lua_State *L, const char *who) {
    if (graft_in_finalizer(L))
        graft_fail(L, GR_ERROR_OPTION, "%s cannot be called from a finalizer (__gc)", who);
}

int graft_callback(lua_State *L, int arguments, int results) {
    struct graft_state *state = graft_state(L);
    if (state->callbacks >= MAX_CALLBACKS) {
        lua_pop(L, arguments + 1);
        gr_fail(GR_ERROR_LIMIT, "functions of layers and losses call each other more than %d deep",
                MAX_CALLBACKS);
        graft_push_error(L);
        return LUA_ERRRUN;
    }
    state->callbacks++;
    int status = lua_pcall(L, arguments, results, 0);
    state->callbacks--;
    return status;
}

void graft_charge(lua_State *L, size_t bytes) {
    struct graft_state *state = graft_state(L);
    size_t kilobytes = bytes / 1024 + 1, live = gr_memory().live;
    if (!lua_gc(L, LUA_GCISRUNNING))
        return;
    lua_gc(L, LUA_GCSTEP, (int)(kilobytes < INT_MAX ? kilobytes : INT_MAX));
    /* A generational collector (stock lua5.4 has it on) holds what outlived two steps for old, and waits for
     * the growth of memory that it sees. So a whole cycle is asked for when ours has grown. */
    if (live < state->collected_at)
        state->collected_at = live;
    if (live - state->collected_at > GROWTH) {
        lua_gc(L, LUA_GCCOLLECT);
        state->collected_at = gr_memory().live;
    }
}
