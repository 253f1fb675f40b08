/* The clients of a path. */
#include "frontd/hub.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/alloc.h"
#include "common/log.h"
#include "frontd/ring.h"
#include "frontd/websocket.h"

enum { WAITING_MAX = 8 * 1024 };   /* bytes in a connection, above which nothing is added */

static const char closing[] = "The agent ends.";

struct client {
    TAILQ_ENTRY(client) link;
    struct hub *hub;
    struct http_request *request;
    struct websocket *socket;
    struct loop_timer *ping;
    uint64_t heard;                 /* the last id that was sent, or that it need not hear */
    uint64_t missed;                /* for the log */
};

struct hub {
    struct hub_spec spec;
    struct ring *ring;
    struct evbuffer *out;           /* control frames that are about to be sent; empty between two calls */
    struct loop_timer *pump;        /* set while something was told and not yet passed on */
    TAILQ_HEAD(, client) clients;
    size_t n_clients;
    uint64_t missed;                /* by all clients there were */
    bool closed;
};

/* --- sending -------------------------------------------------------------------------------------------------- */

static const char *finish(struct json_object *frame, uint64_t id, size_t *ret_length)
{
    const char *text;

    (void)json_object_object_add(frame, "Id", json_object_new_int64((int64_t)id));
    text = json_object_to_json_string_length(frame, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE,
                                             ret_length);
    if (!text)
        abort();
    return text;
}

/* For this client alone; the id is that of the last frame it has not heard, so that it may ask for what follows. */
static void send_gap(struct client *c, uint64_t missed, uint64_t last)
{
    struct json_object *frame = c->hub->spec.gap(missed);
    uint8_t head[WEBSOCKET_HEAD_MAX];
    size_t length;
    const char *text = finish(frame, last, &length);

    http_reply_write(c->request, head, websocket_text_head(length, head));
    http_reply_write(c->request, text, length);
    c->heard = last;
    c->missed += missed;
    c->hub->missed += missed;
    json_object_put(frame);
}

/* Passes on what the client has not heard, until enough of it waits to be read. */
static void pump(struct client *c)
{
    const struct ring *r = c->hub->ring;

    if (http_reply_waiting(c->request) < WAITING_MAX && c->heard + 1 < ring_oldest(r))
        send_gap(c, ring_oldest(r) - 1 - c->heard, ring_oldest(r) - 1);
    while (http_reply_waiting(c->request) < WAITING_MAX && c->heard + 1 < ring_next(r)) {
        const struct ring_frame *f = ring_get(r, ++c->heard);

        http_reply_write(c->request, f->bytes, f->length);
    }
}

/* What the protocol itself has to say. */
static void send_out(struct client *c)
{
    http_reply_add(c->request, c->hub->out);
}

/* --- the end of a client -------------------------------------------------------------------------------------- */

static void free_client(struct client *c)
{
    LOG(LOG_INFO, "websocket_ended", "path=%s", c->hub->spec.path, "code=%u", websocket_code(c->socket), "missed=%llu",
        (unsigned long long)c->missed);
    TAILQ_REMOVE(&c->hub->clients, c, link);
    c->hub->n_clients--;
    loop_timer_free(c->ping);
    websocket_free(c->socket);
    free(c);
}

/* What is in `out` is the last it hears. */
static void end_client(struct client *c)
{
    struct http_request *r = c->request;

    send_out(c);
    free_client(c);
    http_reply_end(r);
}

static void close_client(struct client *c, enum websocket_code code, const char *reason)
{
    websocket_close(c->socket, code, reason, c->hub->out);
    end_client(c);
}

/* --- events of a client --------------------------------------------------------------------------------------- */

static void on_read(void *arg)
{
    struct client *c = arg;

    if (websocket_take(c->socket, http_request_input(c->request), c->hub->out))
        send_out(c);
    else
        end_client(c);
}

static void on_drained(void *arg)
{
    pump(arg);
}

static void on_stalled(void *arg)
{
    close_client(arg, WEBSOCKET_POLICY, "What was sent was not read for too long.");
}

static void on_gone(void *arg)
{
    free_client(arg);
}

