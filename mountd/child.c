/* The worker of a drive: it is started when the drive is mounted, gets the FUSE connection and a
 * channel to syncd, and is started again when it dies. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "mountd/control.h"
#include "mountd/mountd_internal.h"
#include "mountd/spawn.h"

enum {
    RESTART_FIRST_MS = 50,
    RESTART_MOST_MS = 800,   /* programs wait meanwhile: with its start less than a second */
    ATTACH_RETRY_MS = 200,
    PATIENCE_MS = 5000,
    STEADY_MS = 1000,        /* a life that long was no failure: not what it is asked ends it at once */
};

static void set_timer(struct drive *d, uint64_t ms, void (*fn)(void *))
{
    loop_timer_free(d->child.timer);
    d->child.timer = loop_timer(d->mountd->spec.loop, ms, fn, d);
}

static void stop_timer(struct drive *d)
{
    loop_timer_free(d->child.timer);
    d->child.timer = NULL;
}

/* --- starting ------------------------------------------------------------------------------------ */

static void on_restart(void *arg)
{
    struct drive *d = arg;

    stop_timer(d);
    if (d->record)
        child_start(d);
}

/* The first restart is at once: somebody may be waiting in read(2). */
static void restart_later(struct drive *d)
{
    unsigned n = d->child.failures++;

    set_timer(d, n == 0 ? 0 : backoff(n - 1, RESTART_FIRST_MS, RESTART_MOST_MS), on_restart);
}

static int send_start(struct drive *d)
{
    const struct config *c = d->mountd->spec.config;
    Lf__WorkerStart msg = LF__WORKER_START__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_START, worker_start, &msg);

    msg.drive_id = d->id;
    msg.init = d->record->init;
    msg.replay = d->child.replay;
    msg.uid = d->mountd->spec.served_uid;
    msg.log_level = (uint32_t)c->log_level;
    msg.deadline_ms = (uint32_t)c->read_deadline_seconds * 1000;
    msg.queue_length = (uint32_t)c->ipc_queue_length;
    msg.mount_tag = d->record->tag;
    msg.passthrough = d->mountd->spec.privileged;
    return ipc_peer_event(d->child.peer, &env, (const int[]){ d->fuse, d->owed }, 2);
}

static int start(struct drive *d)
{
    const struct mountd_spec *s = &d->mountd->spec;
    struct spawn_spec spawn = {
        .binary = s->worker_binary, .change_user = s->change_user, .uid = s->worker_uid, .gid = s->worker_gid,
        .open_files = (rlim_t)s->config->open_files,
    };
    CLEANUP_CLOSE int far = -1;
    int r = ipc_server_channel(d->mountd->server, ROLE_WORKER, d, &d->child.peer, &far);

    if (r < 0)
        return r;
    spawn.control = far;
    r = spawn_worker(&spawn);
    if (r > 0) {
        d->child.pid = r;
        r = send_start(d);
    }
    return r;
}

static void drop_peer(struct drive *d)
{
    if (d->child.peer)
        ipc_peer_close(d->child.peer);
    d->child.peer = NULL;
}

void child_start(struct drive *d)
{
    int r;

    stop_timer(d);
    d->child.started_ns = loop_now_ns();
    d->child.starts++;
    r = start(d);
    d->child.replay = true;
    if (r < 0) {
        LOG(LOG_ERR, "worker_not_started", "drive=%s", d->id, "error=%s", strerror(-r));
        drop_peer(d);
        if (d->child.pid == 0)
            restart_later(d);
        return;
    }
    LOG(LOG_INFO, "worker_started", "drive=%s", d->id, "pid=%d", d->child.pid);
    if (ipc_client_connected(d->mountd->syncd))
        child_attach(d);
}

void child_ready(struct drive *d)
{
    LOG(LOG_DEBUG, "worker_ready", "drive=%s", d->id);
}

/* --- its channel to syncd ------------------------------------------------------------------------ */

