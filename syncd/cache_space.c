/* Owns the sums of a cache: used, reserved, granted; and the queue of those who wait for space.
 *
 * Must not know what is given up to make room (evict.c). */
#include "syncd/cache_space.h"

#include <errno.h>
#include <sys/statvfs.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/evict.h"
#include "syncd/tally.h"

enum { RETRY_MS = 10, WATCH_MS = 30000 };

static const uint64_t MIB = 1 << 20;

struct space_waiter {
    TAILQ_ENTRY(space_waiter) next;
    struct cache *cache;
    enum space_for what;
    uint64_t bytes;
    struct loop_timer *timer;
    space_done_fn *done;
    void *arg;
};

/* --- limits --------------------------------------------------------------------------------------- */

static uint64_t pool_of(uint64_t limit)
{
    return least(most(least(limit / 8, 32 * MIB), 4 * MIB), limit / 2);
}

static uint64_t pool(const struct cache *c)
{
    return c->space.limit ? pool_of(c->space.limit) : 32 * MIB;
}

/* A write that passed just before its grant was taken back may not have reached the disk yet. */
static uint64_t margin(const struct cache *c)
{
    return least(c->space.limit / 64, MIB);
}

static uint64_t limit_for(const struct cache *c, enum space_for what)
{
    uint64_t limit = c->space.limit;

    if (!limit)
        return UINT64_MAX;
    return limit - margin(c) - (what == SPACE_KEEP ? pool(c) : 0);
}

uint64_t space_kept_limit(const struct cache *c)
{
    return limit_for(c, SPACE_KEEP);
}

static uint64_t taken(const struct cache *c)
{
    return c->space.used + c->space.reserved;
}

/* The limit that the file system sets: what is taken and what is free above the floor, where reads have a pool of
 * their own as below the drive's limit. A small cache may go below the
 * floor for reads, or nothing could be read at all while others fill the disk. */
static uint64_t disk_limit(const struct cache *c, enum space_for what)
{
    struct statvfs st;
    uint64_t all, floor, above;

    if (fstatvfs(c->dir_fd, &st) < 0)
        return UINT64_MAX;
    all = c->space.used + (uint64_t)st.f_bavail * st.f_frsize;
    floor = (uint64_t)st.f_blocks * st.f_frsize / 100 * (uint64_t)c->volume->config->cache_free_percent;
    above = excess(all, floor);
    return what == SPACE_READ ? most(above, least(all, pool(c))) : above - pool_of(above);
}

static uint64_t limit_now(const struct cache *c, enum space_for what)
{
    return least(limit_for(c, what), disk_limit(c, what));
}

static uint64_t room(const struct cache *c, enum space_for what)
{
    return excess(limit_now(c, what), taken(c));
}

bool space_full(const struct cache *c)
{
    return room(c, SPACE_KEEP) < EXTENT_SIZE;
}

uint64_t space_ahead(const struct cache *c)
{
    uint64_t all = c->space.limit ? c->space.limit : c->space.used;

    return room(c, SPACE_KEEP) >= SPACE_PLENTY ? UINT64_MAX : most(all / 32, SPACE_GRANT_FIRST);
}

/* --- reserving ------------------------------------------------------------------------------------ */

/* A grant is taken back by lowering it to what was spent; who spent more in between keeps that promised. */
static void regain(struct cache_file *f)
{
    uint64_t spent = atomic_load(&f->map->spent), after;

    atomic_store(&f->map->granted, spent);
    after = atomic_load(&f->map->spent);
    f->volume->cache->space.reserved -= f->reserved;
    f->reserved = after > spent && after - spent <= f->reserved ? after - spent : 0;
    f->volume->cache->space.reserved += f->reserved;
    space_measure(f);
}

static void regain_all(struct cache *c)
{
    struct cache_file *f;

    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        LIST_FOREACH(f, &c->buckets[b], next)
            if (f->reserved)
                regain(f);
}

/* The more the longer it takes to make room. Grants are given freely and hardly used up: in need they are taken
 * back. */
bool space_prepare(struct cache *c, enum space_for what, uint64_t bytes)
{
    uint64_t limit = limit_now(c, what);

    if (taken(c) + bytes > limit && !index_in_transaction(c->volume->index)) {
        c->volume->tally->evicted[what == SPACE_READ ? ROOM_READ : ROOM_KEEP] +=
            evict_some(c, what, taken(c) + bytes - limit + margin(c));
        limit = limit_now(c, what);
    }
    if (taken(c) + bytes > limit) {
        regain_all(c);
        limit = limit_now(c, what);
    }
    return taken(c) + bytes <= limit;
}

uint64_t space_take(struct cache *c, enum space_for what, uint64_t want, uint64_t at_least)
{
    uint64_t have = room(c, what), n;

    if (have < want && at_least) {
        want = most(at_least, least(want, pool(c) / 4));
        if (!space_prepare(c, what, want) && room(c, what) < at_least)
            return 0;
        have = room(c, what);
    }
    n = least(want, have);
    c->space.reserved += n;
    return n;
}

void space_give_back(struct cache *c, uint64_t bytes)
{
    c->space.reserved -= bytes;
    space_changed(c);
}

void space_charge(struct cache *c, uint64_t more, uint64_t less)
{
    c->space.used = excess(c->space.used + more, less);
}

void space_measure(struct cache_file *f)
{
    uint64_t before = f->charged;

    f->charged = cache_file_blocks(f);
    space_charge(f->volume->cache, f->charged, before);
}

