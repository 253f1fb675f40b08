/* AWS Signature Version 4, for the Authorization header and for URLs.
 *
 * Facts: "Signature Version 4 signing process" and "Authenticating Requests: Using Query
 * Parameters" of the Amazon S3 API reference. Pure: no clock, no keys kept; what is derived from
 * the secret is wiped before a call returns. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/text.h"
#include "syncd/pairs.h"

enum { SIGV4_DATE_SIZE = 17 };

/* What the hash of the payload is called when nobody hashed it. */
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"
/* SHA-256 of nothing. */
#define SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_secret { const char *access_key, *secret_key; };

struct sigv4 {
    const char *method;
    const char *path;              /* as it is sent: percent-encoded once, "/" at least */
    const struct pairs *query;     /* decoded; in any order */
    const struct pairs *headers;   /* those to be signed, in any order; "host" is among them */
    const char *payload;           /* hex SHA-256 of the body, or SIGV4_UNSIGNED */
    const char *region, *service;
    int64_t now;                   /* seconds since the epoch */
};

/* "20130524T000000Z". */
void sigv4_date(int64_t now, char out[SIGV4_DATE_SIZE]);

/* Appends the canonical query: encoded, sorted, without '?'. It is also the one to send. 0 or negative errno. */
int sigv4_query(const struct pairs *query, struct text *out);

/* Appends the value of the Authorization header. `headers` must hold x-amz-date as sigv4_date() writes it. */
int sigv4_authorize(const struct sigv4 *s, const struct sigv4_secret *secret, struct text *out);

/* Appends the whole query of a URL good for `seconds` (1 to 604800, otherwise -EINVAL). */
int sigv4_presign(const struct sigv4 *s, const struct sigv4_secret *secret, unsigned seconds, struct text *out);
