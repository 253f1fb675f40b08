/* Owns the peers of a server: their Hello, the requests that are owed an answer, and the answers.
 *
 * A peer lives as long as its connection or any request of it. Must not know what a message means.
 */
#include "common/ipc_peer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"

/* An accepted connection must have introduced itself by then. */
enum { HELLO_MS = 10000 };

struct ipc_request {
    struct ipc_peer *peer;
    const struct message_row *row;
    uint64_t trace;
    struct ipc_identity identity;   /* but for the instance, which is the peer's */
    uint64_t waited_us;       /* for the cloud */
};

/* --- peers --------------------------------------------------------------------------------- */

static void peer_unref(struct ipc_peer *p)
{
    if (--p->refs == 0)
        free(p);
}

void ipc_peer_drop(struct ipc_peer *p)
{
    struct ipc_server *s = p->server;

    loop_timer_free(p->hello);
    p->hello = NULL;
    ipc_conn_close(p->conn);
    p->conn = NULL;
    TAILQ_REMOVE(&s->peers, p, next);
    p->server = NULL;
    peer_unref(p);
}

static void on_gone(void *owner, const char *why, bool violation)
{
    struct ipc_peer *p = owner;
    struct ipc_server *s = p->server;

    if (violation)
        ipc_server_refuse(s, ipc_peer_role(p), p->uid, why);
    else if (p->role != ROLE_NONE)
        LOG(LOG_DEBUG, "ipc_peer_lost", "peer=%s", role_name(p->role), "reason=%s", why);
    p->refs++;
    ipc_peer_drop(p);
    if (s->spec.peer_lost && ipc_peer_role(p) != ROLE_NONE && !p->closed)
        s->spec.peer_lost(p, s->spec.arg);
    peer_unref(p);
}

static void on_hello_late(void *arg)
{
    struct ipc_peer *p = arg;

    ipc_conn_break(p->conn, "no Hello in time", true);
}

static const char *check_hello(const struct ipc_peer *p, const Lf__Envelope *env, size_t n_fds)
{
    const struct message_row *row;
    enum role role;

    if (env->body_case != LF__ENVELOPE__BODY_HELLO)
        return "message before Hello";
    if (env->hello->protocol != IPC_PROTOCOL)
        return "Hello of another protocol version";
    if (env->hello->role <= ROLE_NONE || env->hello->role >= ROLE_COUNT)
        return "Hello with an unknown role";
    role = (enum role)env->hello->role;
    if (p->fixed != ROLE_NONE ? role != p->fixed : !ipc_server_uid_may_be(p->server, p->uid, role))
        return "Hello with a role that is not the caller's";
    return ipc_packet_check_call(env, role, p->server->spec.role, n_fds, &row);
}

static const char *read_hello(struct ipc_peer *p, const Lf__Envelope *env, size_t n_fds)
{
    const char *why = check_hello(p, env, n_fds);

    if (why)
        return why;
    p->role = (enum role)env->hello->role;
    p->instance = env->hello->instance;
    loop_timer_free(p->hello);
    p->hello = NULL;
    return NULL;
}

static const struct ipc_handler *find_handler(const struct ipc_server *s, Lf__Envelope__BodyCase body)
{
    for (size_t i = 0; i < s->spec.n_handlers; i++)
        if (s->spec.handlers[i].body == body)
            return &s->spec.handlers[i];
    return NULL;
}

static struct ipc_request *request_new(struct ipc_peer *p, const struct message_row *row, const Lf__Envelope *env)
{
    struct ipc_request *req = xcalloc(1, sizeof(*req));

    *req = (struct ipc_request){
        .peer = p, .row = row, .trace = env->trace,
        .identity = { .id = env->id, .done_below = env->done_below, .origin = env->origin },
    };
    p->refs++;
    ipc_conn_load(p->conn, 1);
    return req;
}

static bool is_event(const struct ipc_request *req)
{
    return req->row->reply == LF__ENVELOPE__BODY__NOT_SET;
}

static void request_free(struct ipc_request *req)
{
    if (req->peer->conn)
        ipc_conn_load(req->peer->conn, -1);
    peer_unref(req->peer);
    free(req);
}

static const char *on_packet(void *owner, const Lf__Envelope *env, int *fds, size_t n_fds)
{
    struct ipc_peer *p = owner;
    struct ipc_server *s = p->server;
    const struct ipc_handler *h;
    const struct message_row *row;
    struct ipc_request *req;
    const char *why;

    if (p->role == ROLE_NONE)
        return read_hello(p, env, n_fds);
    if (env->body_case == LF__ENVELOPE__BODY_HELLO)
        return "second Hello";
    why = ipc_packet_check_call(env, p->role, s->spec.role, n_fds, &row);
    if (why)
        return why;
    req = request_new(p, row, env);
    h = find_handler(s, env->body_case);
    if (h)
        h->handle(req, env, fds, s->spec.arg);
    else
        ipc_fail(req, -ENOSYS, "%s does not answer %s.", role_name(s->spec.role), message_name(env->body_case));
    if (row->reply == LF__ENVELOPE__BODY__NOT_SET)
        request_free(req);
    return NULL;
}

static const struct ipc_conn_ops peer_ops = { .packet = on_packet, .gone = on_gone };

