/* The daemon around the drives: syncd whom it asks, frontd who may end it, workers that report, and
 * the orderly end. */
#include "mountd/mountd.h"

#include <errno.h>
#include <signal.h>

#include "common/alloc.h"
#include "common/log.h"
#include "mountd/mountd_internal.h"

/* --- who asks us ------------------------------------------------------------------------------------ */

static void on_shutdown(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    struct mountd *m = arg;

    (void)env;
    (void)fds;
    if (m->n_shutdown == sizeof(m->shutdown) / sizeof(m->shutdown[0])) {
        ipc_fail(req, -EBUSY, "mountd is ending already.");
        return;
    }
    m->shutdown[m->n_shutdown++] = req;
    mountd_stop(m);
}

static void on_worker_ready(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    (void)arg;
    child_ready(ipc_peer_data(ipc_request_peer(req)));
}

static void on_worker_detached(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *arg)
{
    (void)env;
    (void)fds;
    (void)arg;
    child_detached(ipc_peer_data(ipc_request_peer(req)));
}

static const struct ipc_handler handlers[] = {
    { LF__ENVELOPE__BODY_SHUTDOWN, on_shutdown },
    { LF__ENVELOPE__BODY_METRICS_GET, metrics_get },
    { LF__ENVELOPE__BODY_WORKER_READY, on_worker_ready },
    { LF__ENVELOPE__BODY_WORKER_DETACHED, on_worker_detached },
    { LF__ENVELOPE__BODY_BACKING_OPEN, backing_open },
    { LF__ENVELOPE__BODY_BACKING_CLOSE, backing_close },
};

static void on_peer_lost(struct ipc_peer *p, void *arg)
{
    (void)arg;
    if (ipc_peer_data(p))
        child_lost(ipc_peer_data(p));
}

/* --- whom we ask ------------------------------------------------------------------------------------ */

static void on_connected(void *arg)
{
    struct mountd *m = arg;

    desired_refresh(m);
    for (struct drive *d = m->drives; d; d = d->next)
        child_attach(d);
}

static void on_event(const Lf__Envelope *env, int *fds, void *arg)
{
    (void)fds;
    if (env->body_case == LF__ENVELOPE__BODY_MOUNTS_CHANGED)
        desired_refresh(arg);
}

/* Only our own children are waited for: fusermount3 belongs to the pool thread that runs it. */
static void on_child_died(evutil_socket_t sig, short what, void *arg)
{
    struct mountd *m = arg;
    struct drive *next;

    (void)sig;
    (void)what;
    for (struct drive *d = m->drives; d; d = next) {
        next = d->next;
        child_reap(d);
    }
}

/* --- life ----------------------------------------------------------------------------------------------- */

static struct ipc_server *make_server(struct mountd *m)
{
    struct ipc_server_spec spec = {
        .role = ROLE_MOUNTD, .handlers = handlers, .n_handlers = sizeof(handlers) / sizeof(handlers[0]),
        .peers = m->spec.peers, .n_peers = m->spec.n_peers,
        .max_connections = (size_t)m->spec.config->ipc_connections,
        .max_queue = (size_t)m->spec.config->ipc_queue_length,
        .peer_lost = on_peer_lost, .arg = m,
    };

    return ipc_server_new(m->spec.loop, &spec);
}

static struct ipc_client *make_client(struct mountd *m)
{
    struct ipc_client_spec spec = {
        .role = ROLE_MOUNTD, .peer = ROLE_SYNCD, .path = m->spec.syncd_path,
        .max_queue = (size_t)m->spec.config->ipc_queue_length,
        .event = on_event, .connected = on_connected, .arg = m,
    };

    return ipc_client_new(m->spec.loop, &spec);
}

int mountd_new(const struct mountd_spec *spec, struct mountd **ret, struct error *e)
{
    struct mountd *m = xcalloc(1, sizeof(*m));

    m->spec = *spec;
    m->server = make_server(m);
    m->child_died = evsignal_new(loop_base(spec->loop), SIGCHLD, on_child_died, m);
    m->syncd = make_client(m);
    if (!m->server || !m->syncd || !m->child_died || event_add(m->child_died, NULL) < 0) {
        mountd_free(m);
        return error_set(e, -ENOMEM, "mountd has no memory to start.");
    }
    *ret = m;
    return 0;
}

void mountd_free(struct mountd *m)
{
    if (!m)
        return;
    m->stopping = true;
    desired_forget(m);
    ipc_client_free(m->syncd);
    ipc_server_free(m->server);
    if (m->child_died)
        event_free(m->child_died);
    while (m->drives)
        drive_free(m->drives);
    free(m);
}

int mountd_listen(struct mountd *m, int fd)
{
    return ipc_server_listen(m->server, fd);
}

void mountd_adopt(struct mountd *m, struct kept *k)
{
    drive_adopt(m, k);
}

void mountd_drive_gone(struct mountd *m)
{
    if (!m->stopping || m->drives)
        return;
    while (m->n_shutdown > 0)
        ipc_done(m->shutdown[--m->n_shutdown]);
    loop_exit(m->spec.loop, 0);
}

void mountd_stop(struct mountd *m)
{
    struct drive *next;

    if (!m->stopping)
        LOG(LOG_INFO, "stopping");
    m->stopping = true;
    desired_forget(m);
    for (struct drive *d = m->drives; d; d = next) {
        next = d->next;
        drive_unwant(d);
    }
    mountd_drive_gone(m);
}
