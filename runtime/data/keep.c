#include "data/keep.h"

#include "base/memory.h"
#include "base/status.h"
#include "data/loader.h"

#include <stdatomic.h>
#include <string.h>

/* All that the first half depends on. Compared byte by byte, so it is zeroed before it is filled. */
struct key {
    int w, h, resize, stretch, interpolation, crop;
    float scale, ratio[2];
};

struct gr_photo_cache {
    struct gr_photo_cache *next; /* of the same data set */
    const struct gr_dataset *data;
    struct key key;
    atomic_size_t bytes;
    int64_t count;
    _Atomic(struct gr_photo *) *photos; /* [count]; NULL: not kept */
};

int gr_keep_open(struct gr_photo_cache **out, struct gr_dataset *data, struct gr_shape input,
                 const struct gr_preprocessing *preprocessing, const struct gr_augment *augment) {
    struct key key;
    memset(&key, 0, sizeof key);
    key.w = input.w;
    key.h = input.h;
    key.resize = preprocessing->resize;
    key.stretch = preprocessing->stretch;
    key.interpolation = (int)preprocessing->interpolation;
    if (augment && augment->crop) {
        key.crop = 1;
        key.scale = augment->scale[0];
        key.ratio[0] = augment->ratio[0];
        key.ratio[1] = augment->ratio[1];
    }
    for (*out = data->caches; *out; *out = (*out)->next)
        if (!memcmp(&(*out)->key, &key, sizeof key))
            return GR_OK;
    struct gr_photo_cache *cache = gr_calloc(1, sizeof *cache);
    if (!cache)
        return GR_ERROR_MEMORY;
    cache->photos = gr_calloc((size_t)data->sample_count + 1, sizeof *cache->photos);
    if (!cache->photos) {
        gr_free(cache);
        return GR_ERROR_MEMORY;
    }
    cache->key = key;
    cache->data = data;
    cache->count = data->sample_count;
    cache->next = data->caches;
    data->caches = *out = cache;
    return GR_OK;
}

const struct gr_photo *gr_keep_find(struct gr_photo_cache *cache, int64_t sample) {
    return atomic_load_explicit(&cache->photos[sample], memory_order_acquire);
}

/* Takes `bytes` from the budget, which all caches of the data set share; false: it is spent. */
static bool reserve(struct gr_photo_cache *cache, size_t bytes) {
    struct gr_memory memory = gr_memory();
    if (memory.limit && memory.live > memory.limit / 2)
        return false; /* the rest is for the work itself */
    if (atomic_fetch_add(&cache->bytes, bytes) + bytes <= cache->data->cache_limit &&
        gr_data_kept(cache->data, NULL) <= cache->data->cache_limit)
        return true;
    atomic_fetch_sub(&cache->bytes, bytes);
    return false;
}

void gr_keep_offer(struct gr_photo_cache *cache, int64_t sample, struct gr_photo *photo) {
    size_t bytes = (size_t)photo->image.w * (size_t)photo->image.h * 3 + sizeof *photo + 2 * GR_ALIGNMENT;
    struct gr_photo *kept = NULL, *none = NULL;
    if (!cache->data->samples[sample].pixels && reserve(cache, bytes)) {
        kept = gr_alloc(sizeof *kept);
        if (kept) {
            *kept = *photo;
            if (atomic_compare_exchange_strong(&cache->photos[sample], &none, kept)) {
                *photo = (struct gr_photo){0};
                return;
            }
            gr_free(kept);
        }
        atomic_fetch_sub(&cache->bytes, bytes);
    }
    gr_photo_free(photo);
}

size_t gr_data_kept(const struct gr_dataset *data, int64_t *photos) {
    size_t bytes = 0;
    if (photos)
        *photos = 0;
    for (struct gr_photo_cache *cache = data->caches; cache; cache = cache->next) {
        bytes += atomic_load(&cache->bytes);
        for (int64_t i = 0; photos && i < cache->count; i++)
            *photos += atomic_load(&cache->photos[i]) != NULL;
    }
    return bytes;
}

void gr_data_forget(struct gr_dataset *data) {
    while (data->caches) {
        struct gr_photo_cache *cache = data->caches;
        data->caches = cache->next;
        for (int64_t i = 0; i < cache->count; i++) {
            struct gr_photo *photo = atomic_load(&cache->photos[i]);
            if (photo)
                gr_photo_free(photo);
            gr_free(photo);
        }
        gr_free(cache->photos);
        gr_free(cache);
    }
}
