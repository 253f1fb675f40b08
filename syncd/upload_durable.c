/* Owns what waits for commits of uploads to be on the disk: keys that were released, and files that became clean.
 *
 * Must not know what is done with either. */
#include "syncd/upload.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_space.h"
#include "syncd/disk_sync.h"

/* A key that was released in the index may be overwritten or deleted, and what was uploaded may be given up here, only
 * when a power cut cannot bring back the older index, which would still take the object there for its own, and what is
 * here for changed. */
struct index_syncing {
    struct uploader *uploader;   /* NULL: gone */
};

enum { SENT_MOST = 256 };   /* more would be long to look through */

static bool has(const struct inos *s, uint64_t ino)
{
    for (size_t n = 0; n < s->n; n++)
        if (s->all[n] == ino)
            return true;
    return false;
}

static void forget(struct inos *s)
{
    free(s->all);
    *s = (struct inos){ 0 };
}

static void index_synced(int error, void *arg)
{
    CLEANUP_FREE struct index_syncing *s = arg;
    struct uploader *u = s->uploader;

    if (!u)
        return;
    u->syncing = NULL;
    if (error) {
        u->unsynced = true;
        for (size_t n = 0; n < u->going.n; n++)
            *xadd(u->sent.all, u->sent.n) = u->going.all[n];
        uploader_rest(u, error);
    }
    forget(&u->going);
    if (u->sent.n >= SENT_MOST && !error)
        (void)uploader_synced(u);
    uploader_kick(u);
    space_changed(u->volume->cache);
}

bool uploader_synced(struct uploader *u)
{
    if (!u->unsynced && !u->syncing)
        return true;
    if (u->syncing)
        return false;
    u->unsynced = false;
    u->going = u->sent;
    u->sent = (struct inos){ 0 };
    u->syncing = xcalloc(1, sizeof(*u->syncing));
    u->syncing->uploader = u;
    disk_sync(u->volume->loop, (const int[]){ index_sync_fd(u->volume->index) }, 1, index_synced, u->syncing);
    return false;
}

void uploader_note_sent(struct uploader *u, uint64_t ino)
{
    *xadd(u->sent.all, u->sent.n) = ino;
    u->unsynced = true;
    if (u->sent.n >= SENT_MOST)
        (void)uploader_synced(u);
}

bool uploader_sent_lately(struct uploader *u, uint64_t ino)
{
    bool yes = has(&u->sent, ino) || has(&u->going, ino);

    if (yes)
        (void)uploader_synced(u);
    return yes;
}

/* Of a sync that is under way the end is awaited all the same: it may be the one that is told of a failure. */
int uploader_sync_now(struct uploader *u)
{
    int fd;

    if (!u->unsynced && !u->syncing)
        return 0;
    fd = index_sync_fd(u->volume->index);
    if (fd < 0 || fdatasync(fd) < 0)
        return fd < 0 ? fd : -errno;
    u->unsynced = false;
    forget(&u->sent);
    return 0;
}

void uploader_end_syncing(struct uploader *u)
{
    if (u->syncing)
        u->syncing->uploader = NULL;
    forget(&u->sent);
    forget(&u->going);
}
