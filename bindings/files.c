/* core: JSON, digests, what is embedded, and the few things about files that Lua's io cannot do. */
#define _GNU_SOURCE /* for nanoseconds in struct stat */
#include "core.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arguments.h"
#include "base/digest.h"
#include "base/paths.h"
#include "embedded.h"
#include "error.h"
#include "io/file.h"
#include "module.h"
#include "value.h"

static int fail_file(lua_State *L, const char *path, const char *what) {
    char cause[128];
    return graft_fail(L, GR_ERROR_FILE, "%s: %s: %s", path, what, strerror_r(errno, cause, sizeof cause));
}

static const char *path_argument(lua_State *L, int argument, const char *function) {
    return graft_string(L, argument, function, "the path");
}

/* The path to use for what the script calls `path`: itself, or in a sandbox its real one, if it is allowed.
 */
static const char *allowed(lua_State *L, const char *path, bool write) {
    const char *use = path;
    if (!gr_paths_closed())
        return path;
    if (gr_path_check(path, write, graft_scratch(L, 1, GR_PATH_ROOM), &use)) {
        gr_fail_in("%s", path);
        graft_raise(L);
    }
    return use;
}

static int core_json(lua_State *L) {
    luaL_checkany(L, 1);
    bool indent = lua_toboolean(L, 2);
    cJSON *json = NULL;
    void **held = graft_hold_json(L), **text = graft_hold(L, cJSON_free);
    int status = graft_to_json(L, 1, &json);
    *held = json;
    graft_check_in(L, status, "core.json");
    *text = indent ? cJSON_Print(json) : cJSON_PrintUnformatted(json);
    if (!*text)
        return graft_fail(L, GR_ERROR_MEMORY, "no memory for a JSON text");
    lua_pushstring(L, *text);
    graft_drop(text);
    graft_drop(held);
    return 1;
}

static int core_parse_json(lua_State *L) {
    size_t length = 0;
    const char *text = graft_bytes(L, 1, "core.parse_json", "the text", &length), *end = NULL;
    void **held = graft_hold_json(L);
    *held = cJSON_ParseWithLengthOpts(text, length + 1, &end, 1);
    if (!*held)
        return graft_fail(L, GR_ERROR_DATA, "core.parse_json: no JSON at byte %zu of %zu",
                          end ? (size_t)(end - text) + 1 : (size_t)0, length);
    graft_check(L, graft_from_json(L, *held));
    graft_drop(held);
    return 1;
}

static int core_digest(lua_State *L) {
    struct gr_digest digest;
    char hex[65];
    size_t length = 0;
    const char *text = graft_bytes(L, 1, "core.digest", "the text", &length);
    gr_digest_start(&digest);
    gr_digest_add(&digest, text, length);
    gr_digest_hex(&digest, hex);
    lua_pushstring(L, hex);
    return 1;
}

static int core_base64(lua_State *L) {
    size_t length = 0;
    const char *bytes = graft_bytes(L, 1, "core.base64", "the bytes", &length);
    struct gr_text *text = graft_hold_text(L);
    gr_text_base64(text, bytes, length);
    graft_check(L, gr_text_status(text));
    lua_pushlstring(L, text->bytes, text->length);
    return 1;
}

static int core_digest_file(lua_State *L) {
    char hex[65];
    graft_check(L, gr_digest_file(path_argument(L, 1, "core.digest_file"), hex));
    lua_pushstring(L, hex);
    return 1;
}

static int core_embedded(lua_State *L) {
    return graft_push_embedded(L, graft_string(L, 1, "core.embedded", "the name"));
}

static int core_embedded_names(lua_State *L) {
    lua_newtable(L);
    for (lua_Integer i = 0; gr_embedded[i].name; i++) {
        lua_pushstring(L, gr_embedded[i].name);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int core_stat(lua_State *L) {
    struct stat info;
    const char *path = path_argument(L, 1, "core.stat");
    if (stat(allowed(L, path, false), &info) != 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return 0;
        return fail_file(L, path, "cannot be looked at");
    }
    lua_createtable(L, 0, 3);
    lua_pushstring(L, S_ISREG(info.st_mode) ? "file" : S_ISDIR(info.st_mode) ? "folder" : "other");
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, (lua_Integer)info.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)info.st_mtim.tv_sec + (lua_Number)info.st_mtim.tv_nsec * 1e-9);
    lua_setfield(L, -2, "modified");
    return 1;
}

