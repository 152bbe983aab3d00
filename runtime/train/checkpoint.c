#include "train/checkpoint.h"

#include "base/memory.h"
#include "base/status.h"
#include "io/model.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char training_key[] = "graft.training";
enum { NAME_SIZE = 320 };

/* "optimizer.momentum:fc.weight" */
static const char *state_name(const char *what, const char *tensor, char out[NAME_SIZE]) {
    snprintf(out, NAME_SIZE, "optimizer.%s:%s", what, tensor);
    return out;
}

/* --- saving --- */

static int add_slot(struct gr_weights *weights, const struct gr_optimizer *optimizer,
                    const struct gr_slot *slot) {
    const char *names[GR_MAX_MOMENTS];
    char name[NAME_SIZE];
    struct gr_tensor steps = {0};
    int64_t one = 1;
    int moments = gr_optimizer_moments(gr_optimizer_options(optimizer), names);
    for (int i = 0; i < moments; i++)
        GR_TRY(gr_weights_add(weights, state_name(names[i], slot->name, name), &slot->moments[i]));
    GR_TRY(gr_tensor_create(&steps, GR_I64, 1, &one));
    *gr_tensor_integers(&steps) = slot->steps;
    int status = gr_weights_add(weights, state_name("steps", slot->name, name), &steps);
    gr_tensor_release(&steps);
    return status;
}

static bool put(cJSON *object, const char *key, cJSON *value) {
    if (value && cJSON_AddItemToObject(object, key, value))
        return true;
    cJSON_Delete(value);
    return false;
}

/* Whole 64-bit numbers, which JSON's would round. */
static bool put_whole(cJSON *object, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return put(object, key, cJSON_CreateString(text));
}

/* A number twice: for people, and bit by bit, since JSON's digits are not enough to be the same again. */
static bool put_exact(cJSON *object, const char *key, const char *bits_key, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return put(object, key, cJSON_CreateNumber(value)) && put_whole(object, bits_key, bits);
}

static cJSON *describe(const struct gr_trainer *trainer, const struct gr_progress *progress) {
    const struct gr_trainer_options *options = gr_trainer_options(trainer);
    cJSON *object = cJSON_CreateObject();
    if (object && put_whole(object, "step", (uint64_t)gr_trainer_steps(trainer)) &&
        put_whole(object, "epoch", (uint64_t)progress->epoch) &&
        put_whole(object, "batch", (uint64_t)progress->batch) && put_whole(object, "seed", options->seed) &&
        put_whole(object, "fit", options->fit) &&
        put_whole(object, "best_epoch", (uint64_t)progress->best_epoch) &&
        (isnan(progress->best) || put_exact(object, "best", "best_bits", progress->best)) &&
        put(object, "lr", cJSON_CreateNumber(gr_trainer_base_lr(trainer))) &&
        put(object, "optimizer", gr_optimizer_describe(&options->optimizer)) &&
        (!progress->record || put(object, "record", cJSON_Duplicate(progress->record, true))))
        return object;
    cJSON_Delete(object);
    gr_fail(GR_ERROR_MEMORY, "out of memory while writing a checkpoint");
    return NULL;
}

static int add_description(struct gr_weights *weights, const struct gr_trainer *trainer,
                           const struct gr_progress *progress) {
    cJSON *object = describe(trainer, progress);
    if (!object)
        return GR_ERROR_MEMORY;
    char *text = cJSON_PrintUnformatted(object);
    int status = text ? gr_weights_set(weights, training_key, text)
                      : gr_fail(GR_ERROR_MEMORY, "out of memory while writing a checkpoint");
    cJSON_free(text);
    cJSON_Delete(object);
    return status;
}

/* Adds the optimiser's state and the description to a list that holds the model. */
static int add_training(struct gr_weights *weights, const struct gr_trainer *trainer,
                        const struct gr_progress *progress) {
    int count;
    const struct gr_optimizer *optimizer = gr_trainer_optimizer(trainer);
    struct gr_slot *const *slots = gr_optimizer_slots(optimizer, &count);
    for (int i = 0; i < count; i++)
        GR_TRY(add_slot(weights, optimizer, slots[i]));
    return add_description(weights, trainer, progress);
}

int gr_checkpoint_save(const struct gr_trainer *trainer, const struct gr_progress *progress,
                       const char *path) {
    struct gr_weights *weights;
    GR_TRY(gr_model_pack(&weights, gr_trainer_network(trainer), true));
    int status = add_training(weights, trainer, progress);
    if (!status)
        status = gr_weights_write(weights, path);
    gr_weights_free(weights);
    return status;
}

