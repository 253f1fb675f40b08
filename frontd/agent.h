/* POST /management/command/{cmd}: what the agent as a whole is told. */
#pragma once

#include "frontd/exchange.h"

/* Takes a command by number or name, in any case; anything else is refused and never taken for Start. Pause
 * and Resume go to syncd. Exit ends mountd, syncd and cryptd, in that order, answers, and ends frontd; once
 * begun it goes on without its client. */
void command_serve(struct exchange *x);
