#include "train/frozen.h"

#include "base/digest.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/threads.h"

#include <stdio.h>
#include <string.h>

enum { BATCH = 8 };

/* ---- what it is ---- */

/* Marks what the cut is made of. */
static bool *mark_prefix(const struct gr_frozen *prefix) {
    const struct gr_network *net = prefix->net;
    bool *marks = gr_calloc((size_t)net->layer_count, sizeof *marks);
    for (int i = 0; marks && i < prefix->layer_count; i++)
        marks[prefix->layers[i]->index] = true;
    for (int i = net->layer_count - 1; marks && i > 0; i--)
        for (int j = 0; marks[i] && j < net->layers[i]->input_count; j++)
            marks[net->layers[i]->inputs[j]->index] = true;
    return marks;
}

/* Sizes at the cut for photos of this size: those that a plan would have. */
static int measure(struct gr_frozen *prefix) {
    struct gr_plan_request request = {.capacity = 1,
                                      .input = prefix->input,
                                      .outputs = prefix->layers,
                                      .output_count = prefix->layer_count};
    struct gr_plan *plan = NULL;
    GR_TRY(gr_plan_create(&plan, prefix->net, &request));
    for (int i = 0; i < prefix->layer_count; i++)
        prefix->floats += (size_t)gr_shape_size(gr_plan_output_shape(plan, i));
    gr_plan_free(plan);
    return GR_OK;
}

int gr_frozen_find(struct gr_frozen *out, struct gr_network *net, struct gr_shape input) {
    *out = (struct gr_frozen){
        .net = net, .version = net->version, .input = input.c ? input : net->input, .lasting = true};
    out->layers = gr_calloc((size_t)net->layer_count, sizeof *out->layers);
    if (!out->layers)
        return GR_ERROR_MEMORY;
    GR_TRY(gr_plan_cut(net, out->layers, &out->layer_count));
    if (out->layer_count == 0)
        return GR_OK;
    bool *marks = mark_prefix(out);
    if (!marks)
        return GR_ERROR_MEMORY;
    bool own_size = out->input.h == net->input.h && out->input.w == net->input.w;
    for (int i = 0; i < net->layer_count; i++)
        out->lasting &= !(marks[i] && (net->layers[i]->kind->traits & GR_TRAIT_MAIN_THREAD));
    gr_free(marks);
    for (int i = 0; own_size && i < out->layer_count; i++)
        out->floats += (size_t)gr_shape_size(out->layers[i]->shape);
    return own_size ? GR_OK : measure(out);
}

void gr_frozen_clear(struct gr_frozen *prefix) {
    gr_free(prefix->layers);
    gr_free(prefix->ranges);
    *prefix = (struct gr_frozen){0};
}

int gr_frozen_check(const struct gr_frozen *prefix, struct gr_shape input, enum gr_precision precision) {
    if (prefix->version != prefix->net->version)
        return gr_fail(GR_ERROR_OPTION, "%s was changed since the output of its frozen part was kept",
                       prefix->net->name);
    if (prefix->input.c != input.c || prefix->input.h != input.h || prefix->input.w != input.w)
        return gr_fail(GR_ERROR_SHAPE, "the kept output is of photos [%d,%d,%d], not [%d,%d,%d]",
                       prefix->input.c, prefix->input.h, prefix->input.w, input.c, input.h, input.w);
    if (prefix->precision != precision)
        return gr_fail(GR_ERROR_OPTION, "the kept output was computed in %s, not in %s",
                       gr_precision_name(prefix->precision), gr_precision_name(precision));
    return GR_OK;
}

int gr_frozen_feeds(const struct gr_frozen *prefix, const struct gr_layer *layer, bool *feeds) {
    bool *had = gr_calloc((size_t)prefix->net->layer_count, sizeof *had);
    if (!had)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < prefix->layer_count; i++)
        had[prefix->layers[i]->index] = true;
    for (int i = 1; i <= layer->index; i++) { /* the photo itself is not to be had from a row */
        const struct gr_layer *above = prefix->net->layers[i];
        bool all = true;
        for (int j = 0; j < above->input_count; j++)
            all &= had[above->inputs[j]->index];
        had[i] |= all;
    }
    *feeds = had[layer->index];
    gr_free(had);
    return GR_OK;
}

/* ---- its digest ---- */

static void add_text(struct gr_digest *digest, const char *text) {
    gr_digest_add(digest, text, strlen(text) + 1);
}

