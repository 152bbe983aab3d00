/* Two halves take turns: while the caller works on the batch in one, the pool decodes the next into the
 * other. Each photo is a task of its own and writes its own row, so it does not matter who does it, or when.
 */
#include "data/loader.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/threads.h"
#include "data/keep.h"

#include <stdatomic.h>
#include <string.h>

struct slot {            /* one photo of a batch */
    struct gr_task task; /* first, so that a task is its slot */
    struct gr_loader *loader;
    int64_t sample;
    float *x;
    bool submitted;
    int status;
    struct gr_error error;
};

struct half {
    struct slot *slots;
    float *x, *y;
    int64_t *samples;
    int64_t number; /* of the batch in it; -1: none */
    int planned;    /* slots in use */
};

struct gr_loader {
    const struct gr_set *set;
    struct gr_loader_options options; /* with pointers to the copies below */
    struct gr_preprocessing preprocessing;
    struct gr_augment augment;
    int *columns;
    struct gr_photo_cache *cache;
    int64_t *order;
    int64_t batches, next; /* of the epoch; the next to be submitted */
    size_t photo;          /* floats of one input */
    int classes;
    struct half halves[2];
    int current; /* the half that the caller has; the other is being filled */
    struct gr_batch batch;
    atomic_bool cancelled;
};

/* ---- one photo ---- */

static struct gr_view view_of(const struct gr_loader *loader, int64_t number) {
    const struct gr_loader_options *o = &loader->options;
    return (struct gr_view){o->seed, o->fit, o->epoch, (uint64_t)number, o->view};
}

/* The first half, from the file or from pixels in memory. */
static int prepare(const struct gr_dataset *data, int64_t sample, struct gr_photo *photo,
                   struct gr_shape input, const struct gr_preprocessing *preprocessing,
                   const struct gr_augment *augment) {
    uint8_t *bytes;
    size_t size;
    char name[256];
    int status;
    GR_TRY(gr_data_file(data, sample, &bytes, &size));
    if (bytes) {
        status = gr_photo_read(photo, bytes, size, input, preprocessing, augment);
        gr_free(bytes);
        return status ? gr_fail_in("%s", gr_printable(data->samples[sample].file, name, sizeof name)) : GR_OK;
    }
    struct gr_image image;
    GR_TRY(gr_data_read(data, sample, &image));
    status = gr_photo_prepare(photo, &image, input, preprocessing, augment);
    gr_image_free(&image);
    return status;
}

/* From the cache or from the file, to floats. */
static int load(struct gr_loader *loader, struct gr_photo_cache *cache, int64_t sample, struct gr_shape input,
                const struct gr_preprocessing *preprocessing, float *x) {
    const struct gr_augment *augment = loader->options.augment;
    struct gr_view view = view_of(loader, sample);
    if (view.view) /* a stored view: the same in every epoch and fit */
        view.fit = view.epoch = 0;
    const struct gr_photo *kept = gr_keep_find(cache, sample);
    if (kept)
        return gr_photo_finish(kept, input, preprocessing, augment, &view, x);
    struct gr_photo photo = {0};
    GR_TRY(prepare(loader->set->data, sample, &photo, input, preprocessing, augment));
    int status = gr_photo_finish(&photo, input, preprocessing, augment, &view, x);
    if (status || loader->options.once)
        gr_photo_free(&photo);
    else
        gr_keep_offer(cache, sample, &photo);
    return status;
}

/* Where the row of a sample is kept, or -1. */
static int64_t place_of(const struct gr_loader *loader, int64_t sample) {
    const struct gr_rows *rows = loader->options.rows;
    return rows->places[loader->options.view * (uint64_t)rows->data->sample_count + (uint64_t)sample];
}

static void run_slot(struct gr_task *task) {
    struct slot *slot = (struct slot *)task;
    struct gr_loader *loader = slot->loader;
    const struct gr_rows *rows = loader->options.rows;
    if (atomic_load_explicit(&loader->cancelled, memory_order_relaxed))
        return;
    if (rows)
        slot->status = rows->read(rows, place_of(loader, slot->sample), slot->x);
    else
        slot->status =
            load(loader, loader->cache, slot->sample, loader->options.input, &loader->preprocessing, slot->x);
    if (slot->status)
        slot->error = *gr_error();
}

