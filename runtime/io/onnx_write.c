#include "io/onnx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/reader.h"

/* --- protobuf --- */

enum wire { WIRE_VARINT = 0, WIRE_BYTES = 2, WIRE_FOUR = 5 };

/* Seven bits a byte, the low ones first; all but the last have the top bit set. */
static void add_varint(struct gr_text *text, uint64_t value) {
    char bytes[10];
    size_t count = 0;
    for (; value > 0x7F; value >>= 7)
        bytes[count++] = (char)(0x80 | (value & 0x7F));
    bytes[count++] = (char)value;
    gr_text_bytes(text, bytes, count);
}

static void add_key(struct gr_text *text, int field, enum wire wire) {
    add_varint(text, (uint64_t)field << 3 | wire);
}

static void add_number(struct gr_text *text, int field, int64_t value) {
    add_key(text, field, WIRE_VARINT);
    add_varint(text, (uint64_t)value);
}

static void add_float(struct gr_text *text, int field, float value) {
    uint32_t bits;
    char bytes[4];
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++)
        bytes[i] = (char)(bits >> 8 * i);
    add_key(text, field, WIRE_FOUR);
    gr_text_bytes(text, bytes, sizeof bytes);
}

static void add_bytes(struct gr_text *text, int field, const char *bytes, size_t length) {
    add_key(text, field, WIRE_BYTES);
    add_varint(text, length);
    gr_text_bytes(text, bytes, length);
}

static void add_string(struct gr_text *text, int field, const char *string) {
    add_bytes(text, field, string, strlen(string));
}

/* A message inside another one; `message` is emptied. */
static void add_message(struct gr_text *text, int field, struct gr_text *message) {
    text->failed = text->failed || message->failed;
    add_bytes(text, field, message->bytes ? message->bytes : "", message->length);
    gr_text_free(message);
}

/* --- the messages of onnx.proto, by their field numbers --- */

enum { /* ModelProto */
       MODEL_FORMAT = 1,
       MODEL_PRODUCER = 2,
       MODEL_VERSION = 3,
       MODEL_DOC = 6,
       MODEL_GRAPH = 7,
       MODEL_OPERATOR_SET = 8,
       MODEL_METADATA = 14,
       /* GraphProto */
       GRAPH_NODE = 1,
       GRAPH_NAME = 2,
       GRAPH_CONSTANT = 5,
       GRAPH_INPUT = 11,
       GRAPH_OUTPUT = 12,
       /* NodeProto */
       NODE_INPUT = 1,
       NODE_OUTPUT = 2,
       NODE_NAME = 3,
       NODE_TYPE = 4,
       NODE_ATTRIBUTE = 5,
       /* AttributeProto, and what its type may say */
       ATTRIBUTE_NAME = 1,
       ATTRIBUTE_FLOAT = 2,
       ATTRIBUTE_INT = 3,
       ATTRIBUTE_INTS = 8,
       ATTRIBUTE_TYPE = 20,
       TYPE_FLOAT = 1,
       TYPE_INT = 2,
       TYPE_INTS = 7,
       /* TensorProto, and its kinds of number */
       TENSOR_DIMS = 1,
       TENSOR_KIND = 2,
       TENSOR_NAME = 8,
       TENSOR_RAW = 9,
       KIND_FLOAT = 1,
       KIND_INT64 = 7,
       /* ValueInfoProto, TypeProto, TypeProto.Tensor, TensorShapeProto and its Dimension; OperatorSetIdProto;
          StringStringEntryProto */
       VALUE_NAME = 1,
       VALUE_TYPE = 2,
       TYPE_TENSOR = 1,
       TENSOR_TYPE_KIND = 1,
       TENSOR_TYPE_SHAPE = 2,
       SHAPE_DIM = 1,
       DIM_VALUE = 1,
       DIM_PARAM = 2,
       SET_VERSION = 2,
       ENTRY_KEY = 1,
       ENTRY_VALUE = 2
};

