/* Owns what is known of the cache's files beyond those that are open: notes of what came, was used and was closed,
 * on their way into the index.
 *
 * Must not know what goes when (evict_order.c). */
#include "syncd/cache_use.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { NOTE_BUCKETS = 1024, FLUSH_MS = 1000 };

struct note_extent {
    uint64_t extent, bytes;
    enum evict_use use;
    bool stays;
};

/* Of a file: what changed since the index was told. */
struct note {
    LIST_ENTRY(note) next;
    uint64_t ino;
    struct note_extent *extents;   /* owned */
    size_t n;
    bool closed;                   /* the rest holds */
    struct index_cached row;
    bool gone;                     /* nothing is left of it on the disk */
};

struct use {
    struct cache *cache;
    struct evict_order order;
    LIST_HEAD(, note) notes[NOTE_BUCKETS];
    struct loop_timer *timer;
};

/* --- notes ---------------------------------------------------------------------------------------- */

static struct note *find(struct use *u, uint64_t ino)
{
    struct note *n;

    LIST_FOREACH(n, &u->notes[ino % NOTE_BUCKETS], next)
        if (n->ino == ino)
            return n;
    return NULL;
}

static void on_timer(void *arg)
{
    struct use *u = arg;

    loop_timer_free(take_ptr(u->timer));
    (void)use_flush(u->cache);
}

static void flush_soon(struct use *u)
{
    if (!u->timer)
        u->timer = loop_timer(u->cache->volume->loop, FLUSH_MS, on_timer, u);
}

static struct note *make(struct use *u, uint64_t ino)
{
    struct note *n = find(u, ino);

    if (n)
        return n;
    n = xcalloc(1, sizeof(*n));
    n->ino = ino;
    LIST_INSERT_HEAD(&u->notes[ino % NOTE_BUCKETS], n, next);
    return n;
}

static void forget(struct note *n)
{
    if (!n)
        return;
    LIST_REMOVE(n, next);
    free(n->extents);
    free(n);
}

/* More than once does no harm. */
static void add(struct note *n, const struct cache_file *f, uint64_t extent, enum evict_use use, bool stays)
{
    uint64_t bytes = cache_file_extent(f, extent);

    *xadd(n->extents, n->n) = (struct note_extent){ .extent = extent, .bytes = bytes,
                                                    .use = bytes > 0 ? use : EVICT_USED, .stays = stays };
}

/* --- what files say --------------------------------------------------------------------------------- */

/* By what is on the disk, when nobody wrote down what came. */
static void add_all(struct use *u, struct cache_file *f)
{
    int64_t at = 0, size = (int64_t)cache_file_size(f);
    bool stays = !space_full(u->cache);
    struct note *n = make(u, f->ino);

    while ((at = cache_file_next_bytes(f, (uint64_t)at)) >= 0 && at < size) {
        uint64_t extent = (uint64_t)at >> EXTENT_SHIFT;

        add(n, f, extent, EVICT_CAME, stays);
        at = (int64_t)((extent + 1) << EXTENT_SHIFT);
    }
}

/* One mark is of many extents of a large file. Of those only what has bytes on the disk is anybody's business: a file
 * may be terabytes of nothing. */
static void add_marked(struct note *n, const struct cache_file *f, uint64_t extent, uint64_t end)
{
    const uint64_t marks = CHUNK_TOUCHED_WORDS * 64;
    int64_t at;

    while (extent < end && (at = cache_file_next_bytes(f, extent << EXTENT_SHIFT)) >= 0) {
        uint64_t next = (uint64_t)at >> EXTENT_SHIFT;

        if (next == extent)
            add(n, f, extent, EVICT_USED, false);
        extent += next == extent ? marks : (next - extent + marks - 1) / marks * marks;
    }
}

static void add_touched(struct use *u, struct cache_file *f)
{
    uint64_t end = (cache_file_size(f) + EXTENT_SIZE - 1) >> EXTENT_SHIFT;
    struct note *n = make(u, f->ino);

    for (uint64_t w = 0; w < CHUNK_TOUCHED_WORDS; w++) {
        uint64_t bits = atomic_exchange(&f->map->touched[w], 0);

        for (; bits; bits &= bits - 1)
            add_marked(n, f, w * 64 + (uint64_t)__builtin_ctzll(bits), end);
    }
}

