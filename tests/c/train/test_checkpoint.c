/* Checkpoints: going on after a stop gives the same bits as never stopping. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "io/model.h"
#include "small_network.h"
#include "train/checkpoint.h"
#include "train/snapshot.h"

#include <math.h>
#include <unistd.h>

enum { N = 4, K = 3, PHOTO = 3 * 16 * 16, STEPS = 7 };
static const struct gr_shape input = {3, 16, 16, false};
static char path[] = "/tmp/graft-checkpoint-XXXXXX";

static int setup(void **state) {
    int fd = mkstemp(path);
    (void)state;
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static int teardown(void **state) {
    (void)state;
    return unlink(path);
}

struct training {
    struct gr_network *net;
    struct gr_trainer *trainer;
};

/* A network with a frozen stage, dropout and an auxiliary classifier. */
static struct training start(enum gr_optimizer_kind kind, uint64_t weights_seed) {
    static const char *const frozen = "layer1";
    struct training t = {.net = small_network(weights_seed)};
    struct gr_trainer_options options = {
        .loss = {.kind = GR_CROSS_ENTROPY, .label_smoothing = 0.1f},
        .optimizer = {.kind = kind,
                      .lr = 0.01f,
                      .momentum = 0.9f,
                      .weight_decay = 0.01f,
                      .beta1 = 0.9f,
                      .beta2 = 0.999f,
                      .alpha = 0.99f,
                      .eps = 1e-8f},
        .schedule = {.kind = GR_COSINE, .warmup = 0.3f},
        .steps = STEPS,
        .seed = 11,
        .fit = 2,
    };
    WORKS(gr_network_add_aux(t.net, "layer1", &(struct gr_aux_options){.weight = 0.3f}));
    WORKS(gr_network_freeze(t.net, &frozen, 1, true));
    WORKS(gr_trainer_create(&t.trainer, t.net, &options));
    return t;
}

static void end(struct training *t) {
    gr_trainer_free(t->trainer);
    gr_network_free(t->net);
}

/* The batch of a step depends on the step alone, as a loader's does. */
static void step(struct training *t) {
    float x[N * PHOTO], y[N * K] = {0};
    struct gr_random random = gr_random(3, GR_RANDOM_TENSOR, (uint64_t)gr_trainer_steps(t->trainer), 0, 0);
    double loss;
    for (int i = 0; i < N * PHOTO; i++)
        x[i] = gr_random_normal(&random);
    for (int i = 0; i < N; i++)
        y[i * K + gr_random_below(&random, K)] = 1;
    WORKS(gr_trainer_step(t->trainer, N, input, x, K, y, &loss));
}

/* Network and optimiser in one number. */
static void digest(struct training *t, const char *file, char hex[65]) {
    struct gr_progress progress = {.best = NAN};
    struct gr_weights *weights;
    WORKS(gr_checkpoint_save(t->trainer, &progress, file));
    WORKS(gr_weights_read(&weights, file));
    WORKS(gr_weights_digest(weights, hex));
    gr_weights_free(weights);
}

/* What is held in memory is that moment's, whatever happens before it is written; every failed allocation on
 * the way is survived. */
static void a_checkpoint_can_wait_in_memory(void **state) {
    char then[65], written[65];
    struct gr_progress progress = {.best = NAN, .epoch = 2};
    struct training t = start(GR_ADAM, 1);
    struct gr_weights *held = NULL, *read;
    (void)state;
    step(&t);
    digest(&t, path, then);
    long failures = 0;
    for (;; failures++) {
        size_t blocks = gr_memory().blocks;
        gr_memory_fail(failures + 1, false);
        int status = gr_checkpoint_hold(&held, t.trainer, &progress);
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_null(held);
        assert_int_equal(gr_memory().blocks, blocks);
    }
    assert_true(failures > 10);
    for (int i = 0; i < 3; i++)
        step(&t);
    WORKS(gr_weights_write(held, path));
    gr_weights_free(held);
    WORKS(gr_weights_read(&read, path));
    WORKS(gr_weights_digest(read, written));
    gr_weights_free(read);
    assert_string_equal(then, written);
    end(&t);
}

static void check_resume(enum gr_optimizer_kind kind) {
    char whole[65], resumed[65];
    struct gr_progress progress = {.epoch = 3, .batch = 2, .best = 0.1 + 0.2, .best_epoch = 2}, back;
    struct training a = start(kind, 1), b = start(kind, 1), c = start(kind, 99);
    progress.record = cJSON_Parse("{\"rows\":[1,2.5]}");
    for (int i = 0; i < STEPS; i++)
        step(&a);
    for (int i = 0; i < 3; i++)
        step(&b);
    WORKS(gr_checkpoint_save(b.trainer, &progress, path));
    WORKS(gr_checkpoint_load(c.trainer, path, &back));
    assert_int_equal(gr_trainer_steps(c.trainer), 3);
    assert_int_equal(back.epoch, 3);
    assert_int_equal(back.batch, 2);
    assert_int_equal(back.best_epoch, 2);
    assert_true(back.best == progress.best);
    assert_true(cJSON_Compare(back.record, progress.record, true));
    for (int i = 3; i < STEPS; i++)
        step(&c);
    digest(&a, path, whole);
    digest(&c, path, resumed);
    assert_string_equal(whole, resumed);
    cJSON_Delete(progress.record);
    cJSON_Delete(back.record);
    end(&a);
    end(&b);
    end(&c);
}

