/* From the head of a request to its handler. What the router refuses (400, 401, 403, 404, 405, 413, 415,
 * 421, ...) no handler sees. */
#pragma once

#include "frontd/http.h"

/* For struct http_spec; `arg` is the struct frontd. */
extern const struct http_ops router_ops;
