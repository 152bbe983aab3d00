/* Methods that look at a tensor in another way, copy it, or write into it. */
#include <string.h>

#include "base/status.h"
#include "error.h"
#include "tensor/arithmetic.h"
#include "tensor/view.h"
#include "tensor_parts.h"

static struct gr_tensor *self(lua_State *L, const char *function) {
    return graft_tensor_argument(L, 1, function, "the tensor");
}

int graft_shape_argument(lua_State *L, int argument, const char *function, int64_t *shape) {
    int rank = 0, count = lua_gettop(L) - argument + 1;
    if (lua_istable(L, argument)) {
        if (count > 1)
            graft_fail(L, GR_ERROR_OPTION, "%s: sizes are one list or several numbers, not both", function);
        lua_Unsigned length = lua_rawlen(L, argument);
        count = length > GR_MAX_RANK ? GR_MAX_RANK + 1 : (int)length;
        if (count <= GR_MAX_RANK) {
            luaL_checkstack(L, count, "sizes");
            for (int d = 1; d <= count; d++)
                lua_rawgeti(L, argument, d);
            argument = lua_gettop(L) - count + 1;
        }
    } else if (count <= 0) {
        graft_fail(L, GR_ERROR_OPTION, "%s: sizes are missing; %s(2, 3) and %s{2, 3} both work", function,
                   function, function);
    }
    if (count > GR_MAX_RANK)
        graft_fail(L, GR_ERROR_SHAPE, "%s: a tensor has at most %d dimensions", function, GR_MAX_RANK);
    for (; rank < count; rank++) {
        int is_integer = 0;
        if (lua_type(L, argument + rank) == LUA_TNUMBER)
            shape[rank] = lua_tointegerx(L, argument + rank, &is_integer);
        if (!is_integer)
            graft_fail(L, GR_ERROR_OPTION, "%s: size %d must be a whole number, not %s", function, rank + 1,
                       luaL_tolstring(L, argument + rank, NULL));
    }
    return rank;
}

/* x:slice(dim, first, last): first defaults to 1, last to -1; (n, n - 1) is empty. */
static int slice(lua_State *L) {
    static const char NAME[] = "tensor:slice";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, 0);
    int64_t size = tensor->shape[dim], start = 0, length = 0;
    lua_Integer first = graft_optional_integer(L, 3, NAME, "the first index", 1);
    lua_Integer last = graft_optional_integer(L, 4, NAME, "the last index", -1);
    lua_Integer from = first < 0 ? first + size + 1 : first, to = last < 0 ? last + size + 1 : last;
    if (from < 1 || from > size + 1 || to != from - 1) { /* not empty: both ends must exist */
        start = graft_index(L, first, NAME, size, dim);
        length = graft_index(L, last, NAME, size, dim) - start + 1;
        if (length < 0)
            return graft_fail(L, GR_ERROR_SHAPE, "%s: the last index, %lld, comes before the first, %lld",
                              NAME, (long long)last, (long long)first);
    } else {
        start = from - 1;
    }
    graft_check_in(L, gr_tensor_slice(graft_new_tensor(L), tensor, dim, start, length), NAME);
    return 1;
}

/* x:select(dim, i): without that dimension. */
static int select_one(lua_State *L) {
    static const char NAME[] = "tensor:select";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, 0);
    int64_t place = graft_index(L, graft_integer(L, 3, NAME, "the index"), NAME, tensor->shape[dim], dim);
    graft_check_in(L, gr_tensor_select(graft_new_tensor(L), tensor, dim, place), NAME);
    return 1;
}

/* x:at(i, j, ...): as x[i][j]..., a number when all dimensions are given. */
static int at(lua_State *L) {
    static const char NAME[] = "tensor:at";
    struct gr_tensor view = *self(L, NAME);
    int given = lua_gettop(L) - 1;
    if (given > view.rank)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: %d indices for a tensor of %d dimensions", NAME, given,
                          view.rank);
    for (int d = 0; d < given; d++) {
        lua_Integer index = graft_integer(L, d + 2, NAME, "an index");
        view.offset += graft_index(L, index, NAME, view.shape[d], d) * view.stride[d];
    }
    view.rank -= given;
    memmove(view.shape, view.shape + given, (size_t)view.rank * sizeof view.shape[0]);
    memmove(view.stride, view.stride + given, (size_t)view.rank * sizeof view.stride[0]);
    if (view.rank == 0)
        graft_push_first(L, &view, 0);
    else
        *graft_new_tensor(L) = gr_tensor_retain(&view);
    return 1;
}

static int t(lua_State *L) {
    static const char NAME[] = "tensor:t";
    char shape[96];
    struct gr_tensor *tensor = self(L, NAME);
    if (tensor->rank != 2)
        return graft_fail(L, GR_ERROR_SHAPE,
                          "%s: a matrix is transposed so, not a tensor of shape %s; "
                          "x:transpose(a, b) swaps two of its dimensions",
                          NAME, gr_format_shape(tensor->rank, tensor->shape, shape));
    graft_check_in(L, gr_tensor_transpose(graft_new_tensor(L), tensor, 0, 1), NAME);
    return 1;
}

