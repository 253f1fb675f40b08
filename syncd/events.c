/* The queue of what is to be told, and who hears it. */
#include "syncd/events.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "common/alloc.h"
#include "syncd/subscribers.h"
#include "syncd/syncd.h"

enum { BUNCH = 64, PAUSE_MS = 5, KEPT_MAX = 8192 };

struct event {
    STAILQ_ENTRY(event) next;
    Lf__Envelope *env;
};

struct events {
    struct loop *loop;
    STAILQ_HEAD(, event) queue;
    size_t n;
    uint64_t missed;              /* dropped in front of the queue */
    struct subscribers listeners;
    struct loop_timer *timer;     /* a pause between two bunches */
};

/* --- who listens ------------------------------------------------------------------------------------------ */

void events_watch(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct events *e = ((struct syncd *)daemon)->events;

    (void)env;
    (void)fds;
    subscribers_add(&e->listeners, ipc_request_peer(req));
    ipc_done(req);
}

void events_lost(struct events *e, const struct ipc_peer *p)
{
    subscribers_remove(&e->listeners, p);
}

bool events_wanted(const struct events *e)
{
    return e && subscribers_any(&e->listeners);
}

/* --- the queue -------------------------------------------------------------------------------------------- */

static void drop_first(struct events *e)
{
    struct event *first = STAILQ_FIRST(&e->queue);

    STAILQ_REMOVE_HEAD(&e->queue, next);
    e->n--;
    lf__envelope__free_unpacked(first->env, NULL);
    free(first);
}

static void tell_missed(struct events *e)
{
    Lf__EventsMissed missed = LF__EVENTS_MISSED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(EVENTS_MISSED, events_missed, &missed);

    missed.number = e->missed;
    e->missed = 0;
    subscribers_tell(&e->listeners, &env);
}

static void send_bunch(void *arg)
{
    struct events *e = arg;

    loop_timer_free(e->timer);
    e->timer = NULL;
    if (e->missed)
        tell_missed(e);
    for (unsigned n = 0; n < BUNCH && e->n; n++) {
        subscribers_tell(&e->listeners, STAILQ_FIRST(&e->queue)->env);
        drop_first(e);
    }
    if (e->n)
        e->timer = loop_timer(e->loop, PAUSE_MS, send_bunch, e);
}

static void add(struct events *e, const Lf__Envelope *env)
{
    struct event *new;

    if (!events_wanted(e))
        return;
    new = xcalloc(1, sizeof(*new));
    new->env = message_copy(&env->base);
    STAILQ_INSERT_TAIL(&e->queue, new, next);
    if (++e->n > KEPT_MAX) {
        drop_first(e);
        e->missed++;
    }
    if (!e->timer)
        e->timer = loop_timer(e->loop, 0, send_bunch, e);
}

void events_state(struct events *e, const char *path, const char *storage_name, int state)
{
    Lf__StateChange change = LF__STATE_CHANGE__INIT;
    Lf__StateChanged msg = LF__STATE_CHANGED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(STATE_CHANGED, state_changed, &msg);

    msg.change = &change;
    change.path = (char *)path;
    change.storage_name = (char *)storage_name;
    change.has_state = true;
    change.state = state;
    add(e, &env);
}

void events_progress(struct events *e, const Lf__Progress *p)
{
    Lf__Progressed msg = LF__PROGRESSED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(PROGRESSED, progressed, &msg);

    msg.progress = (Lf__Progress *)p;
    add(e, &env);
}

void events_notice(struct events *e, const char *kind, const char *drive, const char *path, const char *text)
{
    Lf__UserNotification notice = LF__USER_NOTIFICATION__INIT;
    Lf__Noticed msg = LF__NOTICED__INIT;
    Lf__Envelope env = IPC_ENVELOPE(NOTICED, noticed, &msg);

    msg.notice = &notice;
    notice.kind = (char *)kind;
    notice.text = (char *)text;
    notice.path = (char *)path;
    notice.drive = (char *)drive;
    add(e, &env);
}

/* --- life ------------------------------------------------------------------------------------------------- */

struct events *events_new(struct loop *l)
{
    struct events *e = xcalloc(1, sizeof(*e));

    e->loop = l;
    STAILQ_INIT(&e->queue);
    return e;
}

void events_free(struct events *e)
{
    if (!e)
        return;
    loop_timer_free(e->timer);
    while (e->n)
        drop_first(e);
    subscribers_remove_all(&e->listeners);
    free(e);
}