struct ipc_peer *ipc_peer_new(struct ipc_server *s, int fd, enum role fixed, uint32_t uid, void *data)
{
    struct ipc_peer *p = xcalloc(1, sizeof(*p));

    *p = (struct ipc_peer){ .server = s, .refs = 1, .fixed = fixed, .uid = uid, .data = data };
    p->conn = ipc_conn_new(s->loop, fd, &peer_ops, p, s->spec.max_queue);
    if (p->conn && fixed == ROLE_NONE)
        p->hello = loop_timer(s->loop, HELLO_MS, on_hello_late, p);
    if (!p->conn || (fixed == ROLE_NONE && !p->hello)) {
        ipc_conn_close(p->conn);
        free(p);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&s->peers, p, next);
    return p;
}

/* --- answers ------------------------------------------------------------------------------- */

/* Packs and sends; what cannot be sent for want of memory or descriptors is returned. */
static int send_env(struct ipc_peer *p, const Lf__Envelope *env, const int *fds, size_t n)
{
    CLEANUP(ipc_packet_unrefp) struct ipc_packet *packet = NULL;
    int r = ipc_packet_new(env, fds, n, &packet);

    return r < 0 ? r : ipc_conn_send(p->conn, packet);
}

static int send_failure(struct ipc_request *req, int code, const char *text)
{
    Lf__Failure failure = LF__FAILURE__INIT;
    Lf__Envelope env = LF__ENVELOPE__INIT;

    failure.code = code;
    failure.text = (char *)text;
    env.id = req->identity.id;
    env.has_trace = req->trace != 0;
    env.trace = req->trace;
    env.failure = &failure;
    return send_env(req->peer, &env, NULL, 0);
}

/* A request that can be answered neither way would wait for ever: the peer repeats it elsewhere. */
static void answer_failure(struct ipc_request *req, int code, const char *text)
{
    if (!req->peer->conn || is_event(req))
        return;
    if (send_failure(req, code == 0 ? EIO : abs(code), text) < 0)
        ipc_conn_break(req->peer->conn, "no memory to answer", false);
}

static int send_reply(struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n)
{
    if (!req->peer->conn || is_event(req))
        return 0;
    reply->id = req->identity.id;
    reply->has_trace = req->trace != 0;
    reply->trace = req->trace;
    reply->has_waited_us = req->waited_us != 0;
    reply->waited_us = req->waited_us;
    if (ipc_packet_check_reply(reply, req->row, n))
        return -EPROTO;
    return send_env(req->peer, reply, fds, n);
}

void ipc_reply(struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n)
{
    int r = send_reply(req, reply, fds, n);

    if (r < 0) {
        LOG_TRACE(LOG_ERR, req->trace, "ipc_reply_failed", "request=%s", message_name(req->row->body),
                  "error=%s", strerror(-r));
        answer_failure(req, r, NULL);
    }
    if (!is_event(req))
        request_free(req);
}

void ipc_request_waited(struct ipc_request *req, int64_t since_ns)
{
    req->waited_us += (uint64_t)(loop_now_ns() - since_ns) / 1000;
}

void ipc_done(struct ipc_request *req)
{
    Lf__Done done = LF__DONE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(DONE, done, &done);

    ipc_reply(req, &env, NULL, 0);
}

void ipc_fail_error(struct ipc_request *req, const struct error *e)
{
    answer_failure(req, e->code, error_text(e));
    if (!is_event(req))
        request_free(req);
}

void ipc_fail(struct ipc_request *req, int code, const char *fmt, ...)
{
    char text[ERROR_TEXT_MAX];
    struct error e;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    (void)error_set(&e, code, "%s", text);
    ipc_fail_error(req, &e);
}

struct ipc_peer *ipc_request_peer(const struct ipc_request *req)
{
    return req->peer->conn ? req->peer : NULL;
}

uint64_t ipc_request_trace(const struct ipc_request *req)
{
    return req->trace;
}

struct ipc_identity ipc_request_identity(const struct ipc_request *req)
{
    struct ipc_identity identity = req->identity;

    identity.instance = req->peer->instance;
    return identity;
}

enum role ipc_peer_role(const struct ipc_peer *p)
{
    return p->role != ROLE_NONE ? p->role : p->fixed;
}

void *ipc_peer_data(const struct ipc_peer *p)
{
    return p->data;
}

void ipc_peer_set_data(struct ipc_peer *p, void *data)
{
    p->data = data;
}

int ipc_peer_event(struct ipc_peer *p, Lf__Envelope *event, const int *fds, size_t n)
{
    const struct message_row *row;

    if (!p->conn || p->closed)
        return -ENOTCONN;
    if (ipc_packet_check_call(event, p->server->spec.role, ipc_peer_role(p), n, &row))
        return -EPROTO;
    if (ipc_conn_queued(p->conn) >= p->server->spec.max_queue) {
        ipc_conn_break(p->conn, "peer that does not read", true);
        return -ENOBUFS;
    }
    return send_env(p, event, fds, n);
}

void ipc_peer_close(struct ipc_peer *p)
{
    p->closed = true;
    if (p->conn)
        ipc_conn_break(p->conn, "closed by us", false);
}