/* ---- batches ---- */

/* Sends the next batch of the epoch, if there is one, into this half. */
static void submit(struct gr_loader *loader, struct half *half) {
    const struct gr_set *set = loader->set;
    half->number = -1;
    half->planned = 0;
    if (loader->next >= loader->batches)
        return;
    half->number = loader->next++;
    int64_t first = half->number * loader->options.batch_size, left = set->count - first;
    half->planned = (int)(left < loader->options.batch_size ? left : loader->options.batch_size);
    for (int i = 0; i < half->planned; i++) {
        struct slot *slot = &half->slots[i];
        slot->sample = loader->order[first + i];
        slot->status = GR_OK;
        slot->submitted = !set->data->samples[slot->sample].broken;
        if (loader->options.rows)
            slot->submitted &= place_of(loader, slot->sample) >= 0;
        if (slot->submitted)
            gr_task_submit(&slot->task);
    }
}

static void wait_for(struct half *half) {
    for (int i = 0; i < half->planned; i++)
        if (half->slots[i].submitted)
            gr_task_wait(&half->slots[i].task);
}

static bool is_photos_fault(int status) {
    return status == GR_ERROR_FILE || status == GR_ERROR_LIMIT;
}

/* Closes the gaps that broken photos left, and lists them. *n: photos that remain. */
static int compact(struct gr_loader *loader, struct half *half, int *n) {
    struct gr_dataset *data = loader->set->data;
    *n = 0;
    for (int i = 0; i < half->planned; i++) {
        struct slot *slot = &half->slots[i];
        if (slot->submitted && slot->status) {
            if (!is_photos_fault(slot->status))
                return gr_error_restore(&slot->error);
            /* "FILE: cause": the list keeps the two apart */
            size_t prefix = strlen(data->samples[slot->sample].file);
            bool named = !strncmp(slot->error.message, data->samples[slot->sample].file, prefix);
            GR_TRY(gr_data_skip(data, slot->sample, slot->error.message + (named ? prefix + 2 : 0)));
        } else if (slot->submitted) {
            if (*n < i)
                memcpy(half->x + (size_t)*n * loader->photo, half->x + (size_t)i * loader->photo,
                       loader->photo * sizeof(float));
            half->samples[(*n)++] = slot->sample;
        }
    }
    return GR_OK;
}

static void set_targets(const struct gr_loader *loader, struct half *half, int n) {
    struct gr_dataset *data = loader->set->data;
    size_t classes = (size_t)loader->classes;
    float *row = half->y + (size_t)loader->options.batch_size * classes; /* one more row, as scratch */
    for (int i = 0; i < n; i++) {
        gr_data_target(data, half->samples[i], row);
        for (size_t c = 0; c < classes; c++)
            half->y[(size_t)i * classes + (size_t)(loader->columns ? loader->columns[c] : (int)c)] = row[c];
    }
}

/* Mixes the first photo with the last, the second with the last but one, ...: each pair both ways, in place.
 */
static void mix(float weight, int n, size_t length, float *rows) {
    for (int i = 0; i < n / 2; i++) {
        float *a = rows + (size_t)i * length, *b = rows + (size_t)(n - 1 - i) * length;
        for (size_t k = 0; k < length; k++) {
            float x = a[k], y = b[k];
            a[k] = weight * x + (1 - weight) * y;
            b[k] = weight * y + (1 - weight) * x;
        }
    }
}

/* The mixing weight of the current batch; 1: none. */
static float mixing(const struct gr_loader *loader, int64_t number) {
    struct gr_view view = view_of(loader, number);
    const struct gr_augment *augment = loader->options.augment;
    return augment && augment->mixup > 0 ? gr_mixup_weight(augment->mixup, &view) : 1;
}

