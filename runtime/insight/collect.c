#include "insight/collect.h"

#include "base/memory.h"
#include "base/status.h"

#include <limits.h>
#include <string.h>

int gr_pooled_size(struct gr_shape shape, struct gr_pooled_as as, int *size) {
    int64_t times = 1;
    *size = 0;
    if (!shape.flat && as.pooling == GR_POOL_AVG_MAX)
        times = 2;
    if (!shape.flat && as.pooling == GR_POOL_GRID) {
        if (as.grid < 1 || as.grid > shape.h || as.grid > shape.w)
            return gr_fail(GR_ERROR_OPTION,
                           "a grid must have 1 to %d cells a side for features of %d x %d pixels, got %d",
                           shape.h < shape.w ? shape.h : shape.w, shape.h, shape.w, as.grid);
        times = (int64_t)as.grid * as.grid;
    }
    if (times * shape.c > INT_MAX / (int)sizeof(float))
        return gr_fail(GR_ERROR_LIMIT, "%lld features a photo are too many", (long long)(times * shape.c));
    *size = (int)(times * shape.c);
    return GR_OK;
}

/* Mean over the pixels of a cell. */
static float mean_of(const float *x, int64_t pixel, int w, int top, int bottom, int left, int right) {
    double sum = 0;
    for (int y = top; y < bottom; y++)
        for (int i = left; i < right; i++)
            sum += (double)x[((int64_t)y * w + i) * pixel];
    return (float)(sum / ((double)(bottom - top) * (right - left)));
}

static float largest_of(const float *x, int64_t pixel, int64_t pixels) {
    float most = x[0];
    for (int64_t i = 1; i < pixels; i++)
        most = x[i * pixel] > most ? x[i * pixel] : most;
    return most;
}

static void pool_grid(struct gr_shape shape, int grid, const float *x, int64_t channel, int64_t pixel,
                      float *row) {
    for (int gy = 0; gy < grid; gy++)
        for (int gx = 0; gx < grid; gx++)
            for (int c = 0; c < shape.c; c++)
                *row++ = mean_of(x + c * channel, pixel, shape.w, gy * shape.h / grid,
                                 ((gy + 1) * shape.h + grid - 1) / grid, gx * shape.w / grid,
                                 ((gx + 1) * shape.w + grid - 1) / grid);
}

void gr_pool_row(struct gr_shape shape, struct gr_pooled_as as, const float *x, int64_t channel,
                 int64_t pixel, float *row) {
    if (shape.flat) {
        for (int c = 0; c < shape.c; c++)
            row[c] = x[c * channel];
        return;
    }
    if (as.pooling == GR_POOL_GRID) {
        pool_grid(shape, as.grid, x, channel, pixel, row);
        return;
    }
    if (as.pooling != GR_POOL_MAX)
        for (int c = 0; c < shape.c; c++)
            *row++ = mean_of(x + c * channel, pixel, shape.w, 0, shape.h, 0, shape.w);
    if (as.pooling != GR_POOL_AVG)
        for (int c = 0; c < shape.c; c++)
            *row++ = largest_of(x + c * channel, pixel, (int64_t)shape.h * shape.w);
}

struct pass {
    struct gr_collect *collect;
    int64_t total;
};

/* Room for the whole set, once the shapes are known. */
static int make_room(const struct pass *pass, const struct gr_output_batch *batch) {
    struct gr_collect *collect = pass->collect;
    for (int i = 0; i < collect->layer_count; i++) {
        struct gr_collected *of = &collect->layers[i];
        size_t floats;
        int status = gr_pooled_size(batch->shape[i], collect->as, &of->features);
        if (status)
            return gr_fail_in("%s", of->layer->name);
        if (!gr_size_multiply((size_t)pass->total, (size_t)of->features, &floats))
            return gr_fail(GR_ERROR_LIMIT, "%s: %d features of %lld photos are too many", of->layer->name,
                           of->features, (long long)pass->total);
        of->rows = gr_calloc(floats, sizeof *of->rows);
        if (!of->rows)
            return gr_fail(GR_ERROR_MEMORY, "no memory for %d features of %lld photos at %s", of->features,
                           (long long)pass->total, of->layer->name);
    }
    return GR_OK;
}

static int take(void *payload, const struct gr_output_batch *batch) {
    const struct pass *pass = payload;
    struct gr_collect *collect = pass->collect;
    if (collect->count == 0)
        GR_TRY(make_room(pass, batch));
    for (int i = 0; i < collect->layer_count; i++) {
        struct gr_collected *of = &collect->layers[i];
        struct gr_shape shape = batch->shape[i];
        for (int j = 0; j < batch->n; j++)
            gr_pool_row(shape, collect->as, batch->output[i] + j * gr_shape_size(shape), 1, shape.c,
                        of->rows + (collect->count + j) * of->features);
    }
    memcpy(collect->samples + collect->count, batch->samples, (size_t)batch->n * sizeof *batch->samples);
    collect->count += batch->n;
    return collect->progress ? collect->progress(collect->payload, collect->count, pass->total) : GR_OK;
}

int gr_collect_run(struct gr_collect *collect, struct gr_network *net, const struct gr_set *set,
                   const struct gr_outputs_options *options) {
    struct pass pass = {collect, set->count};
    struct gr_outputs_options own = *options;
    struct gr_layer **layers = gr_calloc((size_t)collect->layer_count + 1, sizeof(struct gr_layer *));
    collect->samples = gr_calloc((size_t)set->count + 1, sizeof *collect->samples);
    collect->count = 0;
    own.each = take;
    own.payload = &pass;
    int status = GR_OK;
    if (!layers || !collect->samples)
        status = gr_fail(GR_ERROR_MEMORY, "no memory for the features of %lld photos", (long long)set->count);
    for (int i = 0; i < collect->layer_count && !status; i++)
        layers[i] = collect->layers[i].layer;
    if (!status)
        status = gr_outputs(net, set, layers, collect->layer_count, &own);
    gr_free(layers);
    return status;
}

void gr_collect_clear(struct gr_collect *collect) {
    for (int i = 0; i < collect->layer_count; i++) {
        gr_free(collect->layers[i].rows);
        collect->layers[i].rows = NULL;
    }
    gr_free(collect->samples);
    collect->samples = NULL;
}
