#include "photos.h"

#include <math.h>

#include "base/digest.h"
#include "base/threads.h"
#include "data/loader.h"

static const struct gr_preprocessing usual = {
    .resize = 18, .mean = {0.485F, 0.456F, 0.406F}, .std = {0.229F, 0.224F, 0.225F}};
static const struct gr_shape input = {3, 16, 16, false};
static struct gr_dataset *data;

/* Two classes of 13 and 10 photos of all sizes, none held out. */
static int open_data(void **state) {
    if (make_work(state))
        return -1;
    for (unsigned i = 0; i < 13; i++)
        put_photo(at("set/a/p%02u.%s", i, i % 3 ? "png" : "jpg"), 20 + (int)i * 5, 40, i);
    for (unsigned i = 0; i < 10; i++)
        put_photo(at("set/b/p%02u.png", i), 31, 18 + (int)i * 9, 100 + i);
    struct gr_data_options options = GR_DATA_OPTIONS;
    options.val = 0;
    return gr_data_folder(&data, at("set"), &options);
}

static int close_data(void **state) {
    gr_data_free(data);
    gr_threads_set(0);
    return remove_work(state);
}

static struct gr_loader_options standard(const struct gr_augment *augment) {
    return (struct gr_loader_options){.input = input,
                                      .preprocessing = &usual,
                                      .batch_size = 5,
                                      .shuffle = true,
                                      .augment = augment,
                                      .seed = 3,
                                      .fit = 1,
                                      .epoch = 2};
}

/* One digest of everything that an epoch yields; returns the number of photos. */
static int64_t epoch(const struct gr_loader_options *options, char hex[65]) {
    struct gr_loader *loader;
    const struct gr_batch *batch;
    struct gr_digest digest;
    int64_t photos = 0;
    size_t length = (size_t)gr_shape_size(options->input);
    gr_digest_start(&digest);
    assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], options));
    for (;;) {
        assert_ok(gr_loader_next(loader, &batch));
        if (!batch)
            break;
        gr_digest_add(&digest, batch->x, (size_t)batch->n * length * sizeof(float));
        gr_digest_add(&digest, batch->y, (size_t)batch->n * 2 * sizeof(float));
        gr_digest_add(&digest, batch->samples, (size_t)batch->n * sizeof *batch->samples);
        photos += batch->n;
    }
    assert_ok(gr_loader_next(loader, &batch));
    assert_null(batch);
    gr_loader_close(loader);
    gr_digest_hex(&digest, hex);
    return photos;
}

static struct gr_augment everything(void) {
    struct gr_augment augment;
    assert_ok(gr_augment_preset(&augment, "standard"));
    augment.degrees = 20;
    augment.brightness = augment.contrast = augment.saturation = 0.3F;
    augment.hue = 0.1F;
    augment.erasing = 0.5F;
    augment.mixup = 0.4F;
    return augment;
}

/* Threads, caching and repetition change no bit; seed, epoch and fit do. */
static void same_bits(void **state) {
    (void)state;
    struct gr_augment all = everything();
    for (int augmented = 0; augmented < 2; augmented++) {
        struct gr_loader_options options = standard(augmented ? &all : NULL);
        char first[65], other[65];
        assert_ok(gr_threads_set(1));
        gr_data_forget(data);
        data->cache_limit = 0;
        assert_int_equal(epoch(&options, first), 23);
        assert_int_equal(gr_data_kept(data, NULL), 0);
        for (int threads = 1; threads <= 4; threads += 3)
            for (int cached = 0; cached < 3; cached++) {
                assert_ok(gr_threads_set(threads));
                data->cache_limit = cached ? 1 << 20 : 20000; /* room for all, and for a few */
                epoch(&options, other);
                assert_string_equal(first, other);
            }
        assert_true(gr_data_kept(data, NULL) > 0 && gr_data_kept(data, NULL) <= 1 << 20);
        gr_data_forget(data);
        assert_int_equal(gr_data_kept(data, NULL), 0);
        options.epoch = 3;
        epoch(&options, other);
        assert_string_not_equal(first, other);
        options.epoch = 2;
        options.seed = 4;
        epoch(&options, other);
        assert_string_not_equal(first, other);
    }
}

