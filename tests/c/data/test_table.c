#include "photos.h"

#include "data/dataset.h"

#include <zlib.h>

static void photos(int count) {
    for (int i = 0; i < count; i++)
        put_photo(at("in/p%d.png", i), 8, 8, (unsigned)i);
}

static void one_class_a_row(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_csv_options csv = {.image = "file", .label = "kind, or so"};
    photos(6);
    put_photo(at("in/with \"quotes\", and comma.png"), 8, 8, 77);
    write_text(at("in/t.csv"), "\xEF\xBB\xBF"
                               "file,\"kind, or so\",remark\r\n"
                               "p0.png,red,\"two\nlines \"\"quoted\"\"\"\r\n"
                               "\r\n"
                               "p1.png,red,\r\n"
                               "p2.png, blue ,x\n"
                               "p3.png,blue,x\n"
                               "\"with \"\"quotes\"\", and comma.png\",blue,x\n"
                               "p4.png,red,last");
    assert_ok(gr_data_csv(&data, at("in/t.csv"), &csv, NULL));
    assert_int_equal(data->sample_count, 6);
    assert_string_equal(data->classes[0], "blue");
    assert_string_equal(data->classes[1], "red");
    assert_string_equal(gr_data_class(data, 0), "red");
    assert_string_equal(gr_data_class(data, 2), "blue");
    assert_string_equal(data->samples[4].relative, "with \"quotes\", and comma.png");
    struct gr_image image;
    assert_ok(gr_data_read(data, 4, &image));
    gr_image_free(&image);
    gr_data_free(data);
}

static void several_labels(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_csv_options csv = {.image = "file", .labels = "tags"};
    float row[3];
    photos(6);
    write_text(at("in/t.csv"),
               "file,tags\np0.png,red|matt\np1.png,\np2.png,blue\np3.png,red\np4.png,matt| blue|red\n"
               "p5.png,matt|matt\n");
    assert_ok(gr_data_csv(&data, at("in/t.csv"), &csv, NULL));
    assert_true(data->multilabel);
    assert_int_equal(data->class_count, 3); /* blue matt red */
    gr_data_target(data, 0, row);
    assert_true(row[0] == 0 && row[1] == 1 && row[2] == 1);
    gr_data_target(data, 1, row);
    assert_true(row[0] == 0 && row[1] == 0 && row[2] == 0);
    gr_data_target(data, 4, row);
    assert_true(row[0] == 1 && row[1] == 1 && row[2] == 1);
    assert_null(gr_data_class(data, 0));
    assert_int_equal(data->sets[GR_VAL]->count, 1);
    gr_data_free(data);
    const char *const flags[] = {"wet", "old"};
    csv = (struct gr_csv_options){.image = "file", .flags = flags, .flag_count = 2, .split = "set"};
    write_text(at("in/f.csv"),
               "file,old,wet,set\np0.png,1,0,train\np1.png,0,0,val\np2.png,1,1,Test\np3.png,,1,train\n");
    assert_ok(gr_data_csv(&data, at("in/f.csv"), &csv, NULL));
    assert_string_equal(data->classes[0], "wet");
    gr_data_target(data, 3, row);
    assert_true(row[0] == 1 && row[1] == 0);
    for (int s = 0; s < GR_SETS; s++)
        assert_int_equal(data->sets[s]->count, s == GR_TRAIN ? 2 : 1);
    gr_data_free(data);
    write_text(at("in/f.csv"), "file,old,wet,set\np0.png,yes,0,train\n");
    assert_fails(gr_data_csv(&data, at("in/f.csv"), &csv, NULL), GR_ERROR_DATA,
                 "f.csv:2: column \"old\" holds 0 or 1");
}

