/* Every kind of layer, once. A new kind adds its name here. */
#include "base/status.h"
#include "base/text.h"
#include "net/layer.h"

#include <string.h>

#define KINDS(KIND)                                                                                          \
    KIND(gr_layer_conv2d)                                                                                    \
    KIND(gr_layer_linear)                                                                                    \
    KIND(gr_layer_batch_norm)                                                                                \
    KIND(gr_layer_group_norm)                                                                                \
    KIND(gr_layer_relu)                                                                                      \
    KIND(gr_layer_relu6)                                                                                     \
    KIND(gr_layer_leaky_relu)                                                                                \
    KIND(gr_layer_silu)                                                                                      \
    KIND(gr_layer_hardswish)                                                                                 \
    KIND(gr_layer_hardsigmoid)                                                                               \
    KIND(gr_layer_sigmoid)                                                                                   \
    KIND(gr_layer_tanh)                                                                                      \
    KIND(gr_layer_softmax)                                                                                   \
    KIND(gr_layer_max_pool)                                                                                  \
    KIND(gr_layer_avg_pool)                                                                                  \
    KIND(gr_layer_global_avg_pool)                                                                           \
    KIND(gr_layer_global_max_pool)                                                                           \
    KIND(gr_layer_adaptive_avg_pool)                                                                         \
    KIND(gr_layer_add)                                                                                       \
    KIND(gr_layer_multiply)                                                                                  \
    KIND(gr_layer_concat)                                                                                    \
    KIND(gr_layer_flatten)                                                                                   \
    KIND(gr_layer_dropout)                                                                                   \
    KIND(gr_layer_custom)

#define DECLARE(kind) extern const struct gr_layer_kind kind;
KINDS(DECLARE)

#define ADDRESS(kind) &kind,
const struct gr_layer_kind *const gr_layer_kinds[] = {KINDS(ADDRESS) NULL};

enum { KIND_COUNT = sizeof gr_layer_kinds / sizeof *gr_layer_kinds - 1 };

const struct gr_layer_kind *gr_layer_kind_find(const char *name) {
    const char *names[KIND_COUNT], *near;
    char shown[64];
    for (int i = 0; i < KIND_COUNT; i++) {
        names[i] = gr_layer_kinds[i]->name;
        if (!strcmp(name, names[i]))
            return gr_layer_kinds[i];
    }
    near = gr_nearest(name, names, KIND_COUNT);
    gr_printable(name, shown, sizeof shown);
    if (near) {
        gr_fail(GR_ERROR_NAME, "there is no layer kind \"%s\"; nearest: \"%s\"", shown, near);
        gr_fail_near(near);
    } else {
        gr_fail(GR_ERROR_NAME, "there is no layer kind \"%s\"", shown);
    }
    return NULL;
}
