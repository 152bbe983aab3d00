/* An inverted residual block (Sandler et al. 2018) in one pass, forward only: a 1x1 convolution to more
 * channels (which may be missing), a depthwise convolution, and a 1x1 convolution to fewer channels.
 *
 * The wide tensors in between are never stored. Each thread goes down a photo and holds, in its second cache,
 * the few expanded rows that the depthwise kernel reads and the rows that it has just written, so that memory
 * sees the narrow input and output alone. */
#ifndef GRAFT_KERNELS_INVERTED_RESIDUAL_H
#define GRAFT_KERNELS_INVERTED_RESIDUAL_H

#include "kernels/convolution.h"

struct gr_inverted_residual {
    bool expands;                                     /* false: the first convolution is missing */
    struct gr_convolution expand, depthwise, project; /* each reads what the one before it writes */
};

/* One convolution's weights, packed by gr_convolution_pack for GR_CONV_SEGMENT (1x1) or GR_CONV_DEPTHWISE,
 * and what follows its sums. Only the last one may have a residual; none has statistics. */
struct gr_inverted_part {
    const float *packed;
    const struct gr_epilogue *epilogue;
};

/* Whether this is such a block: sizes that follow each other, 1x1 without stride or padding, depthwise 3x3 or
 * 5x5 with stride 1 or 2. */
bool gr_inverted_residual_fits(const struct gr_inverted_residual *block);

/* Estimated seconds for `n` photos, where the convolutions one by one take `separate` by gr_convolution_cost:
 * less what is not stored and loaded, more where photos are so few that each is cut into bands, whose
 * expanded rows overlap. A pure function of its arguments and the SIMD level. */
double gr_inverted_residual_cost(const struct gr_inverted_residual *block, int n, int threads,
                                 double separate);

/* Bytes of scratch at the present thread count, for any number of photos. */
size_t gr_inverted_residual_scratch(const struct gr_inverted_residual *block);

/* x and y are those of the block: [n,h,w,c] of the first and [n,oh,ow,k] of the last convolution. parts[0] is
 * not looked at where the first one is missing. The same bits as the three one by one, whatever the number of
 * threads. */
void gr_inverted_residual_forward(const struct gr_inverted_residual *block, int n, const float *x,
                                  const struct gr_inverted_part parts[3], float *y, void *scratch);

#endif
