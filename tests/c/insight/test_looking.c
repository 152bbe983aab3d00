#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/threads.h"
#include "insight/grad_cam.h"
#include "insight/occlusion.h"
#include "insight/pca.h"
#include "insight/picture.h"
#include "insight/tsne.h"
#include "plan/plan.h"
#include "small_network.h"

enum { PHOTOS = 3, SIDE = 16, PIXELS = 3 * SIDE * SIDE, CLASSES = 3 };

static const struct gr_shape input = {3, SIDE, SIDE, false};

static void fill(int count, float *x, unsigned seed) {
    for (int i = 0; i < count; i++) {
        seed = seed * 1664525U + 1013904223U;
        x[i] = (float)(seed >> 8) / (1 << 24) - 0.5F;
    }
}

/* ---- the gradient of a layer's output ---- */

/* Logit 1 of a photo whose layer has the output `maps`. */
static double logit_from(struct gr_network *net, struct gr_layer *layer, const float *maps) {
    struct gr_plan *plan = NULL;
    struct gr_plan_request request = {.capacity = 1,
                                      .input = input,
                                      .outputs = &net->output,
                                      .output_count = 1,
                                      .inputs = &layer,
                                      .input_count = 1,
                                      .exact = true};
    WORKS(gr_plan_create(&plan, net, &request));
    memcpy(gr_plan_given(plan, 0), maps, (size_t)gr_shape_size(layer->shape) * sizeof *maps);
    WORKS(gr_plan_forward(plan, 1, NULL));
    double logit = gr_plan_output(plan, 0)[1];
    gr_plan_free(plan);
    return logit;
}

/* Along the gradient the logit grows by its squared length. */
static void check_gradient(struct gr_network *net, struct gr_layer *layer, bool reference) {
    float maps[4 * SIDE * SIDE], moved[4 * SIDE * SIDE], *gradient;
    struct gr_layer *outputs[] = {net->output, layer};
    struct gr_plan *plan = NULL;
    size_t count = (size_t)gr_shape_size(layer->shape);
    struct gr_plan_request request = {.capacity = 2,
                                      .input = input,
                                      .outputs = outputs,
                                      .output_count = 2,
                                      .gradient_of = layer,
                                      .exact = true,
                                      .reference = reference};
    WORKS(gr_plan_create(&plan, net, &request));
    fill(PIXELS, gr_plan_input(plan), 7);
    WORKS(gr_plan_forward(plan, 1, NULL));
    memcpy(maps, gr_plan_output(plan, 1), count * sizeof *maps);
    memset(gr_plan_output_gradient(plan, 0), 0, CLASSES * sizeof(float));
    gr_plan_output_gradient(plan, 0)[1] = 1;
    gradient = gr_plan_gradient_of(plan);
    memset(gradient, 0, count * sizeof *gradient);
    WORKS(gr_plan_backward(plan));
    double square = 0, step = 1e-2;
    for (size_t i = 0; i < count; i++)
        square += (double)gradient[i] * gradient[i];
    assert_true(square > 0);
    step /= sqrt(square);
    double logits[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++)
            moved[i] = maps[i] + (float)((side ? -step : step) * gradient[i]);
        logits[side] = logit_from(net, layer, moved);
    }
    double slope = (logits[0] - logits[1]) / (2 * step);
    assert_true(fabs(slope - square) < 0.02 * square);
    struct gr_param *const *params;
    struct gr_layer *const *layers;
    assert_int_equal(gr_plan_trained(plan, &params, &layers), 0);
    gr_plan_free(plan);
}

static void the_gradient_of_a_layers_output_is_the_slope_of_the_logit(void **state) {
    (void)state;
    struct gr_network *net = small_network(3);
    static const char *const names[] = {"conv1", "layer1", "layer2"};
    for (int i = 0; i < 3; i++)
        for (int reference = 0; reference < 2; reference++)
            check_gradient(net, gr_network_end(net, names[i]), reference);
    gr_network_free(net);
}

static void a_gradient_is_of_one_of_the_outputs(void **state) {
    (void)state;
    struct gr_network *net = small_network(3);
    struct gr_plan *plan = NULL;
    struct gr_plan_request request = {.capacity = 1,
                                      .input = input,
                                      .outputs = &net->output,
                                      .output_count = 1,
                                      .gradient_of = gr_network_end(net, "layer1")};
    assert_int_equal(gr_plan_create(&plan, net, &request), GR_ERROR_OPTION);
    gr_network_free(net);
}

/* ---- Grad-CAM and occlusion ---- */

