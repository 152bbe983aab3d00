/* JPEG against stb_image, whatever decodes it in this build. */
#include "photos.h"

#include <math.h>

#include "data/augment.h"
#include "data/decode.h"

/* Waves of several lengths and colours: something in every coefficient that a photo has. */
static void draw_waves(struct gr_image *image, int w, int h) {
    assert_ok(gr_image_create(image, w, h));
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *p = image->pixels + 3 * ((size_t)y * (size_t)w + (size_t)x);
            double slow = sin(x * 0.021 + y * 0.013), fast = sin(x * 0.45 - y * 0.3);
            p[0] = (uint8_t)(120 + 70 * slow + 20 * fast);
            p[1] = (uint8_t)(120 + 60 * cos(y * 0.03) + 20 * fast);
            p[2] = (uint8_t)(x * 255 / w);
        }
}

/* The file of such a photo with an EXIF orientation, released by free. */
static uint8_t *waves(int w, int h, int quality, int orientation, size_t *size) {
    static const uint8_t exif[] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, '*', 0, 0, 0, 8,
                                   0,    1,    1, 18, 0,   3,   0,   0,   0, 1, 0,   0,   0, 0,   0, 0, 0, 0};
    struct gr_image image;
    size_t plain;
    draw_waves(&image, w, h);
    assert_ok(gr_image_write_jpeg(&image, at("waves.jpg"), quality));
    gr_image_free(&image);
    uint8_t *bytes = read_file(at("waves.jpg"), &plain);
    uint8_t *all = malloc(plain + sizeof exif);
    memcpy(all, bytes, 2);
    memcpy(all + 2, exif, sizeof exif);
    all[2 + 29] = (uint8_t)orientation;
    memcpy(all + 2 + sizeof exif, bytes + 2, plain - 2);
    free(bytes);
    *size = plain + sizeof exif;
    return all;
}

static bool by_stb(void) {
    return !strcmp(gr_image_jpeg_decoder(), "stb_image");
}

static void decoder_has_a_name(void **state) {
    (void)state;
    if (by_stb())
        assert_int_equal(gr_jpeg_decoder.most_reduction, 1);
    else
        assert_int_equal(strncmp(gr_image_jpeg_decoder(), "libjpeg-turbo 2", 14), 0);
}

static void check_against_stb(const void *bytes, size_t size, double mean, int most) {
    struct gr_image_info info;
    struct gr_image got, expected;
    int largest, reduction = 1;
    assert_ok(gr_image_check(bytes, size, &info));
    assert_ok(gr_decode_stb(&expected, bytes, size, &info));
    assert_ok(gr_decode(&got, bytes, size, &info, &reduction));
    assert_int_equal(reduction, 1);
    double off = difference(&got, &expected, &largest);
    if (off > mean || largest > most)
        fail_msg("differs by %g in the mean (at most %g) and %d at most (%d)", off, mean, largest, most);
    gr_image_free(&got);
    gr_image_free(&expected);
}

static void same_pixels_as_stb(void **state) {
    static const char *const files[] = {"plain.jpg", "progressive.jpg", "grey.jpg", "cmyk.jpg",
                                        "orientation_3.jpg"};
    static const int qualities[] = {50, 90, 97};
    (void)state;
    size_t size;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[256];
        snprintf(path, sizeof path, FIXTURES "%s", files[f]);
        uint8_t *bytes = read_file(path, &size);
        check_against_stb(bytes, size, 0.5, 5);
        free(bytes);
    }
    for (int q = 0; q < 3; q++) {
        uint8_t *bytes = waves(131, 77, qualities[q], 1, &size);
        check_against_stb(bytes, size, 0.5, 5);
        free(bytes);
    }
}

/* ---- smaller than they are ---- */

static const struct gr_preprocessing usual = {.resize = 72, .std = {1, 1, 1}};

static void check_first_half(int w, int h, int orientation, struct gr_shape input,
                             const struct gr_augment *augment) {
    size_t size;
    struct gr_image whole;
    struct gr_photo got, expected;
    int largest;
    uint8_t *bytes = waves(w, h, 90, orientation, &size);
    assert_ok(gr_image_read_memory(&whole, bytes, size));
    assert_int_equal(whole.w, orientation >= 5 ? h : w);
    assert_ok(gr_photo_prepare(&expected, &whole, input, &usual, augment));
    assert_ok(gr_photo_read(&got, bytes, size, input, &usual, augment));
    assert_int_equal(got.w, whole.w); /* the photo's own size, whatever was decoded */
    assert_int_equal(got.h, whole.h);
    double off = difference(&got.image, &expected.image, &largest);
    if (off > (by_stb() ? 0 : 1) || largest > (by_stb() ? 0 : 8))
        fail_msg("%dx%d, orientation %d: differs by %g in the mean and %d at most", w, h, orientation, off,
                 largest);
    gr_photo_free(&got);
    gr_photo_free(&expected);
    gr_image_free(&whole);
    free(bytes);
}

