/* The feature cache: training and evaluation from kept features do what they do from photos. */
#include "../data/photos.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/threads.h"
#include "small_network.h"
#include "train/evaluate.h"
#include "train/outputs.h"
#include "train/trainer.h"

enum { BATCH = 4 };

static struct gr_dataset *open_data(void) {
    struct gr_dataset *data;
    for (unsigned i = 0; i < 27; i++)
        put_photo(at("%s/%c/%u.png", i < 18 ? "train" : "val", "abc"[i % 3], i), 20, 18, 40 * (i % 3) + i);
    assert_ok(gr_data_folder(&data, work, NULL));
    return data;
}

static struct gr_network *frozen_network(const char *frozen) {
    struct gr_network *net = small_network(3);
    assert_ok(gr_network_freeze(net, &frozen, 1, true));
    return net;
}

static struct gr_features *keep_as(struct gr_network *net, const struct gr_dataset *data, int views,
                                   const struct gr_features_options *options) {
    const struct gr_features_part parts[] = {{data->sets[GR_TRAIN], views}, {data->sets[GR_VAL], 0}};
    struct gr_features *features = NULL;
    assert_ok(gr_features_create(&features, net, parts, 2, options));
    return features;
}

static struct gr_features *keep(struct gr_network *net, const struct gr_dataset *data, size_t budget) {
    struct gr_features_options options = {.budget = budget};
    return keep_as(net, data, 0, &options);
}

static void assert_same_rows(const struct gr_features *a, const struct gr_features *b) {
    size_t count = (size_t)(a->rows.views + 1) * (size_t)a->rows.data->sample_count;
    float *x = malloc(a->rows.floats * sizeof *x), *y = malloc(a->rows.floats * sizeof *y);
    assert_int_equal(a->rows.floats, b->rows.floats);
    assert_int_equal(a->rows.views, b->rows.views);
    assert_int_equal(a->photos, b->photos);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a->rows.places[i] < 0, b->rows.places[i] < 0);
        if (a->rows.places[i] < 0)
            continue;
        assert_ok(a->rows.read(&a->rows, a->rows.places[i], x));
        assert_ok(b->rows.read(&b->rows, b->rows.places[i], y));
        assert_memory_equal(x, y, a->rows.floats * sizeof *x);
    }
    free(x);
    free(y);
}

/* Trains for some steps, from features or from photos, and gives the digest and the last loss. */
static double train(struct gr_network *net, struct gr_dataset *data, const struct gr_features *features,
                    const struct gr_augment *augment, int views) {
    struct gr_trainer_options options = {.optimizer = {.kind = GR_SGD, .lr = 0.05f, .momentum = 0.9f},
                                         .seed = 1};
    struct gr_preprocessing preprocessing = gr_preprocessing_for(&net->preprocessing, net->input, net->input);
    struct gr_trainer *trainer;
    double loss = 0;
    assert_ok(gr_trainer_create(&trainer, net, &options));
    gr_trainer_use_features(trainer, features);
    for (int epoch = 1; epoch <= 3; epoch++) {
        struct gr_loader_options loading = {.input = net->input,
                                            .preprocessing = &preprocessing,
                                            .batch_size = BATCH,
                                            .shuffle = true,
                                            .epoch = (uint64_t)epoch,
                                            .view = views ? (uint64_t)((epoch - 1) % views + 1) : 0,
                                            .augment = features ? NULL : augment,
                                            .rows = features ? &features->rows : NULL};
        struct gr_loader *loader;
        const struct gr_batch *batch;
        assert_ok(gr_loader_open(&loader, data->sets[GR_TRAIN], &loading));
        while (gr_loader_next(loader, &batch) == GR_OK && batch)
            assert_ok(gr_trainer_step(trainer, batch->n, net->input, batch->x, 3, batch->y, &loss));
        gr_loader_close(loader);
    }
    gr_trainer_free(trainer);
    return loss;
}

static void assert_same_network(const struct gr_network *a, const struct gr_network *b) {
    char one[65], other[65];
    assert_ok(gr_network_digest(a, false, one, NULL));
    assert_ok(gr_network_digest(b, false, other, NULL));
    assert_string_equal(one, other);
}

