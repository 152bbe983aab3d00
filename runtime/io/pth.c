/* PyTorch's .pth: the zip kind (since 1.6) and the legacy kind before it. Both are a pickle that describes
 * tensors by storage, offset, sizes and strides, and storages that are raw numbers. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "base/text.h"
#include "io/pickle.h"
#include "io/reader.h"
#include "io/zip.h"

enum {
    OTHER_ENTRIES = 1000, /* of a zip, besides one for each tensor */
    WRAPPINGS = 4,        /* dictionaries around the state dict, and prefixes of its names */
    LEGACY_PROTOCOL = 1001,
};

struct storage {
    const char *key; /* not NUL-terminated */
    size_t length;
    const struct gr_element *element;
    int64_t count;   /* elements */
    uint64_t offset; /* in the file */
    bool placed;     /* offset is known and the bytes are there */
};

struct pth {
    struct gr_reader *reader;
    struct gr_pickle pickle;
    struct storage *storages; /* sorted by key */
    size_t storage_count;
    struct gr_zip *zip; /* NULL: legacy */
    const char *prefix; /* of the zip's names, "NAME/" */
    size_t prefix_length;
};

static const struct gr_value *next_value(const struct pth *pth, uint32_t *cell) {
    const struct gr_cell *at = &pth->pickle.cells[*cell - 1];
    *cell = at->next;
    return &pth->pickle.values[at->value];
}

static bool is_text(const struct gr_value *value, const char *text) {
    return value->kind == GR_VALUE_TEXT && strlen(text) == value->count &&
           memcmp(value->text, text, value->count) == 0;
}

/* A piece of the file's text for messages. */
static const char *shown_text(const char *text, size_t length, char out[128]) {
    char copy[100];
    if (length > sizeof copy - 1)
        length = sizeof copy - 1;
    memcpy(copy, text, length);
    copy[length] = 0;
    return gr_printable(copy, out, 128);
}

/* --- storages --- */

static int compare_keys(const struct storage *x, const struct storage *y) {
    size_t least = x->length < y->length ? x->length : y->length;
    int side = least ? memcmp(x->key, y->key, least) : 0;
    return side ? side : (x->length > y->length) - (x->length < y->length);
}

static int by_key(const void *a, const void *b) {
    return compare_keys(a, b);
}

static struct storage *find_storage(const struct pth *pth, const char *key, size_t length) {
    struct storage wanted = {.key = key, .length = length};
    return bsearch(&wanted, pth->storages, pth->storage_count, sizeof wanted, by_key);
}

static int read_storage(const struct pth *pth, const struct gr_value *value, struct storage *out) {
    const struct gr_value *key = gr_pickle_child(&pth->pickle, value, 2);
    char shown[128];
    *out = (struct storage){.key = key->text,
                            .length = key->count,
                            .element = value->element,
                            .count = gr_pickle_child(&pth->pickle, value, 4)->integer};
    if (out->count < 0 || (uint64_t)out->count > pth->reader->source->size / (uint64_t)out->element->size)
        return gr_fail(GR_ERROR_FILE, "storage \"%s\" is said to hold %lld numbers, more than the file",
                       shown_text(key->text, key->count, shown), (long long)out->count);
    return GR_OK;
}

/* Every storage that the pickle mentions, once. */
static int collect_storages(struct pth *pth) {
    const struct gr_pickle *pickle = &pth->pickle;
    size_t count = 0, kept = 0;
    char shown[128];
    for (uint32_t i = 0; i < pickle->value_count; i++)
        count += pickle->values[i].kind == GR_VALUE_STORAGE;
    struct storage *storages = gr_calloc(count, sizeof *storages);
    if (!storages)
        return GR_ERROR_MEMORY;
    pth->storages = storages;
    count = 0;
    for (uint32_t i = 0; i < pickle->value_count; i++)
        if (pickle->values[i].kind == GR_VALUE_STORAGE)
            GR_TRY(read_storage(pth, &pickle->values[i], &storages[count++]));
    qsort(storages, count, sizeof *storages, by_key);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_keys(&storages[kept - 1], &storages[i]) != 0)
            storages[kept++] = storages[i];
        else if (storages[kept - 1].element != storages[i].element ||
                 storages[kept - 1].count != storages[i].count)
            return gr_fail(GR_ERROR_FILE, "storage \"%s\" is described in two ways",
                           shown_text(storages[i].key, storages[i].length, shown));
    }
    pth->storage_count = kept;
    return GR_OK;
}