static void add_attribute(struct gr_text *node, const struct gr_attribute *attribute) {
    struct gr_text text = {0};
    add_string(&text, ATTRIBUTE_NAME, attribute->name);
    switch (attribute->type) {
    case GR_ATTRIBUTE_INT:
        add_number(&text, ATTRIBUTE_INT, attribute->ints[0]);
        add_number(&text, ATTRIBUTE_TYPE, TYPE_INT);
        break;
    case GR_ATTRIBUTE_INTS:
        for (int i = 0; i < attribute->count; i++)
            add_number(&text, ATTRIBUTE_INTS, attribute->ints[i]);
        add_number(&text, ATTRIBUTE_TYPE, TYPE_INTS);
        break;
    case GR_ATTRIBUTE_FLOAT:
        add_float(&text, ATTRIBUTE_FLOAT, attribute->value);
        add_number(&text, ATTRIBUTE_TYPE, TYPE_FLOAT);
    }
    add_message(node, NODE_ATTRIBUTE, &text);
}

static void add_node(struct gr_text *graph, const struct gr_operator *op) {
    struct gr_text text = {0};
    for (int i = 0; i < op->input_count; i++)
        add_string(&text, NODE_INPUT, op->inputs[i]);
    add_string(&text, NODE_OUTPUT, op->output);
    add_string(&text, NODE_NAME, op->name);
    add_string(&text, NODE_TYPE, op->type);
    for (int i = 0; i < op->attribute_count; i++)
        add_attribute(&text, &op->attributes[i]);
    add_message(graph, GRAPH_NODE, &text);
}

/* Key, length and everything of a constant but its numbers, which follow. */
static void add_constant(struct gr_text *graph, const struct gr_constant *constant) {
    size_t bytes = gr_tensor_bytes(&constant->tensor);
    struct gr_text text = {0};
    for (int d = 0; d < constant->rank; d++)
        add_number(&text, TENSOR_DIMS, constant->shape[d]);
    add_number(&text, TENSOR_KIND, constant->tensor.dtype == GR_F32 ? KIND_FLOAT : KIND_INT64);
    add_string(&text, TENSOR_NAME, constant->name);
    add_key(&text, TENSOR_RAW, WIRE_BYTES);
    add_varint(&text, bytes);
    add_key(graph, GRAPH_CONSTANT, WIRE_BYTES);
    add_varint(graph, text.length + bytes);
    graph->failed = graph->failed || text.failed;
    gr_text_bytes(graph, text.bytes, text.length);
    gr_text_free(&text);
}

static void add_dim(struct gr_text *shape, const char *name, int64_t size) {
    struct gr_text text = {0};
    if (name)
        add_string(&text, DIM_PARAM, name);
    else
        add_number(&text, DIM_VALUE, size);
    add_message(shape, SHAPE_DIM, &text);
}

static void add_value(struct gr_text *graph, int field, const char *name, struct gr_shape shape) {
    struct gr_text dims = {0}, tensor = {0}, type = {0}, text = {0};
    add_dim(&dims, "N", 0);
    add_dim(&dims, NULL, shape.c);
    if (!shape.flat) {
        add_dim(&dims, NULL, shape.h);
        add_dim(&dims, NULL, shape.w);
    }
    add_number(&tensor, TENSOR_TYPE_KIND, KIND_FLOAT);
    add_message(&tensor, TENSOR_TYPE_SHAPE, &dims);
    add_message(&type, TYPE_TENSOR, &tensor);
    add_string(&text, VALUE_NAME, name);
    add_message(&text, VALUE_TYPE, &type);
    add_message(graph, field, &text);
}

/* --- what people need to use it --- */

/* The text as UTF-8, with what is not made visible; NULL when memory ran out. The caller frees it. */
static char *readable(const char *text) {
    size_t length = strlen(text);
    char *out = gr_utf8_valid(text, length) ? gr_strdup(text) : gr_alloc(4 * length + 1);
    if (out && !gr_utf8_valid(text, length))
        gr_printable(text, out, 4 * length + 1);
    return out;
}

static void add_metadata(struct gr_text *model, const char *key, const char *value) {
    char *readable_key = readable(key), *readable_value = readable(value);
    struct gr_text text = {0};
    if (readable_key && readable_value) {
        add_string(&text, ENTRY_KEY, readable_key);
        add_string(&text, ENTRY_VALUE, readable_value);
    }
    text.failed = text.failed || !readable_key || !readable_value;
    add_message(model, MODEL_METADATA, &text);
    gr_free(readable_key);
    gr_free(readable_value);
}

