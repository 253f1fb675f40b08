/* The list of drives: brought up at start, found, opened and closed. */
#include "syncd/drive.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/account.h"
#include "syncd/agent.h"
#include "syncd/events.h"
#include "syncd/mounts.h"
#include "syncd/store.h"
#include "syncd/syncd.h"

/* --- finding ---------------------------------------------------------------------------------- */

struct drive *drive_find(struct syncd *d, const char *id)
{
    struct drive *drive = d->drives;

    while (drive && strcasecmp(drive->model->id, id) != 0)
        drive = drive->next;
    return drive;
}

struct drive *drive_by_name(struct syncd *d, const char *name)
{
    struct drive *drive = d->drives;

    while (drive && (drive->phase == DRIVE_HIDDEN || strcmp(drive->model->name, name) != 0))
        drive = drive->next;
    return drive;
}

struct drive *drive_of_account(struct syncd *d, const char *account_id)
{
    struct drive *drive = d->drives;

    while (drive && strcmp(drive->model->account->id, account_id) != 0)
        drive = drive->next;
    return drive;
}

struct drive *drive_to_change(struct syncd *d, const char *id, struct error *e)
{
    struct drive *drive = drive_find(d, id);

    if (!drive || drive->phase == DRIVE_HIDDEN)
        error_set(e, -ENOENT, "There is no drive %.64s.", id);
    else if (drive->phase != DRIVE_READY)
        error_set(e, -EBUSY, "The drive %s is being changed; try again.", drive->model->name);
    else if (agent_check_idle(d, e) == 0)
        return drive;
    return NULL;
}

struct drive *drive_running(struct drive *drive, struct error *e)
{
    if (!drive)
        error_set(e, -ENOENT, "There is no such drive.");
    else if (!drive->volume)
        error_set(e, drive->fault.code ? drive->fault.code : -EINVAL, "The drive %s is down: %s", drive->model->name,
                  error_text(&drive->fault));
    return drive && drive->volume ? drive : NULL;
}

/* --- opening and closing ---------------------------------------------------------------------- */

char *drive_state_dir(const struct syncd *d, const char *id)
{
    char *path = NULL;

    if (asprintf(&path, "%s/drives/%s", d->state_dir, id) < 0)
        abort();
    return path;
}

struct drive *drive_add(struct syncd *d, Lf__CloudDrive *model)
{
    struct drive *drive = xcalloc(1, sizeof(*drive)), **at = &d->drives;

    drive->model = model;
    drive->syncd = d;
    while (*at && strcmp((*at)->model->id, model->id) < 0)
        at = &(*at)->next;
    drive->next = *at;
    *at = drive;
    return drive;
}

/* What was opened anew and is damaged again waits that long; the first time nobody does. */
static const int64_t REOPEN_PAUSE_NS = INT64_C(60000000000);

static void reopen(void *arg);

static void reopen_later(struct drive *drive)
{
    int64_t wait_ns = drive->reopened_ns ? drive->reopened_ns + REOPEN_PAUSE_NS - loop_now_ns() : 0;

    if (!drive->reopening)
        drive->reopening = loop_timer(drive->syncd->loop, wait_ns > 0 ? (uint64_t)wait_ns / 1000000 : 0, reopen, drive);
}

static void on_damaged(struct volume *v, void *arg)
{
    (void)v;
    reopen_later(arg);
}

static void on_changed(struct volume *v, const char *path, int state_b, void *arg)
{
    const struct drive *drive = arg;
    CLEANUP_FREE char *whole = NULL;

    (void)v;
    if (asprintf(&whole, "%s/%s", drive->model->local_path, path) < 0)
        abort();
    events_state(drive->syncd->events, whole, drive->model->storage_name, state_b);
}

static int open_volume(struct syncd *d, struct drive *drive, struct error *e)
{
    char *state_dir = drive_state_dir(d, drive->model->id);
    struct volume_spec spec = {
        .loop = d->loop,
        .config = d->config,
        .drive = drive->model,
        .state_dir = state_dir,
        .uid = d->uid,
        .gid = d->gid,
        .had_index = drive->phase == DRIVE_READY,
        .keys = drive->keys,
        .changed = on_changed,
        .events = d->events,
        .transfers = d->transfers,
        .damaged = on_damaged,
        .arg = drive,
    };
    int r = account_cloud(d, drive->model->account->id, &spec.cloud, e);

    if (r == 0)
        r = volume_open(&spec, &drive->volume, e);
    free(state_dir);
    return r;
}

