/* A data set: photos with their classes, in three sets, and the list of what was left out and why.
 *
 * Photos are samples 0..sample_count-1 in listing order (folders: by file name, byte by byte; tables: by
 * row); the sets hold sample numbers, in the same order. Labels are positions in `classes`. Every photo was
 * read once while listing: its SHA-256 decides the split and finds duplicates, and its structure was checked
 * (gr_image_check); decoding comes later, in the loader. */
#ifndef GRAFT_DATA_DATASET_H
#define GRAFT_DATA_DATASET_H

#include "data/augment.h"
#include "data/image.h"

enum gr_set_kind { GR_TRAIN, GR_VAL, GR_TEST, GR_SETS };

struct gr_sample {
    char *file;            /* as a person may open it: "photos/mugs/a.jpg"; IDX: "train-images 17" */
    const char *relative;  /* inside `file`: the part beneath the data set's folder */
    const uint8_t *pixels; /* grey [h, w] bytes in memory (IDX), or NULL: read the file */
    int label;             /* class; -1 with several labels a photo */
    uint8_t hash[32];      /* SHA-256 of the file's bytes, or of the pixels */
    bool broken;           /* could not be decoded; it is in `skipped` */
};

struct gr_skipped {
    char *file;   /* relative to the folder */
    char *reason; /* "ends early", "no photo", "HEIC is not read; export it as JPEG" */
};

struct gr_duplicate { /* the same content in two classes, or in two sets */
    int64_t first, second;
};

struct gr_dataset {
    char *name;     /* last part of the path, for messages: "photos" */
    char *path;     /* as the user gave it */
    char **classes; /* names; byte order unless the user gave another */
    int class_count;
    bool multilabel;
    uint8_t *labels; /* [sample_count, class_count] 0/1 with several labels a photo, else NULL */

    struct gr_sample *samples;
    int64_t sample_count;
    struct gr_set *sets[GR_SETS]; /* train, val, test; each may be empty */
    float val_fraction;           /* what the split by hash held out; 0: the sets were given */
    bool val_by_default;          /* nobody asked for that fraction: say it aloud */

    struct gr_skipped *skipped;
    int64_t skipped_count;
    int64_t bad_count; /* of them: photos (a text file beside the photos is skipped, but was none) */
    float max_skip;    /* bad photos, as a part of all, above which loading fails (one is always let off) */
    bool bad_is_error; /* on_bad = "error" */
    struct gr_duplicate *duplicates;
    int64_t duplicate_count;

    int width, height;             /* of the photos in memory (IDX) */
    int root;                      /* descriptor of the folder that photos are opened beneath, or -1 */
    int size;                      /* option `size`: input side that overrides the network's; 0: none */
    size_t cache_limit;            /* bytes of decoded photos to keep: gr_memory_share() */
    struct gr_photo_cache *caches; /* the loader's */
    struct gr_pixels *pixels;      /* block of IDX pixels, shared between copies */
};

/* Some of a data set's photos, in an order. */
struct gr_set {
    struct gr_dataset *data; /* not owned: keep it alive */
    enum gr_set_kind kind;
    int64_t *samples; /* sample numbers */
    int64_t count;
};

struct gr_data_options {
    float val; /* part held out for validation; < 0: 0.2 if no val folder is there. 0: none */
    const char *const *classes; /* order, and subset, of the classes; NULL: all, in byte order */
    int class_count;
    bool bad_is_error; /* a photo that cannot be read is an error, not skipped */
    float max_skip;    /* above this part of bad photos: an error; < 0: 0.05 */
    int size;
    int min_classes; /* fewer are an error; 0: 2 */
};

#define GR_DATA_OPTIONS ((struct gr_data_options){.val = -1, .max_skip = -1})

/* Folders `train` and `val` (or `valid`, `validation`) and perhaps `test`, each with one folder a class; or
 * one folder a class, of which a part is held out. Hidden names are ignored; folders inside a class are
 * walked; links that leave the folder and files that are none (pipes) are skipped. GR_ERROR_FILE: no such
 * folder; GR_ERROR_DATA: no class folders, one class, an empty class, too many bad photos; GR_ERROR_NAME: a
 * class that is not there. `options` NULL: the defaults. *out is released by gr_data_free. */
