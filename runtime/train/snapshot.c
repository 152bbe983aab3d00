#include "train/snapshot.h"

#include "base/memory.h"
#include "base/status.h"

#include <string.h>

struct item {
    char *name;
    struct gr_tensor tensor;
};

struct gr_snapshot {
    struct item *items; /* in network order */
    int count;
};

void gr_snapshot_free(struct gr_snapshot *snapshot) {
    if (!snapshot)
        return;
    for (int i = 0; i < snapshot->count; i++) {
        gr_tensor_release(&snapshot->items[i].tensor);
        gr_free(snapshot->items[i].name);
    }
    gr_free(snapshot->items);
    gr_free(snapshot);
}

static int take_layer(struct gr_snapshot *snapshot, const struct gr_layer *layer) {
    for (int i = 0; i < layer->param_count; i++) {
        struct item *item = &snapshot->items[snapshot->count++];
        item->name = gr_strdup(layer->params[i].name);
        if (!item->name)
            return GR_ERROR_MEMORY;
        GR_TRY(gr_tensor_copy(&item->tensor, &layer->params[i].tensor));
    }
    return GR_OK;
}

int gr_snapshot_take(struct gr_snapshot **out, const struct gr_network *net, bool trainable_only) {
    struct gr_snapshot *snapshot = gr_calloc(1, sizeof *snapshot);
    size_t count = 0;
    int status = GR_OK;
    if (!snapshot)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < net->layer_count; i++)
        count += (size_t)net->layers[i]->param_count;
    snapshot->items = gr_calloc(count, sizeof *snapshot->items);
    if (!snapshot->items)
        status = GR_ERROR_MEMORY;
    for (int i = 0; !status && i < net->layer_count; i++)
        if (!trainable_only || !net->layers[i]->frozen)
            status = take_layer(snapshot, net->layers[i]);
    if (status)
        gr_snapshot_free(snapshot);
    else
        *out = snapshot;
    return status;
}

/* The parameter that belongs to an item, with the shape that it had. */
static int find(const struct gr_network *net, const struct item *item, struct gr_param **out) {
    struct gr_param *param = gr_network_param(net, item->name);
    if (!param)
        return gr_fail(GR_ERROR_NAME, "%s has no tensor \"%s\" any more", net->name, item->name);
    if (!gr_tensor_same_shape(&param->tensor, &item->tensor) || param->tensor.dtype != item->tensor.dtype ||
        !gr_tensor_contiguous(&param->tensor))
        return gr_fail(GR_ERROR_SHAPE, "tensor \"%s\" of %s has another shape than before", item->name,
                       net->name);
    *out = param;
    return GR_OK;
}

static int check(const struct gr_snapshot *snapshot, const struct gr_network *net) {
    struct gr_param *param;
    for (int i = 0; i < snapshot->count; i++)
        GR_TRY(find(net, &snapshot->items[i], &param));
    return GR_OK;
}

int gr_snapshot_update(struct gr_snapshot *snapshot, const struct gr_network *net) {
    struct gr_param *param;
    GR_TRY(check(snapshot, net));
    for (int i = 0; i < snapshot->count; i++) {
        struct item *item = &snapshot->items[i];
        GR_TRY(find(net, item, &param));
        memcpy(gr_tensor_data(&item->tensor), gr_tensor_data(&param->tensor), gr_tensor_bytes(&item->tensor));
    }
    return GR_OK;
}

int gr_snapshot_restore(const struct gr_snapshot *snapshot, struct gr_network *net) {
    struct gr_param *param;
    GR_TRY(check(snapshot, net));
    for (int i = 0; i < snapshot->count; i++) {
        const struct item *item = &snapshot->items[i];
        GR_TRY(find(net, item, &param));
        memcpy(gr_tensor_data(&param->tensor), gr_tensor_data(&item->tensor), gr_tensor_bytes(&item->tensor));
        gr_param_touch(param);
    }
    return GR_OK;
}
