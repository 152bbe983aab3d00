#include "data/dataset.h"

#include "base/digest.h"
#include "base/memory.h"
#include "base/status.h"
#include "data/loader.h"
#include "data/pixels.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* ---- blocks of pixels ---- */

int gr_pixels_create(struct gr_pixels **out, size_t size) {
    *out = NULL;
    struct gr_pixels *pixels = gr_alloc(sizeof *pixels);
    if (!pixels)
        return GR_ERROR_MEMORY;
    pixels->users = 1;
    pixels->bytes = gr_alloc(size);
    if (!pixels->bytes) {
        gr_free(pixels);
        return GR_ERROR_MEMORY;
    }
    *out = pixels;
    return GR_OK;
}

void gr_pixels_release(struct gr_pixels *pixels) {
    if (!pixels || --pixels->users > 0)
        return;
    gr_free(pixels->bytes);
    gr_free(pixels);
}

/* ---- life ---- */

void gr_data_free(struct gr_dataset *data) {
    if (!data)
        return;
    gr_data_forget(data);
    for (int s = 0; s < GR_SETS; s++)
        gr_set_free(data->sets[s]);
    for (int i = 0; i < data->class_count; i++)
        gr_free(data->classes[i]);
    for (int64_t i = 0; i < data->sample_count; i++)
        gr_free(data->samples[i].file);
    for (int64_t i = 0; i < data->skipped_count; i++) {
        gr_free(data->skipped[i].file);
        gr_free(data->skipped[i].reason);
    }
    gr_free(data->classes);
    gr_free(data->samples);
    gr_free(data->skipped);
    gr_free(data->labels);
    gr_free(data->duplicates);
    gr_free(data->name);
    gr_free(data->path);
    gr_pixels_release(data->pixels);
    if (data->root >= 0)
        close(data->root);
    gr_free(data);
}

int gr_set_create(struct gr_set **out, struct gr_dataset *data, enum gr_set_kind kind, const int64_t *samples,
                  int64_t count) {
    *out = NULL;
    for (int64_t i = 0; i < count; i++)
        if (samples[i] < 0 || samples[i] >= data->sample_count)
            return gr_fail(GR_ERROR_OPTION, "%s has %lld photos; there is no number %lld", data->name,
                           (long long)data->sample_count, (long long)samples[i] + 1);
    struct gr_set *set = gr_alloc(sizeof *set);
    int64_t *list = gr_calloc((size_t)count + 1, sizeof *list);
    if (!set || !list) {
        gr_free(set);
        gr_free(list);
        return GR_ERROR_MEMORY;
    }
    if (count > 0)
        memcpy(list, samples, (size_t)count * sizeof *list);
    *set = (struct gr_set){data, kind, list, count};
    *out = set;
    return GR_OK;
}

void gr_set_free(struct gr_set *set) {
    if (!set)
        return;
    gr_free(set->samples);
    gr_free(set);
}

int gr_set_take(struct gr_set **out, const struct gr_set *set, int64_t per_class, uint64_t seed) {
    struct gr_dataset *data = set->data;
    *out = NULL;
    if (per_class < 1)
        return gr_fail(GR_ERROR_OPTION, "take: per_class must be at least 1, not %lld", (long long)per_class);
    if (data->multilabel)
        return gr_fail(GR_ERROR_OPTION,
                       "take: these photos have several labels each, so per_class means nothing");
    int64_t *chosen = gr_calloc((size_t)set->count + 1, sizeof *chosen);
    int64_t *positions = gr_calloc((size_t)set->count + 1, sizeof *positions);
    bool *keep = gr_calloc((size_t)set->count + 1, sizeof *keep);
    int status = chosen && positions && keep ? GR_OK : GR_ERROR_MEMORY;
    for (int label = 0; !status && label < data->class_count; label++) {
        int64_t n = 0;
        for (int64_t i = 0; i < set->count; i++)
            if (data->samples[set->samples[i]].label == label)
                positions[n++] = i;
        /* Keyed by the name: a class keeps its photos when others come or go. */
        struct gr_random random = gr_random(seed, GR_RANDOM_SAMPLE, gr_hash(data->classes[label]), 0, 0);
        gr_random_shuffle(&random, positions, n);
        for (int64_t i = 0; i < n && i < per_class; i++)
            keep[positions[i]] = true;
    }
    int64_t count = 0;
    for (int64_t i = 0; !status && i < set->count; i++)
        if (keep[i])
            chosen[count++] = set->samples[i];
    if (!status)
        status = gr_set_create(out, data, set->kind, chosen, count);
    gr_free(chosen);
    gr_free(positions);
    gr_free(keep);
    return status;
}

