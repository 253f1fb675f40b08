/* syncd's answer to MetricsGet: the process, and a drive after the other. */
#pragma once

#include "common/ipc.h"

ipc_handler_fn metrics_get;
