/* What should be mounted: syncd's list, asked for at each connection and whenever syncd says that it
 * changed; and the reports of what came of it. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "mountd/mountd_internal.h"

enum { RETRY_MS = 1000 };

static ipc_answer_fn list_done;

static void ask_page(struct mountd *m, char *page)
{
    Lf__MountList msg = LF__MOUNT_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_LIST, mount_list, &msg);

    msg.page = page;
    (void)ipc_call(m->syncd, &env, NULL, 0, 0, list_done, m);
}

static void on_retry(void *arg)
{
    struct mountd *m = arg;

    loop_timer_free(m->list.retry);
    m->list.retry = NULL;
    desired_refresh(m);
}

void desired_refresh(struct mountd *m)
{
    if (m->stopping)
        return;
    m->list.again = m->list.asking;
    if (m->list.asking)
        return;
    m->list.asking = true;
    for (struct drive *d = m->drives; d; d = d->next)
        d->listed = false;
    ask_page(m, NULL);
}

void desired_forget(struct mountd *m)
{
    loop_timer_free(m->list.retry);
    m->list.retry = NULL;
}

static void take_page(struct mountd *m, const Lf__MountListed *page)
{
    for (size_t i = 0; i < page->n_mounts; i++) {
        if (id_valid(page->mounts[i]->drive_id))
            drive_want(m, page->mounts[i]);
        else
            LOG(LOG_ERR, "mount_refused", "drive=%s", page->mounts[i]->drive_id, "error=%s", "not a drive id");
    }
}

/* What the list does not name goes; what it names and is mounted is confirmed to a syncd that may be new. */
static void list_ended(struct mountd *m)
{
    struct drive *next;

    m->list.asking = false;
    for (struct drive *d = m->drives; d; d = next) {
        next = d->next;
        if (!d->listed)
            drive_unwant(d);
        else if (d->record && !d->job)
            desired_report(d, NULL);
    }
    if (m->list.again)
        desired_refresh(m);
}

static void list_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct mountd *m = arg;

    (void)fds;
    if (m->stopping)
        return;
    if (!reply) {
        LOG(LOG_WARNING, "mount_list_failed", "error=%s", error_text(e));
        m->list.asking = false;
        desired_forget(m);
        m->list.retry = loop_timer(m->spec.loop, RETRY_MS, on_retry, m);
        return;
    }
    take_page(m, reply->mount_listed);
    if (reply->mount_listed->next_page && reply->mount_listed->next_page[0])
        ask_page(m, reply->mount_listed->next_page);
    else
        list_ended(m);
}

static ipc_answer_fn report_done;

void desired_report(struct drive *d, const struct error *failure)
{
    Lf__Failure why = LF__FAILURE__INIT;
    Lf__MountReport msg = LF__MOUNT_REPORT__INIT;
    Lf__Envelope env = IPC_ENVELOPE(MOUNT_REPORT, mount_report, &msg);

    msg.drive_id = d->id;
    msg.mounted = d->record != NULL;
    if (failure) {
        why.code = -failure->code;
        why.text = (char *)error_text(failure);
        msg.failure = &why;
    }
    (void)ipc_call(d->mountd->syncd, &env, NULL, 0, 0, report_done, NULL);
}

static void report_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    (void)fds;
    (void)arg;
    if (!reply && e->code != -ECANCELED)
        LOG(LOG_NOTICE, "mount_report_refused", "error=%s", error_text(e));
}