static void maps_do_not_depend_on_the_batch_or_the_threads(void **state) {
    (void)state;
    enum { MANY = 11 };
    static float x[MANY * PIXELS], maps[MANY * SIDE * SIDE], alone[SIDE * SIDE];
    float p[MANY], q;
    int classes[MANY], class = -1;
    struct gr_network *net = small_network(5);
    struct gr_layer *layer = gr_grad_cam_layer(net);
    assert_string_equal(layer->name, gr_network_end(net, "layer2")->name);
    fill(MANY * PIXELS, x, 1);
    for (int i = 0; i < MANY; i++)
        classes[i] = -1;
    gr_threads_set(1);
    WORKS(gr_grad_cam(net, layer, input, MANY, x, classes, p, maps));
    gr_threads_set(2);
    WORKS(gr_grad_cam(net, layer, input, 1, x + 9 * PIXELS, &class, &q, alone));
    assert_int_equal(class, classes[9]);
    assert_true(fabsf(p[9] - q) < 1e-5F);
    float largest = 0;
    for (int i = 0; i < SIDE * SIDE; i++) {
        assert_true(fabsf(alone[i] - maps[9 * SIDE * SIDE + i]) < 1e-4F);
        largest = alone[i] > largest ? alone[i] : largest;
    }
    assert_true(largest == 1 || largest == 0);
    gr_network_free(net);
}

static void a_value_that_is_not_finite_is_an_error(void **state) {
    (void)state;
    static float x[PIXELS], map[SIDE * SIDE];
    float p;
    int class = 0;
    struct gr_network *net = small_network(5);
    x[5] = NAN;
    assert_int_equal(gr_grad_cam(net, gr_grad_cam_layer(net), input, 1, x, &class, &p, map), GR_ERROR_NUMBER);
    class = CLASSES;
    x[5] = 0;
    assert_int_equal(gr_grad_cam(net, gr_grad_cam_layer(net), input, 1, x, &class, &p, map), GR_ERROR_OPTION);
    gr_network_free(net);
}

static void every_pixel_is_covered(void **state) {
    (void)state;
    static float x[PIXELS], map[SIDE * SIDE];
    struct gr_network *net = small_network(5);
    fill(PIXELS, x, 2);
    for (int patch = 1; patch <= SIDE; patch += 5)
        for (int stride = 1; stride <= patch; stride += 2) {
            struct gr_occlusion o = {.input = input, .patch = patch, .stride = stride, .class = -1};
            WORKS(gr_occlusion(net, &o, x, map));
            for (int i = 0; i < SIDE * SIDE; i++)
                assert_true(fabsf(map[i]) <= 1);
            assert_true(o.p > 0 && o.class >= 0 && o.positions > 0);
        }
    struct gr_occlusion o = {.input = input, .patch = SIDE + 1, .stride = 1};
    assert_int_equal(gr_occlusion(net, &o, x, map), GR_ERROR_OPTION);
    gr_network_free(net);
}

static void nothing_leaks_when_memory_runs_out(void **state) {
    (void)state;
    static float x[PHOTOS * PIXELS], maps[PHOTOS * SIDE * SIDE], points[20 * 6], start[20 * 2],
        placed[20 * 2];
    float p[PHOTOS];
    double explained[2], kl;
    int classes[PHOTOS] = {0, 1, 2};
    struct gr_network *net = small_network(5);
    struct gr_tsne_options tsne = {.perplexity = 4, .steps = 8};
    int64_t cells[20];
    fill(20 * 6, points, 3);
    fill(PHOTOS * PIXELS, x, 3);
    size_t before = gr_memory().blocks;
    for (int what = 0; what < 5; what++) {
        int status = GR_ERROR_MEMORY;
        for (long n = 1; status; n++) {
            struct gr_occlusion o = {.input = input, .patch = 8, .stride = 8};
            gr_memory_fail(n, true);
            status = what == 0 ? gr_grad_cam(net, gr_grad_cam_layer(net), input, PHOTOS, x, classes, p, maps)
                     : what == 1 ? gr_occlusion(net, &o, x, maps)
                     : what == 2 ? gr_pca(20, 6, points, 2, start, explained)
                     : what == 3 ? gr_tsne(20, 6, points, start, &tsne, placed, &kl)
                                 : gr_picture_snap(20, placed, 5, 4, cells);
            gr_memory_fail(0, false);
            assert_true(status == GR_OK || status == GR_ERROR_MEMORY);
            assert_int_equal(gr_memory().blocks, before);
        }
    }
    gr_network_free(net);
}

/* ---- maps of points ---- */

