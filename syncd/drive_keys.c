/* A drive and its keys: it runs when they are open. When they cannot be opened it stays down and says why, with all it
 * has left as it is, and comes up by itself once they can. One that runs when its keys cannot be opened any more, since
 * cryptd came back with another key store, goes on running, and what needs the keys fails. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/crypt.h"
#include "common/log.h"
#include "common/process.h"
#include "syncd/credential.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/keys_kept.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

enum { REGION_SIZE = 16 * 1024 * 1024, REGION_LEAST = 4608 * 1024, BUSY_MS = 1000 };

/* --- their state --------------------------------------------------------------------------------------- */

static void come_up(void *arg);

static void come_up_later(struct drive *drive)
{
    loop_timer_free(drive->coming_up);
    drive->coming_up = loop_timer(drive->syncd->loop, BUSY_MS, come_up, drive);
}

/* Whoever changes the drive looks at whether it runs; so it is not brought up meanwhile. */
static void come_up(void *arg)
{
    struct drive *drive = arg;
    struct error e = { 0 };

    loop_timer_free(take_ptr(drive->coming_up));
    if (drive->volume || drive->phase == DRIVE_HIDDEN)
        return;
    if (drive->phase != DRIVE_READY) {
        come_up_later(drive);
        return;
    }
    if (drive_open(drive->syncd, drive, &e) < 0) {
        LOG(LOG_ERR, "drive_down", "drive=%s", drive->model->id, "name=%s", drive->model->name, "reason=%s",
            error_text(&e));
        return;
    }
    LOG(LOG_INFO, "drive_up", "drive=%s", drive->model->id, "name=%s", drive->model->name);
    if (drive->keys_failed)
        volume_keys_back(drive->volume);
    drive->keys_failed = false;
    drive_want(drive);
    mounts_changed(drive->syncd);
}

static void say_shut(struct drive *drive, const struct error *e)
{
    LOG(LOG_CRIT, "drive_keys_not_opened", "drive=%s", drive->model->id, "name=%s", drive->model->name, "reason=%s",
        error_text(e));
    drive->keys_failed = true;
    if (drive->volume)
        return;
    drive->fault = *e;
    if (drive->phase == DRIVE_READY && drive->wanted) {
        drive->wanted = false;
        mounts_changed(drive->syncd);
    }
}

static void tried_again(const struct error *e, uint64_t n, void *arg)
{
    (void)e;
    (void)n;
    (void)arg;
}

/* What failed for want of the keys. */
static void try_again(struct drive *drive)
{
    drive->keys_failed = false;
    volume_keys_back(drive->volume);
    volume_keys_rotated(drive->volume, tried_again, NULL);
}

static void go_on(struct drive *drive)
{
    if (drive->keys_failed)
        try_again(drive);
    else
        volume_keys_opened(drive->volume);
}

static void on_opened(const struct error *e, void *arg)
{
    struct drive *drive = arg;
    void (*settled)(void *arg) = take_ptr(drive->keys_settled);

    if (e)
        say_shut(drive, e);
    else if (drive->volume)
        go_on(drive);
    else if (drive->phase != DRIVE_HIDDEN)
        come_up(drive);
    if (settled)
        settled(drive->keys_settled_arg);
}

static int make_region(struct syncd *d, struct error *e)
{
    int r = d->crypt ? 0 : crypt_new(d->loop, REGION_SIZE, REGION_LEAST, &d->crypt, e);

    if (r < 0)
        return r;
    if (!process_lock_memory())
        LOG(LOG_NOTICE, "memory_not_locked", "reason=%s", crypt_locked(d->crypt)
            ? "RLIMIT_MEMLOCK; what is shared with cryptd is" : "RLIMIT_MEMLOCK; what is encrypted may be swapped out");
    if (ipc_client_connected(d->cryptd))
        crypt_share(d->crypt, d->cryptd);
    return 0;
}

bool drive_keys_wanted(const struct drive *drive)
{
    return drive_model_encrypts(drive->model) || store_keys_kept(drive->syncd->store, drive->model->id);
}

int drive_keys_begin(struct drive *drive, struct error *e)
{
    struct syncd *d = drive->syncd;
    struct keys_spec spec = {
        .loop = d->loop, .store = d->store, .cryptd = d->cryptd, .drive_id = drive->model->id, .opened = on_opened,
        .arg = drive,
    };
    int r = 0;

    if (drive->keys || !drive_keys_wanted(drive))
        return 0;
    if (!d->crypt)
        r = make_region(d, e);
    if (r < 0)
        return r;
    spec.crypt = d->crypt;
    drive->keys = keys_new(&spec);
    return 0;
}

