/* One drive's way between mounted and not mounted. Every change of the mount table is a job in the
 * pool, at most one per drive; drive_step() looks at what is wanted and what is, and starts the next. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "mountd/fuse_recent.h"
#include "mountd/mountd_internal.h"
#include "mountd/owed.h"

enum {
    RETRY_FIRST_MS = 1000,
    RETRY_MOST_MS = 60 * 1000,
    STEADY_MS = 10 * 1000,   /* a mount that lasted so long was no failure */
};

/* A mount or an unmount. While it is in the pool only the pool touches it. */
struct drive_job {
    struct drive *drive;
    struct mount_spec spec;   /* its strings point to these: */
    Lf__Mount *mount;         /* owned */
    char *root;               /* owned */
    struct mount_made made;
    int owed;                 /* owned until it is the drive's */
    uint64_t device;
    bool busy;
    int result;
    struct error error;
};

/* --- drives ------------------------------------------------------------------------------------- */

struct drive *drive_find(struct mountd *m, const char *id)
{
    struct drive *d = m->drives;

    while (d && strcmp(d->id, id) != 0)
        d = d->next;
    return d;
}

static struct drive *drive_new(struct mountd *m, const char *id)
{
    struct drive *d = xcalloc(1, sizeof(*d));

    *d = (struct drive){ .next = m->drives, .mountd = m, .fuse = -1, .owed = -1 };
    (void)snprintf(d->id, sizeof(d->id), "%s", id);
    m->drives = d;
    return d;
}

static void forget_mount(struct drive *d)
{
    lf__kept_mount__free_unpacked(d->record, NULL);
    d->record = NULL;
    cleanup_close(&d->fuse);
    cleanup_close(&d->owed);
    d->fuse = d->owed = -1;
}

void drive_free(struct drive *d)
{
    struct drive **p = &d->mountd->drives;

    while (*p != d)
        p = &(*p)->next;
    *p = d->next;
    loop_timer_free(d->retry);
    loop_timer_free(d->child.timer);
    loop_timer_free(d->child.again);
    lf__mount__free_unpacked(d->wanted, NULL);
    forget_mount(d);
    free(d);
}

static void on_retry(void *arg)
{
    struct drive *d = arg;

    loop_timer_free(d->retry);
    d->retry = NULL;
    drive_step(d);
}

static void retry_later(struct drive *d)
{
    uint64_t ms = backoff(d->failures++, RETRY_FIRST_MS, RETRY_MOST_MS);

    loop_timer_free(d->retry);
    d->retry = loop_timer(d->mountd->spec.loop, ms, on_retry, d);
}

static struct drive_job *job_new(struct drive *d, const Lf__Mount *mount, const char *root)
{
    const struct mountd_spec *s = &d->mountd->spec;
    struct drive_job *j = xcalloc(1, sizeof(*j));

    j->drive = d;
    j->mount = message_copy(&mount->base);
    j->root = xstrdup(root);
    j->owed = -1;
    j->spec = (struct mount_spec){
        .privileged = s->privileged, .root = j->root, .path = j->mount->mount_point, .name = j->mount->name,
        .uid = s->served_uid, .gid = s->served_gid, .read_only = j->mount->read_only,
    };
    d->job = j;
    return j;
}

static void job_free(struct drive_job *j)
{
    j->drive->job = NULL;
    lf__mount__free_unpacked(j->mount, NULL);
    cleanup_close(&j->owed);
    free(j->root);
    free(j);
}

/* --- mounting ----------------------------------------------------------------------------------- */

static int new_owed(const struct mountd *m)
{
    return owed_make((size_t)m->spec.config->ipc_queue_length);
}

static void mount_work(void *arg)
{
    struct drive_job *j = arg;

    j->owed = new_owed(j->drive->mountd);
    if (j->owed < 0)
        j->result = error_set(&j->error, j->owed, "There is no memory for what the drive's worker has under way: %s.",
                              strerror(-j->owed));
    else
        j->result = mount_make(&j->spec, &j->made, &j->error);
}

static void keep(struct drive *d)
{
    int r = kept_store(d->fuse, d->owed, d->record);

    if (r < 0 && r != -ENOTCONN)
        LOG(LOG_WARNING, "mount_not_kept", "drive=%s", d->id, "error=%s", strerror(-r));
}

static void mount_failed(struct drive *d, const struct error *e)
{
    if (strcmp(e->text, d->told.text) != 0) {
        LOG(LOG_ERR, "mount_failed", "drive=%s", d->id, "error=%s", e->text);
        desired_report(d, e);
        d->told = *e;
    }
    retry_later(d);
}

