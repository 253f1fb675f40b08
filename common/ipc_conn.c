/* Owns one connected socket: its events, its output queue and its back-pressure.
 *
 * Must not know roles, requests or which end of the conversation it serves.
 */
#include "common/ipc_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* Packets read or written in one turn of the loop, so that one busy peer does not keep out others. */
enum { TURN_PACKETS = 32 };

struct queued {
    STAILQ_ENTRY(queued) next;
    struct ipc_packet *packet;
};

struct ipc_conn {
    unsigned refs;                /* the owner's, and that of a callback under way */
    int fd;                       /* -1: closed */
    const struct ipc_conn_ops *ops;
    void *owner;                  /* borrowed */
    struct event *read, *write, *ending;
    STAILQ_HEAD(, queued) queue;
    size_t n_queued, queued_bytes;
    size_t load, limit;
    bool reading;
    bool deaf;                    /* the peer takes nothing more; what it has sent is still read */
    const char *broken;           /* why the connection ends; NULL: it does not */
    bool violation;
};

/* Where a packet lands before it is unpacked; wiped afterwards. One is enough for one thread. */
static uint8_t inbound[IPC_MESSAGE_MAX];

static void unref(struct ipc_conn *c)
{
    if (--c->refs == 0)
        free(c);
}

static const char *reason(int r)
{
    const char *text = strerrordesc_np(-r);

    return text ? text : "unknown error";
}

/* --- reading ------------------------------------------------------------------------------- */

static bool wants_reading(const struct ipc_conn *c)
{
    if (c->fd < 0 || c->broken)
        return false;
    return c->limit == 0 || (c->load + c->n_queued < c->limit && c->queued_bytes < IPC_QUEUE_BYTES);
}

static void update_reading(struct ipc_conn *c)
{
    bool wanted = wants_reading(c);

    if (wanted == c->reading)
        return;
    c->reading = wanted;
    if (wanted)
        (void)event_add(c->read, NULL);
    else
        (void)event_del(c->read);
}

static const char *unpack(size_t len, Lf__Envelope **ret)
{
    const char *why = ipc_packet_unpack(inbound, len, ret);

    explicit_bzero(inbound, len);
    return why;
}

static void read_packet(struct ipc_conn *c, size_t len, int *fds, size_t n_fds)
{
    Lf__Envelope *env = NULL;
    const char *why = unpack(len, &env);

    if (!why)
        why = c->ops->packet(c->owner, env, fds, n_fds);
    ipc_packet_close_fds(fds, IPC_FDS_MAX);
    lf__envelope__free_unpacked(env, NULL);
    if (why)
        ipc_conn_break(c, why, true);
}

static void read_failed(struct ipc_conn *c, int r)
{
    explicit_bzero(inbound, sizeof(inbound));
    if (r == -EPROTO)
        ipc_conn_break(c, "packet with too many bytes or descriptors", true);
    else if (r == -EPIPE)
        ipc_conn_break(c, "closed by the peer", false);
    else
        ipc_conn_break(c, reason(r), false);
}

/* ECONNRESET says that the peer left without reading all; what it sent before can still be read. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_conn *c = arg;

    (void)fd;
    (void)what;
    c->refs++;
    for (int i = 0; i < TURN_PACKETS && wants_reading(c); i++) {
        int fds[IPC_FDS_MAX], r;
        size_t len, n_fds;

        r = ipc_packet_receive(c->fd, inbound, &len, fds, &n_fds);
        if (r == -EAGAIN)
            break;
        if (r == 0)
            read_packet(c, len, fds, n_fds);
        else if (r != -ECONNRESET)
            read_failed(c, r);
    }
    if (c->fd >= 0)
        update_reading(c);
    unref(c);
}

/* --- writing ------------------------------------------------------------------------------- */

static void drop_first(struct ipc_conn *c)
{
    struct queued *q = STAILQ_FIRST(&c->queue);

    STAILQ_REMOVE_HEAD(&c->queue, next);
    c->n_queued--;
    c->queued_bytes -= q->packet->len;
    ipc_packet_unref(q->packet);
    free(q);
}

