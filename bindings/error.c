/* Errors for Lua. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "state.h"

static const char ERROR_TYPE[] = "graft.error";
static const char KEPT = 0; /* its address is the registry key of a callback's error */

static const int KINDS[] = {GR_ERROR_NAME,      GR_ERROR_OPTION, GR_ERROR_SHAPE, GR_ERROR_FILE,
                            GR_ERROR_DATA,      GR_ERROR_MEMORY, GR_ERROR_LIMIT, GR_ERROR_NUMBER,
                            GR_ERROR_INTERRUPT, GR_ERROR_USER};
enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

bool graft_embedded(const lua_Debug *info) {
    return strncmp(info->source, "=graft/", 7) == 0 || strncmp(info->source, "@graft/", 7) == 0;
}

/* Pushes "file:line" of the nearest Lua function that a user wrote, or nil. */
static void push_where(lua_State *L) {
    lua_Debug info;
    for (int level = 0; lua_getstack(L, level, &info); level++) {
        if (!lua_getinfo(L, "Sl", &info) || info.currentline <= 0 || graft_embedded(&info))
            continue;
        lua_pushfstring(L, "%s:%d", info.short_src, info.currentline);
        return;
    }
    lua_pushnil(L);
}

/* "where: message", or the message alone. */
static int error_tostring(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    bool located = lua_getfield(L, 1, "where") == LUA_TSTRING;
    lua_pushliteral(L, ": ");
    if (lua_getfield(L, 1, "message") != LUA_TSTRING)
        return luaL_error(L, "an error without a message");
    if (located)
        lua_concat(L, 3);
    return 1;
}

