/* Losses: a number for a batch of logits, and its gradient. */
#ifndef GRAFT_TRAIN_LOSS_H
#define GRAFT_TRAIN_LOSS_H

#include <stdbool.h>
#include <cjson/cJSON.h>

enum gr_loss_kind {
    /* Of the softmax of the logits against targets that are probabilities (rows sum to 1: one-hot, or soft
     * after mixup). With smoothing s the targets become (1 - s) t + s / K. Mean over the batch; with class
     * weights w the mean is weighted by each row's sum_c w[c] t[c], which for one-hot targets is PyTorch's
     * weighted mean. */
    GR_CROSS_ENTROPY,
    /* Of the sigmoid of each logit against targets 0..1; mean over all n * k numbers, each times its class's
     * weight (PyTorch's BCEWithLogitsLoss with weight). */
    GR_BINARY_CROSS_ENTROPY,
    /* Mean of the squared differences of logits and targets over all n * k numbers; class weights as above.
     */
    GR_MEAN_SQUARED_ERROR,
    /* The caller's own. */
    GR_CALLBACK_LOSS,
};

/* value: mean over the batch. `head`: 0 for the main classifier, i + 1 for net->aux[i]. `gradient` [n,k] is
 * to be overwritten, or NULL when it is not wanted. Returns a status; GR_ERROR_USER for its own failures. */
typedef int gr_loss_callback(void *payload, int head, int n, int k, const float *logits, const float *targets,
                             double *value, float *gradient);

struct gr_loss {
    enum gr_loss_kind kind;
    float label_smoothing;      /* 0..1, cross entropy only */
    const float *class_weights; /* [k], >= 0, the caller's; NULL: all 1 */
    gr_loss_callback *callback;
    void *payload;
};

/* Reads {"label_smoothing": 0.1} for "cross_entropy", "binary_cross_entropy" or "mse"; unknown keys fail with
 * the nearest one. Class weights are set by the caller, who knows the order of the classes. */
int gr_loss_read(struct gr_loss *out, const char *kind, const cJSON *options);
/* GR_ERROR_OPTION when a class weight is negative or not finite, or all are 0. */
int gr_loss_check(const struct gr_loss *loss, int k);

/* logits, targets and gradient are [n,k]. `gradient` may be NULL. Deterministic whatever the number of
 * threads. */
int gr_loss(const struct gr_loss *loss, int head, int n, int k, const float *logits, const float *targets,
            double *value, float *gradient);

/* Softmax of each row, or sigmoid of each logit with several labels a photo. `p` may be `logits`. */
void gr_probabilities(bool multilabel, int n, int k, const float *logits, float *p);

#endif
