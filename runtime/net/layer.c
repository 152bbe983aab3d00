#include "net/layer.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "base/text.h"
#include "base/threads.h"
#include "net/graph.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    DRAW_CHUNK =
        1 << 16,        /* numbers from one stream; part of every result, as it is part of the stream's key */
    MAX_SIDE = 1 << 20, /* of one activation, so that products of two fit an int64 */
};
static const int64_t max_elements = (int64_t)1 << 31; /* of one photo's activation */

void gr_param_touch(struct gr_param *param) {
    param->version++;
}

struct gr_param *gr_layer_param(const struct gr_layer *layer, const char *role) {
    for (int i = 0; i < layer->param_count; i++)
        if (strcmp(layer->params[i].role, role) == 0)
            return &layer->params[i];
    return NULL;
}

struct draw {
    const struct gr_param *param;
    float *to;
    int64_t count;
    uint64_t seed, name;
};

static void draw_chunk(void *context, int64_t chunk, int worker) {
    const struct draw *draw = context;
    struct gr_random random = gr_random(draw->seed, GR_RANDOM_INIT, draw->name, (uint64_t)chunk, 0);
    int64_t first = chunk * DRAW_CHUNK, last = first + DRAW_CHUNK;
    (void)worker;
    if (last > draw->count)
        last = draw->count;
    if (draw->param->init == GR_INIT_HE) {
        float deviation = sqrtf(2.0f / (float)(draw->param->fan_out > 0 ? draw->param->fan_out : 1));
        for (int64_t i = first; i < last; i++)
            draw->to[i] = deviation * gr_random_normal(&random);
    } else if (draw->param->init == GR_INIT_SMALL) {
        for (int64_t i = first; i < last; i++)
            draw->to[i] = 0.01f * gr_random_normal(&random);
    } else {
        float bound = 1.0f / sqrtf((float)(draw->param->fan_in > 0 ? draw->param->fan_in : 1));
        for (int64_t i = first; i < last; i++)
            draw->to[i] = gr_random_between(&random, -bound, bound);
    }
}

void gr_graph_draw(const struct gr_network *net, struct gr_param *param) {
    int64_t count = gr_tensor_count(&param->tensor);
    float *to = gr_tensor_floats(&param->tensor);
    if (!to) {
        memset(gr_tensor_data(&param->tensor), 0, gr_tensor_bytes(&param->tensor));
    } else if (param->init == GR_INIT_ZEROS) {
        memset(to, 0, gr_tensor_bytes(&param->tensor));
    } else if (param->init == GR_INIT_ONES) {
        for (int64_t i = 0; i < count; i++)
            to[i] = 1;
    } else {
        struct draw draw = {param, to, count, net->seed, gr_hash(param->name)};
        gr_parallel((count + DRAW_CHUNK - 1) / DRAW_CHUNK, draw_chunk, &draw);
    }
    gr_param_touch(param);
}

void gr_graph_draw_classifier(const struct gr_network *net, struct gr_layer *layer) {
    for (int i = 0; i < layer->param_count; i++) {
        struct gr_param *param = &layer->params[i];
        enum gr_init init = param->decays ? GR_INIT_SMALL : GR_INIT_ZEROS;
        if (param->buffer || param->init == init)
            continue;
        param->init = init;
        if (!net->deferred)
            gr_graph_draw(net, param);
    }
}

static char *join(const char *layer, const char *role) {
    size_t size = strlen(layer) + strlen(role) + 2;
    char *name = gr_alloc(size);
    if (name)
        snprintf(name, size, "%s.%s", layer, role);
    return name;
}

static int make_params(struct gr_layer *layer, const struct gr_network *net, const struct gr_shape *in) {
    struct gr_param_spec specs[GR_MAX_PARAMS] = {0};
    if (!layer->kind->parameters)
        return GR_OK;
    int count = layer->kind->parameters(layer, in, specs);
    if (count < 0)
        return gr_fail_in("layer \"%s\"", layer->name);
    layer->params = gr_calloc((size_t)count, sizeof *layer->params);
    if (!layer->params)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < count; i++) {
        struct gr_param *param = &layer->params[i];
        *param = (struct gr_param){.buffer = specs[i].buffer,
                                   .decays = specs[i].decays,
                                   .init = specs[i].init,
                                   .fan_in = specs[i].fan_in,
                                   .fan_out = specs[i].fan_out};
        layer->param_count = i + 1;
        param->name = join(layer->name, specs[i].role);
        if (!param->name)
            return GR_ERROR_MEMORY;
        param->role = param->name + strlen(layer->name) + 1;
        if ((net->deferred ? gr_tensor_create : gr_tensor_reserve)(&param->tensor, specs[i].dtype,
                                                                   specs[i].rank, specs[i].shape))
            return gr_fail_in("tensor \"%s\"", param->name);
        if (!net->deferred)
            gr_graph_draw(net, param);
    }
    return GR_OK;
}

