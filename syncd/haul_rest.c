/* Hauls of an earlier process whose cloud was not reached yet: after a start of the machine the network may come later
 * than we, and so may what opens the keys. They rest until it is there; what ends without an answer later has
 * failed. */
#include "syncd/haul_internal.h"

#include <errno.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/syncd.h"

enum { REST_MS = 5000 };

static bool may_pass(int code)
{
    static const int codes[] = { -EHOSTUNREACH, -ETIMEDOUT, -EAGAIN, -ECONNRESET, -ENOTCONN };

    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (codes[i] == code)
            return true;
    return false;
}

static void wake(void *arg)
{
    struct hauls *all = arg;
    struct haul *e;

    loop_timer_free(take_ptr(all->rest));
    TAILQ_FOREACH(e, &all->list, next)
        e->rests = false;
    haul_next_turn_soon(all);
}

bool haul_rest(struct haul *e, int code)
{
    struct hauls *all = e->d->hauls;

    if (!e->resumed || e->heard || !haul_runs(e) || code == -ECANCELED)
        return false;
    e->heard = !may_pass(code);
    if (e->heard)
        return false;
    e->rests = true;
    LOG_TRACE(LOG_NOTICE, e->trace, "transfer_waits_for_cloud", "transfer=%s", haul_id(e), "error=%s",
              error_meaning(code)->text);
    haul_put_off(e);
    if (!all->rest && !all->closed)
        all->rest = loop_timer(all->loop, REST_MS, wake, all);
    return true;
}
