/* A map of points with many coordinates in two: t-SNE (van der Maaten and Hinton 2008, "Visualizing Data
 * using t-SNE"). All pairs repel each other in every step, and those attract each other that have 99 % of the
 * probability. */
#ifndef GRAFT_INSIGHT_TSNE_H
#define GRAFT_INSIGHT_TSNE_H

#include <stdint.h>

enum { GR_TSNE_MOST = 5000 /* points: memory and time grow with their square */, GR_TSNE_STEPS = 1000 };

struct gr_tsne_options {
    double perplexity; /* about how many neighbours count; > 1 and below the number of points */
    int steps;         /* 0: GR_TSNE_STEPS, the first quarter of them with early exaggeration */
    /* Called now and then with the steps done; a status other than 0 ends it with that. NULL: nobody asks. */
    int (*progress)(void *payload, int done, int steps);
    void *payload;
};

/* points [n,2] of x [n,d]. `start` [n,2] is where they begin, of any scale: the first two principal
 * components are usual (Kobak and Berens 2019), and with them nothing is left to chance. *kl receives the
 * divergence that is left. Steps, rates and gains are scikit-learn's: early exaggeration 12, learning rate
 * max(n/48, 50), momentum 0.5 then 0.8. GR_ERROR_LIMIT: more than GR_TSNE_MOST points. GR_ERROR_OPTION:
 * perplexity. GR_ERROR_NUMBER: a value is not finite. GR_ERROR_INTERRUPT. */
int gr_tsne(int64_t n, int64_t d, const float *x, const float *start, const struct gr_tsne_options *options,
            float *points, double *kl);

#endif
