/* Takes the body of a request off the connection, by length or by chunks (RFC 9112, 6 and 7). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <event2/buffer.h>

#include "frontd/http_head.h"

struct http_body {
    bool chunked;
    uint64_t max;         /* bytes it may have in all */
    uint64_t taken;       /* bytes taken so far */
    uint64_t left;        /* of the length, or of the present chunk */
    enum { BODY_DATA, BODY_SIZE, BODY_CHUNK_END, BODY_TRAILER } part;
    unsigned trailer;     /* bytes of it seen */
};

void http_body_init(struct http_body *b, const struct http_head *h, uint64_t max);

/* Moves what is there from `in` to `out`. 1: the body is complete, what is left of `in` belongs to the
 * next request; 0: more is needed; -EBADMSG: the chunks are malformed; -EMSGSIZE: longer than max. */
int http_body_take(struct http_body *b, struct evbuffer *in, struct evbuffer *out);