int drive_open(struct syncd *d, struct drive *drive, struct error *e)
{
    int r = drive_keys_begin(drive, e);

    if (r == 0)
        r = drive_keys_state(drive, e);
    if (r == 0)
        r = open_volume(d, drive, e);

    if (r < 0) {
        drive->fault = *e;
        drive->volume = NULL;
        return r;
    }
    drive->fault = (struct error){ 0 };
    volume_pause(drive->volume, agent_rests(d));
    return 0;
}

int drive_open_keyed(struct drive *drive, struct error *e)
{
    mounts_detach(drive);
    volume_close(take_ptr(drive->volume));
    if (drive_open(drive->syncd, drive, e) == 0)
        return 0;
    LOG(LOG_ERR, "drive_down", "drive=%s", drive->model->id, "name=%s", drive->model->name, "reason=%s", error_text(e));
    drive->wanted = false;
    mounts_changed(drive->syncd);
    return e->code;
}

void drive_close(struct drive *drive)
{
    loop_timer_free(take_ptr(drive->reopening));
    mounts_detach(drive);
    drive_keys_stop(drive);
    volume_close(drive->volume);
    drive->volume = NULL;
    drive_keys_end(drive);
}

static void say_down(const struct drive *drive, const struct error *e)
{
    LOG(LOG_ERR, "drive_down", "drive=%s", drive->model->id, "name=%s", drive->model->name, "reason=%s",
        error_text(e));
}

/* Workers get another channel by way of mountd, and open there what they have open. */
static void reopen(void *arg)
{
    struct drive *drive = arg;
    struct error e = { 0 };

    loop_timer_free(take_ptr(drive->reopening));
    drive->reopened_ns = loop_now_ns();
    if (drive->phase != DRIVE_READY) {   /* somebody else is at it */
        reopen_later(drive);
        return;
    }
    drive_close(drive);
    if (drive_open(drive->syncd, drive, &e) == 0) {
        LOG(LOG_NOTICE, "drive_opened_anew", "drive=%s", drive->model->id, "name=%s", drive->model->name);
        return;
    }
    if (e.code == -EAGAIN)   /* once its keys are open; the kernel goes on waiting */
        return;
    say_down(drive, &e);
    drive->wanted = false;
    mounts_changed(drive->syncd);
}

void drive_want(struct drive *drive)
{
    drive->wanted = drive->volume && drive->model->active && agent_mounts(drive->syncd);
}

void drive_remove(struct syncd *d, struct drive *drive)
{
    struct drive **at = &d->drives;

    while (*at != drive)
        at = &(*at)->next;
    *at = drive->next;
    mounts_forget(drive);
    drive_close(drive);
    lf__cloud_drive__free_unpacked(drive->model, NULL);
    free(drive);
}

/* --- start and stop --------------------------------------------------------------------------- */

static void remove_left_over(struct syncd *d, struct drive *drive, const char *event)
{
    struct drive_folders *f = drive_folders_new(d, drive->model);

    LOG(LOG_WARNING, event, "drive=%s", drive->model->id, "name=%s", drive->model->name);
    f->made_mount_point = f->made_state_dir = f->made_cache_dir = true;
    drive_end(d, drive, f, NULL, NULL);
}

/* Or it cannot be told, because it has an index that cannot be opened. */
static bool has_changes(struct syncd *d, struct drive *drive)
{
    CLEANUP_FREE char *state_dir = drive_state_dir(d, drive->model->id), *index = NULL;
    struct error e = { 0 };

    if (asprintf(&index, "%s/index.db", state_dir) < 0)
        abort();
    if (access(index, F_OK) < 0 && errno == ENOENT)
        return false;
    return drive_keys_begin(drive, &e) < 0 || open_volume(d, drive, &e) < 0 || volume_pending(drive->volume) > 0;
}

/* Its deletion was on its way. */
static void end_leaving(struct syncd *d, Lf__CloudDrive *model)
{
    remove_left_over(d, drive_add(d, model), "drive_half_deleted");
}

