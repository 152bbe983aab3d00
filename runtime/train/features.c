#include "train/features.h"

#include "base/digest.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* A place is a block and a row in it. */
enum { ROW_BITS = 40 };

static int64_t place_of(int block, int64_t row) {
    return (int64_t)block << ROW_BITS | row;
}

static int read_place(const struct gr_rows *rows, int64_t place, float *out) {
    const struct gr_features *features = rows->payload;
    return gr_feature_block_read(features->blocks[place >> ROW_BITS], place & (((int64_t)1 << ROW_BITS) - 1),
                                 out);
}

void gr_features_free(struct gr_features *features) {
    if (!features)
        return;
    for (int i = 0; features->blocks && i < features->block_count; i++)
        gr_feature_block_release(features->blocks[i]);
    gr_free(features->blocks);
    gr_free((void *)features->rows.places);
    gr_frozen_clear(&features->prefix);
    gr_free(features);
}

/* ---- blocks ---- */

/* One block to be had. */
struct wanted {
    const struct gr_set *set;
    uint64_t view;
    bool once; /* no other block is of these photos */
    char key[65];
};

struct making {
    struct gr_features *features;
    const struct gr_features_options *options;
    struct wanted *wanted; /* [features->block_count] */
    char prefix[65];
    bool to_file;        /* what is computed goes into files */
    int64_t done, total; /* rows to be computed */
};

/* All that chance depends on, exactly. */
static void add_chance(struct gr_text *text, const struct gr_augment *a, uint64_t seed) {
    const float numbers[] = {a->scale[0],   a->scale[1], a->ratio[0],   a->ratio[1], a->hflip,   a->degrees,
                             a->brightness, a->contrast, a->saturation, a->hue,      a->erasing, a->mixup};
    gr_text_add(text, " seed %llu crop %d", (unsigned long long)seed, a->crop);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        gr_text_add(text, " %a", (double)numbers[i]);
}

/* A view's chance depends on the photo's number, so that is a part of its key. */
static int set_key(struct making *m, struct wanted *w) {
    const struct gr_dataset *data = w->set->data;
    const struct gr_features_options *o = m->options;
    struct gr_digest digest;
    struct gr_text text = {0};
    gr_text_add(&text, "rows of %s, %lld photos %dx%d, view %llu", m->prefix, (long long)w->set->count,
                data->width, data->height, (unsigned long long)w->view);
    if (w->view && o->augment)
        add_chance(&text, o->augment, o->seed);
    if (gr_text_status(&text)) {
        gr_text_free(&text);
        return GR_ERROR_MEMORY;
    }
    gr_digest_start(&digest);
    gr_digest_add(&digest, text.bytes, text.length);
    for (int64_t i = 0; i < w->set->count; i++) {
        const struct gr_sample *sample = &data->samples[w->set->samples[i]];
        gr_digest_add(&digest, sample->hash, sizeof sample->hash);
        if (w->view)
            gr_digest_add(&digest, &w->set->samples[i], sizeof *w->set->samples);
    }
    gr_digest_hex(&digest, w->key);
    gr_text_free(&text);
    return GR_OK;
}

/* Photos without a row in a found block could not be read when it was made. They are tried and listed, as a
 * pass would do; *same false: one can be read now. */
static int check_missing(const struct gr_feature_block *block, const struct gr_set *set, bool *same) {
    *same = true;
    for (int64_t i = 0; *same && i < block->count; i++) {
        struct gr_image image = {0};
        const char *file = set->data->samples[set->samples[i]].file;
        if (block->row_at[i] >= 0 || set->data->samples[set->samples[i]].broken)
            continue;
        int status = gr_data_read(set->data, set->samples[i], &image);
        gr_image_free(&image);
        *same = status == GR_ERROR_FILE || status == GR_ERROR_LIMIT;
        if (!*same)
            return status; /* 0, or memory */
        bool named = !strncmp(gr_error()->message, file, strlen(file));
        struct gr_error error = *gr_error();
        GR_TRY(gr_data_skip(set->data, set->samples[i], error.message + (named ? strlen(file) + 2 : 0)));
    }
    return GR_OK;
}

