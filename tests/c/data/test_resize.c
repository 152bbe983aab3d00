#include "photos.h"

#include <math.h>

#include "data/augment.h"
#include "data/resize.h"

static struct gr_image take_image(const uint8_t **at_byte, int w, int h) {
    struct gr_image image;
    assert_ok(gr_image_create(&image, w, h));
    memcpy(image.pixels, *at_byte, 3 * (size_t)w * (size_t)h);
    *at_byte += 3 * (size_t)w * (size_t)h;
    return image;
}

static void take(const uint8_t **at_byte, void *to, size_t size) {
    memcpy(to, *at_byte, size);
    *at_byte += size;
}

static void same_as_pillow(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = read_file(FIXTURES "resize.bin", &size);
    const uint8_t *p = bytes;
    struct gr_image sources[8];
    int32_t count, cases, sides[4];
    take(&p, &count, 4);
    for (int i = 0; i < count; i++) {
        take(&p, sides, 8);
        sources[i] = take_image(&p, sides[0], sides[1]);
    }
    take(&p, &cases, 4);
    for (int i = 0; i < cases; i++) {
        struct gr_box box;
        struct gr_image got;
        int most;
        take(&p, sides, 16);
        take(&p, &box, sizeof box);
        struct gr_image expected = take_image(&p, sides[1], sides[2]);
        assert_ok(gr_resize(&got, &sources[sides[0]], sides[1], sides[2], (enum gr_interpolation)sides[3],
                            &box, NULL));
        difference(&got, &expected, &most);
        if (most > 0)
            fail_msg("case %d: %d levels off", i, most);
        gr_image_free(&got);
        gr_image_free(&expected);
    }
    assert_int_equal(p - bytes, size);
    for (int i = 0; i < count; i++)
        gr_image_free(&sources[i]);
    free(bytes);
}

/* Resize(20) and CenterCrop(16), through the whole of preprocessing. */
static void same_as_torchvision(void **state) {
    (void)state;
    size_t size;
    uint8_t *bytes = read_file(FIXTURES "crop.bin", &size);
    const uint8_t *p = bytes;
    int32_t cases, sides[2];
    const struct gr_preprocessing plain = {.resize = 20, .std = {1, 1, 1}};
    const struct gr_preprocessing usual = {
        .resize = 20, .mean = {0.485F, 0.456F, 0.406F}, .std = {0.229F, 0.224F, 0.225F}, .bgr = true};
    const struct gr_shape input = {3, 16, 16, false};
    take(&p, &cases, 4);
    for (int i = 0; i < cases; i++) {
        float x[768], normal[768];
        take(&p, sides, 8);
        struct gr_image source = take_image(&p, sides[0], sides[1]), expected = take_image(&p, 16, 16);
        assert_ok(gr_preprocess(&source, input, &plain, x));
        assert_ok(gr_preprocess(&source, input, &usual, normal));
        for (int k = 0; k < 768; k++) {
            if (x[k] != (float)expected.pixels[k] / 255)
                fail_msg("case %d (%dx%d), value %d: %g, not %d", i, sides[0], sides[1], k,
                         (double)(x[k] * 255), expected.pixels[k]);
            int c = k % 3;
            float v = x[k - c + 2 - c];
            assert_true(normal[k] == (v - usual.mean[c]) / usual.std[c]);
        }
        gr_image_free(&source);
        gr_image_free(&expected);
    }
    assert_int_equal(p - bytes, size);
    free(bytes);
}

static void windows_are_crops(void **state) {
    (void)state;
    struct gr_image source, whole, part;
    draw_photo(&source, 71, 53, 3);
    const struct gr_window window = {5, 7, 20, 11};
    assert_ok(gr_resize(&whole, &source, 40, 30, GR_BICUBIC, NULL, NULL));
    assert_ok(gr_resize(&part, &source, 40, 30, GR_BICUBIC, NULL, &window));
    for (int y = 0; y < 11; y++)
        assert_memory_equal(part.pixels + y * 60, whole.pixels + ((y + 7) * 40 + 5) * 3, 60);
    gr_image_free(&whole);
    gr_image_free(&part);
    gr_image_free(&source);
}

static void bad_arguments(void **state) {
    (void)state;
    struct gr_image source, out;
    draw_photo(&source, 10, 10, 3);
    const struct gr_box outside = {0, 0, 11, 10}, empty = {5, 5, 5, 8}, wrong = {0, NAN, 5, 5};
    const struct gr_window beyond = {4, 4, 5, 5};
    assert_fails(gr_resize(&out, &source, 0, 4, GR_BILINEAR, NULL, NULL), GR_ERROR_OPTION, "not 0x4");
    assert_fails(gr_resize(&out, &source, 4, 4, GR_BILINEAR, &outside, NULL), GR_ERROR_OPTION, "box");
    assert_fails(gr_resize(&out, &source, 4, 4, GR_BILINEAR, &empty, NULL), GR_ERROR_OPTION, "box");
    assert_fails(gr_resize(&out, &source, 4, 4, GR_BILINEAR, &wrong, NULL), GR_ERROR_OPTION, "box");
    assert_fails(gr_resize(&out, &source, 8, 8, GR_BILINEAR, NULL, &beyond), GR_ERROR_OPTION, "window");
    gr_image_free(&source);
}

/* Long thin photos and tiny ones: the crop is always covered. */
static void odd_shapes(void **state) {
    (void)state;
    static const int sides[][2] = {{1, 1}, {1, 900}, {900, 1}, {3, 2}, {16384, 2}};
    const struct gr_preprocessing usual = {.resize = 36, .std = {1, 1, 1}};
    const struct gr_shape shapes[] = {{3, 32, 32, false}, {3, 24, 40, false}, {1, 40, 24, false}};
    float *x = malloc(3 * 40 * 40 * sizeof *x);
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++)
        for (size_t s = 0; s < 3; s++) {
            struct gr_image source;
            draw_photo(&source, sides[i][0], sides[i][1], 9);
            assert_ok(gr_preprocess(&source, shapes[s], &usual, x));
            gr_image_free(&source);
        }
    free(x);
}

static void sides_that_fit(void **state) {
    static const int cases[][5] = {/* w, h, side, and the size that is wanted */
                                   {2592, 1944, 160, 160, 120},
                                   {100, 400, 160, 40, 160},
                                   {160, 160, 160, 160, 160},
                                   {16384, 2, 100, 100, 1},
                                   {1, 1, 1, 1, 1}};
    int w, h;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gr_resize_fit(cases[i][0], cases[i][1], cases[i][2], &w, &h);
        assert_int_equal(w, cases[i][3]);
        assert_int_equal(h, cases[i][4]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_pillow),    cmocka_unit_test(same_as_torchvision),
        cmocka_unit_test(windows_are_crops), cmocka_unit_test(bad_arguments),
        cmocka_unit_test(odd_shapes),        cmocka_unit_test(sides_that_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
