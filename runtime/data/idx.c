/* The IDX files of MNIST and its relatives: a magic number (00 00 08 rank), big-endian sizes, bytes. */
#include "data/listing.h"
#include "data/pixels.h"

#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum { MAX_ITEMS = 10000000, MAX_EDGE = 1024 };
#define MAX_BYTES ((size_t)4 << 30)

struct idx {
    char *path; /* that was found: with or without .gz */
    gzFile file;
    uint32_t sizes[3];
};

static void idx_close(struct idx *idx) {
    if (idx->file)
        gzclose(idx->file);
    gr_free(idx->path);
    *idx = (struct idx){0};
}

static int idx_read(struct idx *idx, uint8_t *bytes, size_t size) {
    while (size > 0) {
        unsigned piece = size < (1U << 30) ? (unsigned)size : 1U << 30;
        int got = gzread(idx->file, bytes, piece), code;
        if (got < 0)
            return gr_fail(GR_ERROR_FILE, "%s cannot be read: %s", idx->path, gzerror(idx->file, &code));
        if (got == 0)
            return gr_fail(GR_ERROR_FILE, "%s ends early: %zu bytes are missing", idx->path, size);
        bytes += got;
        size -= (size_t)got;
    }
    return GR_OK;
}

/* Opens DIR/NAME or DIR/NAME.gz; a missing file leaves idx->file NULL. Reads the header. */
static int idx_open(struct idx *idx, const char *dir, const char *name, int rank) {
    struct gr_text path = {0};
    struct stat info;
    uint8_t header[16];
    char room[GR_PATH_ROOM];
    const char *use;
    *idx = (struct idx){0};
    if (gr_path_check(dir, false, room, &use))
        return gr_fail_in("%s", dir);
    gr_text_add(&path, "%s/%s", dir, name);
    if (path.bytes && stat(path.bytes, &info))
        gr_text_add(&path, ".gz");
    if (path.failed)
        return GR_ERROR_MEMORY;
    idx->path = path.bytes; /* gr_text's block is an ordinary one */
    if (stat(idx->path, &info))
        return GR_OK;
    if (gr_path_check(idx->path, false, room, &use))
        return gr_fail_in("%s", idx->path);
    if (!S_ISREG(info.st_mode))
        return gr_fail(GR_ERROR_FILE, "%s is no file", idx->path);
    idx->file = gzopen(use, "rb");
    if (!idx->file)
        return gr_fail(GR_ERROR_FILE, "%s cannot be opened: %s", idx->path, strerror(errno));
    gzbuffer(idx->file, 1 << 18);
    GR_TRY(idx_read(idx, header, 4 + 4 * (size_t)rank));
    if (header[0] || header[1] || header[2] != 8 || header[3] != rank)
        return gr_fail(GR_ERROR_FILE, "%s is no IDX file of bytes in %d dimension%s", idx->path, rank,
                       rank == 1 ? "" : "s");
    for (int i = 0; i < rank; i++)
        idx->sizes[i] = (uint32_t)header[4 + 4 * i] << 24 | (uint32_t)header[5 + 4 * i] << 16 |
                        (uint32_t)header[6 + 4 * i] << 8 | header[7 + 4 * i];
    if (idx->sizes[0] > MAX_ITEMS)
        return gr_fail(GR_ERROR_LIMIT, "%s says %u items; at most %d are read", idx->path, idx->sizes[0],
                       MAX_ITEMS);
    if (rank == 3 &&
        (idx->sizes[1] < 1 || idx->sizes[2] < 1 || idx->sizes[1] > MAX_EDGE || idx->sizes[2] > MAX_EDGE))
        return gr_fail(GR_ERROR_LIMIT, "%s says images of %ux%u pixels; 1 to %d a side are read", idx->path,
                       idx->sizes[2], idx->sizes[1], MAX_EDGE);
    return GR_OK;
}

/* ---- a pair of files ---- */

struct part {
    const char *prefix; /* "train", "t10k" */
    int set;            /* or -1: by hash */
    struct idx images, labels;
    uint8_t *label_bytes;
    uint32_t count;
};

static void part_close(struct part *part) {
    idx_close(&part->images);
    idx_close(&part->labels);
    gr_free(part->label_bytes);
}

static int part_open(struct part *part, const char *dir) {
    char name[64];
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part->prefix);
    GR_TRY(idx_open(&part->images, dir, name, 3));
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part->prefix);
    GR_TRY(idx_open(&part->labels, dir, name, 1));
    if (!part->images.file && !part->labels.file)
        return GR_OK;
    if (!part->images.file || !part->labels.file)
        return gr_fail(GR_ERROR_FILE, "%s is missing",
                       part->images.file ? part->labels.path : part->images.path);
    part->count = part->images.sizes[0];
    if (part->labels.sizes[0] != part->count)
        return gr_fail(GR_ERROR_FILE, "%s has %u images and %s %u labels", part->images.path, part->count,
                       part->labels.path, part->labels.sizes[0]);
    part->label_bytes = gr_alloc(part->count);
    return part->label_bytes ? idx_read(&part->labels, part->label_bytes, part->count) : GR_ERROR_MEMORY;
}

