#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/interrupt.h"
#include "plan/plan.h"
#include "small_network.h"

enum { BATCH = 2, PIXELS = 3 * 16 * 16, CLASSES = 3 };

static volatile sig_atomic_t flag;

static void fill(float *x) {
    for (int i = 0; i < BATCH * PIXELS; i++)
        x[i] = (float)(i % 17) / 17;
}

static void a_pass_is_given_up_between_layers_and_can_be_made_again(void **state) {
    (void)state;
    float before[BATCH * CLASSES];
    struct gr_network *net = small_network(1);
    struct gr_plan *plan = NULL;
    struct gr_layer *outputs[] = {net->output};
    struct gr_plan_request request = {
        .capacity = BATCH, .input = {3, 16, 16, false}, .outputs = outputs, .output_count = 1};
    WORKS(gr_plan_create(&plan, net, &request));
    fill(gr_plan_input(plan));
    WORKS(gr_plan_forward(plan, BATCH, NULL));
    memcpy(before, gr_plan_output(plan, 0), sizeof before);
    gr_interrupt_watch(&flag);
    flag = 1;
    fill(gr_plan_input(plan));
    assert_int_equal(gr_plan_forward(plan, BATCH, NULL), GR_ERROR_INTERRUPT);
    gr_interrupt_hold(true); /* as a training step does */
    fill(gr_plan_input(plan));
    int status = gr_plan_forward(plan, BATCH, NULL);
    gr_interrupt_hold(false);
    gr_interrupt_watch(NULL);
    WORKS(status);
    assert_memory_equal(before, gr_plan_output(plan, 0), sizeof before);
    gr_plan_free(plan);
    gr_network_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_is_given_up_between_layers_and_can_be_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
