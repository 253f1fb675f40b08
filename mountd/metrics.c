/* Metrics of mountd and of its workers, which nobody else knows by their process ids. */
#include <fcntl.h>
#include <stdio.h>

#include "common/cleanup.h"
#include "common/process.h"
#include "mountd/mountd_internal.h"

static uint64_t resident(pid_t pid)
{
    char path[64];
    CLEANUP_CLOSE int fd = -1;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return process_resident(fd);
}

static void add_worker(struct samples *s, const struct drive *d)
{
    const char *name = d->record->mount->name;
    uint64_t bytes = d->child.pid > 0 ? resident(d->child.pid) : 0;   /* not reaped yet, so it is still our child's */

    SAMPLE(s, METRIC_WORKER_RESTARTS, d->child.starts > 0 ? d->child.starts - 1 : 0, name);
    if (!bytes)
        return;
    SAMPLE(s, METRIC_RESIDENT, bytes, "worker", name);
    SAMPLE(s, METRIC_UPTIME, (uint64_t)(loop_now_ns() - d->child.started_ns) / 1000000000, "worker", name);
}

/* Some hundred bytes a drive: one page does. */
void metrics_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct mountd *m = daemon;
    struct samples samples = { 0 };
    Lf__Metrics metrics = LF__METRICS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(METRICS, metrics, &metrics);

    (void)env;
    (void)fds;
    process_samples(&samples);
    for (struct drive *d = m->drives; d; d = d->next)
        if (d->record)
            add_worker(&samples, d);
    metrics.samples = samples.list;
    metrics.n_samples = samples.n;
    ipc_reply(req, &reply, NULL, 0);
    samples_free(&samples);
}
