/* How every data set is made: candidates are listed, read once (digest and structure, in parallel), and
 * sorted into samples, sets and the list of what was left out. Private to this room. */
#ifndef GRAFT_DATA_LISTING_H
#define GRAFT_DATA_LISTING_H

#include "data/dataset.h"

struct gr_names { /* a growing list of owned strings */
    char **items;
    int count, capacity;
};

int gr_names_add(struct gr_names *names, const char *name);
void gr_names_sort_unique(struct gr_names *names);
void gr_names_free(struct gr_names *names);

struct gr_candidate {
    char *relative; /* path beneath the folder */
    int set;        /* or -1: by hash */
    struct gr_names classes;
    uint8_t hash[32];
    char *reason; /* why it cannot be read; NULL: it can */
};

struct gr_listing {
    struct gr_dataset *data; /* what is being made */
    struct gr_data_options options;
    struct gr_candidate *candidates;
    int64_t count, capacity;
    int64_t skipped_capacity;
    struct gr_names
        declared; /* classes that exist whether or not they have photos; none: those of the candidates */
    char *folder; /* what goes before `relative` to make a path: "photos/" or "" */
};

/* `path` names the data set; `folder` is opened and photos are read beneath it (NULL: paths are free). After
 * a failure too, gr_listing_free releases everything. */
int gr_listing_start(struct gr_listing *listing, const char *path, const char *folder,
                     const struct gr_data_options *options);

/* One more photo of these classes (copied). */
int gr_listing_add(struct gr_listing *listing, const char *relative, int set, const char *const *classes,
                   int class_count);

/* One more file that is left out; `bad`: it should have been a photo. */
int gr_listing_skip(struct gr_listing *listing, const char *relative, const char *reason, bool bad);

/* Reads all candidates, then makes and checks the data set; it is the caller's. */
int gr_listing_finish(struct gr_listing *listing, struct gr_dataset **out);

void gr_listing_free(struct gr_listing *listing);

/* --- the steps, shared with data sets that are not files --- */

/* data->classes from the names that there are and the user's choice among them. */
int gr_listing_classes(struct gr_dataset *data, const struct gr_names *present,
                       const struct gr_data_options *options);
/* Fills data->sets from given[sample] (a set, or -1: by hash and options->val). */
int gr_listing_sets(struct gr_dataset *data, const int *given, const struct gr_data_options *options);
/* Enough classes, a training photo in each. */
int gr_listing_check(const struct gr_dataset *data, const struct gr_data_options *options);
/* A zeroed data set of that name. */
int gr_listing_dataset(struct gr_dataset **out, const char *path, const struct gr_data_options *options);
/* SHA-256 of a photo's content. */
void gr_listing_hash(const void *bytes, size_t size, uint8_t hash[32]);
/* Which split a name means ("valid" too), in any letter case; -1: none. */
int gr_set_named(const char *name);

#endif
