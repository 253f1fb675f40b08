/* Those who wait until hauls move nothing any more. */
#include "syncd/haul_internal.h"

#include <stdlib.h>

#include "common/alloc.h"

struct haul_drain {
    LIST_ENTRY(haul_drain) next;
    struct loop_timer *timer;
    void (*done)(void *arg);
    void *arg;
};

static void end(struct haul_drain *w)
{
    struct haul_drain told = *w;

    LIST_REMOVE(w, next);
    loop_timer_free(w->timer);
    free(w);
    told.done(told.arg);
}

static void on_timeout(void *arg)
{
    end(arg);
}

static bool moves(const struct hauls *all)
{
    const struct haul *e;

    TAILQ_FOREACH(e, &all->list, next)
        if ((e->state == HAUL_WAITS && !e->rests) || e->state == HAUL_RUNS)
            return true;
    return false;
}

void haul_drains_look(struct hauls *all)
{
    while (!LIST_EMPTY(&all->drains) && !moves(all))
        end(LIST_FIRST(&all->drains));
}

void hauls_drain(struct hauls *all, unsigned seconds, void (*done)(void *arg), void *arg)
{
    struct haul_drain *w = xcalloc(1, sizeof(*w));

    *w = (struct haul_drain){ .timer = loop_timer(all->loop, seconds * UINT64_C(1000), on_timeout, w),
                              .done = done, .arg = arg };
    LIST_INSERT_HEAD(&all->drains, w, next);
    haul_drains_look(all);
}
