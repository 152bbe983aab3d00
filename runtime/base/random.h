/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * 2011). A stream is named by what it is for, so that no result depends on the order in which threads or
 * loaders ask. */
#ifndef GRAFT_BASE_RANDOM_H
#define GRAFT_BASE_RANDOM_H

#include <stdint.h>

enum gr_purpose { /* what a stream is for; part of its key. Order is part of every saved result: only append.
                   */
                  GR_RANDOM_INIT = 1, /* first weights: keyed by a hash of the tensor's name */
                  GR_RANDOM_SHUFFLE,  /* order of an epoch */
                  GR_RANDOM_AUGMENT,  /* one photo's crop, flip, colour */
                  GR_RANDOM_MIXUP,    /* partners and weights of a batch */
                  GR_RANDOM_DROPOUT,  /* keyed by step and layer */
                  GR_RANDOM_SAMPLE,   /* subsets such as set:take */
                  GR_RANDOM_TENSOR,   /* graft.randn and friends at the prompt */
                  GR_RANDOM_SCRIPT,   /* math.random */
                  GR_RANDOM_FOLDS,    /* photos held out in turn */
};

struct gr_random {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4]; /* numbers of the current counter */
    int used;          /* how many of them are used up */
};

/* The stream for (seed, purpose, a, b, c), at its start. Distinct tuples give independent streams. */
struct gr_random gr_random(uint64_t seed, enum gr_purpose purpose, uint64_t a, uint64_t b, uint64_t c);

uint32_t gr_random_u32(struct gr_random *random);
float gr_random_uniform(struct gr_random *random);                        /* [0, 1), 24 bits */
float gr_random_between(struct gr_random *random, float low, float high); /* [low, high) */
float gr_random_normal(struct gr_random *random);                 /* mean 0, variance 1 (Box-Muller) */
int64_t gr_random_below(struct gr_random *random, int64_t bound); /* 0..bound-1, unbiased; bound >= 1 */
void gr_random_shuffle(struct gr_random *random, int64_t *items, int64_t n); /* Fisher-Yates */

/* FNV-1a, 64 bits: turns a name into a key for a stream. Not for security. */
uint64_t gr_hash(const char *text);

#endif
