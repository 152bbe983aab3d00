#include "base/digest.h"
#include "base/memory.h"
#include "base/status.h"
#include "net/network.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
    const struct gr_param *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Numbers enter the digest in little-endian order, whatever the machine. */
static void add_number(struct gr_digest *digest, uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    gr_digest_add(digest, bytes, sizeof bytes);
}

static int add_tensor(struct gr_digest *digest, const struct gr_param *param) {
    struct gr_tensor packed = {0};
    const char *dtype = param->tensor.dtype == GR_F32 ? "F32" : "I64";
    GR_TRY(gr_tensor_pack(&packed, &param->tensor));
    gr_digest_add(digest, param->name, strlen(param->name) + 1);
    gr_digest_add(digest, dtype, strlen(dtype) + 1);
    add_number(digest, (uint64_t)packed.rank);
    for (int i = 0; i < packed.rank; i++)
        add_number(digest, (uint64_t)packed.shape[i]);
    gr_digest_add(digest, gr_tensor_data(&packed), gr_tensor_bytes(&packed));
    gr_tensor_release(&packed);
    return GR_OK;
}

int gr_network_digest(const struct gr_network *net, bool frozen_only, char hex[65], int *tensors) {
    struct gr_digest digest;
    size_t count = 0;
    int status = GR_OK;
    for (int i = 0; i < net->layer_count; i++)
        count += (size_t)net->layers[i]->param_count;
    const struct gr_param **sorted = gr_calloc(count, sizeof *sorted);
    if (!sorted)
        return GR_ERROR_MEMORY;
    count = 0;
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++)
            if (!frozen_only || net->layers[i]->frozen)
                sorted[count++] = &net->layers[i]->params[j];
    qsort(sorted, count, sizeof *sorted, by_name);
    gr_digest_start(&digest);
    for (size_t i = 0; !status && i < count; i++)
        status = add_tensor(&digest, sorted[i]);
    gr_digest_hex(&digest, hex);
    if (tensors)
        *tensors = (int)count;
    gr_free(sorted);
    return status;
}
