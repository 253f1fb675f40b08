/* What http.c (servers), http_conn.c (connections) and http_reply.c (replies) share. */
#pragma once

#include <event2/bufferevent.h>
#include <event2/event.h>
#include <sys/queue.h>

#include "frontd/http.h"
#include "frontd/http_body.h"

enum {
    HTTP_LISTENERS_MAX = 8,
    HTTP_STRANGERS_MAX = 16,         /* connections of peers that are not welcome; at most an eighth of all */
    HTTP_LINGER_SECONDS = 2,         /* for a client to stop sending after a last reply */
    HTTP_GRACE_MS = 1000,            /* for a client to send its request before its place is needed for another */
};

enum http_state {
    HTTP_IDLE,    /* between requests */
    HTTP_READING, /* part of a head is here */
    HTTP_BODY,    /* the head has been accepted */
    HTTP_SERVING, /* a reply is owed */
    HTTP_SWITCHED, /* it speaks another protocol */
    HTTP_FLUSHING, /* the reply has ended; what is left of it is being sent */
    HTTP_LINGERING, /* all is sent and the sending side closed; input is thrown away */
};

struct http_request {
    struct http_conn *conn;
    struct http_head head;
    struct http_body progress;
    struct evbuffer *body;
    struct http_watch watch;
    void (*on_body)(bool ended, void *arg); /* takes the body as it comes; NULL: it is collected */
    uint64_t body_max;
    bool wanted;        /* it may come */
    uint64_t step;      /* bytes of it since the deadline was set */
    bool chunked;       /* the reply is sent in chunks */
    bool close;         /* the connection ends with this reply */
};

struct http_conn {
    TAILQ_ENTRY(http_conn) link;
    struct http_server *server;
    struct bufferevent *bev;
    struct event *deadline;
    struct peer peer;
    bool stranger;
    bool advancing, dead; /* dead: to be freed when advance() returns */
    bool input_ended;
    bool served;          /* at least one request */
    bool switched;        /* has been in HTTP_SWITCHED: counted apart from here on */
    int64_t since_ns;     /* since then a request is waited for, or the end */
    enum http_state state;
    struct http_request request;
};

TAILQ_HEAD(http_conns, http_conn);

struct http_server {
    struct loop *loop;
    struct http_spec spec;
    struct event *listeners[HTTP_LISTENERS_MAX];
    size_t n_listeners, n_conns, n_switched, n_strangers; /* n_conns: those that are not switched */
    struct http_conns conns; /* oldest first */
    struct event *resume;    /* accepts again */
    bool paused;             /* nothing is accepted, for a while */
    int64_t waited_ns;       /* when that was last for want of a place */
    int64_t failed_second;   /* in which accept(2) failed last, and was logged once */
    bool stopping;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* Takes over `fd`. */
void http_conn_new(struct http_server *s, int fd, const struct peer *p);
/* Sets the deadline for what comes next, or ends it. */
void http_conn_deadline(struct http_conn *c, bool set);
/* Ends the connection, at once or when the present callback returns; tells the request's watcher. */
void http_conn_close(struct http_conn *c);
/* Goes on with what is there, from whatever state. The connection may be gone after it. */
void http_conn_advance(struct http_conn *c);
/* The 101 has been written. */
void http_conn_switch(struct http_conn *c);
/* The reply has ended; goes on to the next request, or to the end, once it is out. */
void http_conn_flush(struct http_conn *c);

/* Tells the client that there is no place for it, and closes. Takes over `fd`. */
void http_refuse_connection(int fd);

/* The server's bookkeeping. */
void http_server_added(struct http_server *s, struct http_conn *c);
void http_server_switched(struct http_server *s, struct http_conn *c);
void http_server_removed(struct http_server *s, struct http_conn *c);
/* Whether this peer has all the connections that it may. */
bool http_server_crowded(const struct http_server *s, const struct peer *p);