/* Finds the bytes of a storage in the zip, the first time that a tensor needs them. */
static int place_storage(const struct pth *pth, struct storage *storage) {
    char shown[128], name[300] = "data/";
    if (storage->placed)
        return GR_OK;
    shown_text(storage->key, storage->length, shown);
    if (storage->length > sizeof name - 5)
        return gr_fail(GR_ERROR_LIMIT, "a storage's key has %zu bytes", storage->length);
    memcpy(name + 5, storage->key, storage->length);
    const struct gr_zip_entry *entry =
        pth->zip ? gr_zip_find(pth->zip, pth->prefix, pth->prefix_length, name, storage->length + 5) : NULL;
    if (!entry)
        return gr_fail(GR_ERROR_FILE, "storage \"%s\" is missing", shown);
    if (entry->size != (uint64_t)storage->count * (uint64_t)storage->element->size)
        return gr_fail(GR_ERROR_FILE,
                       "storage \"%s\" has %llu bytes, but %lld numbers of kind %s are expected", shown,
                       (unsigned long long)entry->size, (long long)storage->count, storage->element->name);
    GR_TRY(gr_zip_locate(pth->zip, entry, &storage->offset));
    storage->placed = true;
    return GR_OK;
}

/* --- tensors --- */

/* The part of its storage that a tensor may use: all of it, or the view that the legacy kind knows. */
static int read_view(const struct pth *pth, const struct gr_value *value, const struct storage *storage,
                     int64_t *start, int64_t *end) {
    *start = 0;
    *end = storage->count;
    if (value->count < 6)
        return GR_OK;
    const struct gr_value *view = gr_pickle_child(&pth->pickle, value, 5);
    if (view->kind == GR_VALUE_NONE)
        return GR_OK;
    if (view->kind != GR_VALUE_TUPLE || view->count != 3)
        return gr_fail(GR_ERROR_FILE, "its storage's view is no tuple of key, offset and size");
    const struct gr_value *offset = gr_pickle_child(&pth->pickle, view, 1);
    const struct gr_value *size = gr_pickle_child(&pth->pickle, view, 2);
    if (offset->kind != GR_VALUE_INTEGER || size->kind != GR_VALUE_INTEGER || offset->integer < 0 ||
        size->integer < 0 || offset->integer > storage->count ||
        size->integer > storage->count - offset->integer)
        return gr_fail(GR_ERROR_FILE, "its storage's view reaches beyond the storage");
    *start = offset->integer;
    *end = offset->integer + size->integer;
    return GR_OK;
}

/* Sizes, strides and offset of a tensor, with the check that all its elements lie in `start`..`end` of the
 * storage. */
