/* Methods that hand numbers to the runtime's arithmetic. */
#include <stdbool.h>

#include "base/status.h"
#include "error.h"
#include "tensor/arithmetic.h"
#include "tensor/matmul.h"
#include "tensor/reduce.h"
#include "tensor_parts.h"

static struct gr_tensor *self(lua_State *L, const char *function) {
    return graft_tensor_argument(L, 1, function, "the tensor");
}

/* ---- families of operations: upvalue 1 is the operation, upvalue 2 "tensor:NAME" ---- */

static int operation(lua_State *L) {
    return (int)lua_tointeger(L, lua_upvalueindex(1));
}

static const char *operation_name(lua_State *L) {
    return lua_tostring(L, lua_upvalueindex(2));
}

static int unary(lua_State *L) {
    const char *name = operation_name(L);
    struct gr_tensor *a = self(L, name);
    return graft_made_tensor(L, gr_unary(graft_new_tensor(L), (enum gr_unary)operation(L), a), name);
}

static int unary_in_place(lua_State *L) {
    const char *name = operation_name(L);
    graft_check_in(L, gr_unary_in_place(self(L, name), (enum gr_unary)operation(L)), name);
    lua_settop(L, 1);
    return 1;
}

/* Also the metamethods + - * / ^, where either side may be the number. */
static int binary(lua_State *L) {
    const char *name = operation_name(L);
    enum gr_binary op = (enum gr_binary)operation(L);
    int status;
    if (lua_type(L, 1) == LUA_TNUMBER) {
        const struct gr_tensor *b = graft_tensor_argument(L, 2, name, "the other operand");
        status = gr_binary_number(graft_new_tensor(L), op, b, (float)lua_tonumber(L, 1), true);
    } else if (lua_type(L, 2) == LUA_TNUMBER) {
        const struct gr_tensor *a = self(L, name);
        status = gr_binary_number(graft_new_tensor(L), op, a, (float)lua_tonumber(L, 2), false);
    } else {
        const struct gr_tensor *a = self(L, name), *b = graft_test_tensor(L, 2);
        if (!b)
            return graft_bad_argument(L, name, 2, "the other operand", "a tensor or a number");
        status = gr_binary(graft_new_tensor(L), op, a, b);
    }
    return graft_made_tensor(L, status, name);
}

static int binary_in_place(lua_State *L) {
    const char *name = operation_name(L);
    enum gr_binary op = (enum gr_binary)operation(L);
    struct gr_tensor *a = self(L, name);
    const struct gr_tensor *b = graft_test_tensor(L, 2);
    if (lua_type(L, 2) == LUA_TNUMBER)
        graft_check_in(L, gr_binary_number_in_place(a, op, (float)lua_tonumber(L, 2)), name);
    else if (b)
        graft_check_in(L, gr_binary_in_place(a, op, b), name);
    else
        return graft_bad_argument(L, name, 2, "the other operand", "a tensor or a number");
    lua_settop(L, 1);
    return 1;
}

/* An optional boolean argument. */
static bool flag(lua_State *L, int argument, const char *function, const char *what, bool otherwise) {
    if (lua_isnoneornil(L, argument))
        return otherwise;
    if (!lua_isboolean(L, argument))
        graft_bad_argument(L, function, argument, what, "true or false");
    return lua_toboolean(L, argument);
}

/* x:sum() is a number, x:sum(dim [, keep]) a tensor. */
static int reduction(lua_State *L) {
    const char *name = operation_name(L);
    enum gr_reduction op = (enum gr_reduction)operation(L);
    struct gr_tensor *tensor = self(L, name);
    if (lua_isnoneornil(L, 2)) {
        double value;
        graft_check_in(L, gr_reduce_all(&value, op, tensor), name);
        lua_pushnumber(L, value);
        return 1;
    }
    int dim = graft_dimension(L, 2, name, tensor, 0);
    bool keep = flag(L, 3, name, "whether to keep the dimension", false);
    return graft_made_tensor(L, gr_reduce(graft_new_tensor(L), op, tensor, dim, keep), name);
}

static const char *unary_name(int op) {
    return gr_unary_name((enum gr_unary)op);
}

static const char *binary_name(int op) {
    return gr_binary_name((enum gr_binary)op);
}

static const char *reduction_name(int op) {
    return gr_reduction_name((enum gr_reduction)op);
}

const struct graft_operation graft_tensor_operations[] = {
    {unary, unary_name, "", GR_UNARY_COUNT},          {unary_in_place, unary_name, "_", GR_UNARY_COUNT},
    {binary, binary_name, "", GR_BINARY_COUNT},       {binary_in_place, binary_name, "_", GR_BINARY_COUNT},
    {reduction, reduction_name, "", GR_REDUCE_COUNT}, {NULL, NULL, NULL, 0},
};

/* ---- places: lists of integers, counted from 1 ---- */

