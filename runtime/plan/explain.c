/* explain: the plan as rows for a person, one a layer of the network. */
#include "plan/internal.h"

#include "base/status.h"

#include <stdio.h>
#include <string.h>

/* The step that does this layer's work, or NULL. */
static const struct gr_step *step_of(const struct gr_plan *plan, const struct gr_layer *layer) {
    for (int i = 0; i < plan->step_count; i++) {
        const struct gr_step *step = &plan->steps[i];
        if (!step->dropped &&
            (step->layer == layer || step->norm == layer || step->add == layer || step->activation == layer))
            return step;
    }
    return NULL;
}

static const char *kernel_of(const struct gr_plan *plan, const struct gr_layer *layer,
                             const struct gr_step *step) {
    if (!step)
        return plan->values[layer->index].reached ? "-" : "(not run)";
    if (step->layer == layer && step->within != GR_NONE)
        return "(fused)";
    if (step->layer == layer)
        return step->deferred ? "(on load)" : step->kernel_name;
    return step->norm == layer ? "(folded)" : "(fused)";
}

/* Adds what the step's kernel was chosen from, the fastest first, as `candidates` and as the text `why`. */
static bool add_choice(const struct gr_plan *plan, const struct gr_step *step, cJSON *row) {
    char text[256] = "";
    int length = 0;
    bool told[GR_MAX_KERNELS] = {false};
    cJSON *list = cJSON_AddArrayToObject(row, "candidates");
    for (int rank = 0; list && rank < step->choice_count; rank++) {
        int next = -1;
        for (int i = 0; i < step->choice_count; i++)
            if (!told[i] && (next < 0 || step->choices[i].seconds < step->choices[next].seconds))
                next = i;
        told[next] = true;
        const struct gr_kernel_choice *choice = &step->choices[next];
        cJSON *candidate = cJSON_CreateObject();
        if (!candidate || !cJSON_AddItemToArray(list, candidate) ||
            !cJSON_AddStringToObject(candidate, "kernel", choice->name) ||
            !cJSON_AddNumberToObject(candidate, "ms", 1000 * choice->seconds))
            return false;
        if (length < (int)sizeof text)
            length += snprintf(text + length, sizeof text - (size_t)length, "%s%s %.2g ms", rank ? ", " : "",
                               choice->name, 1000 * choice->seconds);
    }
    if (step->choice_count == 1 && length < (int)sizeof text)
        snprintf(text + length, sizeof text - (size_t)length, ", the only %skernel for it",
                 plan->request.exact ? "exact " : "");
    length = (int)strlen(text);
    if (step->block_seconds[0] > 0 && step->before == GR_NONE)
        snprintf(text + length, sizeof text - (size_t)length,
                 "; in one pass with the convolutions before it %.2g ms, apart %.2g ms",
                 1000 * step->block_seconds[0], 1000 * step->block_seconds[1]);
    return list && cJSON_AddStringToObject(row, "why", text);
}

static bool add_why(const struct gr_plan *plan, const struct gr_layer *layer, const struct gr_step *step,
                    cJSON *row) {
    char text[256];
    if (step && step->layer == layer && !step->deferred && step->within == GR_NONE && step->choice_count > 0)
        return add_choice(plan, step, row);
    if (!step)
        snprintf(text, sizeof text, "%s",
                 plan->values[layer->index].reached ? "it passes its input on or is given"
                                                    : "nothing that is wanted depends on it");
    else if (step->within != GR_NONE && step->norm != layer)
        snprintf(text, sizeof text, "in the same pass as %s", plan->steps[step->within].layer->name);
    else if (step->layer != layer)
        snprintf(text, sizeof text,
                 step->norm == layer ? "part of the weights of %s" : "in the same pass as %s",
                 step->layer->name);
    else
        snprintf(text, sizeof text, "%s",
                 step->deferred ? "applied by the convolutions that read it" : "its only kernel");
    return cJSON_AddStringToObject(row, "why", text);
}

static int64_t parameters_of(const struct gr_layer *layer) {
    int64_t count = 0;
    for (int p = 0; p < layer->param_count; p++)
        if (!layer->params[p].buffer)
            count += gr_tensor_count(&layer->params[p].tensor);
    return count;
}

static bool holds_statistics(const struct gr_layer *layer) {
    return layer->kind->affine && gr_layer_param(layer, "running_mean");
}

static bool add_shape(cJSON *row, struct gr_shape shape) {
    cJSON *list = cJSON_AddArrayToObject(row, "shape");
    bool done = list && cJSON_AddItemToArray(list, cJSON_CreateNumber(shape.c));
    if (done && !shape.flat)
        done = cJSON_AddItemToArray(list, cJSON_CreateNumber(shape.h)) &&
               cJSON_AddItemToArray(list, cJSON_CreateNumber(shape.w));
    return done;
}

static bool explain_layer(const struct gr_plan *plan, const struct gr_layer *layer, cJSON *row) {
    int64_t parameters = parameters_of(layer);
    const struct gr_step *step = step_of(plan, layer);
    bool trained = plan->request.training && !layer->frozen && parameters > 0;
    struct gr_shape shape =
        plan->values[layer->index].reached ? plan->values[layer->index].shape : layer->shape;
    bool done = cJSON_AddStringToObject(row, "name", layer->name) &&
                cJSON_AddStringToObject(row, "kind", layer->kind->name) && add_shape(row, shape) &&
                cJSON_AddNumberToObject(row, "parameters", (double)parameters) &&
                cJSON_AddBoolToObject(row, "trainable", !layer->frozen && parameters > 0) &&
                cJSON_AddBoolToObject(row, "cached", false) &&
                cJSON_AddStringToObject(row, "kernel", kernel_of(plan, layer, step)) &&
                add_why(plan, layer, step, row);
    if (done && plan->values[layer->index].stash != GR_NONE)
        done = cJSON_AddStringToObject(row, "stash", "bf16") != NULL;
    if (done && trained)
        done = cJSON_AddNumberToObject(row, "lr_scale", layer->lr_scale) != NULL;
    if (done && holds_statistics(layer))
        done = cJSON_AddStringToObject(row, "batch_norm",
                                       layer->frozen || layer->fixed_norm ? "fixed" : "train") != NULL;
    if (done && parameters > 0)
        done = cJSON_AddStringToObject(row, "source", layer->source ? layer->source : "new, random") != NULL;
    return done;
}

cJSON *gr_plan_explain(const struct gr_plan *plan) {
    cJSON *rows = cJSON_CreateArray();
    for (int i = 1; rows && i < plan->net->layer_count; i++) {
        cJSON *row = cJSON_CreateObject();
        if (!row || !cJSON_AddItemToArray(rows, row) || !explain_layer(plan, plan->net->layers[i], row)) {
            cJSON_Delete(rows);
            gr_fail(GR_ERROR_MEMORY, "out of memory while explaining the plan of %s", plan->net->name);
            return NULL;
        }
    }
    return rows;
}
