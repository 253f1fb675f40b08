/* Owns the order in which extents go. evict.h says what it is and why.
 *
 * Must not know files, only their numbers in the index. */
#include "syncd/evict.h"

#include <errno.h>

int evict_load(struct evict_order *o, struct index *x)
{
    int r = 0;

    o->index = x;
    for (unsigned q = 0; r == 0 && q < INDEX_QUEUES; q++)
        r = index_extent_sum(x, q, &o->bytes[q], &o->n[q]);
    return r;
}

/* --- the sums follow the rows ----------------------------------------------------------------------- */

static void count(struct evict_order *o, const struct index_extent *e, int sign)
{
    o->bytes[e->queue] += sign > 0 ? e->bytes : -e->bytes;
    o->n[e->queue] += sign > 0 ? 1 : UINT64_MAX;
}

static int put(struct evict_order *o, const struct index_extent *before, struct index_extent *e)
{
    int r = index_extent_put(o->index, e);

    if (r < 0)
        return r;
    if (before)
        count(o, before, -1);
    count(o, e, 1);
    return 0;
}

/* To the end of a queue. */
static int line_up(struct evict_order *o, const struct index_extent *before, struct index_extent e, enum evict_queue q)
{
    e.queue = q;
    e.turn = 0;
    return put(o, before, &e);
}

/* --- uses --------------------------------------------------------------------------------------------- */

static int used_again(struct evict_order *o, const struct index_extent *before, uint64_t bytes, int64_t now_s)
{
    struct index_extent e = *before;

    e.bytes = bytes;
    if (e.seen_s == 0 && now_s > 0) {
        bool stays = !o->rotates && e.uses > 0;

        e.seen_s = now_s;
        return line_up(o, before, e, stays ? EVICT_KEPT : (enum evict_queue)e.queue);
    }
    if (now_s - e.seen_s >= EVICT_APART_S) {
        e.seen_s = now_s;
        e.uses += e.uses < EVICT_USES_MAX;
    }
    return e.bytes == before->bytes && e.seen_s == before->seen_s ? 0 : put(o, before, &e);
}

int evict_used(struct evict_order *o, uint64_t ino, uint64_t extent, uint64_t bytes, enum evict_use use, bool keep,
               int64_t now_s)
{
    bool ahead = use == EVICT_CAME_AHEAD;
    struct index_extent fresh = { .ino = ino, .extent = extent, .bytes = bytes, .seen_s = ahead ? 0 : now_s }, before;
    int r = index_extent_get(o->index, ino, extent, &before);

    if (r < 0 && r != -ENOENT)
        return r;
    if (r == 0 && before.queue != EVICT_GHOST)
        return used_again(o, &before, bytes, ahead ? before.seen_s : now_s);
    if (use == EVICT_USED && bytes == 0)
        return 0;   /* gone meanwhile */
    keep = keep || r == 0;
    fresh.uses = keep && ahead;   /* then its first one brings it to `kept` */
    return line_up(o, r == 0 ? &before : NULL, fresh, keep && !ahead ? EVICT_KEPT : EVICT_NEW);
}

/* --- turns -------------------------------------------------------------------------------------------- */

void evict_begin(struct evict_order *o, bool only_new)
{
    o->only_new = only_new;
    for (unsigned q = 0; q < INDEX_QUEUES; q++)
        o->skipped[q] = 0;
}

static bool left(const struct evict_order *o, enum evict_queue q)
{
    return o->n[q] > 0 && o->skipped[q] < o->n[q];
}

/* False: nothing is left to look at. */
static bool choose_queue(const struct evict_order *o, enum evict_queue *ret)
{
    bool kept = !o->only_new && left(o, EVICT_KEPT);

    if (!left(o, EVICT_NEW) && !kept)
        return false;
    *ret = left(o, EVICT_NEW) && (!kept || !o->rotates ||
                                  o->bytes[EVICT_NEW] * EVICT_NEW_SHARE >= o->bytes[EVICT_NEW] + o->bytes[EVICT_KEPT])
               ? EVICT_NEW : EVICT_KEPT;
    return true;
}

int evict_next(struct evict_order *o, struct index_extent *ret)
{
    enum evict_queue q;
    int r = 0;

    while (r == 0 && choose_queue(o, &q)) {
        struct index_extent again;

        r = index_extent_first(o->index, q, ret);
        if (r < 0 || !o->rotates || ret->uses == 0 || ret->seen_s == 0)
            return r;
        again = *ret;
        again.uses = q == EVICT_NEW ? 0 : again.uses - 1;
        r = line_up(o, ret, again, EVICT_KEPT);
    }
    return r < 0 ? r : -ENOENT;
}

/* Ghosts remember as much as there is. */
static int forget_oldest(struct evict_order *o)
{
    struct index_extent e;
    int r = 0;

    while (r == 0 && o->bytes[EVICT_GHOST] > o->bytes[EVICT_NEW] + o->bytes[EVICT_KEPT]) {
        r = index_extent_first(o->index, EVICT_GHOST, &e);
        if (r == 0)
            r = index_extent_remove(o->index, e.ino, e.extent);
        if (r == 0)
            count(o, &e, -1);
    }
    return r == -ENOENT ? 0 : r;
}

int evict_gone(struct evict_order *o, struct index_extent *e)
{
    int r = line_up(o, e, *e, EVICT_GHOST);

    return r < 0 ? r : forget_oldest(o);
}

int evict_skip(struct evict_order *o, struct index_extent *e)
{
    o->skipped[e->queue]++;
    return line_up(o, e, *e, (enum evict_queue)e->queue);
}

int evict_forget(struct evict_order *o, uint64_t ino)
{
    struct index_extent e;
    int r;

    while ((r = index_extent_of(o->index, ino, &e)) == 0) {
        r = index_extent_remove(o->index, ino, e.extent);
        if (r < 0)
            return r;
        count(o, &e, -1);
    }
    return r == -ENOENT ? 0 : r;
}