int gr_loader_next(struct gr_loader *loader, const struct gr_batch **batch) {
    *batch = NULL;
    loader->batch.n = 0;
    for (;;) {
        struct half *used = &loader->halves[loader->current];
        struct half *half = &loader->halves[loader->current ^= 1];
        int n;
        if (half->number < 0) {
            used->number = -1; /* the end, for every later call too */
            return GR_OK;
        }
        submit(loader, used);
        wait_for(half);
        GR_TRY(compact(loader, half, &n));
        if (n == 0)
            continue;
        float weight = mixing(loader, half->number);
        set_targets(loader, half, n);
        if (weight < 1) {
            mix(weight, n, loader->photo, half->x);
            mix(weight, n, (size_t)loader->classes, half->y);
        }
        loader->batch = (struct gr_batch){n, half->x, half->y, half->samples, half->number};
        *batch = &loader->batch;
        return GR_OK;
    }
}

/* ---- the same photos for another network ---- */

struct again {
    struct gr_loader *loader;
    struct gr_photo_cache *cache;
    struct gr_shape input;
    const struct gr_preprocessing *preprocessing;
    float *x;
    struct gr_error *errors; /* [n] */
};

static void load_again(void *context, int64_t chunk, int worker) {
    struct again *again = context;
    size_t photo = (size_t)gr_shape_size(again->input);
    (void)worker;
    if (load(again->loader, again->cache, again->loader->batch.samples[chunk], again->input,
             again->preprocessing, again->x + (size_t)chunk * photo))
        again->errors[chunk] = *gr_error();
}

int gr_loader_input(struct gr_loader *loader, struct gr_shape input,
                    const struct gr_preprocessing *preprocessing, float *x) {
    int n = loader->batch.n;
    if (n == 0)
        return gr_fail(GR_ERROR_OPTION, "there is no current batch");
    struct again again = {loader, NULL, input, preprocessing, x, NULL};
    GR_TRY(gr_keep_open(&again.cache, loader->set->data, input, preprocessing, loader->options.augment));
    again.errors = gr_calloc((size_t)n, sizeof *again.errors);
    if (!again.errors)
        return GR_ERROR_MEMORY;
    gr_parallel(n, load_again, &again);
    int status = GR_OK;
    for (int i = 0; !status && i < n; i++)
        if (again.errors[i].code)
            status = gr_error_restore(&again.errors[i]);
    gr_free(again.errors);
    float weight = mixing(loader, loader->batch.number);
    if (!status && weight < 1)
        mix(weight, n, (size_t)gr_shape_size(input), x);
    return status;
}

/* ---- life ---- */

void gr_loader_order(const struct gr_set *set, bool shuffle, uint64_t seed, uint64_t fit, uint64_t epoch,
                     int64_t *order) {
    if (set->count > 0)
        memcpy(order, set->samples, (size_t)set->count * sizeof *order);
    if (shuffle) {
        struct gr_random random = gr_random(seed, GR_RANDOM_SHUFFLE, fit, epoch, 0);
        gr_random_shuffle(&random, order, set->count);
    }
}

static int check_options(const struct gr_loader_options *options) {
    if (options->batch_size < 1)
        return gr_fail(GR_ERROR_OPTION, "batch_size must be at least 1, not %d", options->batch_size);
    if (options->skip < 0)
        return gr_fail(GR_ERROR_OPTION, "no batch before the first can be skipped");
    if ((options->input.c != 1 && options->input.c != 3) || options->input.w < 1 || options->input.h < 1)
        return gr_fail(GR_ERROR_SHAPE, "photos become [3,H,W] or [1,H,W], not [%d,%d,%d]", options->input.c,
                       options->input.h, options->input.w);
    if (options->rows && gr_augment_any(options->augment))
        return gr_fail(GR_ERROR_OPTION, "kept features cannot be augmented");
    return options->augment ? gr_augment_check(options->augment) : GR_OK;
}

