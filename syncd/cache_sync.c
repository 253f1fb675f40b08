/* Owns the turns in which unsynced content goes to the disk.
 *
 * Must not know what it is worth when it did not get there (cache_session.c, upload_look.c). */
#include "syncd/cache_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/disk_sync.h"

enum { TURN_MS = 2000, FILES = 64 };

static const int64_t QUIET_NS = 2000000000;

/* A turn: files under way through the pool, whose descriptors are its own. */
struct turn {
    struct sync *sync;             /* NULL: the cache is gone */
    size_t n;
    struct turn_file {
        struct cache_file *file;   /* held */
        struct cache_point point;
        uint64_t generation;
        int fds[CACHE_FILES];
        size_t n_fds;
        int error;
    } files[FILES];
};

struct sync {
    struct cache *cache;
    struct loop_timer *timer;
    struct turn *turn;
    uint64_t after;                /* the last number looked at */
};

/* --- which ------------------------------------------------------------------------------------------ */

/* A program that goes on writing says itself when it must be on the disk, or pauses. */
static bool rests(const struct cache_file *f)
{
    return !cache_written_by_anyone(f) || cache_file_written_ns(f) <= loop_wall_ns() - QUIET_NS;
}

static void take(struct turn *t, struct cache_file *f, uint64_t generation)
{
    struct turn_file *tf = &t->files[t->n];

    *tf = (struct turn_file){ .file = f, .point = cache_point(f), .generation = generation };
    tf->n_fds = cache_file_fds(f, tf->fds);
    for (size_t n = 0; n < tf->n_fds; n++)
        tf->fds[n] = fcntl(tf->fds[n], F_DUPFD_CLOEXEC, 3);
    t->n++;
}

static void consider(struct sync *s, struct turn *t, uint64_t ino, bool at_end)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache *c = s->cache;
    struct cache_file *f;
    int r = index_get(c->volume->index, ino, &i);

    if (r == -ENOENT || (r == 0 && !cache_file_exists(c->dir_fd, ino))) {
        (void)index_unsynced_remove(c->volume->index, ino);
        return;
    }
    if (at_end && (!(i.pending & INDEX_CONTENT) || !i.cloud_key))
        return;
    if (r < 0 || cache_acquire(c, &i, &f) < 0)
        return;
    if (at_end || rests(f))
        take(t, f, i.generation);
    else
        cache_release(f);
}

/* False: nothing is left to look at. */
static bool collect(struct sync *s, struct turn *t, bool at_end)
{
    uint64_t inos[FILES];
    int n = index_unsynced(s->cache->volume->index, s->after, inos, FILES);

    for (int k = 0; k < n; k++)
        consider(s, t, inos[k], at_end);
    s->after = n == FILES ? inos[n - 1] : 0;
    return n > 0;
}

/* --- how -------------------------------------------------------------------------------------------- */

static int sync_file(const struct turn_file *tf)
{
    for (size_t n = 0; n < tf->n_fds; n++)
        if (fdatasync(tf->fds[n]) < 0)
            return -errno;
    return 0;
}

/* All are on their way before the first is waited for: then they share what the file system does for each. */
static void sync_files(void *arg)
{
    struct turn *t = arg;

    for (size_t n = 0; n < t->n; n++)
        (void)sync_file_range(t->files[n].fds[0], 0, 0, SYNC_FILE_RANGE_WRITE);
    for (size_t n = 0; n < t->n; n++)
        t->files[n].error = sync_file(&t->files[n]);
}

/* Of a file that was deleted meanwhile there is nothing to say; a stamp is for what the cloud has. */
void cache_synced(struct cache_file *f, const struct cache_point *point)
{
    int r;

    if (f->dropped || index_fault(f->volume->index, f->ino))
        return;
    f->synced_seq = point->write_seq;
    cache_point_synced(f, point);
    r = index_unsynced_end(f->volume->index, f->ino);
    if (r < 0)
        LOG(LOG_ERR, "synced_file_not_recorded", "drive=%s", f->volume->drive->id, "ino=%" PRIu64, f->ino, "error=%s",
            error_meaning(r)->text);
    if (atomic_load(&f->map->state) == CHUNK_MAP_CLEAN && atomic_load(&f->map->write_seq) == point->write_seq)
        cache_file_stamp(f);
}

/* No program asked for it: what is written next is not meant to be kept beside it. */
static void rested(struct cache_file *f, const struct cache_point *point, uint64_t generation)
{
    if (atomic_load(&f->map->state) != CHUNK_MAP_DIRTY) {
        cache_synced(f, point);
        return;
    }
    cache_point_synced(f, point);
    (void)index_unsynced_rest(f->volume->index, f->ino, generation);
}

static void end_file(struct turn *t, struct turn_file *tf)
{
    for (size_t n = 0; n < tf->n_fds; n++)
        (void)close(tf->fds[n]);
    if (!t->sync)
        return;
    if (tf->error && !tf->file->dropped)
        cache_unsynced(t->sync->cache, tf->file->ino, tf->error);
    else if (atomic_load(&tf->file->map->write_seq) == tf->point.write_seq)
        rested(tf->file, &tf->point, tf->generation);
    cache_release(tf->file);
}

static void noted(int error, void *arg)
{
    (void)error;
    (void)arg;
}

/* What the index does not know to be on the disk would be doubted after a power cut all the same. */
static void keep_notes(const struct volume *v)
{
    disk_sync(v->loop, (const int[]){ index_sync_fd(v->index) }, 1, noted, NULL);
}

static void files_synced(void *arg)
{
    CLEANUP_FREE struct turn *t = arg;
    struct sync *s = t->sync;

    for (size_t n = 0; n < t->n; n++)
        end_file(t, &t->files[n]);
    if (!s)
        return;
    s->turn = NULL;
    keep_notes(s->cache->volume);
    cache_sync_soon(s->cache);
}

/* --- when ------------------------------------------------------------------------------------------- */

static void on_turn(void *arg)
{
    struct sync *s = arg;
    struct turn *t = xcalloc(1, sizeof(*t));
    bool more = collect(s, t, false);

    loop_timer_free(take_ptr(s->timer));
    if (t->n) {
        t->sync = s;
        s->turn = t;
        loop_work(s->cache->volume->loop, sync_files, files_synced, t);
        return;
    }
    free(t);
    if (more)
        cache_sync_soon(s->cache);
}

void cache_sync_soon(struct cache *c)
{
    struct sync *s = c->sync;

    if (s && !s->timer && !s->turn)
        s->timer = loop_timer(c->volume->loop, TURN_MS, on_turn, s);
}

void cache_sync_start(struct cache *c)
{
    c->sync = xcalloc(1, sizeof(*c->sync));
    c->sync->cache = c;
    cache_sync_soon(c);
}

static void sync_rest(struct sync *s)
{
    s->after = 0;
    do {
        CLEANUP_FREE struct turn *t = xcalloc(1, sizeof(*t));

        t->sync = s;
        (void)collect(s, t, true);
        sync_files(t);
        for (size_t n = 0; n < t->n; n++)
            end_file(t, &t->files[n]);
    } while (s->after);
}

void cache_sync_end(struct cache *c)
{
    struct sync *s = c->sync;

    if (!s)
        return;
    if (s->turn) {
        for (size_t n = 0; n < s->turn->n; n++)
            cache_release(s->turn->files[n].file);
        s->turn->sync = NULL;
    }
    sync_rest(s);
    c->sync = NULL;
    loop_timer_free(s->timer);
    free(s);
}
