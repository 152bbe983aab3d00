/* Lua values <-> cJSON. */
#include "value.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "error.h"

static const char ARRAY_TYPE[] = "graft.array";
static const lua_Integer EXACT = (lua_Integer)1 << 53; /* whole numbers up to here are exact as doubles */
static const lua_Integer PRINTED = 999999999999999;    /* cJSON prints 15 digits */

static void release_json(void *json) {
    cJSON_Delete(json);
}

void **graft_hold_json(lua_State *L) {
    return graft_hold(L, release_json);
}

void graft_push_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
}

/* Marks the table at the top of the stack as an array, even when it is empty. */
static void mark_array(lua_State *L) {
    luaL_newmetatable(L, ARRAY_TYPE);
    lua_setmetatable(L, -2);
}

static bool is_marked(lua_State *L, int index) {
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, ARRAY_TYPE);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

int graft_core_array(lua_State *L) {
    if (!lua_istable(L, 1))
        return graft_bad_argument(L, "core.array", 1, "the list", "a table");
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1) && !is_marked(L, 1))
        return graft_fail(L, GR_ERROR_OPTION, "core.array: this table has a metatable already");
    lua_settop(L, 1);
    mark_array(L);
    return 1;
}

/* ---- to JSON ---- */

static int convert(lua_State *L, int depth, cJSON **out);

static int no_memory(void) {
    return gr_fail(GR_ERROR_MEMORY, "no memory for a JSON value");
}

static cJSON *make_number(lua_State *L) {
    char text[32];
    if (!lua_isinteger(L, -1))
        return cJSON_CreateNumber(lua_tonumber(L, -1)); /* cJSON writes null for what is not finite */
    lua_Integer value = lua_tointeger(L, -1);
    if (value >= -PRINTED && value <= PRINTED)
        return cJSON_CreateNumber((double)value);
    snprintf(text, sizeof text, "%lld", (long long)value);
    return cJSON_CreateRaw(text);
}

static int convert_array(lua_State *L, int depth, cJSON *array) {
    int table = lua_gettop(L);
    lua_Unsigned n = lua_rawlen(L, table), keys = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        keys++;
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || (lua_Unsigned)lua_tointeger(L, -2) > n) {
            lua_pop(L, 2);
            return gr_fail(GR_ERROR_OPTION, "a table with list entries and other keys has no form in JSON");
        }
    }
    if (keys != n)
        return gr_fail(GR_ERROR_OPTION, "a list with holes has no form in JSON");
    for (lua_Unsigned i = 1; i <= n; i++) {
        cJSON *item = NULL;
        lua_rawgeti(L, table, (lua_Integer)i);
        int status = convert(L, depth + 1, &item);
        lua_pop(L, 1);
        if (status)
            return gr_fail_in("[%llu]", (unsigned long long)i);
        cJSON_AddItemToArray(array, item);
    }
    return GR_OK;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys of the table at the top, sorted; they live as long as the table holds them. */
static int list_keys(lua_State *L, const char ***out, size_t *count) {
    int table = lua_gettop(L);
    size_t n = 0, i = 0;
    *out = NULL;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        n++;
        if (lua_type(L, -2) != LUA_TSTRING) {
            int type = lua_type(L, -2);
            lua_pop(L, 2);
            return gr_fail(GR_ERROR_OPTION, "a key that is a %s has no form in JSON", lua_typename(L, type));
        }
    }
    const char **keys = gr_calloc(n, sizeof *keys);
    if (!keys)
        return gr_error()->code;
    for (lua_pushnil(L); lua_next(L, table) && i < n; lua_pop(L, 1))
        keys[i++] = lua_tostring(L, -2);
    qsort(keys, n, sizeof *keys, compare_keys);
    *out = keys;
    *count = n;
    return GR_OK;
}

static int convert_object(lua_State *L, int depth, cJSON *object) {
    char shown[64];
    const char **keys = NULL;
    size_t n = 0;
    GR_TRY(list_keys(L, &keys, &n));
    int status = GR_OK;
    for (size_t i = 0; i < n && !status; i++) {
        cJSON *item = NULL;
        lua_pushstring(L, keys[i]);
        lua_rawget(L, -2);
        status = convert(L, depth + 1, &item);
        lua_pop(L, 1);
        if (status) {
            status = gr_fail_in("%s", gr_printable(keys[i], shown, sizeof shown));
        } else if (!cJSON_AddItemToObject(object, keys[i], item)) {
            cJSON_Delete(item);
            status = no_memory();
        }
    }
    gr_free(keys);
    return status;
}

