/* One connection: reads requests one after the other and waits for their replies. A step per state
 * does what can be done now; http_conn_advance() takes steps until one has to wait. */
#include "frontd/http_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

enum { READ_AHEAD = 64 * 1024, WRITE_SIZE = 256 * 1024, SWITCHED_SEND_BUFFER = 32 * 1024 };

/* Does what can be done in this state. True: something changed, take another step. */
typedef bool step_fn(struct http_conn *c);

static void set_deadline(struct http_conn *c, unsigned seconds)
{
    struct timeval tv = { .tv_sec = seconds };

    (void)evtimer_del(c->deadline);
    if (seconds)
        (void)evtimer_add(c->deadline, &tv);
}

void http_conn_deadline(struct http_conn *c, bool set)
{
    set_deadline(c, set ? c->server->spec.timeout_seconds : 0);
}

static void reset_request(struct http_conn *c)
{
    struct http_request *r = &c->request;

    http_head_free(&r->head);
    (void)evbuffer_drain(r->body, evbuffer_get_length(r->body));
    r->watch = (struct http_watch){ 0 };
    r->chunked = r->close = r->wanted = false;
    r->on_body = NULL;
}

/* --- ending -------------------------------------------------------------------------------- */

static void free_conn(struct http_conn *c)
{
    struct http_watch watch = c->request.watch;

    c->request.watch = (struct http_watch){ 0 };
    if (watch.gone)
        watch.gone(watch.arg);
    http_server_removed(c->server, c);
    reset_request(c);
    evbuffer_free(c->request.body);
    event_free(c->deadline);
    bufferevent_free(c->bev);
    free(c);
}

void http_conn_close(struct http_conn *c)
{
    if (c->advancing)
        c->dead = true;
    else
        free_conn(c);
}

static void refuse(struct http_conn *c, struct http_refusal why)
{
    c->state = HTTP_SERVING;
    c->request.close = true;
    set_deadline(c, 0);
    c->server->spec.ops->refuse(&c->request, why, c->server->spec.arg);
}

/* --- steps --------------------------------------------------------------------------------- */

static struct evbuffer *input(const struct http_conn *c)
{
    return bufferevent_get_input(c->bev);
}

/* Reads over empty lines, as RFC 9112, 2.2 wants it. True if something else follows. */
static bool find_request(struct http_conn *c)
{
    char start[2];
    ssize_t n;

    while ((n = evbuffer_copyout(input(c), start, sizeof(start))) == 2 && memcmp(start, "\r\n", 2) == 0)
        (void)evbuffer_drain(input(c), sizeof(start));
    return n > 0 && (n == 2 || start[0] != '\r');
}

static bool wait_for_request(struct http_conn *c)
{
    if (!find_request(c))
        return false;
    c->state = HTTP_READING;
    set_deadline(c, c->server->spec.timeout_seconds);
    return true;
}

static void accept_head(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_request *r = &c->request;

    r->body_max = s->spec.max_body_bytes;
    c->state = HTTP_SERVING;
    r->close = http_head_has_body(&r->head); /* what is not read now must not be taken for the next request */
    if (!s->spec.ops->head(r, s->spec.arg)) {
        set_deadline(c, 0);
        return;
    }
    http_body_init(&r->progress, &r->head, r->body_max);
    c->state = HTTP_BODY;
    r->close = r->on_body != NULL;           /* until all of it has come */
    if (r->head.expects_continue && http_head_has_body(&r->head) && !evbuffer_get_length(input(c)))
        (void)bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", strlen("HTTP/1.1 100 Continue\r\n\r\n"));
    if (r->on_body) {
        set_deadline(c, 0);
        s->spec.ops->serve(r, s->spec.arg);
    }
}

