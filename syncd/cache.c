/* Owns the table of cache files in use: one pair per inode however many users it has, who of the
 * workers has it open, and the way of a file between clean and dirty together with the index.
 *
 * Must not know how bytes come and go (fetch.c, upload*.c), nor where they lie (cache_file.c). */
#include "syncd/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/cache_convert.h"
#include "syncd/cache_sync.h"
#include "syncd/cache_use.h"
#include "syncd/fetch.h"

enum { STAT_BLOCK = 512 };

/* Files that workers have open, of all drives: descriptors are the process's. */
static unsigned n_open;

static struct cache_bucket *bucket(struct cache *c, uint64_t ino)
{
    return &c->buckets[ino % CACHE_BUCKETS];
}

struct cache_file *cache_find(struct cache *c, uint64_t ino)
{
    struct cache_file *f;

    LIST_FOREACH(f, bucket(c, ino), next)
        if (f->ino == ino && !f->dropped)
            return f;
    return NULL;
}

/* --- users -------------------------------------------------------------------------------------- */

struct cache_file *cache_hold(struct cache_file *f)
{
    f->refs++;
    return f;
}

static void remove_open(struct cache_file *f, struct cache_open *o)
{
    SLIST_REMOVE(&f->opens, o, cache_open, next);
    free(o);
    if (!SLIST_EMPTY(&f->opens))
        return;
    n_open--;
    convert_kick(f->cache);
}

void cache_discard(struct cache_file *f)
{
    while (!SLIST_EMPTY(&f->opens))
        remove_open(f, SLIST_FIRST(&f->opens));
    LIST_REMOVE(f, next);
    use_closed(f);
    fetch_discard(f);
    cache_file_close(f);
}

void cache_release(struct cache_file *f)
{
    struct cache *c = f->volume->cache;

    if (--f->refs == 0)
        cache_discard(f);
    space_changed(c);
}

static int renew(struct cache_file *f, const struct index_inode *i)
{
    int r;

    if (cache_file_current(f, i) || cache_lent(f) || (f->unsent && atomic_load(&f->map->state) == CHUNK_MAP_DIRTY))
        return 0;
    fetch_stop(f);
    f->keeping = false;
    if (f->volume->uploader && uploader_sent_lately(f->volume->uploader, f->ino))
        (void)uploader_sync_now(f->volume->uploader);   /* another version so soon is rare */
    r = cache_file_renew(f, i);
    space_measure(f);
    fetch_go_on(f);
    return r;
}

/* What became of it while nobody used it. */
static void look_back(struct cache_file *f, const struct index_inode *i)
{
    if (f->unsent && f->volume->read_only) {   /* nobody writes there, but a worker can say so */
        atomic_store(&f->map->state, CHUNK_MAP_CLEAN);
        f->unsent = false;
    }
    if (f->map_remade)
        cache_map_unreadable(f, i);
    if (f->unsent)
        cache_found_unsent(f);
    if (cache_file_refused(f))
        cache_unsynced(f->volume->cache, f->ino, -EIO);
}

int cache_acquire(struct cache *c, const struct index_inode *i, struct cache_file **ret)
{
    struct cache_file *f = cache_find(c, i->ino);
    int r;

    if (i->size > CHUNK_FILE_MAX)
        return -EFBIG;
    if (!f) {
        r = cache_file_open(c, i, &f);
        if (r < 0)
            return r;
        f->volume = c->volume;
        fetch_init(f);
        LIST_INSERT_HEAD(bucket(c, i->ino), f, next);
        use_opened(f);
        cache_hold(f);
        look_back(f, i);
    } else {
        cache_hold(f);
    }
    r = f->guard.is_lost ? -EIO : renew(f, i);
    if (r < 0)
        cache_release(f);
    else
        *ret = f;
    return r;
}

int cache_may_open(struct cache *c)
{
    bool full = n_open >= c->opens_most;

    if (full && !c->opens_refused)
        LOG(LOG_WARNING, "too_many_open_files", "drive=%s", c->volume->drive->id, "open=%u", n_open, "reason=%s",
            error_meaning(ENFILE)->text);
    c->opens_refused = full;
    return full ? -ENFILE : 0;
}

static struct cache_open *find_open(struct cache_file *f, struct ipc_peer *p)
{
    struct cache_open *o;

    SLIST_FOREACH(o, &f->opens, next)
        if (o->peer == p)
            return o;
    return NULL;
}

void cache_opened(struct cache_file *f, struct ipc_peer *p, bool write, bool whole)
{
    struct cache_open *o = find_open(f, p);

    if (!o) {
        o = xcalloc(1, sizeof(*o));
        o->peer = p;
        n_open += SLIST_EMPTY(&f->opens);
        SLIST_INSERT_HEAD(&f->opens, o, next);
    }
    (*(write ? &o->writers : &o->readers))++;
    o->whole = o->whole || whole;
    cache_hold(f);
    chunk_touch(f->map, 0, 0);   /* what the kernel has in its own pages is not asked for again */
    if (write && f->reserved == 0 && atomic_load(&f->map->state) == CHUNK_MAP_DIRTY)
        (void)space_grant(f, 0);
}

