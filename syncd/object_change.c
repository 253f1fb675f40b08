/* What the HTTP API has done with an object, or with all that is below a directory: the path is resolved to a drive and
 * an inode, and the volume does it. All answers are "done" or a sentence. */
#include "syncd/object_api.h"

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

typedef void change_fn(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg);

struct change {
    struct ipc_request *req;
    struct volume *volume;        /* it answers before it is closed */
    change_fn *fn;                /* NULL: a download */
    unsigned seconds;             /* to wait for that */
};

static void done(const struct error *e, void *arg)
{
    struct change *c = arg;

    if (e->code)
        ipc_fail_error(c->req, e);
    else
        ipc_done(c->req);
    free(c);
}

static void found(const struct error *e, const struct volume_node *n, void *arg)
{
    struct change *c = arg;

    if (!n)
        done(e, c);
    else if (c->fn)
        c->fn(c->volume, n->ino, done, c);
    else
        volume_download(c->volume, n->ino, c->seconds, done, c);
}

static void change(struct syncd *d, struct ipc_request *req, const char *path, change_fn *fn, unsigned seconds)
{
    CLEANUP_FREE char *relative = NULL;
    struct drive *drive = NULL;
    struct error e = { 0 };
    struct change *c;

    if (path_resolve(d, path, &drive, &relative, &e) < 0 || !drive_running(drive, &e)) {
        ipc_fail_error(req, &e);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    *c = (struct change){ req, drive->volume, fn, seconds };
    volume_stat(c->volume, relative, found, c);
}

void object_api_make_offline(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_make_offline->path, volume_make_offline, 0);
}

void object_api_remove_offline(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_remove_offline->path, volume_remove_offline, 0);
}

void object_api_accept(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_accept->path, volume_accept, 0);
}

void object_api_encrypt(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_encrypt->path, volume_encrypt, 0);
}

void object_api_encrypt_stop(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_encrypt_stop->path, volume_encrypt_stop, 0);
}

void object_api_evict(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_evict->path, volume_evict, 0);
}

void object_api_delete(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_delete->path, volume_delete, 0);
}

void object_api_download(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    change(daemon, req, env->object_download->path, NULL, 0);
}

/* One who waits not at all would not hear whether it is here. */
void object_api_read(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__ObjectRead *given = env->object_read;
    unsigned seconds = given->has_seconds ? object_api_seconds(given->seconds) : OBJECT_API_SECONDS;

    (void)fds;
    change(daemon, req, given->path, NULL, seconds ? seconds : 1);
}
