#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "data/blocks.h"

#define HALF "\xe2\x96\x80"

static struct gr_image picture(int w, int h, const uint8_t *pixels) {
    struct gr_image image;
    assert_int_equal(gr_image_create(&image, w, h), GR_OK);
    memcpy(image.pixels, pixels, (size_t)w * (size_t)h * 3);
    return image;
}

static void drawn(const struct gr_image *image, enum gr_palette palette, const char *wanted) {
    struct gr_text text = {0};
    assert_int_equal(gr_blocks(&text, image, palette), GR_OK);
    assert_string_equal(text.bytes, wanted);
    gr_text_free(&text);
}

static void sizes_keep_the_ratio_and_fit(void **state) {
    (void)state;
    static const int cases[][6] = {
        {640, 480, 64, 100, 64, 48}, {480, 640, 64, 20, 30, 40}, {10000, 1, 80, 20, 80, 1},
        {1, 10000, 80, 20, 1, 40},   {7, 7, 80, 20, 40, 40},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int w, h;
        gr_blocks_fit(cases[i][0], cases[i][1], cases[i][2], cases[i][3], &w, &h);
        assert_int_equal(w, cases[i][4]);
        assert_int_equal(h, cases[i][5]);
    }
}

static void two_pixels_are_one_character(void **state) {
    (void)state;
    struct gr_image image =
        picture(2, 2, (const uint8_t[]){1, 2, 3, 255, 0, 0, /* lower */ 9, 8, 7, 255, 0, 0});
    drawn(&image, GR_PALETTE_24BIT,
          "\x1b[38;2;1;2;3m\x1b[48;2;9;8;7m" HALF "\x1b[38;2;255;0;0m\x1b[48;2;255;0;0m" HALF "\x1b[0m\n");
    gr_image_free(&image);
}

static void a_colour_is_set_once(void **state) {
    (void)state;
    struct gr_image image = picture(3, 1, (const uint8_t[]){255, 0, 0, 255, 0, 0, 95, 135, 175});
    drawn(&image, GR_PALETTE_256, "\x1b[38;5;196m" HALF HALF "\x1b[38;5;67m" HALF "\x1b[0m\n");
    gr_image_free(&image);
}

static void greys_are_greys_in_256_colours(void **state) {
    (void)state;
    struct gr_image image = picture(4, 1, (const uint8_t[]){0, 0, 0, 128, 128, 128, 250, 252, 255, 8, 8, 8});
    drawn(&image, GR_PALETTE_256,
          "\x1b[38;5;16m" HALF "\x1b[38;5;244m" HALF "\x1b[38;5;231m" HALF "\x1b[38;5;232m" HALF "\x1b[0m\n");
    gr_image_free(&image);
}

static void characters_are_as_dense_as_the_background_asks(void **state) {
    (void)state;
    struct gr_image image = picture(
        3, 2,
        (const uint8_t[]){0, 0, 0, 128, 128, 128, 255, 255, 255, 0, 0, 0, 128, 128, 128, 255, 255, 255});
    drawn(&image, GR_PALETTE_DARK, " =@\n");
    drawn(&image, GR_PALETTE_LIGHT, "@+ \n");
    gr_image_free(&image);
}

static void tiles_are_set_apart(void **state) {
    (void)state;
    /* three maps of 2 x 1, two a row: what is missing in the last row is not drawn */
    static const float maps[] = {0, 1, 2, 3, 4, NAN};
    struct gr_image grid;
    struct gr_text text = {0};
    assert_int_equal(gr_blocks_maps(&grid, maps, 3, 1, 2, 0, 4, 2, 2, 1), GR_OK);
    assert_int_equal(grid.w, 4);
    assert_int_equal(grid.h, 2);
    assert_int_equal(gr_blocks_tiles(&text, &grid, GR_PALETTE_DARK, 3, 2, 1), GR_OK);
    assert_string_equal(text.bytes, " : =*\n\n@ \n");
    gr_text_free(&text);
    assert_int_equal(gr_blocks_tiles(&text, &grid, GR_PALETTE_256, 3, 2, 1), GR_OK);
    assert_non_null(strstr(text.bytes, HALF "\x1b[0m \x1b["));
    assert_null(strstr(text.bytes, "\n\n")); /* the lower half of each line is free already */
    gr_text_free(&text);
    gr_image_free(&grid);
}

static void maps_are_averaged_or_repeated(void **state) {
    (void)state;
    static const float map[] = {0, 2, 4, 6, 2, 4, 6, 8, 0, 2, 4, 6, 2, 4, 6, 8};
    struct gr_image small, large;
    assert_int_equal(gr_blocks_maps(&small, map, 1, 4, 4, 2, 6, 1, 2, 2), GR_OK);
    assert_int_equal(small.pixels[0], 0); /* the mean of 0 2 2 4 is 2 */
    assert_int_equal(small.pixels[3], 255);
    assert_int_equal(gr_blocks_maps(&large, map, 1, 4, 4, 0, 8, 1, 8, 8), GR_OK);
    assert_int_equal(large.pixels[3], 0);
    assert_int_equal(large.pixels[2 * 3], 64);
    assert_int_equal(large.pixels[3 * 3], 64);
    gr_image_free(&small);
    gr_image_free(&large);
}

static int nothing_left(void **state) {
    (void)state;
    return gr_memory().blocks != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(sizes_keep_the_ratio_and_fit, nothing_left),
        cmocka_unit_test_teardown(two_pixels_are_one_character, nothing_left),
        cmocka_unit_test_teardown(a_colour_is_set_once, nothing_left),
        cmocka_unit_test_teardown(greys_are_greys_in_256_colours, nothing_left),
        cmocka_unit_test_teardown(characters_are_as_dense_as_the_background_asks, nothing_left),
        cmocka_unit_test_teardown(tiles_are_set_apart, nothing_left),
        cmocka_unit_test_teardown(maps_are_averaged_or_repeated, nothing_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