static bool read_head(struct http_conn *c)
{
    size_t max = c->server->spec.max_header_bytes, have = evbuffer_get_length(input(c)), len = least(have, max);
    const char *bytes = (const char *)evbuffer_pullup(input(c), (ssize_t)len);
    ssize_t n = bytes ? http_head_length(bytes, len) : -ENOMEM;
    struct http_refusal refusal;

    if (n < 0) {
        refuse(c, HTTP_REFUSE(400, "The request is malformed."));
    } else if (n == 0) {
        if (len < max)
            return false;
        refuse(c, HTTP_REFUSE(431, "The request's header is too large; see MaxHeaderBytes."));
    } else {
        refusal = http_head_parse(&c->request.head, bytes, (size_t)n);
        (void)evbuffer_drain(input(c), (size_t)n);
        if (refusal.status)
            refuse(c, refusal);
        else
            accept_head(c);
    }
    return true;
}

/* What there is of it by now. */
static bool hand_on(struct http_conn *c, size_t had)
{
    struct http_request *r = &c->request;

    if (evbuffer_get_length(r->body) == had)
        return false;
    r->step += evbuffer_get_length(r->body) - had;
    if (r->step >= HTTP_BODY_STEP) {
        r->step = 0;
        set_deadline(c, c->server->spec.timeout_seconds);
    }
    r->on_body(false, r->watch.arg);
    return c->state != HTTP_BODY || r->wanted;
}

static void end_body(struct http_conn *c)
{
    struct http_request *r = &c->request;

    c->state = HTTP_SERVING;
    set_deadline(c, 0);
    r->close = false;
    if (r->on_body)
        r->on_body(true, r->watch.arg);
    else
        c->server->spec.ops->serve(r, c->server->spec.arg);
}

static bool read_body(struct http_conn *c)
{
    size_t had = evbuffer_get_length(c->request.body);
    int r;

    if (c->request.on_body && !c->request.wanted)
        return false;
    r = http_body_take(&c->request.progress, input(c), c->request.body);
    if (r == 0 && c->input_ended)
        http_conn_close(c);
    if (r == 0)
        return !c->dead && c->request.on_body && hand_on(c, had);
    if (r == -EMSGSIZE) {
        refuse(c, HTTP_REFUSE(413, "The body is too large; see MaxBodyBytes, and MaxFormBytes for forms."));
    } else if (r < 0) {
        refuse(c, HTTP_REFUSE(400, "The chunks of the body are malformed."));
    } else {
        end_body(c);
    }
    return true;
}

static bool wait_for_reply(struct http_conn *c)
{
    (void)c;
    return false;
}

/* The rest of a connection that has left HTTP: what is here is the protocol's. */
static bool pass_on(struct http_conn *c)
{
    if (!evbuffer_get_length(input(c)))
        return false;
    c->request.watch.read(c->request.watch.arg);
    return c->state != HTTP_SWITCHED;
}

/* There may be thousands that do not read, and what the kernel keeps for them would grow to megabytes each. */
void http_conn_switch(struct http_conn *c)
{
    (void)setsockopt(bufferevent_getfd(c->bev), SOL_SOCKET, SO_SNDBUF, &(int){ SWITCHED_SEND_BUFFER }, sizeof(int));
    c->state = HTTP_SWITCHED;
    http_head_free(&c->request.head);
    http_server_switched(c->server, c);
}

/* After another protocol there is nothing to wait for but that the client takes what is left. */
void http_conn_flush(struct http_conn *c)
{
    if (c->state == HTTP_SWITCHED) {
        c->request.close = true;
        set_deadline(c, HTTP_LINGER_SECONDS);
        (void)bufferevent_enable(c->bev, EV_WRITE); /* a stall has disabled it */
    }
    c->state = HTTP_FLUSHING;
    http_conn_advance(c);
}