int gr_graph_shape(const struct gr_layer *layer, const struct gr_shape *in, struct gr_shape *out) {
    struct gr_shape shape = {0};
    if (layer->kind->shape(layer, in, &shape))
        return gr_fail_in("layer \"%s\"", layer->name);
    if (shape.c < 1 || shape.h < 1 || shape.w < 1)
        return gr_fail(GR_ERROR_SHAPE, "layer \"%s\": nothing is left of its input: output [%d,%d,%d]",
                       layer->name, shape.c, shape.h, shape.w);
    if (shape.h > MAX_SIDE || shape.w > MAX_SIDE || (int64_t)shape.h * shape.w > max_elements / shape.c)
        return gr_fail(GR_ERROR_LIMIT, "layer \"%s\": output [%d,%d,%d] is too large", layer->name, shape.c,
                       shape.h, shape.w);
    *out = shape;
    return GR_OK;
}

static int make_inputs(struct gr_layer *layer, struct gr_layer *const *inputs, int count) {
    const struct gr_layer_kind *kind = layer->kind;
    if (count < kind->inputs_min || count > kind->inputs_max || count > GR_MAX_INPUTS)
        return gr_fail(GR_ERROR_SHAPE, "layer \"%s\": %s takes %d to %d inputs, not %d", layer->name,
                       kind->name, kind->inputs_min, kind->inputs_max, count);
    layer->inputs = gr_calloc((size_t)count, sizeof *layer->inputs);
    if (!layer->inputs)
        return GR_ERROR_MEMORY;
    memcpy(layer->inputs, inputs, (size_t)count * sizeof *inputs);
    layer->input_count = count;
    return GR_OK;
}

int gr_graph_make(struct gr_layer **out, const struct gr_network *net, const char *name, const char *kind,
                  const cJSON *options, struct gr_layer *const *inputs, int input_count) {
    const struct gr_layer_kind *found = gr_layer_kind_find(kind);
    struct gr_shape in[GR_MAX_INPUTS];
    char who[GR_MAX_NAME + 16];
    int status = GR_ERROR_MEMORY;
    if (!found)
        return gr_fail_in("layer \"%s\"", name);
    struct gr_layer *layer = gr_calloc(1, sizeof *layer);
    if (!layer)
        return GR_ERROR_MEMORY;
    layer->lr_scale = 1;
    layer->kind = found;
    layer->name = gr_strdup(name);
    layer->options = gr_calloc(1, found->options_size);
    if (!layer->name || !layer->options)
        goto fail;
    if ((status = make_inputs(layer, inputs, input_count)))
        goto fail;
    for (int i = 0; i < input_count; i++)
        in[i] = inputs[i]->shape;
    snprintf(who, sizeof who, "layer \"%s\"", name);
    if ((status = gr_options_read(found->options, options, who, layer->options)) ||
        (status = gr_graph_shape(layer, in, &layer->shape)) || (status = make_params(layer, net, in)))
        goto fail;
    *out = layer;
    return GR_OK;
fail:
    gr_graph_release(layer);
    return status;
}

static int copy_params(struct gr_layer *to, const struct gr_layer *from) {
    to->params = gr_calloc((size_t)from->param_count, sizeof *to->params);
    if (!to->params)
        return GR_ERROR_MEMORY;
    for (int i = 0; i < from->param_count; i++) {
        struct gr_param *param = &to->params[i];
        *param = from->params[i];
        param->name = NULL;
        param->tensor = (struct gr_tensor){0};
        to->param_count = i + 1;
        param->name = gr_strdup(from->params[i].name);
        if (!param->name)
            return GR_ERROR_MEMORY;
        param->role = param->name + strlen(from->name) + 1;
        GR_TRY(gr_tensor_copy(&param->tensor, &from->params[i].tensor));
    }
    return GR_OK;
}

/* Options are copied by writing and reading them, as saving and loading do. */
static int copy_options(struct gr_layer *to, const struct gr_layer *from) {
    cJSON *options = gr_options_write(from->kind->options, from->options);
    if (!options)
        return GR_ERROR_MEMORY;
    int status = gr_options_read(from->kind->options, options, from->name, to->options);
    cJSON_Delete(options);
    return status;
}

int gr_graph_copy(struct gr_layer **out, const struct gr_layer *layer) {
    int status = GR_ERROR_MEMORY;
    struct gr_layer *copy = gr_calloc(1, sizeof *copy);
    if (!copy)
        return GR_ERROR_MEMORY;
    *copy = *layer;
    copy->inputs = NULL;
    copy->input_count = 0;
    copy->params = NULL;
    copy->param_count = 0;
    copy->source = NULL;
    copy->name = gr_strdup(layer->name);
    copy->options = gr_calloc(1, layer->kind->options_size);
    if (layer->source)
        copy->source = gr_strdup(layer->source);
    if (!copy->name || !copy->options || (layer->source && !copy->source))
        goto fail;
    if ((status = copy_options(copy, layer)) || (status = copy_params(copy, layer)))
        goto fail;
    *out = copy;
    return GR_OK;
fail:
    gr_graph_release(copy);
    return status;
}

void gr_graph_release(struct gr_layer *layer) {
    if (!layer)
        return;
    for (int i = 0; i < layer->param_count; i++) {
        gr_tensor_release(&layer->params[i].tensor);
        gr_free(layer->params[i].name);
    }
    if (layer->options)
        gr_options_clear(layer->kind->options, layer->options);
    gr_free(layer->params);
    gr_free(layer->options);
    gr_free(layer->inputs);
    gr_free(layer->source);
    gr_free(layer->name);
    gr_free(layer);
}
