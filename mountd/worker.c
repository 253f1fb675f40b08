/* The control channel: mountd says what to serve and hands over channels to syncd; when it closes the
 * channel the worker ends. */
#include "mountd/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "mountd/control.h"
#include "mountd/worker_internal.h"

/* --- syncd ---------------------------------------------------------------------------------------------- */

static void on_invalidate(struct worker *w, const Lf__Envelope *env, int *fds)
{
    (void)fds;
    notify_invalidate(w, env->fs_invalidate);
}

static void on_cryptd(struct worker *w, const Lf__Envelope *env, int *fds)
{
    (void)env;
    ipc_client_adopt(w->cryptd, take_fd(&fds[0]));
}

struct event_row {
    Lf__Envelope__BodyCase body;
    void (*handle)(struct worker *w, const Lf__Envelope *env, int *fds);
};

static const struct event_row syncd_events[] = {
    { LF__ENVELOPE__BODY_FS_INVALIDATE, on_invalidate },
    { LF__ENVELOPE__BODY_FS_CRYPTD, on_cryptd },
};

static void dispatch(const struct event_row *rows, size_t n, struct worker *w, const Lf__Envelope *env, int *fds)
{
    for (size_t i = 0; i < n; i++)
        if (rows[i].body == env->body_case)
            rows[i].handle(w, env, fds);
}

static void on_syncd_event(const Lf__Envelope *env, int *fds, void *arg)
{
    dispatch(syncd_events, ARRAY_SIZE(syncd_events), arg, env, fds);
}

/* Before requests that the last syncd did not answer are repeated, what they rely on is open again. */
static void on_syncd_connected(void *arg)
{
    open_again(arg);
}

static void on_syncd_lost(void *arg)
{
    struct worker *w = arg;
    Lf__WorkerDetached detached = LF__WORKER_DETACHED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_DETACHED, worker_detached, &detached);

    (void)ipc_client_event(w->mountd, &env, NULL, 0);
}

static struct ipc_client *make_syncd(struct worker *w)
{
    struct ipc_client_spec spec = {
        .role = ROLE_WORKER, .peer = ROLE_SYNCD, .max_queue = SIZE_MAX,   /* bounded by w->queue_length */
        .event = on_syncd_event, .connected = on_syncd_connected, .lost = on_syncd_lost, .arg = w,
    };

    return ipc_client_new(w->loop, &spec);
}

/* --- cryptd --------------------------------------------------------------------------------------------- */

enum { REGION_SIZE = 8 * 1024 * 1024, REGION_LEAST = 4608 * 1024 };   /* two requests of 1 MiB, wherever they begin */

static void on_cryptd_connected(void *arg)
{
    struct worker *w = arg;

    crypt_share(w->crypt, w->cryptd);
}

/* What is asked waits for the channel, and for the next one after it was lost. */
static int make_cryptd(struct worker *w)
{
    struct ipc_client_spec spec = {
        .role = ROLE_WORKER, .peer = ROLE_CRYPTD, .max_queue = SIZE_MAX,   /* bounded by w->queue_length */
        .connected = on_cryptd_connected, .arg = w,
    };
    struct error e = { 0 };
    int r = crypt_new(w->loop, REGION_SIZE, REGION_LEAST, &w->crypt, &e);

    if (r < 0)
        return r;
    w->cryptd = ipc_client_new(w->loop, &spec);
    return w->cryptd ? 0 : -ENOMEM;
}

/* --- mountd ----------------------------------------------------------------------------------------------- */

static int begin(struct worker *w, const Lf__WorkerStart *msg, int fuse, int owed)
{
    Lf__WorkerReady ready = LF__WORKER_READY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_READY, worker_ready, &ready);
    int r;

    log_init("worker", (int)msg->log_level);
    w->uid = msg->uid;
    w->deadline_ms = msg->deadline_ms;
    w->queue_length = msg->queue_length;
    w->mount_tag = msg->mount_tag;
    w->passthrough = msg->passthrough;
    w->syncd = make_syncd(w);
    if (!w->syncd)
        return -ENOMEM;
    sealed_connect(w);
    r = session_start(w, fuse, &msg->init, owed, msg->replay);
    if (r < 0)
        return r;
    LOG(LOG_INFO, "serving", "drive=%s", msg->drive_id);
    return ipc_client_event(w->mountd, &env, NULL, 0);
}

static void on_start(struct worker *w, const Lf__Envelope *env, int *fds)
{
    int r = w->syncd ? -EPROTO : begin(w, env->worker_start, take_fd(&fds[0]), fds[1]);

    if (r < 0) {
        LOG(LOG_ERR, "not_started", "error=%s", strerror(-r));
        loop_exit(w->loop, EXIT_FAILURE);
    }
}

static void on_channel(struct worker *w, const Lf__Envelope *env, int *fds)
{
    (void)env;
    meter_adopt(w, fds[1]);
    if (w->syncd)
        ipc_client_adopt(w->syncd, take_fd(&fds[0]));
}

static const struct event_row mountd_events[] = {
    { LF__ENVELOPE__BODY_WORKER_START, on_start },
    { LF__ENVELOPE__BODY_WORKER_CHANNEL, on_channel },
};

static void on_mountd_event(const Lf__Envelope *env, int *fds, void *arg)
{
    dispatch(mountd_events, ARRAY_SIZE(mountd_events), arg, env, fds);
}

static void on_mountd_lost(void *arg)
{
    struct worker *w = arg;

    loop_exit(w->loop, CONTROL_EXIT_DONE);
}

struct worker *worker_new(struct loop *l, int control)
{
    struct ipc_client_spec spec = {
        .role = ROLE_WORKER, .peer = ROLE_MOUNTD, .max_queue = SIZE_MAX,   /* bounded by w->queue_length */
        .event = on_mountd_event, .lost = on_mountd_lost,
    };
    struct worker *w = xcalloc(1, sizeof(*w));

    w->loop = l;
    w->fuse = -1;
    meter_begin(w);
    TAILQ_INIT(&w->kept);
    TAILQ_INIT(&w->early);
    spec.arg = w;
    w->notify.channel = -1;
    if (make_cryptd(w) == 0 && notify_begin(w) == 0)
        w->mountd = ipc_client_new(l, &spec);
    if (!w->mountd) {
        worker_free(w);
        return NULL;
    }
    ipc_client_adopt(w->mountd, control);
    return w;
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    w->ending = true;
    ipc_client_free(w->mountd);
    ipc_client_free(w->syncd);
    ipc_client_free(w->cryptd);
    kept_drop_all(w);
    early_drop(w, NULL);
    session_stop(w);
    notify_end(w);
    session_end(w);
    file_table_done(&w->files);
    crypt_free(w->crypt);
    meter_end(w);
    free(w);
}
