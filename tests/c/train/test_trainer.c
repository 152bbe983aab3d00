/* The trainer: frozen means untouched, rates, heads, numbers that stop being finite. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "small_network.h"
#include "train/checkpoint.h"
#include "train/trainer.h"

#include <math.h>
#include <unistd.h>

enum { N = 6, K = 3, PHOTO = 3 * 16 * 16 };
static const struct gr_shape input = {3, 16, 16, false};
static float photos[N * PHOTO], targets[N * K];
static char digest_apart[65];

static int setup(void **state) {
    struct gr_random random = gr_random(5, GR_RANDOM_TENSOR, 0, 0, 0);
    (void)state;
    for (int i = 0; i < N * PHOTO; i++)
        photos[i] = gr_random_normal(&random);
    memset(targets, 0, sizeof targets);
    for (int i = 0; i < N; i++)
        targets[i * K + i % K] = 1;
    return 0;
}

/* SGD with momentum and weight decay, which is what would move frozen weights. */
static struct gr_trainer_options usual(void) {
    return (struct gr_trainer_options){
        .loss = {.kind = GR_CROSS_ENTROPY},
        .optimizer = {.kind = GR_SGD, .lr = 0.05f, .momentum = 0.9f, .weight_decay = 0.1f},
        .seed = 1,
        .fit = 1,
    };
}

static double step(struct gr_trainer *trainer) {
    double loss = 0;
    WORKS(gr_trainer_step(trainer, N, input, photos, K, targets, &loss));
    return loss;
}

static struct gr_trainer *start(struct gr_network *net) {
    struct gr_trainer_options options = usual();
    struct gr_trainer *trainer;
    WORKS(gr_trainer_create(&trainer, net, &options));
    return trainer;
}

/* Freezes exactly these layers, trains ten steps, and compares every tensor, statistics included, bit by bit.
 */
static void check_frozen(const char *const *patterns, int count) {
    struct gr_network *net = small_network(1), *before;
    WORKS(gr_network_freeze(net, patterns, count, true));
    WORKS(gr_network_clone(&before, net));
    struct gr_trainer *trainer = start(net);
    char a[65], b[65];
    for (int i = 0; i < 10; i++)
        step(trainer);
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++) {
            const struct gr_param *now = &net->layers[i]->params[j], *then = &before->layers[i]->params[j];
            size_t bytes = gr_tensor_bytes(&now->tensor);
            bool same = memcmp(gr_tensor_data(&now->tensor), gr_tensor_data(&then->tensor), bytes) == 0;
            if (same != net->layers[i]->frozen)
                print_error("%s %s\n", now->name, same ? "did not change" : "changed");
            assert_int_equal(same, net->layers[i]->frozen);
        }
    WORKS(gr_network_digest(net, true, a, NULL));
    WORKS(gr_network_digest(before, true, b, NULL));
    assert_string_equal(a, b);
    gr_trainer_free(trainer);
    gr_network_free(net);
    gr_network_free(before);
}

static void test_frozen_prefix(void **state) {
    (void)state;
    check_frozen((const char *const[]){"conv1", "bn1", "layer1"}, 3);
}

static void test_frozen_in_the_middle(void **state) {
    (void)state;
    check_frozen((const char *const[]){"layer1.0.conv2", "layer2.0.bn1"}, 2);
    check_frozen((const char *const[]){"layer1.0.bn1"}, 1);
    check_frozen((const char *const[]){"layer2", "fc"}, 2);
    check_frozen((const char *const[]){"*bn?"}, 1);
}

static void test_frozen_body(void **state) {
    (void)state;
    check_frozen((const char *const[]){"body"}, 1);
}