static int add_layer(struct gr_digest *digest, const struct gr_layer *layer) {
    cJSON *options = gr_options_write(layer->kind->options, layer->options);
    char *text = options ? cJSON_PrintUnformatted(options) : NULL;
    int status = text ? GR_OK : gr_fail(GR_ERROR_MEMORY, "no memory for the options of %s", layer->name);
    add_text(digest, layer->name);
    add_text(digest, layer->kind->name);
    if (text)
        add_text(digest, text);
    for (int j = 0; j < layer->input_count; j++)
        add_text(digest, layer->inputs[j]->name);
    for (int p = 0; !status && p < layer->param_count; p++) {
        struct gr_tensor packed = {0};
        status = gr_tensor_pack(&packed, &layer->params[p].tensor);
        add_text(digest, layer->params[p].name);
        if (!status)
            gr_digest_add(digest, gr_tensor_data(&packed), gr_tensor_bytes(&packed));
        gr_tensor_release(&packed);
    }
    cJSON_free(text);
    cJSON_Delete(options);
    return status;
}

int gr_frozen_digest(const struct gr_frozen *prefix, const char *version, char hex[65]) {
    struct gr_preprocessing p =
        gr_preprocessing_for(&prefix->net->preprocessing, prefix->net->input, prefix->input);
    struct gr_digest digest;
    char line[256];
    bool *marks = mark_prefix(prefix);
    int status = marks ? GR_OK : GR_ERROR_MEMORY;
    gr_digest_start(&digest);
    snprintf(line, sizeof line, "%s %s %s %d %d %d", version, gr_simd_name(), gr_blas_name(), gr_threads(),
             BATCH, prefix->net->exact + 2 * prefix->net->reference);
    add_text(&digest, line);
    if (prefix->precision != GR_FLOAT32) {
        snprintf(line, sizeof line, "%s %d", gr_precision_name(prefix->precision),
                 gr_precision_native(prefix->precision));
        add_text(&digest, line);
    }
    snprintf(line, sizeof line, "%d %d %d %d %d %d %d %a %a %a %a %a %a", prefix->input.c, prefix->input.h,
             prefix->input.w, p.resize, p.stretch, (int)p.interpolation, p.bgr, (double)p.mean[0],
             (double)p.mean[1], (double)p.mean[2], (double)p.std[0], (double)p.std[1], (double)p.std[2]);
    add_text(&digest, line);
    for (int i = 1; !status && i < prefix->net->layer_count; i++)
        if (marks[i])
            status = add_layer(&digest, prefix->net->layers[i]);
    if (prefix->ranges)
        gr_digest_add(&digest, prefix->ranges, (size_t)prefix->net->layer_count * sizeof *prefix->ranges);
    for (int i = 0; i < prefix->layer_count; i++)
        add_text(&digest, prefix->layers[i]->name);
    gr_digest_hex(&digest, hex);
    gr_free(marks);
    return status;
}

/* ---- running it ---- */

void gr_frozen_give(const struct gr_frozen *prefix, struct gr_plan *plan, int n, const float *rows) {
    size_t first = 0;
    for (int i = 0; i < prefix->layer_count; i++) {
        size_t floats = (size_t)gr_shape_size(gr_plan_given_shape(plan, i));
        float *to = gr_plan_given(plan, i);
        for (int photo = 0; photo < n; photo++)
            memcpy(to + (size_t)photo * floats, rows + (size_t)photo * prefix->floats + first,
                   floats * sizeof *to);
        first += floats;
    }
}

int gr_frozen_batch(const struct gr_set *set) {
    return set->count < 1 ? 1 : set->count < BATCH ? (int)set->count : BATCH;
}

struct gr_frozen_pass {
    const struct gr_frozen *prefix;
    struct gr_plan *plan;
    struct gr_loader *loader;
    int capacity;
    float *rows; /* [capacity, floats] */
    struct gr_batch batch;
};

void gr_frozen_close(struct gr_frozen_pass *pass) {
    if (!pass)
        return;
    gr_loader_close(pass->loader);
    gr_plan_free(pass->plan);
    gr_free(pass->rows);
    gr_free(pass);
}

int gr_frozen_open(struct gr_frozen_pass **out, const struct gr_frozen *prefix, const struct gr_set *set,
                   const struct gr_frozen_view *view, const int *columns) {
    struct gr_preprocessing preprocessing =
        gr_preprocessing_for(&prefix->net->preprocessing, prefix->net->input, prefix->input);
    struct gr_loader_options loading = {.input = prefix->input,
                                        .preprocessing = &preprocessing,
                                        .batch_size = gr_frozen_batch(set),
                                        .columns = columns};
    struct gr_plan_request request = {.capacity = loading.batch_size,
                                      .input = prefix->input,
                                      .precision = prefix->precision,
                                      .ranges = prefix->ranges,
                                      .measure = prefix->measure,
                                      .outputs = prefix->layers,
                                      .output_count = prefix->layer_count,
                                      .lean = true};
    size_t floats;
    *out = NULL;
    if (view) {
        loading.augment = view->augment;
        loading.seed = view->seed;
        loading.view = view->view;
        loading.once = view->once;
    }
    if (!gr_size_multiply(prefix->floats, (size_t)request.capacity, &floats))
        return gr_fail(GR_ERROR_LIMIT, "%d rows of %zu numbers are too large", request.capacity,
                       prefix->floats);
    struct gr_frozen_pass *pass = gr_calloc(1, sizeof *pass);
    if (!pass)
        return GR_ERROR_MEMORY;
    pass->prefix = prefix;
    pass->capacity = request.capacity;
    pass->rows = gr_calloc(floats, sizeof *pass->rows);
    int status = pass->rows ? gr_plan_create(&pass->plan, prefix->net, &request) : GR_ERROR_MEMORY;
    if (!status)
        status = gr_loader_open(&pass->loader, set, &loading);
    if (status)
        gr_frozen_close(pass);
    else
        *out = pass;
    return status;
}