/* Whether a row has the same bits in batches of any size and in any place of them. That is up to the matrix
 * products of the BLAS: some of its kernels add up the last rows of a matrix in another order than the
 * others. */
static bool rows_depend_on_their_photo_alone(struct gr_network *net, const struct gr_dataset *data) {
    const struct gr_features_part usual = {data->sets[GR_TRAIN], 0};
    struct gr_features_options options = {.budget = 1 << 20};
    struct gr_features *all, *some;
    bool same = true;
    assert_ok(gr_features_create(&all, net, &usual, 1, &options));
    float *x = malloc(all->rows.floats * sizeof *x), *y = malloc(all->rows.floats * sizeof *y);
    for (int64_t first = 0; first < usual.set->count; first++)
        for (int64_t count = 1; count <= BATCH && first + count <= usual.set->count; count++) {
            struct gr_set window = *usual.set;
            const struct gr_features_part part = {&window, 0};
            window.samples += first;
            window.count = count;
            assert_ok(gr_features_create(&some, net, &part, 1, &options));
            for (int64_t i = 0; i < count; i++) {
                int64_t sample = window.samples[i];
                assert_ok(all->rows.read(&all->rows, all->rows.places[sample], x));
                assert_ok(some->rows.read(&some->rows, some->rows.places[sample], y));
                same &= !memcmp(x, y, all->rows.floats * sizeof *x);
            }
            gr_features_free(some);
        }
    free(x);
    free(y);
    gr_features_free(all);
    return same;
}

/* Training from photos and from their rows: the same bits where rows have the same bits, else the same but
 * for rounding. */
static void assert_same_training(struct gr_dataset *data, const char *frozen, struct gr_network *kept,
                                 const struct gr_features *features, const struct gr_augment *augment,
                                 int views) {
    struct gr_network *photos = frozen_network(frozen);
    bool same = rows_depend_on_their_photo_alone(photos, data);
    double from_photos = train(photos, data, NULL, augment, views);
    double from_rows = train(kept, data, features, augment, views);
    assert_true(fabs(from_photos - from_rows) < 1e-4 * fabs(from_photos));
    if (same) {
        assert_true(from_photos == from_rows);
        assert_same_network(photos, kept);
    }
    gr_network_free(photos);
}

/* Training and evaluation, from photos and from features. */
static void compare(const char *frozen, int layers, const char *folder) {
    struct gr_dataset *data = open_data();
    struct gr_network *kept = frozen_network(frozen);
    struct gr_features_options options = {.budget = folder ? 0 : 1 << 20, .folder = folder};
    struct gr_features *features = keep_as(kept, data, 0, &options);
    assert_non_null(features);
    assert_int_equal(features->prefix.layer_count, layers);
    assert_int_equal(features->photos, 27);
    assert_int_equal(features->bytes, 27 * features->rows.floats * sizeof(float));
    assert_int_equal(features->in_file, folder != NULL);
    struct gr_result a, b, c;
    struct gr_evaluate_options from = {.features = features}, small = {.batch_size = 2};
    assert_same_training(data, frozen, kept, features, NULL, 0);
    assert_ok(gr_evaluate(&a, kept, data->sets[GR_VAL], NULL));
    assert_ok(gr_evaluate(&b, kept, data->sets[GR_VAL], &from));
    assert_ok(gr_evaluate(&c, kept, data->sets[GR_VAL], &small));
    assert_true(a.right == b.right && a.loss == b.loss);
    assert_true(c.right == a.right && fabs(c.loss - a.loss) < 1e-6);
    gr_result_clear(&a);
    gr_result_clear(&b);
    gr_result_clear(&c);
    gr_features_free(features);
    gr_network_free(kept);
    gr_data_free(data);
}

static void a_frozen_body_is_run_once(void **state) {
    (void)state;
    compare("body", 1, NULL);
    compare("body", 1, work);
}

static void a_frozen_stem_is_run_once(void **state) {
    (void)state;
    compare("conv1", 1, NULL);
    compare("conv1", 1, work);
}

