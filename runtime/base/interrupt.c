/* A wish to stop. */
#include "base/interrupt.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/status.h"

static const volatile sig_atomic_t *_Atomic watched;
static atomic_int holds;

void gr_interrupt_watch(const volatile sig_atomic_t *flag) {
    atomic_store(&watched, flag);
}

void gr_interrupt_hold(bool on) {
    atomic_fetch_add(&holds, on ? 1 : -1);
}

bool gr_interrupted(void) {
    const volatile sig_atomic_t *flag = atomic_load_explicit(&watched, memory_order_relaxed);
    return flag && *flag && atomic_load_explicit(&holds, memory_order_relaxed) == 0;
}

int gr_interrupt_check(void) {
    return gr_interrupted() ? gr_fail(GR_ERROR_INTERRUPT, "stopped by you") : GR_OK;
}
