/* Tensors into a network by name: what gr_weights_apply and gr_model_load share. Private to io/. */
#ifndef GRAFT_IO_APPLY_H
#define GRAFT_IO_APPLY_H

#include "io/model.h"

/* gr_weights_apply without the note of where the weights came from. `options` and `report` may be NULL. */
int gr_apply_tensors(struct gr_network *net, const struct gr_weights *weights,
                     const struct gr_apply_options *options, struct gr_apply_report *report);
/* Sets an entry of net->metadata. */
int gr_apply_note(struct gr_network *net, const char *key, const char *value);

#endif
