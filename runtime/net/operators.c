#include "net/operators.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "net/graph.h"

/* Makes room for one more item of `size` bytes; the items, or NULL with `status` set. */
static void *grown(struct gr_operators *to, void *items, int count, int *capacity, size_t size) {
    size_t bytes;
    if (count < *capacity)
        return items;
    int larger = *capacity ? 2 * *capacity : 4;
    if (!gr_size_multiply((size_t)larger, size, &bytes)) {
        to->status = gr_fail(GR_ERROR_LIMIT, "%d operators are too many", count);
        return NULL;
    }
    items = gr_realloc(items, bytes);
    if (items)
        *capacity = larger;
    else
        to->status = GR_ERROR_MEMORY;
    return items;
}

static char *copied(struct gr_operators *to, const char *text) {
    char *copy = gr_strdup(text);
    if (!copy)
        to->status = GR_ERROR_MEMORY;
    return copy;
}

static char *joined(struct gr_operators *to, const char *name, const char *separator, const char *end) {
    struct gr_text text = {0};
    gr_text_add(&text, "%s%s%s", name, separator, end);
    to->status = gr_text_status(&text);
    if (to->status)
        gr_text_free(&text);
    return text.bytes;
}

static struct gr_operator *latest(struct gr_operators *to) {
    return &to->items[to->count - 1];
}

/* The operator reads one thing more; takes the name over, which may be NULL after a failure. */
static void reads(struct gr_operators *to, char *name) {
    struct gr_operator *op = latest(to);
    char **inputs = name ? grown(to, op->inputs, op->input_count, &op->input_capacity, sizeof *inputs) : NULL;
    if (!inputs) {
        gr_free(name);
        return;
    }
    op->inputs = inputs;
    op->inputs[op->input_count++] = name;
}

/* The name of a node is its layer's. Its helpers are called LAYER/TAG, unless a layer is. */
static char *node_name(struct gr_operators *to, const char *tag) {
    if (!tag)
        return copied(to, to->layer->name);
    char *name = joined(to, to->layer->name, "/", tag);
    while (name && gr_network_layer(to->net, name)) {
        char *longer = joined(to, name, "_", "");
        gr_free(name);
        name = longer;
    }
    return name;
}

void gr_operator(struct gr_operators *to, const char *type, const char *tag) {
    if (to->status)
        return;
    struct gr_operator *items = grown(to, to->items, to->count, &to->capacity, sizeof *items);
    if (!items)
        return;
    to->items = items;
    struct gr_operator *op = &items[to->count++];
    *op = (struct gr_operator){.type = type, .name = node_name(to, tag)};
    if (to->status)
        return;
    if (tag) {
        op->output = joined(to, to->layer->name, "/", tag);
        return;
    }
    char **value = &to->values[to->layer->index];
    if (!*value)
        *value = joined(to, to->layer->name, "/", "output");
    if (*value)
        op->output = copied(to, *value);
}

void gr_operator_input(struct gr_operators *to, int i) {
    if (!to->status)
        reads(to, copied(to, to->values[to->layer->inputs[i]->index]));
}

void gr_operator_value(struct gr_operators *to, const char *tag) {
    if (!to->status)
        reads(to, joined(to, to->layer->name, "/", tag));
}

/* A constant over the tensor, whose reference is taken over also on failure. */
static void constant(struct gr_operators *to, char *name, struct gr_tensor *tensor, int rank,
                     const int64_t *shape) {
    struct gr_constant *items = NULL;
    if (name)
        items = grown(to, to->constants, to->constant_count, &to->constant_capacity, sizeof *items);
    if (!items) {
        gr_free(name);
        gr_tensor_release(tensor);
        return;
    }
    to->constants = items;
    struct gr_constant *made = &items[to->constant_count++];
    *made = (struct gr_constant){.name = name, .tensor = *tensor, .rank = rank};
    for (int d = 0; d < rank; d++)
        made->shape[d] = shape[d];
    reads(to, copied(to, name));
}

