#include "photos.h"

#include "base/threads.h"
#include "data/dataset.h"

/* `count` photos in a folder, numbered from `from`. */
static void fill(const char *folder, int count, unsigned from) {
    for (int i = 0; i < count; i++)
        put_photo(at("%s/p%02d.png", folder, i), 12, 9, from + (unsigned)i);
}

static int64_t count_of(const struct gr_dataset *data, int set) {
    return data->sets[set]->count;
}

static bool is_skipped(const struct gr_dataset *data, const char *file, const char *reason) {
    for (int64_t i = 0; i < data->skipped_count; i++)
        if (!strcmp(data->skipped[i].file, file) && strstr(data->skipped[i].reason, reason))
            return true;
    return false;
}

static void one_folder_a_class(void **state) {
    (void)state;
    struct gr_dataset *data;
    fill("set/mugs", 20, 100);
    fill("set/bowls", 10, 200);
    fill("set/bowls/deeper", 5, 300);
    put_photo(at("set/.hidden/a.png"), 4, 4, 1);
    put_photo(at("set/.ipynb_checkpoints/a.png"), 4, 4, 1);
    put_photo(at("set/mugs/.hidden.png"), 4, 4, 1);
    write_text(at("set/list.txt"), "hello");
    put_photo(at("set/loose.png"), 4, 4, 1);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_int_equal(data->class_count, 2);
    assert_string_equal(data->classes[0], "bowls");
    assert_string_equal(data->classes[1], "mugs");
    assert_int_equal(data->sample_count, 35);
    assert_int_equal(count_of(data, GR_TRAIN), 28);
    assert_int_equal(count_of(data, GR_VAL), 7);
    assert_int_equal(count_of(data, GR_TEST), 0);
    assert_true(data->val_by_default);
    assert_int_equal(data->skipped_count, 2);
    assert_true(is_skipped(data, "list.txt", "no photo"));
    assert_true(is_skipped(data, "loose.png", "not in the folder of a class"));
    assert_string_equal(data->name, "set");
    int64_t counts[2];
    gr_data_counts(data, data->sets[GR_VAL], counts);
    assert_int_equal(counts[0], 3);
    assert_int_equal(counts[1], 4);
    assert_string_equal(gr_data_class(data, 0), "bowls");
    assert_string_equal(data->samples[0].relative, "bowls/deeper/p00.png");
    assert_string_equal(data->samples[0].file, at("set/bowls/deeper/p00.png"));
    gr_data_free(data);
}

static void train_and_val(void **state) {
    (void)state;
    struct gr_dataset *data;
    fill("set/train/a", 4, 1);
    fill("set/train/b", 5, 11);
    fill("set/validation/a", 2, 21);
    fill("set/validation/b", 1, 31);
    fill("set/test/b", 3, 41);
    fill("set/notes", 1, 51);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_int_equal(count_of(data, GR_TRAIN), 9);
    assert_int_equal(count_of(data, GR_VAL), 3);
    assert_int_equal(count_of(data, GR_TEST), 3);
    assert_false(data->val_by_default);
    assert_true(is_skipped(data, "notes", "beside train and val"));
    /* A class that test lacks shifts nothing. */
    assert_string_equal(gr_data_class(data, data->sets[GR_TEST]->samples[0]), "b");
    gr_data_free(data);
    fill("set/test/c", 1, 61);
    assert_fails(gr_data_folder(&data, at("set"), NULL), GR_ERROR_NAME, "a class \"c\" that is not among");
    assert_null(data);
}

static void train_alone_is_split(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    fill("set/train/a", 10, 1);
    fill("set/train/b", 10, 21);
    fill("set/test/a", 2, 41);
    fill("set/test/b", 2, 51);
    options.val = 0.3F;
    assert_ok(gr_data_folder(&data, at("set"), &options));
    assert_int_equal(count_of(data, GR_TRAIN), 14);
    assert_int_equal(count_of(data, GR_VAL), 6);
    assert_int_equal(count_of(data, GR_TEST), 4);
    gr_data_free(data);
    options.val = 0;
    assert_ok(gr_data_folder(&data, at("set"), &options));
    assert_int_equal(count_of(data, GR_VAL), 0);
    gr_data_free(data);
    /* A class may be called "train" when no other set is there. */
    fill("toys/train", 3, 1);
    fill("toys/plane", 3, 11);
    assert_ok(gr_data_folder(&data, at("toys"), &options));
    assert_int_equal(data->class_count, 2);
    gr_data_free(data);
}

