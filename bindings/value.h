/* Lua values <-> cJSON: options, metadata, JSON documents.
 *
 *   Lua                                   JSON
 *   table with [1], or marked as array    array (holes are an error)
 *   other table (string keys only)        object, keys in byte order
 *   string, boolean                       the same; that a string is UTF-8 is not checked
 *   number                                integers exactly (long ones as raw items); not finite: null
 *   core.null (a light userdata NULL)     null
 *
 * Tables may be nested GRAFT_VALUE_DEPTH deep, which also ends cycles. */
#ifndef GRAFT_BINDINGS_VALUE_H
#define GRAFT_BINDINGS_VALUE_H

#include <cjson/cJSON.h>
#include <lua.h>

enum { GRAFT_VALUE_DEPTH = 64 };

/* Converts the value at `index`. Raises no error and leaves the stack as it was; GR_ERROR_OPTION names the
 * path to what has no place in JSON ("layers: [3]: run: a function has ..."). The caller owns *out:
 * cJSON_Delete. */
int graft_to_json(lua_State *L, int index, cJSON **out);

/* Pushes the value. Whole numbers become integers, null becomes core.null, arrays are marked as such. Raises
 * nothing; on failure (memory, depth) a status comes back and nothing was pushed. */
int graft_from_json(lua_State *L, const cJSON *json);

/* A slot for a document in a userdata that is pushed, as graft_hold gives it: the collector deletes it. */
void **graft_hold_json(lua_State *L);

/* Pushes core.null. */
void graft_push_null(lua_State *L);

/* core.array(t) -> t */
int graft_core_array(lua_State *L);

#endif
