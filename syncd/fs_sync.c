/* The end of a stretch of writing: flush, which close(2) and fsync(2) send. What was written over is taken into
 * the index, and for fsync data and map go to the disk, then the index, which says so.
 *
 * Must not know when it is uploaded. */
#include <errno.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_sync.h"
#include "syncd/disk_sync.h"

struct syncing {
    struct ipc_request *request;
    uint64_t ino;
    struct cache_point point;
};

static void answer(int error, void *arg)
{
    CLEANUP_FREE struct syncing *s = arg;

    if (error)
        ipc_fail(s->request, error, "The file could not be written to the disk.");
    else
        ipc_done(s->request);
}

static void sync_index(struct syncing *s, struct volume *v)
{
    disk_sync(v->loop, (const int[]){ index_sync_fd(v->index) }, 1, answer, s);
}

/* Without its peer the volume may be gone, and nobody hears the answer. */
static void file_synced(int error, void *arg)
{
    struct syncing *s = arg;
    struct volume *v = ipc_request_peer(s->request) ? fs_volume(s->request) : NULL;
    struct cache_file *f = v ? cache_find(v->cache, s->ino) : NULL;

    if (v && error)
        cache_unsynced(v->cache, s->ino, error);
    else if (f)
        cache_synced(f, &s->point);
    if (v && error == 0)
        error = index_fault(v->index, s->ino);   /* what failed before does not come right by what is synced now */
    if (v && error == 0)
        sync_index(s, v);
    else
        answer(error, s);
}

/* Without a file (a directory was synced) it is the index alone. */
static void sync_all(struct volume *v, struct ipc_request *req, const struct cache_file *f)
{
    struct syncing *s = xcalloc(1, sizeof(*s));
    int fds[CACHE_FILES];

    *s = (struct syncing){ .request = req };
    if (!f) {
        sync_index(s, v);
        return;
    }
    s->ino = f->ino;
    s->point = cache_point(f);
    disk_sync(v->loop, fds, cache_file_fds(f, fds), file_synced, s);
}

void fs_flush(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__FsFlush *m = env->fs_flush;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = fs_volume(req);
    struct cache_file *f = NULL;
    int r = fs_inode(v, m->ino, &i);

    (void)fds;
    (void)daemon;
    if (r == 0 && S_ISDIR(i.mode)) {
        sync_all(v, req, NULL);
        return;
    }
    if (r == 0)
        r = S_ISREG(i.mode) ? cache_acquire(v->cache, &i, &f) : -EINVAL;
    if (r == 0)
        r = cache_take_over(f, m->has_mtime_ns ? &m->mtime_ns : NULL);
    if (r < 0)
        fs_fail(req, r);
    else if (m->sync)
        sync_all(v, req, f);
    else
        ipc_done(req);
    uploader_changed(v->uploader);
    if (f)
        cache_release(f);
}
