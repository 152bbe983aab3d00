/* How good is a network on a set? Looking changes nothing: everything runs through inference plans. */
#ifndef GRAFT_TRAIN_EVALUATE_H
#define GRAFT_TRAIN_EVALUATE_H

#include "data/loader.h"
#include "net/network.h"
#include "train/calibration.h"
#include "train/features.h"
#include "train/loss.h"

struct gr_class_result {
    double precision, recall; /* 0 when nothing was predicted, or nothing was there */
    double average_precision; /* several labels a photo only */
    int64_t support;          /* photos of this class */
};

struct gr_head_result {
    char *layer; /* the layer that the classifier reads; "head" for the main one */
    double accuracy;
    double loss; /* mean */
};

/* What was said of one photo. */
struct gr_photo_result {
    int64_t sample; /* its number in the data set; without one, its place in the set */
    int label;      /* its class; several labels: that whose probability is furthest from the truth */
    int guess;      /* the most likely class; several labels: `label` again */
    float label_p;  /* probability of `label` */
    float guess_p;  /* of `guess` */
    float margin;   /* how much more likely `guess` is than the second; several labels: twice the distance
                       from 0.5 of the probability that is nearest to it */
    int wrong;      /* 0 or 1; several labels: how many labels are wrong */
    bool given;     /* several labels: whether the photo has `label` */
};

struct gr_result {
    int64_t count;   /* photos */
    int64_t right;   /* photos whose most likely class is right; with several labels: right labels */
    double accuracy; /* right / count; with several labels right / (count * classes), a label counts as given
                        at p > 0.5 */
    double top5;     /* right class among the five most likely (all, when there are fewer); several labels:
                        accuracy */
    double loss;     /* of the main classifier */
    double f1;       /* several labels: mean of the classes' F1 */
    double map;      /* several labels: mean of the average precisions of classes that occur */
    int class_count;
    struct gr_class_result *classes; /* [class_count], in the order of net->classes */
    int64_t *confusion; /* [class_count, class_count]: row = true class, column = predicted; NULL with several
                           labels */
    struct gr_head_result
        *heads; /* main classifier first, then the auxiliary ones; with `heads` only the main */
    int head_count;
    struct gr_calibration calibration; /* of the main classifier */
    struct gr_photo_result *photos;    /* [count], in the order of the set; NULL unless asked for */
};

struct gr_evaluate_options {
    struct gr_shape input;              /* c 0: the network's own */
    int batch_size;                     /* 0: 32 */
    const struct gr_loss *loss;         /* NULL: cross entropy, or binary cross entropy with several labels */
    bool heads;                         /* the auxiliary classifiers too */
    bool photos;                        /* keep what was said of each photo */
    enum gr_precision precision;        /* of the frozen prefix */
    const struct gr_features *features; /* read instead of the photos; NULL: the photos */
    /* Called after each batch with the number of photos done so far; a status other than 0 ends the
     * evaluation with it (GR_ERROR_INTERRUPT). NULL: nobody asks. */
    int (*progress)(void *payload, int64_t done);
    void *payload;
};

/* Where batches come from: *batch becomes NULL after the last one. A gr_loader, or a test. */
typedef int gr_batch_source(void *from, const struct gr_batch **batch);

/* Evaluates on a set. Its classes are matched with the network's by name. `options` may be NULL. The caller
 * releases the result by gr_result_clear; on failure there is nothing to release. A frozen prefix runs by
 * itself, as train/frozen.h says, so kept features give the same bits as photos. */
int gr_evaluate(struct gr_result *out, struct gr_network *net, const struct gr_set *set,
                const struct gr_evaluate_options *options);
/* The same on batches whose targets are in the order of the network's classes. */
int gr_evaluate_batches(struct gr_result *out, struct gr_network *net, gr_batch_source *source, void *from,
                        const struct gr_evaluate_options *options);
void gr_result_clear(struct gr_result *result);

/* The document of `graft eval --json`: accuracy, top5, loss, classes, confusion, heads, calibration, and with
 * several labels f1 and map. A new object; NULL with the error set. */
cJSON *gr_result_describe(const struct gr_result *result, const struct gr_network *net);

/* Wilson's 95 % interval for `right` of `count`. */
void gr_wilson(int64_t right, int64_t count, double *low, double *high);

#endif