static int transpose(lua_State *L) {
    static const char NAME[] = "tensor:transpose";
    struct gr_tensor *tensor = self(L, NAME);
    int a = graft_dimension(L, 2, NAME, tensor, 0), b = graft_dimension(L, 3, NAME, tensor, 0);
    graft_check_in(L, gr_tensor_transpose(graft_new_tensor(L), tensor, a, b), NAME);
    return 1;
}

static int permute(lua_State *L) {
    static const char NAME[] = "tensor:permute";
    char text[96];
    struct gr_tensor *tensor = self(L, NAME);
    int64_t given[GR_MAX_RANK];
    int order[GR_MAX_RANK], rank = graft_shape_argument(L, 2, NAME, given);
    if (rank != tensor->rank)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: %d dimensions given for a tensor of shape %s", NAME, rank,
                          gr_format_shape(tensor->rank, tensor->shape, text));
    for (int d = 0; d < rank; d++) {
        lua_settop(L, 1);
        lua_pushinteger(L, given[d]);
        order[d] = graft_dimension(L, 2, NAME, tensor, 0);
    }
    graft_check_in(L, gr_tensor_permute(graft_new_tensor(L), tensor, order), NAME);
    return 1;
}

static int reshape(lua_State *L) {
    static const char NAME[] = "tensor:reshape";
    int64_t shape[GR_MAX_RANK];
    struct gr_tensor *tensor = self(L, NAME);
    int rank = graft_shape_argument(L, 2, NAME, shape);
    return graft_made_tensor(L, gr_tensor_reshape(graft_new_tensor(L), tensor, rank, shape), NAME);
}

static int view(lua_State *L) {
    static const char NAME[] = "tensor:view";
    int64_t shape[GR_MAX_RANK];
    struct gr_tensor *tensor = self(L, NAME);
    int rank = graft_shape_argument(L, 2, NAME, shape);
    graft_check_in(L, gr_tensor_view(graft_new_tensor(L), tensor, rank, shape), NAME);
    return 1;
}

static int expand(lua_State *L) {
    static const char NAME[] = "tensor:expand";
    int64_t shape[GR_MAX_RANK];
    struct gr_tensor *tensor = self(L, NAME);
    int rank = graft_shape_argument(L, 2, NAME, shape);
    graft_check_in(L, gr_tensor_expand(graft_new_tensor(L), tensor, rank, shape), NAME);
    return 1;
}

static int flatten(lua_State *L) {
    static const char NAME[] = "tensor:flatten";
    struct gr_tensor *tensor = self(L, NAME);
    int64_t count = gr_tensor_count(tensor);
    return graft_made_tensor(L, gr_tensor_reshape(graft_new_tensor(L), tensor, 1, &count), NAME);
}

static int unsqueeze(lua_State *L) {
    static const char NAME[] = "tensor:unsqueeze";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_new_dimension(L, 2, NAME, tensor);
    graft_check_in(L, gr_tensor_unsqueeze(graft_new_tensor(L), tensor, dim), NAME);
    return 1;
}

static int squeeze(lua_State *L) {
    static const char NAME[] = "tensor:squeeze";
    struct gr_tensor *tensor = self(L, NAME);
    int dim = graft_dimension(L, 2, NAME, tensor, 0);
    graft_check_in(L, gr_tensor_squeeze(graft_new_tensor(L), tensor, dim), NAME);
    return 1;
}

static int clone(lua_State *L) {
    static const char NAME[] = "tensor:clone";
    struct gr_tensor *tensor = self(L, NAME);
    return graft_made_tensor(L, gr_tensor_copy(graft_new_tensor(L), tensor), NAME);
}

static int contiguous(lua_State *L) {
    static const char NAME[] = "tensor:contiguous";
    struct gr_tensor *tensor = self(L, NAME);
    if (gr_tensor_contiguous(tensor)) {
        lua_settop(L, 1);
        return 1;
    }
    return graft_made_tensor(L, gr_tensor_copy(graft_new_tensor(L), tensor), NAME);
}

static int to_float(lua_State *L) {
    static const char NAME[] = "tensor:float";
    struct gr_tensor *tensor = self(L, NAME);
    if (tensor->dtype == GR_F32) {
        lua_settop(L, 1);
        return 1;
    }
    return graft_made_tensor(L, gr_tensor_cast(graft_new_tensor(L), tensor, GR_F32), NAME);
}

static int fill(lua_State *L) {
    static const char NAME[] = "tensor:fill";
    struct gr_tensor *tensor = self(L, NAME);
    graft_check_in(L, gr_assign_number(tensor, graft_number(L, 2, NAME, "the value")), NAME);
    lua_settop(L, 1);
    return 1;
}

static int copy(lua_State *L) {
    static const char NAME[] = "tensor:copy_";
    struct gr_tensor *tensor = self(L, NAME);
    graft_check_in(L, gr_assign(tensor, graft_tensor_argument(L, 2, NAME, "the source")), NAME);
    lua_settop(L, 1);
    return 1;
}

const luaL_Reg graft_tensor_views[] = {
    {"slice", slice},         {"select", select_one},     {"at", at},           {"t", t},
    {"transpose", transpose}, {"permute", permute},       {"reshape", reshape}, {"view", view},
    {"expand", expand},       {"flatten", flatten},       {"squeeze", squeeze}, {"unsqueeze", unsqueeze},
    {"clone", clone},         {"float", to_float},        {"fill", fill},       {"fill_", fill},
    {"copy_", copy},          {"contiguous", contiguous}, {NULL, NULL}};
