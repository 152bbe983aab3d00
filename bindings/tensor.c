/* The userdata "graft.tensor": life, indexing, comparison, printing. */
#include "tensor.h"

#include <stdbool.h>
#include <string.h>

#include "arguments.h"
#include "base/status.h"
#include "base/text.h"
#include "error.h"
#include "tensor/arithmetic.h"
#include "tensor/print.h"
#include "tensor/view.h"
#include "tensor_parts.h"

static const char TYPE[] = "graft.tensor";

/* ---- life ---- */

struct gr_tensor *graft_new_tensor(lua_State *L) {
    struct gr_tensor *tensor = lua_newuserdatauv(L, sizeof *tensor, 0);
    memset(tensor, 0, sizeof *tensor);
    luaL_setmetatable(L, TYPE);
    return tensor;
}

int graft_made_tensor(lua_State *L, int status, const char *function) {
    graft_check_in(L, status, function);
    graft_charge(L, gr_tensor_bytes(graft_test_tensor(L, -1)));
    return 1;
}

struct gr_tensor *graft_test_tensor(lua_State *L, int index) {
    return luaL_testudata(L, index, TYPE);
}

struct gr_tensor *graft_tensor_argument(lua_State *L, int index, const char *function, const char *what) {
    struct gr_tensor *tensor = graft_test_tensor(L, index);
    if (!tensor)
        graft_bad_argument(L, function, index, what, "a tensor");
    graft_check_in(L, gr_tensor_check(tensor), function);
    return tensor;
}

struct gr_tensor *graft_check_tensor(lua_State *L, int index) {
    lua_Debug info;
    const char *function = "graft";
    if (lua_getstack(L, 0, &info) && lua_getinfo(L, "n", &info) && info.name)
        function = info.name;
    return graft_tensor_argument(L, lua_absindex(L, index), function, "the tensor");
}

void graft_revoke_tensor(lua_State *L, int index) {
    struct gr_tensor *tensor = graft_test_tensor(L, index);
    if (!tensor)
        return;
    gr_tensor_revoke(tensor);
    gr_tensor_release(tensor);
}

static int tensor_collect(lua_State *L) {
    struct gr_tensor *tensor = graft_test_tensor(L, 1);
    if (tensor)
        gr_tensor_release(tensor);
    return 0;
}

/* __close and x:close(). */
static int tensor_close(lua_State *L) {
    return graft_in_finalizer(L) ? 0 : tensor_collect(L);
}

/* ---- indices and dimensions ---- */

static const char *const ORDINALS[GR_MAX_RANK] = {"first", "second", "third",   "fourth",
                                                  "fifth", "sixth",  "seventh", "eighth"};

int64_t graft_index(lua_State *L, lua_Integer index, const char *function, int64_t size, int dim) {
    if (index == 0)
        graft_fail(L, GR_ERROR_SHAPE,
                   "%s: indices start at 1: x[1] is the first of %lld along the %s dimension", function,
                   (long long)size, ORDINALS[dim]);
    if (index > size || index < -size)
        graft_fail(L, GR_ERROR_SHAPE, "%s: no index %lld along the %s dimension, which has %lld", function,
                   (long long)index, ORDINALS[dim], (long long)size);
    return index > 0 ? index - 1 : size + index;
}

static int dimension(lua_State *L, lua_Integer dim, const char *function, const struct gr_tensor *tensor,
                     int rank) {
    char shape[96];
    gr_format_shape(tensor->rank, tensor->shape, shape);
    if (dim == 0)
        graft_fail(L, GR_ERROR_SHAPE, "%s: dimensions start at 1; the shape is %s", function, shape);
    if (dim > rank || dim < -rank)
        graft_fail(L, GR_ERROR_SHAPE, "%s: no dimension %lld in a tensor of shape %s", function,
                   (long long)dim, shape);
    return (int)(dim > 0 ? dim - 1 : rank + dim);
}

int graft_dimension(lua_State *L, int argument, const char *function, const struct gr_tensor *tensor,
                    int otherwise) {
    lua_Integer dim = otherwise ? graft_optional_integer(L, argument, function, "the dimension", otherwise)
                                : graft_integer(L, argument, function, "the dimension");
    return dimension(L, dim, function, tensor, tensor->rank);
}

int graft_new_dimension(lua_State *L, int argument, const char *function, const struct gr_tensor *tensor) {
    lua_Integer dim = graft_integer(L, argument, function, "the dimension");
    return dimension(L, dim, function, tensor, tensor->rank + 1);
}

/* ---- x[key] ---- */

static void push_shape(lua_State *L, const struct gr_tensor *tensor) {
    lua_createtable(L, tensor->rank, 0);
    for (int d = 0; d < tensor->rank; d++) {
        lua_pushinteger(L, tensor->shape[d]);
        lua_rawseti(L, -2, d + 1);
    }
}

