/* A new drive: checked, its bucket tried, its keys made, stored half made, its folders made, opened, mounted, settled,
 * in this order. What fails on the way is undone from there back, and the reason is the answer. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/account.h"
#include "syncd/agent.h"
#include "syncd/drive.h"
#include "syncd/keys_kept.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

struct insert {
    struct syncd *d;
    struct ipc_request *req;
    struct drive *drive;
    struct drive_folders *folders;
    struct error error;           /* why it failed */
};

static void end(struct insert *in)
{
    drive_folders_free(in->folders);
    free(in);
}

/* --- back ------------------------------------------------------------------------------------- */

static void undo_done(void *arg);

/* Until the folders are gone the drive keeps its name and letter. */
static void undo(struct insert *in, const struct error *e)
{
    in->error = *e;
    if (in->drive->wanted) {
        in->drive->wanted = false;
        mounts_changed(in->d);
    }
    drive_end(in->d, in->drive, take_ptr(in->folders), undo_done, in);
}

static void undo_done(void *arg)
{
    struct insert *in = arg;

    LOG_TRACE(LOG_WARNING, ipc_request_trace(in->req), "drive_refused", "reason=%s", error_text(&in->error));
    ipc_fail_error(in->req, &in->error);
    end(in);
}

static void refuse(struct insert *in, const struct error *e)
{
    if (in->drive)
        drive_remove(in->d, in->drive);
    ipc_fail_error(in->req, e);
    end(in);
}

/* --- forth ------------------------------------------------------------------------------------ */

static void mount_done(const struct error *e, void *arg);

static void mount(struct insert *in)
{
    drive_want(in->drive);
    if (in->drive->wanted)
        mounts_await(in->d, in->drive, true, mount_done, in);
    else
        mount_done(NULL, in);
}

static void mount_done(const struct error *e, void *arg)
{
    struct insert *in = arg;
    Lf__DriveStored stored = LF__DRIVE_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_STORED, drive_stored, &stored);
    struct error failed = { 0 };
    int r;

    if (e) {
        undo(in, e);
        return;
    }
    r = store_drive_set_state(in->d->store, in->drive->model->id, STORE_DRIVE_SETTLED);
    if (r < 0) {
        error_set(&failed, r, "The drive could not be stored.");
        undo(in, &failed);
        return;
    }
    in->drive->phase = DRIVE_READY;
    LOG_TRACE(LOG_NOTICE, ipc_request_trace(in->req), "drive_stored", "drive=%s", in->drive->model->id,
              "name=%s", in->drive->model->name);
    stored.drive = in->drive->model;
    ipc_reply(in->req, &reply, NULL, 0);
    end(in);
}

/* What is half made when syncd ends is removed at its next start. */
static void keys_settled(void *arg)
{
    struct insert *in = arg;
    struct error e = { 0 };

    if (drive_model_encrypts(in->drive->model) && !in->drive->keys) {
        ipc_fail(in->req, -ECANCELED, "Landfall ends.");
        end(in);
        return;
    }
    if (drive_open(in->d, in->drive, &e) < 0)
        undo(in, &e);
    else
        mount(in);
}

static void store_and_make_done(void *folders);

/* `keys` NULL: it encrypts nothing. */
static int store_keys(struct insert *in, const struct store_keys *keys, const struct keys_heritage *h)
{
    const Lf__CloudDrive *model = in->drive->model;
    int r = keys ? store_keys_put(in->d->store, model->id, keys->blob, keys->n, keys->serial) : 0;

    return r == 0 && keys ? keys_kept_claim(in->d, h, model, ipc_request_trace(in->req)) : r;
}

static int store(struct insert *in, const struct store_keys *keys, const struct keys_heritage *h, struct error *e)
{
    const Lf__CloudDrive *model = in->drive->model;
    int r = store_drive_insert(in->d->store, model);

    if (r < 0)
        return error_set(e, r, r == -ENOENT ? "The account of the drive has been deleted."
                                            : "The drive could not be stored.");
    r = store_keys(in, keys, h);
    if (r == 0)
        return 0;
    (void)store_drive_delete(in->d->store, model->id);
    return error_set(e, r, "The keys of the drive could not be stored.");
}

