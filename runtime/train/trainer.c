#include "train/trainer.h"

#include "base/memory.h"
#include "base/status.h"
#include "kernels/elementwise.h"

#include <math.h>
#include <string.h>

/* One parameter that the plan in use trains. */
struct target {
    struct gr_param *param;
    const struct gr_layer *layer;
    struct gr_slot *slot;
    const float *gradient; /* the plan's, looked up once */
    double squares;        /* sum of them, of the last step */
};

/* A running statistic that a forward pass moves, and its value before the step. */
struct statistic {
    struct gr_param *param;
    struct gr_tensor before;
};

struct gr_trainer {
    struct gr_network *net;
    struct gr_trainer_options options;
    struct gr_frozen calibration; /* for steps on photos in int8 */
    struct gr_optimizer *optimizer;
    struct gr_plan *plan;               /* NULL: to be compiled */
    const struct gr_features *features; /* NULL: steps get photos */
    int capacity;
    struct gr_shape input;
    struct target *targets;
    int target_count;
    struct statistic *statistics;
    int statistic_count;
    double *losses;
    int loss_count;
    double norm;
    float lr;
    int64_t steps;
    int stashed;   /* activations that the last plan kept as copies */
    double rate;   /* of the step under way */
    bool at_once;  /* the plan's layers are updated in the backward pass */
    bool half_way; /* a step failed when some of them were */
};

int gr_trainer_create(struct gr_trainer **out, struct gr_network *net,
                      const struct gr_trainer_options *options) {
    if (!(options->clip >= 0) || !isfinite(options->clip))
        return gr_fail(GR_ERROR_OPTION, "clip must be 0 or more, not %g", (double)options->clip);
    if (options->steps < 0 || options->epoch_steps < 0 || options->capacity < 0)
        return gr_fail(GR_ERROR_OPTION, "steps and capacity must not be negative");
    GR_TRY(gr_loss_check(&options->loss, net->class_count));
    struct gr_trainer *trainer = gr_calloc(1, sizeof *trainer);
    if (!trainer)
        return GR_ERROR_MEMORY;
    trainer->net = net;
    trainer->stashed = -1;
    trainer->options = *options;
    trainer->lr = options->optimizer.lr;
    int status = gr_optimizer_create(&trainer->optimizer, &options->optimizer);
    if (status) {
        gr_free(trainer);
        return status;
    }
    *out = trainer;
    return GR_OK;
}

/* Releases what belongs to one compiled plan; the optimiser's state stays. */
static void drop_plan(struct gr_trainer *trainer) {
    for (int i = 0; i < trainer->statistic_count; i++)
        gr_tensor_release(&trainer->statistics[i].before);
    gr_plan_free(trainer->plan);
    gr_free(trainer->targets);
    gr_free(trainer->statistics);
    gr_free(trainer->losses);
    trainer->plan = NULL;
    trainer->targets = NULL;
    trainer->statistics = NULL;
    trainer->losses = NULL;
    trainer->target_count = trainer->statistic_count = trainer->loss_count = 0;
}

void gr_trainer_free(struct gr_trainer *trainer) {
    if (!trainer)
        return;
    drop_plan(trainer);
    gr_frozen_clear(&trainer->calibration);
    gr_optimizer_free(trainer->optimizer);
    gr_free(trainer);
}

/* Finds or makes the optimiser's state of everything that the plan trains. */
static int bind_targets(struct gr_trainer *trainer) {
    struct gr_param *const *params;
    struct gr_layer *const *layers;
    int count = gr_plan_trained(trainer->plan, &params, &layers);
    if (count == 0)
        return gr_fail(GR_ERROR_OPTION, "nothing to train: every layer of %s is frozen", trainer->net->name);
    trainer->targets = gr_calloc((size_t)count, sizeof *trainer->targets);
    if (!trainer->targets)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < count; i++) {
        struct target *target = &trainer->targets[i];
        target->param = params[i];
        target->layer = layers[i];
        target->gradient = gr_plan_gradient(trainer->plan, params[i]);
        GR_TRY(gr_optimizer_slot(trainer->optimizer, params[i], &target->slot));
    }
    trainer->target_count = count;
    trainer->loss_count = gr_plan_outputs(trainer->plan);
    trainer->losses = gr_calloc((size_t)trainer->loss_count, sizeof *trainer->losses);
    return trainer->losses ? GR_OK : GR_ERROR_MEMORY;
}

