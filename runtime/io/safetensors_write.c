/* Writing safetensors, byte for byte in the order of the format's own library: tensors by falling alignment,
 * then by name; the header padded with spaces to 8 bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/reader.h"

/* 64-bit integers before 32-bit floats; `order` already sorts by name. */
static int *writing_order(const struct gr_weights *weights) {
    int *order = gr_calloc((size_t)weights->count, sizeof *order), n = 0;
    for (int pass = 0; order && pass < 2; pass++)
        for (int i = 0; i < weights->count; i++)
            if ((weights->items[weights->order[i]].tensor.dtype == GR_I64) == (pass == 0))
                order[n++] = weights->order[i];
    return order;
}

static void add_string(struct gr_text *text, const char *string) {
    const char *plain = string;
    gr_text_add(text, "\"");
    for (;; string++) {
        unsigned char byte = (unsigned char)*string;
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        gr_text_bytes(text, plain, (size_t)(string - plain));
        plain = string + 1;
        if (byte == 0)
            break;
        if (byte < 0x20)
            gr_text_add(text, "\\u%04x", byte);
        else
            gr_text_add(text, "\\%c", byte);
    }
    gr_text_add(text, "\"");
}

static void add_header(struct gr_text *text, const struct gr_weights *weights, const int *order,
                       const char *digest) {
    unsigned long long at = 0;
    gr_text_add(text, "{\"__metadata__\":{");
    for (int i = 0; i < weights->metadata_count; i++) {
        if (strcmp(weights->metadata[i].key, "graft.digest") == 0)
            continue;
        add_string(text, weights->metadata[i].key);
        gr_text_add(text, ":");
        add_string(text, weights->metadata[i].value);
        gr_text_add(text, ",");
    }
    gr_text_add(text, "\"graft.digest\":\"%s\"}", digest);
    for (int i = 0; i < weights->count; i++) {
        const struct gr_tensor *tensor = &weights->items[order[i]].tensor;
        char shape[96];
        gr_text_add(text, ",");
        add_string(text, weights->items[order[i]].name);
        gr_text_add(text, ":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%llu,",
                    tensor->dtype == GR_F32 ? "F32" : "I64",
                    gr_format_shape(tensor->rank, tensor->shape, shape), at);
        at += gr_tensor_bytes(tensor);
        gr_text_add(text, "%llu]}", at);
    }
    gr_text_add(text, "}");
    while (!text->failed && text->length % 8)
        gr_text_add(text, " ");
}

static int write_all(struct gr_writer *writer, const struct gr_weights *weights, const int *order,
                     const struct gr_text *header) {
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)header->length >> 8 * i);
    GR_TRY(gr_writer_put(writer, prefix, sizeof prefix));
    GR_TRY(gr_writer_put(writer, header->bytes, header->length));
    for (int i = 0; i < weights->count; i++) {
        const struct gr_tensor *tensor = &weights->items[order[i]].tensor;
        GR_TRY(gr_writer_put(writer, gr_weight_bytes(tensor), gr_tensor_bytes(tensor)));
    }
    return GR_OK;
}

/* What this program would refuse to read again is not written. */
static int check_limits(const struct gr_weights *weights, size_t header) {
    struct gr_weights_limits limits = gr_weights_default_limits();
    if (weights->count > limits.tensors)
        return gr_fail(GR_ERROR_LIMIT, "%d tensors; at most %d fit a file", weights->count, limits.tensors);
    if (header > limits.header_bytes)
        return gr_fail(GR_ERROR_LIMIT, "names and metadata take %zu bytes; at most %llu fit a file", header,
                       (unsigned long long)limits.header_bytes);
    for (int i = 0; i < weights->count; i++)
        GR_TRY(gr_tensor_check(&weights->items[i].tensor));
    return GR_OK;
}

int gr_weights_write(const struct gr_weights *weights, const char *path) {
    struct gr_writer writer;
    struct gr_text header = {0};
    char digest[65];
    int *order = writing_order(weights), status = order ? GR_OK : GR_ERROR_MEMORY;
    if (!status)
        status = check_limits(weights, 0);
    if (!status)
        status = gr_weights_digest(weights, digest);
    if (!status) {
        add_header(&header, weights, order, digest);
        status = gr_text_status(&header);
    }
    if (!status)
        status = check_limits(weights, header.length);
    if (status) {
        gr_fail_in("%s", path);
    } else if ((status = gr_writer_open(&writer, path)) == GR_OK) {
        status = write_all(&writer, weights, order, &header);
        if (status)
            gr_writer_abort(&writer);
        else
            status = gr_writer_commit(&writer);
    }
    gr_text_free(&header);
    gr_free(order);
    return status;
}