static void mistakes(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    assert_fails(gr_data_folder(&data, at("nowhere"), NULL), GR_ERROR_FILE, "no such folder");
    write_text(at("file"), "x");
    assert_fails(gr_data_folder(&data, at("file"), NULL), GR_ERROR_FILE,
                 "is a file; a folder of photos is expected");
    mkdir(at("empty"), 0755);
    assert_fails(gr_data_folder(&data, at("empty"), NULL), GR_ERROR_DATA,
                 "holds no photos. Make one folder a class");
    fill("loose", 3, 1);
    assert_fails(gr_data_folder(&data, at("loose"), NULL), GR_ERROR_DATA,
                 "loose/ holds 3 photos but no folders. Make one folder a class: ");
    fill("one/mugs", 3, 1);
    assert_fails(gr_data_folder(&data, at("one"), NULL), GR_ERROR_DATA, "has one class only (mugs)");
    options.min_classes = 1;
    assert_ok(gr_data_folder(&data, at("one"), &options));
    gr_data_free(data);
    mkdir(at("one/bowls"), 0755);
    assert_fails(gr_data_folder(&data, at("one"), NULL), GR_ERROR_DATA, "class \"bowls\" is empty");
    write_file(at("one/bowls/IMG_1.HEIC"),
               "\0\0\0\x18"
               "ftypheic\0\0\0\0",
               16);
    assert_fails(
        gr_data_folder(&data, at("one"), NULL), GR_ERROR_DATA,
        "no photo that can be read; the first file: bowls/IMG_1.HEIC (HEIC is not read; export it as JPEG)");
    const char *const wrong[] = {"mugs", "bowl"};
    options.classes = wrong;
    options.class_count = 2;
    assert_fails(gr_data_folder(&data, at("one"), &options), GR_ERROR_NAME, "no class \"bowl\"");
    assert_string_equal(gr_error()->near, "bowls");
    const char *const twice[] = {"mugs", "mugs"};
    options.classes = twice;
    assert_fails(gr_data_folder(&data, at("one"), &options), GR_ERROR_NAME, "named twice");
    options = GR_DATA_OPTIONS;
    options.val = 1.5F;
    assert_fails(gr_data_folder(&data, at("one"), &options), GR_ERROR_OPTION, "val is a part");
}

static void order_and_subset(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    const char *const classes[] = {"c", "a"};
    fill("set/a", 3, 1);
    fill("set/b", 3, 11);
    fill("set/c", 3, 21);
    options.classes = classes;
    options.class_count = 2;
    assert_ok(gr_data_folder(&data, at("set"), &options));
    assert_int_equal(data->class_count, 2);
    assert_string_equal(data->classes[0], "c");
    assert_int_equal(data->sample_count, 6);
    int columns[2];
    const char *const other[] = {"a", "c"}, *const wrong[] = {"a", "d"};
    assert_ok(gr_data_match(data, other, 2, columns));
    assert_int_equal(columns[0], 1);
    assert_int_equal(columns[1], 0);
    assert_fails(gr_data_match(data, wrong, 2, columns), GR_ERROR_NAME,
                 "only the photos have \"c\"; only the network has \"d\". net:replace_head(data)");
    gr_data_free(data);
}

