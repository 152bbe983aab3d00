/* Models: a network in a safetensors file, with its architecture as data in the metadata; and weights put
 * into a network by name.
 *
 * Metadata keys: "graft.network" (the architecture, as gr_network_describe gives it), "graft.format" (the
 * version of these rules), "graft.digest" (of the tensors), and the network's own metadata (licence, what it
 * started from). */
#ifndef GRAFT_IO_MODEL_H
#define GRAFT_IO_MODEL_H

#include "io/weights.h"
#include "net/network.h"

/* Writes the network. `with_aux` false leaves its auxiliary classifiers out. */
int gr_model_save(const struct gr_network *net, const char *path, bool with_aux);
/* The same as a list in memory, so that a checkpoint can add its own tensors and metadata before it writes.
 * The tensors are references to the network's. */
int gr_model_pack(struct gr_weights **out, const struct gr_network *net, bool with_aux);

/* The same, auxiliary classifiers included, with copies of the tensors that training may change (of layers
 * that are not frozen): a state of the network that can be written later. */
int gr_model_hold(struct gr_weights **out, const struct gr_network *net);

/* Does this file hold a model, not just weights? */
bool gr_model_is(const struct gr_weights *weights);
/* Rebuilds the network that a model file describes and fills it. Each of its tensors must be there in its
 * shape; other tensors in the file are left alone. `seed` is for what is drawn later (a new head). `take`: as
 * in gr_apply_options. */
int gr_model_load(struct gr_network **out, const struct gr_weights *weights, uint64_t seed, bool take);

struct gr_prefix {
    const char *file, *network; /* names that start with `file` are taken as if they started with `network` */
};

struct gr_apply_options {
    bool allow_head_mismatch; /* tensors of the head may be missing or of another shape; they stay as they are
                               */
    bool allow_missing_aux;   /* tensors of auxiliary classifiers may be missing or of another shape */
    const struct gr_prefix *prefixes; /* the first that fits is applied, once */
    int prefix_count;
    bool take; /* a deferred network (net/network.h) gets the tensors themselves, without a second copy in
                  memory: the caller frees the list next and lets nothing else of it be used */
    const char *source; /* recorded in layer->source; NULL: the file's name */
};

struct gr_names {
    char **names;
    int count;
};

struct gr_apply_report {
    int applied; /* tensors taken over */
    struct gr_names
        missing; /* in the network, not in the file (old files' num_batches_tracked is not listed) */
    struct gr_names unused;      /* in the file, not in the network (GoogLeNet's auxiliary classifiers) */
    struct gr_names other_shape; /* "fc.weight: [1000,512] in the file, [4,512] in the network" */
};

/* Copies tensors into the network by name. Whether to do it is decided before the first byte is copied: a
 * tensor of the body that is missing (GR_ERROR_NAME) or of another shape (GR_ERROR_SHAPE) is an error that
 * names the first ones, and the network stays as it was. Sets layer->source, and in net->metadata
 * "weights.file", "weights.sha256" and, when the file names them, "weights.licence" and "weights.source".
 * `report` (may be NULL) is overwritten, also on failure: gr_apply_report_clear. */
int gr_weights_apply(struct gr_network *net, const struct gr_weights *weights,
                     const struct gr_apply_options *options, struct gr_apply_report *report);
void gr_apply_report_clear(struct gr_apply_report *report);

#endif
