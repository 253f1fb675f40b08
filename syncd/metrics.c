/* Puts the pages of syncd's metrics together: the process on the first, and as many drives on each as fit. */
#include "syncd/metrics.h"

#include <string.h>

#include "common/cleanup.h"
#include "common/process.h"
#include "syncd/drive.h"
#include "syncd/syncd.h"

/* A drive of which everything happened weighs some 20 KiB. */
enum { PAGE_FULL = IPC_PAGE_BYTES / 2 };

static void add_drive(struct samples *s, const struct drive *drive)
{
    const Lf__CloudDrive *m = drive->model;

    SAMPLE(s, METRIC_DRIVE_INFO, 1, m->name, m->id, m->storage_name, m->local_path);
    SAMPLE(s, METRIC_DRIVE_MOUNTED, drive->mount == DRIVE_MOUNT_MOUNTED, m->name);
    if (drive->volume)
        volume_samples(drive->volume, s);
}

static size_t weight(const struct samples *s, size_t from)
{
    size_t bytes = 0;

    for (size_t i = from; i < s->n; i++)
        bytes += lf__sample__get_packed_size(s->list[i]) + 8;
    return bytes;
}

/* Adds the drives behind `after`. The id to go on behind, NULL at the end. */
static const char *fill(struct syncd *d, const char *after, struct samples *s)
{
    size_t bytes = 0;

    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        size_t before = s->n;

        if (drive->phase == DRIVE_HIDDEN || strcmp(drive->model->id, after) <= 0)
            continue;
        add_drive(s, drive);
        bytes += weight(s, before);
        if (bytes > PAGE_FULL)
            return drive->model->id;
    }
    return NULL;
}

void metrics_get(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const char *page = env->metrics_get->page;
    struct samples samples = { 0 };
    Lf__Metrics metrics = LF__METRICS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(METRICS, metrics, &metrics);

    (void)fds;
    if (!page)
        process_samples(&samples);
    metrics.next_page = (char *)(uintptr_t)fill(daemon, page ? page : "", &samples);
    metrics.samples = samples.list;
    metrics.n_samples = samples.n;
    ipc_reply(req, &reply, NULL, 0);
    samples_free(&samples);
}
