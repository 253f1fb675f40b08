/* The calls of a client, from ipc_call() to their answer. What ipc_call.c (the calls) and ipc_client.c
 * (the connection they go over) share; nobody else includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/ipc_conn.h"

enum { IPC_CALL_BUCKETS = 256 };

struct ipc_call {
    TAILQ_ENTRY(ipc_call) next;
    LIST_ENTRY(ipc_call) same_bucket;
    struct ipc_client *client;
    uint64_t id;
    const struct message_row *row;    /* NULL only when the call failed for want of one */
    struct ipc_packet *packet;        /* NULL once it will not be sent again */
    bool sent;                        /* over the present connection */
    struct loop_timer *deadline;
    ipc_answer_fn *done;
    void *arg;
    struct error error;               /* of a failed call */
};
TAILQ_HEAD(ipc_call_list, ipc_call);

struct ipc_client {
    struct loop *loop;
    struct ipc_client_spec spec;
    unsigned refs;                    /* the owner's, and that of a callback under way */
    uint64_t instance, next_id;
    struct ipc_conn *conn;            /* NULL: not connected */
    struct loop_timer *retry;
    uint64_t backoff_ms;
    struct ipc_call_list calls, failed;
    LIST_HEAD(, ipc_call) buckets[IPC_CALL_BUCKETS];
    size_t n_calls;
    struct event *failing;            /* delivers `failed` */
    bool freed;
};

void ipc_client_unref(struct ipc_client *c);

/* The call of that id, waiting or failed, or NULL. */
struct ipc_call *ipc_call_find(struct ipc_client *c, uint64_t id);

/* Whether it only waits for its owner to hear so. */
bool ipc_call_failed(const struct ipc_call *call);

/* Sends it over the present connection; on failure fails it. */
void ipc_call_send(struct ipc_call *call);

/* Delivers the answer (see ipc_answer_fn) and frees the call. */
void ipc_call_finish(struct ipc_call *call, const struct error *e, const Lf__Envelope *reply, int *fds);

/* Has the loop deliver the failure in a later turn. */
void ipc_call_fail(struct ipc_call *call, const struct error *e);

/* Delivers at most n failures that wait. */
void ipc_call_deliver_failed(struct ipc_client *c, size_t n);
