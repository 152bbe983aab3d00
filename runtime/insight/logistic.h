/* Multinomial logistic regression with an L2 penalty: the linear classifier of a probe.
 *
 * Minimises  mean over rows of -log softmax(W x + b)[label]  +  l2 / 2 * |W|^2  (the intercept b is free) by
 * L-BFGS (Liu and Nocedal, "On the limited memory BFGS method for large scale optimization", 1989) with a
 * line search that bisects to the weak Wolfe conditions (Lewis and Overton, "Nonsmooth optimization via
 * quasi-Newton methods", 2013). The same numbers come out whatever the number of threads: a fit runs in the
 * calling thread. */
#ifndef GRAFT_INSIGHT_LOGISTIC_H
#define GRAFT_INSIGHT_LOGISTIC_H

#include <stddef.h>

struct gr_logistic {
    int classes, features;
    float *weight;  /* [classes, features] */
    float *bias;    /* [classes] */
    float *scratch; /* what fitting needs, for `rows` rows */
    double *means;  /* [classes], the same */
    int rows;
    double loss;    /* the objective that was reached */
    double slope;   /* the largest component of its gradient */
    int iterations; /* of the last fit */
};

/* A model of zeros that can be fitted to at most `rows` rows. GR_ERROR_MEMORY, GR_ERROR_LIMIT. */
int gr_logistic_create(struct gr_logistic *model, int classes, int features, int rows);
void gr_logistic_free(struct gr_logistic *model);

/* Sets weights and intercepts to zero. */
void gr_logistic_reset(struct gr_logistic *model);

/* Fits to x [n, features] with labels 0..classes-1, from the values that the model has (a warm start). Ends
 * when no component of the gradient is above `tolerance`, when nothing gets better any more, or after `most`
 * iterations. GR_ERROR_INTERRUPT, GR_ERROR_NUMBER when the objective is not finite at the start. n is at most
 * model->rows. */
int gr_logistic_fit(struct gr_logistic *model, const float *x, const int *labels, int n, double l2,
                    double tolerance, int most);

/* Probabilities [n, classes] of the rows of x. */
void gr_logistic_predict(const struct gr_logistic *model, const float *x, int n, float *probabilities);

#endif
