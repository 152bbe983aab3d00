#include "train/optimizer.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "base/threads.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What is read from options; `betas` becomes beta1 and beta2. */
struct reading {
    struct gr_optimizer_options options;
    cJSON *betas;
};

#define FIELD(field, type) #field, type, offsetof(struct reading, options.field)
#define LR                                                                                                   \
    { FIELD(lr, GR_OPTION_FLOAT), true, 0, 1e-12, 1e6 }
#define DECAY(fallback)                                                                                      \
    { FIELD(weight_decay, GR_OPTION_FLOAT), false, fallback, 0, 1e6 }
#define MOMENTUM                                                                                             \
    { FIELD(momentum, GR_OPTION_FLOAT), false, 0, 0, 1 }
#define BETAS                                                                                                \
    { "betas", GR_OPTION_JSON, offsetof(struct reading, betas), false, 0, 0, 0 }
#define EPS                                                                                                  \
    { FIELD(eps, GR_OPTION_FLOAT), false, 1e-8, 0, 1 }
#define END                                                                                                  \
    { .name = NULL }

static const struct gr_option sgd_options[] = {
    LR,
    MOMENTUM,
    {FIELD(dampening, GR_OPTION_FLOAT), false, 0, 0, 1},
    DECAY(0),
    {FIELD(nesterov, GR_OPTION_BOOL), false, 0, 0, 1},
    END,
};
static const struct gr_option adam_options[] = {LR, BETAS, EPS, DECAY(0), END};
static const struct gr_option adamw_options[] = {LR, BETAS, EPS, DECAY(0.01), END};
static const struct gr_option rmsprop_options[] = {
    LR,       {FIELD(alpha, GR_OPTION_FLOAT), false, 0.99, 0, 1}, EPS, DECAY(0),
    MOMENTUM, {FIELD(centered, GR_OPTION_BOOL), false, 0, 0, 1},  END,
};

/* ORDER enum gr_optimizer_kind */
static const struct {
    const char *name;
    const struct gr_option *options;
} optimizers[] = {
    {"sgd", sgd_options},
    {"adam", adam_options},
    {"adamw", adamw_options},
    {"rmsprop", rmsprop_options},
};
enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers };
static const float default_betas[2] = {0.9f, 0.999f};

struct gr_optimizer {
    struct gr_optimizer_options options;
    struct gr_slot **slots;
    int count;
};

/* --- descriptions --- */

static int read_betas(struct reading *reading) {
    float betas[2] = {default_betas[0], default_betas[1]};
    if (reading->betas && (!cJSON_IsArray(reading->betas) || cJSON_GetArraySize(reading->betas) != 2))
        return gr_fail(GR_ERROR_OPTION, "option \"betas\" must be a list of two numbers");
    for (int i = 0; reading->betas && i < 2; i++) {
        const cJSON *item = cJSON_GetArrayItem(reading->betas, i);
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 1))
            return gr_fail(GR_ERROR_OPTION, "option \"betas\" must hold numbers from 0 to below 1");
        betas[i] = (float)item->valuedouble;
    }
    reading->options.beta1 = betas[0];
    reading->options.beta2 = betas[1];
    return GR_OK;
}

static int read_kind(struct gr_optimizer_options *out, int i, const cJSON *options) {
    struct reading reading = {.options.kind = (enum gr_optimizer_kind)i};
    if (!options || !cJSON_GetObjectItemCaseSensitive(options, "lr"))
        return gr_fail(GR_ERROR_OPTION, "%s needs a learning rate: %s{ lr = 0.01 }", optimizers[i].name,
                       optimizers[i].name);
    GR_TRY(gr_options_read(optimizers[i].options, options, optimizers[i].name, &reading));
    int status = read_betas(&reading);
    cJSON_Delete(reading.betas);
    if (status)
        return gr_fail_in("%s", optimizers[i].name);
    const struct gr_optimizer_options *o = &reading.options;
    if (o->nesterov && (o->momentum <= 0 || o->dampening != 0))
        return gr_fail(GR_ERROR_OPTION, "sgd: nesterov needs a momentum above 0 and no dampening");
    *out = reading.options;
    return GR_OK;
}

int gr_optimizer_read(struct gr_optimizer_options *out, const char *kind, const cJSON *options) {
    const char *names[OPTIMIZERS];
    for (int i = 0; i < OPTIMIZERS; i++) {
        names[i] = optimizers[i].name;
        if (strcmp(kind, names[i]) == 0)
            return read_kind(out, i, options);
    }
    gr_fail(GR_ERROR_NAME, "there is no optimizer \"%.40s\"", kind);
    return gr_fail_near(gr_nearest(kind, names, OPTIMIZERS));
}

