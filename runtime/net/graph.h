/* How the files of net/ build and rebuild a network. Private to the room. */
#ifndef GRAFT_NET_GRAPH_H
#define GRAFT_NET_GRAPH_H

#include "net/network.h"

enum {
    GR_MAX_LAYERS = 10000,
    GR_MAX_NAME = 200,       /* bytes of a layer's, network's or stage's name */
    GR_MAX_CLASS_NAME = 500, /* bytes */
    GR_MAX_CLASSES = 100000,
    GR_MAX_STAGES = 1000,
    GR_MAX_SIDE = 16384, /* pixels */
};

/* Makes a layer that is not in the network yet: options read, shape inferred, parameters drawn. `name` must
 * be free. The caller owns it until gr_graph_insert. */
int gr_graph_make(struct gr_layer **out, const struct gr_network *net, const char *name, const char *kind,
                  const cJSON *options, struct gr_layer *const *inputs, int input_count);
/* A layer with everything but inputs copied, parameters included. */
int gr_graph_copy(struct gr_layer **out, const struct gr_layer *layer);
void gr_graph_release(struct gr_layer *layer); /* NULL is allowed */

/* Makes room, so that `extra` insertions cannot fail. */
int gr_graph_reserve(struct gr_network *net, int extra);
/* Puts the layer at `position`, after gr_graph_reserve; takes ownership. */
void gr_graph_insert(struct gr_network *net, int position, struct gr_layer *layer);
/* Removes and frees every layer whose entry is true; nothing that stays may read one of them. */
void gr_graph_remove(struct gr_network *net, const bool *gone);

/* Infers one layer's shape from the shapes of its inputs; the error names the layer. */
int gr_graph_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out);
/* Infers the shapes (layer_count entries) that are not set yet, c = 0, from those that are. */
int gr_graph_shapes(const struct gr_network *net, struct gr_shape *shapes);

/* Checks a name that comes from a user or a file: not empty, not too long, no control bytes. `what` names its
 * role. */
int gr_graph_check_name(const char *what, const char *name, size_t longest);
/* True when `name` is `tree` or lies below it ("layer1.0" below "layer1"). */
bool gr_graph_below(const char *name, const char *tree);

/* needed[i] = true for every layer that `layer` depends on, itself included. The caller clears it. */
void gr_graph_ancestors(const struct gr_network *net, const struct gr_layer *layer, bool *needed);
/* Position of the last layer at or below `tree`, or -1. */
int gr_graph_last(const struct gr_network *net, const char *tree);
/* Sets head and aux flags of all layers from net->head and net->aux. */
int gr_graph_mark(struct gr_network *net);
/* Of that, which layers are the head: the classifier that net->head names, what lies below its name, and the
 * dropout directly before them. */
void gr_graph_mark_head(struct gr_network *net);
/* The last layer at or above `layer` (by first inputs) whose number of outputs is an option: what a
 * classifier's outputs are changed by. NULL when there is none. */
struct gr_layer *gr_graph_classifier(struct gr_layer *layer);

/* Fresh values for one parameter, from the stream of its name. */
void gr_graph_draw(const struct gr_network *net, struct gr_param *param);
/* The last layer of a classifier starts with small weights and no bias, whatever its kind: the first loss is
 * log(classes), and with fewer photos than features nothing large and random is left in the directions that
 * no photo has. For a layer whose values are still random. */
void gr_graph_draw_classifier(const struct gr_network *net, struct gr_layer *layer);

/* Copies of the listed strings; NULL with the error set. */
char **gr_strings_copy(const char *const *strings, int count);
void gr_strings_free(char **strings, int count);

/* A new network of the layers whose entry in `keep` is true (all their inputs are kept too), with classes,
 * flags and everything else that is independent of the missing layers; output and head are left NULL when
 * they are missing. */
int gr_graph_subset(struct gr_network **out, const struct gr_network *net, const bool *keep);

#endif
