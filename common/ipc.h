/* Requests, replies and events between the processes over SOCK_SEQPACKET.
 *
 * A packet is one Envelope of at most IPC_MESSAGE_MAX bytes plus at most IPC_FDS_MAX descriptors.
 * What arrives is checked in this order before a handler sees it: size and truncation, unpacking,
 * row in common/messages, the sender's role, number of descriptors. A peer that breaks the
 * protocol loses its connection and is logged; the daemon goes on. Descriptors of refused packets
 * are closed.
 *
 * Two kinds of end: a server answers what comes through a listening socket or an adopted channel;
 * a client asks one peer, keeps unanswered requests, reconnects by itself when the peer restarts
 * and then repeats those whose row says so (the others fail with -ECONNRESET). The server knows a
 * repeated request by the pair (instance of the Hello, id). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"
#include "common/messages.h"
#include "proto/ipc.pb-c.h"

enum { IPC_MESSAGE_MAX = 128 * 1024, IPC_FDS_MAX = 4 };

/* What one page of a list may weigh once packed; senders of lists stop before it. */
enum { IPC_PAGE_BYTES = 96 * 1024 };

/* Initialises `env` as an envelope whose body is `msg`:
 *   Lf__Envelope env = IPC_ENVELOPE(DRIVE_LIST, drive_list, &list); */
