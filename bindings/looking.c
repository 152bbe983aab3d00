/* Looking inside: Grad-CAM, occlusion, principal components, t-SNE, and composing pictures of them. */
#include <limits.h>
#include <string.h>

#include "arguments.h"
#include "core.h"
#include "data/image.h"
#include "error.h"
#include "insight/grad_cam.h"
#include "insight/occlusion.h"
#include "insight/pca.h"
#include "insight/picture.h"
#include "insight/tsne.h"
#include "network.h"
#include "state.h"
#include "tensor.h"
#include "tensor/view.h"

/* Pushes a packed copy of the tensor at `index` (or a reference to it), which must have this rank. */
static struct gr_tensor *check_packed(lua_State *L, int index, int rank, const char *who, const char *what) {
    char came[96];
    const struct gr_tensor *given = graft_tensor_argument(L, index, who, what);
    if (given->rank != rank || given->dtype != GR_F32 || gr_tensor_count(given) < 1)
        graft_fail(L, GR_ERROR_SHAPE, "%s: %s must be a tensor of rank %d, got %s", who, what, rank,
                   gr_format_shape(given->rank, given->shape, came));
    struct gr_tensor *packed = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_pack(packed, given), who);
    return packed;
}

static struct gr_tensor *push_tensor(lua_State *L, int rank, int64_t a, int64_t b, int64_t c,
                                     const char *who) {
    int64_t sizes[] = {a, b, c};
    struct gr_tensor *out = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_reserve(out, GR_F32, rank, sizes), who);
    return out;
}

/* The photos at `index`, [N,C,H,W], pushed as [N,H,W,C]. */
static const float *check_photos(lua_State *L, int index, const struct gr_network *net, const char *who,
                                 int64_t *count, struct gr_shape *input) {
    const struct gr_tensor *x = graft_tensor_argument(L, index, who, "the photos");
    if (x->rank != 4 || x->dtype != GR_F32 || x->shape[0] < 1 || x->shape[0] > 1 << 20 ||
        x->shape[1] != net->input.c || x->shape[2] < 1 || x->shape[3] < 1 ||
        x->shape[2] > GR_IMAGE_MAX_SIDE || x->shape[3] > GR_IMAGE_MAX_SIDE)
        graft_fail(L, GR_ERROR_SHAPE, "%s: expected photos [N,%d,H,W]", who, net->input.c);
    *count = x->shape[0];
    *input = (struct gr_shape){(int)x->shape[1], (int)x->shape[2], (int)x->shape[3], false};
    int64_t sizes[] = {*count, input->h, input->w, input->c};
    struct gr_tensor *inner = graft_new_tensor(L);
    int status = gr_tensor_reserve(inner, GR_F32, 4, sizes);
    if (!status)
        status = graft_to_inner(x, *input, gr_tensor_floats(inner));
    graft_made_tensor(L, status, who);
    return gr_tensor_floats(inner);
}

static struct graft_network *check_idle(lua_State *L, const char *who) {
    struct graft_network *network = graft_check_network(L, 1, who);
    graft_no_finalizer(L, who);
    if (network->running)
        graft_fail(L, GR_ERROR_OPTION,
                   "%s: this network runs just now, and a function of its layers cannot run it again", who);
    return network;
}

static void begin(struct graft_network *network) {
    graft_lock(network);
    network->running = true;
}

static int end(struct graft_network *network, int status) {
    network->running = false;
    return graft_unlock(network, status);
}

/* A class as users count, 0 for the most likely one, becomes a position or -1. */
static int class_at(lua_Integer number) {
    return number < 1 || number > INT_MAX ? -1 : (int)number - 1;
}

/* core.grad_cam_layer(net) -> name */
static int core_grad_cam_layer(lua_State *L) {
    const struct graft_network *network = graft_check_network(L, 1, "net:grad_cam");
    const struct gr_layer *layer = gr_grad_cam_layer(network->net);
    graft_check_in(L, layer ? GR_OK : gr_error()->code, "net:grad_cam");
    lua_pushstring(L, layer->name);
    return 1;
}

/* core.grad_cam(net, x, layer, list of classes, 0: the most likely one) -> T [N,H,W], classes, probabilities
 */
