#include "base/random.h"

#include <math.h>

/* One block of Philox4x32-10: ten rounds of two wide products, the key bumped between them. */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The finaliser of SplitMix64: every bit of the input moves half of the bits of the output. */
static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

struct gr_random gr_random(uint64_t seed, enum gr_purpose purpose, uint64_t a, uint64_t b, uint64_t c) {
    /* 128 bits name the stream: the key and the upper half of the counter. The lower half counts blocks, so
     * that two streams can never run into each other. */
    uint64_t parts[5] = {seed, (uint64_t)purpose, a, b, c};
    uint64_t first = 0, second = 0x6A09E667F3BCC908u;
    for (int i = 0; i < 5; i++) {
        first = mix(first ^ parts[i]);
        second = mix(second + parts[i]);
    }
    struct gr_random random = {.used = 4};
    random.key[0] = (uint32_t)first;
    random.key[1] = (uint32_t)(first >> 32);
    random.counter[2] = (uint32_t)second;
    random.counter[3] = (uint32_t)(second >> 32);
    return random;
}

uint32_t gr_random_u32(struct gr_random *random) {
    if (random->used >= 4) {
        philox(random->counter, random->key, random->block);
        random->used = 0;
        if (++random->counter[0] == 0)
            random->counter[1]++;
    }
    return random->block[random->used++];
}

float gr_random_uniform(struct gr_random *random) {
    return (float)(gr_random_u32(random) >> 8) * 0x1p-24f;
}

float gr_random_between(struct gr_random *random, float low, float high) {
    float value = low + (high - low) * gr_random_uniform(random);
    return value < high || low >= high ? value : nextafterf(high, low); /* rounding may have reached `high` */
}

float gr_random_normal(struct gr_random *random) {
    /* In double, so that the last bit of a float does not hang on the C library. One of the pair is dropped:
     * keeping it would make the stream's state larger than its position. */
    double radius = sqrt(-2.0 * log(((double)gr_random_u32(random) + 1.0) * 0x1p-32));
    double angle = 6.283185307179586477 * ((double)gr_random_u32(random) * 0x1p-32);
    return (float)(radius * cos(angle));
}

int64_t gr_random_below(struct gr_random *random, int64_t bound) {
    if (bound <= 1)
        return 0;
    uint64_t range = (uint64_t)bound;
    uint64_t reject =
        (0 - range) % range; /* this many of the 2^64 values would favour the small remainders */
    uint64_t value;
    do {
        value = gr_random_u32(random);
        value = value << 32 | gr_random_u32(random);
    } while (value < reject);
    return (int64_t)(value % range);
}

void gr_random_shuffle(struct gr_random *random, int64_t *items, int64_t n) {
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = gr_random_below(random, i + 1);
        int64_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

uint64_t gr_hash(const char *text) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (const unsigned char *byte = (const unsigned char *)text; *byte; byte++)
        hash = (hash ^ *byte) * 0x100000001B3u;
    return hash;
}