/* Stored views are those that the photos have, and a mirrored photo is one of its own. */
static void views_are_kept_as_chance_draws_them(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *kept = frozen_network("body");
    struct gr_augment augment = {.hflip = 0.5F, .degrees = 20};
    struct gr_features_options options = {.budget = 1 << 20, .augment = &augment, .seed = 0};
    (void)state;
    struct gr_features *features = keep_as(kept, data, 2, &options);
    assert_int_equal(features->rows.views, 2);
    assert_int_equal(features->photos, 18 * 2 + 9);
    int64_t first = data->sets[GR_TRAIN]->samples[0];
    assert_int_equal(features->rows.places[first], -1); /* the photo as it is, is not kept */
    assert_same_training(data, "body", kept, features, &augment, 2);
    struct gr_loader_options loading = {
        .input = kept->input, .preprocessing = &kept->preprocessing, .batch_size = 4, .view = 3};
    struct gr_loader *loader;
    loading.rows = &features->rows;
    assert_fails(gr_loader_open(&loader, data->sets[GR_TRAIN], &loading), GR_ERROR_OPTION, "no view 3");
    gr_features_free(features);
    gr_network_free(kept);
    gr_data_free(data);
}

/* ---- what is remembered ---- */

static void rows_are_found_by_what_they_depend_on(void **state) {
    struct gr_dataset *data = open_data(), *again;
    struct gr_network *net = frozen_network("body"), *other = frozen_network("body");
    struct gr_feature_store store = {0};
    struct gr_augment augment = {.hflip = 0.5F};
    struct gr_features_options options = {.budget = 1 << 20, .store = &store, .augment = &augment};
    (void)state;
    assert_ok(gr_data_folder(&again, work, NULL));
    struct gr_features *first = keep_as(net, data, 0, &options);
    assert_int_equal(first->found, 0);
    struct gr_features *found = keep_as(other, again, 0, &options); /* another network and listing, equal */
    assert_int_equal(found->found, 27);
    assert_same_rows(first, found);
    gr_features_free(found);
    struct gr_param *weight = gr_network_param(other, "fc.weight");
    gr_tensor_floats(&weight->tensor)[0] += 1; /* behind the cut: it does not matter */
    found = keep_as(other, again, 0, &options);
    assert_int_equal(found->found, 27);
    gr_features_free(found);
    weight = gr_network_param(other, "layer1.0.bn2.running_mean");
    gr_tensor_floats(&weight->tensor)[0] += 1;
    options.only_found = true;
    assert_null(keep_as(other, again, 0, &options));
    assert_null(keep_as(net, data, 2, &options)); /* other views */
    options.version = "2";
    assert_null(keep_as(net, data, 0, &options));
    options.version = NULL;
    float mean = net->preprocessing.mean[1];
    net->preprocessing.mean[1] = 0.25F;
    assert_null(keep_as(net, data, 0, &options));
    net->preprocessing.mean[1] = mean;
    found = keep_as(net, data, 0, &options);
    assert_int_equal(found->found, 27);
    gr_features_free(found);
    gr_feature_store_clear(&store);
    assert_null(keep_as(net, data, 0, &options));
    gr_features_free(first);
    gr_network_free(net);
    gr_network_free(other);
    gr_data_free(again);
    gr_data_free(data);
}

static void views_of_other_seeds_and_chances_are_others(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_feature_store store = {0};
    struct gr_augment augment = {.hflip = 0.5F};
    struct gr_features_options options = {.budget = 1 << 20, .store = &store, .augment = &augment};
    (void)state;
    gr_features_free(keep_as(net, data, 2, &options));
    struct gr_features *three = keep_as(net, data, 3, &options);
    assert_int_equal(three->found, 2 * 18 + 9);
    gr_features_free(three);
    options.seed = 1;
    struct gr_features *seed = keep_as(net, data, 2, &options);
    assert_int_equal(seed->found, 9);
    gr_features_free(seed);
    augment.hflip = 0.5000001F;
    struct gr_features *chance = keep_as(net, data, 2, &options);
    assert_int_equal(chance->found, 9);
    gr_features_free(chance);
    gr_feature_store_clear(&store);
    gr_network_free(net);
    gr_data_free(data);
}

