#include "syncd/disk_sync.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/loop.h"

struct disk_sync {
    void (*done)(int error, void *arg);
    void *arg;
    size_t n;
    int fds[DISK_SYNC_FILES];   /* its own, or an errno */
    int error;
};

static void sync_files(void *arg)
{
    struct disk_sync *s = arg;

    for (size_t n = 0; n < s->n && s->error == 0; n++)
        if (s->fds[n] < 0)
            s->error = s->fds[n];
        else if (fdatasync(s->fds[n]) < 0)
            s->error = -errno;
}

static void synced(void *arg)
{
    CLEANUP_FREE struct disk_sync *s = arg;

    for (size_t n = 0; n < s->n; n++)
        if (s->fds[n] >= 0)
            (void)close(s->fds[n]);
    s->done(s->error, s->arg);
}

static int duplicate(int fd)
{
    int r = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);

    return r >= 0 || fd < 0 ? r : -errno;
}

void disk_sync(struct loop *l, const int *fds, size_t n, void (*done)(int error, void *arg), void *arg)
{
    struct disk_sync *s = xcalloc(1, sizeof(*s));

    assert(n <= DISK_SYNC_FILES);
    *s = (struct disk_sync){ .done = done, .arg = arg, .n = n };
    for (size_t k = 0; k < n; k++)
        s->fds[k] = duplicate(fds[k]);
    loop_work(l, sync_files, synced, s);
}