void graft_push_first(lua_State *L, const struct gr_tensor *tensor, lua_Integer add) {
    if (tensor->dtype == GR_I64)
        lua_pushinteger(L, *gr_tensor_integers(tensor) + add);
    else
        lua_pushnumber(L, (lua_Number)*gr_tensor_floats(tensor));
}

/* The tensor of x[i], which has a first dimension. */
static struct gr_tensor *indexed(lua_State *L) {
    struct gr_tensor *tensor = graft_tensor_argument(L, 1, "tensor", "the tensor");
    if (tensor->rank == 0)
        graft_fail(L, GR_ERROR_SHAPE, "tensor: a scalar has no x[i]; x:item() is its number");
    return tensor;
}

static int push_index(lua_State *L, lua_Integer i) {
    struct gr_tensor *tensor = indexed(L);
    if (i == tensor->shape[0] + 1) {
        lua_pushnil(L); /* where ipairs ends */
        return 1;
    }
    int64_t place = graft_index(L, i, "tensor", tensor->shape[0], 0);
    if (tensor->rank == 1) {
        struct gr_tensor first = *tensor;
        first.offset += place * first.stride[0];
        graft_push_first(L, &first, 0);
        return 1;
    }
    graft_check_in(L, gr_tensor_select(graft_new_tensor(L), tensor, 0, place), "tensor");
    return 1;
}

/* Raises for a key that is no method; upvalue 2 lists the names in the order of registration. */
static int no_such_name(lua_State *L) {
    enum { MOST = 160 };
    const char *names[MOST];
    size_t count = 0;
    if (lua_type(L, 2) != LUA_TSTRING)
        return graft_bad_argument(L, "tensor", 2, "the index", "a whole number or a method's name");
    lua_Unsigned length = lua_rawlen(L, lua_upvalueindex(2));
    for (lua_Unsigned i = 1; i <= length && count < MOST; i++) {
        lua_rawgeti(L, lua_upvalueindex(2), (lua_Integer)i);
        names[count++] = lua_tostring(L, -1); /* stays in the list */
        lua_pop(L, 1);
    }
    return graft_no_field(L, "tensor", lua_tostring(L, 2), names, count);
}

static int tensor_index(lua_State *L) {
    int is_integer;
    lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &is_integer) : (is_integer = 0);
    if (is_integer)
        return push_index(L, i);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
    if (strcmp(key, "shape") == 0) {
        push_shape(L, graft_tensor_argument(L, 1, "tensor", "the tensor"));
    } else if (strcmp(key, "rank") == 0) {
        lua_pushinteger(L, graft_tensor_argument(L, 1, "tensor", "the tensor")->rank);
    } else if (strcmp(key, "dtype") == 0) {
        const struct gr_tensor *tensor = graft_tensor_argument(L, 1, "tensor", "the tensor");
        lua_pushstring(L, tensor->dtype == GR_F32 ? "float32" : "int64");
    } else {
        return no_such_name(L);
    }
    return 1;
}

/* x[i] = number, tensor, or nested list. */
static int tensor_newindex(lua_State *L) {
    int is_integer = 0;
    lua_Integer i = lua_type(L, 2) == LUA_TNUMBER ? lua_tointegerx(L, 2, &is_integer) : 0;
    if (!is_integer)
        return graft_fail(L, GR_ERROR_NAME, "tensor: x[i] can be assigned to for a whole number i only");
    struct gr_tensor *tensor = indexed(L);
    int64_t place = graft_index(L, i, "tensor", tensor->shape[0], 0);
    struct gr_tensor *target = graft_new_tensor(L);
    graft_check_in(L, gr_tensor_select(target, tensor, 0, place), "tensor");
    if (lua_type(L, 3) == LUA_TNUMBER) {
        graft_check_in(L, gr_assign_number(target, lua_tonumber(L, 3)), "tensor");
        return 0;
    }
    if (lua_istable(L, 3)) {
        lua_pushcfunction(L, graft_tensor_call);
        lua_pushnil(L);
        lua_pushvalue(L, 3);
        lua_call(L, 2, 1);
        lua_replace(L, 3);
    }
    struct gr_tensor *source = graft_test_tensor(L, 3);
    if (!source)
        return graft_fail(L, GR_ERROR_OPTION, "tensor: x[i] takes a number, a tensor or a list, not %s",
                          graft_describe(L, 3));
    graft_check_in(L, gr_assign(target, source), "tensor");
    return 0;
}

static int tensor_len(lua_State *L) {
    struct gr_tensor *tensor = graft_tensor_argument(L, 1, "tensor", "the tensor");
    if (tensor->rank == 0)
        return graft_fail(L, GR_ERROR_SHAPE, "tensor: a scalar has no length; x:item() is its number");
    lua_pushinteger(L, tensor->shape[0]);
    return 1;
}

/* ---- comparison and printing ---- */

static int tensor_eq(lua_State *L) {
    const struct gr_tensor *a = graft_test_tensor(L, 1), *b = graft_test_tensor(L, 2);
    bool equal = false;
    if (a && b)
        graft_check_in(L, gr_equal(&equal, a, b), "tensor");
    lua_pushboolean(L, equal);
    return 1;
}

