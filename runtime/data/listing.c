#include "data/listing.h"

#include "base/digest.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"
#include "base/threads.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- names ---- */

int gr_names_add(struct gr_names *names, const char *name) {
    if (names->count == names->capacity) {
        int capacity = names->capacity ? 2 * names->capacity : 1;
        char **items = gr_realloc(names->items, (size_t)capacity * sizeof *items);
        if (!items)
            return GR_ERROR_MEMORY;
        names->items = items;
        names->capacity = capacity;
    }
    char *copy = gr_strdup(name);
    if (!copy)
        return GR_ERROR_MEMORY;
    names->items[names->count++] = copy;
    return GR_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void gr_names_sort_unique(struct gr_names *names) {
    if (names->count == 0)
        return;
    qsort(names->items, (size_t)names->count, sizeof *names->items, by_bytes);
    int kept = 1;
    for (int i = 1; i < names->count; i++)
        if (!strcmp(names->items[i], names->items[kept - 1]))
            gr_free(names->items[i]);
        else
            names->items[kept++] = names->items[i];
    names->count = kept;
}

void gr_names_free(struct gr_names *names) {
    for (int i = 0; i < names->count; i++)
        gr_free(names->items[i]);
    gr_free(names->items);
    *names = (struct gr_names){0};
}

int gr_set_named(const char *name) {
    static const struct {
        const char *name;
        int set;
    } words[] = {
        {"train", GR_TRAIN}, {"val", GR_VAL}, {"valid", GR_VAL}, {"validation", GR_VAL}, {"test", GR_TEST}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(name, words[i].name))
            return words[i].set;
    return -1;
}

/* ---- collecting ---- */

int gr_listing_dataset(struct gr_dataset **out, const char *path, const struct gr_data_options *options) {
    *out = NULL;
    if (options->val > 0.9F)
        return gr_fail(GR_ERROR_OPTION, "val is a part of the photos, 0 to 0.9, not %g",
                       (double)options->val);
    if (options->max_skip > 1)
        return gr_fail(GR_ERROR_OPTION, "max_skip is a part of the photos, 0 to 1, not %g",
                       (double)options->max_skip);
    if (options->size < 0 || options->size > GR_IMAGE_MAX_SIDE)
        return gr_fail(GR_ERROR_OPTION, "size must be 1 to %d pixels, not %d", GR_IMAGE_MAX_SIDE,
                       options->size);
    struct gr_dataset *data = gr_calloc(1, sizeof *data);
    if (!data)
        return GR_ERROR_MEMORY;
    *out = data;
    data->root = -1;
    data->max_skip = options->max_skip < 0 ? 0.05F : options->max_skip;
    data->bad_is_error = options->bad_is_error;
    data->size = options->size;
    data->cache_limit = gr_memory_share();
    data->path = gr_strdup(path);
    data->name = gr_strdup(path);
    if (!data->path || !data->name)
        return GR_ERROR_MEMORY;
    size_t length = strlen(data->name);
    while (length > 1 && data->name[length - 1] == '/')
        data->name[--length] = 0;
    char *slash = strrchr(data->name, '/');
    if (slash && slash[1])
        memmove(data->name, slash + 1, strlen(slash));
    return GR_OK;
}

int gr_listing_start(struct gr_listing *listing, const char *path, const char *folder,
                     const struct gr_data_options *options) {
    char name[256], room[GR_PATH_ROOM];
    const char *use;
    *listing = (struct gr_listing){.options = options ? *options : GR_DATA_OPTIONS};
    GR_TRY(gr_listing_dataset(&listing->data, path, &listing->options));
    struct gr_text prefix = {0};
    if (folder && strcmp(folder, "."))
        gr_text_add(&prefix, "%s%s", folder, folder[0] && folder[strlen(folder) - 1] == '/' ? "" : "/");
    else
        gr_text_bytes(&prefix, "", 0);
    listing->folder = gr_strdup(prefix.bytes ? prefix.bytes : "");
    int status = gr_text_status(&prefix);
    gr_text_free(&prefix);
    if (status || !listing->folder)
        return GR_ERROR_MEMORY;
    if (!folder)
        return GR_OK;
    if (gr_path_check(folder, false, room, &use))
        return gr_fail_in("%s", gr_printable(folder, name, sizeof name));
    listing->data->root = open(use, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    if (listing->data->root < 0) {
        if (errno == ENOTDIR)
            gr_fail(GR_ERROR_FILE, "is a file; a folder of photos is expected");
        else
            gr_path_fail(use, "folder");
        return gr_fail_in("%s", gr_printable(folder, name, sizeof name));
    }
    return GR_OK;
}

int gr_listing_add(struct gr_listing *listing, const char *relative, int set, const char *const *classes,
                   int class_count) {
    if (listing->count == listing->capacity) {
        int64_t capacity = listing->capacity ? 2 * listing->capacity : 256;
        struct gr_candidate *grown =
            gr_realloc(listing->candidates, (size_t)capacity * sizeof *listing->candidates);
        if (!grown)
            return GR_ERROR_MEMORY;
        listing->candidates = grown;
        listing->capacity = capacity;
    }
    struct gr_candidate *candidate = &listing->candidates[listing->count++];
    *candidate = (struct gr_candidate){.relative = gr_strdup(relative), .set = set};
    if (!candidate->relative)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < class_count; i++)
        GR_TRY(gr_names_add(&candidate->classes, classes[i]));
    return GR_OK;
}

static int add_skipped(struct gr_dataset *data, int64_t *capacity, const char *file, const char *reason,
                       bool bad) {
    if (data->skipped_count == *capacity) {
        int64_t more = *capacity ? 2 * *capacity : 16;
        struct gr_skipped *grown = gr_realloc(data->skipped, (size_t)more * sizeof *grown);
        if (!grown)
            return GR_ERROR_MEMORY;
        data->skipped = grown;
        *capacity = more;
    }
    struct gr_skipped *skipped = &data->skipped[data->skipped_count];
    *skipped = (struct gr_skipped){gr_strdup(file), gr_strdup(reason)};
    data->skipped_count++;
    data->bad_count += bad;
    return skipped->file && skipped->reason ? GR_OK : GR_ERROR_MEMORY;
}

int gr_listing_skip(struct gr_listing *listing, const char *relative, const char *reason, bool bad) {
    return add_skipped(listing->data, &listing->skipped_capacity, relative, reason, bad);
}

void gr_listing_free(struct gr_listing *listing) {
    for (int64_t i = 0; i < listing->count; i++) {
        gr_free(listing->candidates[i].relative);
        gr_free(listing->candidates[i].reason);
        gr_names_free(&listing->candidates[i].classes);
    }
    gr_free(listing->candidates);
    gr_free(listing->folder);
    gr_names_free(&listing->declared);
    gr_data_free(listing->data);
    *listing = (struct gr_listing){0};
}

/* ---- too many bad photos ---- */

static int check_bad(const struct gr_dataset *data, int64_t good) {
    int64_t all = good + data->bad_count;
    double allowed = (double)data->max_skip * (double)all;
    if (data->max_skip > 0 && allowed < 1)
        allowed = 1; /* one broken photo must not end the work on a small set */
    if ((double)data->bad_count <= allowed || all == 0)
        return GR_OK;
    const struct gr_skipped *first = NULL;
    for (int64_t i = 0; i < data->skipped_count && !first; i++)
        if (strcmp(data->skipped[i].reason, "no photo"))
            first = &data->skipped[i];
    char path[256], file[256];
    return gr_fail(
        GR_ERROR_DATA,
        "%s: %lld of %lld photos cannot be read, more than max_skip = %g allows; the first: %s (%s)",
        gr_printable(data->path, path, sizeof path), (long long)data->bad_count, (long long)all,
        (double)data->max_skip, first ? gr_printable(first->file, file, sizeof file) : "?",
        first ? first->reason : "?");
}

int gr_data_skip(struct gr_dataset *data, int64_t sample, const char *reason) {
    int64_t capacity = data->skipped_count; /* grows one by one from here on: rare */
    if (data->samples[sample].broken)
        return GR_OK;
    data->samples[sample].broken = true;
    GR_TRY(add_skipped(data, &capacity, data->samples[sample].relative, reason, true));
    char name[256];
    if (data->bad_is_error)
        return gr_fail(GR_ERROR_FILE, "%s: %s", gr_printable(data->samples[sample].file, name, sizeof name),
                       reason);
    int64_t broken = 0;
    for (int64_t i = 0; i < data->sample_count; i++)
        broken += data->samples[i].broken;
    return check_bad(data, data->sample_count - broken);
}

/* ---- reading ---- */

void gr_listing_hash(const void *bytes, size_t size, uint8_t hash[32]) {
    struct sha256_ctx digest;
    sha256_init(&digest);
    sha256_update(&digest, size, bytes);
    sha256_digest(&digest, SHA256_DIGEST_SIZE, hash);
}

static void read_candidate(void *context, int64_t chunk, int worker) {
    struct gr_listing *listing = context;
    struct gr_candidate *candidate = &listing->candidates[chunk];
    struct gr_image_info info;
    uint8_t *bytes;
    size_t size;
    (void)worker;
    if (gr_interrupted())
        return;
    int status = gr_image_file_at(listing->data->root, candidate->relative, &bytes, &size);
    if (!status) {
        gr_listing_hash(bytes, size, candidate->hash);
        status = gr_image_check(bytes, size, &info);
        gr_free(bytes);
    }
    if (status)
        candidate->reason = gr_strdup(status == GR_ERROR_MEMORY ? "" : gr_error()->message);
}

/* Reads all candidates in the pool and moves those that cannot be used to the skipped ones. */
static int read_all(struct gr_listing *listing) {
    struct gr_dataset *data = listing->data;
    char name[256];
    int64_t kept = 0;
    gr_parallel(listing->count, read_candidate, listing);
    GR_TRY(gr_interrupt_check());
    for (int64_t i = 0; i < listing->count; i++) {
        struct gr_candidate *candidate = &listing->candidates[i];
        if (!candidate->reason) {
            struct gr_candidate moved = *candidate;
            listing->candidates[i] = listing->candidates[kept];
            listing->candidates[kept++] = moved;
            continue;
        }
        if (!candidate->reason[0])
            return gr_fail(GR_ERROR_MEMORY, "no memory is left to read %s",
                           gr_printable(candidate->relative, name, sizeof name));
        if (data->bad_is_error)
            return gr_fail(GR_ERROR_FILE, "%s%s: %s", listing->folder,
                           gr_printable(candidate->relative, name, sizeof name), candidate->reason);
        GR_TRY(gr_listing_skip(listing, candidate->relative, candidate->reason, true));
    }
    for (int64_t i = kept; i < listing->count; i++) {
        gr_free(listing->candidates[i].relative);
        gr_free(listing->candidates[i].reason);
        gr_names_free(&listing->candidates[i].classes);
    }
    listing->count = kept;
    return GR_OK;
}

/* ---- classes ---- */

static int find_class(const struct gr_dataset *data, const char *name) {
    for (int i = 0; i < data->class_count; i++)
        if (!strcmp(data->classes[i], name))
            return i;
    return -1;
}

int gr_listing_classes(struct gr_dataset *data, const struct gr_names *present,
                       const struct gr_data_options *options) {
    char name[256], path[256];
    int count = options->classes ? options->class_count : present->count;
    const char *const *wanted = options->classes ? options->classes : (const char *const *)present->items;
    data->classes = gr_calloc((size_t)count + 1, sizeof *data->classes);
    if (!data->classes)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < count; i++) {
        bool known = !options->classes;
        for (int k = 0; k < present->count && !known; k++)
            known = !strcmp(present->items[k], wanted[i]);
        if (!known) {
            gr_fail(GR_ERROR_NAME, "%s: no class \"%s\"", gr_printable(data->path, path, sizeof path),
                    gr_printable(wanted[i], name, sizeof name));
            const char *near =
                gr_nearest(wanted[i], (const char *const *)present->items, (size_t)present->count);
            return near ? gr_fail_near(near) : GR_ERROR_NAME;
        }
        if (find_class(data, wanted[i]) >= 0)
            return gr_fail(GR_ERROR_NAME, "classes: \"%s\" is named twice",
                           gr_printable(wanted[i], name, sizeof name));
        data->classes[i] = gr_strdup(wanted[i]);
        if (!data->classes[i])
            return GR_ERROR_MEMORY;
        data->class_count = i + 1;
    }
    return GR_OK;
}

