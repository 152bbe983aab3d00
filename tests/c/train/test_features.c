/* The feature cache: training and evaluation from kept features do what they do from photos. */
#include "../data/photos.h"

#include <math.h>

#include "base/threads.h"
#include "small_network.h"
#include "train/evaluate.h"
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

static struct gr_features *keep(struct gr_network *net, struct gr_dataset *data, size_t budget) {
    const struct gr_set *sets[] = {data->sets[GR_TRAIN], data->sets[GR_VAL]};
    struct gr_features_options options = {.batch_size = 5, .budget = budget};
    struct gr_features *features = NULL;
    assert_ok(gr_features_create(&features, net, sets, 2, &options));
    return features;
}

/* Trains for some steps, from features or from photos, and gives the digest and the last loss. */
static double train(struct gr_network *net, struct gr_dataset *data, const struct gr_features *features) {
    struct gr_trainer_options options = {.optimizer = {.kind = GR_SGD, .lr = 0.05f, .momentum = 0.9f},
                                         .seed = 1};
    struct gr_preprocessing preprocessing = gr_preprocessing_for(&net->preprocessing, net->input, net->input);
    struct gr_trainer *trainer;
    double loss = 0;
    assert_ok(gr_trainer_create(&trainer, net, &options));
    gr_trainer_use_features(trainer, features);
    for (int epoch = 1; epoch <= 2; epoch++) {
        struct gr_loader_options loading = {.input = net->input,
                                            .preprocessing = &preprocessing,
                                            .batch_size = BATCH,
                                            .shuffle = true,
                                            .epoch = (uint64_t)epoch,
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

static void compare(const char *frozen, int layers) {
    struct gr_dataset *data = open_data();
    struct gr_network *photos = frozen_network(frozen), *kept = frozen_network(frozen);
    struct gr_features *features = keep(kept, data, 1 << 20);
    assert_non_null(features);
    assert_int_equal(features->layer_count, layers);
    assert_int_equal(features->photos, 27);
    assert_int_equal(features->bytes, 27 * features->rows.floats * sizeof(float));
    struct gr_result a, b;
    struct gr_evaluate_options options = {.features = features};
    double from_photos = train(photos, data, NULL), from_features = train(kept, data, features);
    assert_true(fabs(from_photos - from_features) < 1e-4 * fabs(from_photos));
    assert_ok(gr_evaluate(&a, photos, data->sets[GR_VAL], NULL));
    assert_ok(gr_evaluate(&b, kept, data->sets[GR_VAL], &options));
    assert_int_equal(a.right, b.right);
    assert_true(fabs(a.loss - b.loss) < 1e-4 * fabs(a.loss));
    gr_result_clear(&a);
    gr_result_clear(&b);
    gr_features_free(features);
    gr_network_free(photos);
    gr_network_free(kept);
    gr_data_free(data);
}

static void a_frozen_body_is_run_once(void **state) {
    (void)state;
    compare("body", 1);
}

static void a_frozen_stem_is_run_once(void **state) {
    (void)state;
    compare("conv1", 1);
}

static void the_same_features_on_every_run_and_any_threads(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    (void)state;
    struct gr_features *first = keep(net, data, 1 << 20);
    gr_threads_set(1);
    struct gr_features *second = keep(net, data, 1 << 20);
    gr_threads_set(2);
    assert_memory_equal(first->rows.values, second->rows.values, first->bytes);
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
    assert_true(gr_features_stale(features));
    assert_fails(gr_trainer_step(trainer, 1, net->input, x, 3, y, &loss), GR_ERROR_OPTION,
                 "was changed since");
    gr_trainer_free(trainer);
    gr_features_free(features);
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

static void every_failed_allocation_is_survived(void **state) {
    struct gr_dataset *data = open_data();
    struct gr_network *net = frozen_network("body");
    const struct gr_set *sets[] = {data->sets[GR_TRAIN]};
    struct gr_features_options options = {.budget = 1 << 20};
    int status = GR_ERROR_MEMORY;
    (void)state;
    gr_features_free(keep(net, data, 1 << 20)); /* decoded photos stay with the data set */
    size_t before = gr_memory().blocks;
    for (long n = 1; status; n++) {
        struct gr_features *features = NULL;
        gr_memory_fail(n, true);
        status = gr_features_create(&features, net, sets, 1, &options);
        gr_memory_fail(0, false);
        assert_true(status == GR_OK || status == GR_ERROR_MEMORY);
        gr_features_free(features);
        assert_int_equal(gr_memory().blocks, before);
    }
    gr_network_free(net);
    gr_data_free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_frozen_body_is_run_once, make_work, remove_work),
        cmocka_unit_test_setup_teardown(a_frozen_stem_is_run_once, make_work, remove_work),
        cmocka_unit_test_setup_teardown(the_same_features_on_every_run_and_any_threads, make_work,
                                        remove_work),
        cmocka_unit_test_setup_teardown(none_are_kept_without_a_frozen_part_or_over_the_budget, make_work,
                                        remove_work),
        cmocka_unit_test_setup_teardown(freezing_makes_features_stale, make_work, remove_work),
        cmocka_unit_test_setup_teardown(features_of_other_data_are_refused, make_work, remove_work),
        cmocka_unit_test_setup_teardown(every_failed_allocation_is_survived, make_work, remove_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