static int tensor_order(lua_State *L) {
    return graft_fail(
        L, GR_ERROR_OPTION,
        "tensor: Lua makes one boolean of x > y, so tensors cannot be compared so; x:gt(y) x:ge(y) "
        "x:lt(y) x:le(y) x:eq(y) x:ne(y) give 0 or 1 for every element");
}

struct printed {
    struct gr_text text;
};

static int printed_close(lua_State *L) {
    struct printed *printed = lua_touserdata(L, 1);
    gr_text_free(&printed->text);
    memset(&printed->text, 0, sizeof printed->text);
    return 0;
}

static int tensor_tostring(lua_State *L) {
    const struct gr_tensor *tensor = graft_test_tensor(L, 1);
    if (!tensor || gr_tensor_check(tensor)) {
        lua_pushliteral(L, "tensor (closed)"); /* printing what is there must not fail */
        return 1;
    }
    struct printed *printed = lua_newuserdatauv(L, sizeof *printed, 0);
    memset(printed, 0, sizeof *printed);
    if (luaL_newmetatable(L, "graft.text")) {
        lua_pushcfunction(L, printed_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    graft_check_in(L, gr_tensor_print(&printed->text, tensor), "tensor");
    lua_pushlstring(L, printed->text.bytes, printed->text.length);
    gr_text_free(&printed->text);
    memset(&printed->text, 0, sizeof printed->text);
    return 1;
}

/* ---- registration ---- */

static const luaL_Reg METHODS[] = {{"close", tensor_close}, {NULL, NULL}};

/* Metamethods that are methods under another name. */
static const char *const OPERATORS[][2] = {{"__add", "add"}, {"__sub", "sub"}, {"__mul", "mul"},
                                           {"__div", "div"}, {"__pow", "pow"}, {"__unm", "neg"}};

static const luaL_Reg METAMETHODS[] = {
    {"__newindex", tensor_newindex}, {"__len", tensor_len},     {"__eq", tensor_eq},
    {"__lt", tensor_order},          {"__le", tensor_order},    {"__tostring", tensor_tostring},
    {"__gc", tensor_collect},        {"__close", tensor_close}, {NULL, NULL}};

/* Takes the function at the top into the methods table (below the list of names) and its name into the list.
 */
static void add_method(lua_State *L, int methods, const char *name) {
    lua_setfield(L, methods, name);
    lua_pushstring(L, name);
    lua_rawseti(L, methods + 1, (lua_Integer)lua_rawlen(L, methods + 1) + 1);
}

static void add_methods(lua_State *L, int methods, const luaL_Reg *list) {
    for (; list->name; list++) {
        lua_pushcfunction(L, list->func);
        add_method(L, methods, list->name);
    }
}

static void add_operations(lua_State *L, int methods) {
    for (const struct graft_operation *each = graft_tensor_operations; each->function; each++) {
        for (int op = 0; op < each->count; op++) {
            const char *name = lua_pushfstring(L, "%s%s", each->name(op), each->ending);
            lua_pushinteger(L, op);
            lua_pushfstring(L, "tensor:%s", name);
            lua_pushcclosure(L, each->function, 2);
            add_method(L, methods, name);
            lua_pop(L, 1);
        }
    }
}

static void make_metatable(lua_State *L) {
    static const char *const FIELDS[] = {"shape", "rank", "dtype"};
    luaL_newmetatable(L, TYPE);
    luaL_setfuncs(L, METAMETHODS, 0);
    lua_newtable(L); /* methods */
    lua_newtable(L); /* their names, in order */
    int methods = lua_gettop(L) - 1;
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        lua_pushstring(L, FIELDS[i]);
        lua_rawseti(L, methods + 1, (lua_Integer)i + 1);
    }
    add_methods(L, methods, METHODS);
    add_methods(L, methods, graft_tensor_values);
    add_methods(L, methods, graft_tensor_views);
    add_methods(L, methods, graft_tensor_maths);
    add_operations(L, methods);
    for (size_t i = 0; i < sizeof OPERATORS / sizeof OPERATORS[0]; i++) {
        lua_getfield(L, methods, OPERATORS[i][1]);
        lua_setfield(L, methods - 1, OPERATORS[i][0]);
    }
    lua_pushcclosure(L, tensor_index, 2);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable"); /* a script must not reach __gc */
    lua_pop(L, 1);
}

void graft_open_tensor(lua_State *L) {
    luaL_checkstack(L, 12, "tensors");
    make_metatable(L);
    lua_newtable(L);
    luaL_setfuncs(L, graft_tensor_makers, 0);
    lua_newtable(L); /* graft.tensor: callable */
    lua_pushcfunction(L, graft_tensor_load);
    lua_setfield(L, -2, "load");
    lua_newtable(L);
    lua_pushcfunction(L, graft_tensor_call);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "tensor");
}
