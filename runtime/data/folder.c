/* Data sets made of folders. */
#include "data/listing.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 8 };

enum kind { FOLDER, FILE_OR_LINK, FOLDER_LINK };

struct entry {
    char *name;
    enum kind kind;
};

struct entries {
    struct entry *items;
    int count, capacity;
};

static void entries_free(struct entries *entries) {
    for (int i = 0; i < entries->count; i++)
        gr_free(entries->items[i].name);
    gr_free(entries->items);
    *entries = (struct entries){0};
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

/* Names that file managers, archivers and notebooks leave behind, and everything hidden. */
static bool is_ignored(const char *name) {
    return name[0] == '.' || !strcmp(name, "__MACOSX") || !strcasecmp(name, "Thumbs.db") ||
           !strcasecmp(name, "desktop.ini");
}

static enum kind kind_of(int fd, const char *name) {
    struct stat info;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW))
        return FILE_OR_LINK;
    if (S_ISDIR(info.st_mode))
        return FOLDER;
    if (S_ISLNK(info.st_mode) && !fstatat(fd, name, &info, 0) && S_ISDIR(info.st_mode))
        return FOLDER_LINK;
    return FILE_OR_LINK;
}

static int entries_add(struct entries *entries, const char *name, enum kind kind) {
    if (entries->count == entries->capacity) {
        int capacity = entries->capacity ? 2 * entries->capacity : 64;
        struct entry *items = gr_realloc(entries->items, (size_t)capacity * sizeof *items);
        if (!items)
            return GR_ERROR_MEMORY;
        entries->items = items;
        entries->capacity = capacity;
    }
    char *copy = gr_strdup(name);
    if (!copy)
        return GR_ERROR_MEMORY;
    entries->items[entries->count++] = (struct entry){copy, kind};
    return GR_OK;
}

/* What is in the folder `path` beneath `root` (itself for ""), in byte order, without what is ignored. */
static int read_entries(int root, const char *path, struct entries *entries) {
    char name[256];
    *entries = (struct entries){0};
    int fd = openat(root, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
    if (!stream) {
        int cause = errno;
        if (fd >= 0)
            close(fd);
        return gr_fail(GR_ERROR_FILE, "the folder %s cannot be read: %s",
                       gr_printable(path, name, sizeof name), strerror(cause));
    }
    int status = GR_OK;
    for (struct dirent *entry; !status && (entry = readdir(stream));)
        if (!is_ignored(entry->d_name))
            status = entries_add(entries, entry->d_name, kind_of(fd, entry->d_name));
    closedir(stream);
    if (status)
        entries_free(entries);
    else if (entries->count > 0)
        qsort(entries->items, (size_t)entries->count, sizeof *entries->items, by_name);
    return status;
}

/* Whether the name promises a photo, be it of a format that is not read. */
static bool named_photo(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".heic", ".heif", ".avif",
                                          ".gif", ".webp", ".tif", ".tiff", ".bmp", ".jp2",  ".jxl"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(dot, endings[i]))
            return true;
    return false;
}

static char *join(const char *folder, const char *name) {
    size_t a = strlen(folder), b = strlen(name);
    char *path = gr_alloc(a + b + 2);
    if (!path)
        return NULL;
    memcpy(path, folder, a);
    if (a > 0)
        path[a++] = '/';
    memcpy(path + a, name, b + 1);
    return path;
}

/* Adds every photo beneath `path` to one class. */
static int walk(struct gr_listing *listing, const char *path, int set, const char *class, int depth) {
    struct entries entries;
    GR_TRY(read_entries(listing->data->root, path, &entries));
    int status = GR_OK;
    for (int i = 0; !status && i < entries.count; i++) {
        const struct entry *entry = &entries.items[i];
        char *child = join(path, entry->name);
        if (!child)
            status = GR_ERROR_MEMORY;
        else if (entry->kind == FOLDER_LINK)
            status = gr_listing_skip(listing, child, "a link to a folder", false);
        else if (entry->kind == FOLDER && depth >= MAX_DEPTH)
            status = gr_listing_skip(listing, child, "folders too deep inside each other", false);
        else if (entry->kind == FOLDER)
            status = walk(listing, child, set, class, depth + 1);
        else if (named_photo(entry->name))
            status = gr_listing_add(listing, child, set, &class, 1);
        else
            status = gr_listing_skip(listing, child, "no photo", false);
        gr_free(child);
    }
    entries_free(&entries);
    return status;
}

static bool is_wanted(const struct gr_data_options *options, const char *class) {
    bool wanted = !options->classes;
    for (int i = 0; !wanted && i < options->class_count; i++)
        wanted = !strcmp(options->classes[i], class);
    return wanted;
}

static bool is_declared(const struct gr_listing *listing, const char *class) {
    for (int i = 0; i < listing->declared.count; i++)
        if (!strcmp(listing->declared.items[i], class))
            return true;
    return false;
}