static int copy_samples(struct gr_dataset *copy, const struct gr_dataset *data) {
    size_t cells = (size_t)data->sample_count * (size_t)data->class_count;
    copy->samples = gr_calloc((size_t)data->sample_count + 1, sizeof *copy->samples);
    copy->labels = data->labels ? gr_alloc(cells + 1) : NULL;
    copy->duplicates = gr_calloc((size_t)data->duplicate_count + 1, sizeof *copy->duplicates);
    if (!copy->samples || (data->labels && !copy->labels) || !copy->duplicates)
        return GR_ERROR_MEMORY;
    if (data->labels)
        memcpy(copy->labels, data->labels, cells);
    if (data->duplicate_count > 0)
        memcpy(copy->duplicates, data->duplicates, (size_t)data->duplicate_count * sizeof *copy->duplicates);
    copy->duplicate_count = data->duplicate_count;
    for (int64_t i = 0; i < data->sample_count; i++) {
        const struct gr_sample *from = &data->samples[i];
        struct gr_sample *to = &copy->samples[i];
        *to = *from;
        to->file = gr_strdup(from->file);
        copy->sample_count = i + 1;
        if (!to->file)
            return GR_ERROR_MEMORY;
        to->relative = to->file + (from->relative - from->file);
    }
    return GR_OK;
}

static int copy_lists(struct gr_dataset *copy, const struct gr_dataset *data) {
    copy->classes = gr_calloc((size_t)data->class_count + 1, sizeof *copy->classes);
    copy->skipped = gr_calloc((size_t)data->skipped_count + 1, sizeof *copy->skipped);
    if (!copy->classes || !copy->skipped)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < data->class_count; i++) {
        copy->class_count = i + 1;
        if (!(copy->classes[i] = gr_strdup(data->classes[i])))
            return GR_ERROR_MEMORY;
    }
    for (int64_t i = 0; i < data->skipped_count; i++) {
        copy->skipped[i] =
            (struct gr_skipped){gr_strdup(data->skipped[i].file), gr_strdup(data->skipped[i].reason)};
        copy->skipped_count = i + 1;
        if (!copy->skipped[i].file || !copy->skipped[i].reason)
            return GR_ERROR_MEMORY;
    }
    return GR_OK;
}

int gr_data_with(struct gr_dataset **out, const struct gr_dataset *data, const struct gr_set *train) {
    *out = NULL;
    if (train->data != data)
        return gr_fail(GR_ERROR_OPTION, "the training set is one of another data set (%s, not %s)",
                       train->data->name, data->name);
    struct gr_dataset *copy = gr_alloc(sizeof *copy);
    if (!copy)
        return GR_ERROR_MEMORY;
    *copy = *data; /* then everything that is owned becomes the copy's own */
    copy->caches = NULL;
    copy->samples = NULL;
    copy->classes = NULL;
    copy->skipped = NULL;
    copy->duplicates = NULL;
    copy->labels = NULL;
    copy->sample_count = copy->skipped_count = copy->duplicate_count = copy->class_count = 0;
    memset(copy->sets, 0, sizeof copy->sets);
    if (copy->pixels)
        copy->pixels->users++;
    copy->name = gr_strdup(data->name);
    copy->path = gr_strdup(data->path);
    copy->root = data->root < 0 ? -1 : fcntl(data->root, F_DUPFD_CLOEXEC, 0);
    int status = copy->name && copy->path ? GR_OK : GR_ERROR_MEMORY;
    if (!status && data->root >= 0 && copy->root < 0)
        status = gr_fail(GR_ERROR_LIMIT, "too many files are open to use %s once more", data->name);
    if (!status)
        status = copy_lists(copy, data);
    if (!status)
        status = copy_samples(copy, data);
    for (int s = 0; !status && s < GR_SETS; s++) {
        const struct gr_set *set = s == GR_TRAIN ? train : data->sets[s];
        status = gr_set_create(&copy->sets[s], copy, (enum gr_set_kind)s, set->samples, set->count);
    }
    if (status)
        gr_data_free(copy);
    else
        *out = copy;
    return status;
}

/* ---- questions ---- */

static void count_set(const struct gr_dataset *data, const struct gr_set *set, int64_t *counts) {
    for (int64_t i = 0; i < set->count; i++) {
        int64_t sample = set->samples[i];
        if (!data->multilabel)
            counts[data->samples[sample].label]++;
        else
            for (int c = 0; c < data->class_count; c++)
                counts[c] += data->labels[(size_t)sample * (size_t)data->class_count + (size_t)c];
    }
}

void gr_data_counts(const struct gr_dataset *data, const struct gr_set *set, int64_t *counts) {
    memset(counts, 0, (size_t)data->class_count * sizeof *counts);
    for (int s = 0; s < GR_SETS && !set; s++)
        count_set(data, data->sets[s], counts);
    if (set)
        count_set(data, set, counts);
}