static void take_over(struct drive *d, struct drive_job *j)
{
    Lf__KeptMount record = LF__KEPT_MOUNT__INIT;
    CLEANUP_FREE uint8_t *packed = NULL;
    size_t n;

    if (!d->mountd->spec.config->recent_fuse)
        fuse_recent_hide(j->made.init, j->made.init_size);
    record.mount = j->mount;
    record.init = (ProtobufCBinaryData){ j->made.init_size, j->made.init };
    record.device = j->made.device;
    record.root = j->root;
    record.tag = ipc_trace_new();
    n = lf__kept_mount__get_packed_size(&record);
    packed = xcalloc(1, n);
    (void)lf__kept_mount__pack(&record, packed);
    d->record = lf__kept_mount__unpack(NULL, n, packed);
    if (!d->record)
        abort();
    d->fuse = j->made.fuse;
    d->owed = take_fd(&j->owed);
    d->mounted_ns = loop_now_ns();
    d->told = (struct error){ 0 };
}

static void mount_done(void *arg)
{
    struct drive_job *j = arg;
    struct drive *d = j->drive;

    if (j->result < 0) {
        mount_failed(d, &j->error);
    } else {
        take_over(d, j);
        LOG(LOG_INFO, "mounted", "drive=%s", d->id, "path=%s", j->mount->mount_point);
        keep(d);
        d->child.replay = false;
        child_start(d);
        desired_report(d, NULL);
    }
    job_free(j);
    drive_step(d);
}

/* --- unmounting --------------------------------------------------------------------------------- */

static void unmount_work(void *arg)
{
    struct drive_job *j = arg;

    j->result = mount_remove(&j->spec, j->device, &j->busy, &j->error);
}

/* Whatever came of it: without its connection the mount is dead, and the worker goes. */
static void unmount_done(void *arg)
{
    struct drive_job *j = arg;
    struct drive *d = j->drive;

    if (j->result < 0)
        LOG(LOG_ERR, "unmount_failed", "drive=%s", d->id, "error=%s", j->error.text);
    else
        LOG(j->busy ? LOG_NOTICE : LOG_INFO, j->busy ? "unmounted_in_use" : "unmounted", "drive=%s", d->id,
            "path=%s", j->mount->mount_point);
    job_free(j);
    kept_unstore(d->id);
    forget_mount(d);
    child_stop(d);
    desired_report(d, NULL);
    drive_step(d);
}

void drive_unmounted(struct drive *d)
{
    if (!d->record || d->job)
        return;   /* our own doing */
    LOG(LOG_NOTICE, "unmounted_from_outside", "drive=%s", d->id, "path=%s", d->record->mount->mount_point);
    kept_unstore(d->id);
    forget_mount(d);
    desired_report(d, NULL);
    if ((loop_now_ns() - d->mounted_ns) / 1000000 > STEADY_MS)
        d->failures = 0;
    retry_later(d);
}

/* --- what is wanted ------------------------------------------------------------------------------ */

static bool same_place(const Lf__Mount *a, const Lf__Mount *b)
{
    return a && b && strcmp(a->mount_point, b->mount_point) == 0 && a->read_only == b->read_only;
}

void drive_step(struct drive *d)
{
    struct drive_job *j;

    if (d->job)
        return;
    if (d->record && !same_place(d->record->mount, d->wanted)) {
        j = job_new(d, d->record->mount, d->record->root);
        j->device = d->record->device;
        loop_work(d->mountd->spec.loop, unmount_work, unmount_done, j);
    } else if (!d->record && d->child.pid == 0 && !d->wanted) {
        struct mountd *m = d->mountd;

        desired_report(d, NULL);   /* whoever had it deleted waits, even if it never was mounted */
        drive_free(d);
        mountd_drive_gone(m);
    } else if (!d->record && d->child.pid == 0 && !d->retry) {
        loop_work(d->mountd->spec.loop, mount_work, mount_done, job_new(d, d->wanted, d->mountd->spec.mount_root));
    }
}

/* Somebody asks and may be waiting: worth a try and a report at once. */
static void set_wanted(struct drive *d, Lf__Mount *mount)
{
    loop_timer_free(d->retry);
    d->retry = NULL;
    d->told = (struct error){ 0 };
    lf__mount__free_unpacked(d->wanted, NULL);
    d->wanted = mount;
    drive_step(d);
}

void drive_want(struct mountd *m, const Lf__Mount *mount)
{
    struct drive *d = drive_find(m, mount->drive_id);

    if (!d)
        d = drive_new(m, mount->drive_id);
    d->listed = true;
    set_wanted(d, message_copy(&mount->base));
}

void drive_unwant(struct drive *d)
{
    set_wanted(d, NULL);
}

void drive_adopt(struct mountd *m, struct kept *k)
{
    struct drive *d = drive_new(m, k->record->mount->drive_id);

    d->record = take_ptr(k->record);
    d->wanted = message_copy(&d->record->mount->base);   /* until syncd's list says otherwise */
    d->fuse = take_fd(&k->fuse);
    d->owed = k->owed >= 0 ? take_fd(&k->owed) : new_owed(m);
    d->mounted_ns = loop_now_ns();
    d->child.replay = true;
    LOG(LOG_INFO, "mount_found_again", "drive=%s", d->id, "path=%s", d->record->mount->mount_point);
    child_start(d);
}