/* A pass that says that none comes after it leaves no photo in memory, and takes those that are there. */
static void read_once(void **state) {
    struct gr_loader_options options = standard(NULL);
    char usual[65], once[65];
    (void)state;
    gr_data_forget(data);
    options.once = true;
    epoch(&options, once);
    assert_int_equal(gr_data_kept(data, NULL), 0);
    options.once = false;
    epoch(&options, usual);
    assert_string_equal(usual, once);
    size_t kept = gr_data_kept(data, NULL);
    assert_true(kept > 0);
    options.once = true;
    epoch(&options, once);
    assert_string_equal(usual, once);
    assert_int_equal(gr_data_kept(data, NULL), kept);
    gr_data_forget(data);
}

/* Photos that are in memory are not read again: other epochs and views come from there, with the bits that
 * decoding gives. */
static void decoded_once(void **state) {
    (void)state;
    struct gr_augment all = everything();
    char decoded[4][65], kept[65];
    for (int augmented = 0; augmented < 2; augmented++) {
        struct gr_loader_options options = standard(augmented ? &all : NULL);
        int64_t photos;
        for (int i = 0; i < 4; i++) { /* two epochs, two views */
            gr_data_forget(data);
            options.epoch = i < 2 ? (uint64_t)i + 1 : 7;
            options.view = i < 2 ? 0 : (uint64_t)i;
            epoch(&options, decoded[i]);
        }
        assert_true(gr_data_kept(data, &photos) > 0);
        assert_int_equal(photos, 23);
        for (int64_t i = 0; i < data->sample_count; i++) { /* nobody can read them now */
            const char *file = data->samples[i].file;
            assert_int_equal(rename(file, at("gone%d-%lld", augmented, (long long)i)), 0);
        }
        for (int i = 0; i < 4; i++) {
            options.epoch = i < 2 ? (uint64_t)i + 1 : 7;
            options.view = i < 2 ? 0 : (uint64_t)i;
            assert_int_equal(epoch(&options, kept), 23);
            assert_string_equal(decoded[i], kept);
        }
        assert_int_equal(data->skipped_count, 0);
        for (int64_t i = 0; i < data->sample_count; i++)
            assert_int_equal(rename(at("gone%d-%lld", augmented, (long long)i), data->samples[i].file), 0);
    }
}

/* A view is the same in every epoch and fit, and another than its neighbours and than what an epoch draws. */
static void views_are_the_same_in_every_epoch(void **state) {
    (void)state;
    struct gr_augment augment = {.hflip = 0.5F, .degrees = 30};
    struct gr_loader_options options = standard(&augment);
    char first[65], other[65];
    options.shuffle = false;
    options.view = 1;
    epoch(&options, first);
    options.epoch = 9;
    options.fit = 4;
    epoch(&options, other);
    assert_string_equal(first, other);
    options.view = 2;
    epoch(&options, other);
    assert_string_not_equal(first, other);
    options.view = 1;
    options.seed++;
    epoch(&options, other);
    assert_string_not_equal(first, other);
    options.seed--;
    options.view = 0;
    epoch(&options, other);
    assert_string_not_equal(first, other);
}

static void targets_and_order(void **state) {
    (void)state;
    struct gr_loader_options options = standard(NULL);
    const int columns[] = {1, 0};
    struct gr_loader *loader;
    const struct gr_batch *batch;
    int64_t order[23], seen = 0;
    options.columns = columns;
    assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], &options));
    gr_loader_order(data->sets[GR_TRAIN], true, 3, 1, 2, order);
    assert_int_equal(gr_loader_batches(loader), 5);
    while (!gr_loader_next(loader, &batch) && batch)
        for (int i = 0; i < batch->n; i++) {
            assert_int_equal(batch->samples[i], order[seen++]);
            int label = data->samples[batch->samples[i]].label;
            assert_true(batch->y[2 * i + columns[label]] == 1);
            assert_true(batch->y[2 * i + 1 - columns[label]] == 0);
        }
    assert_int_equal(seen, 23);
    gr_loader_close(loader);
    options.drop_last = true;
    options.skip = 2;
    char hex[65];
    assert_int_equal(epoch(&options, hex), 10);
    options.batch_size = 100; /* more than there are */
    options.skip = 0;
    assert_int_equal(epoch(&options, hex), 23);
    options.batch_size = 0;
    assert_fails(gr_loader_open(&loader, data->sets[GR_TRAIN], &options), GR_ERROR_OPTION, "batch_size");
}