static int choose_classes(struct gr_listing *listing) {
    struct gr_names present = {0};
    int status = GR_OK;
    if (listing->declared.count > 0) {
        status = gr_listing_classes(listing->data, &listing->declared, &listing->options);
    } else {
        for (int64_t i = 0; !status && i < listing->count; i++)
            for (int k = 0; !status && k < listing->candidates[i].classes.count; k++) {
                status = gr_names_add(&present, listing->candidates[i].classes.items[k]);
                if (present.count >= 65536) /* many photos, few names: keep the list short */
                    gr_names_sort_unique(&present);
            }
        gr_names_sort_unique(&present);
        if (!status)
            status = gr_listing_classes(listing->data, &present, &listing->options);
    }
    gr_names_free(&present);
    return status;
}

/* ---- samples ---- */

/* Candidates become samples; photos of classes that were not chosen stay out. Fills given[]. */
static int make_samples(struct gr_listing *listing, int *given) {
    struct gr_dataset *data = listing->data;
    size_t prefix = strlen(listing->folder), classes = (size_t)data->class_count, cells;
    if (data->multilabel) {
        if (!gr_size_multiply((size_t)listing->count + 1, classes, &cells))
            return gr_fail(GR_ERROR_LIMIT, "%lld photos with %d classes are too many",
                           (long long)listing->count, data->class_count);
        data->labels = gr_calloc(cells, 1);
        if (!data->labels)
            return GR_ERROR_MEMORY;
    }
    data->samples = gr_calloc((size_t)listing->count + 1, sizeof *data->samples);
    if (!data->samples)
        return GR_ERROR_MEMORY;
    for (int64_t i = 0; i < listing->count; i++) {
        struct gr_candidate *candidate = &listing->candidates[i];
        int label = -1;
        for (int k = 0; k < candidate->classes.count; k++) {
            label = find_class(data, candidate->classes.items[k]);
            if (data->multilabel && label >= 0)
                data->labels[(size_t)data->sample_count * classes + (size_t)label] = 1;
        }
        if (!data->multilabel && label < 0)
            continue;
        struct gr_sample *sample = &data->samples[data->sample_count];
        sample->file = gr_alloc(prefix + strlen(candidate->relative) + 1);
        if (!sample->file)
            return GR_ERROR_MEMORY;
        memcpy(sample->file, listing->folder, prefix);
        strcpy(sample->file + prefix, candidate->relative);
        sample->relative = sample->file + prefix;
        sample->label = data->multilabel ? -1 : label;
        memcpy(sample->hash, candidate->hash, sizeof sample->hash);
        given[data->sample_count++] = candidate->set;
    }
    return GR_OK;
}