static int own_slot(struct gr_weights *weights, const struct gr_optimizer *optimizer,
                    const struct gr_slot *slot) {
    const char *names[GR_MAX_MOMENTS];
    char name[NAME_SIZE];
    int moments = gr_optimizer_moments(gr_optimizer_options(optimizer), names);
    for (int i = 0; i < moments; i++)
        GR_TRY(gr_weights_own(weights, state_name(names[i], slot->name, name)));
    return GR_OK;
}

int gr_checkpoint_hold(struct gr_weights **out, const struct gr_trainer *trainer,
                       const struct gr_progress *progress) {
    const struct gr_optimizer *optimizer = gr_trainer_optimizer(trainer);
    int count;
    struct gr_slot *const *slots = gr_optimizer_slots(optimizer, &count);
    *out = NULL;
    GR_TRY(gr_model_hold(out, gr_trainer_network(trainer)));
    int status = add_training(*out, trainer, progress);
    for (int i = 0; !status && i < count; i++)
        status = own_slot(*out, optimizer, slots[i]);
    if (status) {
        gr_weights_free(*out);
        *out = NULL;
    }
    return status;
}

/* --- loading: first everything is checked, then everything is copied --- */

static int wrong(const char *key) {
    return gr_fail(GR_ERROR_FILE, "its record of the training has no usable \"%s\"", key);
}

static int get_whole(const cJSON *object, const char *key, uint64_t *out) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    int read = 0;
    if (!cJSON_IsString(item) || sscanf(item->valuestring, "%" SCNu64 "%n", out, &read) != 1 ||
        item->valuestring[read])
        return wrong(key);
    return GR_OK;
}

static int get_count(const cJSON *object, const char *key, int64_t *out) {
    uint64_t value;
    GR_TRY(get_whole(object, key, &value));
    if (value > INT64_MAX / 2)
        return wrong(key);
    *out = (int64_t)value;
    return GR_OK;
}

/* The same seed, fit and kind of optimiser, or the training would not go on but be another one. */
static int check_training(const struct gr_trainer *trainer, const cJSON *object) {
    const struct gr_trainer_options *options = gr_trainer_options(trainer);
    uint64_t seed, fit;
    GR_TRY(get_whole(object, "seed", &seed));
    GR_TRY(get_whole(object, "fit", &fit));
    if (seed != options->seed || fit != options->fit)
        return gr_fail(GR_ERROR_OPTION,
                       "it belongs to fit %" PRIu64 " with seed %" PRIu64 ", not to fit %" PRIu64
                       " with seed %" PRIu64,
                       fit, seed, options->fit, options->seed);
    const cJSON *then = cJSON_GetObjectItemCaseSensitive(object, "optimizer");
    cJSON *now = gr_optimizer_describe(&options->optimizer);
    if (!now)
        return GR_ERROR_MEMORY;
    bool same = cJSON_Compare(then, now, true);
    cJSON_Delete(now);
    return same ? GR_OK
                : gr_fail(GR_ERROR_OPTION, "it was written with another optimizer, or other options of it");
}

static int check_tensor(const struct gr_weights *weights, const char *name, const struct gr_tensor *like,
                        const struct gr_weight **out) {
    const struct gr_weight *weight = gr_weights_find(weights, name);
    char there[96], here[96];
    if (!weight)
        return gr_fail(GR_ERROR_NAME, "it has no tensor \"%s\"", name);
    if (weight->tensor.dtype != like->dtype || !gr_tensor_same_shape(&weight->tensor, like))
        return gr_fail(GR_ERROR_SHAPE, "its tensor \"%s\" is %s, but here it is %s", name,
                       gr_format_shape(weight->tensor.rank, weight->tensor.shape, there),
                       gr_format_shape(like->rank, like->shape, here));
    *out = weight;
    return GR_OK;
}

static void copy(const struct gr_tensor *to, const struct gr_tensor *from) {
    memcpy(gr_tensor_data(to), gr_tensor_data(from), gr_tensor_bytes(to));
}

/* Checks every tensor of the network against the file, or (`apply`) copies them. */
static int take_network(struct gr_network *net, const struct gr_weights *weights, bool apply) {
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++) {
            struct gr_param *param = &net->layers[i]->params[j];
            const struct gr_weight *weight;
            GR_TRY(check_tensor(weights, param->name, &param->tensor, &weight));
            if (!apply)
                continue;
            copy(&param->tensor, &weight->tensor);
            gr_param_touch(param);
        }
    return GR_OK;
}