int gr_frozen_next(void *from, const struct gr_batch **batch) {
    struct gr_frozen_pass *pass = from;
    const struct gr_frozen *prefix = pass->prefix;
    const struct gr_batch *photos;
    size_t photo = (size_t)gr_shape_size(prefix->input), first = 0;
    *batch = NULL;
    GR_TRY(gr_loader_next(pass->loader, &photos));
    if (!photos)
        return GR_OK;
    memcpy(gr_plan_input(pass->plan), photos->x, (size_t)photos->n * photo * sizeof(float));
    memset(gr_plan_input(pass->plan) + (size_t)photos->n * photo, 0,
           (size_t)(pass->capacity - photos->n) * photo * sizeof(float));
    GR_TRY(gr_plan_forward(pass->plan, pass->capacity, NULL));
    for (int l = 0; l < prefix->layer_count; l++) {
        size_t floats = (size_t)gr_shape_size(gr_plan_output_shape(pass->plan, l));
        for (int i = 0; i < photos->n; i++)
            memcpy(pass->rows + (size_t)i * prefix->floats + first,
                   gr_plan_output(pass->plan, l) + (size_t)i * floats, floats * sizeof(float));
        first += floats;
    }
    pass->batch = *photos;
    pass->batch.x = pass->rows;
    *batch = &pass->batch;
    return GR_OK;
}

/* ---- calibration ---- */

static int measure_ranges(struct gr_frozen *prefix, const struct gr_set *set, struct gr_range *ranges) {
    struct gr_frozen exact = *prefix; /* lends its layers */
    struct gr_frozen_pass *pass = NULL;
    const struct gr_batch *batch;
    exact.precision = GR_FLOAT32;
    exact.ranges = NULL;
    exact.measure = true;
    int status = gr_frozen_open(&pass, &exact, set, NULL, NULL);
    if (!status)
        gr_plan_measure(pass->plan, ranges);
    while (!status && !(status = gr_frozen_next(pass, &batch)) && batch)
        continue;
    gr_frozen_close(pass);
    return status;
}

/* One photo of each of `count` equal parts of the list. A listing goes class by class, so its first photos
 * could be of one class alone; in the parts chance draws, since a listing of other origin could repeat
 * itself. */
static int calibration_set(struct gr_set **out, struct gr_dataset *data, int64_t count) {
    const struct gr_set *train = data->sets[GR_TRAIN];
    int64_t samples[GR_CALIBRATION_PHOTOS];
    struct gr_random random =
        gr_random(0, GR_RANDOM_SAMPLE, gr_hash("calibration"), (uint64_t)train->count, 0);
    for (int64_t i = 0; i < count; i++) {
        int64_t whole = train->count / count, rest = train->count % count;
        int64_t first = i * whole + (i < rest ? i : rest), size = whole + (i < rest);
        samples[i] = train->samples[first + gr_random_below(&random, size)];
    }
    return gr_set_create(out, data, GR_TRAIN, samples, count);
}

int gr_frozen_calibrate(struct gr_frozen *prefix, struct gr_dataset *data) {
    const struct gr_set *train = data->sets[GR_TRAIN];
    struct gr_set *drawn = NULL;
    if (prefix->precision != GR_INT8 || prefix->ranges)
        return GR_OK;
    if (train->count < 1)
        return gr_fail(GR_ERROR_DATA, "%s: int8 is calibrated on photos to train on, and there are none",
                       data->name);
    int64_t count = train->count < GR_CALIBRATION_PHOTOS ? train->count : GR_CALIBRATION_PHOTOS;
    GR_TRY(calibration_set(&drawn, data, count));
    struct gr_range *ranges = gr_calloc((size_t)prefix->net->layer_count, sizeof *ranges);
    int status = ranges ? measure_ranges(prefix, drawn, ranges) : GR_ERROR_MEMORY;
    gr_set_free(drawn);
    if (status)
        gr_free(ranges);
    else
        prefix->ranges = ranges;
    return status;
}
