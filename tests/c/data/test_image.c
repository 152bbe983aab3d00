#include "photos.h"

#include <zlib.h>

static void check_same(const char *file, const char *pixels, double mean) {
    char path[256];
    struct gr_image got, expected;
    snprintf(path, sizeof path, FIXTURES "%s", file);
    assert_ok(gr_image_read(&got, path));
    read_pixels(&expected, pixels);
    double off = difference(&got, &expected, NULL);
    if (off > mean)
        fail_msg("%s: mean difference %g, at most %g", file, off, mean);
    gr_image_free(&got);
    gr_image_free(&expected);
}

static void kinds_of_photos(void **state) {
    (void)state;
    check_same("plain.png", "plain.rgb", 0);
    check_same("grey.png", "grey.rgb", 0);
    check_same("palette.png", "palette.rgb", 0);
    check_same("alpha.png", "alpha.rgb", 0.51); /* rounding of the blend */
    check_same("deep.png", "deep.rgb", 0);
    check_same("plain.jpg", "plain_jpg.rgb", 1);
    check_same("progressive.jpg", "progressive_jpg.rgb", 1);
    check_same("grey.jpg", "grey_jpg.rgb", 1);
    struct gr_image image;
    assert_ok(gr_image_read(&image, FIXTURES "cmyk.jpg"));
    assert_int_equal(image.w, 40);
    gr_image_free(&image);
}

static void orientations(void **state) {
    (void)state;
    for (int o = 1; o <= 8; o++) {
        char name[64];
        snprintf(name, sizeof name, "orientation_%d.jpg", o);
        check_same(name, "upright.rgb", 3);
    }
    check_same("orientation_6.png", "upright.rgb", 0);
}

static void facts(void **state) {
    (void)state;
    struct gr_image_info info;
    size_t size;
    uint8_t *bytes = read_file(FIXTURES "progressive.jpg", &size);
    assert_ok(gr_image_check(bytes, size, &info));
    assert_int_equal(info.format, GR_IMAGE_JPEG);
    assert_int_equal(info.w, 40);
    assert_int_equal(info.h, 28);
    assert_true(info.scans > 1);
    free(bytes);
    bytes = read_file(FIXTURES "alpha.png", &size);
    assert_ok(gr_image_check(bytes, size, &info));
    assert_true(info.alpha);
    assert_int_equal(info.channels, 4);
    free(bytes);
    bytes = read_file(FIXTURES "orientation_5.jpg", &size);
    assert_ok(gr_image_check(bytes, size, &info));
    assert_int_equal(info.orientation, 5);
    free(bytes);
}

/* A file cut anywhere before its end marker is refused, and named as what it is. */
static void cut_anywhere(void **state) {
    static const char *const files[] = {"plain.jpg", "progressive.jpg", "orientation_6.jpg", "plain.png"};
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[256];
        size_t size;
        struct gr_image image;
        snprintf(path, sizeof path, FIXTURES "%s", files[f]);
        uint8_t *bytes = read_file(path, &size);
        for (size_t cut = 1; cut < size; cut++) {
            uint8_t *part = malloc(cut); /* its own block, so that a read beyond it is seen */
            memcpy(part, bytes, cut);
            assert_fails(gr_image_read_memory(&image, part, cut), GR_ERROR_FILE, "ends early");
            assert_null(image.pixels);
            free(part);
        }
        assert_fails(gr_image_read_memory(&image, bytes, 0), GR_ERROR_FILE, "is empty");
        free(bytes);
    }
}

static void flipped_bits_of_png(void **state) {
    (void)state;
    size_t size;
    struct gr_image image;
    uint8_t *bytes = read_file(FIXTURES "plain.png", &size);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(gr_image_read_memory(&image, bytes, size), GR_OK);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_ok(gr_image_read_memory(&image, bytes, size));
    gr_image_free(&image);
    free(bytes);
}