/* ---- duplicates ---- */

struct hashed {
    const struct gr_dataset *data;
    int64_t sample;
    int set;
};

static int by_hash(const void *a, const void *b) {
    const struct hashed *x = a, *y = b;
    int order = memcmp(x->data->samples[x->sample].hash, y->data->samples[y->sample].hash, 32);
    return order ? order : (x->sample > y->sample) - (x->sample < y->sample);
}

static bool same_labels(const struct gr_dataset *data, int64_t a, int64_t b) {
    size_t classes = (size_t)data->class_count;
    if (data->multilabel)
        return !memcmp(data->labels + (size_t)a * classes, data->labels + (size_t)b * classes, classes);
    return data->samples[a].label == data->samples[b].label;
}

static int find_duplicates(struct gr_dataset *data) {
    struct hashed *sorted = gr_calloc((size_t)data->sample_count + 1, sizeof *sorted);
    data->duplicates = gr_calloc((size_t)data->sample_count + 1, sizeof *data->duplicates);
    if (!sorted || !data->duplicates) {
        gr_free(sorted);
        return GR_ERROR_MEMORY;
    }
    int64_t count = 0;
    for (int s = 0; s < GR_SETS; s++)
        for (int64_t i = 0; i < data->sets[s]->count; i++)
            sorted[count++] = (struct hashed){data, data->sets[s]->samples[i], s};
    qsort(sorted, (size_t)count, sizeof *sorted, by_hash);
    for (int64_t i = 1, first = 0; i < count; i++) {
        int64_t a = sorted[first].sample, b = sorted[i].sample;
        if (memcmp(data->samples[a].hash, data->samples[b].hash, 32))
            first = i;
        else if (!same_labels(data, a, b) || sorted[first].set != sorted[i].set)
            data->duplicates[data->duplicate_count++] = (struct gr_duplicate){a, b};
    }
    gr_free(sorted);
    return GR_OK;
}

