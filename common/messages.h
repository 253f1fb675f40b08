/* The graph of the processes, as data: who may say what to whom. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/ipc.pb-c.h"

enum role { ROLE_NONE, ROLE_FRONTD, ROLE_SYNCD, ROLE_MOUNTD, ROLE_CRYPTD, ROLE_WORKER, ROLE_COUNT };
#define ROLE_BIT(r) (1u << (r))

/* Raised whenever ipc.proto, or the memory that processes share (chunk_map.h), changes in a way an older process could
 * misread. */
enum { IPC_PROTOCOL = 5 };

struct message_row {
    Lf__Envelope__BodyCase body;   /* a request or an event */
    unsigned senders;              /* ROLE_BIT()s */
    unsigned receivers;            /* ROLE_BIT()s */
    Lf__Envelope__BodyCase reply;  /* LF__ENVELOPE__BODY__NOT_SET: an event, nothing answers it */
    unsigned fds;                  /* descriptors that ride with it, exactly */
    unsigned reply_fds;            /* descriptors that ride with a successful reply, exactly */
    bool repeat;                   /* sent again by itself when the receiver restarts before it answered */
};

/* The row of a request or event, NULL for anything else. */
const struct message_row *message_row(Lf__Envelope__BodyCase body);
const struct message_row *message_rows(size_t *ret_n);

/* "frontd", ...; "none" for anything else. */
const char *role_name(enum role r);

/* The field name of a body case, for logs: "drive_list"; "unset", "unknown". */
const char *message_name(Lf__Envelope__BodyCase body);

/* A copy of any message, to be freed as one that was unpacked; what it was packed into meanwhile is wiped. Aborts
 * without memory. */
void *message_copy(const ProtobufCMessage *m);