/* Whatever happens to a JPEG, reading it neither crashes nor leaks. */
static void flipped_bytes_of_jpeg(void **state) {
    (void)state;
    size_t size;
    struct gr_image image;
    uint8_t *bytes = read_file(FIXTURES "progressive.jpg", &size);
    size_t blocks = gr_memory().blocks;
    for (size_t i = 0; i < size; i++)
        for (int value = 0; value < 256; value += 85) {
            uint8_t old = bytes[i];
            bytes[i] = (uint8_t)value;
            gr_image_read_memory(&image, bytes, size);
            gr_image_free(&image);
            bytes[i] = old;
        }
    assert_int_equal(gr_memory().blocks, blocks);
    free(bytes);
}

static void put32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static size_t put_chunk(uint8_t *to, const char *name, const uint8_t *body, size_t size) {
    put32(to, (uint32_t)size);
    memcpy(to + 4, name, 4);
    memcpy(to + 8, body, size);
    put32(to + 8 + size, (uint32_t)crc32(0, to + 4, (uInt)size + 4));
    return size + 12;
}

/* A PNG that says w x h pixels and holds `raw` zero bytes. */
static uint8_t *hostile_png(uint32_t w, uint32_t h, size_t raw, size_t *size) {
    uint8_t header[13] = {0}, *zeros = calloc(raw, 1);
    uLongf packed = compressBound(raw);
    uint8_t *data = malloc(packed), *bytes = malloc(packed + 100);
    assert_int_equal(compress2(data, &packed, zeros, raw, 9), Z_OK);
    put32(header, w);
    put32(header + 4, h);
    header[8] = 8;
    header[9] = 2;
    memcpy(bytes, "\x89PNG\r\n\x1A\n", 8);
    *size = 8;
    *size += put_chunk(bytes + *size, "IHDR", header, sizeof header);
    *size += put_chunk(bytes + *size, "IDAT", data, packed);
    *size += put_chunk(bytes + *size, "IEND", header, 0);
    free(zeros);
    free(data);
    return bytes;
}

static void bombs(void **state) {
    (void)state;
    struct gr_image image;
    size_t size;
    gr_memory_reset_peak();
    size_t before = gr_memory().peak;
    uint8_t *bytes = hostile_png(20000, 10, 100, &size);
    assert_fails(gr_image_read_memory(&image, bytes, size), GR_ERROR_LIMIT, "20000x10 pixels are too many");
    free(bytes);
    bytes = hostile_png(8000, 8000, 100, &size);
    assert_fails(gr_image_read_memory(&image, bytes, size), GR_ERROR_LIMIT, "32 million");
    free(bytes);
    bytes = hostile_png(0, 8, 100, &size);
    assert_fails(gr_image_read_memory(&image, bytes, size), GR_ERROR_FILE, "damaged");
    free(bytes);
    assert_int_equal(gr_memory().peak, before); /* nothing was allocated for any of them */
    bytes = hostile_png(1, 1, 64 << 20, &size);
    assert_fails(gr_image_read_memory(&image, bytes, size), GR_ERROR_LIMIT,
                 "more memory than 1x1 pixels can need");
    assert_true(gr_memory().peak < before + (4 << 20));
    free(bytes);
}

static void too_many_scans(void **state) {
    (void)state;
    size_t size;
    struct gr_image image;
    uint8_t *bytes = read_file(FIXTURES "plain.jpg", &size), *scan = bytes;
    while (scan[0] != 0xFF || scan[1] != 0xDA)
        scan++;
    size_t head = (size_t)(scan - bytes), length = size - 2 - head;
    uint8_t *many = malloc(head + 65 * length + 2);
    memcpy(many, bytes, head);
    for (size_t i = 0; i < 65; i++)
        memcpy(many + head + i * length, scan, length);
    memcpy(many + head + 65 * length, "\xFF\xD9", 2);
    assert_fails(gr_image_read_memory(&image, many, head + 65 * length + 2), GR_ERROR_LIMIT,
                 "more than 64 scans");
    free(many);
    free(bytes);
}

