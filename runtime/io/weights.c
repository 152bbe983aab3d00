/* The list of named tensors: building it, looking things up, and telling which reader a file needs. */
#include "io/weights.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "base/threads.h"
#include "io/pack.h"
#include "io/reader.h"

struct gr_weights_limits gr_weights_default_limits(void) {
    return (struct gr_weights_limits){.header_bytes = 1 << 20,
                                      .pickle_bytes = 4 << 20,
                                      .spare_bytes = 32 << 20,
                                      .tensors = 10000,
                                      .rank = GR_MAX_RANK,
                                      .name_bytes = 256};
}

int gr_weights_create(struct gr_weights **out) {
    *out = gr_calloc(1, sizeof **out);
    if (!*out)
        return GR_ERROR_MEMORY;
    (*out)->format = "safetensors";
    return GR_OK;
}

void gr_weights_free(struct gr_weights *weights) {
    if (!weights)
        return;
    for (int i = 0; i < weights->count; i++) {
        gr_tensor_release(&weights->items[i].tensor);
        gr_free(weights->items[i].name);
    }
    for (int i = 0; i < weights->metadata_count; i++) {
        gr_free(weights->metadata[i].key);
        gr_free(weights->metadata[i].value);
    }
    gr_free(weights->items);
    gr_free(weights->order);
    gr_free(weights->metadata);
    gr_free(weights->path);
    gr_free(weights);
}