/* Its insertion was never answered: nobody knows it. But it may have been mounted for a moment. */
static void end_half_made(struct syncd *d, Lf__CloudDrive *model)
{
    struct drive *drive = drive_add(d, model);

    if (!has_changes(d, drive) || store_drive_set_state(d->store, model->id, STORE_DRIVE_SETTLED) < 0) {
        remove_left_over(d, drive, "drive_half_made");
        return;
    }
    LOG(LOG_WARNING, "drive_half_made_kept", "drive=%s", model->id, "name=%s", model->name, "reason=%s",
        drive->volume ? "There are changes on it that the cloud does not have yet." : error_text(&drive->fault));
    drive->phase = DRIVE_READY;
    drive_want(drive);
}

struct load {
    struct load_row {
        Lf__CloudDrive *model;
        enum store_drive_state state;
    } *rows;
    size_t n;
};

static bool load_each(Lf__CloudDrive *model, enum store_drive_state state, void *arg)
{
    struct load *l = arg;

    *xadd(l->rows, l->n) = (struct load_row){ model, state };
    return true;
}

static void bring_up(struct syncd *d, Lf__CloudDrive *model)
{
    struct drive *drive = drive_add(d, model);
    struct error e = { 0 };

    drive->phase = DRIVE_READY;
    if (drive_cache_recover(drive, &e) < 0)
        drive->fault = e;
    else
        (void)drive_open(d, drive, &e);
    if (e.code && e.code != -EAGAIN)
        say_down(drive, &e);
    /* What is mounted already stays so while its keys are being opened. */
    drive->wanted = (drive->volume || e.code == -EAGAIN) && model->active && agent_mounts(d);
}

static void (*const begin[])(struct syncd *d, Lf__CloudDrive *model) = {
    [STORE_DRIVE_HALF_MADE] = end_half_made,
    [STORE_DRIVE_SETTLED] = bring_up,
    [STORE_DRIVE_LEAVING] = end_leaving,
};

/* Left by a version that did not write down what it was about to remove, or put there by somebody. */
static void say_strange_folders(struct syncd *d)
{
    static const char *const PARENTS[] = { "drives", "cache" };

    for (size_t i = 0; i < ARRAY_SIZE(PARENTS); i++) {
        CLEANUP_FREE char *path = NULL;
        DIR *dir;

        if (asprintf(&path, "%s/%s", d->state_dir, PARENTS[i]) < 0)
            abort();
        dir = opendir(path);
        for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
            if (entry->d_name[0] != '.' && !drive_find(d, entry->d_name))
                LOG(LOG_WARNING, "folder_of_no_drive", "folder=%s", path, "name=%s", entry->d_name, "then=%s",
                    "The state database names no drive that uses it. It is left as it is; look what is in it before "
                    "you remove it.");
        if (dir)
            (void)closedir(dir);
    }
}

int drive_load(struct syncd *d)
{
    struct load l = { 0 };
    int r = store_drive_each(d->store, load_each, &l);

    for (size_t i = 0; i < l.n; i++)
        if (r < 0)
            lf__cloud_drive__free_unpacked(l.rows[i].model, NULL);
        else
            begin[l.rows[i].state](d, l.rows[i].model);
    free(l.rows);
    if (r == 0)
        say_strange_folders(d);
    return r;
}

struct telling {
    size_t n;                      /* drives, and the one that asks them */
    void (*done)(void *arg);
    void *arg;
};

static void one_told(void *arg)
{
    struct telling *t = arg;

    if (--t->n > 0)
        return;
    t->done(t->arg);
    free(t);
}

void drive_tell_all(struct syncd *d, void (*done)(void *arg), void *arg)
{
    struct telling *t = xcalloc(1, sizeof(*t));

    *t = (struct telling){ 1, done, arg };
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->volume) {
            t->n++;
            volume_tell(drive->volume, one_told, t);
        }
    loop_defer(d->loop, one_told, t);
}

void drive_close_all(struct syncd *d)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        mounts_forget(drive);
        drive_close(drive);
    }
}

void drive_unload(struct syncd *d)
{
    while (d->drives)
        drive_remove(d, d->drives);
}