int drive_keys_state(const struct drive *drive, struct error *e)
{
    return drive->keys ? keys_state(drive->keys, e) : 0;
}

void drive_keys_await(struct drive *drive, void (*done)(void *arg), void *arg)
{
    struct error e = { 0 };

    if (drive_keys_state(drive, &e) != -EAGAIN) {
        done(arg);
        return;
    }
    drive->keys_settled = done;
    drive->keys_settled_arg = arg;
}

void drive_keys_stop(struct drive *drive)
{
    if (drive->keys)
        keys_stop(drive->keys);
}

void drive_keys_end(struct drive *drive)
{
    void (*settled)(void *arg) = take_ptr(drive->keys_settled);

    loop_timer_free(take_ptr(drive->coming_up));
    keys_free(take_ptr(drive->keys));
    if (settled)
        settled(drive->keys_settled_arg);
}

/* --- for a drive that had none ------------------------------------------------------------------------- */

struct making {
    struct drive *drive;
    Lf__CloudDrive *model;        /* what it shall be; borrowed */
    void (*done)(const struct error *e, void *arg);
    void *arg;
};

static void making_end(struct making *m, const struct error *e)
{
    struct making ended = *m;

    free(m);
    ended.done(e, ended.arg);
}

static void making_tried(void *arg)
{
    struct making *m = arg;
    struct error e = { 0 };

    if (!m->drive->keys)
        error_set(&e, -ECANCELED, "Landfall ends.");
    else if (drive_keys_state(m->drive, &e) == 0 && store_drive_set_state(m->drive->syncd->store, m->drive->model->id,
                                                                          STORE_DRIVE_SETTLED) == 0) {
        making_end(m, NULL);
        return;
    }
    if (e.code == 0)
        error_set(&e, -EIO, "The keys of the drive could not be stored.");
    drive_keys_end(m->drive);
    (void)store_keys_remove(m->drive->syncd->store, m->drive->model->id);
    making_end(m, &e);
}

static int making_store(const struct making *m, const struct store_keys *keys, const struct keys_heritage *h,
                        struct error *e)
{
    struct syncd *d = m->drive->syncd;
    int r = store_keys_put(d->store, m->drive->model->id, keys->blob, keys->n, keys->serial);

    if (r == 0)
        r = keys_kept_claim(d, h, m->model, 0);
    if (r < 0)
        return error_set(e, r, "The keys of the drive could not be stored: %s", error_meaning(r)->text);
    return drive_keys_begin(m->drive, e);
}

static void making_made(const struct error *e, const struct store_keys *keys, const struct keys_heritage *h, void *arg)
{
    struct making *m = arg;
    struct error failed = { 0 };

    if (e)
        failed = *e;
    else
        (void)making_store(m, keys, h, &failed);
    if (failed.code)
        making_end(m, &failed);
    else
        drive_keys_await(m->drive, making_tried, m);
}

static void making_checked(const struct error *e, void *arg)
{
    struct making *m = arg;

    if (e)
        making_end(m, e);
    else
        keys_kept_make(m->drive->syncd, m->model, making_made, m);
}

void drive_keys_make(struct drive *drive, Lf__CloudDrive *model, void (*done)(const struct error *e, void *arg),
                     void *arg)
{
    struct making *m = xcalloc(1, sizeof(*m));

    *m = (struct making){ drive, model, done, arg };
    drive_keys_check_store(drive->syncd, making_checked, m);
}

/* --- cryptd ---------------------------------------------------------------------------------------------- */

void drive_cryptd_connected(struct syncd *d)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->keys)
            keys_connected(drive->keys);
}

void drive_cryptd_lost(struct syncd *d)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->keys)
            keys_disconnected(drive->keys);
}

/* Some drive's keys were sealed with another key store: *e says so. */
static bool locked_out(const struct syncd *d, struct error *e)
{
    for (const struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->keys && keys_other_store(drive->keys)) {
            (void)keys_state(drive->keys, e);
            return true;
        }
    return false;
}

void drive_keys_check_store(struct syncd *d, void (*done)(const struct error *e, void *arg), void *arg)
{
    struct error e = { 0 };

    if (locked_out(d, &e))
        done(&e, arg);
    else
        credential_check_store(d, done, arg);
}