static void on_ping(void *arg)
{
    struct client *c = arg;

    loop_timer_free(c->ping);
    c->ping = loop_timer(c->hub->spec.loop, (uint64_t)c->hub->spec.ping_seconds * 1000, on_ping, c);
    if (websocket_ping(c->socket, c->hub->out))
        send_out(c);
    else
        end_client(c);
}

/* Whether frames of this frontd follow that id. */
static bool is_ours(const struct ring *r, uint64_t id)
{
    return id + 1 >= ring_first(r) && id < ring_next(r);
}

/* A client that has heard something of another frontd hears all that there is, behind a gap of unknown size. */
static void begin_at(struct client *c, const uint64_t *since)
{
    const struct ring *r = c->hub->ring;

    c->heard = since && is_ours(r, *since) ? *since : ring_next(r) - 1;
    if (since && !is_ours(r, *since))
        send_gap(c, 0, ring_oldest(r) - 1);
    pump(c);
}

void hub_join(struct hub *h, struct http_request *r, const uint64_t *since)
{
    struct client *c = xcalloc(1, sizeof(*c));

    c->hub = h;
    c->request = r;
    c->socket = websocket_new();
    c->ping = loop_timer(h->spec.loop, (uint64_t)h->spec.ping_seconds * 1000, on_ping, c);
    TAILQ_INSERT_TAIL(&h->clients, c, link);
    h->n_clients++;
    http_request_watch(r, &(struct http_watch){ .gone = on_gone, .drained = on_drained, .read = on_read,
                                                .stalled = on_stalled, .arg = c });
    begin_at(c, since);
    if (h->closed)
        close_client(c, WEBSOCKET_NORMAL, closing);
}

/* --- telling -------------------------------------------------------------------------------------------------- */

static void pump_all(void *arg)
{
    struct hub *h = arg;
    struct client *c;

    loop_timer_free(h->pump);
    h->pump = NULL;
    TAILQ_FOREACH (c, &h->clients, link)
        pump(c);
}

void hub_tell(struct hub *h, struct json_object *frame)
{
    uint8_t head[WEBSOCKET_HEAD_MAX];
    size_t length, n;
    const char *text = finish(frame, ring_next(h->ring), &length);
    struct ring_frame *f;

    n = websocket_text_head(length, head);
    if (n + length > h->spec.bytes_kept) {
        LOG(LOG_WARNING, "event_too_large", "path=%s", h->spec.path, "bytes=%zu", length);
        json_object_put(frame);
        hub_tell_gap(h);
        return;
    }
    f = ring_add(h->ring, n + length);
    memcpy(f->bytes, head, n);
    memcpy(f->bytes + n, text, length);
    json_object_put(frame);
    /* What comes in one turn of the loop goes out together. */
    if (!h->pump)
        h->pump = loop_timer(h->spec.loop, 0, pump_all, h);
}

void hub_tell_gap(struct hub *h)
{
    hub_tell(h, h->spec.gap(0));
}

void hub_close(struct hub *h)
{
    h->closed = true;
    pump_all(h);
    while (!TAILQ_EMPTY(&h->clients))
        close_client(TAILQ_FIRST(&h->clients), WEBSOCKET_NORMAL, closing);
}

struct hub_count hub_count(const struct hub *h)
{
    return (struct hub_count){ .clients = h->n_clients,
                               .frames = ring_next(h->ring) - ring_first(h->ring),
                               .missed = h->missed };
}

/* --- life ----------------------------------------------------------------------------------------------------- */

struct hub *hub_new(const struct hub_spec *spec)
{
    struct hub *h = xcalloc(1, sizeof(*h));

    h->spec = *spec;
    h->ring = ring_new(spec->frames_kept, spec->bytes_kept, loop_wall_ns());
    h->out = evbuffer_new();
    if (!h->out)
        abort();
    TAILQ_INIT(&h->clients);
    return h;
}

void hub_free(struct hub *h)
{
    if (!h)
        return;
    loop_timer_free(h->pump);
    ring_free(h->ring);
    evbuffer_free(h->out);
    free(h);
}
