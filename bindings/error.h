/* Errors for Lua: every Graft function raises a table {kind=, message=, near=, where=} that prints as
 * "recipe.lua:9: net:freeze: no layer ..." (API C11).
 *
 * None of these functions returns to its caller once it raises: release what the C side holds first, or keep
 * it in a userdata on the stack. */
#ifndef GRAFT_BINDINGS_ERROR_H
#define GRAFT_BINDINGS_ERROR_H

#include <lua.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* Raises the error that is set in this thread (gr_error()). `near` becomes part of the message when it is not
 * yet; `where` is "file:line" of the nearest Lua function on the stack that is not of the embedded library
 * (whose chunks are named "=graft/..."), or nil. For GR_ERROR_USER it raises the value that graft_keep_error
 * kept. The return value exists so that a binding can say `return graft_raise(L);`. */
int graft_raise(lua_State *L);

/* Does nothing when status is GR_OK, else graft_raise. */
void graft_check(lua_State *L, int status);
/* The same with "FUNCTION: " put before the message: graft_check_in(L, status, "tensor:slice"). */
void graft_check_in(lua_State *L, int status, const char *function);

/* gr_fail and graft_raise in one. */
int graft_fail(lua_State *L, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* For a C function that called back into Lua by lua_pcall and must unwind through the runtime first: takes
 * the error value from the top of the stack, keeps it in the registry and returns GR_ERROR_USER, to be
 * returned by the callback. */
int graft_keep_error(lua_State *L);

/* Pushes the error that is set in this thread as a table, without raising it. */
void graft_push_error(lua_State *L);
/* Is the value an error table made here? */
int graft_is_error(lua_State *L, int index);

/* What stands at `index`, for a sentence: "a string", "a tensor", "nothing", a number's digits. Pushes one or
 * two values. */
const char *graft_describe(lua_State *L, int index);

/* Is the function (lua_getinfo "S") a part of the embedded library? */
bool graft_embedded(const lua_Debug *info);

/* Arguments. `function` is the name that the user wrote ("tensor:slice"), `what` names the argument in a few
words.
 * They raise kind "option": "tensor:slice: argument 2, the first index, must be an integer, not a string".
 * In a name with a colon the object before it is not counted. */
int graft_bad_argument(lua_State *L, const char *function, int argument, const char *what,
                       const char *wanted);
lua_Integer graft_integer(lua_State *L, int argument, const char *function, const char *what);
lua_Number graft_number(lua_State *L, int argument, const char *function, const char *what);
/* Without NUL bytes: names, paths. */
const char *graft_string(lua_State *L, int argument, const char *function, const char *what);
/* Any bytes. `length` may be NULL. */
const char *graft_bytes(lua_State *L, int argument, const char *function, const char *what, size_t *length);
/* One of the NULL-terminated words, as its number. Absent or nil gives `otherwise`, unless that is negative.
 */
int graft_choice(lua_State *L, int argument, const char *function, const char *what, const char *const *words,
                 int otherwise);
/* Absent or nil gives the default. */
lua_Integer graft_optional_integer(lua_State *L, int argument, const char *function, const char *what,
                                   lua_Integer otherwise);
lua_Number graft_optional_number(lua_State *L, int argument, const char *function, const char *what,
                                 lua_Number otherwise);

/* Raises kind "name" for a field or method that does not exist: `OBJECT has no "KEY"; nearest: "NEAR"`.
 * `names` are the fields that there are. */
int graft_no_field(lua_State *L, const char *object, const char *key, const char *const *names, size_t count);

/* Lua functions of `core`: core.error(kind, message [, near]) and core.is_error(v) -> boolean. */
int graft_core_error(lua_State *L);
int graft_core_is_error(lua_State *L);

#endif