const char *gr_data_class(const struct gr_dataset *data, int64_t sample) {
    return data->multilabel ? NULL : data->classes[data->samples[sample].label];
}

void gr_data_target(const struct gr_dataset *data, int64_t sample, float *row) {
    for (int c = 0; c < data->class_count; c++)
        row[c] = data->multilabel
                     ? (float)data->labels[(size_t)sample * (size_t)data->class_count + (size_t)c]
                     : (float)(data->samples[sample].label == c);
}

/* Names for a message: the first SHOWN of them, and how many more. */
enum { SHOWN = 4 };

struct name_list {
    struct gr_text text;
    int count;
};

static void list_name(struct name_list *list, const char *given) {
    char name[256];
    if (list->count++ < SHOWN)
        gr_text_add(&list->text, "%s \"%s\"", list->count > 1 ? "," : "",
                    gr_printable(given, name, sizeof name));
}

static const char *listed(struct name_list *list) {
    int more = list->count - SHOWN;
    if (more > 0)
        gr_text_add(&list->text, " and %d more", more);
    return list->text.length ? list->text.bytes : " none";
}

int gr_data_match(const struct gr_dataset *data, const char *const *names, int count, int *columns) {
    struct name_list here = {0}, there = {0};
    for (int i = 0; i < data->class_count; i++) {
        columns[i] = -1;
        for (int k = 0; k < count && columns[i] < 0; k++)
            if (!strcmp(data->classes[i], names[k]))
                columns[i] = k;
        if (columns[i] < 0)
            list_name(&here, data->classes[i]);
    }
    for (int k = 0; k < count; k++) {
        bool known = false;
        for (int i = 0; i < data->class_count && !known; i++)
            known = columns[i] == k;
        if (!known)
            list_name(&there, names[k]);
    }
    int status = GR_OK;
    if (here.count || there.count)
        status =
            gr_fail(GR_ERROR_NAME,
                    "%s has other classes than the network: only the photos have%s; only the network has%s. "
                    "net:replace_head(data) and graft.fit teach it those of the photos",
                    data->name, listed(&here), listed(&there));
    gr_text_free(&here.text);
    gr_text_free(&there.text);
    return status;
}

/* ---- photos ---- */

/* Grey pixels in memory as an image. */
static int expand(const struct gr_dataset *data, const uint8_t *grey, struct gr_image *out) {
    GR_TRY(gr_image_create(out, data->width, data->height));
    size_t pixels = (size_t)data->width * (size_t)data->height;
    for (size_t i = 0; i < pixels; i++)
        memset(out->pixels + 3 * i, grey[i], 3);
    return GR_OK;
}

int gr_data_file(const struct gr_dataset *data, int64_t sample, uint8_t **bytes, size_t *size) {
    const struct gr_sample *from = &data->samples[sample];
    char name[256];
    *bytes = NULL;
    *size = 0;
    if (from->pixels || !gr_image_file_at(data->root, from->relative, bytes, size))
        return GR_OK;
    return gr_fail_in("%s", gr_printable(from->file, name, sizeof name));
}

int gr_data_read(const struct gr_dataset *data, int64_t sample, struct gr_image *out) {
    const struct gr_sample *from = &data->samples[sample];
    uint8_t *bytes;
    size_t size;
    char name[256];
    *out = (struct gr_image){0};
    if (from->pixels)
        return expand(data, from->pixels, out);
    GR_TRY(gr_data_file(data, sample, &bytes, &size));
    int status = gr_image_read_memory(out, bytes, size);
    gr_free(bytes);
    return status ? gr_fail_in("%s", gr_printable(from->file, name, sizeof name)) : GR_OK;
}

void gr_data_digest(const struct gr_dataset *data, char hex[65]) {
    struct gr_digest digest;
    gr_digest_start(&digest);
    for (int i = 0; i < data->class_count; i++)
        gr_digest_add(&digest, data->classes[i], strlen(data->classes[i]) + 1);
    for (int s = 0; s < GR_SETS; s++)
        for (int64_t i = 0; i < data->sets[s]->count; i++) {
            int64_t number = data->sets[s]->samples[i];
            const struct gr_sample *sample = &data->samples[number];
            int32_t place[2] = {s, sample->label};
            gr_digest_add(&digest, place, sizeof place);
            gr_digest_add(&digest, sample->relative, strlen(sample->relative) + 1);
            gr_digest_add(&digest, sample->hash, sizeof sample->hash);
            if (data->multilabel)
                gr_digest_add(&digest, data->labels + (size_t)number * (size_t)data->class_count,
                              (size_t)data->class_count);
        }
    gr_digest_hex(&digest, hex);
}
