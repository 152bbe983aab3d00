/* Weights files of every kind, and the network that a file may describe. */
#include "base/memory.h"
#include "io/model.h"
#include "io/weights.h"
#include "net/network.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct gr_weights_limits limits = gr_weights_default_limits();
    struct gr_weights *weights = NULL;
    struct gr_network *net = NULL;
    gr_memory_limit((size_t)256 << 20);
    if (!gr_weights_parse(&weights, bytes, size, "input", &limits) && gr_model_is(weights) &&
        !gr_model_load(&net, weights, 1, false))
        gr_network_free(net);
    gr_weights_free(weights);
    return 0;
}
