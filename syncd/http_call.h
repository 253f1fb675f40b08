/* One exchange as libcurl sees it: its options and callbacks. Between http.c, which runs the
 * multi handle, and http_call.c; nobody else includes this. */
#pragma once

#include <curl/curl.h>
#include <sys/queue.h>

#include "syncd/http.h"

enum call_state { CALL_NEW, CALL_ACTIVE, CALL_DEAD };

struct http_call {
    TAILQ_ENTRY(http_call) next;     /* in starting or dead of struct http, */
    LIST_ENTRY(http_call) beside;    /* and in yielding while it has or awaits a connection */
    char *host;                      /* of one that yields: the URL up to the path; else NULL */
    struct http *http;
    enum call_state state;
    CURL *easy;
    struct curl_slist *headers;
    struct event *wake;              /* resumes outside of whoever asked */
    const void *memory;
    int fd;
    uint64_t offset, length, sent;
    unsigned requests;               /* times the request went out */
    bool tls, head_seen, paused, opened, stale, forbidden;
    int error;                       /* ours, behind an abort */
    struct http_reply reply;
    int (*head)(const struct http_reply *, void *);
    int (*body)(const void *, size_t, void *);
    void (*told_sent)(uint64_t, void *);
    void (*done)(const struct http_reply *, void *);
    void *arg;
};
TAILQ_HEAD(call_list, http_call);
LIST_HEAD(yielding_list, http_call);

/* A socket that libcurl was given; it does not tell which of them a kept connection has. */
struct http_socket {
    LIST_ENTRY(http_socket) next;
    int fd;
    uint16_t local_port, port;       /* 0: not asked for yet */
};
LIST_HEAD(socket_list, http_socket);

/* A socket that libcurl waits for. */
struct http_watch {
    TAILQ_ENTRY(http_watch) next;    /* in line, while `ready` */
    struct http *http;
    struct event *event;
    int fd;
    int ready;                       /* CURL_CSELECT_*; 0: nothing to be done */
};
TAILQ_HEAD(watch_list, http_watch);

/* The bytes of a body that were not handed over yet; only while libcurl is on the stack. */
struct http_run {
    struct http_call *call;          /* NULL: there are none */
    char *bytes;                     /* HTTP_RUN of room; NULL until it is wanted */
    size_t n;
};

enum { HTTP_RUN = 256 << 10 };       /* what libcurl receives and reads at once, too */

struct http {
    struct loop *loop;
    const struct config *config;
    unsigned refs, calls;
    unsigned depth;                  /* libcurl is on the stack */
    uint16_t api_port;
    char *no_proxy;
    CURLM *multi;
    struct event *timer;
    struct call_list starting, dead;
    struct yielding_list yielding;
    struct socket_list sockets;
    struct watch_list line;          /* sockets that something is to be done for, */
    struct event *turn;              /* does it for the first of them, once in a turn of the loop */
    struct http_run run;
};

/* A call with all its options set, not yet running; NULL without memory. */
struct http_call *call_new(struct http *h, const struct http_spec *spec);
/* Not while the multi handle has it. */
void call_free(struct http_call *c);
/* The next bytes of a body that the call's owner wants: as CURLOPT_WRITEFUNCTION says. */
size_t body_take(struct http_call *c, const char *bytes, size_t n);
/* Hands over what was taken. Before libcurl leaves the stack. */
void body_flush(struct http *h);
/* Fills the reply's fault, error and reason from how libcurl ended. */
void call_judge(struct http_call *c, CURLcode code);