static void writer_left(struct cache_file *f)
{
    if (!cache_written_by_anyone(f))
        space_regain(f);
}

void cache_released(struct cache_file *f, struct ipc_peer *p, bool write)
{
    struct cache_open *o = find_open(f, p);
    unsigned *count = o ? write ? &o->writers : &o->readers : NULL;

    if (!count || *count == 0)
        return;
    (*count)--;
    o->whole = o->whole && o->readers > 0;
    if (o->readers == 0 && o->writers == 0)
        remove_open(f, o);
    if (write)
        writer_left(f);
    cache_release(f);
}

bool cache_written_by_anyone(const struct cache_file *f)
{
    const struct cache_open *o;

    SLIST_FOREACH(o, &f->opens, next)
        if (o->writers)
            return true;
    return false;
}

bool cache_lent(const struct cache_file *f)
{
    const struct cache_open *o;

    SLIST_FOREACH(o, &f->opens, next)
        if (o->whole)
            return true;
    return chunk_map_passed(f->map, f->volume->mount_tag);
}

bool cache_counted(const struct cache_file *f)
{
    return chunk_map_counted(f->map, f->volume->mount_tag);
}

bool cache_is_open(struct cache *c, uint64_t ino)
{
    const struct cache_file *f = cache_find(c, ino);
    struct chunk_map head;

    if (f)
        return !SLIST_EMPTY(&f->opens) || cache_counted(f);
    return cache_file_peek(c->dir_fd, ino, &head) && chunk_map_counted(&head, c->volume->mount_tag);
}

bool cache_opening(struct cache *c, uint64_t ino)
{
    const struct cache_file *f = cache_find(c, ino);

    return f && f->confirming && !cache_is_open(c, ino);
}

void cache_unlink(struct cache *c, uint64_t ino)
{
    struct cache_file *f = cache_find(c, ino);

    if (f)
        f->map->unlinked = 1;
    else
        (void)cache_file_set_unlinked(c->dir_fd, ino);   /* the worker has not told yet that it has it open */
}

bool cache_unlinked(struct cache *c, uint64_t ino)
{
    const struct cache_file *f = cache_find(c, ino);
    struct chunk_map head;

    if (f)
        return f->map->unlinked;
    return cache_file_peek(c->dir_fd, ino, &head) && head.unlinked;
}

static void close_for(struct cache_file *f, struct ipc_peer *p, void (*written)(struct cache_file *f))
{
    struct cache_open *o = find_open(f, p);
    unsigned opens;

    if (!o)
        return;
    if (o->writers)
        written(f);
    opens = o->readers + o->writers;
    remove_open(f, o);
    writer_left(f);
    while (opens-- > 0)
        cache_release(f);
}

void cache_peer_lost(struct cache *c, struct ipc_peer *p, void (*written)(struct cache_file *f))
{
    for (size_t b = 0; b < CACHE_BUCKETS; b++) {
        struct cache_file *f = LIST_FIRST(&c->buckets[b]);

        while (f) {
            struct cache_file *next = LIST_NEXT(f, next);

            close_for(f, p, written);
            f = next;
        }
    }
}

/* --- clean and dirty ------------------------------------------------------------------------------ */

int cache_mark(struct index *x, uint64_t ino)
{
    struct index_inode i = { 0 };
    int r = index_get(x, ino, &i);

    if (r == 0) {
        i.pending |= INDEX_CONTENT;
        i.generation++;
        r = index_update(x, &i);
    }
    if (r == 0)
        r = index_unsynced_put(x, ino);
    index_inode_done(&i);
    return r;
}

int cache_dirty(struct cache_file *f)
{
    struct index *x = f->volume->index;
    int r;

    if (atomic_load(&f->map->state) == CHUNK_MAP_DIRTY)
        return 0;
    r = index_begin(x);
    if (r < 0)
        return r;
    r = index_end(x, cache_mark(x, f->ino));
    if (r == 0) {
        cache_file_unstamp(f);
        cache_alike_begin(f);
        f->map->rewritten = f->is_sealed;
        atomic_store(&f->map->state, CHUNK_MAP_DIRTY);
        cache_sync_soon(f->volume->cache);
        f->quiet_since_ns = 0;   /* a write comes: sent before it, the file would be clean again */
        use_changed(f);
    }
    return r;
}

/* What was not to be sent is something else now. */
static int rewritten(struct index *x, uint64_t ino)
{
    return index_held(x, ino) == INDEX_CANCELED ? index_hold(x, ino, INDEX_FREE, NULL) : 0;
}

/* `mtime_ns` NULL: the index has it already. */
static int record(struct volume *v, uint64_t ino, uint64_t size, const int64_t *mtime_ns)
{
    struct index_inode i = { 0 };
    int r = index_get(v->index, ino, &i);

    if (r == 0) {
        i.size = size;
        i.mtime_ns = mtime_ns ? *mtime_ns : i.mtime_ns;
        i.ctime_ns = loop_wall_ns();
        i.pending |= INDEX_CONTENT;
        i.generation++;
        r = index_update(v->index, &i);
    }
    if (r == 0)
        r = rewritten(v->index, ino);
    if (r == 0)
        r = index_retry(v->index, ino, loop_wall_ns() + v->config->settle_milliseconds * 1000000, NULL);
    index_inode_done(&i);
    return r;
}

