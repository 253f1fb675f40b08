/* HTTP/1.1 over libevent bufferevents: connections, their limits and deadlines, requests in, replies out.
 *
 * libevent's own evhttp is not used: version 2.1 answers malformed and oversized requests with an HTML page
 * of its own, shows a request only once its body is here, does not notice a client that leaves while it
 * waits, and has neither a deadline for a whole request nor a limit of connections.
 *
 * A connection carries one request at a time; what a client sends ahead waits in the socket. Knows
 * nothing of hosts, routes or JSON: struct http_ops decides. */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"
#include "common/text.h"
#include "frontd/http_head.h"
#include "frontd/peer.h"

struct http_server;
struct http_request; /* from its head until its reply has ended or its client is gone */

struct http_ops {
    /* Who connected, and whether it may have more than a few connections. */
    void (*identify)(int fd, struct peer *ret, void *arg);
    bool (*welcomes)(const struct peer *p, void *arg);
    /* The head is here, the body is not. True: read the body and call serve(). False: it has been
     * answered, or will be; a body is not read, and the connection ends with the reply where there is one. */
    bool (*head)(struct http_request *r, void *arg);
    /* The whole request is here: exactly one reply is owed, now or later. */
    void (*serve)(struct http_request *r, void *arg);
    /* The request cannot be understood or is too large or too slow: to be answered at once, with
     * `why`. The head may be empty. */
    void (*refuse)(struct http_request *r, struct http_refusal why, void *arg);
};

struct http_spec {
    const struct http_ops *ops;
    void *arg;
    size_t max_header_bytes, max_body_bytes, max_connections;
    size_t max_switched;      /* connections that have left HTTP, which do not count among the others */
    unsigned timeout_seconds; /* for a whole request to arrive, for an idle connection, for a reader that stalls */
};

struct http_server *http_server_new(struct loop *l, const struct http_spec *spec);

/* Accepts on `fd`, a listening stream socket, owned from here on. 0 or -ENOMEM. */
int http_server_listen(struct http_server *s, int fd);

/* No new connections and requests; `stopped` is called from the loop when the last reply is out. */
void http_server_stop(struct http_server *s, void (*stopped)(void *arg), void *arg);

/* NULL is fine. Open requests see their client gone. */
void http_server_free(struct http_server *s);

/* --- requests ------------------------------------------------------------------------------ */

const struct http_head *http_request_head(const struct http_request *r);
const struct peer *http_request_peer(const struct http_request *r);
/* The body; empty without one. The handler may take from it. */
struct evbuffer *http_request_body(struct http_request *r);

/* For head(), before it says true: the body, of `max` bytes at most, is not collected. serve() is called at once, and
 * body(arg of the watch) whenever there is more in http_request_body() or it has `ended`, but only while it is wanted:
 * at first it is not. The deadline is for the next HTTP_BODY_STEP bytes then, and there is none while nothing is
 * wanted. A reply before the end closes the connection. */
enum { HTTP_BODY_STEP = 64 * 1024 };
void http_request_take(struct http_request *r, uint64_t max, void (*body)(bool ended, void *arg));
void http_request_want(struct http_request *r, bool wanted);

enum { HTTP_LOW_WATER = 64 * 1024 };

/* `gone` runs when the client is lost before the reply has ended: nothing is owed then and the request is no
 * more. `drained` runs when bytes of a begun reply have been sent and at most HTTP_LOW_WATER are left.
 * Either may be NULL; neither runs after the reply has ended. The others are for a connection that has left HTTP and
 * then must be there: `read` takes all of http_request_input(), `stalled` says that nothing was read of what is
 * sent for timeout_seconds; nothing is sent any more until the reply ends. */
struct http_watch {
    void (*gone)(void *arg);
    void (*drained)(void *arg);
    void (*read)(void *arg);
    void (*stalled)(void *arg);
    void *arg;
};
void http_request_watch(struct http_request *r, const struct http_watch *w);
/* The watch's arg; NULL before there is a watch. */
void *http_request_watcher(const struct http_request *r);

/* --- replies ------------------------------------------------------------------------------- */

struct http_reply {
    int status;
    const char *type;          /* Content-Type; NULL with an empty body */
    const struct text *fields; /* more header lines, made by http_field_add(); NULL for none */
    const void *body;          /* `length` bytes, copied */
    size_t length;
};

/* The time as an HTTP date: "Sun, 06 Nov 1994 08:49:37 GMT". */
enum { HTTP_DATE_SIZE = 40 };
void http_date(int64_t seconds, char out[HTTP_DATE_SIZE]);

/* Appends "name: value" to the header lines; leaves a value with control characters out. */
void http_field_add(struct text *fields, const char *name, const char *value);

/* The whole reply. The request is no more after it. Every reply, of whatever status, carries the
 * fields that keep browsers from storing, sniffing, framing and embedding it. */
void http_reply(struct http_request *r, const struct http_reply *reply);

/* A reply in pieces: the head (reply->body is not used) with the length of the body, or -1 where it is
 * not known; then the body; then the end. A HEAD request gets the head alone and what is added is dropped. */
void http_reply_begin(struct http_request *r, const struct http_reply *reply, int64_t length);
void http_reply_add(struct http_request *r, struct evbuffer *data); /* takes the bytes */
size_t http_reply_waiting(const struct http_request *r);            /* bytes the client has not taken yet */
void http_reply_end(struct http_request *r);

/* Ends a begun reply that cannot be completed so that the client sees it: the connection is reset. */
void http_reply_cut(struct http_request *r);

/* --- leaving HTTP -------------------------------------------------------------------------- */

/* Whether another connection may. */
bool http_may_switch(const struct http_request *r);

/* 101 with `fields`, which name the protocol: a begun reply whose bytes and end are not HTTP's. What the client sends
 * goes to the watch, which is to be set before the present callback returns. The head of the request is no more. */
void http_reply_switch(struct http_request *r, const struct text *fields);
void http_reply_write(struct http_request *r, const void *data, size_t n); /* copied; small ones share their memory */
struct evbuffer *http_request_input(const struct http_request *r);
