/* Owns giving up clean content: an extent is punched out of its cache file. A pair of which nothing is left goes
 * as it is closed (cache_use.c); removed here is only one whose inode the index has no more.
 *
 * Never goes: what is dirty or being uploaded, what is pinned and here whole (or on its way, for that), what
 * others read past us, what is just arriving. Must not know whose turn it is (evict_order.c). */
#include "syncd/evict.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/cache_use.h"
#include "syncd/fetch.h"

enum { STEPS_MAX = 4096 };

static bool protected_by_pin(struct cache *c, const struct cache_file *f, uint64_t ino)
{
    struct index_cached row;

    if (!index_pinned_any(c->volume->index) || !index_pinned_above(c->volume->index, ino))
        return false;
    if (f)
        return f->keeping;
    return index_cached_get(c->volume->index, ino, &row) == 0 && row.kept;
}

bool evict_may(struct cache *c, const struct cache_file *f, const struct index_inode *i)
{
    if (!S_ISREG(i->mode) || i->pending & INDEX_CONTENT || !i->cloud_key || i->nlink == 0)
        return false;
    if (uploader_busy(c->volume->uploader, i->ino) || protected_by_pin(c, f, i->ino) ||
        uploader_sent_lately(c->volume->uploader, i->ino))
        return false;
    return !f || (!cache_lent(f) && atomic_load(&f->map->state) == CHUNK_MAP_CLEAN && cache_file_current(f, i));
}

static int punch(struct cache_file *f, uint64_t extent, uint64_t *freed)
{
    uint64_t before = f->charged;
    int r;

    if (fetch_concerns(f, extent << EXTENT_SHIFT, (extent + 1) << EXTENT_SHIFT))
        return -EBUSY;
    r = cache_file_punch(f, extent);
    if (r == 0 && f->is_sealed)
        r = cache_fresh_gone(f, extent * EXTENT_CHUNKS, (extent + 1) * EXTENT_CHUNKS);
    space_measure(f);
    *freed += excess(before, f->charged);
    return r;
}

/* The pair as it lies there, which nobody uses. */
static void remove_pair(struct cache *c, uint64_t ino, uint64_t *freed)
{
    struct index_cached row;

    if (index_cached_get(c->volume->index, ino, &row) == 0) {
        space_charge(c, 0, row.bytes);
        *freed += row.bytes;
    }
    cache_file_unlink(c->dir_fd, ino);
    (void)index_cached_remove(c->volume->index, ino);
}

/* A file that is not in use is opened for that: its map may say that the kernel has it open still. When nothing else of
 * it is here it goes as it is closed. */
static int give_up_closed(struct cache *c, const struct index_inode *i, uint64_t extent, uint64_t *freed)
{
    struct cache_file *f;
    int r = cache_acquire(c, i, &f);

    if (r < 0)
        return r;
    r = evict_may(c, f, i) ? punch(f, extent, freed) : -EBUSY;
    cache_release(f);
    return r;
}

static int give_up(struct cache *c, const struct index_extent *e, uint64_t *freed)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f = cache_find(c, e->ino);
    int r = index_get(c->volume->index, e->ino, &i);

    if (r == -ENOENT && !f) {
        remove_pair(c, e->ino, freed);
        return 0;
    }
    if (r < 0 || !evict_may(c, f, &i))
        return -EBUSY;
    return f ? punch(f, e->extent, freed) : give_up_closed(c, &i, e->extent, freed);
}

static int give_up_some(struct cache *c, struct evict_order *o, uint64_t bytes, uint64_t *freed)
{
    struct index_extent e;
    int r = 0;

    for (unsigned step = 0; r == 0 && *freed < bytes && step < STEPS_MAX; step++) {
        r = evict_next(o, &e);
        if (r == 0)
            r = give_up(c, &e, freed) == 0 ? evict_gone(o, &e) : evict_skip(o, &e);
    }
    return r == -ENOENT ? 0 : r;
}

static uint64_t given_up(struct cache *c, uint64_t freed, int r)
{
    if (r < 0) {
        LOG(LOG_ERR, "eviction_not_recorded", "drive=%s", c->volume->drive->id, "error=%s", error_meaning(r)->text);
        (void)evict_load(use_order(c), c->volume->index);
    }
    LOG(LOG_DEBUG, "evicted", "drive=%s", c->volume->drive->id, "bytes=%" PRIu64, freed);
    return freed;
}

uint64_t evict_some(struct cache *c, enum space_for what, uint64_t bytes)
{
    struct evict_order *o = use_order(c);
    struct index *x = c->volume->index;
    uint64_t freed = 0;
    int r;

    if (index_in_transaction(x) || use_flush(c) < 0 || o->n[EVICT_NEW] + o->n[EVICT_KEPT] == 0)
        return 0;
    evict_begin(o, what == SPACE_READ && !c->space.rotates);
    r = index_begin(x);
    if (r == 0)
        r = index_end(x, give_up_some(c, o, bytes, &freed));
    return given_up(c, freed, r);
}

/* --- of chosen files ------------------------------------------------------------------------------------ */

/* What cannot go now stays in its place. */
static int give_up_extent(struct cache *c, struct cache_file *f, uint64_t extent, uint64_t *freed)
{
    struct index_extent e;
    int r;

    if (punch(f, extent, freed) < 0)
        return 0;
    r = index_extent_get(c->volume->index, f->ino, extent, &e);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return e.queue == EVICT_GHOST ? 0 : evict_gone(use_order(c), &e);
}

/* In use it would count as kept until it is closed. */
static int keep_no_more(struct cache *c, struct cache_file *f)
{
    struct index_cached row;
    int r = index_cached_get(c->volume->index, f->ino, &row);

    f->keeping = false;
    if (r < 0 || !row.kept)
        return r == -ENOENT ? 0 : r;
    row.kept = false;
    return index_cached_put(c->volume->index, &row);
}

static int give_up_all(struct cache *c, struct cache_file *f, uint64_t *freed)
{
    int64_t at = 0;
    int r = keep_no_more(c, f);

    while (r == 0 && (at = cache_file_next_bytes(f, (uint64_t)at)) >= 0) {
        uint64_t extent = (uint64_t)at >> EXTENT_SHIFT;

        r = give_up_extent(c, f, extent, freed);
        at = (int64_t)((extent + 1) << EXTENT_SHIFT);
    }
    return r;
}

static int give_up_file(struct cache *c, uint64_t ino, uint64_t *freed)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    int r = index_get(c->volume->index, ino, &i);

    if (r < 0 || !evict_may(c, cache_find(c, ino), &i) || cache_acquire(c, &i, &f) < 0)
        return r == -ENOENT ? 0 : r;
    if (evict_may(c, f, &i))
        r = give_up_all(c, f, freed);
    cache_release(f);
    return r;
}

static int give_up_files(struct cache *c, const uint64_t *inos, size_t n, uint64_t *freed)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = give_up_file(c, inos[i], freed);
    return r;
}

uint64_t evict_files(struct cache *c, const uint64_t *inos, size_t n)
{
    struct index *x = c->volume->index;
    uint64_t freed = 0;
    int r;

    if (index_in_transaction(x) || use_flush(c) < 0)
        return 0;
    r = index_begin(x);
    if (r == 0)
        r = index_end(x, give_up_files(c, inos, n, &freed));
    return given_up(c, freed, r);
}