/* Stored first: what is made is known to somebody from then on. */
static void store_and_make(struct insert *in, const struct store_keys *keys, const struct keys_heritage *h)
{
    struct error e = { 0 };

    if (store(in, keys, h, &e) < 0) {
        refuse(in, &e);
        return;
    }
    in->folders = drive_folders_new(in->d, in->drive->model);
    in->folders->arg = in;
    loop_work(in->d->loop, drive_folders_make, store_and_make_done, in->folders);
}

static void store_and_make_done(void *folders)
{
    struct insert *in = ((struct drive_folders *)folders)->arg;
    struct error e = in->folders->error;

    if (e.code < 0 || drive_keys_begin(in->drive, &e) < 0)
        undo(in, &e);
    else
        drive_keys_await(in->drive, keys_settled, in);
}

static void make_keys_done(const struct error *e, const struct store_keys *keys, const struct keys_heritage *h,
                           void *arg)
{
    if (e)
        refuse(arg, e);
    else
        store_and_make(arg, keys, h);
}

/* With another key store than the others have they would be lost when the right one comes back. */
static void make_keys(const struct error *e, void *arg)
{
    struct insert *in = arg;

    if (e)
        refuse(in, e);
    else
        keys_kept_make(in->d, in->drive->model, make_keys_done, in);
}

static cloud_done_fn probe_done;

/* Listing one object shows that the bucket is there and that the keys may read it. */
static void probe(struct insert *in, struct cloud *cloud)
{
    struct cloud_request *r = cloud_request_new(CLOUD_LIST, probe_done, in);

    cloud_request_set(&r->bucket, in->drive->model->storage_name);
    cloud_request_set(&r->prefix, in->drive->model->prefix);
    r->limit = 1;
    r->deadline_ms = ACCOUNT_DEADLINE_MS;
    r->trace = ipc_request_trace(in->req);
    cloud_submit(cloud, r);
}

static void probe_done(struct cloud_request *r, void *arg)
{
    struct insert *in = arg;
    struct error failed = r->error, e = { 0 };

    cloud_request_free(r);
    if (failed.code == 0 && drive_model_encrypts(in->drive->model)) {
        drive_keys_check_store(in->d, make_keys, in);
        return;
    }
    if (failed.code == 0) {
        store_and_make(in, NULL, NULL);
        return;
    }
    /* A missing bucket is a fault of the request, not a missing resource of ours. */
    error_set(&e, failed.code == -ENOENT || failed.code == -EACCES ? -EINVAL : failed.code,
              "The drive cannot use its bucket: %s", error_text(&failed));
    refuse(in, &e);
}

static int prepare(struct insert *in, const Lf__CloudDrive *given, struct cloud **ret_cloud, struct error *e)
{
    Lf__CloudDrive *model;
    int r = agent_check_idle(in->d, e);

    if (r == 0)
        r = drive_model_new(in->d, given, &model, e);
    if (r < 0)
        return r;
    r = drive_model_clash(in->d, model, NULL, e);
    if (r == 0)
        r = account_cloud(in->d, model->account->id, ret_cloud, e);
    if (r < 0)
        lf__cloud_drive__free_unpacked(model, NULL);
    else
        in->drive = drive_add(in->d, model);
    return r;
}

void drive_insert(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct insert *in = xcalloc(1, sizeof(*in));
    struct cloud *cloud = NULL;
    struct error e = { 0 };

    (void)fds;
    *in = (struct insert){ .d = daemon, .req = req };
    if (prepare(in, env->drive_insert->drive, &cloud, &e) < 0)
        refuse(in, &e);
    else
        probe(in, cloud);
}
