/* HTTP over libcurl's multi interface, on the event loop: the one file of the tree that knows
 * libcurl. Connections are kept alive and shared by all clouds of the process.
 *
 * Settings come from the configuration alone (Proxy, NoProxy, CaBundle, CloudConnections,
 * CloudConnectionsPerHost, CloudConnectSeconds, CloudStallSeconds); environment variables and
 * .netrc are ignored. This machine is always reached without the proxy. Only http and https;
 * redirects are answers like others. Certificates are verified; TLS 1.2 at least. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/error.h"
#include "common/loop.h"
#include "common/text.h"
#include "syncd/pairs.h"

enum { HTTP_HEADERS_MAX = 64 * 1024, HTTP_REASON_MAX = 256 };

/* How an exchange ended. */
enum http_fault {
    HTTP_ANSWERED,    /* with whatever status */
    HTTP_UNREACHED,   /* no connection; the server got nothing */
    HTTP_REFUSED,     /* by our own rules or the server's certificate: trying again is no use */
    HTTP_STALLED,     /* no byte moved for CloudStallSeconds */
    HTTP_LOST,        /* the connection broke; what the server did with the request is unknown */
    HTTP_GARBLED,     /* not HTTP, or more than was allowed */
    HTTP_ABORTED,     /* head(), body() or the file to be sent failed: `error` says how */
};

struct http_reply {
    enum http_fault fault;
    int error;                      /* 0 when answered, else a negative errno */
    char reason[HTTP_REASON_MAX];   /* words for `fault`; may be "" */
    int status;                     /* 0: none came */
    struct pairs headers;           /* of the last response, names in lower case */
    struct text body;               /* unless it went to body() */
    bool repeated;                  /* libcurl sent it a second time, after a kept connection broke on the first */
};

/* What body() answers beside a negative errno, which ends the exchange. */
enum { HTTP_MORE = 0, HTTP_PAUSE = 1 };   /* PAUSE: these bytes are taken, no more before http_resume() */

struct http_spec {
    const char *method, *url;        /* copied */
    const struct pairs *headers;     /* copied */
    const void *memory;              /* body of the request, borrowed until done; or */
    int fd;                          /* with memory NULL: a file to read it from, borrowed until done */
    uint64_t offset, length;         /* of the body (offset: of the file); has_body decides whether there is one */
    void (*sent)(uint64_t bytes, void *arg);   /* so much of it has gone; not after done(). NULL: nobody asks */
    bool has_body;
    bool bulk;                       /* many bytes: larger buffers */
    bool fresh;                      /* on a new connection */
    bool yields;                     /* waits where it would take the last quarter of a host's connections */
    bool last;                       /* close the connection afterwards */
    size_t reply_max;                /* longest reply that is kept in memory */
    /* Of a reply with status 2xx; both may be NULL. They may start, cancel or resume exchanges. */
    int (*head)(const struct http_reply *reply, void *arg);     /* headers are complete; 0 or negative errno */
    int (*body)(const void *bytes, size_t n, void *arg);
    /* Exactly once, from the loop, never from inside http_start(); not after http_cancel(). */
    void (*done)(const struct http_reply *reply, void *arg);
    void *arg;
};

struct http;
struct http_call;

/* The connections of this loop, made at the first call; each call wants its http_close(). 0, or a
 * negative errno with a sentence (a HostUrl or CaBundle that cannot be used). */
int http_open(struct loop *l, const struct config *c, struct http **ret, struct error *e);
void http_close(struct http *h);    /* all calls must have ended or been canceled; NULL is fine */

/* Starts an exchange; NULL without memory, or when a header holds a control character. */
struct http_call *http_start(struct http *h, const struct http_spec *spec);
/* Ends the exchange: none of its callbacks runs any more. NULL is fine. */
void http_cancel(struct http_call *c);
/* Goes on after HTTP_PAUSE. */
void http_resume(struct http_call *c);
