/* NumPy's .npy format: magic, version, length of the header, a Python literal, the numbers. */
#include "tensor/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/paths.h"
#include "base/status.h"
#include "base/text.h"

static const char MAGIC[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};
enum { LONGEST_HEADER = 65536, ALIGN = 64, PIECE = 65536 };

/* What the header says. */
struct header {
    char kind; /* f, i, u or b */
    int size;  /* bytes of an element */
    bool big_endian, fortran;
    int rank;
    int64_t shape[GR_MAX_RANK];
    bool has_descr, has_order, has_shape;
};

/* ---- the Python literal ---- */

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool accept(struct cursor *c, char wanted) {
    skip_space(c);
    if (c->at >= c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static bool accept_word(struct cursor *c, const char *word) {
    size_t length = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

/* A string in quotes, without escapes (NumPy writes none here). */
static bool read_string(struct cursor *c, char *out, size_t size) {
    skip_space(c);
    if (c->at >= c->end || (*c->at != '\'' && *c->at != '"'))
        return false;
    char quote = *c->at++;
    size_t n = 0;
    while (c->at < c->end && *c->at != quote) {
        if (*c->at == '\\' || *c->at == '\0' || n + 1 >= size)
            return false;
        out[n++] = *c->at++;
    }
    out[n] = '\0';
    return accept(c, quote);
}

static bool read_size(struct cursor *c, int64_t *out) {
    skip_space(c);
    int64_t value = 0;
    const char *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *c->at - '0', &value))
            return false;
    }
    *out = value;
    return c->at > start;
}

static int read_shape(struct cursor *c, struct header *header) {
    if (!accept(c, '('))
        return gr_fail(GR_ERROR_FILE, "its header's \"shape\" is not a tuple");
    while (!accept(c, ')')) {
        if (header->rank == GR_MAX_RANK)
            return gr_fail(GR_ERROR_FILE, "its array has more than %d dimensions", GR_MAX_RANK);
        if (!read_size(c, &header->shape[header->rank]))
            return gr_fail(GR_ERROR_FILE, "its header's \"shape\" holds something that is not a size");
        header->rank++;
        if (!accept(c, ',')) {
            if (header->rank == 1 || !accept(c, ')')) /* (3) is a number in Python, (3,) a tuple */
                return gr_fail(GR_ERROR_FILE, "its header's \"shape\" is not a tuple of sizes");
            break;
        }
    }
    return GR_OK;
}

static int read_type(const char *descr, struct header *header) {
    const char *known[] = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1"};
    char shown[64];
    for (size_t k = 0; k < sizeof known / sizeof known[0]; k++) {
        bool order =
            descr[0] == '<' || descr[0] == '>' || descr[0] == '=' || (descr[0] == '|' && known[k][1] == '1');
        if (!order || strcmp(descr + 1, known[k]) != 0)
            continue;
        header->kind = known[k][0];
        header->size = known[k][1] - '0';
        header->big_endian = descr[0] == '>';
        return GR_OK;
    }
    return gr_fail(GR_ERROR_FILE,
                   "its elements are of type \"%s\"; f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 b1 are read",
                   gr_printable(descr, shown, sizeof shown));
}

static int read_value(struct cursor *c, const char *key, struct header *header) {
    char text[64], shown[64];
    bool *seen = strcmp(key, "descr") == 0           ? &header->has_descr
                 : strcmp(key, "fortran_order") == 0 ? &header->has_order
                 : strcmp(key, "shape") == 0         ? &header->has_shape
                                                     : NULL;
    if (!seen || *seen)
        return gr_fail(GR_ERROR_FILE, "its header has %s key \"%s\"", seen ? "twice the" : "an unknown",
                       gr_printable(key, shown, sizeof shown));
    *seen = true;
    if (seen == &header->has_shape)
        return read_shape(c, header);
    if (seen == &header->has_descr) {
        if (!read_string(c, text, sizeof text))
            return gr_fail(GR_ERROR_FILE,
                           "its header's \"descr\" is not a simple type (records are not read)");
        return read_type(text, header);
    }
    header->fortran = accept_word(c, "True");
    if (!header->fortran && !accept_word(c, "False"))
        return gr_fail(GR_ERROR_FILE, "its header's \"fortran_order\" is neither True nor False");
    return GR_OK;
}

static int parse_header(const char *text, size_t length, struct header *header) {
    struct cursor c = {text, text + length};
    char key[32];
    if (!accept(&c, '{'))
        return gr_fail(GR_ERROR_FILE, "its header is not a Python dictionary");
    while (!accept(&c, '}')) {
        if (!read_string(&c, key, sizeof key) || !accept(&c, ':'))
            return gr_fail(GR_ERROR_FILE, "its header is not a Python dictionary");
        GR_TRY(read_value(&c, key, header));
        if (!accept(&c, ',')) {
            if (!accept(&c, '}'))
                return gr_fail(GR_ERROR_FILE, "its header is not a Python dictionary");
            break;
        }
    }
    skip_space(&c);
    if (c.at != c.end)
        return gr_fail(GR_ERROR_FILE, "its header goes on after the dictionary");
    if (!header->has_descr || !header->has_order || !header->has_shape)
        return gr_fail(GR_ERROR_FILE, "its header lacks \"%s\"",
                       !header->has_descr   ? "descr"
                       : !header->has_order ? "fortran_order"
                                            : "shape");
    return GR_OK;
}

