/* Owns those who wait. They look when something changed, not oftener than looking costs little; one look at a directory
 * may cost what the index has to say about all that is pending. */
#include "syncd/await.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/waits.h"

enum { LOOK_LEAST_MS = 20, LOOK_SHARE = 10 };

struct await {
    LIST_ENTRY(await) next;
    struct volume *volume;
    uint64_t ino;
    struct loop_timer *timer;
    void (*done)(const struct error *e, const struct volume_arrival *a, void *arg);
    void *arg;
};

static void answer(struct await *w, const struct error *e, const struct volume_arrival *a)
{
    struct await told = *w;

    LIST_REMOVE(w, next);
    loop_timer_free(w->timer);
    free(w);
    told.done(e, a, told.arg);
}

/* What there is to say now, whatever it is. */
static void tell(struct await *w, const struct index_inode *i, bool stuck, const char *why)
{
    struct volume_arrival a = { .ino = w->ino, .stuck = stuck };

    a.there = waits_there(w->volume, i);
    a.pending = a.there ? 0 : waits_count(w->volume, i);
    a.coming = waits_coming(w->volume, i);
    if (why)
        a.waits_for = why;
    answer(w, NULL, &a);
}

/* False: it has been told that the inode is gone. */
static bool get(struct await *w, struct index_inode *ret)
{
    static const struct error gone = { -ENOENT, "It was removed meanwhile." };
    int r = index_get(w->volume->index, w->ino, ret);

    if (r == 0 && ret->nlink > 0)
        return true;
    answer(w, &gone, NULL);
    return false;
}

static void on_deadline(void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct await *w = arg;
    char why[WAITS_MAX];

    if (!get(w, &i))
        return;
    waits_say(w->volume, &i, why);
    tell(w, &i, false, why);
}

/* True: it has been answered. */
static bool look_at(struct await *w)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (!get(w, &i))
        return true;
    if (!waits_there(w->volume, &i))
        return false;
    tell(w, &i, false, NULL);
    return true;
}

/* True: it has been answered, because something stands in the way that does not pass by itself. */
static bool give_up(struct await *w)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char why[WAITS_MAX];

    if (!get(w, &i))
        return true;
    if (waits_there(w->volume, &i) || !waits_in_vain(w->volume, &i, why))
        return false;
    tell(w, &i, true, why);
    return true;
}

/* --- when to look ------------------------------------------------------------------------------------------ */

static void look(void *arg)
{
    struct volume *v = arg;
    int64_t began = loop_now_ns();
    struct await *w, *next;

    loop_timer_free(take_ptr(v->await_timer));
    for (w = LIST_FIRST(&v->awaits); w; w = next) {
        next = LIST_NEXT(w, next);
        if (!look_at(w))   /* what is held may be all that is left */
            (void)give_up(w);
    }
    v->await_pause_ms = (uint64_t)(loop_now_ns() - began) / 1000000 * LOOK_SHARE;
}

void await_kick(struct volume *v)
{
    uint64_t ms = v->await_pause_ms > LOOK_LEAST_MS ? v->await_pause_ms : LOOK_LEAST_MS;

    if (!LIST_EMPTY(&v->awaits) && !v->await_timer)
        v->await_timer = loop_timer(v->loop, ms, look, v);
}

void await_failed(struct volume *v, uint64_t ino, int seconds)
{
    struct await *w, *next;

    if (!waits_lasting(seconds))
        return;
    for (w = LIST_FIRST(&v->awaits); w; w = next) {
        next = LIST_NEXT(w, next);
        if (index_is_in(v->index, ino, w->ino))
            (void)give_up(w);
    }
}

void await_refused(struct volume *v)
{
    struct await *w, *next;

    for (w = LIST_FIRST(&v->awaits); w; w = next) {
        next = LIST_NEXT(w, next);
        (void)give_up(w);
    }
}

/* --- life ------------------------------------------------------------------------------------------------ */

void volume_await(struct volume *v, uint64_t ino, unsigned seconds,
                  void (*done)(const struct error *e, const struct volume_arrival *a, void *arg), void *arg)
{
    struct await *w = xcalloc(1, sizeof(*w));

    *w = (struct await){ .volume = v, .ino = ino, .done = done, .arg = arg };
    LIST_INSERT_HEAD(&v->awaits, w, next);
    if (look_at(w) || give_up(w))
        return;
    w->timer = loop_timer(v->loop, (uint64_t)seconds * 1000, on_deadline, w);
    if (!w->timer)
        abort();
}

bool volume_has(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(v->index, ino, &i) == 0 && i.nlink > 0;
}

void await_end(struct volume *v)
{
    static const struct error closed = { -ECANCELED, "The drive is being closed." };

    while (!LIST_EMPTY(&v->awaits))
        answer(LIST_FIRST(&v->awaits), &closed, NULL);
    loop_timer_free(take_ptr(v->await_timer));
}