static void close_folder(void *folder) {
    closedir(folder);
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the list of n strings at the top of the stack by bytes. */
static void sort_strings(lua_State *L, lua_Integer n) {
    int count, list = lua_gettop(L);
    const char *const *names = graft_strings(L, list, "core.list", "the names", &count);
    qsort((void *)names, (size_t)count, sizeof *names, compare_strings);
    lua_createtable(L, (int)n, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, names[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_replace(L, list);
    lua_settop(L, list);
}

static int core_list(lua_State *L) {
    const char *path = path_argument(L, 1, "core.list"), *use = allowed(L, path, false);
    void **held = graft_hold(L, close_folder);
    *held = opendir(use);
    if (!*held)
        return fail_file(L, path, "cannot be listed");
    lua_newtable(L);
    lua_Integer n = 0;
    for (const struct dirent *entry; (entry = readdir(*held)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        lua_pushstring(L, entry->d_name);
        lua_rawseti(L, -2, ++n);
    }
    graft_drop(held);
    sort_strings(L, n);
    return 1;
}

/* Makes the folder and those above it; `path` is scratch. */
static int make_folders(char *path) {
    struct stat info;
    for (char *slash = path + 1;; slash++) {
        if (*slash != '/' && *slash != 0)
            continue;
        char kept = *slash;
        *slash = 0;
        int why = mkdir(path, 0777) == 0 ? 0 : errno;
        if (why && (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))) { /* what is there already is fine */
            errno = why == EEXIST ? ENOTDIR : why;
            return -1;
        }
        *slash = kept;
        if (!kept)
            return 0;
    }
}

static int core_make_folder(lua_State *L) {
    const char *path = path_argument(L, 1, "core.make_folder");
    if (!path[0])
        return graft_fail(L, GR_ERROR_FILE, "a folder needs a name");
    const char *use = allowed(L, path, true);
    size_t size = strlen(use) + 1;
    char *copy = graft_scratch(L, 1, size);
    memcpy(copy, use, size);
    if (make_folders(copy) != 0)
        return fail_file(L, path, "the folder cannot be made");
    return 0;
}

static int core_remove(lua_State *L) {
    const char *path = path_argument(L, 1, "core.remove");
    if (remove(allowed(L, path, true)) != 0 && errno != ENOENT)
        return fail_file(L, path, "cannot be removed");
    return 0;
}

static int core_rename(lua_State *L) {
    const char *from = path_argument(L, 1, "core.rename"), *to = path_argument(L, 2, "core.rename");
    if (rename(allowed(L, from, true), allowed(L, to, true)) != 0)
        return fail_file(L, from, "cannot be renamed");
    return 0;
}

/* Fills the buffer with the whole file, which has this size. */
static int read_whole(const char *path, char *buffer, size_t size) {
    struct gr_source source;
    GR_TRY(gr_source_open(&source, path));
    int status = source.size == size ? gr_source_read(&source, 0, buffer, size)
                                     : gr_fail(GR_ERROR_FILE, "the file changed while it was read");
    gr_source_close(&source);
    return status;
}

static int core_read(lua_State *L) {
    const char *path = path_argument(L, 1, "core.read");
    lua_Integer limit = luaL_optinteger(L, 2, 64 << 20);
    const char *use = allowed(L, path, false);
    struct stat info;
    luaL_Buffer buffer;
    if (stat(use, &info) != 0)
        return fail_file(L, path, "cannot be read");
    if (!S_ISREG(info.st_mode) || info.st_size > limit)
        return graft_fail(L, GR_ERROR_FILE, "%s: expected a file of at most %lld bytes", path,
                          (long long)limit);
    char *bytes = luaL_buffinitsize(L, &buffer, (size_t)info.st_size);
    if (read_whole(use, bytes, (size_t)info.st_size)) {
        gr_fail_in("%s", path);
        return graft_raise(L);
    }
    luaL_pushresultsize(&buffer, (size_t)info.st_size);
    return 1;
}

static int core_write(lua_State *L) {
    const char *path = path_argument(L, 1, "core.write");
    size_t length = 0;
    const char *text = graft_bytes(L, 2, "core.write", "the text", &length);
    struct gr_writer writer;
    graft_check(L, gr_writer_open(&writer, path));
    writer.unsafe = lua_toboolean(L, 3);
    int status = gr_writer_put(&writer, text, length);
    if (status)
        gr_writer_abort(&writer);
    else
        status = gr_writer_commit(&writer);
    graft_check(L, status);
    return 0;
}

void graft_open_files(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"json", core_json},
        {"parse_json", core_parse_json},
        {"array", graft_core_array},
        {"base64", core_base64},
        {"digest", core_digest},
        {"digest_file", core_digest_file},
        {"embedded", core_embedded},
        {"embedded_names", core_embedded_names},
        {"stat", core_stat},
        {"list", core_list},
        {"make_folder", core_make_folder},
        {"remove", core_remove},
        {"rename", core_rename},
        {"read", core_read},
        {"write", core_write},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
    graft_push_null(L);
    lua_setfield(L, -2, "null");
}
