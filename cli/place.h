/* Paths that a person gives, as the API wants them. */
#pragma once

#include "common/error.h"

/* "ENDPOINT?path=..." for the path, absolute and without links on the way to its last component, which may be one.
 * `more` ("" or "&name=value...") follows. The caller's to free. 0 or negative errno with a sentence. */
int place_request(const char *endpoint, const char *path, const char *more, char **ret, struct error *e);