static ipc_answer_fn attach_done;

static void on_attach_again(void *arg)
{
    struct drive *d = arg;

    loop_timer_free(d->child.again);
    d->child.again = NULL;
    if (ipc_client_connected(d->mountd->syncd))
        child_attach(d);
}

static void forget_attach(struct drive *d)
{
    if (d->child.attaching)
        ipc_cancel(d->mountd->syncd, d->child.attaching);
    d->child.attaching = 0;
    loop_timer_free(d->child.again);
    d->child.again = NULL;
}

/* However often it says so, and whatever becomes of the next one. */
void child_detached(struct drive *d)
{
    if (!d->child.attaching && !d->child.again)
        d->child.again = loop_timer(d->mountd->spec.loop, ATTACH_RETRY_MS, on_attach_again, d);
}

void child_attach(struct drive *d)
{
    Lf__WorkerAttach msg = LF__WORKER_ATTACH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_ATTACH, worker_attach, &msg);

    forget_attach(d);
    if (!d->child.peer)
        return;
    msg.drive_id = d->id;
    msg.mount_tag = d->record ? d->record->tag : 0;
    d->child.attaching = ipc_call(d->mountd->syncd, &env, NULL, 0, 0, attach_done, d);
}

static void attach_done(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct drive *d = arg;
    Lf__WorkerChannel msg = LF__WORKER_CHANNEL__INIT;
    Lf__Envelope env = IPC_ENVELOPE(WORKER_CHANNEL, worker_channel, &msg);

    d->child.attaching = 0;
    if (!reply && e->code == -ECANCELED)
        return;   /* mountd ends */
    if (!reply) {
        LOG(LOG_WARNING, "worker_not_attached", "drive=%s", d->id, "error=%s", error_text(e));
        d->child.again = loop_timer(d->mountd->spec.loop, ATTACH_RETRY_MS, on_attach_again, d);
        return;
    }
    if (d->child.peer)
        (void)ipc_peer_event(d->child.peer, &env, fds, 2);   /* a worker that is gone is heard of elsewhere */
}

/* --- its end ---------------------------------------------------------------------------------------- */

static void on_impatient(void *arg)
{
    struct drive *d = arg;

    stop_timer(d);
    LOG(LOG_WARNING, "worker_killed", "drive=%s", d->id, "pid=%d", d->child.pid);
    (void)kill(d->child.pid, SIGKILL);   /* not reaped yet, so the number is still its own */
}

void child_stop(struct drive *d)
{
    forget_attach(d);
    drop_peer(d);
    stop_timer(d);
    if (d->child.pid > 0)
        set_timer(d, PATIENCE_MS, on_impatient);
}

/* It is dying or broke the protocol: nothing more is to be expected of it. */
void child_lost(struct drive *d)
{
    d->child.peer = NULL;
    forget_attach(d);
    if (d->child.pid > 0)
        (void)kill(d->child.pid, SIGKILL);
}

static bool says_unmounted(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == CONTROL_EXIT_UNMOUNTED;
}

static void log_end(const struct drive *d, int status)
{
    bool exited = WIFEXITED(status);

    LOG(d->record ? LOG_NOTICE : LOG_INFO, "worker_ended", "drive=%s", d->id, "pid=%d", d->child.pid,
        exited ? "status=%d" : "signal=%d", exited ? WEXITSTATUS(status) : WTERMSIG(status));
}

void child_reap(struct drive *d)
{
    int status;

    if (d->child.pid == 0 || waitpid(d->child.pid, &status, WNOHANG) != d->child.pid)
        return;
    log_end(d, status);
    d->child.pid = 0;
    forget_attach(d);
    drop_peer(d);
    stop_timer(d);
    if ((loop_now_ns() - d->child.started_ns) / 1000000 > STEADY_MS)
        d->child.failures = 0;
    if (says_unmounted(status))
        drive_unmounted(d);
    else if (d->record)
        restart_later(d);
    drive_step(d);
}