static int read_geometry(const struct pth *pth, const struct gr_value *value, int64_t end,
                         int64_t shape[GR_MAX_RANK], int64_t stride[GR_MAX_RANK], struct gr_placement *out) {
    const struct gr_value *sizes = gr_pickle_child(&pth->pickle, value, 2);
    const struct gr_value *strides = gr_pickle_child(&pth->pickle, value, 3);
    int64_t offset = gr_pickle_child(&pth->pickle, value, 1)->integer, last, reach;
    if (sizes->count != strides->count || sizes->count > (uint32_t)pth->reader->limits.rank)
        return gr_fail(GR_ERROR_FILE,
                       "it has %u sizes and %u strides; as many of both, and at most %d, are expected",
                       sizes->count, strides->count, pth->reader->limits.rank);
    out->rank = (int)sizes->count;
    bool empty = false;
    for (int d = 0; d < out->rank; d++) {
        shape[d] = gr_pickle_child(&pth->pickle, sizes, (uint32_t)d)->integer;
        stride[d] = gr_pickle_child(&pth->pickle, strides, (uint32_t)d)->integer;
        if (shape[d] < 0 || stride[d] < 0)
            return gr_fail(GR_ERROR_FILE, "dimension %d has the size %lld and the stride %lld", d + 1,
                           (long long)shape[d], (long long)stride[d]);
        empty = empty || shape[d] == 0;
    }
    bool inside = offset >= 0 && !__builtin_add_overflow(out->start, offset, &last);
    for (int d = 0; d < out->rank && inside && !empty; d++)
        inside = !__builtin_mul_overflow(shape[d] - 1, stride[d], &reach) &&
                 !__builtin_add_overflow(last, reach, &last);
    if (!inside || (!empty && last >= end))
        return gr_fail(GR_ERROR_FILE, "its elements reach beyond its storage of %lld numbers",
                       (long long)end);
    out->start += offset;
    out->shape = shape;
    out->stride = stride;
    return GR_OK;
}

static int read_tensor(const struct pth *pth, const struct gr_value *value, const char *name, size_t length) {
    const struct gr_value *of = gr_pickle_child(&pth->pickle, value, 0);
    const struct gr_value *key = gr_pickle_child(&pth->pickle, of, 2);
    struct storage *storage = find_storage(pth, key->text, key->count);
    int64_t shape[GR_MAX_RANK], stride[GR_MAX_RANK], end = 0;
    struct gr_placement placement = {.element = storage->element};
    char shown[128];
    int status = place_storage(pth, storage);
    if (!status)
        status = read_view(pth, of, storage, &placement.start, &end);
    if (!status)
        status = read_geometry(pth, value, end, shape, stride, &placement);
    if (status)
        return gr_fail_in("tensor \"%s\"", shown_text(name, length, shown));
    placement.offset = storage->offset;
    return gr_reader_add(pth->reader, name, length, &placement);
}

/* --- finding the state dict --- */

static bool holds_tensor(const struct pth *pth, const struct gr_value *dict) {
    for (uint32_t cell = dict->first; cell;) {
        next_value(pth, &cell);
        if (next_value(pth, &cell)->kind == GR_VALUE_TENSOR)
            return true;
    }
    return false;
}

/* The dictionary inside `dict` under one of the keys by which people wrap a state dict, or NULL. */
static const struct gr_value *wrapped(const struct pth *pth, const struct gr_value *dict) {
    static const char *const keys[] = {"state_dict", "model_state_dict", "model",     "net", "network",
                                       "module",     "state_dict_ema",   "model_ema", "ema"};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        for (uint32_t cell = dict->first; cell;) {
            const struct gr_value *key = next_value(pth, &cell), *value = next_value(pth, &cell);
            if (value->kind == GR_VALUE_DICT && value->count && is_text(key, keys[k]))
                return value;
        }
    return NULL;
}

static int no_tensors(const struct pth *pth, const struct gr_value *root) {
    struct gr_text keys = {0};
    char shown[128];
    int listed = 0;
    if (root->kind != GR_VALUE_DICT)
        return gr_fail(GR_ERROR_FILE,
                       "holds %s; a state dict (a dictionary of names and tensors) was expected",
                       gr_value_kind_name(root->kind));
    for (uint32_t cell = root->first; cell && listed < 6;) {
        const struct gr_value *key = next_value(pth, &cell);
        next_value(pth, &cell);
        if (key->kind == GR_VALUE_TEXT)
            gr_text_add(&keys, "%s%s", listed++ ? ", " : "", shown_text(key->text, key->count, shown));
    }
    gr_fail(GR_ERROR_FILE, "holds a dictionary without tensors (keys: %s); a state dict was expected",
            listed && !keys.failed ? keys.bytes : "none");
    gr_text_free(&keys);
    return GR_ERROR_FILE;
}