/* The class folders in `path` ("" or "train"). `entries` is what it holds. The training folders say which
 * classes there are. */
static int walk_classes(struct gr_listing *listing, const char *path, int set,
                        const struct entries *entries) {
    int status = GR_OK;
    char name[256], folder[256];
    for (int i = 0; !status && i < entries->count; i++) {
        const struct entry *entry = &entries->items[i];
        char *child = join(path, entry->name);
        if (!child)
            return GR_ERROR_MEMORY;
        if (entry->kind == FOLDER && set != GR_VAL && set != GR_TEST)
            status = gr_names_add(&listing->declared, entry->name);
        else if (entry->kind == FOLDER && !is_declared(listing, entry->name))
            status = gr_fail(GR_ERROR_NAME, "%s%s has a class \"%s\" that is not among the training photos",
                             listing->folder, gr_printable(path, folder, sizeof folder),
                             gr_printable(entry->name, name, sizeof name));
        if (!status && entry->kind == FOLDER && is_wanted(&listing->options, entry->name))
            status = walk(listing, child, set, entry->name, 0);
        else if (!status && entry->kind != FOLDER)
            status = gr_listing_skip(listing, child,
                                     entry->kind == FOLDER_LINK ? "a link to a folder"
                                     : named_photo(entry->name) ? "not in the folder of a class"
                                                                : "no photo",
                                     false);
        gr_free(child);
    }
    return status;
}

/* train/, val/ and test/ with classes inside. */
static int walk_sets(struct gr_listing *listing, const struct entries *root) {
    bool val = false;
    int status = GR_OK;
    for (int i = 0; i < root->count; i++)
        val |= root->items[i].kind == FOLDER && gr_set_named(root->items[i].name) == GR_VAL;
    for (int s = 0; !status && s < GR_SETS; s++) /* train first: it knows the classes */
        for (int i = 0; !status && i < root->count; i++) {
            const struct entry *entry = &root->items[i];
            struct entries entries;
            if (entry->kind != FOLDER || gr_set_named(entry->name) != s)
                continue;
            status = read_entries(listing->data->root, entry->name, &entries);
            if (status)
                break;
            status = walk_classes(listing, entry->name, s == GR_TRAIN && !val ? -1 : s, &entries);
            entries_free(&entries);
        }
    for (int i = 0; !status && i < root->count; i++)
        if (root->items[i].kind != FOLDER || gr_set_named(root->items[i].name) < 0)
            status = gr_listing_skip(listing, root->items[i].name,
                                     root->items[i].kind == FOLDER      ? "beside train and val"
                                     : named_photo(root->items[i].name) ? "not in the folder of a class"
                                                                        : "no photo",
                                     false);
    return status;
}

/* Folders named as sets: `train` with another set beside it, or alone. A class may be called "train". */
static bool has_sets(const struct entries *root) {
    int folders = 0, sets[GR_SETS] = {0};
    for (int i = 0; i < root->count; i++)
        if (root->items[i].kind == FOLDER) {
            int set = gr_set_named(root->items[i].name);
            folders++;
            if (set >= 0)
                sets[set]++;
        }
    return sets[GR_TRAIN] && (sets[GR_VAL] || sets[GR_TEST] || folders == 1);
}

/* The folder has no folders inside: says what it has instead. */
static int no_classes(const char *dir, const struct entries *root) {
    char name[256], count[32];
    int64_t photos = 0;
    size_t length = strlen(dir);
    for (int i = 0; i < root->count; i++)
        photos += named_photo(root->items[i].name);
    gr_printable(dir, name, sizeof name - 1);
    if (length && dir[length - 1] != '/')
        strcat(name, "/");
    if (photos == 0)
        return gr_fail(GR_ERROR_DATA, "%s holds no photos. Make one folder a class: %smugs/..., %sbowls/...",
                       name, name, name);
    return gr_fail(GR_ERROR_DATA,
                   "%s holds %s photo%s but no folders. Make one folder a class: %smugs/..., %sbowls/...",
                   name, gr_format_count(photos, count), photos == 1 ? "" : "s", name, name);
}

int gr_data_folder(struct gr_dataset **out, const char *dir, const struct gr_data_options *options) {
    struct gr_listing listing;
    struct entries root = {0};
    *out = NULL;
    int status = gr_listing_start(&listing, dir, dir, options);
    if (!status)
        status = read_entries(listing.data->root, "", &root);
    if (!status) {
        bool folders = false;
        for (int i = 0; i < root.count; i++)
            folders |= root.items[i].kind == FOLDER;
        if (!folders)
            status = no_classes(dir, &root);
        else if (has_sets(&root))
            status = walk_sets(&listing, &root);
        else
            status = walk_classes(&listing, "", -1, &root);
    }
    if (!status)
        status = gr_listing_finish(&listing, out);
    entries_free(&root);
    gr_listing_free(&listing);
    return status;
}