static void what_was_used_longest_ago_is_forgotten_first(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *stem = frozen_network("conv1"), *body = frozen_network("body");
    struct gr_feature_store store = {0};
    struct gr_features_options options = {.budget = 27 * 4 * 16 * 16 * 4 + 27 * 8 * 4, .store = &store};
    (void)state;
    gr_features_free(keep_as(body, data, 0, &options));
    struct gr_features *held = keep_as(stem, data, 0, &options); /* both fit, just */
    assert_int_equal(gr_feature_store_memory(&store), options.budget);
    options.budget -= 1;
    struct gr_param *weight = gr_network_param(body, "conv1.weight");
    gr_tensor_floats(&weight->tensor)[0] += 1;
    gr_features_free(keep_as(body, data, 0, &options)); /* what is in use stays; the old body goes */
    assert_true(gr_feature_store_memory(&store) <= options.budget + 1);
    gr_features_free(held);
    options.only_found = true;
    struct gr_features *found = keep_as(stem, data, 0, &options);
    assert_non_null(found);
    gr_features_free(found);
    gr_tensor_floats(&weight->tensor)[0] -= 1;
    assert_null(keep_as(body, data, 0, &options));
    gr_feature_store_shrink(&store, 0);
    assert_int_equal(gr_feature_store_memory(&store), 0);
    assert_null(store.first);
    gr_network_free(stem);
    gr_network_free(body);
    gr_data_free(data);
}

/* ---- files ---- */

/* The path of the only file of rows that is as long as the block of `photos`. */
static const char *file_of(size_t photos) {
    static char path[512];
    DIR *folder = opendir(work);
    struct dirent *entry;
    struct stat info;
    path[0] = 0;
    while ((entry = readdir(folder))) {
        const char *full = at("%s", entry->d_name);
        if (strstr(entry->d_name, ".rows") && !stat(full, &info) &&
            (size_t)info.st_size == 96 + photos * (8 * 4 + 1 + 4) + 4)
            snprintf(path, sizeof path, "%s", full);
    }
    closedir(folder);
    assert_true(path[0]);
    return path;
}

static void spoil(const char *path, long offset, bool truncate_there) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    if (truncate_there) {
        assert_int_equal(ftruncate(fileno(file), ftell(file)), 0);
    } else {
        int byte = fgetc(file);
        fseek(file, -1, SEEK_CUR);
        fputc(byte ^ 0x41, file);
    }
    fclose(file);
}

static void files_are_checked_before_they_are_trusted(void **state) {
    static const struct {
        long offset;
        bool truncate_there;
    } damages[] = {{0, false},   {9, false},  {17, false}, {25, false},  {40, false}, {96, false},
                   {300, false}, {-1, false}, {-6, false}, {-80, false}, {-1, true},  {-40, true},
                   {500, true},  {96, true},  {50, true},  {0, true}};
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_features_options options = {.budget = 0, .folder = work};
    (void)state;
    struct gr_features *memory = keep(net, data, 1 << 20), *file = keep_as(net, data, 0, &options);
    assert_true(file->in_file && !memory->in_file);
    assert_same_rows(memory, file);
    gr_features_free(file);
    file = keep_as(net, data, 0, &options);
    assert_int_equal(file->found, 27);
    assert_same_rows(memory, file);
    gr_features_free(file);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        spoil(file_of(18), damages[i].offset, damages[i].truncate_there);
        file = keep_as(net, data, 0, &options);
        assert_int_equal(file->found, 9); /* the other file is whole */
        assert_same_rows(memory, file);
        gr_features_free(file);
    }
    gr_features_free(memory);
    gr_network_free(net);
    gr_data_free(data);
}

static void open_files_are_remembered_until_the_next_features(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body"), *other = frozen_network("conv1");
    struct gr_feature_store store = {0};
    struct gr_features_options options = {.budget = 0, .folder = work, .store = &store};
    (void)state;
    gr_features_free(keep_as(net, data, 0, &options));
    unlink(file_of(18)); /* the run is done and has removed it; it is open still */
    struct gr_features *found = keep_as(net, data, 0, &options);
    assert_int_equal(found->found, 27);
    gr_features_free(found);
    options.budget = 1 << 20;
    gr_features_free(keep_as(other, data, 0, &options));
    options.only_found = true;
    assert_null(keep_as(net, data, 0, &options));
    gr_feature_store_clear(&store);
    gr_network_free(net);
    gr_network_free(other);
    gr_data_free(data);
}

