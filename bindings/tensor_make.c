/* Tensors from numbers, lists and files, and back. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "arguments.h"
#include "base/status.h"
#include "error.h"
#include "state.h"
#include "tensor/arithmetic.h"
#include "tensor/fill.h"
#include "tensor/npy.h"
#include "tensor_parts.h"

/* ---- nested lists ---- */

/* A nested list on its way into a tensor. */
struct nest {
    const char *function;
    struct gr_tensor *tensor;
    int64_t place[GR_MAX_RANK]; /* where we are, from 1 */
    float *next;
};

/* "x[2][3]" of the present place. */
static const char *place_text(const struct nest *nest, int depth, char *out, size_t size) {
    int used = 0;
    out[0] = '\0';
    for (int d = 0; d < depth && used + 24 < (int)size; d++)
        used += snprintf(out + used, size - (size_t)used, "[%lld]", (long long)nest->place[d]);
    return out;
}

/* The shape of the list at the top of the stack, by its first elements. */
static int infer_shape(lua_State *L, const char *function, int64_t *shape) {
    int rank = 0, top = lua_gettop(L);
    luaL_checkstack(L, GR_MAX_RANK + 4, "a nested list");
    while (lua_istable(L, -1)) {
        if (rank == GR_MAX_RANK)
            graft_fail(L, GR_ERROR_SHAPE, "%s: lists nested more than %d deep", function, GR_MAX_RANK);
        shape[rank] = (int64_t)lua_rawlen(L, -1);
        if (shape[rank++] == 0)
            break;
        lua_rawgeti(L, -1, 1);
    }
    lua_settop(L, top);
    return rank;
}

/* Reads the value at the top of the stack, which stands `depth` deep. */
static void read_nest(lua_State *L, struct nest *nest, int depth) {
    char at[256];
    const struct gr_tensor *tensor = nest->tensor;
    if (depth == tensor->rank) {
        if (lua_type(L, -1) != LUA_TNUMBER)
            graft_fail(L, GR_ERROR_OPTION, "%s: element %s is %s, not a number", nest->function,
                       place_text(nest, depth, at, sizeof at), graft_describe(L, -1));
        *nest->next++ = (float)lua_tonumber(L, -1);
        return;
    }
    if (!lua_istable(L, -1))
        graft_fail(L, GR_ERROR_SHAPE, "%s: element %s is %s, but the first of its kind is a list",
                   nest->function, place_text(nest, depth, at, sizeof at), graft_describe(L, -1));
    int64_t n = tensor->shape[depth];
    if ((int64_t)lua_rawlen(L, -1) != n)
        graft_fail(L, GR_ERROR_SHAPE, "%s: list %s has %lld elements, but the first of its kind has %lld",
                   nest->function, place_text(nest, depth, at, sizeof at), (long long)lua_rawlen(L, -1),
                   (long long)n);
    for (int64_t i = 1; i <= n; i++) {
        nest->place[depth] = i;
        lua_rawgeti(L, -1, i);
        read_nest(L, nest, depth + 1);
        lua_pop(L, 1);
    }
}

/* tensor(number), tensor{nested list}, tensor(tensor): argument 1 is the table that is called. */
int graft_tensor_call(lua_State *L) {
    static const char NAME[] = "tensor";
    int64_t shape[GR_MAX_RANK];
    const struct gr_tensor *other = graft_test_tensor(L, 2);
    if (other)
        return graft_made_tensor(L, gr_tensor_copy(graft_new_tensor(L), other), NAME);
    if (!lua_istable(L, 2) && lua_type(L, 2) != LUA_TNUMBER)
        return graft_fail(L, GR_ERROR_OPTION, "%s: made of a number or a nested list of numbers, not of %s",
                          NAME, graft_describe(L, 2));
    lua_settop(L, 2);
    int rank = infer_shape(L, NAME, shape);
    struct nest nest = {.function = NAME, .tensor = graft_new_tensor(L)};
    graft_made_tensor(L, gr_tensor_create(nest.tensor, GR_F32, rank, shape), NAME);
    nest.next = gr_tensor_floats(nest.tensor);
    lua_pushvalue(L, 2);
    read_nest(L, &nest, 0);
    lua_pop(L, 1);
    return 1;
}

static const int64_t MOST_LISTS = 1 << 27; /* entries of a nested list */

static void push_nest(lua_State *L, const struct gr_tensor *tensor, int dim, int64_t offset,
                      lua_Integer add) {
    if (dim == tensor->rank) {
        struct gr_tensor element = *tensor;
        element.offset = offset;
        graft_push_first(L, &element, add);
        return;
    }
    int64_t n = tensor->shape[dim];
    lua_createtable(L, n < 1 << 20 ? (int)n : 0, 0);
    for (int64_t i = 0; i < n; i++) {
        if (i % (1 << 16) == (1 << 16) - 1)
            graft_check(L, graft_poll(L));
        push_nest(L, tensor, dim + 1, offset + i * tensor->stride[dim], add);
        lua_rawseti(L, -2, i + 1);
    }
}