/* Names of the labels that occur, by number. */
static int present_classes(const struct part *parts, int part_count, const char *const *names, int name_count,
                           struct gr_names *present) {
    int highest = -1;
    for (int p = 0; p < part_count; p++)
        for (uint32_t i = 0; i < parts[p].count; i++)
            highest = parts[p].label_bytes[i] > highest ? parts[p].label_bytes[i] : highest;
    if (names && highest >= name_count)
        return gr_fail(GR_ERROR_DATA, "there are labels up to %d, but only %d names", highest, name_count);
    for (int i = 0; i < (names ? name_count : highest + 1); i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        GR_TRY(gr_names_add(present, names ? names[i] : number));
    }
    return GR_OK;
}

/* Adds one part's samples; `column[label]` is the class or -1. */
static int add_part(struct gr_dataset *data, struct part *part, const int *column, size_t *used, int *given) {
    size_t pixels = (size_t)data->width * (size_t)data->height;
    for (uint32_t i = 0; i < part->count; i++) {
        uint8_t *bytes = data->pixels->bytes + *used * pixels;
        GR_TRY(idx_read(&part->images, bytes, pixels));
        int label = column[part->label_bytes[i]];
        if (label < 0)
            continue; /* the next image takes its place */
        char file[64];
        struct gr_sample *sample = &data->samples[data->sample_count];
        snprintf(file, sizeof file, "%s-images %u", part->prefix, i + 1);
        sample->file = gr_strdup(file);
        if (!sample->file)
            return GR_ERROR_MEMORY;
        given[data->sample_count++] = part->set;
        sample->relative = sample->file;
        sample->pixels = bytes;
        sample->label = label;
        gr_listing_hash(bytes, pixels, sample->hash);
        ++*used;
    }
    return GR_OK;
}

static int fill(struct gr_dataset *data, struct part *parts, int part_count, const struct gr_names *present,
                const struct gr_data_options *options) {
    int column[256];
    size_t all = 0, used = 0, bytes;
    for (int i = 0; i < 256; i++) {
        column[i] = -1;
        for (int c = 0; i < present->count && c < data->class_count; c++)
            if (!strcmp(present->items[i], data->classes[c]))
                column[i] = c;
    }
    for (int p = 0; p < part_count; p++)
        for (uint32_t i = 0; i < parts[p].count; i++)
            all += column[parts[p].label_bytes[i]] >= 0;
    /* Room for one more: an image of a class that is left out is read there and overwritten. */
    if (!gr_size_multiply(all + 1, (size_t)data->width * (size_t)data->height, &bytes) || bytes > MAX_BYTES)
        return gr_fail(GR_ERROR_LIMIT, "%zu images of %dx%d pixels are too many", all, data->width,
                       data->height);
    GR_TRY(gr_pixels_create(&data->pixels, bytes));
    data->samples = gr_calloc(all + 1, sizeof *data->samples);
    int *given = gr_calloc(all + 1, sizeof *given);
    int status = data->samples && given ? GR_OK : GR_ERROR_MEMORY;
    for (int p = 0; !status && p < part_count; p++)
        status = add_part(data, &parts[p], column, &used, given);
    if (!status)
        status = gr_listing_sets(data, given, options);
    if (!status)
        status = gr_listing_check(data, options);
    gr_free(given);
    return status;
}

int gr_data_idx(struct gr_dataset **out, const char *dir, const char *const *names, int name_count,
                const struct gr_data_options *options) {
    struct gr_data_options usual = options ? *options : GR_DATA_OPTIONS;
    struct part parts[] = {{.prefix = "train", .set = -1}, {.prefix = "t10k", .set = GR_TEST}};
    struct gr_names present = {0};
    struct gr_dataset *data = NULL;
    char name[256];
    *out = NULL;
    gr_printable(dir, name, sizeof name);
    int status = gr_listing_dataset(&data, dir, &usual);
    for (int p = 0; !status && p < 2; p++)
        status = part_open(&parts[p], dir);
    if (!status && !parts[0].images.file)
        status = gr_fail(GR_ERROR_FILE, "%s: no train-images-idx3-ubyte or train-images-idx3-ubyte.gz there",
                         name);
    if (!status && parts[1].images.file &&
        (parts[0].images.sizes[1] != parts[1].images.sizes[1] ||
         parts[0].images.sizes[2] != parts[1].images.sizes[2]))
        status = gr_fail(GR_ERROR_FILE, "%s: training and test images differ in size", name);
    if (!status) {
        data->height = (int)parts[0].images.sizes[1];
        data->width = (int)parts[0].images.sizes[2];
        status = present_classes(parts, 2, names, name_count, &present);
    }
    if (!status)
        status = gr_listing_classes(data, &present, &usual);
    if (!status)
        status = fill(data, parts, 2, &present, &usual);
    part_close(&parts[0]);
    part_close(&parts[1]);
    gr_names_free(&present);
    if (status)
        gr_data_free(data);
    else
        *out = data;
    return status;
}
