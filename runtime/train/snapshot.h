/* A copy of a network's tensors in memory: what `keep = "best"` goes back to, and what looking puts back. */
#ifndef GRAFT_TRAIN_SNAPSHOT_H
#define GRAFT_TRAIN_SNAPSHOT_H

#include "net/network.h"

struct gr_snapshot;

/* Copies all tensors, or only those of layers that are not frozen. */
int gr_snapshot_take(struct gr_snapshot **out, const struct gr_network *net, bool trainable_only);
/* Copies today's values into the snapshot again, without allocating. The network's layers and shapes must be
 * the same. */
int gr_snapshot_update(struct gr_snapshot *snapshot, const struct gr_network *net);
/* Puts the values back. GR_ERROR_NAME or GR_ERROR_SHAPE when the network has lost one of the tensors; then
 * nothing is changed. */
int gr_snapshot_restore(const struct gr_snapshot *snapshot, struct gr_network *net);
void gr_snapshot_free(struct gr_snapshot *snapshot); /* NULL is allowed */

#endif
