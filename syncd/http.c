/* Owns libcurl's multi handle, the events of its sockets, its timer, and which exchanges are
 * under way.
 *
 * libcurl may not be entered from its own callbacks, yet whoever is called back may start and
 * cancel exchanges: `depth` says that libcurl is on the stack, and what it cannot take now waits
 * in lists that leave() works off.
 *
 * Must not know S3, accounts or retries.
 */
#include "syncd/http.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "syncd/http_call.h"

/* One set of connections a process; tests run several loops after one another. */
static struct http *shared;

/* --- libcurl and the event loop ------------------------------------------------------------- */

/* Of so many connections what yields may have at most: one is left even of two. */
static int64_t share(int64_t connections)
{
    return connections - (connections > 4 ? connections / 4 : connections > 1);
}

/* Uploads, of which many may be stuck at once, leave connections to whoever waits for an answer. */
static bool has_to_wait(const struct http *h, const struct http_call *c)
{
    int64_t n = 0, of_host = 0;
    const struct http_call *other;

    if (!c->host)
        return false;
    LIST_FOREACH(other, &h->yielding, beside) {
        n++;
        of_host += strcmp(other->host, c->host) == 0;
    }
    return n >= share(h->config->cloud_connections) || of_host >= share(h->config->cloud_connections_per_host);
}

static void add(struct http *h, struct http_call *c)
{
    TAILQ_REMOVE(&h->starting, c, next);
    if (c->host)
        LIST_INSERT_HEAD(&h->yielding, c, beside);
    c->state = CALL_ACTIVE;
    (void)curl_multi_add_handle(h->multi, c->easy);
}

static void add_starting(struct http *h)
{
    struct http_call *c = TAILQ_FIRST(&h->starting);

    while (c) {
        struct http_call *next = TAILQ_NEXT(c, next);

        if (!has_to_wait(h, c))
            add(h, c);
        c = next;
    }
}

static void end_call(struct http_call *c)
{
    if (c->host && c->state != CALL_NEW)
        LIST_REMOVE(c, beside);
    call_free(c);
}

static void bury_dead(struct http *h)
{
    struct http_call *c;

    while ((c = TAILQ_FIRST(&h->dead))) {
        TAILQ_REMOVE(&h->dead, c, next);
        (void)curl_multi_remove_handle(h->multi, c->easy);
        end_call(c);
    }
}

static void finish(struct http_call *c, CURLcode code)
{
    (void)curl_multi_remove_handle(c->http->multi, c->easy);
    if (c->stale) {   /* nothing was sent yet */
        c->stale = false;
        (void)curl_easy_setopt(c->easy, CURLOPT_FRESH_CONNECT, 1L);
        (void)curl_multi_add_handle(c->http->multi, c->easy);
        return;
    }
    call_judge(c, code);
    c->state = CALL_DEAD;
    c->done(&c->reply, c->arg);
    end_call(c);
}

static void enter(struct http *h)
{
    h->depth++;
    h->refs++;   /* a callback may close the last user */
}

/* Once libcurl is off the stack: hands out what ended, does what had to wait. */
static void leave(struct http *h)
{
    struct CURLMsg *m;
    int left;

    body_flush(h);
    h->depth--;
    bury_dead(h);
    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct http_call *c = NULL;
        CURLcode code = m->data.result;

        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c) == CURLE_OK)
            finish(c, code);
    }
    add_starting(h);
    http_close(h);
}

/* --- one socket a turn ------------------------------------------------------------------------ */

static void leave_line(struct http_watch *w)
{
    if (w->ready)
        TAILQ_REMOVE(&w->http->line, w, next);
    w->ready = 0;
}

/* What a socket brings is up to a quarter of a MiB, to be written into a file. Whoever asks meanwhile has his turn
 * after each of them, not after all: the others are still ready when the loop looks again. */
static void on_socket(evutil_socket_t fd, short what, void *arg)
{
    struct http_watch *w = arg;

    (void)fd;
    if (!w->ready)
        TAILQ_INSERT_TAIL(&w->http->line, w, next);
    w->ready |= (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0);
    event_active(w->http->turn, EV_TIMEOUT, 0);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    struct http_watch *w = TAILQ_FIRST(&h->line);
    int running, mask;

    (void)fd, (void)what;
    if (!w)
        return;
    mask = w->ready;
    fd = w->fd;
    leave_line(w);
    enter(h);
    (void)curl_multi_socket_action(h->multi, fd, mask, &running);
    leave(h);
}

static void watch_end(struct http_watch *w)
{
    if (!w)
        return;
    leave_line(w);
    if (w->event)
        event_free(w->event);
    free(w);
}

static struct http_watch *watch_new(struct http *h, int fd, int what)
{
    struct http_watch *w = xcalloc(1, sizeof(*w));
    short flags = (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);

    *w = (struct http_watch){ .http = h, .fd = fd };
    w->event = event_new(loop_base(h->loop), fd, flags, on_socket, w);
    if (!w->event)
        abort();
    (void)event_add(w->event, NULL);
    return w;
}