static void other_formats(void **state) {
    (void)state;
    struct gr_image image;
    assert_fails(gr_image_read(&image, FIXTURES "other.gif"), GR_ERROR_FILE,
                 "GIF is not read; export it as JPEG");
    assert_fails(gr_image_read(&image, FIXTURES "other.webp"), GR_ERROR_FILE, "WEBP is not read");
    assert_fails(gr_image_read(&image, FIXTURES "other.bmp"), GR_ERROR_FILE, "BMP is not read");
    assert_fails(gr_image_read(&image, FIXTURES "other.tiff"), GR_ERROR_FILE, "TIFF is not read");
    assert_fails(gr_image_read_memory(&image,
                                      "\0\0\0\x18"
                                      "ftypheic\0\0\0\0",
                                      16),
                 GR_ERROR_FILE, "HEIC is not read; export it as JPEG");
    assert_fails(gr_image_read(&image, FIXTURES "make_data.py"), GR_ERROR_FILE, "is no photo");
    assert_fails(gr_image_read(&image, FIXTURES "nowhere.jpg"), GR_ERROR_FILE, "nowhere.jpg: no such file");
    assert_fails(gr_image_read(&image, "tests/fixtures"), GR_ERROR_FILE, "is a folder, not a file");
    assert_int_equal(mkfifo(at("pipe.jpg"), 0600), 0);
    assert_fails(gr_image_read(&image, at("pipe.jpg")), GR_ERROR_FILE, "a device or a pipe, not a file");
}

static void written_and_read(void **state) {
    (void)state;
    struct gr_image image, again;
    char first[65], second[65];
    draw_photo(&image, 33, 21, 5);
    assert_ok(gr_image_write(&image, at("a.png")));
    assert_ok(gr_image_read(&again, at("a.png")));
    gr_image_digest(&image, first);
    gr_image_digest(&again, second);
    assert_string_equal(first, second);
    gr_image_free(&again);
    assert_ok(gr_image_write_jpeg(&image, at("a.jpg"), 95));
    assert_ok(gr_image_read(&again, at("a.jpg")));
    assert_true(difference(&image, &again, NULL) < 4);
    gr_image_free(&again);
    assert_fails(gr_image_write(&image, at("a.gif")), GR_ERROR_OPTION, ".png, .jpg or .jpeg");
    assert_fails(gr_image_write_jpeg(&image, at("a.jpg"), 0), GR_ERROR_OPTION, "quality");
    assert_fails(gr_image_write(&image, "/nowhere/a.png"), GR_ERROR_FILE, "/nowhere/a.png");
    gr_image_free(&image);
}

/* Every allocation fails once, and from there on: an error each time, nothing lost. */
static void memory_runs_out(void **state) {
    static const char *const files[] = {"progressive.jpg", "alpha.png", "orientation_6.jpg"};
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++)
        for (int persist = 0; persist < 2; persist++) {
            char path[256];
            struct gr_image image;
            size_t blocks = gr_memory().blocks;
            int status = GR_ERROR_MEMORY;
            snprintf(path, sizeof path, FIXTURES "%s", files[f]);
            for (long n = 1; status; n++) {
                gr_memory_fail(n, persist);
                status = gr_image_read(&image, path);
                gr_memory_fail(0, false);
                if (status) {
                    assert_int_equal(status, GR_ERROR_MEMORY);
                    assert_null(image.pixels);
                    assert_int_equal(gr_memory().blocks, blocks);
                }
                assert_true(n < 1000);
            }
            gr_image_free(&image);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_of_photos),
        cmocka_unit_test(orientations),
        cmocka_unit_test(facts),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(flipped_bits_of_png),
        cmocka_unit_test(flipped_bytes_of_jpeg),
        cmocka_unit_test(bombs),
        cmocka_unit_test(too_many_scans),
        cmocka_unit_test(other_formats),
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