#define IPC_ENVELOPE(CASE, field, msg) \
    { PROTOBUF_C_MESSAGE_INIT(&lf__envelope__descriptor), \
      .body_case = LF__ENVELOPE__BODY_##CASE, .field = (msg) }

/* --- serving ------------------------------------------------------------------------------- */

struct ipc_server;
struct ipc_peer;     /* one connection to a server */
struct ipc_request;  /* a request being served: exactly one ipc_reply()/ipc_fail() is owed */

/* Runs for one checked request. `env` and `fds` are borrowed for the call; take a descriptor by
 * setting its place to -1, what is left is closed after. `daemon` is the server's arg. For an event
 * `req` is borrowed too and nothing is owed: what is answered to it is dropped. */
typedef void ipc_handler_fn(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon);

struct ipc_handler {
    Lf__Envelope__BodyCase body;
    ipc_handler_fn *handle;
};

struct ipc_peer_uid {
    enum role role;
    uint32_t uid;
};

struct ipc_server_spec {
    enum role role;                       /* our own */
    const struct ipc_handler *handlers;   /* borrowed, n_handlers rows */
    size_t n_handlers;
    const struct ipc_peer_uid *peers;     /* who may claim which role; borrowed; several rows per role are fine */
    size_t n_peers;
    size_t max_connections;               /* of all; each uid has the part that its roles are of all in `peers` */
    size_t max_queue;                     /* unanswered requests of one peer; above it reading pauses */
    /* A peer whose Hello was accepted, or a channel, ended by itself; p is gone after this call. Runs from
     * the loop, never from inside another call. May be NULL. Requests of p may still be answered, into the void. */
    void (*peer_lost)(struct ipc_peer *p, void *arg);
    void *arg;
};

/* NULL without memory. Freeing (NULL is fine) ends all connections without peer_lost; requests that are
 * still owed an answer stay valid and are answered into the void. */
struct ipc_server *ipc_server_new(struct loop *l, const struct ipc_server_spec *spec);
void ipc_server_free(struct ipc_server *s);

/* Accepts on `fd`, a listening SOCK_SEQPACKET socket; owned from here on. 0 or negative errno. */
int ipc_server_listen(struct ipc_server *s, int fd);

/* Makes a channel whose far end is given away: the peer there has `role` whatever its uid, and
 * `data` for ipc_peer_data(). 0, *ret_far_fd (CLOEXEC, the caller's to send and close) and *ret_peer (NULL is
 * fine; borrowed until peer_lost or ipc_peer_close(), there from now on, before its Hello), or negative errno. */
int ipc_server_channel(struct ipc_server *s, enum role role, void *data, struct ipc_peer **ret_peer, int *ret_far_fd);

/* As ipc_server_channel(), for a process that may make no sockets: `fd` is the near end of a socket pair that somebody
 * else made, owned from here on, even on failure. 0 and *ret_peer, or -EINVAL when it is no such socket, -ENOMEM. */
int ipc_server_adopt(struct ipc_server *s, int fd, enum role role, void *data, struct ipc_peer **ret_peer);

/* Answers and frees the request. `fds` are n descriptors that are sent and stay the caller's.
 * Fills id and trace. A reply that is too large or not the row's fails the request with -EMSGSIZE or -EPROTO. */
void ipc_reply(struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n);
void ipc_done(struct ipc_request *req);  /* answers Done */
void ipc_fail(struct ipc_request *req, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ipc_fail_error(struct ipc_request *req, const struct error *e);

struct ipc_peer *ipc_request_peer(const struct ipc_request *req);   /* NULL once the peer is lost */
/* Since `since_ns` (of loop_now_ns()) the cloud was waited for, which the caller is told with the reply. */
void ipc_request_waited(struct ipc_request *req, int64_t since_ns);
uint64_t ipc_request_trace(const struct ipc_request *req);
/* By which a repeated request is recognised. */
struct ipc_identity {
    uint64_t instance, id;   /* the caller's, and the request's */
    uint64_t done_below;     /* below this id the caller has its answers */
    uint64_t origin;         /* the kernel's number, if it is for the kernel; 0: it is not */
};

struct ipc_identity ipc_request_identity(const struct ipc_request *req);

enum role ipc_peer_role(const struct ipc_peer *p);
void *ipc_peer_data(const struct ipc_peer *p);
void ipc_peer_set_data(struct ipc_peer *p, void *data);
/* Sends an event with n descriptors (they stay the caller's). A peer that does not read is dropped
 * once max_queue packets wait. 0 or negative errno. */
int ipc_peer_event(struct ipc_peer *p, Lf__Envelope *event, const int *fds, size_t n);
/* Ends the connection from our side: p is the server's alone from here on, and peer_lost does not run. */
void ipc_peer_close(struct ipc_peer *p);

/* --- asking -------------------------------------------------------------------------------- */

struct ipc_client;

/* The answer to a call: `reply` has the row's body, or `e` is set and reply is NULL. Borrowed for
 * the call; take descriptors by setting their place to -1. Runs exactly once per call, from the
 * loop, never from inside ipc_call(). */
typedef void ipc_answer_fn(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg);

struct ipc_client_spec {
    enum role role;               /* our own */
    enum role peer;               /* whom we ask, for logs and for checking the rows of events */
    const char *path;             /* socket; NULL: only channels given by ipc_client_adopt() */
    size_t max_queue;             /* unanswered calls; one more fails with -EAGAIN */
    void (*event)(const Lf__Envelope *event, int *fds, void *arg);  /* checked events of the peer; may be NULL */
    void (*connected)(void *arg); /* after every Hello, before repeats; may be NULL */
    void (*lost)(void *arg);      /* peer gone; reconnection is under way by itself; may be NULL */
    void *arg;
};

/* Connects in the background and keeps trying (10 ms, doubling to 1 s). NULL without memory. */
struct ipc_client *ipc_client_new(struct loop *l, const struct ipc_client_spec *spec);
void ipc_client_free(struct ipc_client *c);   /* pending calls fail with -ECANCELED, before it returns; NULL is fine */

/* Goes on over this connected socket (owned from here on), repeating what is unanswered. */
void ipc_client_adopt(struct ipc_client *c, int fd);

/* Sends `request` (id filled here; set trace yourself, or 0 draws one) with n descriptors, which
 * are duplicated for repeats and stay the caller's. `deadline_ms` 0: none; when it passes the call
 * fails with -ETIMEDOUT and a late answer is dropped. Returns a handle for ipc_cancel(), never 0: a
 * call that fails at once hears so from the loop too. */
uint64_t ipc_call(struct ipc_client *c, Lf__Envelope *request, const int *fds, size_t n,
                  uint64_t deadline_ms, ipc_answer_fn *done, void *arg);

/* Forgets the call: its done will not run. */
void ipc_cancel(struct ipc_client *c, uint64_t handle);

/* Sends an event to the peer. 0, -ENOTCONN, or another negative errno. */
int ipc_client_event(struct ipc_client *c, Lf__Envelope *event, const int *fds, size_t n);

bool ipc_client_connected(const struct ipc_client *c);

/* A random id for following one outside request, never 0. */
uint64_t ipc_trace_new(void);