static void a_file_that_is_spoilt_while_in_use_is_an_error(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_features_options options = {.budget = 0, .folder = work};
    (void)state;
    for (int shorter = 0; shorter < 2; shorter++) {
        struct gr_features *features = keep_as(net, data, 0, &options);
        struct gr_evaluate_options from = {.features = features};
        struct gr_result result;
        spoil(file_of(9), 96, shorter);
        assert_fails(gr_evaluate(&result, net, data->sets[GR_VAL], &from), GR_ERROR_DATA,
                     "changed or damaged");
        assert_int_equal(data->skipped_count, 0);
        gr_features_free(features);
    }
    gr_network_free(net);
    gr_data_free(data);
}

static void a_folder_that_cannot_be_written_says_so(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_features_options options = {.budget = 0, .folder = at("nowhere")};
    const struct gr_features_part part = {data->sets[GR_TRAIN], 0};
    struct gr_features *features;
    (void)state;
    assert_fails(gr_features_create(&features, net, &part, 1, &options), GR_ERROR_FILE, "cannot be created");
    assert_null(features);
    gr_network_free(net);
    gr_data_free(data);
}

/* A photo that turns bad has no row, in any life of the block; it is listed in each. */
static void a_photo_without_a_row_is_listed(void **state) {
    struct gr_dataset *data = open_data(), *again;
    struct gr_network *net = frozen_network("body");
    struct gr_feature_store store = {0};
    struct gr_features_options options = {.budget = 1 << 20, .store = &store};
    (void)state;
    assert_ok(gr_data_folder(&again, work, NULL));
    data->max_skip = again->max_skip = 0.2F;
    write_text(at("train/b/1.png"), "gone");
    struct gr_features *features = keep_as(net, data, 0, &options);
    assert_int_equal(features->photos, 26);
    assert_int_equal(data->skipped_count, 1);
    struct gr_features *found = keep_as(net, again, 0, &options);
    assert_int_equal(found->found, 26);
    assert_int_equal(again->skipped_count, 1);
    assert_string_equal(again->skipped[0].file, "train/b/1.png");
    assert_string_equal(again->skipped[0].reason, data->skipped[0].reason);
    assert_same_rows(features, found);
    gr_features_free(found);
    gr_features_free(features);
    gr_feature_store_clear(&store);
    gr_network_free(net);
    gr_data_free(again);
    gr_data_free(data);
}

/* ---- outputs ---- */

static int take_outputs(void *payload, const struct gr_output_batch *batch) {
    float **to = payload;
    int64_t floats = batch->n * gr_shape_size(batch->shape[0]);
    memcpy(*to, batch->output[0], (size_t)floats * sizeof **to);
    *to += floats;
    return GR_OK;
}

static void outputs_are_the_same_with_and_without_kept_rows(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("conv1");
    struct gr_features *features = keep(net, data, 1 << 20);
    static const char *const layers[] = {"layer2", "fc", "relu_1", "conv1"};
    enum { MOST = 9 * 4 * 16 * 16 };
    float *a = calloc(MOST, sizeof *a), *b = calloc(MOST, sizeof *b);
    (void)state;
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        struct gr_layer *layer = gr_network_layer(net, layers[i]);
        if (!layer)
            layer = gr_network_end(net, layers[i]);
        assert_non_null(layer);
        float *to = a;
        struct gr_outputs_options options = {.each = take_outputs, .payload = &to};
        assert_ok(gr_outputs(net, data->sets[GR_VAL], &layer, 1, &options));
        assert_int_equal(to - a, 9 * gr_shape_size(layer->shape));
        to = b;
        options.features = features;
        assert_ok(gr_outputs(net, data->sets[GR_VAL], &layer, 1, &options));
        assert_memory_equal(a, b, MOST * sizeof *a);
    }
    free(a);
    free(b);
    gr_features_free(features);
    gr_network_free(net);
    gr_data_free(data);
}

static void the_same_features_on_every_run_and_any_threads(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    (void)state;
    struct gr_features *first = keep(net, data, 1 << 20);
    gr_threads_set(1);
    struct gr_features *second = keep(net, data, 1 << 20);
    gr_threads_set(2);
    assert_same_rows(first, second);
    gr_features_free(first);
    gr_features_free(second);
    gr_network_free(net);
    gr_data_free(data);
}

