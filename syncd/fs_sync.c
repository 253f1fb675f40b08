/* The end of a stretch of writing: flush, which close(2) and fsync(2) send. What was written over is taken into
 * the index, and for fsync data and map go to the disk, then the index, which says so.
 *
 * Must not know when it is uploaded. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/cache_sync.h"

/* fdatasync by a pool thread; the descriptors are the job's own. */
struct syncing {
    struct ipc_request *request;
    struct loop *loop;
    uint64_t ino, write_seq;
    int fds[2];
    size_t n;
    int error;
};

static void sync_files(void *arg)
{
    struct syncing *s = arg;

    for (size_t n = 0; n < s->n && s->error == 0; n++)
        if (fdatasync(s->fds[n]) < 0)
            s->error = -errno;
}

static void begin(struct syncing *s, const int *fds, size_t n, void (*done)(void *arg))
{
    s->n = n;
    for (size_t k = 0; k < n; k++) {
        s->fds[k] = fds[k] < 0 ? -1 : fcntl(fds[k], F_DUPFD_CLOEXEC, 3);
        if (s->fds[k] < 0)
            s->error = fds[k] < 0 ? fds[k] : -errno;
    }
    loop_work(s->loop, sync_files, done, s);
}

static void end(struct syncing *s)
{
    for (size_t n = 0; n < s->n; n++)
        if (s->fds[n] >= 0)
            (void)close(s->fds[n]);
}

static void answer(struct syncing *s)
{
    CLEANUP_FREE struct syncing *mine = s;

    if (mine->error)
        ipc_fail(mine->request, mine->error, "The file could not be written to the disk.");
    else
        ipc_done(mine->request);
}

static void index_synced(void *arg)
{
    end(arg);
    answer(arg);
}

static void sync_index(struct syncing *s, struct volume *v)
{
    int fd = index_sync_fd(v->index);

    begin(s, &fd, 1, index_synced);
}

/* Without its peer the volume may be gone, and nobody hears the answer. */
static void file_synced(void *arg)
{
    struct syncing *s = arg;
    struct volume *v = ipc_request_peer(s->request) ? fs_volume(s->request) : NULL;
    struct cache_file *f = v ? cache_find(v->cache, s->ino) : NULL;

    end(s);
    if (f && s->error == 0)
        cache_synced(f, s->write_seq);
    if (v && s->error == 0)
        sync_index(s, v);
    else
        answer(s);
}

/* Without a file (a directory was synced) it is the index alone. */
static void sync_all(struct volume *v, struct ipc_request *req, const struct cache_file *f)
{
    struct syncing *s = xcalloc(1, sizeof(*s));

    *s = (struct syncing){ .request = req, .loop = v->loop };
    if (!f) {
        sync_index(s, v);
        return;
    }
    s->ino = f->ino;
    s->write_seq = atomic_load(&f->map->write_seq);
    begin(s, (const int[]){ f->data_fd, f->map_fd }, 2, file_synced);
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