/* Place of `name` in the sorted index; *found tells whether it is there. */
static int place_of(const struct gr_weights *weights, const char *name, bool *found) {
    int low = 0, high = weights->count;
    *found = false;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int side = strcmp(weights->items[weights->order[middle]].name, name);
        if (side == 0) {
            *found = true;
            return middle;
        }
        if (side < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes room for one more item and index entry. */
static int grow(struct gr_weights *weights) {
    if (weights->count < weights->capacity)
        return GR_OK;
    int capacity = weights->capacity ? weights->capacity * 2 : 64;
    struct gr_weight *items = gr_realloc(weights->items, (size_t)capacity * sizeof *items);
    if (!items)
        return GR_ERROR_MEMORY;
    weights->items = items;
    int *order = gr_realloc(weights->order, (size_t)capacity * sizeof *order);
    if (!order)
        return GR_ERROR_MEMORY;
    weights->order = order;
    weights->capacity = capacity;
    return GR_OK;
}

/* Takes the tensor over when it succeeds; the caller has checked the name's bytes. */
static int insert(struct gr_weights *weights, const char *name, const char *dtype, struct gr_tensor tensor) {
    char shown[128];
    bool found;
    GR_TRY(grow(weights));
    int place = place_of(weights, name, &found);
    if (found)
        return gr_fail(GR_ERROR_NAME, "the tensor name \"%s\" appears twice",
                       gr_printable(name, shown, sizeof shown));
    char *copy = gr_strdup(name);
    if (!copy)
        return GR_ERROR_MEMORY;
    memmove(weights->order + place + 1, weights->order + place,
            (size_t)(weights->count - place) * sizeof *weights->order);
    weights->order[place] = weights->count;
    weights->items[weights->count++] = (struct gr_weight){.name = copy, .tensor = tensor, .dtype = dtype};
    return GR_OK;
}

bool gr_utf8_valid(const char *text, size_t length) {
    const unsigned char *bytes = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        unsigned char lead = bytes[i];
        size_t more = lead < 0x80   ? 0
                      : lead < 0xC2 ? 4
                      : lead < 0xE0 ? 1
                      : lead < 0xF0 ? 2
                      : lead < 0xF5 ? 3
                                    : 4;
        if (lead == 0 || more == 4 || more >= length - i)
            return false;
        uint32_t code = more ? lead & (0x3Fu >> more) : lead;
        for (size_t k = 1; k <= more; k++) {
            if ((bytes[i + k] & 0xC0) != 0x80)
                return false;
            code = code << 6 | (bytes[i + k] & 0x3F);
        }
        if ((more == 2 && code < 0x800) || (more == 3 && code < 0x10000) || code > 0x10FFFF ||
            (code >= 0xD800 && code < 0xE000))
            return false;
        i += more + 1;
    }
    return true;
}

/* Checks the bytes of a tensor's name and makes it a string in `out`. */
static int check_name(const char *name, size_t length, int most, char out[]) {
    if (length == 0)
        return gr_fail(GR_ERROR_NAME, "a tensor has an empty name");
    if (length > (size_t)most)
        return gr_fail(GR_ERROR_LIMIT, "a tensor name has %zu bytes; at most %d are allowed", length, most);
    if (!gr_utf8_valid(name, length))
        return gr_fail(GR_ERROR_NAME, "a tensor name is not UTF-8 or holds a zero byte");
    memcpy(out, name, length);
    out[length] = 0;
    if (strcmp(out, "__metadata__") == 0)
        return gr_fail(GR_ERROR_NAME, "a tensor may not be called \"__metadata__\"");
    return GR_OK;
}

enum { LONGEST_NAME = 4096 };

int gr_weights_add(struct gr_weights *weights, const char *name, const struct gr_tensor *tensor) {
    char checked[LONGEST_NAME + 1];
    struct gr_tensor packed;
    GR_TRY(check_name(name, strlen(name), gr_weights_default_limits().name_bytes, checked));
    GR_TRY(gr_tensor_pack(&packed, tensor));
    int status = insert(weights, checked, packed.dtype == GR_F32 ? "F32" : "I64", packed);
    if (status)
        gr_tensor_release(&packed);
    return status;
}

static struct gr_pair *find_pair(const struct gr_weights *weights, const char *key) {
    for (int i = 0; i < weights->metadata_count; i++)
        if (strcmp(weights->metadata[i].key, key) == 0)
            return &weights->metadata[i];
    return NULL;
}

static int add_pair(struct gr_weights *weights, const char *key, const char *value) {
    if (weights->metadata_count == weights->metadata_capacity) {
        int capacity = weights->metadata_capacity ? weights->metadata_capacity * 2 : 8;
        struct gr_pair *metadata = gr_realloc(weights->metadata, (size_t)capacity * sizeof *metadata);
        if (!metadata)
            return GR_ERROR_MEMORY;
        weights->metadata = metadata;
        weights->metadata_capacity = capacity;
    }
    struct gr_pair pair = {gr_strdup(key), NULL};
    if (pair.key)
        pair.value = gr_strdup(value);
    if (!pair.value) {
        gr_free(pair.key);
        return GR_ERROR_MEMORY;
    }
    weights->metadata[weights->metadata_count++] = pair;
    return GR_OK;
}

int gr_weights_set(struct gr_weights *weights, const char *key, const char *value) {
    struct gr_pair *pair = find_pair(weights, key);
    if (!value && pair) {
        gr_free(pair->key);
        gr_free(pair->value);
        memmove(pair, pair + 1,
                (size_t)(weights->metadata + --weights->metadata_count - pair) * sizeof *pair);
    }
    if (!value)
        return GR_OK;
    if (!gr_utf8_valid(key, strlen(key)) || !gr_utf8_valid(value, strlen(value)))
        return gr_fail(GR_ERROR_OPTION, "metadata must be UTF-8; the entry \"%.40s\" is not",
                       gr_utf8_valid(key, strlen(key)) ? key : "?");
    if (!pair)
        return add_pair(weights, key, value);
    char *copy = gr_strdup(value);
    if (!copy)
        return GR_ERROR_MEMORY;
    gr_free(pair->value);
    pair->value = copy;
    return GR_OK;
}

const struct gr_weight *gr_weights_find(const struct gr_weights *weights, const char *name) {
    bool found;
    int place = place_of(weights, name, &found);
    return found ? &weights->items[weights->order[place]] : NULL;
}

int gr_weights_own(struct gr_weights *weights, const char *name) {
    struct gr_tensor copy;
    bool found;
    int place = place_of(weights, name, &found);
    if (!found)
        return GR_OK;
    struct gr_weight *item = &weights->items[weights->order[place]];
    GR_TRY(gr_tensor_copy(&copy, &item->tensor));
    gr_tensor_release(&item->tensor);
    item->tensor = copy;
    return GR_OK;
}

const char *gr_weights_get(const struct gr_weights *weights, const char *key) {
    const struct gr_pair *pair = find_pair(weights, key);
    return pair ? pair->value : NULL;
}

static void digest_number(struct gr_digest *digest, uint64_t number) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(number >> 8 * i);
    gr_digest_add(digest, bytes, sizeof bytes);
}

