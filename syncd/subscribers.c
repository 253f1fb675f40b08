/* A list, which is short: one frontd, one mountd, and what is left of their predecessors. */
#include "syncd/subscribers.h"

#include <stdlib.h>

#include "common/alloc.h"

struct subscriber {
    struct subscriber *next;
    struct ipc_peer *peer;
};

/* Where it is linked to, or would be. */
static struct subscriber **find(struct subscribers *s, const struct ipc_peer *peer)
{
    struct subscriber **at = &s->first;

    while (*at && (*at)->peer != peer)
        at = &(*at)->next;
    return at;
}

void subscribers_add(struct subscribers *s, struct ipc_peer *peer)
{
    struct subscriber *new;

    if (!peer || *find(s, peer))
        return;
    new = xcalloc(1, sizeof(*new));
    *new = (struct subscriber){ s->first, peer };
    s->first = new;
}

void subscribers_remove(struct subscribers *s, const struct ipc_peer *peer)
{
    struct subscriber **at = find(s, peer), *found = *at;

    if (!found)
        return;
    *at = found->next;
    free(found);
}

void subscribers_remove_all(struct subscribers *s)
{
    while (s->first)
        subscribers_remove(s, s->first->peer);
}

bool subscribers_any(const struct subscribers *s)
{
    return s->first;
}

void subscribers_tell(const struct subscribers *s, Lf__Envelope *event)
{
    for (const struct subscriber *one = s->first; one; one = one->next)
        (void)ipc_peer_event(one->peer, event, NULL, 0);
}
