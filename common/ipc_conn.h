/* One connected SOCK_SEQPACKET socket on the loop: what both ends of the IPC share. It reads and
 * unpacks packets, queues what the peer does not take at once, and holds back reading while the
 * peer has too much under way. Internal to common/ipc_*.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/ipc_packet.h"

/* Bytes that may wait for a slow peer before nothing more is read from it. */
enum { IPC_QUEUE_BYTES = 8 * 1024 * 1024 };

struct ipc_conn;

struct ipc_conn_ops {
    /* An unpacked packet. Take a descriptor by setting its place to -1. Returns NULL, or what is wrong
     * with it, which ends the connection. May call ipc_conn_close(). */
    const char *(*packet)(void *owner, const Lf__Envelope *env, int *fds, size_t n_fds);
    /* The connection ended by itself, for that reason; `violation`: the peer broke the protocol. Runs
     * once, from the loop, never inside another call of this interface. The owner calls ipc_conn_close(). */
    void (*gone)(void *owner, const char *why, bool violation);
};

/* Goes on over `fd`, which is owned from here on, even on failure. `limit`: reading pauses while so
 * many packets are under way, queued or counted by ipc_conn_load(); 0: never. NULL without memory. */
struct ipc_conn *ipc_conn_new(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *owner, size_t limit);

/* Closes the socket at once; no callback runs afterwards. NULL is fine. */
void ipc_conn_close(struct ipc_conn *c);

/* Sends or queues the packet (which keeps the caller's reference). 0, or a negative errno when
 * borrowed descriptors could not be duplicated. A peer that is gone is heard of through `gone`. */
int ipc_conn_send(struct ipc_conn *c, struct ipc_packet *p);

/* Packets that wait to be taken by the peer. */
size_t ipc_conn_queued(const struct ipc_conn *c);

/* Adds to the number of packets from the peer that are still being worked on. */
void ipc_conn_load(struct ipc_conn *c, int change);

/* Ends the connection: `gone` will run with this reason (static storage). */
void ipc_conn_break(struct ipc_conn *c, const char *why, bool violation);