static void broken_photos(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    size_t size;
    fill("set/a", 30, 1);
    fill("set/b", 30, 101);
    uint8_t *bytes = read_file(at("set/a/p00.png"), &size);
    write_file(at("set/a/cut.png"), bytes, size - 5);
    bytes[size / 2] ^= 4;
    write_file(at("set/b/flipped.png"), bytes, size);
    free(bytes);
    write_text(at("set/b/text.jpg"), "no photo at all");
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_int_equal(data->sample_count, 60);
    assert_int_equal(data->skipped_count, 3);
    assert_int_equal(data->bad_count, 3);
    assert_true(is_skipped(data, "a/cut.png", "ends early"));
    assert_true(is_skipped(data, "b/flipped.png", "wrong checksum"));
    assert_true(is_skipped(data, "b/text.jpg", "is no photo"));
    gr_data_free(data);
    write_text(at("set/b/text2.jpg"), "");
    assert_fails(
        gr_data_folder(&data, at("set"), NULL), GR_ERROR_DATA,
        "4 of 64 photos cannot be read, more than max_skip = 0.05 allows; the first: a/cut.png (ends early");
    options.max_skip = 0.1F;
    assert_ok(gr_data_folder(&data, at("set"), &options));
    gr_data_free(data);
    options.bad_is_error = true;
    assert_fails(gr_data_folder(&data, at("set"), &options), GR_ERROR_FILE, "set/a/cut.png: ends early");
}

static void pipes_and_links(void **state) {
    (void)state;
    struct gr_dataset *data;
    struct gr_data_options options = GR_DATA_OPTIONS;
    options.max_skip = 1;
    fill("set/a", 4, 1);
    fill("set/b", 4, 11);
    fill("outside", 1, 21);
    assert_int_equal(mkfifo(at("set/a/pipe.png"), 0600), 0);
    assert_int_equal(symlink("../../outside/p00.png", at("set/a/out.png")), 0);
    assert_int_equal(symlink("/etc/passwd", at("set/a/etc.jpg")), 0);
    assert_int_equal(symlink("../../outside", at("set/a/folder")), 0);
    assert_int_equal(symlink("loop.png", at("set/a/loop.png")), 0);
    assert_int_equal(symlink("../b/p00.png", at("set/a/inside.png")), 0);
    assert_ok(gr_data_folder(&data, at("set"), &options));
    assert_true(is_skipped(data, "a/pipe.png", "a device or a pipe"));
    assert_true(is_skipped(data, "a/out.png", "leaves the folder"));
    assert_true(is_skipped(data, "a/etc.jpg", "leaves the folder"));
    assert_true(is_skipped(data, "a/folder", "a link to a folder"));
    assert_true(is_skipped(data, "a/loop.png", "leaves the folder"));
    assert_int_equal(data->sample_count, 9); /* the link inside the folder is a photo, and a duplicate */
    assert_int_equal(data->duplicate_count, 1);
    gr_data_free(data);
}

/* Names of the validation photos' contents, as text. */
static void val_hashes(const struct gr_dataset *data, char *text) {
    *text = 0;
    for (int64_t i = 0; i < count_of(data, GR_VAL); i++)
        for (int k = 0; k < 4; k++)
            text += sprintf(text, "%02x", data->samples[data->sets[GR_VAL]->samples[i]].hash[k]);
}

static int by_text(const void *a, const void *b) {
    return memcmp(a, b, 8);
}

static void split_is_stable(void **state) {
    (void)state;
    struct gr_dataset *data;
    char before[512], after[512], digest[65], again[65];
    fill("set/a", 20, 1);
    fill("set/b", 20, 101);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    val_hashes(data, before);
    gr_data_digest(data, digest);
    gr_data_free(data);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    gr_data_digest(data, again);
    assert_string_equal(digest, again);
    gr_data_free(data);
    /* Renamed photos stay where they were. */
    assert_int_equal(rename(at("set/a/p03.png"), at("set/a/zzz.png")), 0);
    assert_int_equal(rename(at("set/b/p07.png"), at("set/b/000.png")), 0);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    val_hashes(data, after);
    gr_data_digest(data, again);
    assert_string_not_equal(digest, again);
    qsort(before, strlen(before) / 8, 8, by_text);
    qsort(after, strlen(after) / 8, 8, by_text);
    assert_string_equal(before, after);
    gr_data_free(data);
    /* Two more photos in a class of 20 move at most that many. */
    fill("set/a/new", 2, 500);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    val_hashes(data, after);
    int same = 0;
    for (size_t i = 0; i < strlen(before); i += 8)
        for (size_t k = 0; k < strlen(after); k += 8)
            same += !memcmp(before + i, after + k, 8);
    assert_true(same >= 6);
    gr_data_free(data);
}