cJSON *gr_optimizer_describe(const struct gr_optimizer_options *options) {
    struct reading reading = {.options = *options};
    bool adam = options->kind == GR_ADAM || options->kind == GR_ADAMW;
    float betas[2] = {options->beta1, options->beta2};
    if (adam && memcmp(betas, default_betas, sizeof betas) != 0 &&
        !(reading.betas = cJSON_CreateFloatArray(betas, 2)))
        goto fail;
    cJSON *object = gr_options_write(optimizers[options->kind].options, &reading);
    cJSON_Delete(reading.betas);
    if (object && cJSON_AddStringToObject(object, "kind", optimizers[options->kind].name))
        return object;
    cJSON_Delete(object);
fail:
    gr_fail(GR_ERROR_MEMORY, "out of memory while describing an optimizer");
    return NULL;
}

const char *gr_optimizer_format(const struct gr_optimizer_options *o, char out[128]) {
    int at = snprintf(out, 128, "%s lr %g", optimizers[o->kind].name, (double)o->lr);
    if (o->momentum > 0)
        at += snprintf(out + at, 128 - (size_t)at, " momentum %g", (double)o->momentum);
    if (o->nesterov)
        at += snprintf(out + at, 128 - (size_t)at, " nesterov");
    if (o->weight_decay > 0)
        snprintf(out + at, 128 - (size_t)at, " weight_decay %g", (double)o->weight_decay);
    return out;
}

/* --- state --- */

int gr_optimizer_moments(const struct gr_optimizer_options *o, const char *names[GR_MAX_MOMENTS]) {
    int count = 0;
    if (o->kind == GR_ADAM || o->kind == GR_ADAMW) {
        names[count++] = "mean";
        names[count++] = "square";
    } else if (o->kind == GR_RMSPROP) {
        names[count++] = "square";
        if (o->momentum > 0)
            names[count++] = "momentum";
        if (o->centered)
            names[count++] = "mean";
    } else if (o->momentum > 0) {
        names[count++] = "momentum";
    }
    return count;
}

int gr_optimizer_create(struct gr_optimizer **out, const struct gr_optimizer_options *options) {
    if (!(options->lr > 0) || !isfinite(options->lr))
        return gr_fail(GR_ERROR_OPTION,
                       "%s: lr must be above 0, not %g; layers that must not learn are frozen",
                       optimizers[options->kind].name, (double)options->lr);
    struct gr_optimizer *optimizer = gr_calloc(1, sizeof *optimizer);
    if (!optimizer)
        return GR_ERROR_MEMORY;
    optimizer->options = *options;
    *out = optimizer;
    return GR_OK;
}

static void free_slot(struct gr_slot *slot) {
    for (int i = 0; i < GR_MAX_MOMENTS; i++)
        gr_tensor_release(&slot->moments[i]);
    gr_free(slot->name);
    gr_free(slot);
}

void gr_optimizer_free(struct gr_optimizer *optimizer) {
    if (!optimizer)
        return;
    for (int i = 0; i < optimizer->count; i++)
        free_slot(optimizer->slots[i]);
    gr_free(optimizer->slots);
    gr_free(optimizer);
}

const struct gr_optimizer_options *gr_optimizer_options(const struct gr_optimizer *optimizer) {
    return &optimizer->options;
}

struct gr_slot *const *gr_optimizer_slots(const struct gr_optimizer *optimizer, int *count) {
    *count = optimizer->count;
    return optimizer->slots;
}

/* Zeroed moments in the parameter's shape. */
static int start_slot(const struct gr_optimizer *optimizer, struct gr_slot *slot,
                      const struct gr_param *param) {
    const char *names[GR_MAX_MOMENTS];
    struct gr_tensor fresh[GR_MAX_MOMENTS] = {0};
    int count = gr_optimizer_moments(&optimizer->options, names);
    for (int i = 0; i < count; i++)
        if (gr_tensor_create(&fresh[i], GR_F32, param->tensor.rank, param->tensor.shape)) {
            while (i--)
                gr_tensor_release(&fresh[i]);
            return GR_ERROR_MEMORY;
        }
    for (int i = 0; i < count; i++) {
        gr_tensor_release(&slot->moments[i]);
        slot->moments[i] = fresh[i];
    }
    slot->steps = 0;
    return GR_OK;
}

int gr_optimizer_slot(struct gr_optimizer *optimizer, const struct gr_param *param, struct gr_slot **out) {
    const char *names[GR_MAX_MOMENTS];
    for (int i = 0; i < optimizer->count; i++) {
        struct gr_slot *slot = optimizer->slots[i];
        if (strcmp(slot->name, param->name) != 0)
            continue;
        *out = slot;
        bool same = !gr_optimizer_moments(&optimizer->options, names) ||
                    gr_tensor_same_shape(&slot->moments[0], &param->tensor);
        return same ? GR_OK : start_slot(optimizer, slot, param);
    }
    struct gr_slot **grown = gr_realloc(optimizer->slots, (size_t)(optimizer->count + 1) * sizeof *grown);
    if (!grown)
        return GR_ERROR_MEMORY;
    optimizer->slots = grown;
    struct gr_slot *slot = gr_calloc(1, sizeof *slot);
    if (!slot)
        return GR_ERROR_MEMORY;
    slot->name = gr_strdup(param->name);
    if (!slot->name || start_slot(optimizer, slot, param)) {
        free_slot(slot);
        return GR_ERROR_MEMORY;
    }
    grown[optimizer->count++] = slot;
    *out = slot;
    return GR_OK;
}

