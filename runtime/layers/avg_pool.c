/* Average over windows. */
#include "base/status.h"
#include "layers/pooling.h"

static const struct gr_option avg_pool_option_table[] = {
    GR_POOLING_OPTIONS,
    {"count_padding", GR_OPTION_BOOL, offsetof(struct gr_pooling_options, count_padding), false, 1, 0, 1},
    {.name = NULL},
};

static int avg_pool_forward(const struct gr_pass *pass) {
    struct gr_pooling pool = gr_pooling_of(pass->layer, pass->geometry);
    gr_avg_pool_forward(&pool, pass->n, pass->x[0], pass->y);
    return GR_OK;
}

static int avg_pool_backward(const struct gr_pass *pass) {
    struct gr_pooling pool = gr_pooling_of(pass->layer, pass->geometry);
    if (pass->gx[0])
        gr_avg_pool_backward(&pool, pass->n, pass->gy, pass->gx[0], pass->accumulate[0]);
    return GR_OK;
}

static int avg_pool_operators(const struct gr_layer *layer, struct gr_operators *to) {
    return gr_pooling_operators(layer, "AveragePool", true, to);
}

const struct gr_layer_kind gr_layer_avg_pool = {
    .name = "avg_pool",
    .summary = "average over windows; count_padding = false leaves padding out of the divisor",
    .inputs_min = 1,
    .inputs_max = 1,
    .options_size = sizeof(struct gr_pooling_options),
    .options = avg_pool_option_table,
    .shape = gr_pooling_shape,
    .forward = avg_pool_forward,
    .backward = avg_pool_backward,
    .operators = avg_pool_operators,
};
