/* Are probabilities what they say? Of a hundred photos that a network is 80 % sure of, eighty should be
 * right.
 *
 * Predictions are put into bins of equal width by their confidence, bin m of M holding those in
 * ((m-1)/M, m/M]; the expected calibration error is the mean distance between the confidence of a bin and its
 * accuracy, weighted by its predictions. Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated
 * Probabilities Using Bayesian Binning"; the bins and their number are those of Guo, Pleiss, Sun and
 * Weinberger 2017, "On Calibration of Modern Neural Networks". */
#ifndef GRAFT_TRAIN_CALIBRATION_H
#define GRAFT_TRAIN_CALIBRATION_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

enum { GR_CALIBRATION_BINS = 15 };

struct gr_calibration_bin {
    int64_t count;
    double confidence; /* mean of what was said; a sum until gr_calibration_finish */
    double accuracy;   /* share that was right; likewise */
};

/* Start from {0}. */
struct gr_calibration {
    struct gr_calibration_bin bins[GR_CALIBRATION_BINS];
    int64_t count;
    double error; /* 0..1, after gr_calibration_finish */
};

/* One prediction: the probability given to what was said, 0..1, and whether it was right. With several labels
 * a photo each label is one: its probability, and whether the photo has it. A confidence that is not a number
 * is left out. */
void gr_calibration_add(struct gr_calibration *calibration, double confidence, bool right);

/* Turns sums into means and computes the error (0 without predictions). */
void gr_calibration_finish(struct gr_calibration *calibration);

/* {"error", "bins": [{"low", "high", "count", "confidence", "accuracy"}]}; empty bins have no confidence and
 * no accuracy (null). NULL when memory ran out. */
cJSON *gr_calibration_describe(const struct gr_calibration *calibration);

#endif
