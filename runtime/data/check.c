/* The walk over a photo's structure before any decoder sees it.
 *
 * JPEG: marker by marker, the compressed data of each scan included, to the end marker. PNG: chunk by chunk
 * with its CRC, to IEND. What follows the end is nobody's business. A file cut anywhere before its end is
 * found here, whatever the decoder would make of it. */
#include "data/image.h"

#include "base/status.h"

#include <string.h>
#include <zlib.h>

struct bytes {
    const uint8_t *at;
    size_t size, position;
    unsigned huffman[2]; /* JPEG: bit i: table i is defined; of DC and AC coefficients */
    unsigned quantisers; /* bit i: table i is defined */
    bool progressive;
    uint8_t component[12]; /* number, sampling and quantiser of each */
};

static unsigned big16(const uint8_t *p) {
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t big32(const uint8_t *p) {
    return (uint32_t)big16(p) << 16 | big16(p + 2);
}

static int ends_early(const char *where) {
    return gr_fail(GR_ERROR_FILE, "ends early (%s)", where);
}

static int check_size(struct gr_image_info *info, uint32_t w, uint32_t h) {
    if (w == 0 || h == 0)
        return gr_fail(GR_ERROR_FILE, "is damaged: it says %ux%u pixels", w, h);
    if (w > GR_IMAGE_MAX_SIDE || h > GR_IMAGE_MAX_SIDE || (uint64_t)w * h > GR_IMAGE_MAX_PIXELS)
        return gr_fail(GR_ERROR_LIMIT, "%ux%u pixels are too many: at most %d a side and %d million in all",
                       w, h, GR_IMAGE_MAX_SIDE, GR_IMAGE_MAX_PIXELS / 1000000);
    info->w = (int)w;
    info->h = (int)h;
    return GR_OK;
}

/* ---- EXIF: a TIFF file of which only the orientation matters; whatever is odd about it means upright ----
 */

static uint32_t tiff(const uint8_t *p, int size, bool little) {
    uint32_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint32_t)p[i] << 8 * (little ? i : size - 1 - i);
    return value;
}

static int exif_orientation(const uint8_t *p, size_t size) {
    enum { TAG = 0x0112, SHORT = 3, ENTRY = 12 };
    if (size < 8 || (memcmp(p, "II*\0", 4) && memcmp(p, "MM\0*", 4)))
        return 1;
    bool little = p[0] == 'I';
    size_t at = tiff(p + 4, 4, little);
    if (at > size || size - at < 2)
        return 1;
    size_t count = tiff(p + at, 2, little);
    at += 2;
    for (; count > 0 && size - at >= ENTRY; count--, at += ENTRY)
        if (tiff(p + at, 2, little) == TAG && tiff(p + at + 2, 2, little) == SHORT) {
            uint32_t value = tiff(p + at + 8, 2, little);
            return value >= 1 && value <= 8 ? (int)value : 1;
        }
    return 1;
}

/* ---- JPEG ---- */

enum {
    SOI = 0xD8,
    EOI = 0xD9,
    SOS = 0xDA,
    TEM = 0x01,
    APP1 = 0xE1,
    DHT = 0xC4,
    DQT = 0xDB,
    JPG = 0xC8,
    DAC = 0xCC
};

static int jpeg_frame(struct gr_image_info *info, struct bytes *in, int marker, const uint8_t *p,
                      size_t size) {
    if (marker != 0xC0 && marker != 0xC1 && marker != 0xC2)
        return gr_fail(GR_ERROR_FILE,
                       "is a JPEG of a kind that is not read (%s); export it as an ordinary JPEG",
                       marker > 0xC8 ? "arithmetic coding" : "lossless or hierarchical");
    if (size < 6)
        return gr_fail(GR_ERROR_FILE, "is damaged: its frame header is too short");
    if (info->w)
        return gr_fail(GR_ERROR_FILE, "is damaged: it has two frame headers");
    if (p[0] != 8)
        return gr_fail(GR_ERROR_FILE, "is a JPEG of %d bits a channel; 8 are read", p[0]);
    info->bits = 8;
    info->channels = p[5];
    if (info->channels != 1 && info->channels != 3 && info->channels != 4)
        return gr_fail(GR_ERROR_FILE, "is damaged: it says %d channels", info->channels);
    if (size != 6 + 3 * (size_t)info->channels)
        return gr_fail(GR_ERROR_FILE, "is damaged: its frame header has %zu bytes", size);
    memcpy(in->component, p + 6, 3 * (size_t)info->channels);
    in->progressive = marker == 0xC2;
    return check_size(info, big16(p + 3), big16(p + 1));
}

