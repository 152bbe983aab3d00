/* Loading the standard library and opening `graft` in a state: the same in the program and in stock lua5.4.
 */
#ifndef GRAFT_BINDINGS_MODULE_H
#define GRAFT_BINDINGS_MODULE_H

#include <lua.h>
#include <lauxlib.h>

/* Makes `require` find "graft", "graft.*" and the table "graft.core". Once a state; leaves the stack as it
 * was. */
void graft_install(lua_State *L);

/* Pushes the text of an embedded file ("models/resnet.lua"), read from the folder GRAFT_LUA_PATH when it is
 * set and the file is there; nil when there is none. Returns 1. */
int graft_push_embedded(lua_State *L, const char *name);

/* package.loadlib's entry: require "graft" from stock lua5.4. */
int luaopen_graft(lua_State *L);

#endif
