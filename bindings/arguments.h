/* Options tables, lists of names and shapes: what C functions take from Lua and give back.
 *
 * These functions raise (bindings/error.h): call them before anything is held that the collector does not
 * know. `who` is the function's name as the user wrote it. */
#ifndef GRAFT_BINDINGS_ARGUMENTS_H
#define GRAFT_BINDINGS_ARGUMENTS_H

#include <lua.h>

#include <lauxlib.h>
#include <stdbool.h>

#include "base/text.h"
#include "net/network.h"
#include "plan/plan.h"

/* `size` bytes, zeroed, in a userdata that is pushed: released by the collector, whatever is raised later. */
void *graft_scratch(lua_State *L, size_t count, size_t size);

/* A pointer slot in a userdata that is pushed; the collector calls `release` on what the slot holds then. */
typedef void graft_release(void *pointer);
void **graft_hold(lua_State *L, graft_release *release);
/* Releases what the slot holds, now. */
void graft_drop(void **slot);
/* Pushes a holder of an empty text and returns the text, which the collector releases. */
struct gr_text *graft_hold_text(lua_State *L);

/* The table at `index` (nil or none: no options) has only keys of `known` (NULL-terminated). */
void graft_known(lua_State *L, int index, const char *who, const char *const *known);
/* Fields; absent or nil gives `otherwise`. */
lua_Integer graft_field_integer(lua_State *L, int index, const char *who, const char *key,
                                lua_Integer otherwise, lua_Integer low, lua_Integer high);
lua_Number graft_field_number(lua_State *L, int index, const char *who, const char *key,
                              lua_Number otherwise);
bool graft_field_boolean(lua_State *L, int index, const char *who, const char *key, bool otherwise);
/* The string lives as long as the table holds it. */
const char *graft_field_string(lua_State *L, int index, const char *who, const char *key,
                               const char *otherwise);
/* The field `stash` of a training: "none" or "bf16". */
enum gr_stash_kind graft_field_stash(lua_State *L, int index, const char *who);
/* The field `prefix`: "float32" (also when absent), "bf16" or "int8". */
enum gr_precision graft_field_precision(lua_State *L, int index, const char *who);
/* Numbers of a list field into out[]; returns how many (0 when absent), at most `most`. */
int graft_field_numbers(lua_State *L, int index, const char *who, const char *key, float *out, int most);
/* Pushes the field and returns true, or pushes nothing and returns false when it is absent. Metamethods are
 * not asked: a string that only they know would live for nobody. */
bool graft_field(lua_State *L, int index, const char *key);

/* A string, or a list of strings, as an array that is pushed as a userdata (one stack slot, even when the
 * list is empty). The strings live as long as the value at `index`. */
const char *const *graft_strings(lua_State *L, int index, const char *who, const char *what, int *count);
void graft_push_strings(lua_State *L, const char *const *strings, int count);

/* {C,H,W}, or {C} for a flat one. */
struct gr_shape graft_shape(lua_State *L, int index, const char *who);
void graft_push_shape(lua_State *L, struct gr_shape shape);

/* Adds functions to a metatable whose __index is a table of `methods`; unknown fields raise with the nearest
 * method. A method "close" serves <close> variables too; `collect` is the finalizer, and scripts cannot reach
 * it. Pushes nothing. `type` is "graft.network". */
void graft_class(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction collect);
/* Finalizers that a script wrote run wherever Lua allocates, so also while a function of ours holds pointers:
 * what closes or changes an object or runs it must not be called there. A method that closes leaves the
 * object to the collector then. */
bool graft_in_finalizer(lua_State *L);
void graft_no_finalizer(lua_State *L, const char *who);
/* lua_pcall for a function that the runtime called back: counts how deep such calls are. */
int graft_callback(lua_State *L, int arguments, int results);
/* Tells the collector about memory that it does not see. */
void graft_charge(lua_State *L, size_t bytes);

#endif
