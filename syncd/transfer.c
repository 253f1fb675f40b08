/* The list of transfers, and when a frame about one is due. */
#include "syncd/transfer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/events.h"

enum { SECOND_MS = 1000 };
static const int64_t SECOND_NS = 1000000000, TICK_NS = 100;   /* what .NET counts time in */

/* --- frames ----------------------------------------------------------------------------------------------- */

static const char *const modes[] = {
    [TRANSFER_UPLOAD] = "Upload", [TRANSFER_DOWNLOAD] = "Download",
    [TRANSFER_ENCRYPT] = "Encrypt", [TRANSFER_DECRYPT] = "Decrypt",
};

void transfer_span(int64_t ns, char out[SPAN_SIZE])
{
    int64_t seconds = ns / SECOND_NS, days = seconds / 86400, rest = ns % SECOND_NS / TICK_NS;
    int n = days ? snprintf(out, SPAN_SIZE, "%d.", (int)days) : 0;

    n += snprintf(out + n, SPAN_SIZE - (size_t)n, "%02d:%02d:%02d", (int)(seconds / 3600 % 24),
                  (int)(seconds / 60 % 60), (int)(seconds % 60));
    if (rest)
        (void)snprintf(out + n, SPAN_SIZE - (size_t)n, ".%07d", (int)rest);
}

/* Over the time since the last frame, or since the beginning when that is all there is; none while it rests. */
static int64_t speed(const struct transfer *t, int64_t now)
{
    int64_t since = t->shown_ns && !is_over(t) ? t->shown_ns : t->begun_ns;
    uint64_t bytes = t->shown_ns && !is_over(t) ? excess(t->moved, t->shown_moved) : t->moved;
    double seconds = (double)(now - since) / 1e9;

    return t->status != TRANSFER_PAUSED && seconds > 0 ? (int64_t)((double)bytes / seconds) : 0;
}

static const char *name_of(const char *key)
{
    const char *slash = strrchr(key, '/');

    return slash ? slash + 1 : key;
}

static void show(struct transfer *t)
{
    Lf__Progress p = LF__PROGRESS__INIT;
    int64_t now = loop_now_ns();
    char lasted[SPAN_SIZE], begun[DATE_SIZE], said[DATE_SIZE];

    transfer_span(now - t->begun_ns, lasted);
    date_iso(t->begun_wall_ns, begun);
    date_iso(loop_wall_ns(), said);
    p.transfer_mode = (char *)modes[t->mode];
    p.status = (char *)transfer_words[t->status].frame;
    p.storage_type = t->storage_type;
    p.path = t->path;
    p.has_bytes = p.has_size = p.has_speed = true;
    p.bytes = (int64_t)t->moved;
    p.size = (int64_t)t->size;
    p.error = t->error;
    p.name = (char *)name_of(*t->key ? t->key : t->path);
    p.storage_name = t->storage_name;
    p.speed = speed(t, now);
    p.duration = lasted;
    p.transfer_id = t->id;
    p.start_time_utc = begun;
    p.progress_time_utc = said;
    events_progress(t->all->events, &p);
    t->shown_ns = now;
    t->shown_moved = t->moved;
    t->shown_status = t->status;
}

void transfer_look(struct transfer *t)
{
    if (t->control && t->control->moved && !is_over(t))
        t->moved = t->control->moved(t->arg);
}

static void on_tick(void *arg)
{
    struct transfers *all = arg;
    struct transfer *t;
    bool running = false;

    loop_timer_free(take_ptr(all->timer));
    TAILQ_FOREACH(t, &all->list, next) {
        if (is_over(t))
            continue;
        running = true;
        transfer_look(t);
        if (t->moved != t->shown_moved || t->status != t->shown_status)
            show(t);
    }
    if (running && events_wanted(all->events))
        all->timer = loop_timer(all->loop, SECOND_MS / TRANSFER_FRAMES, on_tick, all);
}

static void tick_soon(struct transfers *all)
{
    if (!all->timer && events_wanted(all->events))
        all->timer = loop_timer(all->loop, SECOND_MS / TRANSFER_FRAMES, on_tick, all);
}

