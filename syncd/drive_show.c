/* A drive that is to be shown to its user: by the file manager of his desktop session, which is given the mount point
 * and nothing that a caller chose. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/apart.h"
#include "syncd/drive.h"
#include "syncd/session_bus.h"
#include "syncd/syncd.h"

static const int64_t PAUSE_NS = INT64_C(1000000000);

struct showing {
    struct ipc_request *req;
    char *path;                    /* owned */
    struct session_folder folder;
};

static void work(void *arg)
{
    session_show_folder(&((struct showing *)arg)->folder);
}

static void end(struct showing *s, const struct error *e)
{
    if (e->code)
        ipc_fail_error(s->req, e);
    else
        ipc_done(s->req);
    free(s->path);
    free(s);
}

static void shown(void *arg)
{
    struct showing *s = arg;

    end(s, &s->folder.error);
}

static struct drive *find(struct syncd *d, const char *id, struct error *e)
{
    struct drive *drive = drive_find(d, id);

    if (!drive || drive->phase == DRIVE_HIDDEN)
        error_set(e, -ENOENT, "There is no drive %.64s.", id);
    else if (drive->mount != DRIVE_MOUNT_MOUNTED)
        error_set(e, -EINVAL, "The drive %s is not mounted; GET /management/clouddrive says why.", drive->model->name);
    else if (drive->shown_ns && loop_now_ns() - drive->shown_ns < PAUSE_NS)
        error_set(e, -EAGAIN, "The drive %s was opened a moment ago; wait a second.", drive->model->name);
    else
        return drive;
    return NULL;
}

void drive_show(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    struct error e = { 0 };
    struct drive *drive = find(d, env->drive_show->id, &e);
    struct showing *s;

    (void)fds;
    if (!drive) {
        ipc_fail_error(req, &e);
        return;
    }
    drive->shown_ns = loop_now_ns();
    s = xcalloc(1, sizeof(*s));
    s->req = req;
    s->path = xstrdup(drive->model->local_path);
    s->folder = (struct session_folder){ .uid = d->uid, .path = s->path };
    if (apart_run(d->apart, work, shown, s) < 0) {
        error_set(&e, -EAGAIN, "Too many file systems and programs of this machine do not answer; try again.");
        end(s, &e);
    }
}
