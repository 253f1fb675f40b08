/* Commands that go on until somebody ends them: Ctrl-C, SIGTERM. */
#pragma once

#include <signal.h>
#include <stdbool.h>

/* From now on these signals, and a terminal's change of size, arrive within ppoll(2) with *ret_mask alone. */
void interrupt_catch(sigset_t *ret_mask);
/* Whether the end was asked for. */
bool interrupt_came(void);
