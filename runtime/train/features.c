#include "train/features.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>

enum { DEFAULT_BATCH = 32 };

int gr_features_size(const struct gr_network *net, struct gr_layer **cut, int *count, size_t *bytes) {
    *bytes = 0;
    GR_TRY(gr_plan_cut(net, cut, count));
    for (int i = 0; i < *count; i++)
        *bytes += (size_t)gr_shape_size(cut[i]->shape) * sizeof(float);
    return GR_OK;
}

void gr_features_free(struct gr_features *features) {
    if (!features)
        return;
    gr_free((void *)features->rows.values);
    gr_free((void *)features->rows.row_of);
    gr_free(features->layers);
    gr_free(features);
}

bool gr_features_stale(const struct gr_features *features) {
    return features->version != features->net->version;
}

void gr_features_fill(const struct gr_features *features, struct gr_plan *plan, int n, const float *rows) {
    size_t first = 0;
    for (int i = 0; i < features->layer_count; i++) {
        size_t floats = (size_t)gr_shape_size(gr_plan_given_shape(plan, i));
        float *to = gr_plan_given(plan, i);
        for (int photo = 0; photo < n; photo++)
            memcpy(to + (size_t)photo * floats, rows + (size_t)photo * features->rows.floats + first,
                   floats * sizeof *to);
        first += floats;
    }
}

/* One pass over one set; *next is the next free row. */
static int run_set(struct gr_features *f, struct gr_plan *plan, const struct gr_set *set,
                   const struct gr_features_options *o, int64_t total, int64_t *next) {
    struct gr_network *net = f->net;
    struct gr_preprocessing preprocessing = gr_preprocessing_for(&net->preprocessing, net->input, f->input);
    struct gr_loader_options loading = {
        .input = f->input, .preprocessing = &preprocessing, .batch_size = o->batch_size};
    struct gr_loader *loader = NULL;
    const struct gr_batch *batch = NULL;
    size_t photo = (size_t)gr_shape_size(f->input);
    float *values = (float *)f->rows.values;
    int64_t *row_of = (int64_t *)f->rows.row_of;
    int status = gr_loader_open(&loader, set, &loading);
    while (!status && !(status = gr_loader_next(loader, &batch)) && batch) {
        memcpy(gr_plan_input(plan), batch->x, (size_t)batch->n * photo * sizeof(float));
        /* always the whole capacity: rows of a product can differ in bits between batch sizes */
        memset(gr_plan_input(plan) + (size_t)batch->n * photo, 0,
               (size_t)(o->batch_size - batch->n) * photo * sizeof(float));
        status = gr_plan_forward(plan, o->batch_size, NULL);
        for (int i = 0; !status && i < batch->n; i++, ++*next) {
            float *to = values + (size_t)*next * f->rows.floats;
            for (int l = 0; l < f->layer_count; l++) {
                size_t floats = (size_t)gr_shape_size(gr_plan_output_shape(plan, l));
                memcpy(to, gr_plan_output(plan, l) + (size_t)i * floats, floats * sizeof *to);
                to += floats;
            }
            row_of[batch->samples[i]] = *next;
        }
        if (!status && o->progress)
            status = o->progress(o->payload, *next, total);
    }
    gr_loader_close(loader);
    return status;
}

static int run_sets(struct gr_features *f, const struct gr_set *const *sets, int set_count,
                    const struct gr_features_options *o, int64_t total) {
    struct gr_plan_request request = {
        .capacity = o->batch_size, .input = f->input, .outputs = f->layers, .output_count = f->layer_count};
    struct gr_plan *plan = NULL;
    int64_t next = 0;
    int status = gr_plan_create(&plan, f->net, &request);
    for (int i = 0; !status && i < set_count; i++)
        status = run_set(f, plan, sets[i], o, total, &next);
    f->photos = next;
    gr_plan_free(plan);
    return status;
}

/* Room for the rows; *fits false when they are larger than the budget. */
static int reserve(struct gr_features *f, const struct gr_set *set, int64_t total, size_t budget,
                   bool *fits) {
    size_t samples = (size_t)set->data->sample_count, row = f->rows.floats * sizeof(float);
    *fits = gr_size_multiply((size_t)total, row, &f->bytes) && f->bytes <= budget;
    if (!*fits)
        return GR_OK;
    float *values = gr_alloc(f->bytes);
    int64_t *row_of = gr_calloc(samples + 1, sizeof *row_of);
    f->rows.data = set->data;
    f->rows.values = values;
    f->rows.row_of = row_of;
    if (!values || !row_of)
        return GR_ERROR_MEMORY;
    for (size_t i = 0; i < samples; i++)
        row_of[i] = -1;
    return GR_OK;
}

int gr_features_create(struct gr_features **out, struct gr_network *net, const struct gr_set *const *sets,
                       int set_count, const struct gr_features_options *options) {
    struct gr_features_options o = *options;
    bool fits = false;
    int64_t total = 0;
    *out = NULL;
    struct gr_features *f = gr_calloc(1, sizeof *f);
    if (!f)
        return GR_ERROR_MEMORY;
    f->net = net;
    f->version = net->version;
    f->input = o.input.c ? o.input : net->input;
    o.batch_size = o.batch_size > 0 ? o.batch_size : DEFAULT_BATCH;
    f->layers = gr_calloc((size_t)net->layer_count, sizeof *f->layers);
    for (int i = 0; i < set_count; i++)
        total += sets[i]->count;
    int status = f->layers ? gr_features_size(net, f->layers, &f->layer_count, &f->bytes) : GR_ERROR_MEMORY;
    f->rows.floats = f->bytes / sizeof(float);
    if (!status && f->layer_count > 0 && total > 0)
        status = reserve(f, sets[0], total, o.budget, &fits);
    if (!status && fits)
        status = run_sets(f, sets, set_count, &o, total);
    if (status || !fits)
        gr_features_free(f);
    else
        *out = f;
    return status;
}
