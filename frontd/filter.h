/* What frontd may still do once it serves. */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "common/sandbox.h"

/* Gives up everything but the calls of the filter: no path is opened, no program started, and the only new
 * sockets are Unix sockets, to reach a neighbour that has restarted. 0 or a negative errno with a sentence. */
int frontd_sandbox(struct error *e);

/* The calls, for the tests. */
const struct sandbox_call *frontd_calls(size_t *ret_n);