/* ---- the three sets ---- */

/* Sends the photos with the lowest hashes among order[0..n) (sorted) to val. Copies of one photo stay
 * together. */
static void split_one(struct gr_dataset *data, const struct hashed *order, int64_t n, double part,
                      int *given) {
    int64_t held = (int64_t)llround(part * (double)n);
    if (part > 0 && held < 1)
        held = 1;
    if (held > n - 1)
        held = n - 1;
    while (held > 0 && held < n &&
           !memcmp(data->samples[order[held].sample].hash, data->samples[order[held - 1].sample].hash, 32))
        held++;
    if (held >= n)
        held = 0; /* copies of one photo only: nothing to hold out */
    for (int64_t i = 0; i < n; i++)
        given[order[i].sample] = i < held ? GR_VAL : GR_TRAIN;
}

/* Replaces the -1s in given[]: class by class, or over all photos where they have several labels. */
static int split_by_hash(struct gr_dataset *data, int *given, double part) {
    struct hashed *order = gr_calloc((size_t)data->sample_count + 1, sizeof *order);
    if (!order)
        return GR_ERROR_MEMORY;
    for (int label = data->multilabel ? -1 : 0; label < (data->multilabel ? 0 : data->class_count); label++) {
        int64_t n = 0;
        for (int64_t i = 0; i < data->sample_count; i++)
            if (given[i] < 0 && data->samples[i].label == label)
                order[n++] = (struct hashed){data, i, -1};
        qsort(order, (size_t)n, sizeof *order, by_hash);
        split_one(data, order, n, part, given);
    }
    gr_free(order);
    return GR_OK;
}