static int bind_statistics(struct gr_trainer *trainer) {
    const struct gr_network *net = trainer->net;
    size_t count = 0;
    for (int i = 0; i < net->layer_count; i++)
        count += (size_t)net->layers[i]->param_count;
    trainer->statistics = gr_calloc(count, sizeof *trainer->statistics);
    if (!trainer->statistics)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count && !net->layers[i]->frozen; j++) {
            struct gr_param *param = &net->layers[i]->params[j];
            if (!param->buffer)
                continue;
            struct statistic *statistic = &trainer->statistics[trainer->statistic_count++];
            statistic->param = param;
            GR_TRY(gr_tensor_copy(&statistic->before, &param->tensor));
        }
    return GR_OK;
}

int gr_trainer_calibrate(struct gr_trainer *trainer, struct gr_dataset *data, struct gr_shape input) {
    if (trainer->options.precision != GR_INT8)
        return GR_OK;
    gr_frozen_clear(&trainer->calibration);
    int status = gr_frozen_find(&trainer->calibration, trainer->net, input);
    trainer->calibration.precision = GR_INT8;
    return status || trainer->calibration.layer_count == 0 ? status
                                                           : gr_frozen_calibrate(&trainer->calibration, data);
}

/* In int8 on photos: gives the plan the ranges; without a frozen part there is nothing to be in int8. */
static int use_calibration(const struct gr_trainer *trainer, struct gr_shape input,
                           struct gr_plan_request *request) {
    const struct gr_frozen *known = &trainer->calibration;
    if (!known->net)
        return gr_fail(GR_ERROR_OPTION, "%s: training in int8 has to be calibrated first",
                       trainer->net->name);
    if (known->input.c != input.c || known->input.h != input.h || known->input.w != input.w)
        return gr_fail(GR_ERROR_SHAPE, "%s was calibrated for int8 on photos [%d,%d,%d], not [%d,%d,%d]",
                       trainer->net->name, known->input.c, known->input.h, known->input.w, input.c, input.h,
                       input.w);
    if (known->version != trainer->net->version)
        return gr_fail(GR_ERROR_OPTION, "%s was changed since it was calibrated for int8",
                       trainer->net->name);
    request->ranges = known->ranges;
    if (known->layer_count == 0)
        request->precision = GR_FLOAT32;
    return GR_OK;
}

static int update_at_once(void *payload, int trained);

/* Whether layers can be updated in the backward pass: nothing needs all gradients, and nothing is expected to
 * fail. */
static bool can_update_at_once(const struct gr_trainer *trainer) {
    bool can = trainer->options.at_once && trainer->options.clip <= 0;
    for (int i = 0; i < trainer->net->layer_count; i++)
        can &= !(trainer->net->layers[i]->kind->traits & GR_TRAIT_MAIN_THREAD);
    return can;
}

int gr_trainer_prepare(struct gr_trainer *trainer, int n, struct gr_shape input) {
    if (n < 1)
        return gr_fail(GR_ERROR_SHAPE, "a training step needs at least one photo");
    bool same = trainer->plan && !gr_plan_stale(trainer->plan) && trainer->input.c == input.c &&
                trainer->input.h == input.h && trainer->input.w == input.w;
    if (same && n <= trainer->capacity)
        return GR_OK;
    int capacity = n > trainer->options.capacity ? n : trainer->options.capacity;
    if (trainer->capacity > capacity)
        capacity = trainer->capacity;
    struct gr_plan_request request = {.capacity = capacity,
                                      .input = input,
                                      .training = true,
                                      .stash = trainer->options.stash,
                                      .precision = trainer->options.precision};
    if (trainer->features) {
        GR_TRY(gr_frozen_check(&trainer->features->prefix, input, trainer->options.precision));
        request.inputs = trainer->features->prefix.layers;
        request.input_count = trainer->features->prefix.layer_count;
    } else if (trainer->options.precision == GR_INT8) {
        GR_TRY(use_calibration(trainer, input, &request));
    }
    drop_plan(trainer);
    trainer->at_once = can_update_at_once(trainer);
    if (trainer->at_once) {
        request.update = update_at_once;
        request.update_payload = trainer;
    }
    int status = gr_plan_create(&trainer->plan, trainer->net, &request);
    if (!status)
        status = bind_targets(trainer);
    if (!status)
        status = bind_statistics(trainer);
    if (status) {
        drop_plan(trainer);
        return status;
    }
    trainer->capacity = capacity;
    trainer->input = input;
    gr_plan_stashed(trainer->plan, &trainer->stashed);
    return GR_OK;
}

