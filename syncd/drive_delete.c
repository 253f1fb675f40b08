/* The end of a drive: unmounted, its uploads ended, its last words written, marked as leaving in the store, which keeps
 * its keys, closed, its folders removed, forgotten. Changes that are not yet in the cloud hold it back, unless forced;
 * they are looked at again once nobody can write any more. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "syncd/drive.h"
#include "syncd/keys_kept.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

struct removal {
    struct syncd *d;
    struct ipc_request *req;
    struct drive *drive;
    bool force;
};

/* The drive goes on as before. */
static void back(struct removal *rm, const struct error *e)
{
    rm->drive->phase = DRIVE_READY;
    drive_want(rm->drive);
    mounts_changed(rm->d);
    ipc_fail_error(rm->req, e);
    free(rm);
}

static int check_pending(const struct removal *rm, struct error *e)
{
    const struct drive *drive = rm->drive;
    uint64_t pending;

    if (rm->force)
        return 0;
    if (!drive->volume)
        return error_set(e, -EBUSY, "The drive %s is down (%s), so it cannot be told whether all changes are in the "
                         "cloud; delete it with force to drop those that are not.", drive->model->name,
                         error_text(&drive->fault));
    pending = volume_pending(drive->volume);
    if (pending == 0)
        return 0;
    return error_set(e, -EBUSY, "%" PRIu64 " changes of the drive %s are not in the cloud yet; wait for them, or "
                     "delete it with force to drop them.", pending, drive->model->name);
}

/* --- what is left of it ----------------------------------------------------------------------- */

struct ending {
    struct syncd *d;
    struct drive *drive;
    void (*done)(void *arg);
    void *arg;
};

static void drive_end_done(void *folders);

void drive_end(struct syncd *d, struct drive *drive, struct drive_folders *f, void (*done)(void *arg), void *arg)
{
    struct ending *e = xcalloc(1, sizeof(*e));

    *e = (struct ending){ d, drive, done, arg };
    drive->phase = DRIVE_HIDDEN;
    drive_close(drive);
    f->arg = e;
    loop_work(d->loop, drive_folders_remove, drive_end_done, f);
}

static void drive_end_done(void *folders)
{
    struct drive_folders *f = folders;
    struct ending *e = f->arg;
    int r = store_drive_delete(e->d->store, f->id);

    if (f->error.code < 0)
        LOG(LOG_WARNING, "drive_folders_left", "drive=%s", f->id, "reason=%s", error_text(&f->error));
    if (r < 0 && r != -ENOENT)
        LOG(LOG_ERR, "drive_not_forgotten", "drive=%s", f->id, "reason=%s", error_meaning(r)->text);
    drive_remove(e->d, e->drive);
    drive_folders_free(f);
    if (e->done)
        e->done(e->arg);
    free(e);
}

/* --- on request ------------------------------------------------------------------------------- */

static void remove_drive_done(void *arg);

/* Whatever came of what the cloud was to hear. */
static void remove_drive(void *arg)
{
    struct removal *rm = arg;
    struct drive_folders *f;
    struct error e = { 0 };
    int r = keys_kept_leave(rm->d, rm->drive, ipc_request_trace(rm->req));

    if (r < 0) {
        error_set(&e, r, "The drive could not be deleted.");
        back(rm, &e);
        return;
    }
    f = drive_folders_new(rm->d, rm->drive->model);
    f->made_mount_point = f->made_state_dir = f->made_cache_dir = true;
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(rm->req), "drive_deleted", "drive=%s", rm->drive->model->id,
              "name=%s", rm->drive->model->name);
    drive_end(rm->d, rm->drive, f, remove_drive_done, rm);
}

static void remove_drive_done(void *arg)
{
    struct removal *rm = arg;

    ipc_done(rm->req);
    free(rm);
}

/* Its index goes with it: what the other machines do not hear now nobody tells them. */
static void uploads_ended(void *arg)
{
    struct removal *rm = arg;

    volume_tell(rm->drive->volume, remove_drive, rm);
}

static void unmount_done(const struct error *e, void *arg);

static void unmount(struct removal *rm)
{
    mounts_withdraw(rm->d, rm->drive, unmount_done, rm);
}

static void unmount_done(const struct error *e, void *arg)
{
    struct removal *rm = arg;
    struct error pending = { 0 };

    if (e)
        back(rm, e);
    else if (check_pending(rm, &pending) < 0)
        back(rm, &pending);
    else if (rm->drive->volume)
        volume_end_uploads(rm->drive->volume, uploads_ended, rm);
    else
        remove_drive(rm);
}

static int prepare(struct removal *rm, const Lf__DriveDelete *ask, struct error *e)
{
    struct drive *drive = drive_to_change(rm->d, ask->id, e);

    if (!drive)
        return e->code;
    rm->drive = drive;
    rm->force = ask->has_force && ask->force;
    return check_pending(rm, e);
}

void drive_delete(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct removal *rm = xcalloc(1, sizeof(*rm));
    struct error e = { 0 };

    (void)fds;
    *rm = (struct removal){ .d = daemon, .req = req };
    if (prepare(rm, env->drive_delete, &e) < 0) {
        ipc_fail_error(req, &e);
        free(rm);
        return;
    }
    rm->drive->phase = DRIVE_CHANGING;
    unmount(rm);
}
