/* The life of the agent: status, pause and resume, orderly end. */
#pragma once

#include "common/ipc.h"

struct syncd;

/* Reads from the store whether the agent was paused. 0 or negative errno. */
int agent_load(struct syncd *d);

ipc_handler_fn agent_status, agent_command, agent_shutdown;