static void add_classes(struct gr_text *model, const struct gr_network *net) {
    cJSON *list = cJSON_CreateArray();
    bool ok = list != NULL;
    for (int i = 0; ok && i < net->class_count; i++) {
        char *name = readable(net->classes[i]);
        cJSON *item = name ? cJSON_CreateString(name) : NULL;
        ok = item && cJSON_AddItemToArray(list, item);
        gr_free(name);
    }
    char *text = ok ? cJSON_PrintUnformatted(list) : NULL;
    if (text)
        add_metadata(model, "graft.classes", text);
    model->failed = model->failed || !text;
    cJSON_free(text);
    cJSON_Delete(list);
}

/* The fewest digits that give this float again. */
static void add_floats(struct gr_text *text, const char *key, const float *values, int count) {
    gr_text_add(text, ",\"%s\":[", key);
    for (int i = 0; i < count; i++) {
        char digits[32] = "";
        for (int precision = 1; precision <= 9; precision++) {
            snprintf(digits, sizeof digits, "%.*g", precision, (double)values[i]);
            if (strtof(digits, NULL) == values[i])
                break;
        }
        gr_text_add(text, "%s%s", i ? "," : "", digits);
    }
    gr_text_add(text, "]");
}

static void add_preprocessing(struct gr_text *model, const struct gr_network *net) {
    const struct gr_preprocessing *p = &net->preprocessing;
    struct gr_text text = {0};
    gr_text_add(&text,
                "{\"size\":[%d,%d],\"resize\":%d,\"stretch\":%s,\"interpolation\":\"%s\",\"channels\":\"%s\","
                "\"scale\":\"1/255\"",
                net->input.h, net->input.w, p->resize, p->stretch ? "true" : "false",
                p->interpolation == GR_BICUBIC ? "bicubic" : "bilinear", p->bgr ? "BGR" : "RGB");
    add_floats(&text, "mean", p->mean, 3);
    add_floats(&text, "std", p->std, 3);
    gr_text_add(&text, "}");
    if (text.failed)
        model->failed = true;
    else
        add_metadata(model, "graft.preprocessing", text.bytes);
    gr_text_free(&text);
}

static void add_all_metadata(struct gr_text *model, const struct gr_operators *operators) {
    const struct gr_network *net = operators->net;
    add_metadata(model, "graft.network", net->name);
    if (net->class_count)
        add_classes(model, net);
    if (operators->classifies)
        add_metadata(model, "graft.probabilities", net->multilabel ? "sigmoid" : "softmax");
    add_preprocessing(model, net);
    for (const cJSON *item = net->metadata ? net->metadata->child : NULL; item; item = item->next)
        if (cJSON_IsString(item) && strncmp(item->string, "graft.", 6) != 0)
            add_metadata(model, item->string, item->valuestring);
}

static void add_doc(struct gr_text *model, const struct gr_operators *operators) {
    const struct gr_network *net = operators->net;
    struct gr_text text = {0};
    gr_text_add(&text,
                "image: float32 [N,%d,%d,%d], preprocessed as graft.preprocessing in the metadata says.",
                net->input.c, net->input.h, net->input.w);
    if (operators->classifies)
        gr_text_add(
            &text,
            " logits: one number a class, in the order of graft.classes; their %s gives probabilities.",
            net->multilabel ? "sigmoid" : "softmax");
    add_message(model, MODEL_DOC, &text);
}

/* --- the file: head, then the constants with their numbers, then tail --- */

static int check_name(const char *name) {
    char shown[64];
    if (gr_utf8_valid(name, strlen(name)))
        return GR_OK;
    return gr_fail(GR_ERROR_NAME, "the layer name in \"%s\" is not UTF-8, which names in ONNX have to be",
                   gr_printable(name, shown, sizeof shown));
}

static int check_names(const struct gr_operators *operators) {
    for (int i = 0; i < operators->count; i++) {
        GR_TRY(check_name(operators->items[i].name));
        GR_TRY(check_name(operators->items[i].output));
    }
    for (int i = 0; i < operators->constant_count; i++)
        GR_TRY(check_name(operators->constants[i].name));
    return GR_OK;
}