static void test_resume(void **state) {
    (void)state;
    check_resume(GR_SGD);
    check_resume(GR_ADAM);
    check_resume(GR_ADAMW);
    check_resume(GR_RMSPROP);
}

/* A checkpoint is a model that anyone can load. */
static void test_is_a_model(void **state) {
    struct training t = start(GR_ADAM, 1);
    struct gr_progress progress = {.best = NAN};
    struct gr_weights *weights;
    struct gr_network *net;
    char a[65], b[65];
    (void)state;
    step(&t);
    WORKS(gr_checkpoint_save(t.trainer, &progress, path));
    WORKS(gr_weights_read(&weights, path));
    assert_true(gr_model_is(weights));
    assert_non_null(gr_weights_find(weights, "optimizer.mean:fc.weight"));
    assert_null(gr_weights_find(weights, "optimizer.mean:layer1.0.conv1.weight"));
    WORKS(gr_model_load(&net, weights, 1, false));
    WORKS(gr_network_digest(t.net, false, a, NULL));
    WORKS(gr_network_digest(net, false, b, NULL));
    assert_string_equal(a, b);
    gr_weights_free(weights);
    gr_network_free(net);
    end(&t);
}

static void refuse(struct training *t, int expected) {
    struct gr_progress progress;
    char before[65], after[65];
    WORKS(gr_network_digest(t->net, false, before, NULL));
    assert_int_equal(gr_checkpoint_load(t->trainer, path, &progress), expected);
    assert_non_null(strstr(gr_error()->message, path));
    WORKS(gr_network_digest(t->net, false, after, NULL));
    assert_string_equal(before, after);
    assert_int_equal(gr_trainer_steps(t->trainer), 0);
    end(t);
}

static void test_refusals(void **state) {
    static const char *const two[] = {"x", "y"};
    struct training t = start(GR_ADAM, 1), other;
    struct gr_progress progress = {.best = NAN};
    (void)state;
    step(&t);
    WORKS(gr_checkpoint_save(t.trainer, &progress, path));
    other = start(GR_SGD, 2);
    refuse(&other, GR_ERROR_OPTION);
    other = start(GR_ADAM, 2);
    WORKS(gr_network_replace_head(other.net, two, 2, NULL));
    refuse(&other, GR_ERROR_SHAPE);
    other = start(GR_ADAM, 2);
    WORKS(gr_network_add_aux(other.net, "conv1", &(struct gr_aux_options){.weight = 1}));
    refuse(&other, GR_ERROR_NAME);
    WORKS(gr_model_save(t.net, path, true)); /* a model without a training */
    other = start(GR_ADAM, 2);
    refuse(&other, GR_ERROR_FILE);
    end(&t);
}

/* Memory that runs out while saving leaves the old file whole. */
static void test_saving_fails(void **state) {
    struct training t = start(GR_SGD, 1), back = start(GR_SGD, 2);
    struct gr_progress progress = {.best = NAN, .epoch = 1};
    (void)state;
    WORKS(gr_checkpoint_save(t.trainer, &progress, path));
    step(&t);
    progress.epoch = 2;
    size_t blocks = gr_memory().blocks;
    for (long n = 1;; n++) {
        struct gr_progress found;
        gr_memory_fail(n, true);
        int status = gr_checkpoint_save(t.trainer, &progress, path);
        gr_memory_fail(0, false);
        if (!status)
            break;
        assert_int_equal(gr_memory().blocks, blocks);
        if (n % 16)
            continue;
        struct training check = start(GR_SGD, 2);
        WORKS(gr_checkpoint_load(check.trainer, path, &found));
        assert_int_equal(found.epoch, 1);
        end(&check);
    }
    struct gr_progress found;
    WORKS(gr_checkpoint_load(back.trainer, path, &found));
    assert_int_equal(found.epoch, 2);
    end(&t);
    end(&back);
}

static void test_snapshot(void **state) {
    struct training t = start(GR_SGD, 1);
    struct gr_snapshot *snapshot;
    static const char *const two[] = {"x", "y"};
    char before[65], after[65];
    (void)state;
    WORKS(gr_snapshot_take(&snapshot, t.net, true));
    WORKS(gr_network_digest(t.net, false, before, NULL));
    step(&t);
    WORKS(gr_network_digest(t.net, false, after, NULL));
    assert_string_not_equal(before, after);
    WORKS(gr_snapshot_restore(snapshot, t.net));
    WORKS(gr_network_digest(t.net, false, after, NULL));
    assert_string_equal(before, after);
    step(&t);
    WORKS(gr_snapshot_update(snapshot, t.net));
    WORKS(gr_network_digest(t.net, false, before, NULL));
    step(&t);
    WORKS(gr_snapshot_restore(snapshot, t.net));
    WORKS(gr_network_digest(t.net, false, after, NULL));
    assert_string_equal(before, after);
    WORKS(gr_network_replace_head(t.net, two, 2, NULL));
    assert_int_equal(gr_snapshot_restore(snapshot, t.net), GR_ERROR_SHAPE);
    gr_snapshot_free(snapshot);
    end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_can_wait_in_memory),
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_is_a_model),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_saving_fails),
        cmocka_unit_test(test_snapshot),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
