/* The table of what syncd answers: a row per message. */
#pragma once

#include <stddef.h>

#include "common/ipc.h"

/* All rows: those of this daemon and those of the volumes. Static storage. */
const struct ipc_handler *serve_handlers(size_t *ret_n);
