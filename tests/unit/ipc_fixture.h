/* What the tests of common/ipc_* share: a server that plays syncd on a socket in a directory of its
 * own, a client of it, and a bare socket for everything a client would never say.
 *
 * Everything runs on one loop in one thread; wait_until() turns it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cleanup.h"
#include "common/ipc.h"
#include "common/ipc_packet.h"

/* CONNECTIONS: those of one of its two roles. */
enum { HELD_MAX = 64, QUEUE_LENGTH = 8, CONNECTIONS = 4 };

struct fixture {
    struct loop *loop;
    char dir[32], path[64];
    struct ipc_peer_uid peers[2];
    struct ipc_server_spec spec;
    struct ipc_server *server;
    struct ipc_client *client;          /* plays mountd */

    bool hold;                          /* requests are kept in `held` instead of being answered */
    struct ipc_request *held[HELD_MAX];
    size_t n_held;
    size_t served;                      /* requests that reached a handler */
    uint64_t instance, id, done_below;  /* of the last one */
    size_t lost;                        /* peers lost */
    struct ipc_peer *lost_peer;
    size_t connected, disconnected;     /* of the client */
    uint64_t cancel_when_lost;          /* handle of a call */
    size_t events;                      /* the client got */
    int event_fd;
};

/* What became of a call. */
struct outcome {
    size_t done;
    int code;
    char text[ERROR_TEXT_MAX];
    Lf__Envelope__BodyCase body;
    int fd;
    size_t n_mounts;
};

struct fixture *fixture_new(void);
void fixture_free(struct fixture *f);

void start_server(struct fixture *f);
void stop_server(struct fixture *f);  /* as if it crashed: held requests are answered into the void */
void start_client(struct fixture *f);

/* Answers the first held request with an empty MountListed. */
void answer_held(struct fixture *f);

uint64_t call_mount_list(struct fixture *f, struct outcome *o, uint64_t deadline_ms);
uint64_t call_once(struct fixture *f, struct outcome *o);          /* WorkerAttach: a row that is not repeated */
void on_outcome(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg);

/* Turns the loop until the condition holds; fails the test after some seconds. */
#define wait_until(f, condition) \
    do { \
        struct patience *patience_ = patience_new((f)->loop); \
        while (!(condition)) \
            patience_turn((f)->loop, patience_, #condition); \
        patience_free(patience_); \
    } while (0)
struct patience;
struct patience *patience_new(struct loop *l);
void patience_turn(struct loop *l, struct patience *p, const char *condition);
void patience_free(struct patience *p);

/* Turns the loop as long as there is something to do at once. */
void turn_idle(struct fixture *f);

/* A bare connection; with a role it says Hello. */
int bare_connect(struct fixture *f, enum role role);
int bare_send(int fd, const Lf__Envelope *env, const int *fds, size_t n);
/* Turns the loop until the bare connection was closed by the server; replies are thrown away. */
void bare_wait_closed(struct fixture *f, int fd);
/* Turns the loop until a reply is there. */
Lf__Envelope *bare_receive(struct fixture *f, int fd);