static char *path_of(const struct making *m, const struct wanted *w) {
    size_t size = strlen(m->options->folder) + 64;
    char *path = gr_alloc(size);
    if (path)
        snprintf(path, size, "%s/features-%.16s.rows", m->options->folder, w->key);
    return path;
}

/* Looks for block i in the store, then (unless only what is in the store counts) in the folder. */
static int look_for(struct making *m, int i) {
    struct gr_features *f = m->features;
    const struct gr_features_options *o = m->options;
    struct wanted *w = &m->wanted[i];
    bool same = true;
    GR_TRY(set_key(m, w));
    if (o->store && f->prefix.lasting)
        f->blocks[i] = gr_feature_store_find(o->store, w->key);
    if (!f->blocks[i] && o->folder && f->prefix.lasting && !o->only_found) {
        char *path = path_of(m, w);
        int status = path
                         ? gr_feature_block_open(&f->blocks[i], w->key, w->set->count, f->prefix.floats, path)
                         : GR_ERROR_MEMORY;
        gr_free(path);
        GR_TRY(status);
        if (f->blocks[i] && o->store)
            gr_feature_store_add(o->store, f->blocks[i]);
    }
    if (!f->blocks[i])
        return GR_OK;
    GR_TRY(check_missing(f->blocks[i], w->set, &same));
    if (!same) {
        gr_feature_block_release(f->blocks[i]);
        f->blocks[i] = NULL;
    }
    return GR_OK;
}

static int fill(struct making *m, const struct wanted *w, struct gr_feature_block *block) {
    const struct gr_features_options *o = m->options;
    struct gr_frozen_view view = {w->view ? o->augment : NULL, o->seed, w->view, w->once};
    struct gr_frozen_pass *pass = NULL;
    const struct gr_batch *batch;
    int64_t next = 0, *positions = gr_calloc((size_t)gr_frozen_batch(w->set), sizeof *positions);
    int status =
        positions ? gr_frozen_open(&pass, &m->features->prefix, w->set, &view, NULL) : GR_ERROR_MEMORY;
    while (!status && !(status = gr_frozen_next(pass, &batch)) && batch) {
        for (int i = 0; i < batch->n; i++) {
            while (w->set->samples[next] != batch->samples[i])
                next++;
            positions[i] = next++;
        }
        status = gr_feature_block_add(block, batch->n, positions, batch->x);
        m->done += batch->n;
        if (!status && o->progress)
            status = o->progress(o->payload, m->done, m->total);
    }
    gr_frozen_close(pass);
    gr_free(positions);
    return status ? status : gr_feature_block_finish(block);
}

/* Computes block i. */
static int compute(struct making *m, int i) {
    struct gr_features *f = m->features;
    const struct wanted *w = &m->wanted[i];
    char *path = m->to_file ? path_of(m, w) : NULL;
    if (m->to_file && !path)
        return GR_ERROR_MEMORY;
    int status = gr_feature_block_create(&f->blocks[i], w->key, w->set->count, f->prefix.floats, path);
    gr_free(path);
    GR_TRY(status);
    GR_TRY(fill(m, w, f->blocks[i]));
    if (m->options->store && f->prefix.lasting)
        gr_feature_store_add(m->options->store, f->blocks[i]);
    return GR_OK;
}

/* Finds or computes all blocks; *made false: not all can be had. */
static int make_blocks(struct making *m, bool *made) {
    struct gr_features *f = m->features;
    const struct gr_features_options *o = m->options;
    size_t fresh = 0, found = 0, row = f->prefix.floats * sizeof(float), bytes;
    *made = false;
    GR_TRY(gr_frozen_digest(&f->prefix, o->version ? o->version : "", m->prefix));
    for (int i = 0; i < f->block_count; i++) {
        GR_TRY(look_for(m, i));
        if (!gr_size_multiply((size_t)m->wanted[i].set->count, row, &bytes) ||
            !gr_size_add(f->bytes, bytes, &f->bytes))
            return GR_OK; /* larger than any budget */
        if (f->blocks[i]) {
            found += gr_feature_block_memory(f->blocks[i]);
            f->found += f->blocks[i]->rows;
        } else {
            fresh += bytes;
            m->total += m->wanted[i].set->count;
        }
    }
    if (fresh > 0 && (o->only_found || (fresh + found > o->budget && !o->folder)))
        return GR_OK;
    m->to_file = fresh + found > o->budget;
    if (o->store && !o->only_found)
        gr_feature_store_shrink(o->store, m->to_file ? o->budget : o->budget - fresh);
    for (int i = 0; i < f->block_count; i++)
        if (!f->blocks[i])
            GR_TRY(compute(m, i));
    *made = true;
    return GR_OK;
}

