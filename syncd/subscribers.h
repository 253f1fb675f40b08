/* Connections that asked to be told of something, each once. Knows nothing of what they are told. */
#pragma once

#include <stdbool.h>

#include "common/ipc.h"

struct subscriber;

struct subscribers {          /* all zero: nobody */
    struct subscriber *first;
};

/* Fine for one that is there already, and for NULL: it is gone by now. */
void subscribers_add(struct subscribers *s, struct ipc_peer *peer);
/* A connection ended; fine for one that never asked. */
void subscribers_remove(struct subscribers *s, const struct ipc_peer *peer);
void subscribers_remove_all(struct subscribers *s);
bool subscribers_any(const struct subscribers *s);
/* Whom it does not reach is lost, and asks again when he is back. */
void subscribers_tell(const struct subscribers *s, Lf__Envelope *event);