static void test_everything_frozen(void **state) {
    struct gr_network *net = small_network(1);
    const char *all = "*";
    double loss;
    (void)state;
    WORKS(gr_network_freeze(net, &all, 1, true));
    struct gr_trainer *trainer = start(net);
    assert_int_equal(gr_trainer_step(trainer, N, input, photos, K, targets, &loss), GR_ERROR_OPTION);
    assert_non_null(strstr(gr_error()->message, "frozen"));
    WORKS(gr_network_freeze(net, &all, 1, false));
    step(trainer);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

static void test_learns(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    double first = step(trainer), last = 0;
    (void)state;
    for (int i = 0; i < 60; i++)
        last = step(trainer);
    assert_true(last < 0.6 * first);
    assert_int_equal(gr_trainer_steps(trainer), 61);
    assert_non_null(gr_trainer_logits(trainer));
    gr_trainer_free(trainer);
    gr_network_free(net);
}

/* Freezing between steps takes effect at the next one; what the optimiser knew is kept and used again. */
static void test_freezing_between_steps(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    const char *body = "body";
    struct gr_slot *slot;
    (void)state;
    step(trainer);
    struct gr_param *param = gr_network_param(net, "conv1.weight");
    WORKS(gr_optimizer_slot(gr_trainer_optimizer(trainer), param, &slot));
    float momentum = gr_tensor_floats(&slot->moments[0])[0], value = gr_tensor_floats(&param->tensor)[0];
    assert_true(momentum != 0);
    WORKS(gr_network_freeze(net, &body, 1, true));
    step(trainer);
    assert_true(gr_tensor_floats(&param->tensor)[0] == value);
    assert_true(gr_tensor_floats(&slot->moments[0])[0] == momentum && slot->steps == 1);
    WORKS(gr_network_freeze(net, &body, 1, false));
    step(trainer);
    assert_true(gr_tensor_floats(&param->tensor)[0] != value);
    assert_int_equal(slot->steps, 2);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

/* How far one Adam step moves a weight at a given scale of its layer. */
static double adam_move(float scale) {
    struct gr_network *net = small_network(1);
    struct gr_trainer_options options = usual();
    struct gr_rate_rule rule = {"fc", scale};
    struct gr_trainer *trainer;
    options.optimizer = (struct gr_optimizer_options){
        .kind = GR_ADAM, .lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f};
    WORKS(gr_network_lr_scale(net, &rule, 1));
    WORKS(gr_trainer_create(&trainer, net, &options));
    float *weight = gr_tensor_floats(&gr_network_param(net, "fc.weight")->tensor), before = weight[0];
    step(trainer);
    double move = (double)weight[0] - before;
    gr_trainer_free(trainer);
    gr_network_free(net);
    return move;
}

static void test_rate_multiplies_the_rate(void **state) {
    double whole = adam_move(1), tenth = adam_move(0.1f);
    (void)state;
    assert_true(fabs(fabs(whole) - 0.01) < 1e-5); /* Adam's first step is the rate, whatever the gradient */
    assert_true(fabs(tenth / whole - 0.1) < 1e-3);
}

static void test_aux_losses(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    int count;
    (void)state;
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.25f, .hidden = 4}));
    struct gr_param *param = gr_network_param(net, "aux.layer1.fc.weight");
    float before = gr_tensor_floats(&param->tensor)[0];
    double total = step(trainer);
    const double *losses = gr_trainer_losses(trainer, &count);
    assert_int_equal(count, 2);
    assert_true(fabs(total - (losses[0] + 0.25 * losses[1])) < 1e-9);
    assert_true(gr_tensor_floats(&param->tensor)[0] != before);
    WORKS(gr_network_remove_aux(net, NULL));
    total = step(trainer);
    losses = gr_trainer_losses(trainer, &count);
    assert_int_equal(count, 1);
    assert_true(total == losses[0]);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

/* A step that goes wrong leaves network, statistics and optimiser as they were. */
static void check_rejected(struct gr_trainer *trainer, struct gr_network *net, const float *x, int expected) {
    char before[65], after[65];
    double loss;
    int64_t steps = gr_trainer_steps(trainer);
    WORKS(gr_network_digest(net, false, before, NULL));
    assert_int_equal(gr_trainer_step(trainer, N, input, x, K, targets, &loss), expected);
    WORKS(gr_network_digest(net, false, after, NULL));
    assert_string_equal(before, after);
    assert_int_equal(gr_trainer_steps(trainer), steps);
}

static void test_numbers_stay_finite(void **state) {
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f};
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    float x[N * PHOTO];
    (void)state;
    step(trainer);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(x, photos, sizeof x);
        x[100] = bad[i];
        x[PHOTO + 7] = bad[i];
        check_rejected(trainer, net, x, GR_ERROR_NUMBER);
        assert_non_null(strstr(gr_error()->message, "step 2"));
    }
    assert_true(isfinite(step(trainer)));
    gr_trainer_free(trainer);
    gr_network_free(net);
}

struct own {
    int calls, fail;
    float huge; /* what every gradient becomes, unless 0 */
};