static void collect(struct use *u, struct cache_file *f)
{
    bool clean = atomic_load(&f->map->state) == CHUNK_MAP_CLEAN;

    for (size_t i = 0; i < f->n_fetched; i++)
        add(make(u, f->ino), f, f->fetched[i].extent, f->fetched[i].ahead ? EVICT_CAME_AHEAD : EVICT_CAME,
            f->fetched[i].stays);
    f->n_fetched = 0;
    free(take_ptr(f->fetched));
    if (f->unknown && clean) {
        add_all(u, f);
        f->unknown = false;
    }
    if (atomic_exchange(&f->map->any_touched, 0))
        add_touched(u, f);
}

void use_fetched(struct cache_file *f, uint64_t offset)
{
    uint64_t extent = offset >> EXTENT_SHIFT;

    for (size_t i = f->n_fetched; i > 0; i--)
        if (f->fetched[i - 1].extent == extent)
            return;
    *xadd(f->fetched, f->n_fetched) = (struct cache_fetched){
        .extent = extent, .ahead = f->map->foreseen_ns != 0, .stays = !space_full(f->volume->cache),
    };
    flush_soon(f->volume->cache->use);
}

void use_changed(struct cache_file *f)
{
    f->unknown = true;
    flush_soon(f->volume->cache->use);
}

/* --- in use, and no longer ---------------------------------------------------------------------------- */

void use_opened(struct cache_file *f)
{
    struct cache *c = f->volume->cache;
    struct note *n = find(c->use, f->ino);
    struct index_cached row = { 0 };

    if (n && n->closed) {
        row = n->row;
        n->closed = n->gone = false;    /* the index has it in use still */
    } else if (index_cached_get(c->volume->index, f->ino, &row) == -ENOENT || !row.in_use) {
        if (index_cached_use(c->volume->index, f->ino) < 0)
            LOG(LOG_ERR, "cached_file_not_recorded", "drive=%s", c->volume->drive->id, "ino=%" PRIu64, f->ino);
    }
    space_charge(c, 0, row.bytes);
    f->keeping = row.kept;
    f->unknown = atomic_load(&f->map->state) == CHUNK_MAP_DIRTY || (row.in_use && !n);
    space_measure(f);
}

/* Nothing but a map that says so. */
static bool nothing_here(const struct cache_file *f)
{
    return atomic_load(&f->map->state) == CHUNK_MAP_CLEAN && cache_file_size(f) > 0 &&
           cache_file_next_bytes(f, 0) == -ENXIO &&
           atomic_load(&f->map->fetchable) >= cache_file_size(f);
}

void use_closed(struct cache_file *f)
{
    struct cache *c = f->volume->cache;
    struct note *n;

    collect(c->use, f);
    space_settle(f);
    if (f->dropped) {
        space_charge(c, 0, f->charged);
        return;
    }
    n = make(c->use, f->ino);
    n->closed = true;
    n->gone = nothing_here(f) && !cache_counted(f);
    if (n->gone) {
        cache_file_unlink(c->dir_fd, f->ino);
        space_charge(c, 0, f->charged);
        f->charged = 0;
    }
    n->row = (struct index_cached){
        .ino = f->ino, .bytes = f->charged,
        .kept = f->keeping && !n->gone && cache_file_whole(f),
    };
    flush_soon(c->use);
}

void use_dropped(struct cache *c, uint64_t ino)
{
    struct note *n = find(c->use, ino);
    struct cache_file *f = cache_find(c, ino);
    struct index_cached row = { 0 };
    struct index *x = c->volume->index;

    (void)index_cached_get(x, ino, &row);
    if (!f)
        space_charge(c, 0, n && n->closed ? n->row.bytes : row.bytes);
    forget(n);
    if (index_cached_remove(x, ino) < 0 || evict_forget(&c->use->order, ino) < 0)
        LOG(LOG_ERR, "cached_file_not_forgotten", "drive=%s", c->volume->drive->id, "ino=%" PRIu64, ino);
}

