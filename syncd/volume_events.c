/* What the workers are told of changes in the cloud. A listing may bring very many at once, and a
 * worker that lags too far behind loses its channel: so they go out in small bunches.
 *
 * What a worker was told it hands to the kernel within moments, or when the kernel waits for a page that is being read,
 * within the deadline of that; unless it dies: so it is kept for so long, for its successor. */
#include <stdlib.h>

#include "common/alloc.h"
#include "syncd/volume_internal.h"

enum { BUNCH = 128, PAUSE_MS = 5, KEPT_MAX = 65536, MOMENTS_SECONDS = 15 };

struct volume_event {
    STAILQ_ENTRY(volume_event) next;
    uint64_t ino;
    char *name;                  /* NULL: the inode itself */
    size_t len;
    enum volume_change what;
    int64_t told_ns;
};

static void drop_first(struct volume_events *list, size_t *n)
{
    struct volume_event *e = STAILQ_FIRST(list);

    STAILQ_REMOVE_HEAD(list, next);
    (*n)--;
    free(e->name);
    free(e);
}

static int64_t told_kept_ns(const struct volume *v)
{
    return (v->config->read_deadline_seconds + MOMENTS_SECONDS) * INT64_C(1000000000);
}

static void tell(struct volume *v, const struct volume_event *e)
{
    Lf__FsInvalidate event = LF__FS_INVALIDATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_INVALIDATE, fs_invalidate, &event);

    event.ino = e->ino;
    event.data = e->what != CHANGED_ATTRIBUTES;
    event.has_version = event.version = e->what == CHANGED_VERSION;
    event.has_name = e->name != NULL;
    event.name = (ProtobufCBinaryData){ e->len, (uint8_t *)e->name };
    for (struct volume_peer *p = v->peers; p; p = p->next)
        (void)ipc_peer_event(p->peer, &env, NULL, 0);
    v->events_sent++;
}

static void send_first(struct volume *v)
{
    struct volume_event *e = STAILQ_FIRST(&v->events), *old;

    tell(v, e);
    e->told_ns = loop_now_ns();
    STAILQ_REMOVE_HEAD(&v->events, next);
    v->n_events--;
    STAILQ_INSERT_TAIL(&v->told, e, next);
    v->n_told++;
    while ((old = STAILQ_FIRST(&v->told)) && (e->told_ns - old->told_ns > told_kept_ns(v) || v->n_told > KEPT_MAX))
        drop_first(&v->told, &v->n_told);
}

static void on_pause_over(void *arg);

static void send_some(struct volume *v)
{
    while (v->peers && v->events_sent < BUNCH && !STAILQ_EMPTY(&v->events))
        send_first(v);
    if (v->events_sent > 0 && !v->events_timer)
        v->events_timer = loop_timer(v->loop, PAUSE_MS, on_pause_over, v);
}

static void on_pause_over(void *arg)
{
    struct volume *v = arg;

    loop_timer_free(v->events_timer);
    v->events_timer = NULL;
    v->events_sent = 0;
    send_some(v);
}

void volume_events_flush(struct volume *v)
{
    if (!v->events_timer)
        v->events_timer = loop_timer(v->loop, PAUSE_MS, on_pause_over, v);
}

void volume_events_lost(struct volume *v)
{
    struct volume_event *old;

    while ((old = STAILQ_FIRST(&v->told)) && loop_now_ns() - old->told_ns > told_kept_ns(v))
        drop_first(&v->told, &v->n_told);
    STAILQ_CONCAT(&v->told, &v->events);
    STAILQ_CONCAT(&v->events, &v->told);
    v->n_events += v->n_told;
    v->n_told = 0;
}

/* While a worker is on its way the kernel goes on believing the last one. */
void volume_invalidate(struct volume *v, uint64_t ino, const void *name, size_t len, enum volume_change what)
{
    struct volume_event *e;

    if (!v->mounted)
        return;
    e = xcalloc(1, sizeof(*e));
    *e = (struct volume_event){ .ino = ino, .name = name ? strndup(name, len) : NULL, .len = len, .what = what };
    STAILQ_INSERT_TAIL(&v->events, e, next);
    if (++v->n_events > KEPT_MAX)
        drop_first(&v->events, &v->n_events);
    send_some(v);
}

void volume_events_free(struct volume *v)
{
    loop_timer_free(v->events_timer);
    STAILQ_CONCAT(&v->events, &v->told);
    while (!STAILQ_EMPTY(&v->events))
        drop_first(&v->events, &v->n_events);
}
