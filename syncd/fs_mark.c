/* Owns the wait until the index says on the disk that content is no longer the cloud's: before bytes of the
 * cloud's version are written over in place, because a power cut might bring the new bytes and not the mark. And that
 * chunks of a sealed file may be missing, before they are cut off: else they would be missed (cache_fresh.c).
 *
 * Of a new file, and one of which nothing is here, nothing is written over, and nobody waits.
 *
 * Must not know what comes after. */
#include <errno.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_space.h"
#include "syncd/disk_sync.h"

struct marking {
    LIST_ENTRY(marking) next;
    struct fs_wait *wait;
    struct volume *volume;         /* NULL: closed */
    struct cache_file *file;       /* held */
    uint64_t keep;                 /* bytes */
    bool clean;                    /* by its map, until the step */
    unsigned rounds;
};

/* Who writes and syncs all the time does not hold up who cuts. */
enum { ROUNDS = 8 };

/* Dirty by its map: then the mark was durable before. */
static bool may_lose(const struct volume *v, const struct index_inode *i)
{
    const struct cache_file *f = cache_find(v->cache, i->ino);

    if (f ? atomic_load(&f->map->state) == CHUNK_MAP_DIRTY : i->pending & INDEX_CONTENT)
        return false;
    return i->cloud_key && S_ISREG(i->mode) && cache_file_has_bytes(v->cache->dir_fd, i->ino);
}

static void index_synced(int error, void *arg);

static uint64_t first_cut(uint64_t keep)
{
    return (keep + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
}

static int mark(const struct marking *m)
{
    struct index *x = m->volume->index;
    int r = index_begin(x);

    if (r < 0)
        return r;
    if (m->clean)
        r = cache_mark(x, m->file->ino);
    if (r == 0)
        r = cache_fresh_will_cut(x, m->file->ino, first_cut(m->keep));
    return index_end(x, r);
}

static int start(struct marking *m)
{
    int fd = index_sync_fd(m->volume->index), r = fd < 0 ? fd : mark(m);

    if (r < 0)
        return r;
    disk_sync(m->volume->loop, &fd, 1, index_synced, m);
    return 0;
}

static void end(struct marking *m, int code)
{
    CLEANUP_FREE struct marking *mine = m;

    if (mine->volume)
        LIST_REMOVE(mine, next);
    fs_wait_end(mine->wait, &(struct error){ .code = code });
    if (mine->volume)
        cache_release(mine->file);
}

/* An upload that ended meanwhile took the mark away, or more was written and synced. */
static bool still_holds(struct marking *m, const struct index_inode *i)
{
    m->clean |= !(i->pending & INDEX_CONTENT);
    return i->pending & INDEX_CONTENT &&
        (++m->rounds >= ROUNDS || !cache_fresh_wants(m->volume->index, i->ino, first_cut(m->keep)));
}

static void index_synced(int error, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct marking *m = arg;
    int r = m->volume ? error : -ECANCELED;

    if (r == 0)
        r = index_get(m->volume->index, m->file->ino, &i);
    if (r == 0 && !still_holds(m, &i)) {
        r = start(m);
        if (r == 0)
            return;
    }
    end(m, r == -ENOENT ? -ESTALE : r);
}

void fs_when_marked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, uint64_t keep,
                    fs_step_fn *step)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    struct marking *m;
    bool clean;
    int r = volume_writable(v);

    if (r == 0)
        r = fs_inode_to_change(v, ino, &i);
    clean = r == 0 && may_lose(v, &i);
    if (r < 0 || !(clean || cache_fresh_wants(v->index, ino, first_cut(keep))) ||
        cache_acquire(v->cache, &i, &f) < 0) {
        step(v, req, env);
        return;
    }
    m = xcalloc(1, sizeof(*m));
    *m = (struct marking){
        .wait = fs_wait_begin(v, req, env, step), .volume = v, .file = f, .keep = keep, .clean = clean,
    };
    LIST_INSERT_HEAD(&v->markings, m, next);
    r = start(m);
    if (r < 0)
        end(m, r);
}

void fs_marks_end(struct volume *v)
{
    struct marking *m;

    while ((m = LIST_FIRST(&v->markings))) {
        LIST_REMOVE(m, next);
        m->volume = NULL;
        cache_release(m->file);
    }
}