int gr_weights_digest(const struct gr_weights *weights, char hex[65]) {
    struct gr_digest digest;
    gr_digest_start(&digest);
    for (int i = 0; i < weights->count; i++) {
        const struct gr_weight *item = &weights->items[weights->order[i]];
        const struct gr_tensor *tensor = &item->tensor;
        const char *dtype = tensor->dtype == GR_F32 ? "F32" : "I64";
        gr_digest_add(&digest, item->name, strlen(item->name) + 1);
        gr_digest_add(&digest, dtype, strlen(dtype) + 1);
        digest_number(&digest, (uint64_t)tensor->rank);
        for (int d = 0; d < tensor->rank; d++)
            digest_number(&digest, (uint64_t)tensor->shape[d]);
        gr_digest_add(&digest, gr_weight_bytes(tensor), gr_tensor_bytes(tensor));
    }
    gr_digest_hex(&digest, hex);
    return GR_OK;
}

const void *gr_weight_bytes(const struct gr_tensor *tensor) {
    return tensor->dtype == GR_F32 ? (const void *)gr_tensor_floats(tensor)
                                   : (const void *)gr_tensor_integers(tensor);
}

/* --- reading --- */

int gr_reader_metadata(struct gr_reader *reader, const char *key, const char *value) {
    char shown[64];
    if (find_pair(reader->weights, key))
        return gr_fail(GR_ERROR_FILE, "the metadata key \"%s\" appears twice",
                       gr_printable(key, shown, sizeof shown));
    return add_pair(reader->weights, key, value);
}

int gr_reader_add(struct gr_reader *reader, const char *name, size_t length,
                  const struct gr_placement *placement) {
    const struct gr_element *element = placement->element;
    char checked[LONGEST_NAME + 1], shown[128];
    struct gr_tensor tensor;
    int64_t count;
    GR_TRY(check_name(name, length, reader->limits.name_bytes, checked));
    gr_printable(checked, shown, sizeof shown);
    if (reader->weights->count >= reader->limits.tensors)
        return gr_fail(GR_ERROR_LIMIT, "more than %d tensors", reader->limits.tensors);
    if (gr_shape_count(placement->rank, placement->shape, &count) != 0)
        return gr_fail_in("tensor \"%s\"", shown);
    /* Halves may grow to floats; everything else is paid for by the file's own size. */
    int cost = element->size == 2 && element->dtype == GR_F32 ? 2 : element->dtype == GR_F32 ? 4 : 8;
    if ((uint64_t)count > reader->budget / (uint64_t)cost)
        return gr_fail(GR_ERROR_LIMIT,
                       "tensor \"%s\": with it the tensors need much more memory than the file has bytes",
                       shown);
    reader->budget -= (uint64_t)count * (uint64_t)cost;
    GR_TRY(gr_tensor_reserve(&tensor, element->dtype, placement->rank, placement->shape));
    int status = gr_placement_read(reader->source, placement, &tensor);
    if (status)
        gr_fail_in("tensor \"%s\"", shown);
    if (!status)
        status = insert(reader->weights, checked, element->name, tensor);
    if (status)
        gr_tensor_release(&tensor);
    return status;
}