static int make_half(struct gr_loader *loader, struct half *half) {
    size_t rows = (size_t)loader->options.batch_size, classes = (size_t)loader->classes, floats;
    half->number = -1;
    if (!gr_size_multiply(rows, loader->photo, &floats))
        return gr_fail(GR_ERROR_LIMIT, "batches of %d photos of %zu numbers are too large",
                       loader->options.batch_size, loader->photo);
    half->x = gr_calloc(floats, sizeof *half->x);
    half->y = gr_calloc((rows + 1) * classes, sizeof *half->y);
    half->samples = gr_calloc(rows, sizeof *half->samples);
    half->slots = gr_calloc(rows, sizeof *half->slots);
    if (!half->x || !half->y || !half->samples || !half->slots)
        return GR_ERROR_MEMORY;
    for (size_t i = 0; i < rows; i++) {
        struct slot *slot = &half->slots[i];
        slot->task.run = run_slot;
        slot->loader = loader;
        slot->x = half->x + i * loader->photo;
    }
    return GR_OK;
}

int gr_loader_open(struct gr_loader **out, const struct gr_set *set,
                   const struct gr_loader_options *options) {
    *out = NULL;
    GR_TRY(check_options(options));
    if (options->rows && options->rows->data != set->data)
        return gr_fail(GR_ERROR_OPTION, "the kept features are of another data set than %s", set->data->name);
    if (options->rows && options->view > options->rows->views)
        return gr_fail(GR_ERROR_OPTION, "%llu views are kept, there is no view %llu",
                       (unsigned long long)options->rows->views, (unsigned long long)options->view);
    struct gr_loader *loader = gr_calloc(1, sizeof *loader);
    if (!loader)
        return GR_ERROR_MEMORY;
    loader->set = set;
    loader->options = *options;
    loader->preprocessing = *options->preprocessing;
    loader->options.preprocessing = &loader->preprocessing;
    loader->classes = set->data->class_count;
    loader->photo = options->rows ? options->rows->floats : (size_t)gr_shape_size(options->input);
    loader->halves[0].number = loader->halves[1].number = -1;
    if (gr_augment_any(options->augment)) {
        loader->augment = *options->augment;
        loader->options.augment = &loader->augment;
    } else {
        loader->options.augment = NULL;
    }
    if (loader->options.batch_size > set->count)
        loader->options.batch_size = set->count > 0 ? (int)set->count : 1;
    int size = loader->options.batch_size;
    loader->batches = (set->count + (options->drop_last ? 0 : size - 1)) / size;
    loader->next = options->skip;
    loader->order = gr_calloc((size_t)set->count + 1, sizeof *loader->order);
    int status = loader->order ? GR_OK : GR_ERROR_MEMORY;
    if (!status && options->columns) {
        loader->columns = gr_calloc((size_t)loader->classes + 1, sizeof *loader->columns);
        if (loader->columns)
            memcpy(loader->columns, options->columns, (size_t)loader->classes * sizeof *loader->columns);
        status = loader->columns ? GR_OK : GR_ERROR_MEMORY;
    }
    loader->options.columns = loader->columns;
    if (!status)
        status = gr_keep_open(&loader->cache, set->data, options->input, &loader->preprocessing,
                              loader->options.augment);
    for (int i = 0; !status && i < 2; i++)
        status = make_half(loader, &loader->halves[i]);
    if (status) {
        gr_loader_close(loader);
        return status;
    }
    gr_loader_order(set, options->shuffle, options->seed, options->fit, options->epoch, loader->order);
    submit(loader, &loader->halves[1]);
    *out = loader;
    return GR_OK;
}

int64_t gr_loader_batches(const struct gr_loader *loader) {
    return loader->batches;
}

void gr_loader_close(struct gr_loader *loader) {
    if (!loader)
        return;
    atomic_store(&loader->cancelled, true);
    for (int i = 0; i < 2; i++) {
        struct half *half = &loader->halves[i];
        wait_for(half);
        gr_free(half->slots);
        gr_free(half->x);
        gr_free(half->y);
        gr_free(half->samples);
    }
    gr_free(loader->columns);
    gr_free(loader->order);
    gr_free(loader);
}
