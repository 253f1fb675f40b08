/* One packet: an envelope's bytes and the descriptors that ride with it, packed, sent, received and
 * checked. Internal to common/ipc_*.c, the fuzz target and the tests of it.
 *
 * Nothing here keeps state about a connection or knows a handler. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ipc.h"

/* A packet on its way out. Shared by those who count in `refs`; its bytes are wiped at the end,
 * since they may hold a credential. */
struct ipc_packet {
    unsigned refs;
    bool own_fds;             /* false: borrowed from whoever made it */
    size_t n_fds;
    int fds[IPC_FDS_MAX];
    size_t len;
    uint8_t data[];
};

/* Packs `env` with n borrowed descriptors. 0 and *ret with one reference, -EMSGSIZE when it does not
 * fit IPC_MESSAGE_MAX, -EPROTO with too many descriptors, -ENOMEM. */
int ipc_packet_new(const Lf__Envelope *env, const int *fds, size_t n, struct ipc_packet **ret);

/* Duplicates borrowed descriptors, so that the packet can outlive the call. 0 or -EMFILE and the like. */
int ipc_packet_keep(struct ipc_packet *p);

struct ipc_packet *ipc_packet_ref(struct ipc_packet *p);
void ipc_packet_unref(struct ipc_packet *p);  /* NULL is fine */
void ipc_packet_unrefp(struct ipc_packet **p);

/* 0 when sent, -EAGAIN when the peer has to read first, or another negative errno. */
int ipc_packet_send(int fd, const struct ipc_packet *p);

/* Receives one packet into `data` (IPC_MESSAGE_MAX bytes) and `fds` (IPC_FDS_MAX places; unused ones
 * are -1; close-on-exec, the caller's). 0, -EAGAIN, -EPIPE when the peer is gone, -EPROTO when it was
 * cut because it carried too many bytes or descriptors (what arrived of them is closed), or another
 * negative errno. */
int ipc_packet_receive(int fd, uint8_t *data, size_t *ret_len, int *fds, size_t *ret_n);

/* Closes what is left in `fds` and sets the places to -1. */
void ipc_packet_close_fds(int *fds, size_t n);

/* --- checks, in the order they are made. Each returns NULL, or what is wrong in a few words for the
 * log (static storage). Nothing in a packet is trusted before all have passed. */

/* 1. Size, unpacking, a body or a failure. *ret is freed with lf__envelope__free_unpacked(, NULL). */
const char *ipc_packet_unpack(const uint8_t *data, size_t len, Lf__Envelope **ret);

/* 2. A request or event from `sender` to `receiver` with n descriptors: row, id, roles, descriptors. */
const char *ipc_packet_check_call(const Lf__Envelope *env, enum role sender, enum role receiver, size_t n,
                                  const struct message_row **ret_row);

/* 2. A reply to a request of this row: its body or a failure, descriptors. */
const char *ipc_packet_check_reply(const Lf__Envelope *env, const struct message_row *row, size_t n);