void graft_push_nested(lua_State *L, const struct gr_tensor *tensor, lua_Integer add) {
    int64_t lists = 1; /* a tensor without elements may still have very many rows */
    for (int d = 0; d < tensor->rank && tensor->shape[d] > 0 && lists <= MOST_LISTS; d++)
        lists = tensor->shape[d] > MOST_LISTS ? MOST_LISTS + 1 : lists * tensor->shape[d];
    if (lists > MOST_LISTS)
        graft_fail(L, GR_ERROR_LIMIT, "tensor: a nested list of more than %lld entries is too long",
                   (long long)MOST_LISTS);
    luaL_checkstack(L, GR_MAX_RANK + 4, "a nested list");
    push_nest(L, tensor, 0, tensor->offset, add);
}

/* ---- values out ---- */

static int table(lua_State *L) {
    graft_push_nested(L, graft_tensor_argument(L, 1, "tensor:table", "the tensor"), 0);
    return 1;
}

static int item(lua_State *L) {
    char shape[96];
    const struct gr_tensor *tensor = graft_tensor_argument(L, 1, "tensor:item", "the tensor");
    if (gr_tensor_count(tensor) != 1)
        return graft_fail(L, GR_ERROR_SHAPE, "tensor:item: the tensor has shape %s, not one element",
                          gr_format_shape(tensor->rank, tensor->shape, shape));
    graft_push_first(L, tensor, 0);
    return 1;
}

static int save(lua_State *L) {
    static const char NAME[] = "tensor:save";
    const struct gr_tensor *tensor = graft_tensor_argument(L, 1, NAME, "the tensor");
    graft_check_in(L, gr_npy_write(graft_string(L, 2, NAME, "the file"), tensor), NAME);
    lua_settop(L, 1);
    return 1;
}

const luaL_Reg graft_tensor_values[] = {{"table", table}, {"item", item}, {"save", save}, {NULL, NULL}};

/* tensor.load(path): float32 whatever the file holds; an integer that float32 cannot hold raises kind
 * "number". */
int graft_tensor_load(lua_State *L) {
    static const char NAME[] = "tensor.load";
    const char *path = graft_string(L, 1, NAME, "the file");
    struct gr_tensor *read = graft_new_tensor(L);
    graft_made_tensor(L, gr_npy_read(read, path), NAME);
    if (read->dtype == GR_F32)
        return 1;
    int status = gr_tensor_cast(graft_new_tensor(L), read, GR_F32);
    if (status)
        gr_fail_in("%s", path);
    return graft_made_tensor(L, status, NAME);
}

/* ---- makers ---- */

static int zeros(lua_State *L) {
    int64_t shape[GR_MAX_RANK];
    int rank = graft_shape_argument(L, 1, "zeros", shape);
    return graft_made_tensor(L, gr_tensor_create(graft_new_tensor(L), GR_F32, rank, shape), "zeros");
}

static int ones(lua_State *L) {
    int64_t shape[GR_MAX_RANK];
    int rank = graft_shape_argument(L, 1, "ones", shape);
    return graft_made_tensor(L, gr_full(graft_new_tensor(L), rank, shape, 1), "ones");
}

/* full({2, 3}, value) or full(2, 3, value) */
static int full(lua_State *L) {
    int64_t shape[GR_MAX_RANK];
    float value = (float)graft_number(L, lua_gettop(L) > 0 ? lua_gettop(L) : 1, "full", "the value");
    lua_pop(L, 1);
    int rank = graft_shape_argument(L, 1, "full", shape);
    return graft_made_tensor(L, gr_full(graft_new_tensor(L), rank, shape, value), "full");
}

static int eye(lua_State *L) {
    lua_Integer rows = graft_integer(L, 1, "eye", "the number of rows");
    lua_Integer columns = graft_optional_integer(L, 2, "eye", "the number of columns", rows);
    return graft_made_tensor(L, gr_eye(graft_new_tensor(L), rows, columns), "eye");
}

static int rand_uniform(lua_State *L) {
    int64_t shape[GR_MAX_RANK];
    int rank = graft_shape_argument(L, 1, "rand", shape);
    struct graft_state *state = graft_state(L);
    return graft_made_tensor(L, gr_rand(graft_new_tensor(L), rank, shape, 0, 1, state->seed, state->draws++),
                             "rand");
}

static int rand_normal(lua_State *L) {
    int64_t shape[GR_MAX_RANK];
    int rank = graft_shape_argument(L, 1, "randn", shape);
    struct graft_state *state = graft_state(L);
    return graft_made_tensor(L, gr_randn(graft_new_tensor(L), rank, shape, 0, 1, state->seed, state->draws++),
                             "randn");
}

