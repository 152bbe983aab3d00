#include "train/outputs.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>

struct run {
    struct gr_network *net;
    const struct gr_frozen *prefix; /* batches are rows of it; NULL: photos */
    const struct gr_range *ranges;  /* for int8 */
    struct gr_plan *plan;
    const struct gr_outputs_options *options;
    struct gr_shape *shapes;
    const float **outputs;
};

static int make_plan(struct run *run, struct gr_layer *const *layers, int count, struct gr_shape input,
                     int capacity) {
    struct gr_plan_request request = {
        .capacity = capacity, .input = input, .outputs = layers, .output_count = count};
    request.precision = run->options->precision;
    request.ranges = run->ranges;
    if (run->prefix) {
        request.inputs = run->prefix->layers;
        request.input_count = run->prefix->layer_count;
    }
    GR_TRY(gr_plan_create(&run->plan, run->net, &request));
    run->shapes = gr_calloc((size_t)count, sizeof *run->shapes);
    run->outputs = gr_calloc((size_t)count, sizeof *run->outputs);
    if (!run->shapes || !run->outputs)
        return gr_fail(GR_ERROR_MEMORY, "no memory for the outputs of %d layers", count);
    for (int i = 0; i < count; i++)
        run->shapes[i] = gr_plan_output_shape(run->plan, i);
    return GR_OK;
}

static int run_batch(const struct run *run, struct gr_shape input, const struct gr_batch *batch) {
    if (run->prefix)
        gr_frozen_give(run->prefix, run->plan, batch->n, batch->x);
    else
        memcpy(gr_plan_input(run->plan), batch->x,
               (size_t)batch->n * (size_t)gr_shape_size(input) * sizeof *batch->x);
    GR_TRY(gr_plan_forward(run->plan, batch->n, NULL));
    for (int i = 0; i < gr_plan_outputs(run->plan); i++)
        run->outputs[i] = gr_plan_output(run->plan, i);
    const struct gr_output_batch told = {batch->n, batch->samples, run->shapes, run->outputs};
    return run->options->each(run->options->payload, &told);
}

/* Rows that nobody has kept. */
static int from_pass(const struct run *run, const struct gr_set *set) {
    struct gr_frozen_pass *pass = NULL;
    const struct gr_batch *batch;
    int status = gr_frozen_open(&pass, run->prefix, set, NULL, NULL);
    while (!status && !(status = gr_frozen_next(pass, &batch)) && batch)
        status = run_batch(run, run->prefix->input, batch);
    gr_frozen_close(pass);
    return status;
}

/* Photos, or rows that are kept. */
static int from_loader(const struct run *run, const struct gr_set *set, struct gr_shape input,
                       const struct gr_rows *rows) {
    struct gr_preprocessing preprocessing =
        gr_preprocessing_for(&run->net->preprocessing, run->net->input, input);
    struct gr_loader_options loading = {
        .input = input, .preprocessing = &preprocessing, .batch_size = gr_frozen_batch(set), .rows = rows};
    struct gr_loader *loader = NULL;
    const struct gr_batch *batch;
    int status = gr_loader_open(&loader, set, &loading);
    while (!status && !(status = gr_loader_next(loader, &batch)) && batch)
        status = run_batch(run, input, batch);
    gr_loader_close(loader);
    return status;
}

/* Whether all layers can be computed from rows of the prefix. */
static int all_feed(const struct gr_frozen *prefix, struct gr_layer *const *layers, int count, bool *feeds) {
    *feeds = prefix->layer_count > 0;
    for (int i = 0; i < count && *feeds; i++)
        GR_TRY(gr_frozen_feeds(prefix, layers[i], feeds));
    return GR_OK;
}

int gr_outputs(struct gr_network *net, const struct gr_set *set, struct gr_layer *const *layers, int count,
               const struct gr_outputs_options *options) {
    struct gr_frozen prefix = {0};
    struct run run = {.net = net, .options = options};
    struct gr_shape input = options->input.c ? options->input : net->input;
    const struct gr_features *features = options->features;
    bool feeds = false;
    int status = gr_frozen_find(&prefix, net, input);
    prefix.precision = options->precision;
    if (!status)
        status = all_feed(&prefix, layers, count, &feeds);
    if (!status && prefix.layer_count > 0 && !features)
        status = gr_frozen_calibrate(&prefix, set->data);
    if (!status && features)
        status = gr_frozen_check(&features->prefix, input, options->precision);
    run.prefix = feeds ? &prefix : NULL;
    run.ranges = features ? features->prefix.ranges : prefix.ranges;
    if (!status)
        status = make_plan(&run, layers, count, input, gr_frozen_batch(set));
    if (!status && feeds && !features)
        status = from_pass(&run, set);
    else if (!status)
        status = from_loader(&run, set, input, feeds ? &features->rows : NULL);
    gr_plan_free(run.plan);
    gr_free(run.shapes);
    gr_free(run.outputs);
    gr_frozen_clear(&prefix);
    return status;
}