/* --- statistics survive a step that fails --- */

static void keep_statistics(struct gr_trainer *trainer) {
    for (int i = 0; i < trainer->statistic_count; i++) {
        struct statistic *s = &trainer->statistics[i];
        memcpy(gr_tensor_data(&s->before), gr_tensor_data(&s->param->tensor), gr_tensor_bytes(&s->before));
    }
}

static void restore_statistics(struct gr_trainer *trainer) {
    for (int i = 0; i < trainer->statistic_count; i++) {
        struct statistic *s = &trainer->statistics[i];
        memcpy(gr_tensor_data(&s->param->tensor), gr_tensor_data(&s->before), gr_tensor_bytes(&s->before));
        gr_param_touch(s->param);
    }
}

/* --- the step --- */

static int check_heads(const struct gr_trainer *trainer, int k) {
    for (int i = 0; i < trainer->loss_count; i++) {
        int64_t outputs = gr_shape_size(gr_plan_output_shape(trainer->plan, i));
        if (outputs != k)
            return gr_fail(GR_ERROR_SHAPE, "targets have %d columns, but \"%s\" of %s has %lld outputs", k,
                           gr_plan_output_layer(trainer->plan, i)->name, trainer->net->name,
                           (long long)outputs);
    }
    return GR_OK;
}

static int not_finite(const struct gr_trainer *trainer, const char *what, double value) {
    return gr_fail(
        GR_ERROR_NUMBER,
        "%s became %s in step %lld at learning rate %g; %s. A smaller rate, warmup or clip may help", what,
        isnan(value) ? "not a number" : "infinite", (long long)trainer->steps + 1, gr_trainer_lr(trainer),
        trainer->half_way ? "layers above were updated already, so go on from the last checkpoint"
                          : "nothing of that step was kept");
}

/* Losses of all heads and the gradients of their outputs; a head that trains nothing has no gradient. */
static int losses(struct gr_trainer *trainer, int n, int k, const float *targets, double *total) {
    double sum = 0;
    for (int i = 0; i < trainer->loss_count; i++) {
        float *gradient = gr_plan_output_gradient(trainer->plan, i);
        double weight = i == 0 ? 1 : trainer->net->aux[i - 1].weight;
        GR_TRY(gr_loss(&trainer->options.loss, i, n, k, gr_plan_output(trainer->plan, i), targets,
                       &trainer->losses[i], gradient));
        if (!isfinite(trainer->losses[i]))
            return not_finite(trainer, "the loss", trainer->losses[i]);
        sum += weight * trainer->losses[i];
        for (size_t j = 0; gradient && weight != 1 && j < (size_t)n * (size_t)k; j++)
            gradient[j] *= (float)weight;
    }
    *total = sum;
    return GR_OK;
}

static void measure(struct target *target) {
    target->squares = gr_sum_squares(gr_tensor_count(&target->param->tensor), target->gradient);
}

/* Global norm of all gradients; not finite as soon as one number of them is not. */
static double gradient_norm(const struct gr_trainer *trainer) {
    double sum = 0;
    for (int i = 0; i < trainer->target_count; i++)
        sum += trainer->targets[i].squares;
    return sqrt(sum);
}

static void update(struct gr_trainer *trainer, struct target *target, double scale) {
    gr_optimizer_step(trainer->optimizer, target->slot, target->param, target->gradient, scale,
                      trainer->rate * target->layer->lr_scale);
}

/* In the backward pass: one parameter, whose gradient is gone after it. */
static int update_at_once(void *payload, int trained) {
    struct gr_trainer *trainer = payload;
    struct target *target = &trainer->targets[trained];
    measure(target);
    if (!isfinite(target->squares))
        return not_finite(trainer, "a gradient", target->squares);
    update(trainer, target, 1);
    trainer->half_way = true;
    return GR_OK;
}

