/* Principal components (Pearson 1901; Hotelling 1933): the directions in which points vary most. */
#ifndef GRAFT_INSIGHT_PCA_H
#define GRAFT_INSIGHT_PCA_H

#include <stdint.h>

enum { GR_PCA_MOST = 16 }; /* components */

/* Of n points x [n,d]: their coordinates along the first k components, scores [n,k], about the mean, and for
 * each component the share of all variance that it explains, explained [k]. Of each component the sign is
 * that which makes its largest score positive. 1 <= k <= min(n, d, GR_PCA_MOST). Points that are all equal
 * have scores 0. GR_ERROR_NUMBER: a value is not finite. */
int gr_pca(int64_t n, int64_t d, const float *x, int k, float *scores, double *explained);

#endif
