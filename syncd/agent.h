/* The life of the agent: status, commands, orderly end.
 *
 *            Start                Pause
 *   Disposed ------> Started <-----------> Paused
 *       ^_______________|      Resume         |
 *       |        Dispose                      |
 *       |_____________________________________|
 *
 * Started: all works. Paused: nothing is transferred but what has begun, and drives can only be read, as far as
 * they are here. Disposed: the drives are not mounted and nothing is transferred; accounts, drives and what is on
 * this machine of them stay. Each of the three lasts over restarts. Exit ends the processes, in whichever of them:
 * until what is on its way to the clouds has arrived, and what was asked for beside the drives as well, DrainSeconds
 * at most, the status is Stopped. There are no
 * users who sign in yet, so it never is Created, and Start and Dispose are for the owner of the machine. */
#pragma once

#include <stdbool.h>

#include "common/ipc.h"

struct syncd;

/* The contract's numbers. */
enum agent_state { AGENT_STARTED = 1, AGENT_STOPPED = 2, AGENT_PAUSED = 4, AGENT_DISPOSED = 8 };

/* Reads the state from the store. 0 or negative errno. */
int agent_load(struct syncd *d);
/* Whether drives rest: nothing is transferred, nothing can be changed. */
bool agent_rests(const struct syncd *d);
/* 0; -EBUSY with a sentence while a command is carried out that waits for drives, which none may change until then. */
int agent_check_idle(const struct syncd *d, struct error *e);
/* Whether drives are mounted. */
bool agent_mounts(const struct syncd *d);

ipc_handler_fn agent_status, agent_command, agent_shutdown;
