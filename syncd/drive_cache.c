/* Another cache for a drive that is in use: other limits, another form, another folder. What the mount shows stays, and
 * programs wait where the volume is opened anew, as they do when syncd is restarted.
 *
 * A move to another folder is written down in state.db before it begins: after a crash either folder is whole, and the
 * drive has that one (drive_cache_recover()). What fails leaves the drive as it was. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/cache_move.h"
#include "syncd/drive.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

struct recache {
    struct syncd *d;
    struct ipc_request *req;
    struct drive *drive;
    Lf__CloudDrive *model;        /* the new one; once taken over, the old one */
    struct cache_move *move;      /* NULL: the folder stays */
    bool opens_anew;              /* it runs without keys so far */
    struct error error;           /* why it is as it was */
};

/* --- how it ends ------------------------------------------------------------------------------------ */

static void end(struct recache *u)
{
    if (u->drive)
        u->drive->phase = DRIVE_READY;
    cache_move_free(u->move);
    if (u->model)
        lf__cloud_drive__free_unpacked(u->model, NULL);
    free(u);
}

static void fail(struct recache *u, const struct error *e)
{
    ipc_fail_error(u->req, e);
    end(u);
}

static void succeed(struct recache *u)
{
    Lf__DriveStored stored = LF__DRIVE_STORED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_STORED, drive_stored, &stored);
    struct drive_shown shown;

    LOG_TRACE(LOG_NOTICE, ipc_request_trace(u->req), "drive_cache_changed", "drive=%s", u->drive->model->id,
              "folder=%s", u->drive->model->permanent_local_path, "encrypted=%d",
              u->drive->model->local_cache_encrypted);
    drive_shown(u->drive, &shown);
    stored.drive = &shown.model;
    ipc_reply(u->req, &reply, NULL, 0);
    drive_shown_end(&shown);
    end(u);
}

static void exchange_models(struct recache *u)
{
    Lf__CloudDrive *before = u->drive->model;

    u->drive->model = u->model;
    u->model = before;
}

/* --- opened anew ------------------------------------------------------------------------------------ */

static void left(void *move);

static void open_volume(struct recache *u)
{
    struct error e = { 0 };
    int r = drive_open(u->d, u->drive, &e);

    if (r < 0) {
        LOG(LOG_ERR, "drive_down", "drive=%s", u->drive->model->id, "name=%s", u->drive->model->name, "reason=%s",
            error_text(&e));
        u->drive->wanted = false;
        mounts_changed(u->d);
    }
    if (u->error.code)
        fail(u, &u->error);
    else if (r < 0)
        fail(u, &e);
    else if (u->move)
        loop_work(u->d->loop, cache_move_leave, left, u->move);
    else
        succeed(u);
}

static void keys_settled(void *arg)
{
    const struct error ends = { .code = -ECANCELED, .text = "Landfall ends." };
    struct recache *u = arg;

    if (drive_keys_wanted(u->drive) && !u->drive->keys)
        fail(u, &ends);
    else
        open_volume(u);
}

/* The kernel goes on waiting. */
static void open_anew(struct recache *u)
{
    struct error e = { 0 };

    if (drive_keys_begin(u->drive, &e) < 0)
        open_volume(u);
    else
        drive_keys_await(u->drive, keys_settled, u);
}

/* What is left of the old folder is of no use, and its removal is tried again at the next start. */
static void left(void *move)
{
    struct recache *u = ((struct cache_move *)move)->arg;

    if (u->move->error.code)
        LOG(LOG_WARNING, "cache_left_behind", "drive=%s", u->drive->model->id, "folder=%s", u->move->from, "reason=%s",
            error_text(&u->move->error));
    else
        (void)store_drive_cache_move(u->d->store, u->drive->model->id, STORE_CACHE_STAYS, NULL);
    succeed(u);
}

/* --- another folder --------------------------------------------------------------------------------- */

static void gave_up(void *move)
{
    struct recache *u = ((struct cache_move *)move)->arg;

    (void)store_drive_cache_move(u->d->store, u->drive->model->id, STORE_CACHE_STAYS, NULL);
    if (u->drive->volume)
        fail(u, &u->error);
    else
        open_anew(u);
}

static void exchange_folders(struct cache_move *m)
{
    char *from = m->from;

    m->from = m->to;
    m->to = from;
}

/* The half of the new folder goes. */
static void give_up(struct recache *u, const struct error *e)
{
    u->error = *e;
    exchange_folders(u->move);
    loop_work(u->d->loop, cache_move_leave, gave_up, u->move);
}

static void came_back(void *move)
{
    struct recache *u = ((struct cache_move *)move)->arg;

    if (u->move->error.code == 0) {
        loop_work(u->d->loop, cache_move_leave, gave_up, u->move);
        return;
    }
    LOG(LOG_CRIT, "cache_half_moved", "drive=%s", u->drive->model->id, "reason=%s", error_text(&u->move->error));
    fail(u, &u->move->error);
}

/* What was renamed comes back first. */
static void go_back(struct recache *u, const struct error *e)
{
    if (u->move->copies) {
        give_up(u, e);
        return;
    }
    u->error = *e;
    exchange_folders(u->move);
    loop_work(u->d->loop, cache_move_carry, came_back, u->move);
}

static void carried(void *move)
{
    struct recache *u = ((struct cache_move *)move)->arg;
    struct error e = u->move->error;
    int r = 0;

    if (e.code == 0)
        r = store_drive_cache_moved(u->d->store, u->model, u->move->from);
    if (r < 0)
        error_set(&e, r, "The drive could not be stored.");
    if (e.code) {
        go_back(u, &e);
        return;
    }
    exchange_models(u);
    open_anew(u);
}