static void none_are_kept_without_a_frozen_part_or_over_the_budget(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = small_network(3), *frozen = frozen_network("body");
    (void)state;
    assert_null(keep(net, data, 1 << 20));
    assert_null(keep(frozen, data, 100));
    gr_network_free(net);
    gr_network_free(frozen);
    gr_data_free(data);
}

static void freezing_makes_features_stale(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    const char *stage = "layer2";
    (void)state;
    struct gr_features *features = keep(net, data, 1 << 20);
    struct gr_trainer_options options = {.optimizer = {.kind = GR_SGD, .lr = 0.05f}};
    struct gr_trainer *trainer;
    float x[64] = {0}, y[3] = {1, 0, 0};
    double loss;
    assert_ok(gr_trainer_create(&trainer, net, &options));
    gr_trainer_use_features(trainer, features);
    assert_ok(gr_trainer_step(trainer, 1, net->input, x, 3, y, &loss));
    assert_ok(gr_network_freeze(net, &stage, 1, false));
    assert_fails(gr_frozen_check(&features->prefix, net->input, GR_FLOAT32), GR_ERROR_OPTION, "was changed");
    assert_fails(gr_trainer_step(trainer, 1, net->input, x, 3, y, &loss), GR_ERROR_OPTION,
                 "was changed since");
    gr_trainer_free(trainer);
    gr_features_free(features);
    gr_network_free(net);
    gr_data_free(data);
}

static void check_precision(enum gr_precision precision, double bound) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_feature_store store = {0};
    struct gr_features_options options = {.budget = 1 << 20, .store = &store};
    struct gr_evaluate_options evaluate = {.precision = precision};
    struct gr_result from_rows, from_photos;
    struct gr_features *exact = keep_as(net, data, 0, &options);
    options.precision = precision;
    struct gr_features *reduced = keep_as(net, data, 0, &options), *again = keep_as(net, data, 0, &options);
    assert_int_equal(reduced->found, 0);
    assert_int_equal(again->found, again->photos);
    assert_same_rows(reduced, again);
    float x[64], y[64];
    double difference = 0, size = 0;
    assert_true(exact->rows.floats <= 64);
    for (int64_t i = 0; i < exact->rows.data->sample_count; i++) {
        assert_ok(exact->rows.read(&exact->rows, exact->rows.places[i], x));
        assert_ok(reduced->rows.read(&reduced->rows, reduced->rows.places[i], y));
        for (size_t j = 0; j < exact->rows.floats; j++) {
            difference += pow((double)x[j] - y[j], 2);
            size += pow(x[j], 2);
        }
    }
    assert_true(difference > 0 && sqrt(difference / size) < bound);

    /* evaluation from rows is what evaluation from photos is, and refuses rows of another precision */
    assert_ok(gr_evaluate(&from_photos, net, data->sets[GR_VAL], &evaluate));
    evaluate.features = reduced;
    assert_ok(gr_evaluate(&from_rows, net, data->sets[GR_VAL], &evaluate));
    assert_true(from_rows.loss == from_photos.loss);
    evaluate.features = exact;
    gr_result_clear(&from_photos);
    assert_fails(gr_evaluate(&from_photos, net, data->sets[GR_VAL], &evaluate), GR_ERROR_OPTION,
                 "computed in float32, not in");
    gr_result_clear(&from_rows);
    gr_features_free(exact);
    gr_features_free(reduced);
    gr_features_free(again);
    gr_feature_store_clear(&store);
    gr_network_free(net);
    gr_data_free(data);
}

static void rows_of_another_precision_are_never_taken(void **state) {
    (void)state;
    check_precision(GR_BF16, 1e-2);
    check_precision(GR_INT8, 5e-2);
}

/* What the convolution that reads the photo reads, in grey values. */
static struct gr_range calibrated(struct gr_network *net, struct gr_dataset *data) {
    const struct gr_preprocessing *p = &net->preprocessing;
    struct gr_frozen prefix;
    int conv1 = gr_network_layer(net, "conv1")->index;
    assert_ok(gr_frozen_find(&prefix, net, net->input));
    prefix.precision = GR_INT8;
    assert_ok(gr_frozen_calibrate(&prefix, data));
    struct gr_range range = prefix.ranges[conv1];
    gr_frozen_clear(&prefix);
    return (struct gr_range){(range.low * p->std[0] + p->mean[0]) * 255,
                             (range.high * p->std[0] + p->mean[0]) * 255};
}