int cache_take_over(struct cache_file *f, const int64_t *mtime_ns)
{
    uint64_t seq = atomic_load(&f->map->write_seq);
    struct index *x = f->volume->index;
    uint64_t size = cache_file_size(f);
    int64_t written_ns;
    int r;

    if (atomic_load(&f->map->state) != CHUNK_MAP_DIRTY || (seq == f->map->size_seq && seq == f->map->mtime_seq))
        return 0;
    if (f->is_sealed && ftruncate(f->data_fd, (off_t)size) < 0)
        return -errno;
    written_ns = cache_file_written_ns(f);
    if (!mtime_ns && seq != f->map->mtime_seq)
        mtime_ns = &written_ns;
    r = index_begin(x);
    if (r < 0)
        return r;
    r = index_end(x, record(f->volume, f->ino, size, mtime_ns));
    if (r == 0)
        f->map->mtime_seq = f->map->size_seq = seq;
    return r;
}

/* What its bytes take, without what is kept of them twice. */
static uint64_t sealed_blocks(const struct cache_file *f, uint64_t size)
{
    struct stat st;

    return fstat(f->sealed.fd, &st) < 0 ? 0 : least((uint64_t)st.st_blocks, (size + STAT_BLOCK - 1) / STAT_BLOCK);
}

int cache_stat(struct cache *c, uint64_t ino, uint64_t *ret_size, int64_t *ret_mtime_ns, uint64_t *ret_blocks)
{
    const struct cache_file *f = cache_find(c, ino);
    struct stat st;

    if (!f || atomic_load(&f->map->state) != CHUNK_MAP_DIRTY || fstat(f->data_fd, &st) < 0)
        return -ENOENT;
    *ret_size = cache_file_size(f);
    *ret_blocks = f->is_sealed ? sealed_blocks(f, *ret_size) : (uint64_t)st.st_blocks;
    if (atomic_load(&f->map->write_seq) != f->map->mtime_seq)
        *ret_mtime_ns = cache_file_written_ns(f);
    return 0;
}

void cache_touched(struct cache *c, uint64_t ino)
{
    struct cache_file *f = cache_find(c, ino);

    if (f)
        f->map->mtime_seq = atomic_load(&f->map->write_seq);
}

static int truncate_file(struct cache_file *f, struct index_inode *i, uint64_t size)
{
    int r;

    fetch_stop_beyond(f, size);
    if (atomic_load(&f->map->state) == CHUNK_MAP_CLEAN)
        cache_alike_begin(f);
    cache_file_unstamp(f);   /* first: by it what was cut off is known not to be the cloud's version any more */
    f->map->rewritten = f->is_sealed;
    r = cache_file_resize(f, size);
    if (r == 0 && f->is_sealed)
        r = cache_fresh_cut(f, (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT);
    if (r == 0 && size == 0)
        r = index_unsynced_anew(f->volume->index, f->ino);   /* what was there of it is gone */
    if (r == 0 && atomic_load(&f->map->state) == CHUNK_MAP_CLEAN)
        r = index_unsynced_put(f->volume->index, f->ino);
    if (r < 0)
        return r;
    cache_sync_soon(f->volume->cache);
    f->map->mtime_seq = f->map->size_seq = atomic_fetch_add(&f->map->write_seq, 1) + 1;   /* the caller takes it over */
    atomic_store(&f->map->state, CHUNK_MAP_DIRTY);
    use_changed(f);
    space_measure(f);
    i->size = size;
    i->mtime_ns = i->ctime_ns = loop_wall_ns();
    i->pending |= INDEX_CONTENT;
    i->generation++;
    return rewritten(f->volume->index, f->ino);
}

int cache_truncate(struct cache *c, struct index_inode *i, uint64_t size)
{
    struct cache_file *f;
    int r = cache_acquire(c, i, &f);

    if (r < 0)
        return r;
    r = truncate_file(f, i, size);
    fetch_go_on(f);
    cache_release(f);
    return r;
}

bool cache_busy(struct cache *c, const struct index_inode *i)
{
    const struct cache_file *f = cache_find(c, i->ino);
    uint64_t tag = c->volume->mount_tag;
    struct chunk_map head;

    if (i->pending & INDEX_CONTENT)
        return true;
    if (f)
        return cache_written_by_anyone(f) || chunk_map_written(f->map, tag);
    return cache_file_peek(c->dir_fd, i->ino, &head) && chunk_map_written(&head, tag);
}

void cache_drop(struct cache *c, uint64_t ino)
{
    struct cache_file *f = cache_find(c, ino);
    struct error e = { 0 };

    cache_file_unlink(c->dir_fd, ino);
    use_dropped(c, ino);
    if (!f)
        return;
    error_set(&e, -ENOENT, "The file was deleted.");
    f->dropped = true;
    cache_hold(f);
    fetch_end(f, &e);
    cache_release(f);
}