/* How many of first, first + step ... lie up to `last`; a rounding error does not lose the last one. */
static int64_t count_steps(lua_State *L, const char *function, lua_Number first, lua_Number last,
                           lua_Number step, bool with_last) {
    if (step == 0)
        graft_fail(L, GR_ERROR_OPTION, "%s: the step must not be 0", function);
    lua_Number steps = (last - first) / step, slip = 1e-9 * (steps > 1 ? steps : 1);
    if (!(steps < 1e15 && steps > -1e300))
        graft_fail(L, GR_ERROR_LIMIT, "%s: from %g to %g in steps of %g is too long a way", function, first,
                   last, step);
    if (with_last)
        return steps + slip < 0 ? 0 : (int64_t)(steps + slip) + 1;
    if (steps <= slip)
        return 0;
    int64_t whole = (int64_t)(steps - slip);
    return whole + 1;
}

static int make_range(lua_State *L, const char *name, bool with_last) {
    lua_Number first = graft_number(L, 1, name, "the first value");
    lua_Number last = graft_number(L, 2, name, "the last value");
    lua_Number step = graft_optional_number(L, 3, name, "the step", 1);
    int64_t count = count_steps(L, name, first, last, step, with_last);
    return graft_made_tensor(L, gr_range(graft_new_tensor(L), first, step, count), name);
}

/* range(first, last [, step]): last is included, as in Lua's for. */
static int range(lua_State *L) {
    return make_range(L, "range", true);
}

/* arange(n) is 0 .. n-1; arange(first, stop [, step]) leaves stop out, as in NumPy. */
static int arange(lua_State *L) {
    if (lua_gettop(L) == 1) {
        lua_pushinteger(L, 0);
        lua_insert(L, 1);
    }
    return make_range(L, "arange", false);
}

static int linspace(lua_State *L) {
    lua_Number first = graft_number(L, 1, "linspace", "the first value");
    lua_Number last = graft_number(L, 2, "linspace", "the last value");
    lua_Integer count = graft_integer(L, 3, "linspace", "how many");
    lua_Number step = count > 1 ? (last - first) / (lua_Number)(count - 1) : 0;
    return graft_made_tensor(L, gr_range(graft_new_tensor(L), first, step, count), "linspace");
}

/* The tensors of the list in argument 1, as an array that a userdata on the stack owns. */
static const struct gr_tensor **tensor_list(lua_State *L, const char *function, int64_t *count) {
    if (!lua_istable(L, 1))
        graft_bad_argument(L, function, 1, "the tensors", "a list of tensors");
    lua_Unsigned n = lua_rawlen(L, 1);
    if (n == 0)
        graft_fail(L, GR_ERROR_OPTION, "%s: the list of tensors is empty", function);
    const struct gr_tensor **list = graft_scratch(L, n, sizeof *list);
    for (lua_Unsigned i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        list[i] = graft_test_tensor(L, -1);
        if (!list[i])
            graft_fail(L, GR_ERROR_OPTION, "%s: element %lld of the list is %s, not a tensor", function,
                       (long long)i + 1, graft_describe(L, -1));
        lua_pop(L, 1); /* the list keeps it */
    }
    *count = (int64_t)n;
    return list;
}

/* concat({a, b, ...} [, dim = 1]) */
static int join(lua_State *L, const char *name) {
    int64_t count;
    const struct gr_tensor **list = tensor_list(L, name, &count);
    graft_check_in(L, gr_tensor_check(list[0]), name);
    int dim = graft_dimension(L, 2, name, list[0], 1);
    return graft_made_tensor(L, gr_concat(graft_new_tensor(L), list, count, dim), name);
}

static int concat(lua_State *L) {
    lua_settop(L, 2);
    return join(L, "concat");
}

static int cat(lua_State *L) {
    lua_settop(L, 2);
    return join(L, "cat");
}

/* stack({a, b, ...} [, dim = 1]) */
static int stack(lua_State *L) {
    int64_t count;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pushinteger(L, 1);
        lua_replace(L, 2);
    }
    const struct gr_tensor **list = tensor_list(L, "stack", &count);
    graft_check_in(L, gr_tensor_check(list[0]), "stack");
    int dim = graft_new_dimension(L, 2, "stack", list[0]);
    return graft_made_tensor(L, gr_stack(graft_new_tensor(L), list, count, dim), "stack");
}

const luaL_Reg graft_tensor_makers[] = {{"zeros", zeros},   {"ones", ones},         {"full", full},
                                        {"eye", eye},       {"rand", rand_uniform}, {"randn", rand_normal},
                                        {"range", range},   {"arange", arange},     {"linspace", linspace},
                                        {"concat", concat}, {"cat", cat},           {"stack", stack},
                                        {NULL, NULL}};