/* The listing has 40 photos of each class, one class after another, each class of one grey: 32 photos in a
 * row would see one or two of them. */
static void int8_is_calibrated_on_photos_of_all_classes(void **state) {
    static const uint8_t greys[] = {100, 20, 220};
    struct gr_network *net = frozen_network("body");
    struct gr_dataset *data;
    struct gr_image image;
    int threads = gr_threads();
    (void)state;
    for (int i = 0; i < 3; i++) /* one scale for all channels */
        net->preprocessing.mean[i] = 0.5F, net->preprocessing.std[i] = 0.25F;
    assert_ok(gr_image_create(&image, 20, 18));
    for (int i = 0; i < 120; i++) {
        memset(image.pixels, greys[i / 40], 20 * 18 * 3);
        assert_ok(gr_image_write(&image, at("train/%c/%d.png", "abc"[i / 40], i)));
    }
    gr_image_free(&image);
    assert_ok(gr_data_folder(&data, work, NULL));
    for (int i = 1; i <= 3; i++) {
        assert_ok(gr_threads_set(i));
        struct gr_range range = calibrated(net, data);
        assert_true(fabsf(range.low - 20) < 1e-2F && fabsf(range.high - 220) < 1e-2F);
    }
    assert_ok(gr_threads_set(threads));
    gr_network_free(net);
    gr_data_free(data);
}

/* Steps on photos in int8 need to know what the frozen layers read; they then learn nearly as in float32. */
static void int8_is_calibrated_before_steps_on_photos(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_trainer_options options = {.optimizer = {.kind = GR_SGD, .lr = 0.05f}, .precision = GR_INT8};
    struct gr_trainer *trainer, *exact;
    float x[3 * 16 * 16], y[3] = {1, 0, 0};
    double loss, wanted;
    (void)state;
    for (int i = 0; i < 3 * 16 * 16; i++)
        x[i] = (float)(i % 7) / 7 - 0.5f;
    assert_ok(gr_trainer_create(&trainer, net, &options));
    assert_fails(gr_trainer_step(trainer, 1, net->input, x, 3, y, &loss), GR_ERROR_OPTION,
                 "calibrated first");
    assert_ok(gr_trainer_calibrate(trainer, data, net->input));
    options.precision = GR_FLOAT32;
    options.optimizer.lr = 1e-9f; /* one network for both: it stays as it is */
    assert_ok(gr_trainer_create(&exact, net, &options));
    assert_ok(gr_trainer_step(exact, 1, net->input, x, 3, y, &wanted));
    assert_ok(gr_trainer_step(trainer, 1, net->input, x, 3, y, &loss));
    assert_true(loss != wanted && fabs(loss - wanted) < 0.05);
    gr_trainer_free(trainer);
    gr_trainer_free(exact);
    gr_network_free(net);
    gr_data_free(data);
}

static void features_of_photos_of_another_size_are_refused(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("conv1");
    (void)state;
    struct gr_features *features = keep(net, data, 1 << 20);
    struct gr_evaluate_options options = {.features = features, .input = {3, 32, 32, false}};
    struct gr_outputs_options outputs = {.features = features, .input = {3, 32, 32, false}};
    struct gr_trainer_options training = {.optimizer = {.kind = GR_SGD, .lr = 0.05F}};
    struct gr_trainer *trainer;
    struct gr_result result;
    float *x = calloc(3 * 32 * 32, sizeof *x), y[3] = {1, 0, 0};
    double loss;
    assert_fails(gr_evaluate(&result, net, data->sets[GR_VAL], &options), GR_ERROR_SHAPE, "[3,16,16]");
    assert_fails(gr_outputs(net, data->sets[GR_VAL], &net->output, 1, &outputs), GR_ERROR_SHAPE, "[3,16,16]");
    assert_ok(gr_trainer_create(&trainer, net, &training));
    gr_trainer_use_features(trainer, features);
    assert_fails(gr_trainer_step(trainer, 1, options.input, x, 3, y, &loss), GR_ERROR_SHAPE, "[3,16,16]");
    gr_trainer_free(trainer);
    gr_features_free(features);
    features = NULL;
    /* rows of another size than the network's own are as long as they have to be */
    struct gr_features_options larger = {.budget = 1 << 20, .input = {3, 32, 32, false}};
    features = keep_as(net, data, 0, &larger);
    assert_int_equal(features->rows.floats, 4 * 32 * 32);
    options.features = features;
    assert_ok(gr_evaluate(&result, net, data->sets[GR_VAL], &options));
    gr_result_clear(&result);
    gr_features_free(features);
    free(x);
    gr_network_free(net);
    gr_data_free(data);
}