/* Huffman tables. stb_image 2.27 writes beyond its own when one has more than 256 codes. */
static int jpeg_huffman(struct bytes *in, const uint8_t *p, size_t size) {
    while (size > 0) {
        unsigned codes = 0;
        if (size < 17 || p[0] >> 4 > 1 || (p[0] & 15) > 3)
            return gr_fail(GR_ERROR_FILE, "is damaged: a wrong Huffman table");
        for (int i = 1; i <= 16; i++)
            codes += p[i];
        if (codes > 256 || codes > size - 17)
            return gr_fail(GR_ERROR_FILE, "is damaged: a Huffman table of %u codes", codes);
        in->huffman[p[0] >> 4] |= 1U << (p[0] & 15);
        p += 17 + codes;
        size -= 17 + codes;
    }
    return GR_OK;
}

static int jpeg_quantisers(struct bytes *in, const uint8_t *p, size_t size) {
    while (size > 0) {
        size_t length = p[0] >> 4 ? 129 : 65;
        if (p[0] >> 4 > 1 || (p[0] & 15) > 3 || size < length)
            return gr_fail(GR_ERROR_FILE, "is damaged: a wrong quantiser table");
        in->quantisers |= 1U << (p[0] & 15);
        p += length;
        size -= length;
    }
    return GR_OK;
}

/* A scan may only use what was defined before it: the decoder would run on whatever lies in its tables. */
static int jpeg_scan_header(struct gr_image_info *info, const struct bytes *in, const uint8_t *p,
                            size_t size) {
    size_t count = size > 0 ? p[0] : 0;
    if (count < 1 || count > (size_t)info->channels || size != 4 + 2 * count)
        return gr_fail(GR_ERROR_FILE, "is damaged: a wrong scan header");
    if (in->progressive || count < (size_t)info->channels)
        info->buffered = true;
    const uint8_t *range = p + 1 + 2 * count; /* first and last coefficient, bits */
    bool dc = !in->progressive || range[0] == 0, ac = !in->progressive || range[0] > 0;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pair = p + 1 + 2 * i, *component = NULL;
        for (int c = 0; c < info->channels && !component; c++)
            if (in->component[3 * c] == pair[0])
                component = &in->component[3 * c];
        unsigned dc_table = pair[1] >> 4, ac_table = pair[1] & 15;
        if (!component || dc_table > 3 || ac_table > 3 || component[2] > 3 ||
            (dc && !(in->huffman[0] >> dc_table & 1)) || (ac && !(in->huffman[1] >> ac_table & 1)) ||
            !(in->quantisers >> component[2] & 1))
            return gr_fail(GR_ERROR_FILE, "is damaged: a scan uses tables that are not there");
    }
    return GR_OK;
}

/* Skips the compressed data of a scan: to the next marker that is neither a stuffed byte nor a restart. */
static int jpeg_scan(struct bytes *in) {
    while (in->position < in->size) {
        const uint8_t *found = memchr(in->at + in->position, 0xFF, in->size - in->position);
        if (!found)
            break;
        in->position = (size_t)(found - in->at);
        if (in->size - in->position < 2)
            break;
        int next = found[1];
        if (next != 0 && next != 0xFF && (next < 0xD0 || next > 0xD7))
            return GR_OK;
        in->position += next == 0xFF ? 1 : 2;
    }
    return ends_early("inside the picture");
}