int gr_listing_sets(struct gr_dataset *data, const int *wanted, const struct gr_data_options *options) {
    int64_t count[GR_SETS] = {0}, open = 0;
    int *given = gr_calloc((size_t)data->sample_count + 1, sizeof *given);
    int64_t *list = gr_calloc((size_t)data->sample_count + 1, sizeof *list);
    int status = given && list ? GR_OK : GR_ERROR_MEMORY;
    for (int64_t i = 0; !status && i < data->sample_count; i++) {
        given[i] = wanted[i];
        if (given[i] >= 0)
            count[given[i]]++;
        else
            open++;
    }
    if (!status && open > 0 && count[GR_VAL] == 0) {
        data->val_by_default = options->val < 0;
        data->val_fraction = options->val < 0 ? 0.2F : options->val;
    }
    if (!status && open > 0)
        status = split_by_hash(data, given, (double)data->val_fraction);
    for (int s = 0; !status && s < GR_SETS; s++) {
        int64_t n = 0;
        for (int64_t i = 0; i < data->sample_count; i++)
            if (given[i] == s)
                list[n++] = i;
        status = gr_set_create(&data->sets[s], data, (enum gr_set_kind)s, list, n);
    }
    if (!status)
        status = find_duplicates(data);
    gr_free(given);
    gr_free(list);
    return status;
}