/* --- steps --- */

enum { CHUNK = 1 << 14 }; /* numbers that one thread updates at a time */

/* One step on one tensor: all that a chunk needs. */
struct update {
    const struct gr_optimizer_options *options;
    int64_t count;
    float *value, *moments[GR_MAX_MOMENTS];
    const float *gradient;
    float scale, rate, decay;
    float a,
        b; /* adam: rate over the first correction, root of the second one; sgd: part of the gradient kept */
};

static void sgd_chunk(const struct update *u, int64_t first, int64_t last) {
    float *restrict p = u->value, *restrict m = u->moments[0];
    const float *restrict g = u->gradient;
    const float scale = u->scale, rate = u->rate, decay = u->decay, momentum = u->options->momentum,
                kept = u->a;
    if (!m) {
        for (int64_t i = first; i < last; i++)
            p[i] -= rate * (g[i] * scale + decay * p[i]);
    } else if (u->options->nesterov) {
        for (int64_t i = first; i < last; i++) {
            float d = g[i] * scale + decay * p[i];
            m[i] = momentum * m[i] + kept * d;
            p[i] -= rate * (d + momentum * m[i]);
        }
    } else {
        for (int64_t i = first; i < last; i++) {
            m[i] = momentum * m[i] + kept * (g[i] * scale + decay * p[i]);
            p[i] -= rate * m[i];
        }
    }
}

static void adam_chunk(const struct update *u, int64_t first, int64_t last) {
    float *restrict p = u->value, *restrict m = u->moments[0], *restrict v = u->moments[1];
    const float *restrict g = u->gradient;
    const float scale = u->scale, beta1 = u->options->beta1, beta2 = u->options->beta2, eps = u->options->eps;
    const bool apart = u->options->kind == GR_ADAMW; /* decay acts on the weights, not on the gradient */
    const float shrink = apart ? 1 - u->rate * u->decay : 1, decay = apart ? 0 : u->decay;
    const float size = u->a, root = u->b;
    for (int64_t i = first; i < last; i++) {
        float d = g[i] * scale + decay * p[i];
        m[i] = beta1 * m[i] + (1 - beta1) * d;
        v[i] = beta2 * v[i] + (1 - beta2) * d * d;
        p[i] = p[i] * shrink - size * m[i] / (sqrtf(v[i]) / root + eps);
    }
}

static void rmsprop_chunk(const struct update *u, int64_t first, int64_t last) {
    const struct gr_optimizer_options *o = u->options;
    float *p = u->value, *v = u->moments[0], *m = o->momentum > 0 ? u->moments[1] : NULL;
    float *mean = o->centered ? u->moments[m ? 2 : 1] : NULL;
    for (int64_t i = first; i < last; i++) {
        float d = u->gradient[i] * u->scale + u->decay * p[i], square;
        v[i] = o->alpha * v[i] + (1 - o->alpha) * d * d;
        square = v[i];
        if (mean) {
            mean[i] = o->alpha * mean[i] + (1 - o->alpha) * d;
            square -= mean[i] * mean[i];
        }
        d /= sqrtf(square > 0 ? square : 0) + o->eps;
        if (m)
            d = m[i] = o->momentum * m[i] + d;
        p[i] -= u->rate * d;
    }
}

static void update_chunk(void *context, int64_t chunk, int worker) {
    const struct update *u = context;
    int64_t first = chunk * CHUNK, last = first + CHUNK < u->count ? first + CHUNK : u->count;
    (void)worker;
    if (u->options->kind == GR_SGD)
        sgd_chunk(u, first, last);
    else if (u->options->kind == GR_RMSPROP)
        rmsprop_chunk(u, first, last);
    else
        adam_chunk(u, first, last);
}

void gr_optimizer_step(const struct gr_optimizer *optimizer, struct gr_slot *slot, struct gr_param *param,
                       const float *gradient, double scale, double rate) {
    const struct gr_optimizer_options *o = &optimizer->options;
    const char *names[GR_MAX_MOMENTS];
    struct update u = {.options = o,
                       .count = gr_tensor_count(&param->tensor),
                       .value = gr_tensor_floats(&param->tensor),
                       .gradient = gradient,
                       .scale = (float)scale,
                       .rate = (float)rate,
                       .decay = param->decays ? o->weight_decay : 0};
    int moments = gr_optimizer_moments(o, names);
    for (int i = 0; i < moments; i++)
        u.moments[i] = gr_tensor_floats(&slot->moments[i]);
    slot->steps++;
    if (o->kind == GR_SGD) {
        u.a = slot->steps == 1 ? 1 : 1 - o->dampening; /* the first gradient enters whole */
    } else if (o->kind != GR_RMSPROP) {
        u.a = (float)(rate / (1 - pow(o->beta1, (double)slot->steps)));
        u.b = (float)sqrt(1 - pow(o->beta2, (double)slot->steps));
    }
    gr_parallel((u.count + CHUNK - 1) / CHUNK, update_chunk, &u);
    gr_param_touch(param);
}