static int own_loss(void *payload, int head, int n, int k, const float *logits, const float *y, double *value,
                    float *gradient) {
    struct own *own = payload;
    struct gr_loss loss = {.kind = GR_MEAN_SQUARED_ERROR};
    own->calls++;
    if (own->fail)
        return GR_ERROR_USER;
    for (int i = 0; own->huge != 0 && i < n * k; i++) {
        gradient[i] = own->huge;
        *value = 1;
    }
    return own->huge != 0 ? GR_OK : gr_loss(&loss, head, n, k, logits, y, value, gradient);
}

static void test_own_loss(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer_options options = usual();
    struct own own = {0};
    struct gr_trainer *trainer;
    (void)state;
    options.loss = (struct gr_loss){.kind = GR_CALLBACK_LOSS, .callback = own_loss, .payload = &own};
    WORKS(gr_trainer_create(&trainer, net, &options));
    step(trainer);
    assert_int_equal(own.calls, 1);
    own.fail = 1;
    check_rejected(trainer, net, photos, GR_ERROR_USER);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

static void test_clip(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer_options options = usual();
    struct gr_trainer *trainer;
    double moved = 0;
    (void)state;
    options.optimizer = (struct gr_optimizer_options){.kind = GR_SGD, .lr = 1};
    options.clip = 1e-3f;
    WORKS(gr_trainer_create(&trainer, net, &options));
    struct gr_network *before;
    WORKS(gr_network_clone(&before, net));
    step(trainer);
    assert_true(gr_trainer_norm(trainer) > 1e-3);
    for (int i = 0; i < net->layer_count; i++)
        for (int j = 0; j < net->layers[i]->param_count; j++) {
            const struct gr_param *now = &net->layers[i]->params[j], *then = &before->layers[i]->params[j];
            if (now->buffer)
                continue;
            for (int64_t e = 0; e < gr_tensor_count(&now->tensor); e++) {
                double d = (double)gr_tensor_floats(&now->tensor)[e] - gr_tensor_floats(&then->tensor)[e];
                moved += d * d;
            }
        }
    assert_true(fabs(sqrt(moved) / 1e-3 - 1) < 1e-2);
    gr_trainer_free(trainer);
    gr_network_free(net);
    gr_network_free(before);
}

/* Five steps of batches of two sizes; the digest of all tensors, and the last step's norm and plan. */
static double train_so(char hex[65], struct gr_trainer_options options, const char *frozen, bool at_once,
                       size_t *memory) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer;
    double loss;
    options.at_once = at_once;
    WORKS(gr_network_add_aux(net, "layer1", &(struct gr_aux_options){.weight = 0.25f, .hidden = 4}));
    if (frozen)
        WORKS(gr_network_freeze(net, &frozen, 1, true));
    WORKS(gr_trainer_create(&trainer, net, &options));
    for (int i = 0; i < 5; i++)
        WORKS(gr_trainer_step(trainer, i % 2 ? N - 2 : N, input, photos, K, targets, &loss));
    *memory = gr_plan_memory(gr_trainer_plan(trainer));
    double norm = gr_trainer_norm(trainer);
    WORKS(gr_network_digest(net, false, hex, NULL));
    gr_trainer_free(trainer);
    gr_network_free(net);
    return norm;
}

static struct gr_optimizer_options adaptive(enum gr_optimizer_kind kind) {
    return (struct gr_optimizer_options){.kind = kind,
                                         .lr = 1e-3f,
                                         .momentum = 0.5f,
                                         .weight_decay = 0.01f,
                                         .beta1 = 0.9f,
                                         .beta2 = 0.99f,
                                         .alpha = 0.9f,
                                         .eps = 1e-8f};
}

static void test_updates_at_once(void **state) {
    static const enum gr_optimizer_kind kinds[] = {GR_SGD, GR_ADAM, GR_ADAMW, GR_RMSPROP};
    static const char *const frozen[] = {NULL, "layer1.0.conv2", "*bn?", "layer2", "body"};
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t f = 0; f < sizeof frozen / sizeof *frozen; f++) {
            struct gr_trainer_options options = usual();
            char apart[65], at_once[65];
            size_t memory_apart, memory;
            options.optimizer.kind = kinds[k];
            if (kinds[k] != GR_SGD)
                options.optimizer = adaptive(kinds[k]);
            double norm = train_so(apart, options, frozen[f], false, &memory_apart);
            assert_true(train_so(at_once, options, frozen[f], true, &memory) == norm);
            assert_string_equal(apart, at_once);
            assert_true(memory < memory_apart);
        }
    struct gr_trainer_options clipped = usual(); /* needs all gradients at once: the separate way */
    char apart[65], at_once[65];
    size_t memory_apart, memory;
    clipped.clip = 0.1f;
    assert_true(train_so(apart, clipped, NULL, false, &memory_apart) ==
                train_so(at_once, clipped, NULL, true, &memory));
    assert_string_equal(apart, at_once);
    assert_int_equal(memory, memory_apart);
}