static int convert_table(lua_State *L, int depth, cJSON **out) {
    if (depth >= GRAFT_VALUE_DEPTH)
        return gr_fail(GR_ERROR_LIMIT,
                       "tables nested more than %d deep (or in a circle) have no form in JSON",
                       GRAFT_VALUE_DEPTH);
    lua_rawgeti(L, -1, 1);
    bool array = !lua_isnil(L, -1);
    lua_pop(L, 1);
    array = array || is_marked(L, -1);
    cJSON *made = array ? cJSON_CreateArray() : cJSON_CreateObject();
    if (!made)
        return no_memory();
    int status = array ? convert_array(L, depth, made) : convert_object(L, depth, made);
    if (status)
        cJSON_Delete(made);
    else
        *out = made;
    return status;
}

/* Converts the value at the top of the stack and leaves it there. */
static int convert(lua_State *L, int depth, cJSON **out) {
    if (!lua_checkstack(L, 8))
        return no_memory();
    switch (lua_type(L, -1)) {
    case LUA_TTABLE:
        return convert_table(L, depth, out);
    case LUA_TSTRING:
        if (strlen(lua_tostring(L, -1)) != lua_rawlen(L, -1))
            return gr_fail(GR_ERROR_OPTION, "a string with a NUL byte has no form in JSON");
        *out = cJSON_CreateString(lua_tostring(L, -1));
        break;
    case LUA_TBOOLEAN:
        *out = cJSON_CreateBool(lua_toboolean(L, -1));
        break;
    case LUA_TNUMBER:
        *out = make_number(L);
        break;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, -1)) {
            *out = cJSON_CreateNull();
            break;
        }
        /* fallthrough */
    default:
        return gr_fail(GR_ERROR_OPTION, "a %s has no form in JSON", luaL_typename(L, -1));
    }
    return *out ? GR_OK : no_memory();
}

/* One conversion under lua_pcall: the stack holds the value and a light userdata to this. */
struct job {
    cJSON *out;
    const cJSON *from;
    int status;
};

static int to_json(lua_State *L) {
    struct job *job = lua_touserdata(L, 1);
    job->status = convert(L, 0, &job->out);
    return 0;
}

int graft_to_json(lua_State *L, int index, cJSON **out) {
    struct job job = {0};
    *out = NULL;
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 4))
        return no_memory();
    lua_pushcfunction(L, to_json);
    lua_pushlightuserdata(L, &job);
    lua_pushvalue(L, index);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        job.status = no_memory(); /* Lua's own: nothing else raises here */
        lua_pop(L, 1);
    }
    *out = job.out;
    return job.status;
}

/* ---- from JSON ---- */

/* A number that was kept as text because it is beyond 2^53, else a double that may be whole. */
static void push_number(lua_State *L, const cJSON *json) {
    lua_Integer whole;
    if (json->valuedouble >= (double)-EXACT && json->valuedouble <= (double)EXACT &&
        lua_numbertointeger(json->valuedouble, &whole) && (lua_Number)whole == json->valuedouble)
        lua_pushinteger(L, whole);
    else
        lua_pushnumber(L, json->valuedouble);
}

static int push(lua_State *L, const cJSON *json, int depth) {
    if (depth >= GRAFT_VALUE_DEPTH)
        return gr_fail(GR_ERROR_LIMIT, "JSON nested more than %d deep", GRAFT_VALUE_DEPTH);
    if (!lua_checkstack(L, 8))
        return no_memory();
    if (cJSON_IsArray(json) || cJSON_IsObject(json)) {
        lua_Integer i = 0;
        lua_newtable(L);
        for (const cJSON *item = json->child; item; item = item->next) {
            GR_TRY(push(L, item, depth + 1));
            if (cJSON_IsObject(json))
                lua_setfield(L, -2, item->string);
            else
                lua_rawseti(L, -2, ++i);
        }
        if (cJSON_IsArray(json))
            mark_array(L);
    } else if (cJSON_IsString(json)) {
        lua_pushstring(L, json->valuestring);
    } else if (cJSON_IsBool(json)) {
        lua_pushboolean(L, cJSON_IsTrue(json));
    } else if (cJSON_IsNumber(json)) {
        push_number(L, json);
    } else if (cJSON_IsRaw(json) && json->valuestring) {
        if (!lua_stringtonumber(L, json->valuestring))
            lua_pushstring(L, json->valuestring);
    } else {
        graft_push_null(L);
    }
    return GR_OK;
}

static int from_json(lua_State *L) {
    struct job *job = lua_touserdata(L, 1);
    job->status = push(L, job->from, 0);
    return 1;
}

int graft_from_json(lua_State *L, const cJSON *json) {
    struct job job = {.from = json};
    if (!lua_checkstack(L, 4))
        return no_memory();
    lua_pushcfunction(L, from_json);
    lua_pushlightuserdata(L, &job);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK)
        job.status = no_memory();
    if (job.status)
        lua_pop(L, 1);
    return job.status;
}
