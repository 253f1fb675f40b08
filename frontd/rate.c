/* Each call takes 1/per_second of the time; who is less than the burst ahead of the clock may go on. */
#include "frontd/rate.h"

static const int64_t SECOND_NS = 1000000000;

static struct rate_peer *peer_of(struct rate *r, uid_t uid)
{
    for (unsigned i = 0; i < RATE_PEERS; i++) {
        if (!r->peers[i].known)
            r->peers[i] = (struct rate_peer){ .uid = uid, .known = true };
        if (r->peers[i].uid == uid)
            return &r->peers[i];
    }
    return &r->peers[RATE_PEERS - 1];   /* nobody else is let in */
}

bool rate_take(struct rate *r, uid_t uid, int64_t now_ns)
{
    struct rate_peer *p = peer_of(r, uid);

    if (!r->per_second)
        return true;
    if (p->spent_until_ns < now_ns)
        p->spent_until_ns = now_ns;
    if (p->spent_until_ns - now_ns >= RATE_BURST_SECONDS * SECOND_NS)
        return false;
    p->spent_until_ns += SECOND_NS / (int64_t)r->per_second;
    return true;
}
