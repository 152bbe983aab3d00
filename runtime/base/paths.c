#include "base/paths.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

_Static_assert(GR_PATH_ROOM >= PATH_MAX, "realpath writes as much as PATH_MAX");

struct root {
    char *path; /* real: absolute, without links */
    bool write;
};

enum { MAX_ROOTS = 256 };

/* Set up by one thread before anything is closed, only read afterwards. */
static struct {
    struct root roots[MAX_ROOTS];
    int count;
    bool closed;
    const char *when_read, *when_written;
} paths;

void gr_paths_close(const char *when_read, const char *when_written) {
    paths.when_read = when_read;
    paths.when_written = when_written;
    paths.closed = true;
}

bool gr_paths_closed(void) {
    return paths.closed;
}

/* The real path; of a name that is not there, the real path of the folder above and the name. False when
 * there is no such thing. */
static bool resolve(const char *path, char real[GR_PATH_ROOM]) {
    char rest[GR_PATH_ROOM], above[GR_PATH_ROOM];
    size_t length = strlen(path), kept = 0; /* bytes of `rest`, which is filled from its end */
    if (length == 0 || length >= sizeof above)
        return false;
    memcpy(above, path, length + 1);
    while (!realpath(length ? above : ".", real)) {
        if (errno != ENOENT || length == 0)
            return false;
        while (length > 1 && above[length - 1] == '/')
            above[--length] = 0;
        size_t start = length;
        while (start > 0 && above[start - 1] != '/')
            start--;
        const char *name = above + start;
        if (start == length || !strcmp(name, ".") || !strcmp(name, ".."))
            return false;
        kept += length - start + 1;
        if (kept >= sizeof rest)
            return false;
        memcpy(rest + sizeof rest - kept + 1, name, length - start);
        rest[sizeof rest - kept] = '/';
        length = start;
        above[length] = 0;
    }
    size_t used = strcmp(real, "/") == 0 ? 0 : strlen(real);
    if (used + kept >= GR_PATH_ROOM)
        return false;
    if (kept) {
        memcpy(real + used, rest + sizeof rest - kept, kept);
        real[used + kept] = 0;
    }
    return true;
}

int gr_paths_allow(const char *path, bool write) {
    char real[GR_PATH_ROOM];
    if (paths.closed)
        return gr_fail(GR_ERROR_FILE, "comes too late to be allowed");
    if (paths.count == MAX_ROOTS)
        return gr_fail(GR_ERROR_LIMIT, "is one of more than %d files and folders to allow", MAX_ROOTS);
    if (write ? !realpath(path, real) : !resolve(path, real))
        return gr_fail(GR_ERROR_FILE, "%s", strerror(errno));
    char *copy = gr_strdup(real);
    if (!copy)
        return GR_ERROR_MEMORY;
    paths.roots[paths.count++] = (struct root){copy, write};
    return GR_OK;
}

/* Is `path` the root itself or beneath it? The root of a writer is not the writer's to replace. */
static bool beneath(const char *path, const struct root *root, bool write) {
    size_t length = strcmp(root->path, "/") == 0 ? 0 : strlen(root->path);
    if (strncmp(path, root->path, length) != 0)
        return false;
    return path[length] == '/' || (path[length] == 0 && !write);
}

int gr_path_check(const char *path, bool write, char room[GR_PATH_ROOM], const char **use) {
    *use = path;
    if (!paths.closed)
        return GR_OK;
    *use = room;
    bool resolved = resolve(path, room);
    for (int i = 0; resolved && i < paths.count; i++)
        if ((paths.roots[i].write || !write) && beneath(room, &paths.roots[i], write))
            return GR_OK;
    return gr_fail(GR_ERROR_FILE, "%s", write ? paths.when_written : paths.when_read);
}

/* ---- what is not there ---- */

enum { MOST_NAMES = 10000 }; /* that are looked at: it is a hint, and folders may be huge */

const char *gr_path_nearest(const char *path, char room[GR_PATH_ROOM]) {
    char folder[GR_PATH_ROOM], real[GR_PATH_ROOM], best[256] = "";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *use;
    size_t length = slash ? (size_t)(slash - path) + 1 : 0; /* with the slash: that of "/" is needed */
    if (length >= sizeof folder || !name[0])
        return NULL;
    memcpy(folder, length ? path : ".", length ? length : 1);
    folder[length ? length : 1] = 0;
    if (gr_path_check(folder, false, real, &use))
        return NULL;
    DIR *stream = opendir(use);
    if (!stream)
        return NULL;
    struct dirent *entry;
    for (int i = 0; i < MOST_NAMES && (entry = readdir(stream)); i++) {
        if (entry->d_name[0] == '.')
            continue;
        bool first =
            strcmp(entry->d_name, best) < 0; /* of names that are as near the first, whatever the order */
        const char *names[] = {first ? entry->d_name : best, first ? best : entry->d_name};
        const char *nearest = gr_nearest(name, names, 2);
        if (nearest && nearest != best)
            snprintf(best, sizeof best, "%s", nearest);
    }
    closedir(stream);
    if (!best[0])
        return NULL;
    snprintf(room, GR_PATH_ROOM, "%.*s%s", (int)length, path, best);
    return room;
}

int gr_path_fail(const char *path, const char *what) {
    char room[GR_PATH_ROOM], name[256];
    if (errno != ENOENT)
        return gr_fail(GR_ERROR_FILE, "cannot be opened: %s", strerror(errno));
    const char *near = gr_path_nearest(path, room);
    if (!near)
        return gr_fail(GR_ERROR_FILE, "no such %s", what);
    gr_fail(GR_ERROR_FILE, "no such %s; nearest: %s", what, gr_printable(near, name, sizeof name));
    return gr_fail_near(near);
}
