/* A block of the feature cache: the rows of one set in one view, in memory or in a file, and the store that
 * remembers blocks.
 *
 * A block has a key (64 hex digits) over all that its rows depend on, so rows are found again whoever made
 * them. Blocks are counted by their users; the one thread that owns them makes and releases them, any thread
 * reads rows.
 *
 * The file: "GRAFTROW", version, floats of a row, positions, key; the rows; then for each position whether it
 * has a row, a CRC-32 for each row, and a CRC-32 of all that is no row. Numbers but the rows are
 * little-endian. It is written beside its place and renamed when whole; rows are read by pread and checked
 * each time. */
#ifndef GRAFT_TRAIN_FEATURE_BLOCK_H
#define GRAFT_TRAIN_FEATURE_BLOCK_H

#include "io/file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gr_feature_block {
    char key[65];
    size_t floats;          /* of a row */
    int64_t count, rows;    /* positions in the set, and those that have a row */
    int64_t *row_at;        /* for each position its row, or -1: the photo cannot be read */
    float *values;          /* in memory: [rows, floats]; NULL: in the file */
    char *path;             /* in a file */
    struct gr_source file;  /* open once the file is whole */
    struct gr_writer write; /* open until then */
    uint32_t *sums;         /* CRC-32 of each row of a file */
    int users;
    uint64_t used; /* the store's clock when it was last asked for */
    struct gr_feature_block *next;
};

/* An empty block for `count` positions, of which the caller is a user; path NULL: in memory. GR_ERROR_FILE:
 * the file cannot be made. */
int gr_feature_block_create(struct gr_feature_block **out, const char *key, int64_t count, size_t floats,
                            const char *path);
/* Adds n rows [n, floats] for these positions, which rise from call to call. GR_ERROR_FILE: it cannot be
 * written (the disk is full). */
int gr_feature_block_add(struct gr_feature_block *block, int n, const int64_t *positions, const float *rows);
/* Ends the filling. */
int gr_feature_block_finish(struct gr_feature_block *block);

/* Opens a file that was finished earlier and checks all of it; *out NULL: there is none, or it is damaged, of
 * another key or of other sizes. */
int gr_feature_block_open(struct gr_feature_block **out, const char *key, int64_t count, size_t floats,
                          const char *path);

/* One row into out[floats]. GR_ERROR_DATA: the file was changed meanwhile. */
int gr_feature_block_read(const struct gr_feature_block *block, int64_t row, float *out);

size_t gr_feature_block_memory(const struct gr_feature_block *block); /* bytes of its rows in memory */

/* One user less; the last one's leaving releases it (a file stays). NULL is allowed. */
void gr_feature_block_release(struct gr_feature_block *block);

/* The blocks that are remembered; the store is a user of each. */
struct gr_feature_store {
    struct gr_feature_block *first;
    uint64_t clock;
};

/* The block of this key, with the caller as one more user; NULL: there is none. */
struct gr_feature_block *gr_feature_store_find(struct gr_feature_store *store, const char *key);
/* Remembers a finished block. */
void gr_feature_store_add(struct gr_feature_store *store, struct gr_feature_block *block);
/* Forgets blocks that nobody uses: those in files (a file may be removed by now, but takes up the disk as
 * long as it is open), and of those in memory the one asked for longest ago, until they take at most `bytes`.
 */
void gr_feature_store_shrink(struct gr_feature_store *store, size_t bytes);
size_t gr_feature_store_memory(const struct gr_feature_store *store);
void gr_feature_store_clear(struct gr_feature_store *store);

#endif