/* ---- numbers ---- */

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023,
             bits;
    float out;
    if (exponent == 0) { /* zero and subnormals: fraction * 2^-24 */
        out = (float)fraction * 0x1p-24f;
        return sign ? -out : out;
    }
    bits =
        exponent == 31 ? sign | 0x7f800000 | fraction << 13 : sign | (exponent + 112) << 23 | fraction << 13;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static uint64_t read_bits(const unsigned char *bytes, int size, bool big_endian) {
    uint64_t bits = 0;
    for (int i = 0; i < size; i++)
        bits |= (uint64_t)bytes[big_endian ? size - 1 - i : i] << (8 * i);
    return bits;
}

static float to_float(uint64_t bits, int size) {
    uint32_t word = (uint32_t)bits;
    float single;
    double wide;
    if (size == 2)
        return half_to_float((uint16_t)bits);
    if (size == 4) {
        memcpy(&single, &word, sizeof single);
        return single;
    }
    memcpy(&wide, &bits, sizeof wide);
    return (float)wide;
}

static int64_t to_integer(uint64_t bits, int size, char kind) {
    if (kind != 'i' || size == 8)
        return (int64_t)bits;
    uint64_t sign = (uint64_t)1 << (8 * size - 1);
    return (int64_t)((bits ^ sign) - sign); /* extends the sign */
}

/* The place in row-major order of the element that comes `i`-th in the file. */
static int64_t place_of(const struct header *header, const struct gr_tensor *out, int64_t i) {
    int64_t place = 0;
    if (!header->fortran)
        return i;
    for (int d = 0; d < header->rank; d++) {
        place += i % header->shape[d] * out->stride[d];
        i /= header->shape[d];
    }
    return place;
}

static int read_numbers(FILE *file, const struct header *header, struct gr_tensor *out) {
    unsigned char bytes[PIECE];
    int64_t count = gr_tensor_count(out), most = PIECE / header->size;
    for (int64_t done = 0; done < count;) {
        int64_t n = count - done < most ? count - done : most;
        if (fread(bytes, (size_t)header->size, (size_t)n, file) != (size_t)n)
            return gr_fail(GR_ERROR_FILE, "it ends in the middle of its numbers");
        for (int64_t i = 0; i < n; i++) {
            uint64_t bits = read_bits(bytes + i * header->size, header->size, header->big_endian);
            int64_t place = place_of(header, out, done + i);
            if (header->kind == 'b' && bits > 1)
                return gr_fail(GR_ERROR_FILE, "element %lld is no boolean", (long long)(done + i + 1));
            if (header->kind == 'f')
                gr_tensor_floats(out)[place] = to_float(bits, header->size);
            else
                gr_tensor_integers(out)[place] = to_integer(bits, header->size, header->kind);
        }
        done += n;
    }
    return GR_OK;
}

/* ---- files ---- */

static int read_header(FILE *file, struct header *header, int64_t *start) {
    unsigned char head[12];
    char text[LONGEST_HEADER];
    if (fread(head, 1, 10, file) != 10 || memcmp(head, MAGIC, sizeof MAGIC) != 0)
        return gr_fail(GR_ERROR_FILE, "it is not a .npy file (those begin with \\x93NUMPY)");
    int version = head[6];
    if (version < 1 || version > 3 || head[7] != 0)
        return gr_fail(GR_ERROR_FILE, "its .npy version is %d.%d; 1.0, 2.0 and 3.0 are read", version,
                       head[7]);
    size_t prefix = version == 1 ? 10 : 12;
    if (version > 1 && fread(head + 10, 1, 2, file) != 2)
        return gr_fail(GR_ERROR_FILE, "it ends in its header");
    uint64_t length = read_bits(head + 8, version == 1 ? 2 : 4, false);
    if (length > sizeof text)
        return gr_fail(GR_ERROR_FILE, "its header claims %llu bytes; at most %d are read",
                       (unsigned long long)length, LONGEST_HEADER);
    if (fread(text, 1, (size_t)length, file) != (size_t)length)
        return gr_fail(GR_ERROR_FILE, "it ends in its header");
    *start = (int64_t)(prefix + length);
    return parse_header(text, (size_t)length, header);
}