static int core_grad_cam(lua_State *L) {
    static const char who[] = "net:grad_cam";
    struct graft_network *network = check_idle(L, who);
    struct gr_shape input;
    int64_t n;
    lua_settop(L, 4);
    luaL_checktype(L, 4, LUA_TTABLE);
    struct gr_layer *layer = gr_network_end(network->net, graft_string(L, 3, who, "the layer"));
    graft_check_in(L, layer ? GR_OK : gr_error()->code, who);
    const float *x = check_photos(L, 2, network->net, who, &n, &input);
    int *classes = graft_scratch(L, (size_t)n, sizeof *classes);
    float *p = graft_scratch(L, (size_t)n, sizeof *p);
    for (int64_t i = 0; i < n; i++) {
        lua_rawgeti(L, 4, i + 1);
        classes[i] = class_at(lua_tointeger(L, -1));
        lua_pop(L, 1);
    }
    const struct gr_tensor *maps = push_tensor(L, 3, n, input.h, input.w, who);
    begin(network);
    int status = gr_grad_cam(network->net, layer, input, n, x, classes, p, gr_tensor_floats(maps));
    graft_check_in(L, end(network, status), who);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushinteger(L, classes[i] + 1);
        lua_rawseti(L, -3, i + 1);
        lua_pushnumber(L, p[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 3;
}

/* core.occlusion(net, x [1,C,H,W], class (0: the most likely), patch, stride [, fill {C}, preprocessed]) ->
 * T [H,W], class, probability, count of patches */
static int core_occlusion(lua_State *L) {
    static const char who[] = "net:occlusion";
    struct graft_network *network = check_idle(L, who);
    float fill[16];
    int64_t n;
    lua_settop(L, 6);
    struct gr_occlusion occlusion = {.class = class_at(graft_integer(L, 3, who, "the class"))};
    lua_Integer patch = graft_integer(L, 4, who, "the patch"),
                stride = graft_integer(L, 5, who, "the stride");
    occlusion.patch = patch < 0 || patch > INT_MAX ? 0 : (int)patch;
    occlusion.stride = stride < 0 || stride > INT_MAX ? 0 : (int)stride;
    const float *x = check_photos(L, 2, network->net, who, &n, &occlusion.input);
    if (n != 1 || occlusion.input.c > 16)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected one photo", who);
    if (lua_istable(L, 6)) {
        for (int i = 0; i < occlusion.input.c; i++) {
            lua_rawgeti(L, 6, i + 1);
            fill[i] = (float)lua_tonumber(L, -1);
            lua_pop(L, 1);
        }
        occlusion.fill = fill;
    }
    const struct gr_tensor *map = push_tensor(L, 2, occlusion.input.h, occlusion.input.w, 0, who);
    begin(network);
    int status = gr_occlusion(network->net, &occlusion, x, gr_tensor_floats(map));
    graft_check_in(L, end(network, status), who);
    lua_pushinteger(L, occlusion.class + 1);
    lua_pushnumber(L, occlusion.p);
    lua_pushinteger(L, occlusion.positions);
    return 4;
}

/* ---- features ---- */

/* core.pca(E [N,D], k) -> T [N,k], list of explained shares */
static int core_pca(lua_State *L) {
    static const char who[] = "graft.map";
    double explained[GR_PCA_MOST];
    const struct gr_tensor *x = check_packed(L, 1, 2, who, "the features");
    lua_Integer k = graft_integer(L, 2, who, "the number of components");
    if (k < 1 || k > GR_PCA_MOST)
        return graft_fail(L, GR_ERROR_OPTION, "%s: 1 to %d components, got %lld", who, GR_PCA_MOST,
                          (long long)k);
    const struct gr_tensor *scores = push_tensor(L, 2, x->shape[0], k, 0, who);
    graft_check_in(
        L, gr_pca(x->shape[0], x->shape[1], gr_tensor_floats(x), (int)k, gr_tensor_floats(scores), explained),
        who);
    lua_createtable(L, (int)k, 0);
    for (int i = 0; i < k; i++) {
        lua_pushnumber(L, explained[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 2;
}

static int on_progress(void *payload, int done, int steps) {
    lua_State *L = payload;
    GR_TRY(graft_poll(L));
    if (lua_isnil(L, 5))
        return GR_OK;
    if (!lua_checkstack(L, 8))
        return gr_fail(GR_ERROR_MEMORY, "no memory to call a function");
    lua_pushvalue(L, 5);
    lua_pushinteger(L, done);
    lua_pushinteger(L, steps);
    return graft_callback(L, 2, 0) == LUA_OK ? GR_OK : graft_keep_error(L);
}

/* core.tsne(E [N,D], start [N,2], perplexity, steps (0: default) [, function(done, steps)]) -> T [N,2], kl */
static int core_tsne(lua_State *L) {
    static const char who[] = "graft.map";
    lua_settop(L, 5);
    graft_no_finalizer(L, who);
    const struct gr_tensor *x = check_packed(L, 1, 2, who, "the features");
    const struct gr_tensor *start = check_packed(L, 2, 2, who, "the first places");
    lua_Integer steps = graft_integer(L, 4, who, "the steps");
    struct gr_tsne_options options = {.perplexity = graft_number(L, 3, who, "the perplexity"),
                                      .steps = steps < 0 || steps > 1 << 20 ? 0 : (int)steps,
                                      .progress = on_progress,
                                      .payload = L};
    double kl;
    if (start->shape[0] != x->shape[0] || start->shape[1] != 2)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected a first place [N,2] for each point", who);
    const struct gr_tensor *points = push_tensor(L, 2, x->shape[0], 2, 0, who);
    graft_check_in(L,
                   gr_tsne(x->shape[0], x->shape[1], gr_tensor_floats(x), gr_tensor_floats(start), &options,
                           gr_tensor_floats(points), &kl),
                   who);
    lua_pushnumber(L, kl);
    return 2;
}

/* core.peaks(T [N,C,H,W]) -> largest values [N,C], their positions in H*W from 0 [N,C] */
static int core_peaks(lua_State *L) {
    static const char who[] = "graft.exciting";
    const struct gr_tensor *maps = check_packed(L, 1, 4, who, "the features");
    const int64_t *s = maps->shape;
    const struct gr_tensor *values = push_tensor(L, 2, s[0], s[1], 0, who);
    const struct gr_tensor *at = push_tensor(L, 2, s[0], s[1], 0, who);
    gr_picture_peaks(s[0], s[1], s[2] * s[3], gr_tensor_floats(maps), gr_tensor_floats(values),
                     gr_tensor_floats(at));
    return 2;
}

/* ---- pictures ---- */

/* core.image_paste(canvas, tile, top, left (from 1), scale): writes into the canvas [3,H,W] */
static int core_image_paste(lua_State *L) {
    static const char who[] = "graft.image.grid";
    struct gr_tensor *canvas = graft_tensor_argument(L, 1, who, "the canvas");
    lua_Integer top = graft_integer(L, 3, who, "the row"), left = graft_integer(L, 4, who, "the column");
    lua_Integer scale = graft_integer(L, 5, who, "the scale");
    const struct gr_tensor *tile = check_packed(L, 2, 3, who, "an image");
    const int64_t *size = canvas->shape, *s = tile->shape;
    if (canvas->rank != 3 || canvas->dtype != GR_F32 || size[0] != 3 || !gr_tensor_contiguous(canvas) ||
        size[1] > INT_MAX || size[2] > INT_MAX)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: the canvas must be a whole tensor [3,H,W]", who);
    if ((s[0] != 3 && s[0] != 1) || s[1] > GR_IMAGE_MAX_SIDE || s[2] > GR_IMAGE_MAX_SIDE)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: an image is [3,H,W] or [1,H,W]", who);
    if (scale < 1 || scale > 1024 || top < -INT_MAX || top > INT_MAX || left < -INT_MAX || left > INT_MAX)
        return graft_fail(L, GR_ERROR_OPTION, "%s: the scale must be 1 to 1024", who);
    gr_picture_paste((int)size[1], (int)size[2], gr_tensor_floats(canvas), (int)s[0], (int)s[1], (int)s[2],
                     gr_tensor_floats(tile), top - 1, left - 1, (int)scale);
    return 0;
}

/* core.image_overlay(image [3,H,W], map [H,W], largest, strength) -> [3,H,W] */
static int core_image_overlay(lua_State *L) {
    static const char who[] = "graft.image.overlay";
    float largest = (float)graft_number(L, 3, who, "the largest value"),
          strength = (float)graft_number(L, 4, who, "the strength");
    const struct gr_tensor *image = check_packed(L, 1, 3, who, "the image");
    const struct gr_tensor *map = check_packed(L, 2, 2, who, "the map");
    const int64_t *s = image->shape;
    if (s[0] != 3 || s[1] != map->shape[0] || s[2] != map->shape[1] || s[1] > GR_IMAGE_MAX_SIDE ||
        s[2] > GR_IMAGE_MAX_SIDE)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected an image [3,H,W] and a map [H,W] of its size",
                          who);
    const struct gr_tensor *out = push_tensor(L, 3, 3, s[1], s[2], who);
    gr_picture_overlay((int)s[1], (int)s[2], gr_tensor_floats(image), gr_tensor_floats(map), largest,
                       strength, gr_tensor_floats(out));
    return 1;
}

/* core.snap(points [N,2], columns, rows) -> list of cells from 1, row by row */
static int core_snap(lua_State *L) {
    static const char who[] = "map:image";
    const struct gr_tensor *points = check_packed(L, 1, 2, who, "the points");
    lua_Integer columns = graft_integer(L, 2, who, "the columns"),
                rows = graft_integer(L, 3, who, "the rows");
    int64_t n = points->shape[0];
    if (points->shape[1] != 2 || columns < 1 || rows < 1 || columns > GR_IMAGE_MAX_SIDE ||
        rows > GR_IMAGE_MAX_SIDE)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected points [N,2] and a grid", who);
    int64_t *cells = graft_scratch(L, (size_t)n, sizeof *cells);
    graft_check_in(L, gr_picture_snap(n, gr_tensor_floats(points), (int)columns, (int)rows, cells), who);
    lua_createtable(L, (int)n, 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushinteger(L, cells[i] + 1);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void graft_open_looking(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"grad_cam_layer", core_grad_cam_layer},
        {"grad_cam", core_grad_cam},
        {"occlusion", core_occlusion},
        {"pca", core_pca},
        {"tsne", core_tsne},
        {"peaks", core_peaks},
        {"image_paste", core_image_paste},
        {"image_overlay", core_image_overlay},
        {"snap", core_snap},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