static void copies_stay_together(void **state) {
    (void)state;
    struct gr_dataset *data;
    for (int i = 0; i < 6; i++) {
        put_photo(at("set/a/p%d.png", i), 8, 8, (unsigned)i / 2);
        put_photo(at("set/b/p%d.png", i), 8, 8, 50 + (unsigned)i);
    }
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_int_equal(data->duplicate_count, 0); /* no copy in another class or set */
    gr_data_free(data);
    put_photo(at("set/b/same.png"), 8, 8, 0);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_true(data->duplicate_count >= 1);
    struct gr_duplicate found = data->duplicates[0];
    assert_int_not_equal(data->samples[found.first].label, data->samples[found.second].label);
    gr_data_free(data);
}

static void taking(void **state) {
    (void)state;
    struct gr_dataset *data, *smaller;
    struct gr_set *first, *second, *other;
    fill("set/a", 20, 1);
    fill("set/b", 20, 101);
    assert_ok(gr_data_folder(&data, at("set"), NULL));
    assert_ok(gr_set_take(&first, data->sets[GR_TRAIN], 5, 1));
    assert_ok(gr_set_take(&second, data->sets[GR_TRAIN], 5, 1));
    assert_ok(gr_set_take(&other, data->sets[GR_TRAIN], 5, 2));
    assert_int_equal(first->count, 10);
    assert_memory_equal(first->samples, second->samples, 10 * sizeof *first->samples);
    assert_memory_not_equal(first->samples, other->samples, 10 * sizeof *first->samples);
    assert_ok(gr_data_with(&smaller, data, first));
    gr_set_free(first);
    gr_set_free(second);
    gr_set_free(other);
    gr_data_free(data);
    assert_int_equal(count_of(smaller, GR_TRAIN), 10);
    assert_int_equal(count_of(smaller, GR_VAL), 8);
    int64_t counts[2];
    gr_data_counts(smaller, smaller->sets[GR_TRAIN], counts);
    assert_int_equal(counts[0], 5);
    struct gr_image image;
    assert_ok(gr_data_read(smaller, smaller->sets[GR_TRAIN]->samples[3], &image));
    gr_image_free(&image);
    gr_data_free(smaller);
}

/* Any failed allocation while listing is an error that leaves nothing behind. */
static void memory_runs_out(void **state) {
    (void)state;
    struct gr_dataset *data = NULL;
    fill("set/a", 3, 1);
    fill("set/b", 3, 11);
    write_text(at("set/a/broken.png"), "x");
    assert_ok(gr_threads_set(1));
    size_t blocks = gr_memory().blocks;
    int status = GR_ERROR_MEMORY;
    for (long n = 1; status; n++) {
        gr_memory_fail(n, n % 2);
        status = gr_data_folder(&data, at("set"), NULL);
        gr_memory_fail(0, false);
        if (status)
            assert_int_equal(gr_memory().blocks, blocks);
        assert_true(n < 5000);
    }
    gr_data_free(data);
    assert_int_equal(gr_memory().blocks, blocks);
    assert_ok(gr_threads_set(0));
}

int main(void) {
#define EACH(test) cmocka_unit_test_setup_teardown(test, make_work, remove_work)
    const struct CMUnitTest tests[] = {
        EACH(one_folder_a_class),   EACH(train_and_val), EACH(train_alone_is_split), EACH(mistakes),
        EACH(order_and_subset),     EACH(broken_photos), EACH(pipes_and_links),      EACH(split_is_stable),
        EACH(copies_stay_together), EACH(taking),        EACH(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
