/* Files that the kernel reads past the worker: only root may register them, so the worker asks. The kernel keeps
 * the numbers with the connection; mountd remembers none. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "mountd/mountd_internal.h"
#include "mountd/fuse_recent.h"

/* A worker that was taken over has its log too, maps, and what it may write. */
bool backing_is_cache_file(int fd, uid_t owner)
{
    int flags = fcntl(fd, F_GETFL);
    struct stat st;

    return flags >= 0 && (flags & (O_ACCMODE | O_PATH)) == O_RDONLY && fstat(fd, &st) == 0 &&
        st.st_mode == (S_IFREG | 0600) && st.st_uid == owner && st.st_nlink == 1;
}

void backing_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    Lf__BackingOpened msg = LF__BACKING_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(BACKING_OPENED, backing_opened, &msg);
    struct drive *d = ipc_peer_data(ipc_request_peer(req));
    struct fuse_backing_map map = { .fd = fds[0] };
    int id;

    (void)env;
    (void)arg;
    if (d && !backing_is_cache_file(fds[0], d->mountd->spec.served_uid)) {
        LOG(LOG_WARNING, "backing_refused", "drive=%s", d->id);
        ipc_fail(req, -EPERM, "That is no cache file of the drive.");
        return;
    }
    id = d && d->fuse >= 0 ? ioctl(d->fuse, FUSE_DEV_IOC_BACKING_OPEN, &map) : -1;
    if (id <= 0) {
        ipc_fail(req, -EOPNOTSUPP, "The kernel does not read this file by itself: %s.", strerror(errno));
        return;
    }
    msg.id = (uint32_t)id;
    ipc_reply(req, &reply, NULL, 0);
}

void backing_close(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    const struct drive *d = ipc_peer_data(ipc_request_peer(req));
    uint32_t id = env->backing_close->id;

    (void)fds;
    (void)arg;
    if (d && d->fuse >= 0 && ioctl(d->fuse, FUSE_DEV_IOC_BACKING_CLOSE, &id) < 0)
        LOG(LOG_NOTICE, "backing_not_closed", "drive=%s", d->id, "error=%s", strerror(errno));
}
