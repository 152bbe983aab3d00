/* Photos: reading, writing, resizing, showing, and as a network wants them. */
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "data.h"
#include "data/augment.h"
#include "data/blocks.h"
#include "data/floats.h"
#include "data/image.h"
#include "data/resize.h"
#include "error.h"
#include "network.h"
#include "tensor.h"

/* An image in a userdata, so that nothing leaks when something raises. */
static int image_close(lua_State *L) {
    gr_image_free(lua_touserdata(L, 1));
    return 0;
}

struct gr_image *graft_new_image(lua_State *L) {
    struct gr_image *image = lua_newuserdatauv(L, sizeof *image, 0);
    memset(image, 0, sizeof *image);
    if (luaL_newmetatable(L, "graft.image")) {
        lua_pushcfunction(L, image_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return image;
}

/* Pushes [3,H,W] of 0..1. */
static int push_planes(lua_State *L, const struct gr_image *image, const char *who) {
    int64_t sizes[] = {3, image->h, image->w};
    struct gr_tensor *out = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_reserve(out, GR_F32, 3, sizes), who);
    gr_image_to_planes(image, gr_tensor_floats(out));
    return 1;
}

static int make_image(struct gr_image *out, const struct gr_tensor *tensor, const char *who) {
    char came[96];
    struct gr_tensor packed = {0};
    int64_t sides =
        tensor->rank == 3 ? tensor->shape[1] > tensor->shape[2] ? tensor->shape[1] : tensor->shape[2] : 0;
    if (tensor->rank != 3 || tensor->dtype != GR_F32 || (tensor->shape[0] != 3 && tensor->shape[0] != 1) ||
        sides > GR_IMAGE_MAX_SIDE || tensor->shape[1] < 1 || tensor->shape[2] < 1)
        return gr_fail(GR_ERROR_SHAPE,
                       "%s: a photo is a tensor [3,H,W] (or [1,H,W], grey) of numbers 0..1, got %s", who,
                       gr_format_shape(tensor->rank, tensor->shape, came));
    GR_TRY(gr_tensor_pack(&packed, tensor));
    int status = gr_image_from_planes(out, (int)tensor->shape[0], (int)tensor->shape[2],
                                      (int)tensor->shape[1], gr_tensor_floats(&packed));
    gr_tensor_release(&packed);
    return status;
}

/* Pushes the image that is a path or a tensor at `index`. */
static struct gr_image *check_image(lua_State *L, int index, const char *who) {
    index = lua_absindex(L, index);
    struct gr_image *image = graft_new_image(L);
    if (lua_type(L, index) == LUA_TSTRING)
        graft_check(L, gr_image_read(image, lua_tostring(L, index)));
    else
        graft_check(L, make_image(image, graft_tensor_argument(L, index, who, "the photo"), who));
    return image;
}

static int core_image_load(lua_State *L) {
    graft_string(L, 1, "graft.image.load", "the path");
    return push_planes(L, check_image(L, 1, "graft.image.load"), "graft.image.load");
}

/* core.image_save(T, path [, quality]) */
static int core_image_save(lua_State *L) {
    const char *path = graft_string(L, 2, "graft.image.save", "the path");
    lua_Integer quality = graft_optional_integer(L, 3, "graft.image.save", "the quality", 0);
    struct gr_image *image = check_image(L, 1, "graft.image.save");
    if (quality < 0 || quality > 100)
        return graft_fail(L, GR_ERROR_OPTION, "graft.image.save: the quality must be 1 to 100, got %lld",
                          (long long)quality);
    graft_check(L,
                quality > 0 ? gr_image_write_jpeg(image, path, (int)quality) : gr_image_write(image, path));
    return 0;
}

static int check_side(lua_State *L, int argument, const char *what) {
    lua_Integer side = graft_integer(L, argument, "graft.image.resize", what);
    if (side < 1 || side > GR_IMAGE_MAX_SIDE)
        graft_fail(L, GR_ERROR_OPTION, "graft.image.resize: %s must be 1 to %d, got %lld", what,
                   GR_IMAGE_MAX_SIDE, (long long)side);
    return (int)side;
}

/* core.image_resize(T|path, height, width [, interpolation]) -> T */
static int core_image_resize(lua_State *L) {
    static const char *const names[] = {"bilinear", "bicubic", NULL};
    int h = check_side(L, 2, "the height"), w = check_side(L, 3, "the width");
    enum gr_interpolation interpolation =
        graft_choice(L, 4, "graft.image.resize", "the interpolation", names, 0) ? GR_BICUBIC : GR_BILINEAR;
    const struct gr_image *image = check_image(L, 1, "graft.image.resize");
    struct gr_image *out = graft_new_image(L);
    graft_check(L, gr_resize(out, image, w, h, interpolation, NULL, NULL));
    return push_planes(L, out, "graft.image.resize");
}

/* The image with its longer side at most `side` pixels: itself, or another one that is pushed. */
static const struct gr_image *reduced(lua_State *L, const struct gr_image *image, int side) {
    int w, h;
    if (image->w <= side && image->h <= side)
        return image;
    struct gr_image *small = graft_new_image(L);
    gr_resize_fit(image->w, image->h, side, &w, &h);
    graft_check(L, gr_resize(small, image, w, h, GR_BILINEAR, NULL, NULL));
    return small;
}

int graft_push_photo(lua_State *L, const struct gr_image *image, int side, const char *who) {
    return push_planes(L, reduced(L, image, side), who);
}

/* core.image_encode(T|path, "jpeg"|"png" [, side [, quality]]) -> bytes, width, height: as in a file; `side`
 * is what the longer side has at most */
static int core_image_encode(lua_State *L) {
    static const char who[] = "core.image_encode";
    static const char *const names[] = {"jpeg", "png", NULL};
    int format = graft_choice(L, 2, who, "the format", names, -1);
    lua_Integer side = graft_optional_integer(L, 3, who, "the side", GR_IMAGE_MAX_SIDE);
    lua_Integer quality = graft_optional_integer(L, 4, who, "the quality", 80);
    if (side < 1 || side > GR_IMAGE_MAX_SIDE || quality < 1 || quality > 100)
        return graft_fail(L, GR_ERROR_OPTION, "%s: the side must be 1 to %d and the quality 1 to 100", who,
                          GR_IMAGE_MAX_SIDE);
    const struct gr_image *image = check_image(L, 1, who);
    image = reduced(L, image, (int)side);
    struct gr_text *text = graft_hold_text(L);
    graft_check(L, gr_image_encode(image, format ? GR_IMAGE_PNG : GR_IMAGE_JPEG, (int)quality, text));
    lua_pushlstring(L, text->bytes, text->length);
    lua_pushinteger(L, image->w);
    lua_pushinteger(L, image->h);
    return 3;
}

static void release_bytes(void *bytes) {
    gr_free(bytes);
}

/* core.image_size(path) -> width, height, as a person sees the photo */
static int core_image_size(lua_State *L) {
    const char *path = graft_string(L, 1, "core.image_size", "the path");
    struct gr_image_info info;
    uint8_t *bytes = NULL;
    size_t size = 0;
    void **held = graft_hold(L, release_bytes);
    int status = gr_image_file(path, &bytes, &size);
    *held = bytes;
    graft_check(L, status);
    status = gr_image_check(bytes, size, &info);
    if (status)
        gr_fail_in("%s", path);
    graft_check(L, status);
    graft_drop(held);
    bool turned = info.orientation >= 5; /* EXIF: 5 to 8 lie on their side */
    lua_pushinteger(L, turned ? info.h : info.w);
    lua_pushinteger(L, turned ? info.w : info.h);
    lua_pushstring(L, info.format == GR_IMAGE_PNG ? "PNG" : "JPEG");
    return 3;
}

/* core.preprocess(net, T|path) -> [1,C,H,W] */
static int core_preprocess(lua_State *L) {
    const struct gr_network *net = graft_check_network(L, 1, "net:preprocess")->net;
    bool file = lua_type(L, 2) == LUA_TSTRING;
    const struct gr_image *image = file ? NULL : check_image(L, 2, "net:preprocess");
    struct gr_shape in = net->input;
    int64_t inner_sizes[] = {1, in.h, in.w, in.c}, sizes[] = {1, in.c, in.h, in.w};
    struct gr_tensor *inner = graft_new_tensor(L);
    graft_made_tensor(L, gr_tensor_reserve(inner, GR_F32, 4, inner_sizes), "net:preprocess");
    float *x = gr_tensor_floats(inner);
    if (file)
        graft_check(L, gr_preprocess_file(lua_tostring(L, 2), in, &net->preprocessing, x));
    else
        graft_check_in(L, gr_preprocess(image, in, &net->preprocessing, x), "net:preprocess");
    struct gr_tensor *out = graft_new_tensor(L);
    int status = gr_tensor_reserve(out, GR_F32, 4, sizes);
    if (!status)
        status = graft_from_inner(out, 1, in, gr_tensor_floats(inner));
    return graft_made_tensor(L, status, "net:preprocess");
}

/* ---- in a terminal ---- */

static enum gr_palette check_palette(lua_State *L, int argument) {
    static const char *const names[] = {"24bit", "256", "dark", "light", NULL};
    return (enum gr_palette)graft_choice(L, argument, "graft.image.show", "the palette", names, -1);
}

static int check_cells(lua_State *L, int argument, const char *what) {
    lua_Integer cells = graft_integer(L, argument, "graft.image.show", what);
    if (cells < 1 || cells > 1000)
        graft_fail(L, GR_ERROR_OPTION, "graft.image.show: %s must be 1 to 1000, got %lld", what,
                   (long long)cells);
    return (int)cells;
}

/* core.image_blocks(T|path, columns, lines, palette) -> text */
static int core_image_blocks(lua_State *L) {
    int columns = check_cells(L, 2, "the columns"), lines = check_cells(L, 3, "the lines"), w, h;
    enum gr_palette palette = check_palette(L, 4);
    const struct gr_image *image = check_image(L, 1, "graft.image.show");
    struct gr_image *small = graft_new_image(L);
    struct gr_text *text = graft_hold_text(L);
    gr_blocks_fit(image->w, image->h, columns, lines, &w, &h);
    graft_check(L, gr_resize(small, image, w, h, GR_BILINEAR, NULL, NULL));
    graft_check(L, gr_blocks(text, small, palette));
    lua_pushlstring(L, text->bytes, text->length);
    return 1;
}

/* core.image_maps(T [C,H,W], count, across, tile_w, tile_h, low, high, palette) -> text */
static int core_image_maps(lua_State *L) {
    static const char NAME[] = "graft.image.show";
    const struct gr_tensor *maps = graft_tensor_argument(L, 1, NAME, "the maps");
    int count = check_cells(L, 2, "the number of maps"), across = check_cells(L, 3, "the maps in a row");
    int tile_w = check_cells(L, 4, "a map's width"), tile_h = check_cells(L, 5, "a map's height");
    float low = (float)graft_number(L, 6, NAME, "what is black"),
          high = (float)graft_number(L, 7, NAME, "what is white");
    enum gr_palette palette = check_palette(L, 8);
    if (maps->rank != 3 || maps->dtype != GR_F32 || maps->shape[0] < count || maps->shape[1] < 1 ||
        maps->shape[2] < 1 || maps->shape[1] > GR_IMAGE_MAX_SIDE || maps->shape[2] > GR_IMAGE_MAX_SIDE)
        return graft_fail(L, GR_ERROR_SHAPE, "%s: expected at least %d maps [C,H,W]", NAME, count);
    struct gr_tensor *packed = graft_new_tensor(L);
    struct gr_image *grid = graft_new_image(L);
    struct gr_text *text = graft_hold_text(L);
    graft_check(L, gr_tensor_pack(packed, maps));
    graft_check(L, gr_blocks_maps(grid, gr_tensor_floats(packed), count, (int)maps->shape[1],
                                  (int)maps->shape[2], low, high, across, tile_w, tile_h));
    graft_check(L, gr_blocks_tiles(text, grid, palette, count, tile_w, tile_h));
    lua_pushlstring(L, text->bytes, text->length);
    return 1;
}

void graft_open_image(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"image_load", core_image_load},
        {"image_save", core_image_save},
        {"image_resize", core_image_resize},
        {"image_size", core_image_size},
        {"image_blocks", core_image_blocks},
        {"image_maps", core_image_maps},
        {"image_encode", core_image_encode},
        {"preprocess", core_preprocess},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