static void mixed_targets(void **state) {
    (void)state;
    struct gr_augment augment = {.mixup = 1};
    struct gr_loader_options options = standard(&augment);
    struct gr_loader *loader;
    const struct gr_batch *batch;
    int soft = 0;
    assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], &options));
    while (!gr_loader_next(loader, &batch) && batch)
        for (int i = 0; i < batch->n; i++) {
            assert_true(fabsf(batch->y[2 * i] + batch->y[2 * i + 1] - 1) < 1e-6F);
            soft += batch->y[2 * i] > 0 && batch->y[2 * i] < 1;
            /* The photo's own class keeps at least half. */
            assert_true(batch->y[2 * i + data->samples[batch->samples[i]].label] >= 0.4999F);
        }
    assert_true(soft > 0);
    gr_loader_close(loader);
    double sum = 0;
    for (uint64_t i = 0; i < 4000; i++) {
        struct gr_view view = {1, 0, 0, i, 0};
        float weight = gr_mixup_weight(0.2F, &view);
        assert_true(weight >= 0.5F && weight <= 1);
        sum += (double)weight;
    }
    assert_true(fabs(sum / 4000 - 0.9) < 0.02); /* E max(b, 1-b) of Beta(0.2, 0.2) is 0.90 */
}

/* b:input(other): the same as a loader of its own for the other network. */
static void for_another_network(void **state) {
    (void)state;
    struct gr_augment all = everything();
    struct gr_loader_options options = standard(&all), theirs = options;
    const struct gr_preprocessing other = {
        .resize = 24, .stretch = true, .mean = {0.5F}, .std = {0.5F, 1, 1}};
    theirs.input = (struct gr_shape){1, 20, 22, false};
    theirs.preprocessing = &other;
    struct gr_loader *mine, *second;
    const struct gr_batch *a, *b;
    float *x = malloc(5 * 440 * sizeof *x);
    assert_ok(gr_loader_open(&mine, data->sets[GR_TRAIN], &options));
    assert_ok(gr_loader_open(&second, data->sets[GR_TRAIN], &theirs));
    assert_fails(gr_loader_input(mine, theirs.input, &other, x), GR_ERROR_OPTION, "no current batch");
    for (;;) {
        assert_ok(gr_loader_next(mine, &a));
        assert_ok(gr_loader_next(second, &b));
        assert_int_equal(!a, !b);
        if (!a)
            break;
        assert_ok(gr_loader_input(mine, theirs.input, &other, x));
        assert_memory_equal(x, b->x, (size_t)b->n * 440 * sizeof *x);
    }
    gr_loader_close(mine);
    gr_loader_close(second);
    free(x);
}

/* A photo that turns bad after the listing: smaller batch, listed once, also in later epochs. */
static void bad_while_loading(void **state) {
    (void)state;
    struct gr_loader_options options = standard(NULL);
    char first[65], second[65];
    data->max_skip = 0.1F;
    write_text(at("set/a/p01.png"), "gone");
    write_text(at("set/b/p04.png"), "gone");
    assert_ok(gr_threads_set(4));
    assert_int_equal(epoch(&options, first), 21);
    assert_int_equal(data->skipped_count, 2);
    assert_int_equal(epoch(&options, second), 21);
    assert_string_equal(first, second);
    assert_int_equal(data->skipped_count, 2);
    for (int i = 0; i < 2; i++) {
        const char *file = data->skipped[i].file;
        assert_true(!strcmp(file, "a/p01.png") || !strcmp(file, "b/p04.png"));
        assert_string_equal(data->skipped[i].reason, "is no photo (JPEG and PNG are read)");
    }
    /* One more is too many. */
    remove(at("set/b/p05.png"));
    gr_data_forget(data);
    struct gr_loader *loader;
    const struct gr_batch *batch;
    int status;
    assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], &options));
    while (!(status = gr_loader_next(loader, &batch)) && batch)
        ;
    assert_int_equal(status, GR_ERROR_DATA);
    assert_non_null(strstr(gr_error()->message, "3 of 23 photos cannot be read"));
    gr_loader_close(loader);
}