static void mistakes(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_csv_options csv = {.image = "file", .label = "kind"};
    photos(2);
    put_photo(at("secret.png"), 8, 8, 9);
    assert_fails(gr_data_csv(&data, at("in/none.csv"), &csv, NULL), GR_ERROR_FILE, "none.csv: no such file");
    write_text(at("in/t.csv"), "");
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_DATA, "is empty");
    write_text(at("in/t.csv"), "file,king\np0.png,a\n");
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_NAME, "has no column \"kind\"");
    assert_string_equal(gr_error()->near, "king");
    write_text(at("in/t.csv"), "file,kind\np0.png,a\np1.png\n");
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_FILE, "t.csv:3: 1 fields");
    write_text(at("in/t.csv"), "file,kind\n\"p0.png,a\n");
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_FILE, "t.csv:2: a quoted field");
    write_text(at("in/t.csv"), "file,kind\n\"p0\"x,a\n");
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_FILE, "after a closing quote");
    write_text(at("in/t.csv"), "file,kind\np0.png,a\n../secret.png,b\n");
    struct gr_data_options options = GR_DATA_OPTIONS;
    options.max_skip = 1;
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, &options), GR_ERROR_DATA, "class \"b\"");
    options.min_classes = 1;
    write_text(at("in/t.csv"), "file,kind\np0.png,a\n../secret.png,a\n/etc/passwd,a\n");
    assert_ok(gr_data_csv(&data, at("in/t.csv"), &csv, &options));
    assert_int_equal(data->sample_count, 1);
    assert_string_equal(data->skipped[0].reason, "leaves the folder");
    assert_string_equal(data->skipped[1].reason, "leaves the folder");
    gr_data_free(data);
    csv.labels = "kind";
    assert_fails(gr_data_csv(&data, at("in/t.csv"), &csv, NULL), GR_ERROR_OPTION, "takes one of");
}

static void lists(void **state) {
    (void)state;
    struct gr_dataset *data;
    photos(4);
    char paths[4][512];
    for (int i = 0; i < 4; i++)
        strcpy(paths[i], at("in/p%d.png", i));
    struct gr_data_item items[] = {{paths[0], "a", NULL, 0, -1},
                                   {paths[1], "b", NULL, 0, GR_VAL},
                                   {paths[2], "b", NULL, 0, -1},
                                   {paths[3], "a", NULL, 0, GR_TEST}};
    assert_ok(gr_data_list(&data, items, 4, NULL));
    assert_int_equal(data->sets[GR_TRAIN]->count, 2);
    assert_int_equal(data->sets[GR_VAL]->count, 1);
    assert_string_equal(data->samples[1].file, paths[1]);
    gr_data_free(data);
    const char *const both[] = {"a", "b"};
    items[1] = (struct gr_data_item){paths[1], NULL, both, 2, -1};
    assert_fails(gr_data_list(&data, items, 4, NULL), GR_ERROR_DATA, "item 2 has a list of classes");
    items[0].label = items[2].label = items[3].label = NULL;
    items[0].labels = both;
    items[0].label_count = 1;
    assert_ok(gr_data_list(&data, items, 4, NULL));
    assert_true(data->multilabel);
    gr_data_free(data);
}

/* ---- IDX ---- */

static void put_idx(const char *path, int rank, uint32_t count, const uint8_t *bytes, size_t size,
                    bool packed) {
    uint8_t header[16] = {0, 0, 8, (uint8_t)rank};
    uint32_t sizes[3] = {count, 4, 5};
    for (int i = 0; i < rank; i++)
        for (int k = 0; k < 4; k++)
            header[4 + 4 * i + k] = (uint8_t)(sizes[i] >> (24 - 8 * k));
    gzFile file = gzopen(path, packed ? "wb" : "wbT");
    gzwrite(file, header, 4 + 4 * (unsigned)rank);
    gzwrite(file, bytes, (unsigned)size);
    assert_int_equal(gzclose(file), Z_OK);
}

static void put_pair(const char *prefix, uint32_t count, const char *ending, bool packed) {
    uint8_t *pixels = malloc(count * 20), *labels = malloc(count);
    for (uint32_t i = 0; i < count; i++) {
        labels[i] = (uint8_t)(i % 3);
        for (uint32_t k = 0; k < 20; k++)
            pixels[i * 20 + k] = (uint8_t)(i * 7 + k + (packed ? 1 : 0));
    }
    put_idx(at("idx/%s-images-idx3-ubyte%s", prefix, ending), 3, count, pixels, count * 20, packed);
    put_idx(at("idx/%s-labels-idx1-ubyte%s", prefix, ending), 1, count, labels, count, packed);
    free(pixels);
    free(labels);
}

