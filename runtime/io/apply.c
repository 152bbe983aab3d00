#include "io/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"

enum { NAMED = 5 }; /* names that a message lists */

/* A tensor of the file under the name that it has in the network. */
struct offer {
    char *name;
    const struct gr_weight *weight;
    bool used;
};

/* A parameter that will be overwritten. */
struct match {
    struct gr_layer *layer;
    struct gr_param *param;
    struct gr_tensor tensor; /* of the parameter's dtype */
};

struct work {
    struct gr_network *net;
    const struct gr_weights *weights;
    const struct gr_apply_options *options;
    struct offer *offers; /* sorted by name */
    struct match *matches;
    int offer_count, match_count, param_count;
    struct gr_apply_report *report;
    char **sources;                      /* one for each layer, or NULL */
    struct gr_text missing, other_shape; /* the first ones that forbid the load */
    int missing_count, other_shape_count;
};

/* --- lists of names --- */

static int names_reserve(struct gr_names *names, int most) {
    names->names = gr_calloc((size_t)most, sizeof *names->names);
    return names->names ? GR_OK : GR_ERROR_MEMORY;
}

static int names_add(struct gr_names *names, const char *name) {
    char *copy = gr_strdup(name);
    if (!copy)
        return GR_ERROR_MEMORY;
    names->names[names->count++] = copy;
    return GR_OK;
}

static void names_clear(struct gr_names *names) {
    for (int i = 0; i < names->count; i++)
        gr_free(names->names[i]);
    gr_free(names->names);
    *names = (struct gr_names){0};
}

void gr_apply_report_clear(struct gr_apply_report *report) {
    names_clear(&report->missing);
    names_clear(&report->unused);
    names_clear(&report->other_shape);
    report->applied = 0;
}

/* One more for a message: only the first few are written out. */
static void list_add(struct gr_text *list, int *count, const char *text) {
    char shown[192];
    if ((*count)++ < NAMED)
        gr_text_add(list, "%s%s", *count > 1 ? ", " : "", gr_printable(text, shown, sizeof shown));
}

/* --- names --- */

static char *mapped_name(const struct gr_apply_options *options, const char *name) {
    for (int i = 0; i < options->prefix_count; i++) {
        const struct gr_prefix *prefix = &options->prefixes[i];
        size_t length = strlen(prefix->file);
        if (strncmp(name, prefix->file, length) != 0)
            continue;
        struct gr_text text = {0};
        gr_text_add(&text, "%s%s", prefix->network, name + length);
        if (gr_text_status(&text) != 0)
            gr_text_free(&text);
        return text.bytes;
    }
    return gr_strdup(name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct offer *)a)->name, ((const struct offer *)b)->name);
}

static int make_offers(struct work *work) {
    const struct gr_weights *weights = work->weights;
    char shown[128];
    work->offers = gr_calloc((size_t)weights->count, sizeof *work->offers);
    if (!work->offers)
        return GR_ERROR_MEMORY;
    for (; work->offer_count < weights->count; work->offer_count++) {
        struct offer *offer = &work->offers[work->offer_count];
        offer->weight = &weights->items[work->offer_count];
        offer->name = mapped_name(work->options, offer->weight->name);
        if (!offer->name)
            return gr_error()->code;
    }
    qsort(work->offers, (size_t)work->offer_count, sizeof *work->offers, by_name);
    for (int i = 1; i < work->offer_count; i++)
        if (strcmp(work->offers[i - 1].name, work->offers[i].name) == 0)
            return gr_fail(GR_ERROR_NAME, "after the change of prefixes two tensors are called \"%s\"",
                           gr_printable(work->offers[i].name, shown, sizeof shown));
    return GR_OK;
}

/* --- matching --- */

static bool may_differ(const struct work *work, const struct gr_layer *layer) {
    return (layer->head && work->options->allow_head_mismatch) ||
           (layer->aux && work->options->allow_missing_aux);
}

/* Files from before 2018 lack the counter of batches, which only says how long a norm was trained. */
static bool is_counter(const struct gr_param *param) {
    return strcmp(param->role, "num_batches_tracked") == 0;
}

static int note_missing(struct work *work, const struct gr_layer *layer, const struct gr_param *param) {
    if (is_counter(param))
        return GR_OK;
    if (!may_differ(work, layer))
        list_add(&work->missing, &work->missing_count, param->name);
    return names_add(&work->report->missing, param->name);
}