/* Do all tensors' names begin with `prefix` (and go on after it)? */
static bool all_begin(const struct pth *pth, const struct gr_value *dict, size_t skip, const char *prefix) {
    size_t length = strlen(prefix);
    for (uint32_t cell = dict->first; cell;) {
        const struct gr_value *key = next_value(pth, &cell);
        if (next_value(pth, &cell)->kind == GR_VALUE_TENSOR &&
            (key->kind != GR_VALUE_TEXT || key->count <= skip + length ||
             memcmp(key->text + skip, prefix, length) != 0))
            return false;
    }
    return true;
}

/* Everything that is no tensor (epochs, options, optimiser state) is passed over. */
static int read_state_dict(const struct pth *pth) {
    const struct gr_value *root = &pth->pickle.values[pth->pickle.root], *dict = root;
    for (int i = 0; i < WRAPPINGS && dict->kind == GR_VALUE_DICT && wrapped(pth, dict); i++)
        dict = wrapped(pth, dict);
    if (dict->kind != GR_VALUE_DICT || !holds_tensor(pth, dict))
        return no_tensors(pth, root);
    size_t skip = 0;
    for (int i = 0; i < WRAPPINGS; i++) {
        if (all_begin(pth, dict, skip, "module."))
            skip += strlen("module.");
        else if (all_begin(pth, dict, skip, "_orig_mod."))
            skip += strlen("_orig_mod.");
    }
    for (uint32_t cell = dict->first; cell;) {
        const struct gr_value *key = next_value(pth, &cell), *value = next_value(pth, &cell);
        if (value->kind != GR_VALUE_TENSOR)
            continue;
        if (key->kind != GR_VALUE_TEXT)
            return gr_fail(GR_ERROR_FILE, "a tensor's name is %s, not a text", gr_value_kind_name(key->kind));
        GR_TRY(read_tensor(pth, value, key->text + skip, key->count - skip));
    }
    return GR_OK;
}

/* --- the zip kind --- */

static bool ends_with(const struct gr_zip_entry *entry, const char *end) {
    size_t length = strlen(end);
    return entry->length >= length && memcmp(entry->name + entry->length - length, end, length) == 0;
}

/* Finds PREFIX/data.pkl and refuses what is no plain torch.save. */
static int find_pickle(struct pth *pth, const struct gr_zip_entry **out) {
    const struct gr_zip_entry *found = NULL;
    char shown[128] = "";
    for (int i = 0; i < pth->zip->count; i++)
        if (ends_with(&pth->zip->entries[i], "/data.pkl")) {
            if (found)
                return gr_fail(GR_ERROR_FILE, "holds more than one data.pkl");
            found = &pth->zip->entries[i];
        }
    if (!found && pth->zip->count)
        shown_text(pth->zip->entries[0].name, pth->zip->entries[0].length, shown);
    if (!found)
        return gr_fail(
            GR_ERROR_FILE,
            "is a zip archive without data.pkl, so torch.save did not write it (%d entries, one is \"%s\")",
            pth->zip->count, shown);
    pth->prefix = found->name;
    pth->prefix_length = found->length - strlen("data.pkl");
    for (int i = 0; i < pth->zip->count; i++) {
        const struct gr_zip_entry *entry = &pth->zip->entries[i];
        const char *name = entry->name + pth->prefix_length;
        if (entry->length <= pth->prefix_length || memcmp(entry->name, pth->prefix, pth->prefix_length) != 0)
            continue;
        size_t length = entry->length - pth->prefix_length;
        if ((length > 5 && memcmp(name, "code/", 5) == 0) ||
            (length == 13 && memcmp(name, "constants.pkl", 13) == 0))
            return gr_fail(GR_ERROR_FILE, "is a TorchScript program, which holds code; in PyTorch, save "
                                          "torch.jit.load(file).state_dict() instead");
    }
    *out = found;
    return GR_OK;
}