/* What a file is by its first bytes, when it is something else than weights that are read here. */
static const struct {
    int offset, length;
    const char *bytes, *message;
} strangers[] = {
    {257, 5, "ustar",
     "is a tar archive, the kind of .pth that PyTorch wrote before 2017; load it there once and save its "
     "state_dict() again"},
    {0, 4, "\x89HDF", "is an HDF5 (Keras) file; convert it to safetensors first"},
    {0, 7, "version", "is not the weights but a Git LFS pointer to them; fetch the file itself"},
    {0, 1, "<", "is a web page or XML, not weights; the download went wrong"},
    {0, 2, "\x1f\x8b", "is compressed by gzip; unpack it first"},
    {0, 2, "\xff\xd8", "is a JPEG photo, not weights"},
    {0, 4, "\x89PNG", "is a PNG image, not weights"},
    {0, 4, "GGUF", "is a GGUF file; safetensors or .pth is needed"},
};

/* The number of ONNX's format, then the name of the program that wrote the file. */
static bool is_onnx(const unsigned char *start) {
    return start[0] == 0x08 && start[1] >= 1 && start[1] < 0x20 && start[2] == 0x12 && start[3] >= 1 &&
           start[3] < 0x40;
}

static int read_kind(struct gr_reader *reader) {
    unsigned char start[512] = {0};
    uint64_t size = reader->source->size;
    size_t have = size < sizeof start ? (size_t)size : sizeof start;
    if (size == 0)
        return gr_fail(GR_ERROR_FILE, "is empty");
    GR_TRY(gr_source_read(reader->source, 0, start, have));
    if (have >= 9 && start[8] == '{') {
        reader->weights->format = "safetensors";
        return gr_safetensors_read(reader);
    }
    if (memcmp(start, "PK\x03\x04", 4) == 0 || memcmp(start, "PK\x05\x06", 4) == 0) {
        reader->weights->format = "pth (zip)";
        return gr_pth_read_zip(reader);
    }
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (memcmp(start + strangers[i].offset, strangers[i].bytes, (size_t)strangers[i].length) == 0)
            return gr_fail(GR_ERROR_FILE, "%s", strangers[i].message);
    if (is_onnx(start))
        return gr_fail(GR_ERROR_FILE,
                       "is an ONNX file: Graft writes those (graft export) and does not read them; "
                       "use the .safetensors or .pth that it was made from");
    if (start[0] == 0x80 && start[1] >= 2 && start[1] <= 5) {
        reader->weights->format = "pth (legacy)";
        return gr_pth_read_legacy(reader);
    }
    return gr_fail(
        GR_ERROR_FILE,
        "is no weights file: safetensors (byte 9 is \"{\") or a PyTorch .pth (starts with \"PK\" or "
        "80 02) was expected, it has %zu bytes and starts with %02x %02x %02x %02x",
        (size_t)size, start[0], start[1], start[2], start[3]);
}

static int check_digest(const struct gr_weights *weights) {
    const char *expected = gr_weights_get(weights, "graft.digest");
    char hex[65], shown[80];
    if (!expected)
        return GR_OK;
    GR_TRY(gr_weights_digest(weights, hex));
    if (strcmp(expected, hex) != 0)
        return gr_fail(GR_ERROR_FILE,
                       "is damaged: its tensors have the digest %.16s..., its metadata says %.16s...", hex,
                       gr_printable(expected, shown, sizeof shown));
    return GR_OK;
}

static int read_source(struct gr_weights **out, const struct gr_source *source, const char *name,
                       const struct gr_weights_limits *limits) {
    struct gr_reader reader = {.source = source, .limits = *limits};
    *out = NULL;
    if (reader.limits.rank > GR_MAX_RANK)
        reader.limits.rank = GR_MAX_RANK;
    if (reader.limits.name_bytes > LONGEST_NAME)
        reader.limits.name_bytes = LONGEST_NAME;
    reader.budget =
        source->size > UINT64_MAX - limits->spare_bytes ? UINT64_MAX : source->size + limits->spare_bytes;
    GR_TRY(gr_weights_create(&reader.weights));
    int status = read_kind(&reader);
    if (!status)
        status = check_digest(reader.weights);
    if (!status && source->fd >= 0) {
        reader.weights->path = gr_strdup(name);
        status = reader.weights->path ? GR_OK : GR_ERROR_MEMORY;
    }
    if (status) {
        gr_weights_free(reader.weights);
        return status;
    }
    *out = reader.weights;
    return GR_OK;
}