/* "class "mugs" has no photo", with the first reason why not if its files were skipped. */
static int empty_class(const struct gr_dataset *data, int label, bool train_only) {
    char path[256], name[256], file[256];
    size_t length = strlen(data->classes[label]);
    gr_printable(data->path, path, sizeof path);
    gr_printable(data->classes[label], name, sizeof name);
    if (train_only)
        return gr_fail(GR_ERROR_DATA, "%s: class \"%s\" has no photo to train on, only others", path, name);
    for (int64_t i = 0; i < data->skipped_count; i++) {
        const char *at = strstr(data->skipped[i].file, data->classes[label]);
        if (at && at[length] == '/' && (at == data->skipped[i].file || at[-1] == '/'))
            return gr_fail(
                GR_ERROR_DATA, "%s: class \"%s\" has no photo that can be read; the first file: %s (%s)",
                path, name, gr_printable(data->skipped[i].file, file, sizeof file), data->skipped[i].reason);
    }
    return gr_fail(GR_ERROR_DATA, "%s: class \"%s\" is empty: it has no photo", path, name);
}

int gr_listing_check(const struct gr_dataset *data, const struct gr_data_options *options) {
    char path[256], name[256];
    int least = options->min_classes > 0 ? options->min_classes : data->multilabel ? 1 : 2;
    gr_printable(data->path, path, sizeof path);
    if (data->class_count < least && data->class_count == 1)
        return gr_fail(GR_ERROR_DATA, "%s has one class only (%s); to tell classes apart takes at least two",
                       path, gr_printable(data->classes[0], name, sizeof name));
    if (data->class_count < least)
        return gr_fail(GR_ERROR_DATA, "%s has %d classes; at least %d are needed", path, data->class_count,
                       least);
    int64_t *all = gr_calloc((size_t)data->class_count * 2 + 1, sizeof *all),
            *train = all + data->class_count;
    if (!all)
        return GR_ERROR_MEMORY;
    gr_data_counts(data, NULL, all);
    gr_data_counts(data, data->sets[GR_TRAIN], train);
    int status = GR_OK;
    for (int i = 0; !status && !data->multilabel && i < data->class_count; i++)
        if (all[i] == 0 || (train[i] == 0 && data->sets[GR_TRAIN]->count > 0))
            status = empty_class(data, i, all[i] > 0);
    gr_free(all);
    if (!status && data->sample_count == 0)
        return gr_fail(GR_ERROR_DATA, "%s holds no photo that can be read", path);
    return status;
}

int gr_listing_finish(struct gr_listing *listing, struct gr_dataset **out) {
    *out = NULL;
    GR_TRY(choose_classes(listing));
    GR_TRY(read_all(listing));
    int *given = gr_calloc((size_t)listing->count + 1, sizeof *given);
    if (!given)
        return GR_ERROR_MEMORY;
    int status = make_samples(listing, given);
    if (!status)
        status = gr_listing_sets(listing->data, given, &listing->options);
    if (!status)
        status = gr_listing_check(listing->data, &listing->options);
    if (!status)
        status = check_bad(listing->data, listing->data->sample_count);
    gr_free(given);
    if (!status) {
        *out = listing->data;
        listing->data = NULL;
    }
    return status;
}