static int check_byte_order(const struct pth *pth) {
    const struct gr_zip_entry *entry =
        gr_zip_find(pth->zip, pth->prefix, pth->prefix_length, "byteorder", strlen("byteorder"));
    char order[16] = "", shown[128];
    uint64_t offset = 0;
    if (!entry)
        return GR_OK;
    GR_TRY(gr_zip_locate(pth->zip, entry, &offset));
    size_t length = entry->size < sizeof order ? (size_t)entry->size : sizeof order;
    GR_TRY(gr_source_read(pth->reader->source, offset, order, length));
    if (length != 6 || memcmp(order, "little", 6) != 0)
        return gr_fail(GR_ERROR_FILE, "its byte order is \"%s\"; only little-endian files are read",
                       shown_text(order, length, shown));
    return GR_OK;
}

static int read_with_pickle(struct pth *pth, const struct gr_zip_entry *entry, unsigned char *bytes) {
    uint64_t offset = 0;
    size_t used = 0;
    GR_TRY(check_byte_order(pth));
    GR_TRY(gr_zip_locate(pth->zip, entry, &offset));
    GR_TRY(gr_source_read(pth->reader->source, offset, bytes, (size_t)entry->size));
    GR_TRY(gr_pickle_read(&pth->pickle, bytes, (size_t)entry->size, &used));
    if (used != entry->size)
        return gr_fail(GR_ERROR_FILE, "its data.pkl goes on for %llu bytes after its end",
                       (unsigned long long)(entry->size - used));
    GR_TRY(collect_storages(pth));
    return read_state_dict(pth);
}

int gr_pth_read_zip(struct gr_reader *reader) {
    struct gr_zip zip;
    struct pth pth = {.reader = reader, .zip = &zip};
    const struct gr_zip_entry *entry = NULL;
    unsigned char *bytes = NULL;
    GR_TRY(gr_zip_open(&zip, reader->source, reader->limits.tensors + OTHER_ENTRIES));
    int status = find_pickle(&pth, &entry);
    if (!status && entry->size > reader->limits.pickle_bytes)
        status = gr_fail(GR_ERROR_LIMIT, "its data.pkl has %llu bytes; at most %llu are allowed",
                         (unsigned long long)entry->size, (unsigned long long)reader->limits.pickle_bytes);
    if (!status && !(bytes = gr_alloc((size_t)entry->size)))
        status = GR_ERROR_MEMORY;
    if (!status)
        status = read_with_pickle(&pth, entry, bytes);
    gr_free(pth.storages);
    gr_pickle_free(&pth.pickle);
    gr_free(bytes);
    gr_zip_close(&zip);
    return status;
}

/* --- the legacy kind: pickles of a magic number, a version, system information, the object and the list of
 * keys, then a count and the numbers of every storage in the order of that list --- */

struct legacy {
    const unsigned char *bytes; /* the start of the file */
    size_t size, at;
};

static int next_pickle(struct legacy *legacy, struct gr_pickle *out) {
    size_t used = 0;
    GR_TRY(gr_pickle_read(out, legacy->bytes + legacy->at, legacy->size - legacy->at, &used));
    legacy->at += used;
    return GR_OK;
}

/* The version, and the byte order in the system information. */
static int check_system(struct legacy *legacy) {
    struct gr_pickle version = {0}, system = {0};
    struct pth pth = {0};
    int status = next_pickle(legacy, &version);
    if (status)
        return status;
    const struct gr_value *value = &version.values[version.root];
    if (value->kind != GR_VALUE_INTEGER || value->integer != LEGACY_PROTOCOL)
        status =
            gr_fail(GR_ERROR_FILE, "its version is not %d, the only one of the legacy kind", LEGACY_PROTOCOL);
    gr_pickle_free(&version);
    if (!status)
        status = next_pickle(legacy, &system);
    if (status)
        return status;
    pth.pickle = system;
    value = &system.values[system.root];
    for (uint32_t cell = value->kind == GR_VALUE_DICT ? value->first : 0; cell && !status;) {
        const struct gr_value *key = next_value(&pth, &cell), *said = next_value(&pth, &cell);
        if (is_text(key, "little_endian") && said->kind == GR_VALUE_BOOL && !said->integer)
            status = gr_fail(GR_ERROR_FILE, "its byte order is \"big\"; only little-endian files are read");
    }
    gr_pickle_free(&system);
    return status;
}

