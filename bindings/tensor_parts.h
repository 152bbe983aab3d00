/* What the files of the tensor binding share. Not for other bindings. */
#ifndef GRAFT_BINDINGS_TENSOR_PARTS_H
#define GRAFT_BINDINGS_TENSOR_PARTS_H

#include <lauxlib.h>
#include <lua.h>

#include "tensor.h"

/* A method of tensors whose behaviour depends on an operation's number: it becomes upvalue 1, "tensor:NAME"
 * upvalue 2. */
struct graft_operation {
    lua_CFunction function;
    const char *(*name)(int op);
    const char *ending; /* "_" for in-place forms */
    int count;          /* operations 0..count-1 */
};

extern const luaL_Reg graft_tensor_views[];  /* tensor_views.c */
extern const luaL_Reg graft_tensor_maths[];  /* tensor_arithmetic.c */
extern const luaL_Reg graft_tensor_values[]; /* tensor_make.c: table, item, save */
extern const luaL_Reg graft_tensor_makers[]; /* tensor_make.c: zeros, ones ... */
extern const struct graft_operation
    graft_tensor_operations[];       /* tensor_arithmetic.c; ends with a NULL function */
int graft_tensor_call(lua_State *L); /* tensor{...} */
int graft_tensor_load(lua_State *L); /* tensor.load(path) */

/* A dimension given from 1, or from -1 at the end: 0..rank-1. `otherwise` (such a number too) stands for nil.
 */
int graft_dimension(lua_State *L, int argument, const char *function, const struct gr_tensor *tensor,
                    int otherwise);
/* The same where a new dimension may be put in: 0..rank. */
int graft_new_dimension(lua_State *L, int argument, const char *function, const struct gr_tensor *tensor);
/* An index given from 1, or from -1 at the end: 0..size-1. Raises kind "shape" when there is none. */
int64_t graft_index(lua_State *L, lua_Integer index, const char *function, int64_t size, int dim);
/* Sizes from `argument` on: (2, 3) or ({2, 3}). Returns the rank. -1 is allowed where a size can be inferred.
 */
int graft_shape_argument(lua_State *L, int argument, const char *function, int64_t *shape);
/* Pushes the elements as nested lists (a number for rank 0), `add` added to integers. */
void graft_push_nested(lua_State *L, const struct gr_tensor *tensor, lua_Integer add);
/* Pushes the element at the tensor's first place. */
void graft_push_first(lua_State *L, const struct gr_tensor *tensor, lua_Integer add);

#endif
