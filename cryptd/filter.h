/* What cryptd may still do once it serves. */
#pragma once

#include <stddef.h>

#include "common/error.h"
#include "common/sandbox.h"

/* Gives up everything but the calls of the filter: no path, no new socket, no process. Whatever is open
 * stays usable. 0 or a negative errno with a sentence. */
int cryptd_sandbox(struct error *e);

/* The calls, for the tests. */
const struct sandbox_call *cryptd_calls(size_t *ret_n);