/* Walks the storages behind the pickles and checks that they fill the file. */
static int place_legacy(struct pth *pth, const struct gr_pickle *keys, uint64_t at) {
    const struct pth list = {.pickle = *keys};
    const struct gr_value *value = &keys->values[keys->root];
    uint64_t size = pth->reader->source->size;
    char shown[128];
    if (value->kind != GR_VALUE_LIST)
        return gr_fail(GR_ERROR_FILE, "the list of its storages is %s", gr_value_kind_name(value->kind));
    for (uint32_t cell = value->first; cell;) {
        const struct gr_value *key = next_value(&list, &cell);
        struct storage *storage =
            key->kind == GR_VALUE_TEXT ? find_storage(pth, key->text, key->count) : NULL;
        unsigned char count[8];
        int64_t elements;
        if (!storage || storage->placed)
            return gr_fail(GR_ERROR_FILE,
                           "the list of its storages has one that no tensor uses, or one twice");
        GR_TRY(gr_source_read(pth->reader->source, at, count, sizeof count));
        memcpy(&elements, count, sizeof elements);
        shown_text(storage->key, storage->length, shown);
        if (elements != storage->count)
            return gr_fail(GR_ERROR_FILE, "storage \"%s\" holds %lld numbers, but %lld are expected", shown,
                           (long long)elements, (long long)storage->count);
        storage->offset = at + sizeof count;
        storage->placed = true;
        uint64_t bytes = (uint64_t)storage->count * (uint64_t)storage->element->size;
        if (bytes > size - storage->offset)
            return gr_fail(GR_ERROR_FILE, "ends early: storage \"%s\" needs %llu bytes, %llu are left", shown,
                           (unsigned long long)bytes, (unsigned long long)(size - storage->offset));
        at = storage->offset + bytes;
    }
    if (at != size)
        return gr_fail(GR_ERROR_FILE, "%llu bytes after the last storage belong to none",
                       (unsigned long long)(size - at));
    return GR_OK;
}

static int read_legacy(struct pth *pth, struct legacy *legacy) {
    struct gr_pickle keys = {0};
    GR_TRY(check_system(legacy));
    GR_TRY(next_pickle(legacy, &pth->pickle));
    GR_TRY(collect_storages(pth));
    GR_TRY(next_pickle(legacy, &keys));
    int status = place_legacy(pth, &keys, legacy->at);
    gr_pickle_free(&keys);
    return status ? status : read_state_dict(pth);
}

int gr_pth_read_legacy(struct gr_reader *reader) {
    static const unsigned char magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                          0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};
    uint64_t size = reader->source->size;
    struct legacy legacy = {
        .size = (size_t)(size < reader->limits.pickle_bytes ? size : reader->limits.pickle_bytes)};
    struct pth pth = {.reader = reader};
    unsigned char *bytes = gr_alloc(legacy.size);
    if (!bytes)
        return GR_ERROR_MEMORY;
    legacy.bytes = bytes;
    legacy.at = sizeof magic;
    int status = gr_source_read(reader->source, 0, bytes, legacy.size);
    if (!status && (legacy.size < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0))
        status = gr_fail(GR_ERROR_FILE, "is a Python pickle, but not one that torch.save wrote");
    if (!status)
        status = read_legacy(&pth, &legacy);
    gr_free(pth.storages);
    gr_pickle_free(&pth.pickle);
    gr_free(bytes);
    return status;
}