static int arg(lua_State *L, const char *name, bool largest) {
    struct gr_tensor *tensor = self(L, name);
    if (lua_isnoneornil(L, 2)) {
        int64_t place;
        graft_check_in(L, gr_arg_all(&place, tensor, largest), name);
        lua_pushinteger(L, place + 1);
        return 1;
    }
    int dim = graft_dimension(L, 2, name, tensor, 0);
    bool keep = flag(L, 3, name, "whether to keep the dimension", false);
    struct gr_tensor *places = graft_new_tensor(L);
    graft_check_in(L, gr_arg(places, tensor, dim, keep, largest), name);
    graft_push_nested(L, places, 1);
    return 1;
}

static int argmax(lua_State *L) {
    return arg(L, "tensor:argmax", true);
}

static int argmin(lua_State *L) {
    return arg(L, "tensor:argmin", false);
}

/* x:argsort([dim = -1 [, descending = false]]) */
static int argsort(lua_State *L) {
    static const char NAME[] = "tensor:argsort";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, -1);
    bool descending = flag(L, 3, NAME, "whether to sort downwards", false);
    struct gr_tensor *places = graft_new_tensor(L);
    graft_check_in(L, gr_argsort(places, tensor, dim, descending), NAME);
    graft_push_nested(L, places, 1);
    return 1;
}

/* x:topk(k [, dim = -1 [, largest = true]]) -> lists of integers, tensor of values */
static int topk(lua_State *L) {
    static const char NAME[] = "tensor:topk";
    struct gr_tensor *tensor = self(L, NAME);
    lua_Integer k = graft_integer(L, 2, NAME, "how many");
    int dim = graft_dimension(L, 3, NAME, tensor, -1);
    bool largest = flag(L, 4, NAME, "whether the largest are wanted", true);
    struct gr_tensor *places = graft_new_tensor(L), *values = graft_new_tensor(L);
    graft_made_tensor(L, gr_topk(places, values, tensor, dim, k, largest), NAME);
    graft_push_nested(L, places, 1);
    lua_insert(L, -2);
    return 2;
}

/* ---- the rest ---- */

static int matmul(lua_State *L) {
    static const char NAME[] = "tensor:matmul";
    struct gr_tensor *a = self(L, NAME), *b = graft_tensor_argument(L, 2, NAME, "the other matrix");
    return graft_made_tensor(L, gr_matmul(graft_new_tensor(L), a, b), NAME);
}

static int softmax(lua_State *L) {
    static const char NAME[] = "tensor:softmax";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, -1);
    return graft_made_tensor(L, gr_tensor_softmax(graft_new_tensor(L), tensor, dim, false), NAME);
}

static int log_softmax(lua_State *L) {
    static const char NAME[] = "tensor:log_softmax";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, -1);
    return graft_made_tensor(L, gr_tensor_softmax(graft_new_tensor(L), tensor, dim, true), NAME);
}

/* x:clamp(low, high): nil is no bound. */
static int clamp(lua_State *L) {
    static const char NAME[] = "tensor:clamp";
    struct gr_tensor *tensor = self(L, NAME);
    float low = (float)graft_optional_number(L, 2, NAME, "the lower bound", -__builtin_inf());
    float high = (float)graft_optional_number(L, 3, NAME, "the upper bound", __builtin_inf());
    return graft_made_tensor(L, gr_clamp(graft_new_tensor(L), tensor, low, high), NAME);
}

/* A tensor argument, or a number made one (in place of it on the stack). */
static struct gr_tensor *operand(lua_State *L, int argument, const char *function, const char *what) {
    if (lua_type(L, argument) == LUA_TNUMBER) {
        double number = lua_tonumber(L, argument);
        struct gr_tensor *made = graft_new_tensor(L);
        graft_check_in(L, gr_tensor_create(made, GR_F32, 0, NULL), function);
        graft_check_in(L, gr_assign_number(made, number), function);
        lua_replace(L, argument);
    }
    return graft_tensor_argument(L, argument, function, what);
}

/* condition:where(a, b): a where the condition is not 0, else b. */
static int where(lua_State *L) {
    static const char NAME[] = "tensor:where";
    struct gr_tensor *condition = self(L, NAME);
    struct gr_tensor *a = operand(L, 2, NAME, "the value where it holds");
    struct gr_tensor *b = operand(L, 3, NAME, "the value where it does not");
    return graft_made_tensor(L, gr_where(graft_new_tensor(L), condition, a, b), NAME);
}

const luaL_Reg graft_tensor_maths[] = {
    {"argmax", argmax}, {"argmin", argmin},   {"argsort", argsort},         {"topk", topk},
    {"matmul", matmul}, {"softmax", softmax}, {"log_softmax", log_softmax}, {"clamp", clamp},
    {"where", where},   {NULL, NULL}};
