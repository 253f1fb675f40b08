/* Servers: listening sockets and how many connections there may be.
 *
 * Each user who is welcome has MaxConnections, and an eighth as many are left for another one, so that no user keeps
 * out the others. Who has all of his makes room for his next one: by a connection between two requests, or by one
 * that has been there for a second and has not sent one. While there is none, clients wait in the kernel's queue; but
 * only for a moment, since among them may be others: from then on those who are too many are told so.
 * Peers that are not welcome get few connections. */
#include "frontd/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "frontd/http_conn.h"

enum { TURN_ACCEPTS = 16 };   /* others have their turn between so many */

static const struct timeval failure_pause = { .tv_sec = 1 };
static const struct timeval crowd_pause = { .tv_usec = 100000 };
static const int64_t between_pauses_ns = 1000000000;

/* --- accepting or not ---------------------------------------------------------------------- */

static void set_accepting(struct http_server *s, bool accepting)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        (void)(accepting ? event_add(s->listeners[i], NULL) : event_del(s->listeners[i]));
}

static void pause_accepting(struct http_server *s, const struct timeval *pause)
{
    s->paused = true;
    set_accepting(s, false);
    (void)evtimer_add(s->resume, pause);
}

static void resume_accepting(struct http_server *s)
{
    if (!s->paused || s->stopping)
        return;
    s->paused = false;
    (void)evtimer_del(s->resume);
    set_accepting(s, true);
}

static void on_resume(int fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    resume_accepting(arg);
}

/* --- who may have how many ----------------------------------------------------------------- */

static bool is_of(const struct http_conn *c, const struct peer *p)
{
    return !c->switched && !c->stranger && c->peer.uid == p->uid;
}

static size_t count_of(const struct http_server *s, const struct peer *p)
{
    const struct http_conn *c;
    size_t n = 0;

    TAILQ_FOREACH (c, &s->conns, link)
        n += is_of(c, p);
    return n;
}

bool http_server_crowded(const struct http_server *s, const struct peer *p)
{
    return s->n_conns >= s->spec.max_connections && count_of(s, p) >= s->spec.max_connections;
}

static bool has_served(const struct http_conn *c)
{
    return (c->state == HTTP_IDLE && c->served) || c->state == HTTP_LINGERING;
}

/* Nothing is owed, or it is and the client has closed its side: it may still wait, but most have left. One that is
 * new is given the time to send its request. */
static bool may_go(const struct http_conn *c, int64_t now_ns)
{
    bool waiting = c->state == HTTP_IDLE || c->state == HTTP_READING ||
                   (c->state == HTTP_BODY && !c->request.on_body) || (c->state == HTTP_SERVING && c->input_ended);

    if (c->dead)
        return false;
    return has_served(c) || (waiting && now_ns - c->since_ns >= HTTP_GRACE_MS * INT64_C(1000000));
}

/* The oldest that may go, one between two requests first; of this peer, or NULL: of anybody. */
static struct http_conn *find_victim(const struct http_server *s, const struct peer *p)
{
    int64_t now_ns = loop_now_ns();
    struct http_conn *c, *found = NULL;

    TAILQ_FOREACH (c, &s->conns, link) {
        if ((p && !is_of(c, p)) || c->switched || !may_go(c, now_ns))
            continue;
        if (has_served(c))
            return c;
        found = found ? found : c;
    }
    return found;
}

static bool is_full(const struct http_server *s)
{
    return s->n_conns > s->spec.max_connections + s->spec.max_connections / 8;
}

/* Whether one more connection of this peer may come, after another one may have gone. */
static bool make_room(struct http_server *s, const struct peer *p)
{
    bool crowded = http_server_crowded(s, p);
    struct http_conn *victim;

    if (!crowded && !is_full(s))
        return true;
    victim = find_victim(s, crowded ? p : NULL);
    if (victim)
        http_conn_close(victim);
    return victim;
}

/* One more connection of a peer that is not welcome would be too many. */
static bool has_strangers_enough(const struct http_server *s)
{
    size_t share = s->spec.max_connections / 8;

    return s->n_strangers >= HTTP_STRANGERS_MAX || s->n_strangers > share;
}

/* --- bookkeeping --------------------------------------------------------------------------- */

