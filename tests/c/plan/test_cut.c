/* Where training can be cut: the smallest tensors from which the rest can be computed without running a layer
 * that has parameters again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "plan/plan.h"
#include "small_network.h"

enum { MOST = 64 };

static struct gr_network *start(void) {
    struct gr_network *net;
    WORKS(gr_network_create(&net, "drawn", (struct gr_shape){3, 16, 16, false}, NULL, 1));
    return net;
}

/* Freezes the convolutions whose names begin with "frozen". */
static void freeze(struct gr_network *net) {
    const char *pattern = "frozen*";
    WORKS(gr_network_freeze(net, &pattern, 1, true));
}

static const char *cut_of(const struct gr_network *net) {
    static char names[512];
    struct gr_layer *cut[MOST];
    int count;
    WORKS(gr_plan_cut(net, cut, &count));
    names[0] = 0;
    for (int i = 0; i < count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? " " : "", cut[i]->name);
    return names;
}

static void what_blows_a_small_map_up_runs_again(void **state) {
    struct gr_network *net = start();
    (void)state;
    struct gr_layer *x = small_add(net, "frozen", "conv2d", "{\"out\":4,\"kernel\":3}", net->layers[0], NULL);
    x = small_add(net, "relu", "relu", NULL, x, NULL);
    x = small_add(net, "small", "max_pool", "{\"kernel\":4,\"stride\":4}", x, NULL);
    x = small_add(net, "large", "adaptive_avg_pool", "{\"size\":7}", x, NULL);
    x = small_add(net, "flat", "flatten", NULL, x, NULL);
    x = small_add(net, "fc", "linear", "{\"out\":3}", x, NULL);
    WORKS(gr_network_finish(net, x, "fc", NULL, 0));
    freeze(net);
    assert_string_equal(cut_of(net), "small");
    gr_network_free(net);
}

static void what_is_made_of_a_kept_tensor_is_not_kept(void **state) {
    struct gr_network *net = start();
    (void)state;
    struct gr_layer *x = small_add(net, "frozen", "conv2d", "{\"out\":4,\"kernel\":3}", net->layers[0], NULL);
    struct gr_layer *y =
        small_add(net, "pool", "max_pool", "{\"kernel\":3,\"stride\":1,\"padding\":1}", x, NULL);
    x = small_add(net, "a", "conv2d", "{\"out\":2,\"kernel\":1}", x, NULL);
    y = small_add(net, "b", "conv2d", "{\"out\":2,\"kernel\":1}", y, NULL);
    x = small_add(net, "join", "concat", NULL, x, y);
    x = small_add(net, "mean", "global_avg_pool", NULL, x, NULL);
    x = small_add(net, "fc", "linear", "{\"out\":3}", x, NULL);
    WORKS(gr_network_finish(net, x, "fc", NULL, 0));
    freeze(net);
    assert_string_equal(cut_of(net), "frozen");
    gr_network_free(net);
}

/* ---- against trying everything ---- */

/* A drawn network: frozen convolutions and layers without parameters in any order, then trained convolutions
 * that read some of them. */
static struct gr_network *draw(struct gr_random *random) {
    static const struct {
        const char *kind, *options;
    } kinds[] = {{"conv2d", "{\"out\":3,\"kernel\":3,\"padding\":1}"},
                 {"conv2d", "{\"out\":5,\"kernel\":1}"},
                 {"relu", NULL},
                 {"max_pool", "{\"kernel\":3,\"stride\":1,\"padding\":1}"},
                 {"concat", NULL},
                 {"concat", NULL}};
    struct gr_network *net = start();
    struct gr_layer *tops[3] = {NULL}, *x;
    int body = 6 + (int)gr_random_below(random, 6), readers = 1 + (int)gr_random_below(random, 3);
    char name[32];
    for (int i = 0; i < body; i++) {
        size_t kind = i < 2 ? 0 : (size_t)gr_random_below(random, 6);
        bool two = kind > 3;
        struct gr_layer *a = net->layers[i < 2 ? i : 1 + gr_random_below(random, i)];
        struct gr_layer *b = net->layers[i < 2 ? i : 1 + gr_random_below(random, i)];
        snprintf(name, sizeof name, "frozen%d", i);
        small_add(net, name, kinds[kind].kind, kinds[kind].options, a, two ? b : NULL);
    }
    for (int i = 0; i < readers; i++) {
        snprintf(name, sizeof name, "trained%d", i);
        x = net->layers[i ? 1 + gr_random_below(random, body) : body];
        tops[i] = small_add(net, name, "conv2d", "{\"out\":2,\"kernel\":1}", x, NULL);
    }
    x = tops[0];
    for (int i = 1; i < readers; i++)
        x = small_add(net, NULL, "concat", NULL, x, tops[i]);
    x = small_add(net, NULL, "global_avg_pool", NULL, x, NULL);
    x = small_add(net, "fc", "linear", "{\"out\":3}", x, NULL);
    WORKS(gr_network_finish(net, x, "fc", NULL, 0));
    freeze(net);
    return net;
}