static bool flush(struct http_conn *c)
{
    bool close = c->request.close || c->input_ended || c->server->stopping;

    if (evbuffer_get_length(bufferevent_get_output(c->bev)))
        return false;
    reset_request(c);
    c->served = true;
    c->since_ns = loop_now_ns();
    if (!close) {
        c->state = HTTP_IDLE;
        set_deadline(c, c->server->spec.timeout_seconds);
    } else if (c->input_ended) {
        http_conn_close(c);
    } else {
        c->state = HTTP_LINGERING;
        (void)shutdown(bufferevent_getfd(c->bev), SHUT_WR);
        set_deadline(c, HTTP_LINGER_SECONDS);
    }
    return true;
}

/* Closing with unread input would reset the connection and could take the last reply with it. */
static bool linger(struct http_conn *c)
{
    (void)evbuffer_drain(input(c), evbuffer_get_length(input(c)));
    return false;
}

void http_conn_advance(struct http_conn *c)
{
    static step_fn *const steps[] = {
        [HTTP_IDLE] = wait_for_request,  [HTTP_READING] = read_head, [HTTP_BODY] = read_body,
        [HTTP_SERVING] = wait_for_reply, [HTTP_SWITCHED] = pass_on,  [HTTP_FLUSHING] = flush,
        [HTTP_LINGERING] = linger,
    };

    if (c->advancing)
        return;
    c->advancing = true;
    while (!c->dead && steps[c->state](c))
        ;
    c->advancing = false;
    if (c->dead)
        free_conn(c);
}

/* --- events -------------------------------------------------------------------------------- */

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    http_conn_advance(arg);
}

static void on_written(struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;
    struct http_watch watch = c->request.watch;

    (void)bev;
    if ((c->state == HTTP_SERVING || c->state == HTTP_SWITCHED) && watch.drained)
        watch.drained(watch.arg);
    else
        http_conn_advance(c);
}

/* A client may close its sending side and still wait for its reply (RFC 9112, 9.6). */
static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http_conn *c = arg;

    bool body_waits = c->state == HTTP_BODY && c->request.on_body && !c->request.wanted;

    (void)bev;
    if (c->state == HTTP_SWITCHED && (what & BEV_EVENT_TIMEOUT)) {
        c->request.watch.stalled(c->request.watch.arg);
        return;
    }
    c->input_ended = true;
    if ((what & BEV_EVENT_EOF) && (c->state == HTTP_SERVING || c->state == HTTP_FLUSHING || body_waits))
        return;
    http_conn_close(c);
}

static void on_deadline(int fd, short what, void *arg)
{
    struct http_conn *c = arg;

    (void)fd;
    (void)what;
    if (c->state == HTTP_READING || c->state == HTTP_BODY)
        refuse(c, HTTP_REFUSE(408, "The request took too long to arrive; see HttpTimeoutSeconds."));
    else
        http_conn_close(c);
}

void http_conn_new(struct http_server *s, int fd, const struct peer *p)
{
    struct timeval stall = { .tv_sec = s->spec.timeout_seconds };
    struct http_conn *c = xcalloc(1, sizeof(*c));

    c->server = s;
    c->peer = *p;
    c->since_ns = loop_now_ns();
    c->stranger = !s->spec.ops->welcomes(p, s->spec.arg);
    c->request.conn = c;
    c->request.head.method = HTTP_OTHER;
    c->request.body = evbuffer_new();
    c->deadline = evtimer_new(loop_base(s->loop), on_deadline, c);
    c->bev = bufferevent_socket_new(loop_base(s->loop), fd, BEV_OPT_CLOSE_ON_FREE);
    if (!c->request.body || !c->deadline || !c->bev)
        abort();
    bufferevent_setcb(c->bev, on_read, on_written, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, s->spec.max_header_bytes + READ_AHEAD);
    bufferevent_setwatermark(c->bev, EV_WRITE, HTTP_LOW_WATER, 0);
    (void)bufferevent_set_max_single_write(c->bev, WRITE_SIZE);
    (void)bufferevent_set_timeouts(c->bev, NULL, &stall);
    set_deadline(c, s->spec.timeout_seconds);
    http_server_added(s, c);
    (void)bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}
