/* Loading the standard library and opening `graft` in a state. */
#include "module.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "core.h"
#include "embedded.h"
#include "error.h"
#include "io/file.h"
#include "state.h"
#include "tensor.h"
#include "weak.h"

static const char INSTALLED = 0; /* its address is a registry key: the searcher is in place */

enum { MAX_MODULE = 16 << 20 }; /* bytes of a Lua file on disk */

/* Pushes the file's text, or returns 0 when it cannot be read. */
static int push_file(lua_State *L, const char *path) {
    struct gr_source source;
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, MAX_MODULE);
    size_t size = 0;
    int status = gr_source_open(&source, path);
    if (!status) {
        size = source.size <= MAX_MODULE ? (size_t)source.size : 0;
        status = size == source.size ? gr_source_read(&source, 0, bytes, size) : GR_ERROR_LIMIT;
        gr_source_close(&source);
    }
    luaL_pushresultsize(&buffer, status ? 0 : size);
    if (status)
        lua_pop(L, 1);
    return status ? 0 : 1;
}

int graft_push_embedded(lua_State *L, const char *name) {
    const char *folder = getenv("GRAFT_LUA_PATH");
    if (folder && folder[0] && !strstr(name, "..")) {
        const char *part = strncmp(name, "models/", 7) == 0 ? "" : "scripts/";
        const char *path = lua_pushfstring(L, "%s/%s%s", folder, part, name);
        if (push_file(L, path)) {
            lua_remove(L, -2);
            return 1;
        }
        lua_pop(L, 1);
    }
    for (int i = 0; gr_embedded[i].name; i++) {
        if (strcmp(gr_embedded[i].name, name) == 0) {
            lua_pushlstring(L, (const char *)gr_embedded[i].bytes, gr_embedded[i].size);
            return 1;
        }
    }
    lua_pushnil(L);
    return 1;
}

/* The table of everything in bindings/core.h. */
static int open_core(lua_State *L) {
    lua_newtable(L);
    graft_open_program(L);
    graft_open_files(L);
    graft_open_pack(L);
    graft_open_network(L);
    graft_open_weights(L);
    graft_open_data(L);
    graft_open_trainer(L);
    graft_open_bench(L);
    graft_open_looking(L);
    graft_open_tensor(L);
    lua_setfield(L, -2, "tensor");
    return 1;
}

/* Pushes the chunk of the module "graft.a.b": graft/a/b.lua, graft/a/b/init.lua, or for graft.models.x
 * models/x.lua. Returns false, with nothing pushed, when there is none. */
static bool push_module(lua_State *L, const char *module) {
    static const char *const shapes[] = {"%s.lua", "%s/init.lua"};
    const char *path = luaL_gsub(L, module, ".", "/");
    if (strncmp(path, "graft/models/", 13) == 0)
        path += 6;
    for (size_t i = 0; i < 2; i++) {
        const char *name = lua_pushfstring(L, shapes[i], path);
        graft_push_embedded(L, name);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 2);
            continue;
        }
        const char *chunk = lua_pushfstring(L, strncmp(name, "graft/", 6) == 0 ? "@%s" : "@graft/%s", name);
        size_t size;
        const char *text = lua_tolstring(L, -2, &size);
        if (luaL_loadbufferx(L, text, size, chunk, "t") != LUA_OK)
            lua_error(L);
        lua_replace(L, -5); /* over the path, below name, text and chunk name */
        lua_pop(L, 3);
        return true;
    }
    lua_pop(L, 1);
    return false;
}

/* package.searchers[n](name) -> loader, or a text that says what was looked for. */
static int search(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    if (strcmp(module, "graft.core") == 0) {
        lua_pushcfunction(L, open_core);
        return 1;
    }
    if (strcmp(module, "graft") != 0 && strncmp(module, "graft.", 6) != 0)
        return 0;
    if (push_module(L, module))
        return 1;
    lua_pushfstring(L, "no module '%s' in graft", module);
    return 1;
}

void graft_install(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &INSTALLED) != LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_pop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    if (lua_getfield(L, -1, "package") != LUA_TTABLE || lua_getfield(L, -1, "searchers") != LUA_TTABLE)
        luaL_error(L, "graft needs Lua's package library, which this state has not opened");
    /* second: after package.preload, before files that happen to have such a name */
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 3);
    lua_pushboolean(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &INSTALLED);
}

int luaopen_graft(lua_State *L) {
    if (!lua_newuserdatauv) { /* only what every Lua has may be called here: see weak.h */
        lua_pushstring(
            L, "graft needs Lua 5.4; this is an older Lua or LuaJIT. From there, run the program instead: "
               "graft predict MODEL PHOTO --json");
        return lua_error(L);
    }
    luaL_checkversion(L);
    graft_install(L);
    if (!push_module(L, "graft"))
        return luaL_error(L, "graft was built without its standard library");
    lua_pushliteral(L, "graft");
    lua_call(L, 1, 1);
    return 1;
}