/* True when `layer` can be had from the chosen ones by layers without parameters. */
static bool can_be_had(const struct gr_layer *layer, unsigned chosen) {
    if (layer->index == 0)
        return false;
    if (chosen >> layer->index & 1)
        return true;
    if (layer->param_count > 0)
        return false;
    for (int j = 0; j < layer->input_count; j++)
        if (!can_be_had(layer->inputs[j], chosen))
            return false;
    return true;
}

static bool separates(const struct gr_network *net, unsigned chosen) {
    for (int i = 0; i < net->layer_count; i++)
        if (!strncmp(net->layers[i]->name, "trained", 7) && !can_be_had(net->layers[i]->inputs[0], chosen))
            return false;
    return true;
}

static int64_t size_of(const struct gr_network *net, unsigned chosen) {
    int64_t size = 0;
    for (int i = 0; i < net->layer_count; i++)
        if (chosen >> i & 1)
            size += gr_shape_size(net->layers[i]->shape);
    return size;
}

static void no_other_cut_is_smaller(void **state) {
    struct gr_random random = gr_random(7, GR_RANDOM_SAMPLE, 0, 0, 0);
    int better_than_latest = 0;
    (void)state;
    for (int round = 0; round < 150; round++) {
        struct gr_network *net = draw(&random);
        struct gr_layer *cut[MOST];
        unsigned chosen = 0, latest = 0, body = 0;
        int count;
        WORKS(gr_plan_cut(net, cut, &count));
        for (int i = 0; i < count; i++)
            chosen |= 1U << cut[i]->index;
        for (int i = 1; i < net->layer_count; i++) {
            body += !strncmp(net->layers[i]->name, "frozen", 6);
            if (!strncmp(net->layers[i]->name, "trained", 7))
                latest |= 1U << net->layers[i]->inputs[0]->index;
        }
        assert_true(separates(net, chosen));
        int64_t size = size_of(net, chosen);
        for (unsigned other = 0; other < 1U << body; other++)
            if (size_of(net, other << 1) < size)
                assert_false(separates(net, other << 1));
        better_than_latest += size < size_of(net, latest);
        gr_network_free(net);
    }
    assert_true(better_than_latest > 5); /* else this would prove nothing */
}

static void every_failed_allocation_is_survived(void **state) {
    struct gr_random random = gr_random(3, GR_RANDOM_SAMPLE, 0, 0, 0);
    struct gr_network *net = draw(&random);
    struct gr_layer *cut[MOST];
    size_t before = gr_memory().blocks;
    int status = GR_ERROR_MEMORY, count;
    (void)state;
    for (long n = 1; status; n++) {
        gr_memory_fail(n, true);
        status = gr_plan_cut(net, cut, &count);
        gr_memory_fail(0, false);
        assert_true(status == GR_OK || status == GR_ERROR_MEMORY);
        assert_true(status == GR_OK || count == 0);
        assert_int_equal(gr_memory().blocks, before);
    }
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_blows_a_small_map_up_runs_again),
        cmocka_unit_test(what_is_made_of_a_kept_tensor_is_not_kept),
        cmocka_unit_test(no_other_cut_is_smaller),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