/* The reader finds the end of the connection, after whatever the peer still said. */
static void go_deaf(struct ipc_conn *c, int r)
{
    if (r != -EPIPE && r != -ECONNRESET && r != -ENOTCONN)
        ipc_conn_break(c, reason(r), false);
    c->deaf = true;
    while (c->n_queued > 0)
        drop_first(c);
    (void)event_del(c->write);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_conn *c = arg;
    int r = 0;

    (void)what;
    for (int i = 0; i < TURN_PACKETS && c->n_queued > 0 && r == 0; i++) {
        r = ipc_packet_send(fd, STAILQ_FIRST(&c->queue)->packet);
        if (r == 0)
            drop_first(c);
    }
    if (r < 0 && r != -EAGAIN)
        go_deaf(c, r);
    if (c->n_queued == 0)
        (void)event_del(c->write);
    update_reading(c);
}

static int enqueue(struct ipc_conn *c, struct ipc_packet *p)
{
    int r = ipc_packet_keep(p);
    struct queued *q;

    if (r < 0)
        return r;
    q = malloc(sizeof(*q));
    if (!q)
        return -ENOMEM;
    q->packet = ipc_packet_ref(p);
    STAILQ_INSERT_TAIL(&c->queue, q, next);
    if (c->n_queued++ == 0)
        (void)event_add(c->write, NULL);
    c->queued_bytes += p->len;
    update_reading(c);
    return 0;
}

int ipc_conn_send(struct ipc_conn *c, struct ipc_packet *p)
{
    int r;

    if (c->deaf || c->broken)
        return 0;
    r = c->n_queued > 0 ? -EAGAIN : ipc_packet_send(c->fd, p);
    if (r == -EAGAIN)
        return enqueue(c, p);
    if (r < 0)
        go_deaf(c, r);
    return 0;
}

size_t ipc_conn_queued(const struct ipc_conn *c)
{
    return c->n_queued;
}

void ipc_conn_load(struct ipc_conn *c, int change)
{
    c->load += (size_t)change;
    update_reading(c);
}

/* --- life ---------------------------------------------------------------------------------- */

static void on_ending(evutil_socket_t fd, short what, void *arg)
{
    struct ipc_conn *c = arg;

    (void)fd;
    (void)what;
    c->ops->gone(c->owner, c->broken, c->violation);
}

void ipc_conn_break(struct ipc_conn *c, const char *why, bool violation)
{
    if (c->broken || c->fd < 0)
        return;
    c->broken = why;
    c->violation = violation;
    update_reading(c);
    (void)event_del(c->write);
    event_active(c->ending, EV_TIMEOUT, 0);
}

/* The queue of a unix socket is the sender's buffer: without room for one whole packet (and the
 * kernel's bookkeeping beside it) the largest could never leave. */
static int make_room(int fd)
{
    int bytes = 2 * IPC_MESSAGE_MAX;

    return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) < 0 ? -errno : 0;
}

struct ipc_conn *ipc_conn_new(struct loop *l, int fd, const struct ipc_conn_ops *ops, void *owner, size_t limit)
{
    struct event_base *base = loop_base(l);
    struct ipc_conn *c = calloc(1, sizeof(*c));

    if (!c) {
        (void)close(fd);
        return NULL;
    }
    *c = (struct ipc_conn){ .refs = 1, .fd = fd, .ops = ops, .owner = owner, .limit = limit };
    STAILQ_INIT(&c->queue);
    c->read = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->write = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    c->ending = event_new(base, -1, 0, on_ending, c);
    if (!c->read || !c->write || !c->ending || make_room(fd) < 0) {
        ipc_conn_close(c);
        return NULL;
    }
    update_reading(c);
    return c;
}

static void free_event(struct event *e)
{
    if (e)
        event_free(e);
}

void ipc_conn_close(struct ipc_conn *c)
{
    if (!c)
        return;
    free_event(c->read);
    free_event(c->write);
    free_event(c->ending);
    while (c->n_queued > 0)
        drop_first(c);
    (void)close(c->fd);
    c->fd = -1;
    unref(c);
}