/* Everything of a step that can fail. */
static int compute(struct gr_trainer *trainer, int n, const float *x, int k, const float *targets,
                   double *loss) {
    struct gr_stream stream = {trainer->options.seed, trainer->options.fit, (uint64_t)trainer->steps};
    if (trainer->features)
        gr_frozen_give(&trainer->features->prefix, trainer->plan, n, x);
    else
        memcpy(gr_plan_input(trainer->plan), x,
               (size_t)n * (size_t)gr_shape_size(trainer->input) * sizeof *x);
    GR_TRY(gr_plan_forward(trainer->plan, n, &stream));
    GR_TRY(losses(trainer, n, k, targets, loss));
    GR_TRY(gr_plan_backward(trainer->plan));
    for (int i = 0; !trainer->at_once && i < trainer->target_count; i++)
        measure(&trainer->targets[i]);
    trainer->norm = gradient_norm(trainer);
    return isfinite(trainer->norm) ? GR_OK : not_finite(trainer, "a gradient", trainer->norm);
}

static void apply(struct gr_trainer *trainer) {
    double clip = trainer->options.clip, scale = 1;
    if (clip > 0 && trainer->norm > clip)
        scale = clip / (trainer->norm + 1e-6);
    for (int i = 0; !trainer->at_once && i < trainer->target_count; i++)
        update(trainer, &trainer->targets[i], scale);
    trainer->half_way = false;
    trainer->steps++;
}

int gr_trainer_step(struct gr_trainer *trainer, int n, struct gr_shape input, const float *x, int k,
                    const float *targets, double *loss) {
    if (trainer->half_way)
        return gr_fail(GR_ERROR_OPTION, "the last step failed half way: restore a checkpoint to go on");
    GR_TRY(gr_trainer_prepare(trainer, n, input));
    GR_TRY(check_heads(trainer, k));
    keep_statistics(trainer);
    trainer->rate = gr_trainer_lr(trainer);
    int status = compute(trainer, n, x, k, targets, loss);
    if (status)
        restore_statistics(trainer);
    else
        apply(trainer);
    return status;
}

void gr_trainer_rest(struct gr_trainer *trainer) {
    drop_plan(trainer);
}

void gr_trainer_use_features(struct gr_trainer *trainer, const struct gr_features *features) {
    trainer->features = features;
    drop_plan(trainer);
}

const struct gr_features *gr_trainer_features(const struct gr_trainer *trainer) {
    return trainer->features;
}

/* --- asking --- */

const double *gr_trainer_losses(const struct gr_trainer *trainer, int *count) {
    *count = trainer->loss_count;
    return trainer->losses;
}

const float *gr_trainer_logits(const struct gr_trainer *trainer) {
    return trainer->plan ? gr_plan_output(trainer->plan, 0) : NULL;
}

int gr_trainer_stashed(const struct gr_trainer *trainer) {
    return trainer->stashed;
}

double gr_trainer_norm(const struct gr_trainer *trainer) {
    return trainer->norm;
}

double gr_trainer_lr(const struct gr_trainer *trainer) {
    const struct gr_trainer_options *o = &trainer->options;
    return trainer->lr * gr_schedule_factor(&o->schedule, trainer->steps, o->steps, o->epoch_steps);
}

float gr_trainer_base_lr(const struct gr_trainer *trainer) {
    return trainer->lr;
}

int gr_trainer_set_lr(struct gr_trainer *trainer, float lr) {
    if (!(lr > 0) || !isfinite(lr))
        return gr_fail(GR_ERROR_OPTION, "lr must be above 0, not %g", (double)lr);
    trainer->lr = lr;
    return GR_OK;
}

int64_t gr_trainer_steps(const struct gr_trainer *trainer) {
    return trainer->steps;
}

void gr_trainer_set_steps(struct gr_trainer *trainer, int64_t steps) {
    trainer->steps = steps;
    trainer->half_way = false;
}

struct gr_plan *gr_trainer_plan(const struct gr_trainer *trainer) {
    return trainer->plan;
}

struct gr_network *gr_trainer_network(const struct gr_trainer *trainer) {
    return trainer->net;
}

struct gr_optimizer *gr_trainer_optimizer(const struct gr_trainer *trainer) {
    return trainer->optimizer;
}

const struct gr_trainer_options *gr_trainer_options(const struct gr_trainer *trainer) {
    return &trainer->options;
}