/* One segment with a length: `marker` was read, the length comes next. */
static int jpeg_segment(struct gr_image_info *info, struct bytes *in, int marker) {
    size_t left = in->size - in->position;
    if (left < 2)
        return ends_early("inside a segment");
    size_t length = big16(in->at + in->position);
    if (length < 2)
        return gr_fail(GR_ERROR_FILE, "is damaged: a segment at byte %zu has no length", in->position);
    if (length > left)
        return ends_early("inside a segment");
    const uint8_t *p = in->at + in->position + 2;
    size_t size = length - 2;
    in->position += length;
    if (marker >= 0xC0 && marker <= 0xCF && marker != DHT && marker != JPG && marker != DAC)
        return jpeg_frame(info, in, marker, p, size);
    if (marker == DHT)
        return jpeg_huffman(in, p, size);
    if (marker == DQT)
        return jpeg_quantisers(in, p, size);
    if (marker == APP1 && size > 6 && !memcmp(p, "Exif\0", 5))
        info->orientation = exif_orientation(p + 6, size - 6);
    if (marker != SOS)
        return GR_OK;
    if (!info->w)
        return gr_fail(GR_ERROR_FILE, "is damaged: the picture comes before its size");
    if (++info->scans > GR_IMAGE_MAX_SCANS)
        return gr_fail(GR_ERROR_LIMIT, "has more than %d scans", GR_IMAGE_MAX_SCANS);
    GR_TRY(jpeg_scan_header(info, in, p, size));
    return jpeg_scan(in);
}

static int check_jpeg(struct gr_image_info *info, struct bytes *in) {
    info->format = GR_IMAGE_JPEG;
    in->position = 2;
    for (;;) {
        if (in->size - in->position < 2)
            return ends_early("without its end marker");
        while (in->position < in->size && in->at[in->position] != 0xFF)
            in->position++; /* some cameras pad their segments */
        while (in->position < in->size && in->at[in->position] == 0xFF)
            in->position++; /* any number of fill bytes may come before a marker */
        if (in->position == in->size)
            return ends_early("without its end marker");
        int marker = in->at[in->position++];
        if (marker == EOI)
            return info->scans ? GR_OK : gr_fail(GR_ERROR_FILE, "is damaged: it holds no picture");
        if (marker == SOI || marker == 0)
            return gr_fail(GR_ERROR_FILE, "is damaged: a wrong marker at byte %zu", in->position - 1);
        if (marker != TEM && (marker < 0xD0 || marker > 0xD7))
            GR_TRY(jpeg_segment(info, in, marker));
    }
}

/* ---- PNG ---- */

static int png_header(struct gr_image_info *info, const uint8_t *p, size_t size) {
    static const uint8_t channels[] = {1, 0, 3, 3, 2, 0, 4};              /* by colour type */
    static const uint8_t depths[] = {0x1F, 0, 0x18, 0x0F, 0x18, 0, 0x18}; /* bit i: 2^i bits a channel */
    if (size != 13)
        return gr_fail(GR_ERROR_FILE, "is damaged: its header has %zu bytes, not 13", size);
    int depth = p[8], type = p[9], log2 = 0;
    while (log2 < 5 && 1 << log2 != depth)
        log2++;
    if (type > 6 || !(depths[type] >> log2 & 1) || p[10] || p[11] || p[12] > 1)
        return gr_fail(GR_ERROR_FILE, "is damaged: its header says colour type %d with %d bits", type, depth);
    info->bits = depth;
    info->channels = channels[type];
    info->alpha = type == 4 || type == 6;
    return check_size(info, big32(p), big32(p + 4));
}

