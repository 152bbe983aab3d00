/* A wish to stop, looked at by work that may take long and leaves nothing half done when it is given up:
 * products and other arithmetic on tensors, reading a folder of photos. A training step is no such work. */
#ifndef GRAFT_BASE_INTERRUPT_H
#define GRAFT_BASE_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

/* From now on the wish is *flag != 0, which a signal handler may set at any time. NULL, as at the start:
 * nobody wishes to stop. The flag must outlive its use. */
void gr_interrupt_watch(const volatile sig_atomic_t *flag);

/* true: what is under way is not to be given up, whatever is wished, until as many calls with false. */
void gr_interrupt_hold(bool on);

/* Is it wished? For loops in any thread that then leave the rest of their work out. */
bool gr_interrupted(void);

/* GR_ERROR_INTERRUPT when it is, else GR_OK: for the caller of such loops, whose results are then worth
 * nothing.
 */
int gr_interrupt_check(void);

#endif
