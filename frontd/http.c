/* Servers: listening sockets and how many connections there may be.
 *
 * At the limit an idle connection makes room; when all are busy no more are accepted, so that
 * clients wait in the kernel's queue. Peers that are not welcome get few connections, so that
 * another user of the machine cannot take all. */
#include "frontd/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "frontd/http_conn.h"

static const struct timeval accept_pause = { .tv_sec = 1 };

static void set_accepting(struct http_server *s, bool accepting)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        (void)(accepting ? evconnlistener_enable : evconnlistener_disable)(s->listeners[i]);
}

/* The oldest connection between two requests; one that has not sent its first is given the time to. */
static struct http_conn *find_idle(struct http_server *s)
{
    struct http_conn *c;

    TAILQ_FOREACH (c, &s->conns, link)
        if (c->state == HTTP_IDLE && c->served && !c->dead)
            return c;
    return NULL;
}

static bool is_full(const struct http_server *s)
{
    return s->n_conns >= s->spec.max_connections;
}

/* One more connection of a peer that is not welcome would be too many. */
static bool has_strangers_enough(const struct http_server *s)
{
    size_t share = s->spec.max_connections / 8;

    return s->n_strangers >= HTTP_STRANGERS_MAX || s->n_strangers > share;
}

static void make_room(struct http_server *s)
{
    struct http_conn *idle = is_full(s) ? find_idle(s) : NULL;

    if (idle)
        http_conn_close(idle);
}

void http_server_added(struct http_server *s, struct http_conn *c)
{
    TAILQ_INSERT_TAIL(&s->conns, c, link);
    s->n_conns++;
    s->n_strangers += c->stranger;
    if (is_full(s) && !find_idle(s)) {
        s->paused = true;
        set_accepting(s, false);
    }
}

static void made_room(struct http_server *s)
{
    if (s->paused && !s->stopping) {
        s->paused = false;
        set_accepting(s, true);
    }
}

void http_server_switched(struct http_server *s, struct http_conn *c)
{
    c->switched = true;
    s->n_conns--;
    s->n_switched++;
    made_room(s);
}

void http_server_removed(struct http_server *s, struct http_conn *c)
{
    TAILQ_REMOVE(&s->conns, c, link);
    if (c->switched)
        s->n_switched--;
    else
        s->n_conns--;
    s->n_strangers -= c->stranger;
    made_room(s);
    if (s->stopping && TAILQ_EMPTY(&s->conns) && s->stopped)
        loop_defer(s->loop, s->stopped, s->stopped_arg);
}

static void on_accept(struct evconnlistener *listener, int fd, struct sockaddr *from, int len, void *arg)
{
    struct http_server *s = arg;
    const struct http_ops *ops = s->spec.ops;
    struct peer p;

    (void)listener;
    (void)from;
    (void)len;
    ops->identify(fd, &p, s->spec.arg);
    if (!ops->welcomes(&p, s->spec.arg) && has_strangers_enough(s)) {
        (void)close(fd);
        return;
    }
    make_room(s);
    if (!p.local)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    http_conn_new(s, fd, &p);
}

static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    struct http_server *s = arg;

    (void)listener;
    LOG(LOG_WARNING, "accept_failed", "error=%s", strerror(errno));
    set_accepting(s, false);
    (void)evtimer_add(s->resume, &accept_pause);
}

static void on_resume(int fd, short what, void *arg)
{
    struct http_server *s = arg;

    (void)fd;
    (void)what;
    if (!s->paused && !s->stopping)
        set_accepting(s, true);
}

struct http_server *http_server_new(struct loop *l, const struct http_spec *spec)
{
    struct http_server *s = xcalloc(1, sizeof(*s));

    s->loop = l;
    s->spec = *spec;
    s->head = (struct text)TEXT_INIT(HTTP_HEAD_MAX);
    TAILQ_INIT(&s->conns);
    s->resume = evtimer_new(loop_base(l), on_resume, s);
    if (!s->resume)
        abort();
    return s;
}

int http_server_listen(struct http_server *s, int fd)
{
    struct evconnlistener *listener = NULL;

    if (s->n_listeners < HTTP_LISTENERS_MAX && evutil_make_socket_nonblocking(fd) == 0)
        listener = evconnlistener_new(loop_base(s->loop), on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC,
                                      0, fd);
    if (!listener) {
        (void)close(fd);
        return -ENOMEM;
    }
    evconnlistener_set_error_cb(listener, on_accept_failed);
    s->listeners[s->n_listeners++] = listener;
    return 0;
}

static void close_listeners(struct http_server *s)
{
    while (s->n_listeners)
        evconnlistener_free(s->listeners[--s->n_listeners]);
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
    text_free(&s->head);
    free(s);
}
