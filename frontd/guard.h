/* Who may ask at all. Localhost is no trust boundary: every web page and every local user reaches a
 * loopback port, so each request is held against these rules before anybody looks at its path.
 *
 * Pure decisions over the head and the peer; knows no route. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"
#include "frontd/http_head.h"
#include "frontd/peer.h"

struct guard {
    uint16_t port;              /* of the API */
    uid_t served_uid;           /* this user and root are let in */
    const char *const *origins; /* CorsOrigins, ending in NULL; checked by guard_init() */
};

/* Fills *g. Refuses with -EINVAL and a sentence an entry of `origins` that is not scheme://host[:port]
 * ("null" and "*" are not). `origins` is borrowed. */
int guard_init(struct guard *g, uint16_t port, uid_t served_uid, char *const *origins, struct error *e);

struct guard_verdict {
    struct http_refusal refusal;
    const char *allow_origin;   /* the entry of CorsOrigins the request comes from; NULL: none, or our own origin */
};

/* The rules for every request:
 *   421  not exactly one Host, or the Host or the authority of the target is not localhost, 127.0.0.1
 *        or [::1] with our port (which may be left out on the Unix socket)
 *   403  an Origin that is neither our own nor in CorsOrigins, "null" included; Sec-Fetch-Site other
 *        than same-origin and none, unless the Origin is in CorsOrigins; either of them twice
 *   401  a peer that is neither the served user nor root, or whose uid is not known */
struct guard_verdict guard_check(const struct guard *g, const struct http_head *h, const struct peer *p);

/* The rule for requests that change something: 403 for a Referer of a foreign origin. Browsers that
 * send neither Origin nor Sec-Fetch-Site are caught here. */
struct http_refusal guard_check_change(const struct guard *g, const struct http_head *h);

/* The rules for a body: 415 unless it is application/json, also for a POST or PUT that names another
 * type and has none; 413 when longer than `max`. */
struct http_refusal guard_check_body(const struct http_head *h, uint64_t max);

/* The same where a form is wanted: 415 unless it is multipart/form-data with a boundary. Browsers send those from pages
 * of any origin without asking first, so what keeps them out is guard_check() and guard_check_change() alone. */
struct http_refusal guard_check_form(const struct http_head *h, uint64_t max);

/* Whether the uid may use this agent. */
bool guard_welcomes(const struct guard *g, const struct peer *p);