int gr_data_folder(struct gr_dataset **out, const char *dir, const struct gr_data_options *options);

struct gr_csv_options {
    const char *image;        /* column of paths, relative to the CSV; needed */
    const char *label;        /* column of one class, or */
    const char *labels;       /* column of several, cut at `separator`, or */
    const char *separator;    /* NULL: "|" */
    const char *const *flags; /* columns of 0 and 1, one a class */
    int flag_count;
    const char *split; /* column that says train, val or test; NULL: by `val` */
};

/* A table with a header line, as RFC 4180 has it: fields in quotes may hold commas, newlines and "". */
int gr_data_csv(struct gr_dataset **out, const char *path, const struct gr_csv_options *csv,
                const struct gr_data_options *options);

/* The IDX files of MNIST and Fashion-MNIST, plain or .gz: train-images-idx3-ubyte, train-labels-idx1-ubyte
 * become train and val, t10k-* test. `names`: of labels 0, 1, ... (NULL: "0", "1", ...); options->classes
 * chooses among them. */
int gr_data_idx(struct gr_dataset **out, const char *dir, const char *const *names, int name_count,
                const struct gr_data_options *options);

struct gr_data_item {
    const char *image;         /* path */
    const char *label;         /* class name, or NULL: */
    const char *const *labels; /* several names a photo (then for all items) */
    int label_count;
    int set; /* GR_TRAIN, GR_VAL, GR_TEST; -1: by hash, as options->val says */
};
/* Photos from anywhere. */
int gr_data_list(struct gr_dataset **out, const struct gr_data_item *items, int64_t count,
                 const struct gr_data_options *options);

void gr_data_free(struct gr_dataset *data);

/* A copy whose training set holds only these of its own samples (a set of `data`); val and test stay. */
int gr_data_with(struct gr_dataset **out, const struct gr_dataset *data, const struct gr_set *train);

/* A set of one's own: copies `samples`. Release by gr_set_free (the three of a data set are its own). */
int gr_set_create(struct gr_set **out, struct gr_dataset *data, enum gr_set_kind kind, const int64_t *samples,
                  int64_t count);
/* At most `per_class` photos of each class, drawn by `seed`, in the set's order. GR_ERROR_OPTION below 1, and
 * with several labels a photo. */
int gr_set_take(struct gr_set **out, const struct gr_set *set, int64_t per_class, uint64_t seed);
void gr_set_free(struct gr_set *set);

/* Photos of each class in a set (NULL: in all of the data set) into counts[class_count]. */
void gr_data_counts(const struct gr_dataset *data, const struct gr_set *set, int64_t *counts);

/* Name of a sample's class; with several labels a photo: NULL. */
const char *gr_data_class(const struct gr_dataset *data, int64_t sample);

/* The sample's row of targets, 0 and 1, into row[class_count]. */
void gr_data_target(const struct gr_dataset *data, int64_t sample, float *row);

/* columns[i] becomes the position of data->classes[i] in `names`: classes are matched by name. GR_ERROR_NAME
 * says which classes are here and not there, when the two are not the same names. */
int gr_data_match(const struct gr_dataset *data, const char *const *names, int count, int *columns);

/* Reads and decodes one photo: the file again, beneath its folder. Messages name the file. */
int gr_data_read(const struct gr_dataset *data, int64_t sample, struct gr_image *out);

/* The bytes of a photo's file, beneath its folder; released by gr_free. NULL and 0 when the photo is in
 * memory (IDX). Messages name the file. */
int gr_data_file(const struct gr_dataset *data, int64_t sample, uint8_t **bytes, size_t *size);

/* Lists one more photo as skipped (a failure while decoding). GR_ERROR_DATA when that makes too many. */
int gr_data_skip(struct gr_dataset *data, int64_t sample, const char *reason);

/* SHA-256 over classes, sets, names and contents of the listing: the same photos, the same digest. */
void gr_data_digest(const struct gr_dataset *data, char hex[65]);

#endif