static int check_png(struct gr_image_info *info, struct bytes *in) {
    enum { OVERHEAD = 12 }; /* length, name and CRC of a chunk */
    bool data = false;
    info->format = GR_IMAGE_PNG;
    info->scans = 1;
    for (in->position = 8;;) {
        size_t left = in->size - in->position;
        if (left < OVERHEAD)
            return ends_early("without its end chunk");
        const uint8_t *p = in->at + in->position;
        size_t size = big32(p);
        if (size > left - OVERHEAD)
            return ends_early("inside a chunk");
        const uint8_t *name = p + 4, *body = p + 8;
        if (crc32(crc32(0, NULL, 0), name, (uInt)size + 4) != big32(body + size))
            return gr_fail(GR_ERROR_FILE, "is damaged: wrong checksum of the chunk at byte %zu",
                           in->position);
        bool first = in->position == 8;
        in->position += OVERHEAD + size;
        if (first != !memcmp(name, "IHDR", 4))
            return gr_fail(GR_ERROR_FILE,
                           first ? "is damaged: the header is not first" : "is damaged: it has two headers");
        if (first)
            GR_TRY(png_header(info, body, size));
        else if (!memcmp(name, "tRNS", 4))
            info->alpha = true;
        else if (!memcmp(name, "eXIf", 4))
            info->orientation = exif_orientation(body, size);
        else if (!memcmp(name, "IDAT", 4))
            data = true;
        else if (!memcmp(name, "IEND", 4))
            return data ? GR_OK : gr_fail(GR_ERROR_FILE, "is damaged: it holds no picture");
    }
}

/* ---- what is it? ---- */

struct signature {
    const char *name;
    size_t at, size;
    const char *bytes;
};

static const struct signature others[] = {
    {"HEIC", 4, 8, "ftypheic"},  {"HEIC", 4, 8, "ftypheix"},    {"HEIC", 4, 8, "ftypmif1"},
    {"HEIC", 4, 8, "ftypmsf1"},  {"HEIC", 4, 8, "ftyphevc"},    {"AVIF", 4, 8, "ftypavif"},
    {"GIF", 0, 4, "GIF8"},       {"BMP", 0, 2, "BM"},           {"TIFF", 0, 4, "II*\0"},
    {"TIFF", 0, 4, "MM\0*"},     {"JPEG XL", 0, 2, "\xFF\x0A"}, {"JPEG 2000", 0, 8, "\0\0\0\x0CjP  "},
    {"Photoshop", 0, 4, "8BPS"}, {"PDF", 0, 5, "%PDF-"},        {"SVG", 0, 4, "<svg"},
};

static bool starts(const uint8_t *bytes, size_t size, size_t at, const char *what, size_t length) {
    return size >= at + length && !memcmp(bytes + at, what, length);
}

int gr_image_check(const void *bytes, size_t size, struct gr_image_info *info) {
    const uint8_t *p = bytes;
    struct bytes in = {.at = p, .size = size};
    *info = (struct gr_image_info){.orientation = 1};
    if (size == 0)
        return gr_fail(GR_ERROR_FILE, "is empty");
    if (size > GR_IMAGE_MAX_FILE)
        return gr_fail(GR_ERROR_LIMIT, "is too large (photos have at most %d MiB)", GR_IMAGE_MAX_FILE >> 20);
    if (starts(p, size, 0, "\xFF\xD8\xFF", 3))
        return check_jpeg(info, &in);
    if (starts(p, size, 0, "\x89PNG\r\n\x1A\n", 8))
        return check_png(info, &in);
    if (size < 8 &&
        (!memcmp(p, "\x89PNG\r\n\x1A\n", size) || !memcmp(p, "\xFF\xD8\xFF", size < 3 ? size : 3)))
        return ends_early("inside its first bytes");
    if (starts(p, size, 0, "RIFF", 4) && starts(p, size, 8, "WEBP", 4))
        return gr_fail(GR_ERROR_FILE, "WEBP is not read; export it as JPEG");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (starts(p, size, others[i].at, others[i].bytes, others[i].size))
            return gr_fail(GR_ERROR_FILE, "%s is not read; export it as JPEG", others[i].name);
    return gr_fail(GR_ERROR_FILE, "is no photo (JPEG and PNG are read)");
}