static void idx_files(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    const char *const names[] = {"shirt", "bag", "boot"}, *const classes[] = {"boot", "shirt"};
    put_pair("train", 30, ".gz", true);
    put_pair("t10k", 9, "", false);
    assert_ok(gr_data_idx(&data, at("idx"), names, 3, NULL));
    assert_int_equal(data->sample_count, 39);
    assert_int_equal(data->sets[GR_TRAIN]->count, 24);
    assert_int_equal(data->sets[GR_VAL]->count, 6);
    assert_int_equal(data->sets[GR_TEST]->count, 9);
    struct gr_image image;
    assert_ok(gr_data_read(data, 2, &image));
    assert_int_equal(image.w, 5);
    assert_int_equal(image.h, 4);
    assert_int_equal(image.pixels[3 * 7], 2 * 7 + 7 + 1);
    gr_image_free(&image);
    gr_data_free(data);
    options.classes = classes;
    options.class_count = 2;
    assert_ok(gr_data_idx(&data, at("idx"), names, 3, &options));
    assert_int_equal(data->sample_count, 26);
    assert_string_equal(gr_data_class(data, 0), "shirt");
    assert_int_equal(data->samples[0].label, 1);
    assert_ok(gr_data_read(data, 25, &image)); /* the last one: a boot of the test images */
    assert_int_equal(image.pixels[0], 8 * 7);
    gr_image_free(&image);
    struct gr_dataset *copy;
    assert_ok(gr_data_with(&copy, data, data->sets[GR_TRAIN]));
    gr_data_free(data);
    assert_ok(gr_data_read(copy, 25, &image));
    gr_image_free(&image);
    gr_data_free(copy);
    assert_ok(gr_data_idx(&data, at("idx"), NULL, 0, NULL));
    assert_string_equal(data->classes[2], "2");
    gr_data_free(data);
    assert_fails(gr_data_idx(&data, at("idx"), names, 2, NULL), GR_ERROR_DATA, "only 2 names");
}

static void idx_mistakes(void **state) {
    (void)state;
    struct gr_dataset *data;
    mkdir(at("idx"), 0755);
    assert_fails(gr_data_idx(&data, at("idx"), NULL, 0, NULL), GR_ERROR_FILE, "no train-images-idx3-ubyte");
    uint8_t labels[40] = {0, 1}, pixels[800] = {0};
    put_idx(at("idx/train-labels-idx1-ubyte"), 1, 40, labels, 40, false);
    assert_fails(gr_data_idx(&data, at("idx"), NULL, 0, NULL), GR_ERROR_FILE,
                 "train-images-idx3-ubyte.gz is missing");
    put_idx(at("idx/train-images-idx3-ubyte"), 3, 40, pixels, 700, false);
    assert_fails(gr_data_idx(&data, at("idx"), NULL, 0, NULL), GR_ERROR_FILE, "ends early");
    put_idx(at("idx/train-images-idx3-ubyte"), 3, 39, pixels, 780, false);
    assert_fails(gr_data_idx(&data, at("idx"), NULL, 0, NULL), GR_ERROR_FILE, "40 labels");
    put_idx(at("idx/train-images-idx3-ubyte"), 1, 40, pixels, 800, false);
    assert_fails(gr_data_idx(&data, at("idx"), NULL, 0, NULL), GR_ERROR_FILE, "is no IDX file");
}

int main(void) {
#define EACH(test) cmocka_unit_test_setup_teardown(test, make_work, remove_work)
    const struct CMUnitTest tests[] = {
        EACH(one_class_a_row), EACH(several_labels), EACH(mistakes),
        EACH(lists),           EACH(idx_files),      EACH(idx_mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