/* For most calls a moment is enough; for who floods it is not to be had over and over again. */
static void let_wait(struct http_server *s)
{
    int64_t now_ns = loop_now_ns();

    if (now_ns - s->waited_ns < between_pauses_ns)
        return;
    s->waited_ns = now_ns;
    pause_accepting(s, &crowd_pause);
}

void http_server_added(struct http_server *s, struct http_conn *c)
{
    TAILQ_INSERT_TAIL(&s->conns, c, link);
    s->n_conns++;
    s->n_strangers += c->stranger;
    if (http_server_crowded(s, &c->peer) && !find_victim(s, &c->peer))
        let_wait(s);
}

void http_server_switched(struct http_server *s, struct http_conn *c)
{
    c->switched = true;
    s->n_conns--;
    s->n_switched++;
    resume_accepting(s);
}

void http_server_removed(struct http_server *s, struct http_conn *c)
{
    TAILQ_REMOVE(&s->conns, c, link);
    if (c->switched)
        s->n_switched--;
    else
        s->n_conns--;
    s->n_strangers -= c->stranger;
    resume_accepting(s);
    if (s->stopping && TAILQ_EMPTY(&s->conns) && s->stopped)
        loop_defer(s->loop, s->stopped, s->stopped_arg);
}

/* --- connections that come ----------------------------------------------------------------- */

static void admit(struct http_server *s, int fd)
{
    const struct http_ops *ops = s->spec.ops;
    struct peer p;

    ops->identify(fd, &p, s->spec.arg);
    if (!ops->welcomes(&p, s->spec.arg) && has_strangers_enough(s)) {
        (void)close(fd);
        return;
    }
    if (!make_room(s, &p)) {
        http_refuse_connection(fd);
        return;
    }
    if (!p.local)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    http_conn_new(s, fd, &p);
}

/* Without descriptors the waiting connection keeps the listener readable: without a pause the loop would spin. */
static void accept_failed(struct http_server *s, int error)
{
    struct http_conn *victim = find_victim(s, NULL);
    int64_t second = loop_now_ns() / 1000000000;

    if (second != s->failed_second)
        LOG(LOG_WARNING, "accept_failed", "error=%s", strerror(error));
    s->failed_second = second;
    pause_accepting(s, &failure_pause);
    if (victim)
        http_conn_close(victim);
}

static void on_connection(evutil_socket_t listener, short what, void *arg)
{
    struct http_server *s = arg;

    (void)what;
    for (int i = 0; i < TURN_ACCEPTS && !s->paused; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            admit(s, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN)
                accept_failed(s, errno);
            return;
        }
    }
}

/* --- life ---------------------------------------------------------------------------------- */

struct http_server *http_server_new(struct loop *l, const struct http_spec *spec)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->spec = *spec;
    TAILQ_INIT(&s->conns);
    s->resume = evtimer_new(loop_base(l), on_resume, s);
    if (!s->resume)
        abort();
    return s;
}

int http_server_listen(struct http_server *s, int fd)
{
    struct event *listener = NULL;

    if (s->n_listeners < HTTP_LISTENERS_MAX && evutil_make_socket_nonblocking(fd) == 0 &&
        evutil_make_socket_closeonexec(fd) == 0)
        listener = event_new(loop_base(s->loop), fd, EV_READ | EV_PERSIST, on_connection, s);
    if (!listener || event_add(listener, NULL) < 0) {
        if (listener)
            event_free(listener);
        (void)close(fd);
        return -ENOMEM;
    }
    s->listeners[s->n_listeners++] = listener;
    return 0;
}

static void close_listeners(struct http_server *s)
{
    while (s->n_listeners) {
        struct event *listener = s->listeners[--s->n_listeners];
        int fd = event_get_fd(listener);

        event_free(listener);
        (void)close(fd);
    }
}

void http_server_stop(struct http_server *s, void (*stopped)(void *arg), void *arg)
{
    struct http_conn *c, *next;

    s->stopping = true;
    s->stopped = stopped;
    s->stopped_arg = arg;
    close_listeners(s);
    if (TAILQ_EMPTY(&s->conns))
        loop_defer(s->loop, stopped, arg);
    for (c = TAILQ_FIRST(&s->conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == HTTP_IDLE)
            http_conn_close(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    s->stopping = true;
    s->stopped = NULL;
    close_listeners(s);
    while (!TAILQ_EMPTY(&s->conns))
        http_conn_close(TAILQ_FIRST(&s->conns));
    event_free(s->resume);
    free(s);
}