static void equal_points_have_no_directions(void **state) {
    (void)state;
    float x[6 * 4], scores[6 * 2];
    double explained[2];
    for (int i = 0; i < 6 * 4; i++)
        x[i] = (float)(i % 4);
    WORKS(gr_pca(6, 4, x, 2, scores, explained));
    for (int i = 0; i < 12; i++)
        assert_true(scores[i] == 0);
    assert_true(explained[0] == 0 && explained[1] == 0);
    assert_int_equal(gr_pca(1, 4, x, 2, scores, explained), GR_ERROR_SHAPE);
}

static int stop(void *payload, int done, int steps) {
    int *last = payload;
    assert_true(done <= steps);
    *last = done;
    return done >= 40 ? gr_fail(GR_ERROR_USER, "enough") : GR_OK;
}

static volatile sig_atomic_t flag;

static void tsne_can_be_ended_and_takes_equal_points(void **state) {
    (void)state;
    float x[30 * 3], start[30 * 2], placed[30 * 2], again[30 * 2];
    double kl, explained[2];
    int last = 0;
    struct gr_tsne_options options = {.perplexity = 5, .progress = stop, .payload = &last};
    fill(30 * 3, x, 4);
    memcpy(x + 3, x, 3 * sizeof *x); /* two equal points */
    WORKS(gr_pca(30, 3, x, 2, start, explained));
    assert_int_equal(gr_tsne(30, 3, x, start, &options, placed, &kl), GR_ERROR_USER);
    assert_int_equal(last, 40);
    options.progress = NULL;
    flag = 1;
    gr_interrupt_watch(&flag);
    assert_int_equal(gr_tsne(30, 3, x, start, &options, placed, &kl), GR_ERROR_INTERRUPT);
    gr_interrupt_watch(NULL);
    gr_threads_set(1);
    WORKS(gr_tsne(30, 3, x, start, &options, placed, &kl));
    gr_threads_set(2);
    WORKS(gr_tsne(30, 3, x, start, &options, again, &kl));
    assert_memory_equal(placed, again, sizeof placed);
    assert_true(kl >= 0);
    memset(x, 0, sizeof x); /* all equal */
    WORKS(gr_tsne(30, 3, x, x, &options, placed, &kl));
    x[4] = INFINITY;
    assert_int_equal(gr_tsne(30, 3, x, start, &options, placed, &kl), GR_ERROR_NUMBER);
    assert_int_equal(gr_tsne(GR_TSNE_MOST + 1, 3, x, start, &options, placed, &kl), GR_ERROR_LIMIT);
}

/* ---- pictures ---- */

static void cells_are_distinct_and_near(void **state) {
    (void)state;
    enum { N = 12 };
    float points[2 * N];
    int64_t cells[N];
    bool taken[N] = {false};
    for (int i = 0; i < N; i++) { /* a grid of 4 x 3, from the bottom left */
        points[2 * i] = (float)(i % 4);
        points[2 * i + 1] = (float)(i / 4);
    }
    WORKS(gr_picture_snap(N, points, 4, 3, cells));
    for (int i = 0; i < N; i++)
        assert_int_equal(cells[i], (2 - i / 4) * 4 + i % 4);
    memset(points, 0, sizeof points);
    WORKS(gr_picture_snap(N, points, 4, 3, cells));
    for (int i = 0; i < N; i++) {
        assert_false(taken[cells[i]]);
        taken[cells[i]] = true;
    }
    assert_int_equal(gr_picture_snap(N, points, 4, 2, cells), GR_ERROR_LIMIT);
    points[3] = NAN;
    assert_int_equal(gr_picture_snap(N, points, 4, 3, cells), GR_ERROR_NUMBER);
}

static void pasting_stays_inside(void **state) {
    (void)state;
    float canvas[3 * 4 * 5] = {0}, tile[2 * 2] = {1, 1, 1, 1}, sum = 0;
    gr_picture_paste(4, 5, canvas, 1, 2, 2, tile, -1, 3, 2); /* 3 of 4 rows, 2 of 4 columns */
    for (int i = 0; i < 60; i++)
        sum += canvas[i];
    assert_true(sum == 3 * 3 * 2);
    gr_picture_paste(4, 5, canvas, 1, 2, 2, tile, 100, -100, 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gradient_of_a_layers_output_is_the_slope_of_the_logit),
        cmocka_unit_test(a_gradient_is_of_one_of_the_outputs),
        cmocka_unit_test(maps_do_not_depend_on_the_batch_or_the_threads),
        cmocka_unit_test(a_value_that_is_not_finite_is_an_error),
        cmocka_unit_test(every_pixel_is_covered),
        cmocka_unit_test(nothing_leaks_when_memory_runs_out),
        cmocka_unit_test(equal_points_have_no_directions),
        cmocka_unit_test(tsne_can_be_ended_and_takes_equal_points),
        cmocka_unit_test(cells_are_distinct_and_near),
        cmocka_unit_test(pasting_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
