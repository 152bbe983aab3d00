/* Numbers from a file into a tensor, whatever their kind and strides, with little memory and without seeking
 * about. */
#include <string.h>

#include "base/status.h"
#include "io/reader.h"

enum {
    PIECE = 64 << 10,  /* bytes converted at a time */
    WINDOW = 16 << 10, /* bytes read at a time when the elements are scattered */
};

static bool plain(const struct gr_element *element) {
    return element->size == (element->dtype == GR_F32 ? 4 : 8) && strcmp(element->name, "F64") != 0;
}

static int read_row_major(const struct gr_source *source, const struct gr_placement *placement, size_t count,
                          unsigned char *to) {
    const struct gr_element *element = placement->element;
    size_t size = (size_t)element->size,
           out_size = element->dtype == GR_F32 ? sizeof(float) : sizeof(int64_t);
    uint64_t offset = placement->offset + (uint64_t)placement->start * size;
    unsigned char piece[PIECE];
    if (plain(element))
        return gr_source_read(source, offset, to, count * size);
    while (count) {
        size_t n = count < PIECE / size ? count : PIECE / size;
        GR_TRY(gr_source_read(source, offset, piece, n * size));
        element->convert(piece, to, n);
        offset += n * size;
        to += n * out_size;
        count -= n;
    }
    return GR_OK;
}

/* The dimensions of size above 1 in the order of falling strides, so that a walk over them meets the file's
 * bytes in (nearly) rising order. */
struct dims {
    int rank;
    int64_t size[GR_MAX_RANK], from[GR_MAX_RANK], to[GR_MAX_RANK]; /* strides in elements */
};

static struct dims sort_dims(const struct gr_placement *placement, const struct gr_tensor *out) {
    struct dims dims = {0};
    for (int d = 0; d < placement->rank; d++) {
        if (placement->shape[d] == 1)
            continue;
        int at = dims.rank++;
        for (; at > 0 && dims.from[at - 1] < placement->stride[d]; at--) {
            dims.size[at] = dims.size[at - 1];
            dims.from[at] = dims.from[at - 1];
            dims.to[at] = dims.to[at - 1];
        }
        dims.size[at] = placement->shape[d];
        dims.from[at] = placement->stride[d];
        dims.to[at] = out->stride[d];
    }
    return dims;
}

static int read_scattered(const struct gr_source *source, const struct gr_placement *placement,
                          const struct gr_tensor *out, size_t count, unsigned char *to) {
    const struct gr_element *element = placement->element;
    struct dims dims = sort_dims(placement, out);
    size_t size = (size_t)element->size,
           out_size = element->dtype == GR_F32 ? sizeof(float) : sizeof(int64_t);
    unsigned char window[WINDOW];
    uint64_t first = 0, end = 0; /* bytes of the file that the window holds */
    int64_t index[GR_MAX_RANK] = {0}, from = placement->start, at = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = placement->offset + (uint64_t)from * size;
        if (offset < first || offset + size > end) {
            uint64_t left = source->size - offset;
            first = offset;
            end = offset + (left < WINDOW ? left : WINDOW);
            GR_TRY(gr_source_read(source, first, window, (size_t)(end - first)));
        }
        element->convert(window + (offset - first), to + (size_t)at * out_size, 1);
        for (int d = dims.rank - 1; d >= 0; d--) {
            from += dims.from[d];
            at += dims.to[d];
            if (++index[d] < dims.size[d])
                break;
            from -= dims.from[d] * dims.size[d];
            at -= dims.to[d] * dims.size[d];
            index[d] = 0;
        }
    }
    return GR_OK;
}

int gr_placement_read(const struct gr_source *source, const struct gr_placement *placement,
                      struct gr_tensor *out) {
    unsigned char *to = out->dtype == GR_F32 ? (unsigned char *)gr_tensor_floats(out)
                                             : (unsigned char *)gr_tensor_integers(out);
    size_t count = (size_t)gr_tensor_count(out);
    int64_t stride = 1;
    bool row_major = true;
    if (count == 0)
        return GR_OK;
    for (int d = placement->rank - 1; d >= 0 && placement->stride; d--) {
        row_major = row_major && (placement->shape[d] == 1 || placement->stride[d] == stride);
        stride *= placement->shape[d];
    }
    return row_major ? read_row_major(source, placement, count, to)
                     : read_scattered(source, placement, out, count, to);
}
