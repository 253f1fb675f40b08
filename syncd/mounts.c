/* Desired mounts for mountd, its reports, and the workers' channels. Knows nothing of mount(2). */
#include "syncd/mounts.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/drive.h"
#include "syncd/keys.h"
#include "syncd/page.h"
#include "syncd/syncd.h"

/* --- the list --------------------------------------------------------------------------------- */

void mounts_changed(struct syncd *d)
{
    Lf__MountsChanged changed = LF__MOUNTS_CHANGED__INIT;
    Lf__Envelope event = IPC_ENVELOPE(MOUNTS_CHANGED, mounts_changed, &changed);

    subscribers_tell(&d->mountds, &event);
}

static Lf__Mount *new_mount(const struct drive *drive)
{
    Lf__Mount *m = xcalloc(1, sizeof(*m));

    lf__mount__init(m);
    m->drive_id = xstrdup(drive->model->id);
    m->name = xstrdup(drive->model->name);
    m->mount_point = xstrdup(drive->model->local_path);
    m->read_only = drive->model->permission_type == 1;
    return m;
}

/* Fills the page with the wanted drives behind `after`; returns the id to go on behind, NULL at the end. */
static const char *fill(struct syncd *d, const char *after, struct page *page)
{
    const char *last = NULL;

    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        Lf__Mount *m;

        if (!drive->wanted || strcmp(drive->model->id, after) <= 0)
            continue;
        m = new_mount(drive);
        if (!page_add(page, &m->base)) {
            lf__mount__free_unpacked(m, NULL);
            return last;
        }
        last = drive->model->id;
    }
    return NULL;
}

void mounts_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct syncd *d = daemon;
    struct page page = { 0 };
    Lf__MountListed listed = LF__MOUNT_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(MOUNT_LISTED, mount_listed, &listed);

    (void)fds;
    subscribers_add(&d->mountds, ipc_request_peer(req));
    listed.next_page = (char *)fill(d, env->mount_list->page ? env->mount_list->page : "", &page);
    listed.mounts = (Lf__Mount **)page.items;
    listed.n_mounts = page.n;
    ipc_reply(req, &reply, NULL, 0);
    page_free(&page, true);
}

/* --- reports ---------------------------------------------------------------------------------- */

struct mounts_wait {
    struct drive *drive;
    bool mounted;
    bool heard;                 /* a mountd was told of the change */
    struct loop_timer *timer;
    void (*done)(const struct error *e, void *arg);
    void *arg;
};

void mounts_forget(struct drive *drive)
{
    if (!drive->wait)
        return;
    loop_timer_free(drive->wait->timer);
    free(drive->wait);
    drive->wait = NULL;
}

/* The waiter is forgotten before it is told, so that it can wait for something else. */
static void tell(struct drive *drive, const struct error *e)
{
    struct mounts_wait told = *drive->wait;

    mounts_forget(drive);
    told.done(e, told.arg);
}

static void on_late(void *arg)
{
    struct mounts_wait *w = arg;
    struct error e = { 0 };

    /* mountd confirms every mount to a syncd that is new: what it has never confirmed is not mounted. */
    if (!w->mounted && w->drive->mount == DRIVE_MOUNT_UNKNOWN && w->heard) {
        tell(w->drive, NULL);
        return;
    }
    error_set(&e, -ETIMEDOUT, "The drive %s was not %s within %d seconds; the log of mountd says why.",
              w->drive->model->name, w->mounted ? "mounted" : "unmounted", MOUNTS_WAIT_MS / 1000);
    tell(w->drive, &e);
}

void mounts_await(struct syncd *d, struct drive *drive, bool mounted, void (*done)(const struct error *e, void *arg),
                  void *arg)
{
    struct mounts_wait *w;

    mounts_forget(drive);
    if (!mounted && drive->mount == DRIVE_MOUNT_NONE) {
        mounts_changed(d);
        done(NULL, arg);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct mounts_wait){ drive, mounted, subscribers_any(&d->mountds), NULL, done, arg };
    drive->wait = w;
    w->timer = loop_timer(d->loop, MOUNTS_WAIT_MS, on_late, w);
    if (!w->timer)
        abort();
    mounts_changed(d);
}