static int carry(struct recache *u, struct error *e)
{
    enum store_cache_move how = u->move->copies ? STORE_CACHE_HALF_COPIED : STORE_CACHE_RENAMING;
    int r = 0;

    if (u->move->copies)
        r = volume_cache_stays(u->drive->volume, &u->move->inos, &u->move->n, &u->move->mount_tag);
    if (r == 0)
        r = store_drive_cache_move(u->d->store, u->drive->model->id, how, u->move->to);
    if (r < 0)
        return error_set(e, r, "The move of the cache could not be written down: %s", error_meaning(r)->text);
    drive_close(u->drive);
    loop_work(u->d->loop, cache_move_carry, carried, u->move);
    return 0;
}

static void prepared(void *move)
{
    struct recache *u = ((struct cache_move *)move)->arg;
    struct error e = u->move->error;

    if (e.code)
        fail(u, &e);   /* it has removed again what it made */
    else if (carry(u, &e) < 0)
        give_up(u, &e);
}

/* --- the same folder -------------------------------------------------------------------------------- */

static void change(struct recache *u)
{
    struct error e = { 0 };
    int r;

    if (strcmp(u->drive->model->permanent_local_path, u->model->permanent_local_path) != 0) {
        u->move = cache_move_new(u->drive->model->id, u->drive->model->permanent_local_path,
                                 u->model->permanent_local_path);
        u->move->arg = u;
        loop_work(u->d->loop, cache_move_prepare, prepared, u->move);
        return;
    }
    r = store_drive_update(u->d->store, u->model);
    if (r < 0) {
        error_set(&e, r, "The drive could not be stored.");
        fail(u, &e);
        return;
    }
    exchange_models(u);
    r = u->opens_anew ? drive_open_keyed(u->drive, &e) : 0;
    if (r < 0) {
        fail(u, &e);
        return;
    }
    if (!u->opens_anew)
        volume_configure(u->drive->volume, u->drive->model);
    succeed(u);
}

/* They are made, stored and open before anything is said to be encrypted. */
static void has_keys(const struct error *e, void *arg)
{
    struct recache *u = arg;

    if (e)
        fail(u, e);
    else
        change(u);
}

/* --- the request ------------------------------------------------------------------------------------ */

static int prepare(struct recache *u, const Lf__DriveChangeCache *ask, struct error *e)
{
    struct drive *drive = drive_to_change(u->d, ask->id, e);
    int r;

    if (!drive)
        return e->code;
    if (!drive_running(drive, e))
        return e->code;
    r = drive_keys_state(drive, e);
    if (r == 0)
        r = drive_model_change_cache(u->d, drive->model, ask->drive, &u->model, e);
    if (r == 0)
        r = drive_model_clash(u->d, u->model, drive, e);
    if (r < 0)
        return r;
    u->drive = drive;
    drive->phase = DRIVE_CHANGING;
    return 0;
}

void drive_change_cache(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct recache *u = xcalloc(1, sizeof(*u));
    struct error e = { 0 };

    (void)fds;
    *u = (struct recache){ .d = daemon, .req = req };
    if (prepare(u, env->drive_change_cache, &e) < 0) {
        fail(u, &e);
        return;
    }
    u->opens_anew = drive_model_encrypts(u->model) && !u->drive->keys;
    if (u->opens_anew)
        drive_keys_make(u->drive, u->model, has_keys, u);
    else
        change(u);
}

/* --- after a crash ---------------------------------------------------------------------------------- */

static void swept(void *move)
{
    struct cache_move *m = move;
    struct syncd *d = m->arg;

    if (m->error.code)
        LOG(LOG_WARNING, "cache_left_behind", "drive=%s", m->id, "folder=%s", m->from, "reason=%s",
            error_text(&m->error));
    else
        (void)store_drive_cache_move(d->store, m->id, STORE_CACHE_STAYS, NULL);
    cache_move_free(m);
}

static void sweep(struct syncd *d, const char *id, const char *folder)
{
    struct cache_move *m = cache_move_new(id, folder, folder);

    m->arg = d;
    loop_work(d->loop, cache_move_leave, swept, m);
}

/* All of it was to go by its name; what went is there. */
static int go_on(struct drive *drive, const char *to, struct error *e)
{
    struct cache_move *m = cache_move_new(drive->model->id, drive->model->permanent_local_path, to);
    CLEANUP_FREE char *before = xstrdup(drive->model->permanent_local_path);
    int r;

    cache_move_carry(m);
    *e = m->error;
    cache_move_free(m);
    if (e->code)
        return e->code;
    xstrset(&drive->model->permanent_local_path, to);
    r = store_drive_cache_moved(drive->syncd->store, drive->model, before);
    if (r < 0)
        return error_set(e, r, "The drive could not be stored.");
    sweep(drive->syncd, drive->model->id, before);
    return 0;
}

int drive_cache_recover(struct drive *drive, struct error *e)
{
    CLEANUP_FREE char *other = NULL;
    enum store_cache_move how;
    int r = store_drive_cache_move_get(drive->syncd->store, drive->model->id, &how, &other);

    if (r < 0)
        return error_set(e, r, "What became of the cache of the drive could not be read: %s", error_meaning(r)->text);
    if (how == STORE_CACHE_RENAMING)
        return go_on(drive, other, e);
    if (how != STORE_CACHE_STAYS)
        sweep(drive->syncd, drive->model->id, other);
    return 0;
}