static void all_bad(void **state) {
    (void)state;
    struct gr_loader_options options = standard(NULL);
    char hex[65];
    data->max_skip = 1;
    for (int64_t i = 0; i < data->sample_count; i++)
        write_text(data->samples[i].file, "");
    assert_int_equal(epoch(&options, hex), 0);
    assert_int_equal(epoch(&options, hex), 0);
}

static void closed_early(void **state) {
    (void)state;
    struct gr_augment all = everything();
    struct gr_loader_options options = standard(&all);
    const struct gr_batch *batch;
    size_t blocks = 0;
    for (int threads = 1; threads <= 4; threads++) {
        assert_ok(gr_threads_set(threads));
        for (int steps = 0; steps < 4; steps++) {
            struct gr_loader *loader;
            assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], &options));
            for (int i = 0; i < steps; i++)
                assert_ok(gr_loader_next(loader, &batch));
            gr_loader_close(loader);
            gr_data_forget(data);
            if (blocks == 0)
                blocks = gr_memory().blocks;
            assert_int_equal(gr_memory().blocks, blocks);
        }
    }
    gr_loader_close(NULL);
}

static void memory_runs_out(void **state) {
    (void)state;
    struct gr_augment all = everything();
    struct gr_loader_options options = standard(&all);
    const struct gr_batch *batch;
    assert_ok(gr_threads_set(1));
    size_t blocks = gr_memory().blocks;
    for (long n = 1, failed = 1; failed; n++) {
        struct gr_loader *loader;
        gr_memory_fail(n, true);
        int status = gr_loader_open(&loader, data->sets[GR_TRAIN], &options);
        for (int i = 0; !status && i < 2; i++)
            status = gr_loader_next(loader, &batch);
        gr_memory_fail(0, false);
        gr_loader_close(loader);
        gr_data_forget(data);
        if (status)
            assert_int_equal(status, GR_ERROR_MEMORY);
        assert_int_equal(gr_memory().blocks, blocks);
        assert_int_equal(data->skipped_count, 0);
        failed = status;
    }
}

/* ---- augmentation by itself ---- */

static void presets_and_ranges(void **state) {
    (void)state;
    struct gr_augment augment;
    struct gr_text text = {0};
    assert_fails(gr_augment_preset(&augment, "ligth"), GR_ERROR_OPTION, "\"light\"");
    assert_string_equal(gr_error()->near, "light");
    assert_ok(gr_augment_preset(&augment, "none"));
    assert_false(gr_augment_any(&augment));
    assert_ok(gr_augment_preset(&augment, "standard"));
    gr_augment_describe(&augment, &text);
    assert_string_equal(text.bytes, "random_resized_crop 0.08-1 ratio 0.75-1.33, hflip 0.5");
    gr_text_free(&text);
    augment.scale[0] = 0;
    assert_fails(gr_augment_check(&augment), GR_ERROR_OPTION, "scale");
    augment = (struct gr_augment){.hue = 0.6F};
    assert_fails(gr_augment_check(&augment), GR_ERROR_OPTION, "color_jitter: hue must be 0 to 0.5");
    augment = (struct gr_augment){.hflip = NAN};
    assert_fails(gr_augment_check(&augment), GR_ERROR_OPTION, "hflip");
}