void mounts_withdraw(struct syncd *d, struct drive *drive, void (*done)(const struct error *e, void *arg), void *arg)
{
    if (!drive->wanted) {
        done(NULL, arg);
        return;
    }
    drive->wanted = false;
    mounts_await(d, drive, false, done, arg);
}

static void report(struct drive *drive, const Lf__MountReport *r)
{
    struct error e = { 0 };

    if (r->failure)
        error_set(&e, -abs(r->failure->code), "%s", r->failure->text ? r->failure->text : "");
    drive->mount = r->mounted ? DRIVE_MOUNT_MOUNTED : DRIVE_MOUNT_NONE;
    drive->mount_error = e;
    if (!drive->wait)
        return;
    if ((bool)r->mounted == drive->wait->mounted)
        tell(drive, NULL);
    else if (r->failure)
        tell(drive, &e);
}

/* Confirmations come with every list; what is new is worth a line. */
static int worth(const struct drive *drive, const Lf__MountReport *r)
{
    bool mounted = drive && drive->mount == DRIVE_MOUNT_MOUNTED;

    if (r->failure)
        return LOG_WARNING;
    return mounted == (bool)r->mounted ? LOG_DEBUG : LOG_INFO;
}

void mounts_report(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__MountReport *r = env->mount_report;
    struct drive *drive = drive_find(daemon, r->drive_id);

    (void)fds;
    LOG_TRACE(worth(drive, r), ipc_request_trace(req), "mount_reported", "drive=%s", r->drive_id,
              "mounted=%d", (int)r->mounted, "reason=%s", r->failure && r->failure->text ? r->failure->text : "");
    ipc_done(req);
    if (drive)
        report(drive, r);
}

/* --- workers ---------------------------------------------------------------------------------- */

static int attach(struct syncd *d, struct drive *drive, uint64_t mount_tag, int *ret_fd)
{
    struct drive_worker *w = xcalloc(1, sizeof(*w));
    int r = ipc_server_channel(d->server, ROLE_WORKER, drive->volume, &w->peer, ret_fd);

    if (r < 0) {
        free(w);
        return r;
    }
    w->next = drive->workers;
    drive->workers = w;
    volume_worker_attached(drive->volume, w->peer, mount_tag);
    if (drive->keys)
        keys_lend(drive->keys, w->peer);
    return 0;
}

void mounts_attach(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__Done done = LF__DONE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DONE, done, &done);
    struct drive *drive = drive_find(daemon, env->worker_attach->drive_id);
    CLEANUP_CLOSE int fd = -1;
    struct error e = { 0 };
    int r;

    (void)fds;
    if (!drive_running(drive, &e)) {
        ipc_fail_error(req, &e);
        return;
    }
    r = attach(daemon, drive, env->worker_attach->mount_tag, &fd);
    if (r < 0)
        ipc_fail(req, r, "No channel to the drive %s could be made.", drive->model->name);
    else
        ipc_reply(req, &reply, (const int[]){ fd, volume_meter_fd(drive->volume) }, 2);
}

/* The volume lets go of the peer, and the peer of the volume. */
static void detach(struct drive *drive, struct drive_worker *w)
{
    if (drive->keys)
        keys_worker_lost(drive->keys, w->peer);
    volume_worker_lost(drive->volume, w->peer);
    ipc_peer_set_data(w->peer, NULL);
    free(w);
}

void mounts_detach(struct drive *drive)
{
    struct drive_worker *w;

    while ((w = drive->workers)) {
        struct ipc_peer *peer = w->peer;

        drive->workers = w->next;
        detach(drive, w);
        ipc_peer_close(peer);
    }
}

static void worker_lost(struct drive *drive, struct ipc_peer *peer)
{
    for (struct drive_worker **at = &drive->workers, *w; (w = *at); at = &w->next)
        if (w->peer == peer) {
            *at = w->next;
            detach(drive, w);
            return;
        }
}

void mounts_peer_lost(struct syncd *d, struct ipc_peer *p)
{
    subscribers_remove(&d->mountds, p);
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        worker_lost(drive, p);
}