static int note_shape(struct work *work, const struct gr_layer *layer, const struct gr_param *param,
                      const struct gr_tensor *came) {
    char file[96], network[96];
    struct gr_text text = {0};
    gr_text_add(&text, "%s: %s in the file, %s in the network", param->name,
                gr_format_shape(came->rank, came->shape, file),
                gr_format_shape(param->tensor.rank, param->tensor.shape, network));
    int status = gr_text_status(&text);
    if (!status && !may_differ(work, layer))
        list_add(&work->other_shape, &work->other_shape_count, text.bytes);
    if (!status)
        status = names_add(&work->report->other_shape, text.bytes);
    gr_text_free(&text);
    return status;
}

static bool fits(const struct gr_param *param, const struct gr_tensor *came) {
    return gr_tensor_same_shape(&param->tensor, came) || (is_counter(param) && gr_tensor_count(came) == 1);
}

static int match_param(struct work *work, struct gr_layer *layer, struct gr_param *param) {
    struct offer wanted = {.name = param->name};
    struct offer *offer =
        bsearch(&wanted, work->offers, (size_t)work->offer_count, sizeof *work->offers, by_name);
    if (!offer)
        return note_missing(work, layer, param);
    offer->used = true;
    const struct gr_tensor *came = &offer->weight->tensor;
    if (!fits(param, came))
        return note_shape(work, layer, param, came);
    struct match *match = &work->matches[work->match_count];
    int status = came->dtype == param->tensor.dtype
                     ? gr_tensor_pack(&match->tensor, came)
                     : gr_tensor_cast(&match->tensor, came, param->tensor.dtype);
    if (status)
        return gr_fail_in("tensor \"%s\"", param->name);
    match->layer = layer;
    match->param = param;
    work->match_count++;
    return GR_OK;
}

static int match_all(struct work *work) {
    const struct gr_network *net = work->net;
    for (int i = 0; i < net->layer_count; i++)
        work->param_count += net->layers[i]->param_count;
    work->matches = gr_calloc((size_t)work->param_count, sizeof *work->matches);
    if (!work->matches)
        return GR_ERROR_MEMORY;
    GR_TRY(names_reserve(&work->report->missing, work->param_count));
    GR_TRY(names_reserve(&work->report->other_shape, work->param_count));
    GR_TRY(names_reserve(&work->report->unused, work->weights->count));
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++)
            GR_TRY(match_param(work, net->layers[i], &net->layers[i]->params[j]));
    for (int i = 0; i < work->offer_count; i++)
        if (!work->offers[i].used)
            GR_TRY(names_add(&work->report->unused, work->offers[i].weight->name));
    return GR_OK;
}

/* --- the decision --- */

static int no_match(const struct work *work) {
    const struct gr_network *net = work->net;
    char shown[128] = "none";
    const char *own = "none";
    for (int i = net->layer_count - 1; i >= 0; i--)
        if (net->layers[i]->param_count)
            own = net->layers[i]->params[0].name;
    if (work->weights->count)
        gr_printable(work->weights->items[0].name, shown, sizeof shown);
    return gr_fail(
        GR_ERROR_NAME,
        "no tensor of the file fits %s: the network's first is \"%s\", the file's first is \"%s\"; another "
        "architecture?",
        net->name, own, shown);
}

static int decide(const struct work *work) {
    char more[48] = "";
    GR_TRY(gr_text_status(&work->missing));
    GR_TRY(gr_text_status(&work->other_shape));
    if (work->match_count == 0 && work->param_count > 0)
        return no_match(work);
    if (work->missing_count) {
        if (work->missing_count > NAMED)
            snprintf(more, sizeof more, " and %d more", work->missing_count - NAMED);
        return gr_fail(GR_ERROR_NAME,
                       "%d of the %d tensors of %s are not in the file and would stay random: %s%s",
                       work->missing_count, work->param_count, work->net->name, work->missing.bytes, more);
    }
    if (work->other_shape_count) {
        if (work->other_shape_count > NAMED)
            snprintf(more, sizeof more, " and %d more", work->other_shape_count - NAMED);
        return gr_fail(GR_ERROR_SHAPE, "%s%s", work->other_shape.bytes, more);
    }
    return GR_OK;
}