static void mirrored(void **state) {
    (void)state;
    struct gr_augment flip = {.hflip = 1};
    struct gr_view view = {1, 0, 0, 0, 0};
    struct gr_image image;
    struct gr_photo photo;
    float plain[768], turned[768];
    draw_photo(&image, 40, 30, 3);
    assert_ok(gr_photo_prepare(&photo, &image, input, &usual, &flip));
    assert_ok(gr_photo_finish(&photo, input, &usual, NULL, NULL, plain));
    assert_ok(gr_photo_finish(&photo, input, &usual, &flip, &view, turned));
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++)
            assert_memory_equal(&plain[(y * 16 + x) * 3], &turned[(y * 16 + 15 - x) * 3], 3 * sizeof(float));
    gr_photo_free(&photo);
    gr_image_free(&image);
}

/* Switching one kind of chance on leaves the others as they were; erased parts are zero. */
static void kinds_are_independent(void **state) {
    (void)state;
    struct gr_augment crop, both;
    struct gr_image image;
    struct gr_photo photo;
    float plain[768], erased[768];
    int zeros = 0;
    assert_ok(gr_augment_preset(&crop, "standard"));
    both = crop;
    both.erasing = 1;
    draw_photo(&image, 300, 200, 3);
    for (uint64_t i = 0; i < 20; i++) {
        struct gr_view view = {9, 0, i, 7, 0};
        assert_ok(gr_photo_prepare(&photo, &image, input, &usual, &crop));
        assert_true(photo.image.w < 300); /* reduced: the smallest crop has pixels to spare */
        assert_ok(gr_photo_finish(&photo, input, &usual, &crop, &view, plain));
        assert_ok(gr_photo_finish(&photo, input, &usual, &both, &view, erased));
        for (int k = 0; k < 768; k++) {
            assert_true(erased[k] == plain[k] || erased[k] == 0);
            zeros += erased[k] == 0;
        }
        gr_photo_free(&photo);
    }
    assert_true(zeros > 20 * 768 / 50 && zeros < 20 * 768 / 2);
    gr_image_free(&image);
}

/* A grey photo stays grey and within range under every change of colour. */
static void jitter_keeps_to_its_range(void **state) {
    (void)state;
    const struct gr_preprocessing plain = {.resize = 16, .std = {1, 1, 1}};
    struct gr_augment jitter = {.brightness = 1, .contrast = 1, .saturation = 1, .hue = 0.5F};
    struct gr_image image;
    struct gr_photo photo;
    float x[768];
    draw_photo(&image, 16, 16, 3);
    for (int grey = 0; grey < 2; grey++) {
        for (size_t i = 0; grey && i < 256; i++)
            image.pixels[3 * i + 1] = image.pixels[3 * i + 2] = image.pixels[3 * i];
        assert_ok(gr_photo_prepare(&photo, &image, input, &plain, &jitter));
        for (uint64_t e = 0; e < 50; e++) {
            struct gr_view view = {9, 0, e, 7, 0};
            assert_ok(gr_photo_finish(&photo, input, &plain, &jitter, &view, x));
            for (int k = 0; k < 768; k += 3)
                for (int c = 0; c < 3; c++) {
                    assert_true(x[k + c] >= 0 && x[k + c] <= 1);
                    assert_true(!grey || fabsf(x[k + c] - x[k]) < 1e-5F);
                }
        }
        gr_photo_free(&photo);
    }
    gr_image_free(&image);
}

int main(void) {
#define EACH(test) cmocka_unit_test_setup_teardown(test, open_data, close_data)
    const struct CMUnitTest tests[] = {
        EACH(same_bits),
        EACH(read_once),
        EACH(decoded_once),
        EACH(views_are_the_same_in_every_epoch),
        EACH(targets_and_order),
        EACH(mixed_targets),
        EACH(for_another_network),
        EACH(bad_while_loading),
        EACH(all_bad),
        EACH(closed_early),
        EACH(memory_runs_out),
        cmocka_unit_test(presets_and_ranges),
        cmocka_unit_test(mirrored),
        cmocka_unit_test(kinds_are_independent),
        cmocka_unit_test(jitter_keeps_to_its_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
