/* Owns the wait until the index says on the disk that content is no longer the cloud's: before bytes of the
 * cloud's version are written over in place, because a power cut might bring the new bytes and not the mark.
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
    struct cache_file *file;       /* held: by its map it is clean until the step */
};

/* Dirty by its map: then the mark was durable before. */
static bool may_lose(const struct volume *v, const struct index_inode *i)
{
    const struct cache_file *f = cache_find(v->cache, i->ino);

    if (f ? atomic_load(&f->map->state) == CHUNK_MAP_DIRTY : i->pending & INDEX_CONTENT)
        return false;
    return i->cloud_key && S_ISREG(i->mode) && cache_file_has_bytes(v->cache->dir_fd, i->ino);
}

static void index_synced(int error, void *arg);

static int mark(struct volume *v, uint64_t ino)
{
    int r = index_begin(v->index);

    return r < 0 ? r : index_end(v->index, cache_mark(v->index, ino));
}

static int start(struct marking *m)
{
    int fd = index_sync_fd(m->volume->index), r = fd < 0 ? fd : mark(m->volume, m->file->ino);

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

/* An upload that ended meanwhile took the mark away. */
static void index_synced(int error, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct marking *m = arg;
    int r = m->volume ? error : -ECANCELED;

    if (r == 0)
        r = index_get(m->volume->index, m->file->ino, &i);
    if (r == 0 && !(i.pending & INDEX_CONTENT)) {
        r = start(m);
        if (r == 0)
            return;
    }
    end(m, r == -ENOENT ? -ESTALE : r);
}

void fs_when_marked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    struct marking *m;
    int r;

    if (volume_writable(v) < 0 || fs_inode_to_change(v, ino, &i) < 0 || !may_lose(v, &i) ||
        cache_acquire(v->cache, &i, &f) < 0) {
        step(v, req, env);
        return;
    }
    m = xcalloc(1, sizeof(*m));
    *m = (struct marking){ .wait = fs_wait_begin(v, req, env, step), .volume = v, .file = f };
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
