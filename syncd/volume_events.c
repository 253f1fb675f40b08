/* What the workers are told of changes in the cloud. A listing may bring very many at once, and a
 * worker that lags too far behind loses its channel: so they go out in small bunches. */
#include <stdlib.h>

#include "common/alloc.h"
#include "syncd/volume_internal.h"

enum { BUNCH = 128, PAUSE_MS = 5, KEPT_MAX = 65536 };

struct volume_event {
    STAILQ_ENTRY(volume_event) next;
    uint64_t ino;
    char *name;                  /* NULL: the inode itself */
    size_t len;
    bool data;
};

static void send_event(struct volume *v, uint64_t ino, const void *name, size_t len, bool data)
{
    Lf__FsInvalidate event = LF__FS_INVALIDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_INVALIDATE, fs_invalidate, &event);

    event.ino = ino;
    event.data = data;
    event.has_name = name != NULL;
    event.name = (ProtobufCBinaryData){ len, (uint8_t *)(uintptr_t)name };
    for (struct volume_peer *p = v->peers; p; p = p->next)
        (void)ipc_peer_event(p->peer, &env, NULL, 0);
    v->events_sent++;
}

static void drop_first(struct volume *v)
{
    struct volume_event *e = STAILQ_FIRST(&v->events);

    STAILQ_REMOVE_HEAD(&v->events, next);
    v->n_events--;
    free(e->name);
    free(e);
}

static void on_pause_over(void *arg)
{
    struct volume *v = arg;
    struct volume_event *e;

    loop_timer_free(v->events_timer);
    v->events_timer = NULL;
    v->events_sent = 0;
    while (v->peers && v->events_sent < BUNCH && (e = STAILQ_FIRST(&v->events))) {
        send_event(v, e->ino, e->name, e->len, e->data);
        drop_first(v);
    }
    if (v->events_sent > 0)
        v->events_timer = loop_timer(v->loop, PAUSE_MS, on_pause_over, v);
}

void volume_events_flush(struct volume *v)
{
    if (!v->events_timer)
        v->events_timer = loop_timer(v->loop, PAUSE_MS, on_pause_over, v);
}

/* While a worker is on its way the kernel goes on believing the last one. */
static void keep(struct volume *v, uint64_t ino, const void *name, size_t len, bool data)
{
    struct volume_event *e = xcalloc(1, sizeof(*e));

    *e = (struct volume_event){ .ino = ino, .name = name ? strndup(name, len) : NULL, .len = len, .data = data };
    STAILQ_INSERT_TAIL(&v->events, e, next);
    if (++v->n_events > KEPT_MAX)
        drop_first(v);
}

void volume_invalidate(struct volume *v, uint64_t ino, const void *name, size_t len, bool data)
{
    if (!v->mounted)
        return;
    if (v->peers)
        volume_events_flush(v);
    if (v->peers && v->events_sent < BUNCH && STAILQ_EMPTY(&v->events))
        send_event(v, ino, name, len, data);
    else
        keep(v, ino, name, len, data);
}

void volume_events_free(struct volume *v)
{
    loop_timer_free(v->events_timer);
    while (!STAILQ_EMPTY(&v->events))
        drop_first(v);
}
