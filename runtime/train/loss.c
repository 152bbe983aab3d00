#include "train/loss.h"

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "net/options.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const struct gr_option cross_entropy_options[] = {
    {"label_smoothing", GR_OPTION_FLOAT, offsetof(struct gr_loss, label_smoothing), false, 0, 0, 1},
    {.name = NULL},
};
static const struct gr_option no_options[] = {{.name = NULL}};

static const struct {
    const char *name;
    enum gr_loss_kind kind;
    const struct gr_option *options;
} losses[] = {
    {"cross_entropy", GR_CROSS_ENTROPY, cross_entropy_options},
    {"binary_cross_entropy", GR_BINARY_CROSS_ENTROPY, no_options},
    {"mse", GR_MEAN_SQUARED_ERROR, no_options},
};
enum { LOSSES = sizeof losses / sizeof *losses };

int gr_loss_read(struct gr_loss *out, const char *kind, const cJSON *options) {
    const char *names[LOSSES];
    for (int i = 0; i < LOSSES; i++) {
        names[i] = losses[i].name;
        if (strcmp(kind, names[i]) != 0)
            continue;
        *out = (struct gr_loss){.kind = losses[i].kind};
        return gr_options_read(losses[i].options, options, kind, out);
    }
    gr_fail(GR_ERROR_NAME, "there is no loss \"%.40s\"", kind);
    return gr_fail_near(gr_nearest(kind, names, LOSSES));
}

int gr_loss_check(const struct gr_loss *loss, int k) {
    double sum = 0;
    if (!(loss->label_smoothing >= 0 && loss->label_smoothing <= 1))
        return gr_fail(GR_ERROR_OPTION, "label_smoothing must be from 0 to 1, not %g",
                       (double)loss->label_smoothing);
    if (loss->kind == GR_CALLBACK_LOSS && !loss->callback)
        return gr_fail(GR_ERROR_OPTION, "a loss of one's own needs a function");
    if (!loss->class_weights)
        return GR_OK;
    for (int i = 0; i < k; i++) {
        float weight = loss->class_weights[i];
        if (!(weight >= 0) || !isfinite(weight))
            return gr_fail(GR_ERROR_OPTION, "the weight of class %d must be 0 or more, not %g", i + 1,
                           (double)weight);
        sum += weight;
    }
    return sum > 0 ? GR_OK : gr_fail(GR_ERROR_OPTION, "at least one class needs a weight above 0");
}

/* log(sum(exp(x))) without overflow. */
static double log_sum_exp(int k, const float *x) {
    double top = x[0], sum = 0;
    for (int i = 1; i < k; i++)
        top = x[i] > top ? x[i] : top;
    for (int i = 0; i < k; i++)
        sum += exp(x[i] - top);
    return top + log(sum);
}

/* What the sum over the batch is divided by. */
static double cross_entropy_divisor(const float *weights, int n, int k, const float *targets) {
    double sum = 0;
    if (!weights)
        return n;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < k; c++)
            sum += (double)weights[c] * targets[(size_t)i * k + c];
    return sum > 0 ? sum : 1;
}

static double cross_entropy(const struct gr_loss *loss, int n, int k, const float *logits,
                            const float *targets, float *gradient) {
    const float *weights = loss->class_weights;
    double divisor = cross_entropy_divisor(weights, n, k, targets), keep = 1.0 - loss->label_smoothing,
           spread = (double)loss->label_smoothing / k, value = 0;
    for (int i = 0; i < n; i++) {
        const float *x = logits + (size_t)i * k, *t = targets + (size_t)i * k;
        double total = log_sum_exp(k, x), mass = 0;
        for (int c = 0; c < k; c++) {
            double w = (weights ? weights[c] : 1) * (keep * t[c] + spread);
            if (w != 0)
                value -= w * (x[c] - total);
            mass += w;
        }
        for (int c = 0; gradient && c < k; c++) {
            double w = (weights ? weights[c] : 1) * (keep * t[c] + spread);
            gradient[(size_t)i * k + c] = (float)((mass * exp(x[c] - total) - w) / divisor);
        }
    }
    return value / divisor;
}

static double sigmoid(double x) {
    double e = exp(-fabs(x));
    return x >= 0 ? 1 / (1 + e) : e / (1 + e);
}

static double binary_cross_entropy(const struct gr_loss *loss, int n, int k, const float *logits,
                                   const float *targets, float *gradient) {
    double value = 0, divisor = (double)n * k;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < k; c++) {
            size_t at = (size_t)i * k + c;
            double x = logits[at], t = targets[at], w = loss->class_weights ? loss->class_weights[c] : 1;
            value += w * ((x > 0 ? x : 0) - x * t + log1p(exp(-fabs(x))));
            if (gradient)
                gradient[at] = (float)(w * (sigmoid(x) - t) / divisor);
        }
    return value / divisor;
}

static double mean_squared_error(const struct gr_loss *loss, int n, int k, const float *logits,
                                 const float *targets, float *gradient) {
    double value = 0, divisor = (double)n * k;
    for (int i = 0; i < n; i++)
        for (int c = 0; c < k; c++) {
            size_t at = (size_t)i * k + c;
            double d = (double)logits[at] - targets[at], w = loss->class_weights ? loss->class_weights[c] : 1;
            value += w * d * d;
            if (gradient)
                gradient[at] = (float)(2 * w * d / divisor);
        }
    return value / divisor;
}

int gr_loss(const struct gr_loss *loss, int head, int n, int k, const float *logits, const float *targets,
            double *value, float *gradient) {
    switch (loss->kind) {
    case GR_CROSS_ENTROPY:
        *value = cross_entropy(loss, n, k, logits, targets, gradient);
        return GR_OK;
    case GR_BINARY_CROSS_ENTROPY:
        *value = binary_cross_entropy(loss, n, k, logits, targets, gradient);
        return GR_OK;
    case GR_MEAN_SQUARED_ERROR:
        *value = mean_squared_error(loss, n, k, logits, targets, gradient);
        return GR_OK;
    case GR_CALLBACK_LOSS:
        return loss->callback(loss->payload, head, n, k, logits, targets, value, gradient);
    }
    return gr_fail(GR_ERROR_OPTION, "there is no loss of kind %d", (int)loss->kind);
}

void gr_probabilities(bool multilabel, int n, int k, const float *logits, float *p) {
    for (int i = 0; i < n; i++) {
        const float *x = logits + (size_t)i * k;
        double total = multilabel ? 0 : log_sum_exp(k, x);
        for (int c = 0; c < k; c++)
            p[(size_t)i * k + c] = (float)(multilabel ? sigmoid(x[c]) : exp(x[c] - total));
    }
}