static void reduced_photos_look_the_same(void **state) {
    static const int sizes[][2] = {{1001, 763}, {305, 401}, {640, 290}, {1187, 1193}, {150, 150}, {70, 500}};
    const struct gr_shape input = {3, 64, 64, false}, wide = {3, 40, 90, false};
    struct gr_augment augment;
    (void)state;
    assert_ok(gr_augment_preset(&augment, "light"));
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        check_first_half(sizes[s][0], sizes[s][1], 1, input, NULL);
        check_first_half(sizes[s][0], sizes[s][1], 1, wide, NULL);
        check_first_half(sizes[s][0], sizes[s][1], 1, input, &augment);
    }
    for (int o = 2; o <= 8; o++) /* sides that are no multiples of 4: the edges have to be found again */
        check_first_half(1001, 763, o, input, NULL);
}

/* What is spared, and that nothing is below twice the wanted size. */
static void reductions(void **state) {
    (void)state;
    size_t size;
    struct gr_image_info info;
    uint8_t *bytes = waves(1001, 763, 90, 1, &size);
    assert_ok(gr_image_check(bytes, size, &info));
    for (int wanted = 1; wanted <= 8; wanted *= 2) {
        struct gr_image image;
        int reduction = wanted;
        assert_ok(gr_decode(&image, bytes, size, &info, &reduction));
        assert_int_equal(reduction, by_stb() ? 1 : wanted);
        assert_int_equal(image.w, (1001 + reduction - 1) / reduction);
        assert_int_equal(image.h, (763 + reduction - 1) / reduction);
        gr_image_free(&image);
    }
    for (int side = 60; side < 240; side += 60) { /* 763 / 60: by 4; / 120: by 2; / 180: by 2 */
        struct gr_preprocessing own = usual;
        struct gr_photo photo;
        const struct gr_shape input = {3, side, side, false};
        own.resize = side;
        gr_memory_reset_peak();
        size_t before = gr_memory().peak;
        assert_ok(gr_photo_read(&photo, bytes, size, input, &own, NULL));
        size_t peak = gr_memory().peak - before, whole = (size_t)1001 * 763 * 3;
        assert_true(by_stb() ? peak > whole : peak < whole / 4 + 2 * whole);
        if (!by_stb() && side == 60)
            assert_true(peak < whole);
        gr_photo_free(&photo);
    }
    free(bytes);
}

static void png_is_never_reduced(void **state) {
    (void)state;
    size_t size;
    struct gr_image_info info;
    struct gr_image image;
    int reduction = 4;
    uint8_t *bytes = read_file(FIXTURES "plain.png", &size);
    assert_ok(gr_image_check(bytes, size, &info));
    assert_ok(gr_decode(&image, bytes, size, &info, &reduction));
    assert_int_equal(reduction, 1);
    assert_int_equal(image.w, info.w);
    gr_image_free(&image);
    free(bytes);
}

/* ---- damage ---- */

/* Half of the picture is gone, and the end marker follows: the walk over the markers finds nothing wrong.
 * stb_image paints the rest grey; libjpeg says so, and then the photo is refused. */
static void half_a_picture(void **state) {
    (void)state;
    size_t size;
    struct gr_image image;
    uint8_t *bytes = waves(400, 300, 90, 1, &size);
    size_t blocks = gr_memory().blocks, live = gr_memory().live, cut = size / 2;
    while (bytes[cut - 1] == 0xFF)
        cut--;
    memcpy(bytes + cut, "\xFF\xD9", 2);
    if (by_stb())
        assert_ok(gr_image_read_memory(&image, bytes, cut + 2));
    else
        assert_fails(gr_image_read_memory(&image, bytes, cut + 2), GR_ERROR_FILE, "the JPEG data is damaged");
    gr_image_free(&image);
    assert_int_equal(gr_memory().blocks, blocks);
    assert_int_equal(gr_memory().live, live);
    free(bytes);
}

/* Idle bytes behind the picture's data, as some cameras leave them, harm nothing. */
static void idle_bytes(void **state) {
    (void)state;
    size_t size;
    struct gr_image plain, padded;
    uint8_t *bytes = waves(200, 120, 90, 1, &size);
    uint8_t *more = calloc(1, size + 6);
    memcpy(more, bytes, size - 2);
    memcpy(more + size + 4, "\xFF\xD9", 2);
    assert_ok(gr_image_read_memory(&plain, bytes, size));
    assert_ok(gr_image_read_memory(&padded, more, size + 6));
    assert_true(difference(&plain, &padded, NULL) < 0.5);
    gr_image_free(&plain);
    gr_image_free(&padded);
    free(bytes);
    free(more);
}

/* What the decoder takes counts: too little room is an error before it begins. */
static void memory_is_limited(void **state) {
    (void)state;
    size_t size;
    struct gr_image image;
    uint8_t *bytes = waves(1500, 1200, 90, 1, &size);
    struct gr_memory before = gr_memory();
    gr_memory_limit(before.live + (2 << 20));
    int status = gr_image_read_memory(&image, bytes, size);
    gr_memory_limit(0);
    assert_int_equal(status, GR_ERROR_MEMORY);
    assert_null(image.pixels);
    assert_int_equal(gr_memory().live, before.live);
    assert_int_equal(gr_memory().blocks, before.blocks);
    assert_ok(gr_image_read_memory(&image, bytes, size));
    gr_image_free(&image);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_has_a_name),
        cmocka_unit_test(same_pixels_as_stb),
        cmocka_unit_test(reduced_photos_look_the_same),
        cmocka_unit_test(reductions),
        cmocka_unit_test(png_is_never_reduced),
        cmocka_unit_test(half_a_picture),
        cmocka_unit_test(idle_bytes),
        cmocka_unit_test(memory_is_limited),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
