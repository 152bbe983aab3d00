/* core: packs, a run in one file (io/pack.h). */
#include <string.h>

#include "arguments.h"
#include "base/memory.h"
#include "core.h"
#include "error.h"
#include "io/pack.h"

/* Names of the text parts in Lua, from GR_PACK_RECIPE on; the weights come last. */
static const char *const keys[] = {"recipe", "lock", "metrics", "report", "weights", NULL};

/* A pack that is being read. */
struct reading {
    struct gr_source source;
    struct gr_pack pack;
    char *texts[GR_PACK_PARTS]; /* NULL: absent, or no text */
};

static void close_reading(void *pointer) {
    struct reading *reading = pointer;
    for (int part = 0; part < GR_PACK_PARTS; part++)
        gr_free(reading->texts[part]);
    gr_source_close(&reading->source);
    gr_free(reading);
}

/* Opens the pack and reads its texts; `whole`: checks the weights too. */
static int read_pack(struct reading *reading, const char *path, bool whole) {
    GR_TRY(gr_source_open(&reading->source, path));
    GR_TRY(gr_pack_open(&reading->pack, &reading->source));
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++) {
        bool text = part != GR_PACK_WEIGHTS;
        const struct gr_pack_entry *entry = &reading->pack.parts[part];
        if (!entry->present || (!text && !whole))
            continue;
        if (text && !(reading->texts[part] = gr_alloc((size_t)entry->size + 1)))
            return GR_ERROR_MEMORY;
        GR_TRY(gr_pack_read(&reading->pack, &reading->source, (enum gr_pack_part)part, reading->texts[part]));
    }
    return GR_OK;
}

/* {name=, size=, sha256=} of every part that is there. */
static void push_parts(lua_State *L, const struct gr_pack *pack) {
    lua_Integer count = 0;
    lua_newtable(L);
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++) {
        const struct gr_pack_entry *entry = &pack->parts[part];
        if (!entry->present)
            continue;
        lua_createtable(L, 0, 3);
        lua_pushstring(L, gr_pack_name((enum gr_pack_part)part));
        lua_setfield(L, -2, "name");
        lua_pushinteger(L, (lua_Integer)entry->size);
        lua_setfield(L, -2, "size");
        lua_pushstring(L, entry->sha256);
        lua_setfield(L, -2, "sha256");
        lua_rawseti(L, -2, ++count);
    }
}

static int core_pack_read(lua_State *L) {
    const char *path = graft_string(L, 1, "core.pack_read", "the path");
    bool whole = lua_toboolean(L, 2);
    void **held = graft_hold(L, close_reading);
    struct reading *reading = gr_calloc(1, sizeof *reading);
    if (!reading)
        return graft_raise(L);
    reading->source.fd = -1;
    *held = reading;
    if (read_pack(reading, path, whole)) {
        gr_fail_in("%s", path);
        return graft_raise(L);
    }
    lua_newtable(L);
    for (int part = GR_PACK_RECIPE; part < GR_PACK_WEIGHTS; part++) {
        if (!reading->texts[part])
            continue;
        lua_pushlstring(L, reading->texts[part], (size_t)reading->pack.parts[part].size);
        lua_setfield(L, -2, keys[part - GR_PACK_RECIPE]);
    }
    push_parts(L, &reading->pack);
    lua_setfield(L, -2, "parts");
    lua_pushinteger(L, (lua_Integer)reading->source.size);
    lua_setfield(L, -2, "size");
    graft_drop(held);
    return 1;
}

static int core_pack_write(lua_State *L) {
    const char *path = graft_string(L, 1, "core.pack_write", "the path");
    struct gr_pack_input inputs[GR_PACK_PARTS] = {0};
    luaL_checktype(L, 2, LUA_TTABLE);
    graft_known(L, 2, "core.pack_write", keys);
    for (int part = GR_PACK_RECIPE; part < GR_PACK_PARTS; part++) {
        if (!graft_field(L, 2, keys[part - GR_PACK_RECIPE]))
            continue; /* what is pushed stays on the stack, so that the collector leaves it alone */
        if (part == GR_PACK_WEIGHTS)
            inputs[part].path = graft_string(L, -1, "core.pack_write", "the weights");
        else
            inputs[part].bytes = graft_bytes(L, -1, "core.pack_write", "a text", &inputs[part].size);
    }
    int status = gr_pack_write(path, inputs);
    if (status == GR_ERROR_OPTION || status == GR_ERROR_LIMIT)
        gr_fail_in("%s", path);
    graft_check(L, status);
    return 0;
}

static int core_pack_is(lua_State *L) {
    const char *path = graft_string(L, 1, "core.pack_is", "the path");
    struct gr_source source;
    bool is = gr_source_open(&source, path) == GR_OK && gr_pack_is(&source);
    gr_source_close(&source);
    lua_pushboolean(L, is);
    return 1;
}

void graft_open_pack(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"pack_read", core_pack_read},
        {"pack_write", core_pack_write},
        {"pack_is", core_pack_is},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
