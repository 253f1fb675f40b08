/* POST /management/notify: what one program wants all others to hear. */
#pragma once

#include "frontd/exchange.h"

/* Checks and broadcasts it, and does nothing else: an AppExit that is announced here ends nobody. */
void notify_serve(struct exchange *x);