static void features_of_other_data_are_refused(void **state) {
    struct gr_dataset *data = open_data(), *other;
    struct gr_network *net = frozen_network("body");
    (void)state;
    assert_ok(gr_data_folder(&other, work, NULL));
    struct gr_features *features = keep(net, data, 1 << 20);
    struct gr_evaluate_options options = {.features = features};
    struct gr_result result;
    assert_fails(gr_evaluate(&result, net, other->sets[GR_VAL], &options), GR_ERROR_OPTION,
                 "another data set");
    gr_features_free(features);
    gr_network_free(net);
    gr_data_free(other);
    gr_data_free(data);
}

/* In memory, and in a file; the store holds nothing afterwards. */
static void every_failed_allocation_is_survived(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    struct gr_augment augment = {.hflip = 0.5F};
    const struct gr_features_part parts[] = {{data->sets[GR_TRAIN], 2}, {data->sets[GR_VAL], 0}};
    struct gr_features_options first = {.budget = 1 << 20, .augment = &augment};
    struct gr_features *features;
    (void)state;
    gr_features_free(keep(net, data, 1 << 20));
    assert_int_equal(gr_data_kept(data, NULL), 0); /* each photo was read once */
    assert_ok(gr_features_create(&features, net, parts, 2, &first));
    gr_features_free(features);
    assert_true(gr_data_kept(data, NULL) > 0); /* two views of each: decoded photos stay with the data set */
    for (int in_file = 0; in_file < 2; in_file++) {
        struct gr_feature_store store = {0};
        struct gr_features_options options = {
            .budget = in_file ? 0 : 1 << 20, .store = &store, .folder = work, .augment = &augment};
        size_t before = gr_memory().blocks;
        int status = GR_ERROR_MEMORY;
        for (long n = 1; status; n++) {
            features = NULL;
            gr_memory_fail(n, true);
            status = gr_features_create(&features, net, parts, 2, &options);
            gr_memory_fail(0, false);
            assert_true(status == GR_OK || status == GR_ERROR_MEMORY);
            gr_features_free(features);
            gr_feature_store_clear(&store);
            assert_int_equal(gr_memory().blocks, before);
        }
    }
    gr_network_free(net);
    gr_data_free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_work, remove_work)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_frozen_body_is_run_once),
        TEST(a_frozen_stem_is_run_once),
        TEST(views_are_kept_as_chance_draws_them),
        TEST(rows_are_found_by_what_they_depend_on),
        TEST(views_of_other_seeds_and_chances_are_others),
        TEST(what_was_used_longest_ago_is_forgotten_first),
        TEST(files_are_checked_before_they_are_trusted),
        TEST(open_files_are_remembered_until_the_next_features),
        TEST(a_file_that_is_spoilt_while_in_use_is_an_error),
        TEST(a_folder_that_cannot_be_written_says_so),
        TEST(a_photo_without_a_row_is_listed),
        TEST(outputs_are_the_same_with_and_without_kept_rows),
        TEST(the_same_features_on_every_run_and_any_threads),
        TEST(none_are_kept_without_a_frozen_part_or_over_the_budget),
        TEST(freezing_makes_features_stale),
        TEST(features_of_photos_of_another_size_are_refused),
        TEST(features_of_other_data_are_refused),
        TEST(rows_of_another_precision_are_never_taken),
        TEST(int8_is_calibrated_before_steps_on_photos),
        TEST(int8_is_calibrated_on_photos_of_all_classes),
        TEST(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
