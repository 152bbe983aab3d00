/* A small residual network, named like ResNet, for tests of net/ and train/: input [3,16,16]. */
#ifndef GRAFT_TESTS_SMALL_NETWORK_H
#define GRAFT_TESTS_SMALL_NETWORK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "net/network.h"

/* Ends the test program's run with the message when a call that must work fails. */
#define WORKS(call)                                                                                          \
    do {                                                                                                     \
        if (call) {                                                                                          \
            print_error("%s\n", gr_error()->message);                                                        \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

static inline struct gr_layer *small_add(struct gr_network *net, const char *name, const char *kind,
                                         const char *options, struct gr_layer *a, struct gr_layer *b) {
    struct gr_layer *inputs[] = {a, b}, *out = NULL;
    cJSON *json = options ? cJSON_Parse(options) : NULL;
    int status = gr_network_add(net, name, kind, json, inputs, b ? 2 : 1, &out);
    cJSON_Delete(json);
    WORKS(status);
    return out;
}

static inline struct gr_layer *small_unit(struct gr_network *net, const char *conv, const char *norm,
                                          const char *options, struct gr_layer *x) {
    x = small_add(net, conv, "conv2d", options, x, NULL);
    return small_add(net, norm, "batch_norm", NULL, x, NULL);
}

/* conv1 bn1 relu | layer1.0 | layer2.0 with a downsample | avgpool drop fc, three classes. */
static inline struct gr_network *small_network(uint64_t seed) {
    static const char *const stages[] = {"conv1", "layer1", "layer2"}, *const classes[] = {"a", "b", "c"};
    const char *half = "{\"out\":8,\"kernel\":3,\"padding\":1,\"stride\":2,\"bias\":false}";
    const char *same4 = "{\"out\":4,\"kernel\":3,\"padding\":1,\"bias\":false}";
    const char *same8 = "{\"out\":8,\"kernel\":3,\"padding\":1,\"bias\":false}";
    struct gr_network *net;
    WORKS(gr_network_create(&net, "small", (struct gr_shape){3, 16, 16, false}, NULL, seed));
    struct gr_layer *x = small_unit(net, "conv1", "bn1", same4, net->layers[0]), *y, *z;
    x = small_add(net, NULL, "relu", NULL, x, NULL);
    y = small_unit(net, "layer1.0.conv1", "layer1.0.bn1", same4, x);
    y = small_add(net, NULL, "relu", NULL, y, NULL);
    y = small_unit(net, "layer1.0.conv2", "layer1.0.bn2", same4, y);
    y = small_add(net, NULL, "add", NULL, y, x);
    x = small_add(net, NULL, "relu", NULL, y, NULL);
    y = small_unit(net, "layer2.0.conv1", "layer2.0.bn1", half, x);
    y = small_add(net, NULL, "relu", NULL, y, NULL);
    y = small_unit(net, "layer2.0.conv2", "layer2.0.bn2", same8, y);
    z = small_unit(net, "layer2.0.downsample.0", "layer2.0.downsample.1",
                   "{\"out\":8,\"kernel\":1,\"stride\":2,\"bias\":false}", x);
    y = small_add(net, NULL, "add", NULL, y, z);
    x = small_add(net, NULL, "relu", NULL, y, NULL);
    x = small_add(net, NULL, "global_avg_pool", NULL, x, NULL);
    x = small_add(net, "drop", "dropout", "{\"p\":0.2}", x, NULL);
    x = small_add(net, "fc", "linear", "{\"out\":3}", x, NULL);
    WORKS(gr_network_finish(net, x, "fc", stages, 3));
    WORKS(gr_network_set_classes(net, classes, 3));
    return net;
}

#endif