struct parts {
    struct gr_text head, nodes, ends, tail;
    uint64_t bytes;
};

static void compose(struct parts *parts, const struct gr_operators *operators, const char *version) {
    const struct gr_network *net = operators->net;
    struct gr_text set = {0}, constants = {0};
    char *name = readable(net->name);
    for (int i = 0; i < operators->count; i++)
        add_node(&parts->nodes, &operators->items[i]);
    add_string(&parts->nodes, GRAPH_NAME, name ? name : "");
    parts->nodes.failed = parts->nodes.failed || !name;
    gr_free(name);
    add_value(&parts->ends, GRAPH_INPUT, "image", net->input);
    for (int i = 0; i < operators->output_count; i++)
        add_value(&parts->ends, GRAPH_OUTPUT, operators->outputs[i].name, operators->outputs[i].shape);
    uint64_t graph = parts->nodes.length + parts->ends.length;
    for (int i = 0; i < operators->constant_count; i++) {
        constants.length = 0;
        add_constant(&constants, &operators->constants[i]);
        graph += constants.length + gr_tensor_bytes(&operators->constants[i].tensor);
    }
    add_number(&parts->head, MODEL_FORMAT, GR_ONNX_FORMAT);
    add_string(&parts->head, MODEL_PRODUCER, "graft");
    add_string(&parts->head, MODEL_VERSION, version);
    add_doc(&parts->head, operators);
    add_key(&parts->head, MODEL_GRAPH, WIRE_BYTES);
    add_varint(&parts->head, graph);
    add_number(&set, SET_VERSION, GR_OPERATOR_SET);
    add_message(&parts->tail, MODEL_OPERATOR_SET, &set);
    add_all_metadata(&parts->tail, operators);
    parts->bytes = parts->head.length + graph + parts->tail.length;
    parts->head.failed |= constants.failed || parts->nodes.failed || parts->ends.failed || parts->tail.failed;
    gr_text_free(&constants);
}

static int put(struct gr_writer *writer, const struct gr_text *text) {
    return gr_writer_put(writer, text->bytes, text->length);
}

static int write_parts(struct gr_writer *writer, const struct parts *parts,
                       const struct gr_operators *operators) {
    struct gr_text text = {0};
    GR_TRY(put(writer, &parts->head));
    GR_TRY(put(writer, &parts->nodes));
    int status = GR_OK;
    for (int i = 0; i < operators->constant_count && !status; i++) {
        const struct gr_constant *constant = &operators->constants[i];
        text.length = 0;
        add_constant(&text, constant);
        status = gr_text_status(&text);
        if (!status)
            status = put(writer, &text);
        if (!status)
            status =
                gr_writer_put(writer, gr_weight_bytes(&constant->tensor), gr_tensor_bytes(&constant->tensor));
    }
    gr_text_free(&text);
    if (status)
        return status;
    GR_TRY(put(writer, &parts->ends));
    return put(writer, &parts->tail);
}

static int prepare(struct parts *parts, const struct gr_operators *operators, const char *version) {
    char size[32];
    GR_TRY(check_names(operators));
    compose(parts, operators, version);
    GR_TRY(gr_text_status(&parts->head));
    if (parts->bytes > INT32_MAX)
        return gr_fail(GR_ERROR_LIMIT, "an ONNX file can hold 2 GiB, and this network would take %s",
                       gr_format_bytes((size_t)parts->bytes, size));
    return GR_OK;
}

int gr_onnx_write(const struct gr_operators *operators, const char *path, const char *version,
                  uint64_t *bytes) {
    struct gr_writer writer;
    struct parts parts = {0};
    int status = prepare(&parts, operators, version);
    if (status) {
        gr_fail_in("%s", path);
    } else if ((status = gr_writer_open(&writer, path)) == GR_OK) {
        status = write_parts(&writer, &parts, operators);
        if (status)
            gr_writer_abort(&writer);
        else
            status = gr_writer_commit(&writer);
    }
    *bytes = parts.bytes;
    gr_text_free(&parts.head);
    gr_text_free(&parts.nodes);
    gr_text_free(&parts.ends);
    gr_text_free(&parts.tail);
    return status;
}