/* --- grants --------------------------------------------------------------------------------------- */

/* The bigger the file has become, the more it is likely to become. */
bool space_grant(struct cache_file *f, uint64_t at_least)
{
    struct cache *c = f->volume->cache;
    uint64_t want, n;

    regain(f);
    want = most(least(most(f->charged, SPACE_GRANT_FIRST), SPACE_GRANT_MAX), at_least);
    if (c->space.limit)
        want = most(least(want, c->space.limit / 32), at_least);
    n = space_take(c, SPACE_KEEP, want, at_least);
    f->reserved += n;
    atomic_store(&f->map->granted, atomic_load(&f->map->spent) + n);
    return n > 0 && n >= at_least;
}

void space_regain(struct cache_file *f)
{
    regain(f);
    space_changed(f->volume->cache);
}

void space_settle(struct cache_file *f)
{
    struct cache *c = f->volume->cache;

    space_measure(f);
    c->space.reserved -= f->reserved;
    f->charged += f->reserved;
    space_charge(c, f->reserved, 0);
    f->reserved = 0;
}

/* --- waiting -------------------------------------------------------------------------------------- */

void space_forget(struct space_waiter *w)
{
    if (!w)
        return;
    TAILQ_REMOVE(&w->cache->space.waiters[w->what], w, next);
    loop_timer_free(w->timer);
    free(w);
}

static void end(struct space_waiter *w, const struct error *e)
{
    space_done_fn *done = w->done;
    void *arg = w->arg;

    space_forget(w);
    done(e, arg);
}

static void on_deadline(void *arg)
{
    struct error e;

    error_set(&e, -ENOSPC, "The cache is full of what is not in the cloud yet or is pinned. Wait until it has been "
              "uploaded, unpin something, or give the drive a larger cache.");
    end(arg, &e);
}

struct space_waiter *space_wait(struct cache *c, enum space_for what, uint64_t bytes, space_done_fn *done, void *arg)
{
    struct space_waiter *w = xcalloc(1, sizeof(*w));

    *w = (struct space_waiter){ .cache = c, .what = what, .bytes = bytes, .done = done, .arg = arg };
    w->timer = loop_timer(c->volume->loop, (uint64_t)c->volume->config->write_wait_seconds * 1000, on_deadline, w);
    TAILQ_INSERT_TAIL(&c->space.waiters[what], w, next);
    return w;
}

/* Those who wait now, each once: who finds that it was not enough after all waits anew at the end. */
static void serve(struct cache *c, enum space_for what)
{
    static const struct error none;
    struct space_waiter *w;
    size_t n = 0;

    TAILQ_FOREACH(w, &c->space.waiters[what], next)
        n++;
    for (; n > 0 && (w = TAILQ_FIRST(&c->space.waiters[what])) && space_prepare(c, what, w->bytes); n--)
        end(w, &none);
}

static void trim(struct cache *c)
{
    uint64_t limit = least(limit_for(c, SPACE_READ), disk_limit(c, SPACE_KEEP));

    if (taken(c) > limit)
        c->volume->tally->evicted[ROOM_LIMIT] += evict_some(c, SPACE_KEEP, taken(c) - limit);
}

static void retry(void *arg)
{
    struct cache *c = arg;

    loop_timer_free(take_ptr(c->space.retry));
    trim(c);
    for (int what = 0; what < SPACE_FORS; what++)
        serve(c, (enum space_for)what);
}

static void look_soon(struct cache *c)
{
    if (!c->space.retry)
        c->space.retry = loop_timer(c->volume->loop, RETRY_MS, retry, c);
}

void space_changed(struct cache *c)
{
    if (!TAILQ_EMPTY(&c->space.waiters[SPACE_READ]) || !TAILQ_EMPTY(&c->space.waiters[SPACE_KEEP]) ||
        taken(c) > limit_for(c, SPACE_READ))
        look_soon(c);
}

/* --- life ----------------------------------------------------------------------------------------- */

/* Others fill the disk too. */
static void watch(void *arg)
{
    struct cache *c = arg;

    loop_timer_free(c->space.watch);
    c->space.watch = loop_timer(c->volume->loop, WATCH_MS, watch, c);
    if (taken(c) > disk_limit(c, SPACE_KEEP))
        look_soon(c);
}

static void take_limits(struct cache *c)
{
    const Lf__CloudDrive *d = c->volume->drive;

    c->space.limit = d->has_maximum_cache_size && d->maximum_cache_size > 0 ? (uint64_t)d->maximum_cache_size : 0;
    c->space.rotates = d->has_rotational_cache && d->rotational_cache;
}

void space_init(struct cache *c)
{
    for (int what = 0; what < SPACE_FORS; what++)
        TAILQ_INIT(&c->space.waiters[what]);
    take_limits(c);
    c->space.watch = loop_timer(c->volume->loop, WATCH_MS, watch, c);
}

void space_configure(struct cache *c)
{
    take_limits(c);
    look_soon(c);
}

void space_end(struct cache *c)
{
    struct error e = { 0 };
    struct space_waiter *w;

    error_set(&e, -ECANCELED, "The drive was closed.");
    for (int what = 0; what < SPACE_FORS; what++)
        while ((w = TAILQ_FIRST(&c->space.waiters[what])))
            end(w, &e);
    c->space.limit = 0;   /* nothing starts anew */
    loop_timer_free(take_ptr(c->space.retry));
    loop_timer_free(take_ptr(c->space.watch));
}
