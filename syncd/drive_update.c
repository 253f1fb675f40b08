/* New settings of a drive. What the mount shows (name, permission, active) needs it unmounted meanwhile:
 * unmount, new mount point, store, mount. When the new mount fails, the old settings come back. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "syncd/drive.h"
#include "syncd/keys_kept.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

struct update {
    struct syncd *d;
    struct ipc_request *req;
    struct drive *drive;
    Lf__CloudDrive *model;            /* the new one; once taken over, the old one */
    struct drive_folders *made;       /* the new mount point, when the name changes */
    struct drive_folders *left;       /* the old one */
    bool gets_keys;                   /* it runs without */
    bool keeps_keys;                  /* it has some, and encrypts objects from now on */
    struct error error;
};

static void end(struct update *u)
{
    drive_folders_free(u->made);
    drive_folders_free(u->left);
    lf__cloud_drive__free_unpacked(u->model, NULL);
    free(u);
}

static void fail(struct update *u, const struct error *e)
{
    if (u->drive)
        u->drive->phase = DRIVE_READY;
    ipc_fail_error(u->req, e);
    end(u);
}

static void succeed(struct update *u)
{
    Lf__DriveStored stored = LF__DRIVE_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_STORED, drive_stored, &stored);
    struct drive_shown shown;

    u->drive->phase = DRIVE_READY;
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(u->req), "drive_updated", "drive=%s", u->drive->model->id);
    if (u->keeps_keys)
        keys_kept_say(u->d, u->drive->model, ipc_request_trace(u->req));
    drive_shown(u->drive, &shown);
    stored.drive = &shown.model;
    ipc_reply(u->req, &reply, NULL, 0);
    drive_shown_end(&shown);
    end(u);
}

/* Stores u->model and makes it the drive's; the one that was so far is in u->model then. */
static int swap(struct update *u, struct error *e)
{
    Lf__CloudDrive *before = u->drive->model;
    int r = store_drive_update(u->d->store, u->model);

    if (r < 0)
        return error_set(e, r, "The drive could not be stored.");
    u->drive->model = u->model;
    u->model = before;
    if (u->drive->volume && u->gets_keys)
        (void)drive_open_keyed(u->drive, e);   /* down with a reason, if it comes to that */
    else if (u->drive->volume)
        volume_configure(u->drive->volume, u->drive->model);
    u->gets_keys = false;
    return 0;
}

static void want(struct update *u)
{
    drive_want(u->drive);
    mounts_changed(u->d);
}

/* Only the mount point: index and cache stay where they are. */
static struct drive_folders *mount_point(struct update *u, const Lf__CloudDrive *m)
{
    struct drive_folders *f = drive_folders_new(u->d, m);

    free(f->state_dir);
    free(f->cache_dir);
    f->state_dir = f->cache_dir = NULL;
    f->arg = u;
    return f;
}

/* --- back ------------------------------------------------------------------------------------- */

static void undo_done(void *folders);

/* The model is the old one again; the new mount point goes. */
static void undo(struct update *u, const struct error *e)
{
    u->error = *e;
    want(u);
    if (u->made)
        loop_work(u->d->loop, drive_folders_remove, undo_done, u->made);
    else
        fail(u, &u->error);
}

static void undo_done(void *folders)
{
    struct update *u = ((struct drive_folders *)folders)->arg;

    fail(u, &u->error);
}

/* --- forth ------------------------------------------------------------------------------------ */

static void leave_done(void *folders);

/* The mount point of the name that was so far. */
static void leave(struct update *u)
{
    u->left = mount_point(u, u->model);
    u->left->made_mount_point = true;
    loop_work(u->d->loop, drive_folders_remove, leave_done, u->left);
}

static void leave_done(void *folders)
{
    succeed(((struct drive_folders *)folders)->arg);
}

static void mount_done(const struct error *e, void *arg);

static void mount(struct update *u)
{
    want(u);
    if (u->drive->wanted)
        mounts_await(u->d, u->drive, true, mount_done, u);
    else
        mount_done(NULL, u);
}

static void mount_done(const struct error *e, void *arg)
{
    struct update *u = arg;
    struct error ignored = { 0 };

    if (e) {
        (void)swap(u, &ignored);
        undo(u, e);
    } else if (u->made) {
        leave(u);
    } else {
        succeed(u);
    }
}

static void take_over(struct update *u)
{
    struct error e = { 0 };

    if (swap(u, &e) < 0)
        undo(u, &e);
    else
        mount(u);
}

static void make_done(void *folders);

static void make(struct update *u)
{
    u->made = mount_point(u, u->model);
    loop_work(u->d->loop, drive_folders_make, make_done, u->made);
}

static void make_done(void *folders)
{
    struct update *u = ((struct drive_folders *)folders)->arg;
    struct error e = u->made->error;

    if (e.code < 0)
        undo(u, &e);
    else
        take_over(u);
}

static void unmount_done(const struct error *e, void *arg);

static void unmount(struct update *u)
{
    mounts_withdraw(u->d, u->drive, unmount_done, u);
}

static void unmount_done(const struct error *e, void *arg)
{
    struct update *u = arg;

    if (e) {
        want(u);
        fail(u, e);
        return;
    }
    if (strcmp(u->model->local_path, u->drive->model->local_path) == 0)
        take_over(u);
    else
        make(u);
}

static bool concerns_mount(const Lf__CloudDrive *a, const Lf__CloudDrive *b)
{
    return strcmp(a->name, b->name) != 0 || strcmp(a->local_path, b->local_path) != 0 ||
           a->permission_type != b->permission_type || a->active != b->active;
}

static void start(struct update *u)
{
    struct error e = { 0 };

    u->drive->phase = DRIVE_CHANGING;
    if (!concerns_mount(u->drive->model, u->model)) {
        if (swap(u, &e) < 0)
            fail(u, &e);
        else
            succeed(u);
    } else {
        unmount(u);
    }
}

/* New objects are encrypted from then on, or no more; those that are there are understood in either form. */
static void has_keys(const struct error *e, void *arg)
{
    if (e)
        fail(arg, e);
    else
        start(arg);
}

static int prepare(struct update *u, const Lf__DriveUpdate *ask, struct error *e)
{
    struct drive *drive = drive_to_change(u->d, ask->id, e);
    int r;

    if (!drive)
        return e->code;
    r = drive_model_merge(u->d, drive->model, ask->drive, &u->model, e);
    if (r == 0)
        r = drive_model_clash(u->d, u->model, drive, e);
    if (r < 0)
        return r;
    u->drive = drive;
    u->gets_keys = drive->volume && !drive->keys && drive_model_encrypts(u->model);
    u->keeps_keys = drive->keys && !drive->model->cloud_objects_encrypted && u->model->cloud_objects_encrypted;
    return 0;
}

void drive_update(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct update *u = xcalloc(1, sizeof(*u));
    struct error e = { 0 };

    (void)fds;
    *u = (struct update){ .d = daemon, .req = req };
    if (prepare(u, env->drive_update, &e) < 0) {
        fail(u, &e);
        return;
    }
    u->drive->phase = DRIVE_CHANGING;
    if (u->gets_keys)
        drive_keys_make(u->drive, u->model, has_keys, u);
    else
        start(u);
}