static void param(struct gr_operators *to, const char *role, int rank, const int64_t *shape) {
    const struct gr_param *found = to->status ? NULL : gr_layer_param(to->layer, role);
    if (!found)
        return;
    struct gr_tensor tensor;
    to->status = gr_tensor_pack(&tensor, &found->tensor);
    if (to->status)
        return;
    if (!found->buffer)
        to->parameters += gr_tensor_count(&tensor);
    constant(to, copied(to, found->name), &tensor, shape ? rank : tensor.rank, shape ? shape : tensor.shape);
}

void gr_operator_param(struct gr_operators *to, const char *role) {
    param(to, role, 0, NULL);
}

void gr_operator_channels(struct gr_operators *to, const char *role) {
    int64_t shape[] = {to->layer->shape.c, 1, 1};
    param(to, role, to->layer->shape.flat ? 1 : 3, shape);
}

/* A constant of the layer's own, to be filled; NULL after a failure. */
static void *own(struct gr_operators *to, const char *tag, enum gr_dtype dtype, int rank,
                 const int64_t *shape) {
    struct gr_tensor tensor;
    if (to->status)
        return NULL;
    to->status = gr_tensor_reserve(&tensor, dtype, rank, shape);
    if (to->status)
        return NULL;
    constant(to, joined(to, to->layer->name, "/", tag), &tensor, rank, shape);
    return to->status ? NULL : gr_tensor_data(&to->constants[to->constant_count - 1].tensor);
}

void gr_operator_floats(struct gr_operators *to, const char *tag, int rank, const int64_t *shape,
                        const float *values) {
    float *made = own(to, tag, GR_F32, rank, shape);
    if (made)
        memcpy(made, values, gr_tensor_bytes(&to->constants[to->constant_count - 1].tensor));
}

void gr_operator_filled(struct gr_operators *to, const char *tag, int rank, const int64_t *shape,
                        float value) {
    float *made = own(to, tag, GR_F32, rank, shape);
    int64_t count = made ? gr_tensor_count(&to->constants[to->constant_count - 1].tensor) : 0;
    for (int64_t i = 0; i < count; i++)
        made[i] = value;
}

void gr_operator_integers(struct gr_operators *to, const char *tag, int count, const int64_t *values) {
    int64_t shape[] = {count};
    int64_t *made = own(to, tag, GR_I64, 1, shape);
    if (made)
        memcpy(made, values, (size_t)count * sizeof *values);
}

static struct gr_attribute *attribute(struct gr_operators *to, const char *name,
                                      enum gr_attribute_type type) {
    struct gr_operator *op = latest(to);
    struct gr_attribute *made = &op->attributes[op->attribute_count++];
    made->name = name;
    made->type = type;
    return made;
}

void gr_operator_int(struct gr_operators *to, const char *name, int64_t value) {
    if (!to->status)
        attribute(to, name, GR_ATTRIBUTE_INT)->ints[0] = value;
}

void gr_operator_ints(struct gr_operators *to, const char *name, int count, const int64_t *values) {
    if (to->status)
        return;
    struct gr_attribute *made = attribute(to, name, GR_ATTRIBUTE_INTS);
    made->count = count;
    memcpy(made->ints, values, (size_t)count * sizeof *values);
}

void gr_operator_pair(struct gr_operators *to, const char *name, const int *pair) {
    int64_t values[] = {pair[0], pair[1]};
    gr_operator_ints(to, name, 2, values);
}

void gr_operator_pads(struct gr_operators *to, const struct gr_padding *padding) {
    int64_t values[] = {padding->top, padding->left, padding->bottom, padding->right};
    gr_operator_ints(to, "pads", 4, values);
}

void gr_operator_float(struct gr_operators *to, const char *name, float value) {
    if (!to->status)
        attribute(to, name, GR_ATTRIBUTE_FLOAT)->value = value;
}

struct gr_shape gr_operator_shape(const struct gr_operators *to, int i) {
    return to->layer->inputs[i]->shape;
}

/* --- the whole network --- */

/* The layer whose operator gives what `layer` gives. */
static const struct gr_layer *source_of(const struct gr_layer *layer) {
    while (layer->kind->traits & GR_TRAIT_IDENTITY)
        layer = layer->inputs[0];
    return layer;
}