static int read_file(struct gr_tensor *out, FILE *file) {
    struct header header = {0};
    struct stat info;
    int64_t start = 0, count = 0;
    char shape[96];
    if (fstat(fileno(file), &info) != 0 || !S_ISREG(info.st_mode))
        return gr_fail(GR_ERROR_FILE, "it is not a regular file");
    GR_TRY(read_header(file, &header, &start));
    GR_TRY(gr_shape_count(header.rank, header.shape, &count));
    int64_t there = (int64_t)info.st_size - start, wanted = count * header.size;
    if (there != wanted) /* before memory is taken: a header can claim anything */
        return gr_fail(GR_ERROR_FILE, "its shape %s needs %lld bytes of numbers, but %lld follow the header",
                       gr_format_shape(header.rank, header.shape, shape), (long long)wanted,
                       (long long)there);
    GR_TRY(gr_tensor_reserve(out, header.kind == 'f' ? GR_F32 : GR_I64, header.rank, header.shape));
    int status = read_numbers(file, &header, out);
    if (status)
        gr_tensor_release(out);
    return status;
}

/* Says which file the error that is set is about. */
static int fail_with_path(const char *path) {
    char shown[256];
    return gr_fail_in("%s", gr_printable(path, shown, sizeof shown));
}

int gr_npy_read(struct gr_tensor *out, const char *path) {
    char room[GR_PATH_ROOM];
    const char *use;
    memset(out, 0, sizeof *out);
    if (gr_path_check(path, false, room, &use))
        return fail_with_path(path);
    int descriptor = open(use, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "rb") : NULL;
    if (!file) {
        gr_path_fail(use, "file");
        if (descriptor >= 0)
            close(descriptor);
        return fail_with_path(path);
    }
    int status = read_file(out, file);
    fclose(file);
    return status ? fail_with_path(path) : GR_OK;
}

static int write_numbers(FILE *file, const struct gr_tensor *packed) {
    char head[256];
    char dict[256];
    int n = snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     packed->dtype == GR_F32 ? "<f4" : "<i8");
    for (int d = 0; d < packed->rank; d++)
        n +=
            snprintf(dict + n, sizeof dict - (size_t)n, "%s%lld", d ? ", " : "", (long long)packed->shape[d]);
    n += snprintf(dict + n, sizeof dict - (size_t)n, "%s), }", packed->rank == 1 ? "," : "");
    int whole = (10 + n + 1 + ALIGN - 1) / ALIGN * ALIGN;
    memset(head, ' ', sizeof head);
    memcpy(head, MAGIC, sizeof MAGIC);
    head[6] = 1;
    head[7] = 0;
    head[8] = (char)((whole - 10) & 255);
    head[9] = (char)((whole - 10) >> 8);
    memcpy(head + 10, dict, (size_t)n);
    head[whole - 1] = '\n';
    size_t size = packed->dtype == GR_F32 ? sizeof(float) : sizeof(int64_t);
    size_t count = (size_t)gr_tensor_count(packed);
    const void *numbers = packed->dtype == GR_F32 ? (const void *)gr_tensor_floats(packed)
                                                  : (const void *)gr_tensor_integers(packed);
    if (fwrite(head, 1, (size_t)whole, file) != (size_t)whole ||
        fwrite(numbers, size, count, file) != count || fflush(file) != 0 || fsync(fileno(file)) != 0)
        return gr_fail(GR_ERROR_FILE, "cannot be written: %s", strerror(errno));
    return GR_OK;
}

/* Opens a new file beside `path`, its name in *temporary. */
static FILE *open_temporary(const char *path, struct gr_text *temporary) {
    gr_text_add(temporary, "%s.%ld.part", path, (long)getpid());
    if (gr_text_status(temporary))
        return NULL;
    int descriptor = open(temporary->bytes, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "wb") : NULL;
    if (!file) {
        gr_fail(GR_ERROR_FILE, "cannot be written: %s", strerror(errno));
        if (descriptor >= 0)
            close(descriptor);
    }
    return file;
}

int gr_npy_write(const char *path, const struct gr_tensor *tensor) {
    struct gr_tensor packed;
    struct gr_text temporary = {0};
    char room[GR_PATH_ROOM];
    const char *use;
    if (gr_path_check(path, true, room, &use))
        return fail_with_path(path);
    GR_TRY(gr_tensor_pack(&packed, tensor));
    FILE *file = open_temporary(use, &temporary);
    int status = file ? write_numbers(file, &packed) : gr_error()->code;
    if (file && fclose(file) != 0 && !status)
        status = gr_fail(GR_ERROR_FILE, "cannot be written: %s", strerror(errno));
    if (file && !status && rename(temporary.bytes, use) != 0)
        status = gr_fail(GR_ERROR_FILE, "cannot be written: %s", strerror(errno));
    if (file && status)
        unlink(temporary.bytes);
    if (status)
        fail_with_path(path);
    gr_text_free(&temporary);
    gr_tensor_release(&packed);
    return status;
}
