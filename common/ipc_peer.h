/* What ipc_server.c (who may come in) and ipc_peer.c (what is said then) share. Nobody else
 * includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc_conn.h"

enum { IPC_LISTENERS_MAX = 8 };

struct ipc_peer {
    TAILQ_ENTRY(ipc_peer) next;
    struct ipc_server *server;    /* NULL once lost */
    struct ipc_conn *conn;        /* NULL once lost */
    unsigned refs;
    enum role fixed;              /* of a channel; ROLE_NONE: the uid decides */
    enum role role;               /* ROLE_NONE before Hello */
    uint32_t uid;
    uint64_t instance;
    struct loop_timer *hello;     /* NULL for channels and after Hello */
    void *data;
    bool closed;                  /* by ipc_peer_close(): the daemon wants to hear no more of it */
};

struct ipc_server {
    struct loop *loop;
    struct ipc_server_spec spec;
    TAILQ_HEAD(, ipc_peer) peers;
    struct event *listeners[IPC_LISTENERS_MAX];
    size_t n_listeners;
    struct loop_timer *pause;
    int64_t failed_second;        /* in which accepting failed last, and was logged once */
    uint64_t refused;
    int64_t refused_second;
    unsigned refused_in_second;
};

/* Logs what was refused and why, at a bounded rate, and counts it. */
void ipc_server_refuse(struct ipc_server *s, enum role role, uint32_t uid, const char *why);

/* Whether a process of this uid may claim the role; ROLE_NONE: any role at all. */
bool ipc_server_uid_may_be(const struct ipc_server *s, uint32_t uid, enum role role);

/* A peer on `fd`, which is taken over also on failure. `fixed`: see struct ipc_peer. NULL without memory. */
struct ipc_peer *ipc_peer_new(struct ipc_server *s, int fd, enum role fixed, uint32_t uid, void *data);

/* Closes the connection and lets go of the peer, without a word to the daemon. */
void ipc_peer_drop(struct ipc_peer *p);
