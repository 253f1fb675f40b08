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
    drive->wanted = drive->model->active;
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
