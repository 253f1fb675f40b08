/* The list of drives: brought up at start, found, opened and closed, shown. */
#include "syncd/drive.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/log.h"
#include "common/text.h"
#include "syncd/account.h"
#include "syncd/mounts.h"
#include "syncd/page.h"
#include "syncd/path.h"
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

    while (drive && (drive->phase == DRIVE_INSERTING || strcmp(drive->model->name, name) != 0))
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
    while (*at && strcmp((*at)->model->id, model->id) < 0)
        at = &(*at)->next;
    drive->next = *at;
    *at = drive;
    return drive;
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
    };
    int r = account_cloud(d, drive->model->account->id, &spec.cloud, e);

    if (r == 0)
        r = volume_open(&spec, &drive->volume, e);
    free(state_dir);
    return r;
}

int drive_open(struct syncd *d, struct drive *drive, struct error *e)
{
    int r = open_volume(d, drive, e);

    if (r < 0) {
        drive->fault = *e;
        drive->volume = NULL;
        return r;
    }
    drive->fault = (struct error){ 0 };
    volume_pause(drive->volume, d->paused);
    return 0;
}

void drive_close(struct drive *drive)
{
    mounts_detach(drive);
    volume_close(drive->volume);
    drive->volume = NULL;
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

static void on_folders_gone(void *folders)
{
    drive_folders_free(folders);
}

/* Its insertion was never answered: nobody knows it. */
static void forget_unsettled(struct syncd *d, Lf__CloudDrive *model)
{
    struct drive_folders *f = drive_folders_new(d, model);

    LOG(LOG_WARNING, "drive_half_made", "drive=%s", model->id, "name=%s", model->name);
    (void)store_drive_delete(d->store, model->id);
    f->made_mount_point = f->made_state_dir = f->made_cache_dir = true;
    loop_work(d->loop, drive_folders_remove, on_folders_gone, f);
    lf__cloud_drive__free_unpacked(model, NULL);
}

struct load {
    struct load_row {
        Lf__CloudDrive *model;
        bool settled;
    } *rows;
    size_t n;
};

static bool load_each(Lf__CloudDrive *model, bool settled, void *arg)
{
    struct load *l = arg;

    *xadd(l->rows, l->n) = (struct load_row){ model, settled };
    return true;
}

static void bring_up(struct syncd *d, Lf__CloudDrive *model)
{
    struct drive *drive = drive_add(d, model);
    struct error e = { 0 };

    drive->phase = DRIVE_READY;
    if (drive_open(d, drive, &e) < 0)
        LOG(LOG_ERR, "drive_down", "drive=%s", model->id, "name=%s", model->name, "reason=%s", error_text(&e));
    drive->wanted = drive->volume && model->active;
}

int drive_load(struct syncd *d)
{
    struct load l = { 0 };
    int r = store_drive_each(d->store, load_each, &l);

    for (size_t i = 0; i < l.n; i++) {
        if (r < 0)
            lf__cloud_drive__free_unpacked(l.rows[i].model, NULL);
        else if (l.rows[i].settled)
            bring_up(d, l.rows[i].model);
        else
            forget_unsettled(d, l.rows[i].model);
    }
    free(l.rows);
    return r;
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

/* --- showing ---------------------------------------------------------------------------------- */

Lf__CloudDrive *drive_shown(const struct drive *drive)
{
    Lf__CloudDrive *m = drive_model_copy(drive->model);
    const struct error *why = drive->fault.code ? &drive->fault : &drive->mount_error;

    if (!m)
        abort();
    if (why->code)
        xstrset(&m->mount_error, error_text(why));
    m->has_pending_changes = drive->volume != NULL;
    m->pending_changes = drive->volume ? (int64_t)volume_pending(drive->volume) : 0;
    return m;
}

/* --- requests --------------------------------------------------------------------------------- */

static bool shown(const struct drive *drive, const char *after, const struct drive *only)
{
    return drive->phase != DRIVE_INSERTING && strcmp(drive->model->id, after) > 0 && (!only || drive == only);
}

/* As for mounts: the id to go on behind, NULL at the end. */
static const char *fill(struct syncd *d, const char *after, const struct drive *only, struct page *page)
{
    const char *last = NULL;

    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        Lf__CloudDrive *m;

        if (!shown(drive, after, only))
            continue;
        m = drive_shown(drive);
        if (!page_add(page, &m->base)) {
            lf__cloud_drive__free_unpacked(m, NULL);
            return last;
        }
        last = drive->model->id;
    }
    return NULL;
}

void drive_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    const Lf__DriveList *ask = env->drive_list;
    struct page page = { 0 };
    struct drive *only = NULL;
    Lf__DriveListed listed = LF__DRIVE_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_LISTED, drive_listed, &listed);

    (void)fds;
    if (!ask->path || !*ask->path || path_owner(d, ask->path, &only) == 0)
        listed.next_page = (char *)fill(d, ask->page ? ask->page : "", only, &page);
    listed.drives = (Lf__CloudDrive **)page.items;
    listed.n_drives = page.n;
    ipc_reply(req, &reply, NULL, 0);
    page_free(&page, true);
}

void drive_exists(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const char *path = env->drive_exists->path;
    struct drive *owner;
    Lf__DriveExistence existence = LF__DRIVE_EXISTENCE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DRIVE_EXISTENCE, drive_existence, &existence);

    (void)fds;
    existence.exists = (char *)(path_owner(daemon, path, &owner) == 0 ? "1" : "0");
    ipc_reply(req, &reply, NULL, 0);
}
