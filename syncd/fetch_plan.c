/* Owns the choice of which absent bytes are fetched next, and how far to read ahead.
 *
 * A waiter's own chunks may use all PARALLEL transfers, reading ahead only PARALLEL_AHEAD of them,
 * so that a second reader elsewhere in the file does not stand behind a long window.
 *
 * Must not know how bytes come (fetch.c), nor who waits for them (fetch_wait.c). */
#include "syncd/fetch_internal.h"

#include <errno.h>

#include "common/number.h"
#include "syncd/object.h"

enum { PARALLEL = 8, PARALLEL_AHEAD = 4 };

static const uint64_t SPAN_MAX = 8 << 20;        /* bytes of one request */
static const uint64_t WINDOW_FIRST = 1 << 20;
static const uint64_t WINDOW_MAX = 32 << 20;
static const uint64_t DISORDER = 2 << 20;        /* the kernel reads ahead too, and not quite in order */

static const struct fetch_transfer *covering(const struct cache_file *f, uint64_t at)
{
    const struct fetch_transfer *t;

    TAILQ_FOREACH(t, &f->fetch.transfers, next)
        if (at >= t->from && at < t->to)
            return t;
    return NULL;
}

/* The first byte of [from, to) that is absent and not on its way; `to` if none. */
static uint64_t next_wanted(const struct cache_file *f, uint64_t from, uint64_t to)
{
    const struct fetch_transfer *t;

    from &= ~(uint64_t)(CHUNK_SIZE - 1);
    while (from < to) {
        if (chunk_present(f->map, from >> CHUNK_SHIFT) || fetch_object_bad(f, from))
            from += CHUNK_SIZE;
        else if ((t = covering(f, from)))
            from = (t->to + CHUNK_SIZE - 1) & ~(uint64_t)(CHUNK_SIZE - 1);
        else
            return from;
    }
    return to;
}

/* The end of the run of absent bytes that nobody fetches yet, at most `to`. */
static uint64_t run_end(const struct cache_file *f, uint64_t from, uint64_t to)
{
    while (from < to && !chunk_present(f->map, from >> CHUNK_SHIFT) && !covering(f, from) && !fetch_object_bad(f, from))
        from += CHUNK_SIZE;
    return least(from, to);
}

/* One request reaches as far as is wanted or worth it, in whole chunks. */
static uint64_t span(const struct cache_file *f, uint64_t from, uint64_t to, uint64_t end)
{
    uint64_t until = most(most(to, f->fetch.ahead), from + FETCH_SPAN_LEAST);

    until = (until + CHUNK_SIZE - 1) & ~(uint64_t)(CHUNK_SIZE - 1);
    return run_end(f, from, least(least(until, from + SPAN_MAX), end));
}

/* A file that one request brings whole is asked for from its beginning: then it can be compared with its ETag. */
static uint64_t begin(const struct cache_file *f, uint64_t from, uint64_t end)
{
    return end <= FETCH_SPAN_LEAST && run_end(f, 0, from) == from ? 0 : from;
}

static int want(struct cache_file *f, const struct fetch_wish *wish, uint64_t from, unsigned parallel)
{
    uint64_t end = fetch_reach(f), to = least(wish->to, end);
    int r = 0;

    while (r == 0 && f->fetch.n_transfers < parallel && (from = next_wanted(f, from, to)) < to) {
        from = begin(f, from, end);
        r = fetch_start(f, wish, from, span(f, from, to, end));
    }
    return r;
}

static int want_waiters(struct cache_file *f, enum space_for what)
{
    struct fetch_waiter *w;
    int r = 0;

    for (w = TAILQ_FIRST(&f->fetch.waiters); w && r == 0; w = TAILQ_NEXT(w, next))
        if (w->what == what && !(f->fetch.paused && w->patient))
            r = want(f, &(struct fetch_wish){ what, w->why, w->to }, w->from, PARALLEL);
    return r;
}

/* Without space it is left. */
static int want_ahead(struct cache_file *f)
{
    int r = 0;

    if (!f->fetch.paused)
        r = want(f, &(struct fetch_wish){ SPACE_READ, FETCH_AHEAD, f->fetch.ahead }, f->fetch.expected, PARALLEL_AHEAD);
    return r == -EAGAIN || r == -EINPROGRESS ? 0 : r;
}

static void await_space(struct cache_file *f, enum space_for what);

static int want_all(struct cache_file *f)
{
    int r = 0;

    for (int what = SPACE_READ; r == 0 && what < SPACE_FORS; what++) {
        r = want_waiters(f, (enum space_for)what);
        if (r == -EAGAIN)
            await_space(f, (enum space_for)what);
        else if (r == 0 && what == SPACE_READ)
            r = want_ahead(f);
    }
    return r;
}

static void there_is_space(const struct error *e, void *arg)
{
    struct cache_file *f = arg;

    f->fetch.space = NULL;
    if (e->code)
        fetch_fail_lacking(f, e);
    fetch_plan(f);
    cache_release(f);
}

static void await_space(struct cache_file *f, enum space_for what)
{
    if (f->fetch.space)
        return;
    f->fetch.lacking = what;
    f->fetch.space = space_wait(f->volume->cache, what, FETCH_SPAN_LEAST + FETCH_MAP_BYTES, there_is_space,
                                cache_hold(f));
}

static void fail_all(struct cache_file *f, int code)
{
    struct error e, refusal;

    if (f->volume->keys && object_refusal(code, &refusal))
        error_set(&e, code, "%s", refusal.text);
    else
        error_set(&e, code, "The file could not be fetched: %s", error_meaning(code)->text);
    fetch_fail_all(f, &e);
}

void fetch_plan(struct cache_file *f)
{
    struct error e;
    int r;

    if (f->fetch.refreshing || f->fetch.superseded)
        return;
    cache_hold(f);
    if (f->volume->paused) {
        error_set(&e, -ENETDOWN, "The drive is paused and the file is not here.");
        fetch_fail_all(f, &e);
    } else if ((r = want_all(f)) == -ESTALE) {
        fetch_refresh(f);
    } else if (r < 0 && r != -EAGAIN && r != -EINPROGRESS) {
        fail_all(f, r);
    }
    cache_release(f);
}

void fetch_note_reader(struct cache_file *f, uint64_t from, uint64_t to)
{
    struct fetch *t = &f->fetch;

    if (from + DISORDER < t->expected || from > most(t->expected, t->ahead) + DISORDER) {
        t->window = 0;
        t->expected = to;
    } else {
        t->window = t->window ? least(t->window * 4, WINDOW_MAX) : WINDOW_FIRST;
        t->window = least(t->window, space_ahead(f->volume->cache));
        t->expected = most(t->expected, to);
    }
    t->ahead = t->window ? t->expected + t->window : 0;
}
