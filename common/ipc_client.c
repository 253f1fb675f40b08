/* Owns the asking end's connection to its peer: how it comes about, what arrives over it, and what
 * happens to the calls when it is lost.
 *
 * Must not know what a message means.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/ipc_call.h"
#include "common/log.h"
#include "common/number.h"
#include "common/random.h"

enum {
    BACKOFF_LEAST_MS = 10,
    BACKOFF_MOST_MS = 1000,
    TURN_FAILURES = 64,       /* failed calls delivered in one turn of the loop */
};

static void schedule(struct ipc_client *c, uint64_t ms);

void ipc_client_unref(struct ipc_client *c)
{
    if (--c->refs == 0)
        free(c);
}

/* --- the connection ------------------------------------------------------------------------ */

static const char *read_event(struct ipc_client *c, const Lf__Envelope *env, int *fds, size_t n_fds)
{
    const struct message_row *row;
    const char *why = ipc_packet_check_call(env, c->spec.peer, c->spec.role, n_fds, &row);

    if (!why && c->spec.event)
        c->spec.event(env, fds, c->spec.arg);
    return why;
}

static void answer_failure(struct ipc_call *call, const Lf__Failure *f)
{
    struct error e;
    int code = f->code > 0 && f->code < 4096 ? -f->code : -EIO;

    (void)error_set(&e, code, "%s", f->text ? f->text : "");
    ipc_call_finish(call, &e, NULL, NULL);
}

/* The answer to a call that was cancelled or timed out is nobody's any more. */
static const char *read_reply(struct ipc_client *c, const Lf__Envelope *env, int *fds, size_t n_fds)
{
    struct ipc_call *call = ipc_call_find(c, env->id);
    const char *why;

    if (env->id >= c->next_id)
        return "reply to what was never asked";
    if (!call || ipc_call_failed(call))
        return NULL;
    if (!call->sent)
        return "reply to what was not asked yet";
    why = ipc_packet_check_reply(env, call->row, n_fds);
    if (why)
        return why;
    if (env->failure)
        answer_failure(call, env->failure);
    else
        ipc_call_finish(call, NULL, env, fds);
    return NULL;
}

static const char *on_packet(void *owner, const Lf__Envelope *env, int *fds, size_t n_fds)
{
    struct ipc_client *c = owner;
    const char *why;

    c->refs++;
    c->backoff_ms = BACKOFF_LEAST_MS;
    why = env->id == 0 ? read_event(c, env, fds, n_fds) : read_reply(c, env, fds, n_fds);
    ipc_client_unref(c);
    return why;
}

/* Closes the connection and fails what may not be asked twice. */
static void disconnect(struct ipc_client *c)
{
    struct error e;
    struct ipc_call *call, *following;

    ipc_conn_close(c->conn);
    c->conn = NULL;
    (void)error_set(&e, -ECONNRESET, "%s went away before it answered.", role_name(c->spec.peer));
    for (call = TAILQ_FIRST(&c->calls); call; call = following) {
        following = TAILQ_NEXT(call, next);
        if (call->sent && !call->row->repeat)
            ipc_call_fail(call, &e);
        call->sent = false;
    }
}

static void on_gone(void *owner, const char *why, bool violation)
{
    struct ipc_client *c = owner;

    LOG(violation ? LOG_WARNING : LOG_DEBUG, "ipc_lost", "peer=%s", role_name(c->spec.peer), "reason=%s", why);
    disconnect(c);
    if (c->spec.path)
        schedule(c, c->backoff_ms);
    if (c->spec.lost)
        c->spec.lost(c->spec.arg);
}

static const struct ipc_conn_ops client_ops = { .packet = on_packet, .gone = on_gone };

static int say_hello(struct ipc_client *c)
{
    CLEANUP(ipc_packet_unrefp) struct ipc_packet *packet = NULL;
    Lf__Hello hello = LF__HELLO__INIT;
    Lf__Envelope env = IPC_ENVELOPE(HELLO, hello, &hello);
    int r;

    hello.protocol = IPC_PROTOCOL;
    hello.role = (uint32_t)c->spec.role;
    hello.instance = c->instance;
    r = ipc_packet_new(&env, NULL, 0, &packet);
    return r < 0 ? r : ipc_conn_send(c->conn, packet);
}

static void send_unsent(struct ipc_client *c)
{
    struct ipc_call *call, *following;

    for (call = TAILQ_FIRST(&c->calls); call; call = following) {
        following = TAILQ_NEXT(call, next);
        if (!call->sent)
            ipc_call_send(call);
    }
}

