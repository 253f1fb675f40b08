/* Paths that a person gives, as the API wants them. */
#pragma once

#include "common/error.h"

/* The path, absolute and without links on the way to its last component, which may be one. The caller's to free. 0 or
 * negative errno with a sentence. */
int place_absolute(const char *path, char **ret, struct error *e);

/* "ENDPOINT?path=..." for the path, absolute and without links on the way to its last component, which may be one.
 * `more` ("" or "&name=value...") follows. The caller's to free. 0 or negative errno with a sentence. */
int place_request(const char *endpoint, const char *path, const char *more, char **ret, struct error *e);
