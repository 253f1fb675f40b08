/* Owns the order of changes that touch the same chunks. */
#include "mountd/worker_turn.h"

#include <stddef.h>

static bool is_next(const struct turns *all, const struct turn *t)
{
    const struct turn *before;

    TAILQ_FOREACH(before, all, next) {
        if (before == t)
            break;
        if (before->first <= t->last && t->first <= before->last)
            return false;
    }
    return true;
}

bool turn_begin(struct turns *all, struct turn *t)
{
    TAILQ_INSERT_TAIL(all, t, next);
    t->queued = true;
    t->ready = is_next(all, t);
    return t->ready;
}

static struct turn *find_next(const struct turns *all)
{
    struct turn *t;

    TAILQ_FOREACH(t, all, next)
        if (!t->ready && is_next(all, t))
            break;
    return t;
}

/* Whoever goes may end at once, and others with it. */
void turn_end(struct turns *all, struct turn *t)
{
    struct turn *other;

    if (!t->queued)
        return;
    TAILQ_REMOVE(all, t, next);
    t->queued = t->ready = false;
    while ((other = find_next(all))) {
        other->ready = true;
        other->go(other->arg);
    }
}