bool use_behind(struct cache *c, uint64_t ino)
{
    return cache_find(c, ino) || find(c->use, ino);
}

/* --- into the index ------------------------------------------------------------------------------------- */

static int write_uses(struct use *u, const struct note *n, bool ahead, int64_t now_s)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n->n; i++)
        if ((n->extents[i].use == EVICT_CAME_AHEAD) == ahead)
            r = evict_used(&u->order, n->ino, n->extents[i].extent, n->extents[i].bytes, n->extents[i].use,
                           n->extents[i].stays && !u->cache->space.rotates, now_s);
    return r;
}

static int write_note(struct use *u, const struct note *n, int64_t now_s)
{
    struct index *x = u->cache->volume->index;
    int r = write_uses(u, n, false, now_s);

    if (r == 0 && n->closed)
        r = n->gone ? index_cached_remove(x, n->ino) : index_cached_put(x, &n->row);
    return r;
}

/* What came ahead first: what was used takes its place behind all of that. */
static int write_notes(struct use *u)
{
    int64_t now_s = loop_wall_ns() / 1000000000;
    struct note *n;
    int r = 0;

    (void)use_order(u->cache);
    for (size_t b = 0; b < NOTE_BUCKETS && r == 0; b++)
        LIST_FOREACH(n, &u->notes[b], next)
            if (r == 0)
                r = write_uses(u, n, true, now_s);
    for (size_t b = 0; b < NOTE_BUCKETS && r == 0; b++)
        while (r == 0 && (n = LIST_FIRST(&u->notes[b]))) {
            r = write_note(u, n, now_s);
            forget(n);
        }
    return r;
}

static void collect_all(struct use *u)
{
    struct cache_file *f;

    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        LIST_FOREACH(f, &u->cache->buckets[b], next)
            if (!f->dropped)
                collect(u, f);
}

static bool any(const struct use *u)
{
    for (size_t b = 0; b < NOTE_BUCKETS; b++)
        if (!LIST_EMPTY(&u->notes[b]))
            return true;
    return false;
}

/* What could not be written is forgotten: the sweep finds it again. */
int use_flush(struct cache *c)
{
    struct use *u = c->use;
    struct index *x = c->volume->index;
    int r;

    if (index_in_transaction(x)) {
        flush_soon(u);
        return 0;
    }
    collect_all(u);
    if (!any(u))
        return 0;
    r = index_begin(x);
    if (r == 0)
        r = index_end(x, write_notes(u));
    if (r < 0) {
        LOG(LOG_ERR, "cache_not_recorded", "drive=%s", c->volume->drive->id, "error=%s", error_meaning(r)->text);
        (void)evict_load(&u->order, x);
    }
    return r;
}

struct evict_order *use_order(struct cache *c)
{
    c->use->order.rotates = c->space.rotates;
    return &c->use->order;
}

/* --- life ------------------------------------------------------------------------------------------------ */

int use_init(struct cache *c, bool *ret_known)
{
    uint64_t bytes = 0, n = 0;
    int r = index_cached_sum(c->volume->index, &bytes, &n);

    c->use = xcalloc(1, sizeof(*c->use));
    c->use->cache = c;
    for (size_t b = 0; b < NOTE_BUCKETS; b++)
        LIST_INIT(&c->use->notes[b]);
    if (r == 0)
        r = evict_load(&c->use->order, c->volume->index);
    space_charge(c, bytes + cache_file_folder_blocks(c->dir_fd), 0);
    *ret_known = n > 0;
    return r;
}

void use_end(struct cache *c)
{
    if (!c->use)
        return;
    (void)use_flush(c);
    for (size_t b = 0; b < NOTE_BUCKETS; b++)
        while (!LIST_EMPTY(&c->use->notes[b]))
            forget(LIST_FIRST(&c->use->notes[b]));
    loop_timer_free(c->use->timer);
    free(take_ptr(c->use));
}