void transfer_turn(struct transfer *t, enum transfer_status status)
{
    int64_t now = loop_now_ns();

    if (t->status == TRANSFER_PAUSED)
        t->paused_ns += now - t->paused_since_ns;
    if (status == TRANSFER_PAUSED)
        t->paused_since_ns = now;
    t->status = status;
    show(t);
}

/* --- life ------------------------------------------------------------------------------------------------- */

struct transfer *transfer_find(const struct transfers *all, const char *id)
{
    struct transfer *t;

    TAILQ_FOREACH(t, &all->list, next)
        if (strcmp(t->id, id) == 0)
            break;
    return t;
}

static void drop(struct transfer *t)
{
    TAILQ_REMOVE(&t->all->list, t, next);
    t->all->n_over -= is_over(t);
    free(t->storage_type);
    free(t->storage_name);
    free(t->path);
    free(t->key);
    free(t->error);
    free(t);
}

/* The list is in the order in which they began, and most end in it. */
static void drop_oldest(struct transfers *all)
{
    struct transfer *t;

    TAILQ_FOREACH(t, &all->list, next)
        if (is_over(t)) {
            drop(t);
            return;
        }
}

static void set_times(struct transfer *t, int64_t begun_wall_ns)
{
    int64_t now = loop_now_ns(), wall = loop_wall_ns();

    t->begun_wall_ns = begun_wall_ns ? begun_wall_ns : wall;
    t->begun_ns = t->begun_wall_ns < wall ? now - (wall - t->begun_wall_ns) : now;
    t->paused_since_ns = now;
}

struct transfer *transfer_begin(struct transfers *all, const struct transfer_spec *spec)
{
    struct transfer *t;

    if (!all)
        return NULL;
    t = xcalloc(1, sizeof(*t));
    *t = (struct transfer){
        .all = all, .mode = spec->mode, .status = spec->paused ? TRANSFER_PAUSED : TRANSFER_RUNNING,
        .size = spec->size, .storage_type = xstrdup(spec->storage_type), .storage_name = xstrdup(spec->storage_name),
        .path = xstrdup(spec->path), .key = xstrdup(spec->key ? spec->key : ""),
        .control = spec->control, .arg = spec->arg,
    };
    set_times(t, spec->begun_wall_ns);
    if (spec->id && id_valid(spec->id) && !transfer_find(all, spec->id))
        (void)snprintf(t->id, sizeof(t->id), "%s", spec->id);
    else
        id_new(t->id);
    TAILQ_INSERT_TAIL(&all->list, t, next);
    show(t);
    tick_soon(all);
    return t;
}

void transfer_hand_over(struct transfer *t, const struct transfer_control *control, void *arg)
{
    if (!t)
        return;
    t->control = control;
    t->arg = arg;
}

const char *transfer_id(const struct transfer *t)
{
    return t ? t->id : "";
}

void transfer_set_size(struct transfer *t, uint64_t size)
{
    if (t)
        t->size = size;
}

void transfer_moved(struct transfer *t, uint64_t bytes)
{
    if (!t)
        return;
    t->moved = bytes;
    tick_soon(t->all);
}

void transfer_end(struct transfer *t, const struct error *e)
{
    int code = e ? e->code : 0;

    if (!t)
        return;
    transfer_look(t);
    if (code == 0)
        t->moved = t->size;
    else if (code != -ECANCELED)
        t->error = xstrdup(error_text(e));
    t->control = NULL;
    t->arg = NULL;
    t->ended_wall_ns = loop_wall_ns();
    transfer_turn(t, code == 0 ? TRANSFER_COMPLETED : code == -ECANCELED ? TRANSFER_CANCELED : TRANSFER_FAILED);
    if (++t->all->n_over > TRANSFERS_KEPT)
        drop_oldest(t->all);
}

void transfer_leave(struct transfer *t)
{
    if (t)
        drop(t);
}

struct transfers *transfers_new(struct loop *l, struct events *events)
{
    struct transfers *all = xcalloc(1, sizeof(*all));

    *all = (struct transfers){ .loop = l, .events = events };
    TAILQ_INIT(&all->list);
    return all;
}

void transfers_free(struct transfers *all)
{
    if (!all)
        return;
    loop_timer_free(all->timer);
    while (!TAILQ_EMPTY(&all->list))
        drop(TAILQ_FIRST(&all->list));
    free(all);
}
