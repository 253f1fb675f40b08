/* How many calls that can change something each uid may make: so many a second, and a burst of as many as in four
 * seconds after a pause. A program that goes wrong is slowed down instead of filling the audit log and the queues
 * behind. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { RATE_PEERS = 2, RATE_BURST_SECONDS = 4 };   /* the served user, and root */

struct rate {
    uint64_t per_second;                /* 0: no limit */
    struct rate_peer {
        uid_t uid;
        bool known;
        int64_t spent_until_ns;         /* the calls so far would fill the time until then */
    } peers[RATE_PEERS];
};

/* Whether the uid may make another one at `now_ns` (of loop_now_ns()); it counts if so. */
bool rate_take(struct rate *r, uid_t uid, int64_t now_ns);
