/* Photos kept in memory between epochs, after the first half of preprocessing. Private to this room. */
#ifndef GRAFT_DATA_KEEP_H
#define GRAFT_DATA_KEEP_H

#include "data/augment.h"
#include "data/dataset.h"

/* The photos of one data set for one first half of preprocessing. They are those of the data set until
 * gr_data_forget. */
struct gr_photo_cache;

/* Finds or makes it; called by the thread that owns the data set. */
int gr_keep_open(struct gr_photo_cache **out, struct gr_dataset *data, struct gr_shape input,
                 const struct gr_preprocessing *preprocessing, const struct gr_augment *augment);

/* From any thread: the kept photo of a sample, or NULL. */
const struct gr_photo *gr_keep_find(struct gr_photo_cache *cache, int64_t sample);

/* From any thread: hands a photo over. It is kept while there is room, else released; *photo becomes zero. */
void gr_keep_offer(struct gr_photo_cache *cache, int64_t sample, struct gr_photo *photo);

#endif