/* A gradient that overflows below the classifier, which has finite ones itself. */
static void overflow(struct gr_network *net, struct own *own) {
    struct gr_param *weight = gr_network_param(net, "fc.weight");
    for (int64_t i = 0; i < gr_tensor_count(&weight->tensor); i++)
        gr_tensor_floats(&weight->tensor)[i] *= 1e6f;
    gr_param_touch(weight);
    own->huge = 1e35f;
}

static void test_a_gradient_overflows(void **state) {
    char path[] = "/tmp/graft-trainer-XXXXXX";
    int file = mkstemp(path);
    struct own own = {0};
    struct gr_trainer_options options = usual();
    struct gr_progress progress = {0};
    (void)state;
    assert_true(file >= 0);
    close(file);
    options.loss = (struct gr_loss){.kind = GR_CALLBACK_LOSS, .callback = own_loss, .payload = &own};
    for (int at_once = 0; at_once < 2; at_once++) {
        struct gr_network *net = small_network(1);
        struct gr_trainer *trainer;
        char before[65], after[65];
        double loss;
        options.at_once = at_once;
        WORKS(gr_trainer_create(&trainer, net, &options));
        step(trainer);
        WORKS(gr_checkpoint_save(trainer, &progress, path));
        overflow(net, &own);
        if (!at_once) {
            check_rejected(trainer, net, photos, GR_ERROR_NUMBER);
            assert_non_null(strstr(gr_error()->message, "nothing of that step was kept"));
        } else {
            assert_int_equal(gr_trainer_step(trainer, N, input, photos, K, targets, &loss), GR_ERROR_NUMBER);
            assert_non_null(strstr(gr_error()->message, "go on from the last checkpoint"));
            own.huge = 0;
            assert_int_equal(gr_trainer_step(trainer, N, input, photos, K, targets, &loss), GR_ERROR_OPTION);
            assert_non_null(strstr(gr_error()->message, "restore a checkpoint"));
        }
        own.huge = 0;
        WORKS(gr_checkpoint_load(trainer, path, &progress));
        assert_int_equal(gr_trainer_steps(trainer), 1);
        step(trainer);
        WORKS(gr_network_digest(net, false, at_once ? after : before, NULL));
        gr_trainer_free(trainer);
        gr_network_free(net);
        if (!at_once)
            memcpy(digest_apart, before, sizeof before);
        else
            assert_string_equal(digest_apart, after); /* both went on from the same place, to the same one */
    }
    remove(path);
}

static void train(char hex[65], int capacity, int batches) {
    struct gr_network *net = small_network(1);
    struct gr_trainer_options options = usual();
    struct gr_trainer *trainer;
    double loss;
    options.capacity = capacity;
    options.steps = batches;
    options.schedule = (struct gr_schedule){.kind = GR_COSINE, .warmup = 0.2f};
    WORKS(gr_trainer_create(&trainer, net, &options));
    for (int i = 0; i < batches; i++)
        WORKS(gr_trainer_step(trainer, i % 2 ? N : N - 2, input, photos, K, targets, &loss));
    WORKS(gr_network_digest(net, false, hex, NULL));
    gr_trainer_free(trainer);
    gr_network_free(net);
}

static void test_repeats(void **state) {
    char a[65], b[65];
    (void)state;
    train(a, N, 8);
    train(b, N, 8);
    assert_string_equal(a, b);
}

