/* Linear probes: how well a linear classifier does on the features of a layer, measured on photos that it was
 * not fitted to (Alain and Bengio, "Understanding intermediate layers using linear classifier probes", 2016).
 *
 * Photos are dealt into folds; each fold is judged by a classifier that was fitted to the others. How
 * strongly that one is held back (its L2 penalty) is chosen inside the part that it is fitted to, by holding
 * out a third of it in turn, so that no photo has a say in its own judgement. Nothing draws from a stream
 * that others use. */
#ifndef GRAFT_INSIGHT_PROBES_H
#define GRAFT_INSIGHT_PROBES_H

#include <stdint.h>

/* Deals n photos with labels 0..classes-1 into folds 0..folds-1, the photos of each class evenly and in an
 * order that `seed` gives: fold[n]. GR_ERROR_OPTION for fewer than 2 folds or more folds than photos,
 * GR_ERROR_DATA for a class with fewer than 2 photos, which the message gives by its number + 1. */
int gr_folds(const int *labels, int64_t n, int classes, int folds, uint64_t seed, int *fold);

/* What is measured: one set of features, with a part of the photos to learn from. */
struct gr_probe {
    const float *x; /* [n, features] */
    int features;
    double fraction; /* of the photos that a fold's classifier may be fitted to: (0, 1], at least 2 of each
                        class. The photos of a smaller part are among those of a larger one */
    int *said;       /* [n] out: the class that each photo was given when it was held out */
    float *sure;     /* [n] out: the probability of that class */
    double l2;       /* out: the penalty of the folds in the middle */
};

struct gr_probes {
    const int *labels; /* [n], 0..classes-1 */
    const int *fold;   /* [n], from gr_folds with the same seed */
    int64_t n;
    int classes, folds;
    uint64_t seed;
    struct gr_probe *probes;
    int probe_count;
    /* Called in the calling thread between rounds, with the classifiers fitted so far and in all; a status
     * other than 0 ends it. */
    int (*progress)(void *payload, int64_t done, int64_t total);
    void *payload;
};

/* Measures all of them, over the pool. Results are the same for every number of threads. GR_ERROR_OPTION,
 * GR_ERROR_INTERRUPT, GR_ERROR_MEMORY, GR_ERROR_NUMBER. */
int gr_probes_run(struct gr_probes *probes);

#endif