/* --- the rest of libcurl's calls --------------------------------------------------------------- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct http *h = arg;
    int running;

    (void)fd, (void)what;
    enter(h);
    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    leave(h);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct http_call *c = arg;
    struct http *h = c->http;

    (void)fd, (void)what;
    if (c->state != CALL_ACTIVE)
        return;
    enter(h);
    (void)curl_easy_pause(c->easy, CURLPAUSE_CONT);
    leave(h);
}

static int watch_socket(CURL *easy, curl_socket_t s, int what, void *arg, void *socket_arg)
{
    struct http *h = arg;

    (void)easy;
    watch_end(socket_arg);
    (void)curl_multi_assign(h->multi, s, what == CURL_POLL_REMOVE ? NULL : watch_new(h, s, what));
    return 0;
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
    struct http *h = arg;
    struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

    (void)multi;
    return ms < 0 ? event_del(h->timer) : event_add(h->timer, &tv);
}

/* --- the connections of a process ------------------------------------------------------------- */

/* This machine is never asked for through the proxy; a lone star means no proxy at all. */
static char *no_proxy_list(const char *theirs)
{
    struct text t = TEXT_INIT(64 * 1024);

    if (strcmp(theirs, "*") != 0)
        text_puts(&t, *theirs ? "localhost,127.0.0.0/8,::1," : "localhost,127.0.0.0/8,::1");
    text_puts(&t, theirs);
    return text_take(&t);
}

static void set_multi(struct http *h)
{
    const struct config *c = h->config;

    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
    (void)curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    (void)curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)c->cloud_connections);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)c->cloud_connections_per_host);
    (void)curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)c->cloud_connections);
}

enum { BULK = 64 << 10 };

/* The buffers for bodies are large, and the kernel copies into them. */
static void *allocate(size_t n)
{
    return n < BULK ? malloc(n) : alloc_bulk(n);
}

static void http_free(struct http *h)
{
    assert(h->calls == 0);
    (void)curl_multi_cleanup(h->multi);
    event_free(h->timer);
    event_free(h->turn);
    free(h->run.bytes);
    free(h->no_proxy);
    free(h);
}

static int http_new(struct loop *l, const struct config *c, struct http **ret, struct error *e)
{
    struct http *h;
    uint16_t port = 0;
    int r = config_host_port(c, &port, e);

    if (r < 0)
        return r;
    if (*c->ca_bundle && access(c->ca_bundle, R_OK) < 0)
        return error_set(e, -EINVAL, "CaBundle names %s, which cannot be read: %m.", c->ca_bundle);
    h = calloc(1, sizeof(*h));
    if (!h || curl_global_init_mem(CURL_GLOBAL_DEFAULT, allocate, free, realloc, xstrdup, calloc) != CURLE_OK)
        abort();
    *h = (struct http){ .loop = l, .config = c, .refs = 1, .api_port = port,
        .multi = curl_multi_init(), .no_proxy = no_proxy_list(c->no_proxy) };
    h->timer = evtimer_new(loop_base(l), on_timer, h);
    h->turn = event_new(loop_base(l), -1, 0, on_turn, h);
    TAILQ_INIT(&h->starting);
    TAILQ_INIT(&h->dead);
    LIST_INIT(&h->yielding);
    LIST_INIT(&h->sockets);
    TAILQ_INIT(&h->line);
    if (!h->multi || !h->timer || !h->turn || !h->no_proxy)
        abort();
    set_multi(h);
    *ret = h;
    return 0;
}

int http_open(struct loop *l, const struct config *c, struct http **ret, struct error *e)
{
    int r = 0;

    if (shared && shared->loop == l)
        shared->refs++;
    else
        r = http_new(l, c, &shared, e);
    if (r == 0)
        *ret = shared;
    return r;
}

void http_close(struct http *h)
{
    if (!h || --h->refs)
        return;
    if (shared == h)
        shared = NULL;
    http_free(h);
}

/* --- calls --------------------------------------------------------------------------------- */

struct http_call *http_start(struct http *h, const struct http_spec *spec)
{
    struct http_call *c = call_new(h, spec);

    if (!c)
        return NULL;
    c->wake = evtimer_new(loop_base(h->loop), on_wake, c);
    if (!c->wake) {
        call_free(c);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&h->starting, c, next);
    if (h->depth == 0)
        add_starting(h);
    return c;
}

void http_cancel(struct http_call *c)
{
    struct http *h = c ? c->http : NULL;

    if (!c || c->state == CALL_DEAD)
        return;
    if (c->state == CALL_NEW)
        TAILQ_REMOVE(&h->starting, c, next);
    else if (h->depth == 0)
        (void)curl_multi_remove_handle(c->http->multi, c->easy);
    if (c->state == CALL_NEW || h->depth == 0) {
        end_call(c);
        if (h->depth == 0)
            add_starting(h);
        return;
    }
    c->state = CALL_DEAD;
    TAILQ_INSERT_TAIL(&h->dead, c, next);
}

void http_resume(struct http_call *c)
{
    static const struct timeval now = { 0, 0 };

    c->paused = false;
    (void)event_add(c->wake, &now);
}