static void say(struct gr_operators *to, const struct gr_layer *layer) {
    char shown[64];
    to->layer = layer;
    if (layer->kind->traits & GR_TRAIT_IDENTITY) {
        to->values[layer->index] = copied(to, to->values[layer->inputs[0]->index]);
        if (!to->status && (to->left_out[to->left_out_count] = copied(to, layer->name)))
            to->left_out_count++;
        return;
    }
    int status =
        layer->kind->operators
            ? layer->kind->operators(layer, to)
            : gr_fail(GR_ERROR_OPTION, "ONNX has no operator for a layer of kind %s", layer->kind->name);
    if (!to->status)
        to->status = status;
    if (to->status)
        gr_fail_in("layer \"%s\"", gr_printable(layer->name, shown, sizeof shown));
}

/* Names an output of the network before the layers are said, so that its own operator gives it. Where that
 * already gives another output, or is the input, `layer` stays to be copied by give(). */
static void name_output(struct gr_operators *to, const struct gr_layer *layer, char *name) {
    const struct gr_layer *source = source_of(layer);
    if (!name)
        return;
    to->outputs[to->output_count++] = (struct gr_output){.name = name, .shape = layer->shape};
    if (!to->values[source->index])
        to->values[source->index] = copied(to, name);
}

static void give(struct gr_operators *to, const struct gr_layer *layer, const struct gr_output *output) {
    const char *value = to->status ? NULL : to->values[source_of(layer)->index];
    if (!value || strcmp(value, output->name) == 0)
        return;
    to->layer = layer;
    gr_operator(to, "Identity", "logits");
    if (to->status)
        return;
    struct gr_operator *op = latest(to);
    gr_free(op->output);
    op->output = copied(to, output->name);
    reads(to, copied(to, value));
}

static int make(struct gr_operators *to, int aux, bool *needed) {
    const struct gr_network *net = to->net;
    gr_graph_ancestors(net, net->output, needed);
    to->values[0] = copied(to, "image");
    to->classifies = net->head || net->class_count > 0;
    name_output(to, net->output, copied(to, to->classifies ? "logits" : "features"));
    for (int i = 0; i < aux && !to->status; i++) {
        gr_graph_ancestors(net, net->aux[i].output, needed);
        name_output(to, net->aux[i].output, joined(to, net->aux[i].at, "/", "logits"));
    }
    for (int i = 1; i < net->layer_count && !to->status; i++)
        if (needed[i])
            say(to, net->layers[i]);
    give(to, net->output, &to->outputs[0]);
    for (int i = 0; i < aux && !to->status; i++)
        give(to, net->aux[i].output, &to->outputs[1 + i]);
    return to->status;
}

int gr_operators_make(struct gr_operators *out, const struct gr_network *net, bool with_aux) {
    size_t layers = (size_t)net->layer_count;
    int aux = with_aux ? net->aux_count : 0;
    *out = (struct gr_operators){.net = net};
    if (!net->output)
        return gr_fail(GR_ERROR_OPTION, "%s has no output yet", net->name);
    bool *needed = gr_calloc(layers, sizeof *needed);
    out->values = gr_calloc(layers, sizeof *out->values);
    out->left_out = gr_calloc(layers, sizeof *out->left_out);
    out->outputs = gr_calloc((size_t)aux + 1, sizeof *out->outputs);
    int status = GR_ERROR_MEMORY;
    if (needed && out->values && out->left_out && out->outputs)
        status = make(out, aux, needed);
    gr_free(needed);
    if (status)
        gr_operators_free(out);
    return status;
}

void gr_operators_free(struct gr_operators *operators) {
    for (int i = 0; i < operators->count; i++) {
        gr_free(operators->items[i].name);
        gr_free(operators->items[i].output);
        gr_strings_free(operators->items[i].inputs, operators->items[i].input_count);
    }
    for (int i = 0; i < operators->constant_count; i++) {
        gr_free(operators->constants[i].name);
        gr_tensor_release(&operators->constants[i].tensor);
    }
    for (int i = 0; i < operators->output_count; i++)
        gr_free(operators->outputs[i].name);
    if (operators->values)
        gr_strings_free(operators->values, operators->net->layer_count);
    gr_strings_free(operators->left_out, operators->left_out_count);
    gr_free(operators->items);
    gr_free(operators->constants);
    gr_free(operators->outputs);
    *operators = (struct gr_operators){0};
}
