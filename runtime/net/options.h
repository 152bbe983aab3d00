/* Options of layers as data: one table a kind says what there is, and reading, checking, saving and printing
 * walk it. */
#ifndef GRAFT_NET_OPTIONS_H
#define GRAFT_NET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <cjson/cJSON.h>

/* Padding of a window: four sides, or "same" as TensorFlow counts it: the output is ceil(input / stride) and
 * an odd pixel of padding goes to the bottom and right. */
struct gr_padding {
    bool same;
    int top, bottom, left, right;
};

enum gr_option_type {
    GR_OPTION_INT,     /* int */
    GR_OPTION_FLOAT,   /* float */
    GR_OPTION_BOOL,    /* bool */
    GR_OPTION_PAIR,    /* int[2]: height and width; written as one number or {height, width} */
    GR_OPTION_PADDING, /* struct gr_padding: a number, {height, width}, {top, bottom, left, right} or "same"
                        */
    GR_OPTION_STRING,  /* char *, owned by the options */
    GR_OPTION_JSON,    /* cJSON *, owned by the options */
};

struct gr_option {
    const char *name;
    enum gr_option_type type;
    size_t offset; /* of the field in the kind's options struct */
    bool required;
    double fallback; /* numbers, booleans, pairs (both) and padding (all sides); strings and JSON fall back to
                        NULL */
    double low, high; /* allowed range of numbers (of each part of a pair or padding), both ends included;
                         both 0: any */
};

/* Fills the options struct (zeroed by the caller) from a JSON object (NULL: all defaults). `who` names the
 * layer in messages. Unknown keys fail with the nearest right one; on failure nothing is owned. */
int gr_options_read(const struct gr_option *table, const cJSON *object, const char *who, void *options);
/* A new JSON object with every option that differs from its default; NULL with the error set when memory ran
 * out. */
cJSON *gr_options_write(const struct gr_option *table, const void *options);
/* Releases strings and JSON inside the struct, not the struct. */
void gr_options_clear(const struct gr_option *table, void *options);

#endif