/* The same for the state of one parameter; a slot that the file does not know starts anew. */
static int take_slot(struct gr_slot *slot, const struct gr_weights *weights, const char *const *names,
                     int moments, bool apply) {
    char name[NAME_SIZE];
    const struct gr_weight *steps = gr_weights_find(weights, state_name("steps", slot->name, name)), *weight;
    if (!steps) {
        for (int i = 0; apply && i < moments; i++)
            memset(gr_tensor_data(&slot->moments[i]), 0, gr_tensor_bytes(&slot->moments[i]));
        if (apply)
            slot->steps = 0;
        return GR_OK;
    }
    if (steps->tensor.dtype != GR_I64 || gr_tensor_count(&steps->tensor) != 1 ||
        *gr_tensor_integers(&steps->tensor) < 0)
        return gr_fail(GR_ERROR_FILE, "its tensor \"%s\" must be one number", name);
    for (int i = 0; i < moments; i++) {
        GR_TRY(check_tensor(weights, state_name(names[i], slot->name, name), &slot->moments[i], &weight));
        if (apply)
            copy(&slot->moments[i], &weight->tensor);
    }
    if (apply)
        slot->steps = *gr_tensor_integers(&steps->tensor);
    return GR_OK;
}

/* Makes slots for all parameters of the network whose state is in the file. */
static int make_slots(struct gr_trainer *trainer, const struct gr_weights *weights) {
    const struct gr_network *net = gr_trainer_network(trainer);
    char name[NAME_SIZE];
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++) {
            const struct gr_param *param = &net->layers[i]->params[j];
            struct gr_slot *slot;
            if (gr_weights_find(weights, state_name("steps", param->name, name)))
                GR_TRY(gr_optimizer_slot(gr_trainer_optimizer(trainer), param, &slot));
        }
    return GR_OK;
}

static int take_slots(struct gr_trainer *trainer, const struct gr_weights *weights, bool apply) {
    const struct gr_optimizer *optimizer = gr_trainer_optimizer(trainer);
    const char *names[GR_MAX_MOMENTS];
    int count, moments = gr_optimizer_moments(gr_optimizer_options(optimizer), names);
    struct gr_slot *const *slots = gr_optimizer_slots(optimizer, &count);
    for (int i = 0; i < count; i++)
        GR_TRY(take_slot(slots[i], weights, names, moments, apply));
    return GR_OK;
}

/* What the record says besides the tensors. */
struct record {
    int64_t step;
    double lr;
    struct gr_progress progress;
};

static int read_record(const cJSON *object, struct record *out) {
    const cJSON *lr = cJSON_GetObjectItemCaseSensitive(object, "lr");
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(object, "record");
    *out = (struct record){.progress.best = NAN};
    GR_TRY(get_count(object, "step", &out->step));
    GR_TRY(get_count(object, "epoch", &out->progress.epoch));
    GR_TRY(get_count(object, "batch", &out->progress.batch));
    GR_TRY(get_count(object, "best_epoch", &out->progress.best_epoch));
    if (!cJSON_IsNumber(lr) || !(lr->valuedouble > 0) || !isfinite((float)lr->valuedouble))
        return wrong("lr");
    out->lr = lr->valuedouble;
    if (cJSON_GetObjectItemCaseSensitive(object, "best_bits")) {
        uint64_t bits;
        GR_TRY(get_whole(object, "best_bits", &bits));
        memcpy(&out->progress.best, &bits, sizeof bits);
    }
    if (record && !(out->progress.record = cJSON_Duplicate(record, true)))
        return gr_fail(GR_ERROR_MEMORY, "out of memory while reading a checkpoint");
    return GR_OK;
}

static int take(struct gr_trainer *trainer, const struct gr_weights *weights, const cJSON *object,
                struct gr_progress *progress) {
    struct record record;
    if (!cJSON_IsObject(object))
        return gr_fail(GR_ERROR_FILE, "it is no checkpoint of a training");
    GR_TRY(check_training(trainer, object));
    GR_TRY(take_network(gr_trainer_network(trainer), weights, false));
    GR_TRY(make_slots(trainer, weights));
    GR_TRY(take_slots(trainer, weights, false));
    GR_TRY(read_record(object, &record));
    take_network(gr_trainer_network(trainer), weights, true);
    take_slots(trainer, weights, true);
    gr_trainer_set_steps(trainer, record.step);
    gr_trainer_set_lr(trainer, (float)record.lr);
    *progress = record.progress;
    return GR_OK;
}

int gr_checkpoint_load(struct gr_trainer *trainer, const char *path, struct gr_progress *progress) {
    struct gr_weights *weights;
    GR_TRY(gr_weights_read(&weights, path));
    const char *text = gr_weights_get(weights, training_key);
    cJSON *object = text ? cJSON_Parse(text) : NULL;
    int status = take(trainer, weights, object, progress);
    if (status)
        gr_fail_in("%s", path);
    cJSON_Delete(object);
    gr_weights_free(weights);
    return status;
}
