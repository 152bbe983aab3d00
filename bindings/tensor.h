/* Tensors in Lua: the userdata "graft.tensor" (API C6), and what other bindings need to take and give
 * tensors.
 *
 * A userdata holds one reference to the storage; a view of it holds its own, so parents may be collected
 * first. */
#ifndef GRAFT_BINDINGS_TENSOR_H
#define GRAFT_BINDINGS_TENSOR_H

#include <lua.h>

#include "tensor/tensor.h"

/* Registers the type and pushes a table of the functions that make tensors: tensor (callable, with
 * tensor.load), zeros, ones, full, eye, rand, randn, range, arange, linspace, concat, cat, stack. */
void graft_open_tensor(lua_State *L);

/* Pushes an empty tensor for the caller to fill: userdata first, resource second, so that no error can leak.
 */
struct gr_tensor *graft_new_tensor(lua_State *L);
/* To be called with that userdata on top once it was filled by the runtime: raises when status is not GR_OK
 * ("FUNCTION: " before the message), else tells the collector how much memory hangs on it. Returns 1, the
 * number of results. */
int graft_made_tensor(lua_State *L, int status, const char *function);

/* The tensor at `index`, valid as long as the userdata lives. Raises kind "option" when it is none, was
 * closed or was revoked; graft_tensor_argument says which function and argument (see bindings/error.h). */
struct gr_tensor *graft_check_tensor(lua_State *L, int index);
struct gr_tensor *graft_tensor_argument(lua_State *L, int index, const char *function, const char *what);
/* NULL when it is no tensor; it may be closed (gr_tensor_check in the runtime refuses it then). */
struct gr_tensor *graft_test_tensor(lua_State *L, int index);

/* Ends the life of a tensor that was lent to Lua for a call: using it raises from now on, and so does using a
 * view of it when it was made by gr_tensor_borrow. */
void graft_revoke_tensor(lua_State *L, int index);

#endif