/* --- carrying it out --- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static const char *source_name(const struct work *work) {
    if (work->options->source)
        return work->options->source;
    return work->weights->path ? base_name(work->weights->path) : "memory";
}

static int make_sources(struct work *work) {
    work->sources = gr_calloc((size_t)work->net->layer_count, sizeof *work->sources);
    if (!work->sources)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < work->match_count; i++) {
        char **source = &work->sources[work->matches[i].layer->index];
        if (!*source && !(*source = gr_strdup(source_name(work))))
            return GR_ERROR_MEMORY;
    }
    return GR_OK;
}

/* Puts the values into the parameter: the tensor itself where the list gives its tensors away and nothing can
 * have kept the address of the parameter's own, else a copy. */
static void put(const struct work *work, struct gr_param *param, struct gr_tensor *from) {
    if (work->options->take && work->net->deferred && gr_tensor_same_shape(&param->tensor, from)) {
        gr_tensor_release(&param->tensor);
        param->tensor = *from;
        work->net->version++; /* plans compiled before know the old address */
        *from = (struct gr_tensor){0};
    } else {
        memcpy(gr_tensor_data(&param->tensor), gr_tensor_data(from), gr_tensor_bytes(from));
    }
    gr_param_touch(param);
}

/* Cannot fail: everything was allocated before. */
static void carry_out(struct work *work) {
    for (int i = 0; i < work->match_count; i++)
        put(work, work->matches[i].param, &work->matches[i].tensor);
    for (int i = 0; i < work->net->layer_count; i++) {
        if (!work->sources[i])
            continue;
        gr_free(work->net->layers[i]->source);
        work->net->layers[i]->source = work->sources[i];
        work->sources[i] = NULL;
    }
    gr_network_draw(work->net); /* what the file had no values for */
    work->report->applied = work->match_count;
}

static void work_clear(struct work *work) {
    for (int i = 0; i < work->offer_count; i++)
        gr_free(work->offers[i].name);
    for (int i = 0; i < work->match_count; i++)
        gr_tensor_release(&work->matches[i].tensor);
    for (int i = 0; work->sources && i < work->net->layer_count; i++)
        gr_free(work->sources[i]);
    gr_free(work->offers);
    gr_free(work->matches);
    gr_free(work->sources);
    gr_text_free(&work->missing);
    gr_text_free(&work->other_shape);
}

int gr_apply_tensors(struct gr_network *net, const struct gr_weights *weights,
                     const struct gr_apply_options *options, struct gr_apply_report *report) {
    static const struct gr_apply_options strict = {0};
    struct gr_apply_report own = {0};
    struct work work = {.net = net,
                        .weights = weights,
                        .options = options ? options : &strict,
                        .report = report ? report : &own};
    *work.report = (struct gr_apply_report){0};
    int status = make_offers(&work);
    if (!status)
        status = match_all(&work);
    if (!status)
        status = decide(&work);
    if (!status)
        status = make_sources(&work);
    if (!status)
        carry_out(&work);
    work_clear(&work);
    gr_apply_report_clear(&own);
    return status;
}

int gr_apply_note(struct gr_network *net, const char *key, const char *value) {
    cJSON *item = cJSON_CreateString(value);
    cJSON_DeleteItemFromObjectCaseSensitive(net->metadata, key);
    if (item && cJSON_AddItemToObject(net->metadata, key, item))
        return GR_OK;
    cJSON_Delete(item);
    return gr_fail(GR_ERROR_MEMORY, "out of memory while noting where the weights came from");
}

/* Where the weights came from, for the files that will be made of them. */
static int note_origin(struct gr_network *net, const struct gr_weights *weights) {
    static const char *const kept[][2] = {
        {"licence", "weights.licence"}, {"license", "weights.licence"}, {"source", "weights.source"}};
    if (weights->path) {
        GR_TRY(gr_apply_note(net, "weights.file", base_name(weights->path)));
        GR_TRY(gr_apply_note(net, "weights.sha256", weights->sha256));
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *value = gr_weights_get(weights, kept[i][0]);
        if (value)
            GR_TRY(gr_apply_note(net, kept[i][1], value));
    }
    return GR_OK;
}

int gr_weights_apply(struct gr_network *net, const struct gr_weights *weights,
                     const struct gr_apply_options *options, struct gr_apply_report *report) {
    struct gr_apply_report own = {0};
    if (!report)
        report = &own;
    *report = (struct gr_apply_report){0};
    int status = gr_apply_tensors(net, weights, options, report);
    if (status && weights->path)
        gr_fail_in("%s", weights->path);
    if (!status)
        status = note_origin(net, weights);
    gr_apply_report_clear(&own);
    return status;
}
