/* Functions that Lua 5.4 has and LuaJIT, 5.1, 5.2 or 5.3 lack are weak references, so that those can load the
 * module far enough to be told, in one sentence, that it is not for them (luaopen_graft). Included before
 * every file of bindings/ by the Makefile. */
#ifndef GRAFT_BINDINGS_WEAK_H
#define GRAFT_BINDINGS_WEAK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* this comes before the files that ask for it */
#endif
#include <lauxlib.h>
#include <lua.h>

#pragma weak luaL_buffinitsize
#pragma weak luaL_checkversion_
#pragma weak luaL_getsubtable
#pragma weak luaL_len
#pragma weak luaL_loadbufferx
#pragma weak luaL_loadfilex
#pragma weak luaL_prepbuffsize
#pragma weak luaL_pushresultsize
#pragma weak luaL_requiref
#pragma weak luaL_setfuncs
#pragma weak luaL_setmetatable
#pragma weak luaL_testudata
#pragma weak luaL_tolstring
#pragma weak luaL_traceback
#pragma weak lua_absindex
#pragma weak lua_arith
#pragma weak lua_callk
#pragma weak lua_closeslot
#pragma weak lua_compare
#pragma weak lua_copy
#pragma weak lua_getglobal
#pragma weak lua_geti
#pragma weak lua_getiuservalue
#pragma weak lua_isinteger
#pragma weak lua_len
#pragma weak lua_newuserdatauv
#pragma weak lua_pcallk
#pragma weak lua_rawgetp
#pragma weak lua_rawlen
#pragma weak lua_rawsetp
#pragma weak lua_rotate
#pragma weak lua_setglobal
#pragma weak lua_seti
#pragma weak lua_setiuservalue
#pragma weak lua_stringtonumber
#pragma weak lua_toclose
#pragma weak lua_tointegerx
#pragma weak lua_tonumberx

#endif