/* ---- rows for a loader ---- */

static int make_places(struct gr_features *f, const struct making *m) {
    const struct gr_dataset *data = m->wanted[0].set->data;
    size_t samples = (size_t)data->sample_count, planes = 1, count;
    for (int i = 0; i < f->block_count; i++)
        planes = m->wanted[i].view + 1 > planes ? m->wanted[i].view + 1 : planes;
    if (!gr_size_multiply(samples + 1, planes, &count))
        return gr_fail(GR_ERROR_LIMIT, "%zu views of %zu photos are too many", planes, samples);
    int64_t *places = gr_calloc(count, sizeof *places);
    if (!places)
        return GR_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++)
        places[i] = -1;
    f->bytes = 0;
    for (int b = 0; b < f->block_count; b++) {
        const struct gr_feature_block *block = f->blocks[b];
        const struct wanted *w = &m->wanted[b];
        f->photos += block->rows;
        f->bytes += (size_t)block->rows * f->prefix.floats * sizeof(float);
        f->in_file |= !block->values;
        for (int64_t i = 0; i < block->count; i++)
            if (block->row_at[i] >= 0)
                places[w->view * samples + (size_t)w->set->samples[i]] = place_of(b, block->row_at[i]);
    }
    f->rows = (struct gr_rows){.floats = f->prefix.floats,
                               .data = data,
                               .places = places,
                               .views = planes - 1,
                               .read = read_place,
                               .payload = f};
    return GR_OK;
}

static int make(struct making *m, const struct gr_features_part *parts, int part_count, bool *made) {
    struct gr_features *f = m->features;
    int next = 0;
    for (int i = 0; i < part_count; i++)
        f->block_count += parts[i].views > 0 ? parts[i].views : 1;
    f->blocks = gr_calloc((size_t)f->block_count, sizeof *f->blocks);
    m->wanted = gr_calloc((size_t)f->block_count, sizeof *m->wanted);
    if (!f->blocks || !m->wanted)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < part_count; i++) {
        int views = parts[i].views;
        for (int v = views > 0; v <= views; v++)
            m->wanted[next++] = (struct wanted){.set = parts[i].set, .view = (uint64_t)v, .once = views <= 1};
    }
    GR_TRY(make_blocks(m, made));
    return *made ? make_places(f, m) : GR_OK;
}

int gr_features_create(struct gr_features **out, struct gr_network *net, const struct gr_features_part *parts,
                       int part_count, const struct gr_features_options *options) {
    struct making making = {.options = options};
    bool made = false;
    int64_t photos = 0;
    *out = NULL;
    for (int i = 0; i < part_count; i++) {
        photos += parts[i].set->count;
        if (parts[i].set->data != parts[0].set->data)
            return gr_fail(GR_ERROR_OPTION, "kept features are of one data set, not of %s and %s",
                           parts[0].set->data->name, parts[i].set->data->name);
    }
    struct gr_features *f = making.features = gr_calloc(1, sizeof *f);
    if (!f)
        return GR_ERROR_MEMORY;
    int status = gr_frozen_find(&f->prefix, net, options->input);
    f->prefix.precision = options->precision;
    bool any = f->prefix.layer_count > 0 && photos > 0;
    if (!status && any)
        status = gr_frozen_calibrate(&f->prefix, parts[0].set->data);
    if (!status && any)
        status = make(&making, parts, part_count, &made);
    gr_free(making.wanted);
    if (status || !made)
        gr_features_free(f);
    else
        *out = f;
    return status;
}