int gr_weights_parse(struct gr_weights **out, const void *bytes, size_t size, const char *name,
                     const struct gr_weights_limits *limits) {
    struct gr_source source = gr_source_memory(bytes, size);
    int status = read_source(out, &source, name, limits);
    return status ? gr_fail_in("%s", name) : GR_OK;
}

/* The digest of the file, made in the pool while the tensors are read. */
struct file_digest {
    struct gr_task task; /* first, so that a task is its digest */
    const struct gr_source *source;
    atomic_bool cancelled;
    char hex[65];
    int status;
    struct gr_error error;
};

static void digest_file(struct gr_task *task) {
    struct file_digest *file = (struct file_digest *)task;
    struct gr_digest digest;
    unsigned char piece[32768];
    uint64_t size = file->source->size;
    gr_digest_start(&digest);
    for (uint64_t at = 0; at < size && !file->status && !atomic_load(&file->cancelled); at += sizeof piece) {
        size_t count = size - at < sizeof piece ? (size_t)(size - at) : sizeof piece;
        file->status = gr_source_read(file->source, at, piece, count);
        if (!file->status)
            gr_digest_add(&digest, piece, count);
    }
    gr_digest_hex(&digest, file->hex);
    if (file->status)
        file->error = *gr_error();
}

static int read_file(struct gr_weights **out, const struct gr_source *source, const char *path,
                     const struct gr_weights_limits *limits) {
    struct file_digest file = {.task = {.run = digest_file}, .source = source};
    gr_task_submit(&file.task);
    int status = read_source(out, source, path, limits);
    if (status) {
        struct gr_error error = *gr_error();
        atomic_store(&file.cancelled, true);
        gr_task_wait(&file.task); /* which may do the task here, and leave another message */
        return gr_error_restore(&error);
    }
    gr_task_wait(&file.task);
    if (file.status) {
        gr_weights_free(*out);
        *out = NULL;
        return gr_error_restore(&file.error);
    }
    memcpy((*out)->sha256, file.hex, sizeof file.hex);
    return GR_OK;
}

/* The weights in a pack (io/pack.h). */
static int read_packed(struct gr_weights **out, const struct gr_source *source, const char *path,
                       const struct gr_weights_limits *limits) {
    struct gr_pack pack;
    GR_TRY(gr_pack_open(&pack, source));
    const struct gr_pack_entry *entry = &pack.parts[GR_PACK_WEIGHTS];
    if (!entry->present)
        return gr_fail(GR_ERROR_FILE, "is a pack without weights; its recipe needs some of its own");
    GR_TRY(gr_pack_read(&pack, source, GR_PACK_WEIGHTS, NULL));
    struct gr_source part = gr_source_part(source, entry->offset, entry->size);
    int status = read_file(out, &part, path, limits);
    if (!status && strcmp((*out)->format, "safetensors") != 0) {
        gr_weights_free(*out);
        *out = NULL;
        status = gr_fail(GR_ERROR_FILE, "is not of the format that its name says");
    }
    return status ? gr_fail_in("%s", gr_pack_name(GR_PACK_WEIGHTS)) : GR_OK;
}

int gr_weights_read_limited(struct gr_weights **out, const char *path,
                            const struct gr_weights_limits *limits) {
    struct gr_source source;
    *out = NULL;
    int status = gr_source_open(&source, path);
    if (!status)
        status = gr_pack_is(&source) ? read_packed(out, &source, path, limits)
                                     : read_file(out, &source, path, limits);
    gr_source_close(&source);
    return status ? gr_fail_in("%s", path) : GR_OK;
}

int gr_weights_read(struct gr_weights **out, const char *path) {
    struct gr_weights_limits limits = gr_weights_default_limits();
    return gr_weights_read_limited(out, path, &limits);
}
