/* A drive that is to look into its bucket, and send what it has, at once. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/path.h"

static struct drive *find(struct syncd *d, const char *id, struct error *e)
{
    struct drive *drive = drive_find(d, id);

    if (drive && drive->phase != DRIVE_HIDDEN)
        return drive_running(drive, e);
    error_set(e, -ENOENT, "There is no drive %.64s.", id);
    return NULL;
}

void drive_sync(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DriveSync *given = env->drive_sync;
    CLEANUP_FREE char *path = NULL;
    struct error e = { 0 };
    struct drive *drive = find(daemon, given->id, &e);

    (void)fds;
    if (!drive || path_clean(given->path ? given->path : "", "/", &path, &e) < 0 ||
        volume_sync(drive->volume, path, &e) < 0)
        ipc_fail_error(req, &e);
    else
        ipc_done(req);
}