static void test_fixed_norms(void **state) {
    struct gr_network *net = small_network(1);
    const char *all = "*";
    (void)state;
    WORKS(gr_network_fix_norms(net, &all, 1, true));
    struct gr_trainer *trainer = start(net);
    float mean = gr_tensor_floats(&gr_network_param(net, "bn1.running_mean")->tensor)[0];
    float weight = gr_tensor_floats(&gr_network_param(net, "bn1.weight")->tensor)[0];
    step(trainer);
    assert_true(gr_tensor_floats(&gr_network_param(net, "bn1.running_mean")->tensor)[0] == mean);
    assert_true(gr_tensor_floats(&gr_network_param(net, "bn1.weight")->tensor)[0] != weight);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

static void test_wrong_targets(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    double loss;
    (void)state;
    assert_int_equal(gr_trainer_step(trainer, N, input, photos, 2, targets, &loss), GR_ERROR_SHAPE);
    assert_int_equal(gr_trainer_step(trainer, 0, input, photos, K, targets, &loss), GR_ERROR_SHAPE);
    assert_int_equal(
        gr_trainer_step(trainer, N, (struct gr_shape){1, 16, 16, false}, photos, K, targets, &loss),
        GR_ERROR_SHAPE);
    step(trainer);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

static void test_memory_runs_out(void **state) {
    struct gr_network *net = small_network(1);
    (void)state;
    for (long n = 1;; n++) {
        struct gr_trainer_options options = usual();
        struct gr_trainer *trainer = NULL;
        double loss;
        size_t blocks = gr_memory().blocks;
        gr_memory_fail(n, true);
        int status = gr_trainer_create(&trainer, net, &options);
        if (!status)
            status = gr_trainer_step(trainer, N, input, photos, K, targets, &loss);
        gr_memory_fail(0, false);
        gr_trainer_free(trainer);
        assert_int_equal(gr_memory().blocks, blocks);
        if (!status)
            break;
        assert_int_equal(status, GR_ERROR_MEMORY);
    }
    gr_network_free(net);
}

static void test_prepared_before_the_first_step(void **state) {
    struct gr_network *net = small_network(1);
    struct gr_trainer *trainer = start(net);
    (void)state;
    assert_null(gr_trainer_plan(trainer));
    assert_int_equal(gr_trainer_prepare(trainer, 0, input), GR_ERROR_SHAPE);
    WORKS(gr_trainer_prepare(trainer, N, input));
    struct gr_plan *plan = gr_trainer_plan(trainer);
    assert_non_null(plan);
    size_t blocks = gr_memory().blocks;
    double prepared = step(trainer);
    assert_ptr_equal(gr_trainer_plan(trainer), plan);
    assert_int_equal(gr_memory().blocks, blocks); /* nothing was left for the step to make */
    gr_trainer_free(trainer);
    gr_network_free(net);
    net = small_network(1);
    trainer = start(net);
    assert_true(step(trainer) == prepared);
    gr_trainer_free(trainer);
    gr_network_free(net);
}

/* Resting gives the plan's memory back, and changes nothing else. */
static void test_rests(void **state) {
    struct gr_network *nets[2] = {small_network(1), small_network(1)};
    struct gr_trainer *trainers[2] = {start(nets[0]), start(nets[1])};
    char digests[2][65];
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (int n = 0; n < 4; n++) {
            step(trainers[i]);
            size_t plan = gr_plan_memory(gr_trainer_plan(trainers[i])), live = gr_memory().live;
            if (i) {
                gr_trainer_rest(trainers[i]);
                assert_null(gr_trainer_plan(trainers[i]));
                assert_true(live - gr_memory().live >= plan);
            }
        }
        WORKS(gr_network_digest(nets[i], false, digests[i], NULL));
    }
    assert_string_equal(digests[0], digests[1]);
    for (int i = 0; i < 2; i++) {
        gr_trainer_free(trainers[i]);
        gr_network_free(nets[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frozen_prefix),
        cmocka_unit_test(test_frozen_in_the_middle),
        cmocka_unit_test(test_frozen_body),
        cmocka_unit_test(test_everything_frozen),
        cmocka_unit_test(test_learns),
        cmocka_unit_test(test_freezing_between_steps),
        cmocka_unit_test(test_rate_multiplies_the_rate),
        cmocka_unit_test(test_aux_losses),
        cmocka_unit_test(test_numbers_stay_finite),
        cmocka_unit_test(test_own_loss),
        cmocka_unit_test(test_clip),
        cmocka_unit_test(test_updates_at_once),
        cmocka_unit_test(test_a_gradient_overflows),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_fixed_norms),
        cmocka_unit_test(test_wrong_targets),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_prepared_before_the_first_step),
        cmocka_unit_test(test_rests),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