/* Goes on over `fd`, which is taken over also on failure. */
static int converse(struct ipc_client *c, int fd)
{
    int r;

    c->conn = ipc_conn_new(c->loop, fd, &client_ops, c, 0);
    if (!c->conn)
        return -ENOMEM;
    r = say_hello(c);
    if (r < 0) {
        ipc_conn_close(c->conn);
        c->conn = NULL;
        return r;
    }
    c->refs++;
    if (c->spec.connected)
        c->spec.connected(c->spec.arg);
    if (c->conn)
        send_unsent(c);
    ipc_client_unref(c);
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    CLEANUP_CLOSE int fd = -1;

    if (strlen(path) >= sizeof(sun.sun_path))
        return -ENAMETOOLONG;
    memcpy(sun.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
        return -errno;
    return take_fd(&fd);
}

static void on_retry(void *arg)
{
    struct ipc_client *c = arg;
    int r;

    loop_timer_free(c->retry);
    c->retry = NULL;
    r = connect_to(c->spec.path);
    c->backoff_ms = least(c->backoff_ms * 2, BACKOFF_MOST_MS);
    if (r >= 0)
        r = converse(c, r);
    if (r < 0)
        schedule(c, c->backoff_ms);
}

static void schedule(struct ipc_client *c, uint64_t ms)
{
    loop_timer_free(c->retry);
    c->retry = loop_timer(c->loop, ms, on_retry, c);
    if (!c->retry)
        abort();
}

void ipc_client_adopt(struct ipc_client *c, int fd)
{
    loop_timer_free(c->retry);
    c->retry = NULL;
    if (c->conn)
        disconnect(c);
    if (evutil_make_socket_nonblocking(fd) < 0 || evutil_make_socket_closeonexec(fd) < 0) {
        LOG(LOG_ERR, "ipc_adopt_failed", "peer=%s", role_name(c->spec.peer), "error=%s", strerror(errno));
        (void)close(fd);
        return;
    }
    if (converse(c, fd) < 0)
        LOG(LOG_ERR, "ipc_adopt_failed", "peer=%s", role_name(c->spec.peer), "error=%s", "out of memory");
}

static void on_failing(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_client *c = arg;

    (void)fd;
    (void)what;
    c->refs++;
    ipc_call_deliver_failed(c, TURN_FAILURES);
    if (!c->freed && !TAILQ_EMPTY(&c->failed))
        event_active(c->failing, EV_TIMEOUT, 0);
    ipc_client_unref(c);
}

/* --- the interface ------------------------------------------------------------------------- */

struct ipc_client *ipc_client_new(struct loop *l, const struct ipc_client_spec *spec)
{
    struct ipc_client *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->loop = l;
    c->spec = *spec;
    c->refs = 1;
    c->instance = random_id();
    c->next_id = 1;
    c->backoff_ms = BACKOFF_LEAST_MS;
    TAILQ_INIT(&c->calls);
    TAILQ_INIT(&c->failed);
    c->failing = event_new(loop_base(l), -1, 0, on_failing, c);
    if (!c->failing) {
        free(c);
        return NULL;
    }
    if (spec->path)
        schedule(c, 0);
    return c;
}

void ipc_client_free(struct ipc_client *c)
{
    struct error e;
    struct ipc_call *call;

    if (!c || c->freed)
        return;
    c->freed = true;
    (void)error_set(&e, -ECANCELED, "The request to %s was given up.", role_name(c->spec.peer));
    while ((call = TAILQ_FIRST(&c->calls)))
        ipc_call_fail(call, &e);
    ipc_call_deliver_failed(c, SIZE_MAX);
    ipc_conn_close(c->conn);
    c->conn = NULL;
    loop_timer_free(c->retry);
    event_free(c->failing);
    ipc_client_unref(c);
}

int ipc_client_event(struct ipc_client *c, Lf__Envelope *event, const int *fds, size_t n)
{
    CLEANUP(ipc_packet_unrefp) struct ipc_packet *packet = NULL;
    const struct message_row *row;
    int r;

    if (!c->conn)
        return -ENOTCONN;
    if (ipc_packet_check_call(event, c->spec.role, c->spec.peer, n, &row))
        return -EPROTO;
    if (ipc_conn_queued(c->conn) > c->spec.max_queue)
        return -EAGAIN;
    r = ipc_packet_new(event, fds, n, &packet);
    return r < 0 ? r : ipc_conn_send(c->conn, packet);
}

bool ipc_client_connected(const struct ipc_client *c)
{
    return c->conn != NULL;
}
