#include "train/outputs.h"

#include "base/status.h"

#include <string.h>

struct run {
    struct gr_network *net;
    const struct gr_frozen *prefix; /* batches are rows of it; NULL: photos */
    const struct gr_range *ranges;  /* for int8 */
    struct gr_plan *plan;
    const struct gr_outputs_options *options;
};

static int make_plan(struct run *run, struct gr_layer *layer, struct gr_shape input, int capacity) {
    struct gr_plan_request request = {
        .capacity = capacity, .input = input, .outputs = &layer, .output_count = 1};
    request.precision = run->options->precision;
    request.ranges = run->ranges;
    if (run->prefix) {
        request.inputs = run->prefix->layers;
        request.input_count = run->prefix->layer_count;
    }
    return gr_plan_create(&run->plan, run->net, &request);
}

static int run_batch(const struct run *run, struct gr_shape input, const struct gr_batch *batch) {
    if (run->prefix)
        gr_frozen_give(run->prefix, run->plan, batch->n, batch->x);
    else
        memcpy(gr_plan_input(run->plan), batch->x,
               (size_t)batch->n * (size_t)gr_shape_size(input) * sizeof *batch->x);
    GR_TRY(gr_plan_forward(run->plan, batch->n, NULL));
    return run->options->each(run->options->payload, batch->n, gr_plan_output_shape(run->plan, 0),
                              gr_plan_output(run->plan, 0), batch->samples);
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

int gr_outputs(struct gr_network *net, const struct gr_set *set, struct gr_layer *layer,
               const struct gr_outputs_options *options) {
    struct gr_frozen prefix = {0};
    struct run run = {.net = net, .options = options};
    struct gr_shape input = options->input.c ? options->input : net->input;
    const struct gr_features *features = options->features;
    bool feeds = false;
    int status = gr_frozen_find(&prefix, net, input);
    prefix.precision = options->precision;
    if (!status && prefix.layer_count > 0)
        status = gr_frozen_feeds(&prefix, layer, &feeds);
    if (!status && prefix.layer_count > 0 && !features)
        status = gr_frozen_calibrate(&prefix, set->data);
    if (!status && features)
        status = gr_frozen_check(&features->prefix, input, options->precision);
    run.prefix = feeds ? &prefix : NULL;
    run.ranges = features ? features->prefix.ranges : prefix.ranges;
    if (!status)
        status = make_plan(&run, layer, input, gr_frozen_batch(set));
    if (!status && feeds && !features)
        status = from_pass(&run, set);
    else if (!status)
        status = from_loader(&run, set, input, feeds ? &features->rows : NULL);
    gr_plan_free(run.plan);
    gr_frozen_clear(&prefix);
    return status;
}