/* Takes the message from the top of the stack and leaves the error table instead. */
static void wrap_message(lua_State *L, int code, const char *near) {
    lua_createtable(L, 0, 4);
    lua_insert(L, -2);
    if (near[0] && !strstr(lua_tostring(L, -1), "nearest: ")) {
        lua_pushfstring(L, "%s; nearest: \"%s\"", lua_tostring(L, -1), near);
        lua_remove(L, -2);
    }
    lua_setfield(L, -2, "message");
    lua_pushstring(L, gr_status_name(code));
    lua_setfield(L, -2, "kind");
    if (near[0]) {
        lua_pushstring(L, near);
        lua_setfield(L, -2, "near");
    }
    push_where(L);
    lua_setfield(L, -2, "where");
    if (luaL_newmetatable(L, ERROR_TYPE)) {
        lua_pushcfunction(L, error_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

void graft_push_error(lua_State *L) {
    luaL_checkstack(L, 8, "an error");
    struct graft_state *state = graft_state(L);
    struct gr_error error = *gr_error(); /* a finalizer run by the next line may fail and set another */
    if (state->guest && (error.code == GR_ERROR_MEMORY || error.code == GR_ERROR_INTERRUPT))
        state->ended = true;
    lua_pushstring(L, error.message);
    wrap_message(L, error.code, error.near);
    if (error.code == GR_ERROR_INTERRUPT && state->patient && state->insist)
        state->insist(L);
}

int graft_raise(lua_State *L) {
    if (gr_error()->code == GR_ERROR_USER) {
        int type = lua_rawgetp(L, LUA_REGISTRYINDEX, &KEPT);
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &KEPT);
        if (type != LUA_TNIL)
            return lua_error(L);
        lua_pop(L, 1);
    }
    graft_push_error(L);
    return lua_error(L);
}

int graft_keep_error(lua_State *L) {
    lua_rawsetp(L, LUA_REGISTRYINDEX, &KEPT);
    return gr_fail(GR_ERROR_USER, "a function written in Lua failed");
}

void graft_check(lua_State *L, int status) {
    if (status)
        graft_raise(L);
}

void graft_check_in(lua_State *L, int status, const char *function) {
    if (!status)
        return;
    gr_fail_in("%s", function);
    graft_raise(L);
}

int graft_fail(lua_State *L, int code, const char *format, ...) {
    char message[sizeof gr_error()->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    gr_fail(code, "%s", message);
    return graft_raise(L);
}

int graft_is_error(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return 0;
    luaL_getmetatable(L, ERROR_TYPE);
    int same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

const char *graft_describe(lua_State *L, int index) {
    if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
        const char *name = lua_tostring(L, -1);
        return strncmp(name, "graft.", 6) == 0 ? lua_pushfstring(L, "a %s", name + 6) : name;
    }
    switch (lua_type(L, index)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nothing";
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    default:
        return lua_pushfstring(L, "a %s", luaL_typename(L, index));
    }
}

int graft_bad_argument(lua_State *L, const char *function, int argument, const char *what,
                       const char *wanted) {
    int shown = argument - (strchr(function, ':') ? 1 : 0);
    const char *came = graft_describe(L, argument);
    if (shown == 0)
        return graft_fail(L, GR_ERROR_OPTION, "%s: what stands before the colon must be %s, not %s", function,
                          wanted, came);
    return graft_fail(L, GR_ERROR_OPTION, "%s: argument %d, %s, must be %s, not %s", function, shown, what,
                      wanted, came);
}

lua_Integer graft_integer(lua_State *L, int argument, const char *function, const char *what) {
    int is_integer = 0;
    lua_Integer value = lua_type(L, argument) == LUA_TNUMBER ? lua_tointegerx(L, argument, &is_integer) : 0;
    if (!is_integer)
        graft_bad_argument(L, function, argument, what, "a whole number");
    return value;
}

lua_Number graft_number(lua_State *L, int argument, const char *function, const char *what) {
    if (lua_type(L, argument) != LUA_TNUMBER)
        graft_bad_argument(L, function, argument, what, "a number");
    return lua_tonumber(L, argument);
}

const char *graft_bytes(lua_State *L, int argument, const char *function, const char *what, size_t *length) {
    if (lua_type(L, argument) != LUA_TSTRING)
        graft_bad_argument(L, function, argument, what, "a string");
    return lua_tolstring(L, argument, length);
}

const char *graft_string(lua_State *L, int argument, const char *function, const char *what) {
    size_t length = 0;
    const char *text = graft_bytes(L, argument, function, what, &length);
    if (strlen(text) != length)
        graft_fail(L, GR_ERROR_OPTION, "%s: %s cannot hold a NUL byte", function, what);
    return text;
}

lua_Integer graft_optional_integer(lua_State *L, int argument, const char *function, const char *what,
                                   lua_Integer otherwise) {
    return lua_isnoneornil(L, argument) ? otherwise : graft_integer(L, argument, function, what);
}

lua_Number graft_optional_number(lua_State *L, int argument, const char *function, const char *what,
                                 lua_Number otherwise) {
    return lua_isnoneornil(L, argument) ? otherwise : graft_number(L, argument, function, what);
}

int graft_choice(lua_State *L, int argument, const char *function, const char *what, const char *const *words,
                 int otherwise) {
    struct gr_text list = {0};
    if (otherwise >= 0 && lua_isnoneornil(L, argument))
        return otherwise;
    const char *given = graft_string(L, argument, function, what);
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], given) == 0)
            return i;
    for (int i = 0; words[i]; i++)
        gr_text_add(&list, "%s\"%s\"", i ? ", " : "", words[i]);
    char shown[96];
    gr_fail(GR_ERROR_OPTION, "%s: %s must be one of %s, not \"%s\"", function, what,
            list.bytes ? list.bytes : "", gr_printable(given, shown, sizeof shown));
    gr_text_free(&list);
    return graft_raise(L);
}

int graft_no_field(lua_State *L, const char *object, const char *key, const char *const *names,
                   size_t count) {
    char shown[96];
    const char *near = gr_nearest(key, names, count);
    gr_fail(GR_ERROR_NAME, "%s has no \"%s\"", object, gr_printable(key, shown, sizeof shown));
    gr_fail_near(near);
    return graft_raise(L);
}

int graft_core_error(lua_State *L) {
    const char *kind = graft_string(L, 1, "core.error", "the kind");
    graft_bytes(L, 2, "core.error", "the message", NULL);
    const char *near = lua_isnoneornil(L, 3) ? "" : graft_string(L, 3, "core.error", "the nearest name");
    for (int k = 0; k < KIND_COUNT; k++) {
        if (strcmp(gr_status_name(KINDS[k]), kind) != 0)
            continue;
        lua_pushvalue(L,
                      2); /* kept whole: a message from Lua may be longer than the error slot of a thread */
        wrap_message(L, KINDS[k], near);
        return lua_error(L);
    }
    return graft_fail(L, GR_ERROR_OPTION, "core.error: no kind \"%s\" of error", kind);
}

int graft_core_is_error(lua_State *L) {
    lua_pushboolean(L, graft_is_error(L, 1));
    return 1;
}
