/* What bytes of a file are waited for, and why they are not here, for a person. Changes nothing. */
#include "syncd/fetch_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/number.h"

#define S INT64_C(1000000000)

/* Who waits; in the order in which one is chosen. Of the reasons that are not listed nobody does. */
static const struct {
    enum fetch_why why;
    const char *who;
} waiting[] = {
    { FETCH_READ, "A program that reads it" },
    { FETCH_WRITE, "A program that writes to it" },
    { FETCH_OPEN, "A program that opens it" },
    { FETCH_STREAM, "A request to the API" },
    { FETCH_UPLOAD, "Its upload" },
    { FETCH_PIN, "Its pin" },
};

static int64_t seconds_since(int64_t when_ns)
{
    return (loop_now_ns() - when_ns) / S;
}

static int64_t seconds_to(int64_t when_ns)
{
    int64_t now = loop_now_ns();

    return when_ns > now ? (when_ns - now + S - 1) / S : 0;
}

/* --- who, and for what -------------------------------------------------------------------------------- */

static const struct fetch_waiter *waiter_for(const struct cache_file *f, enum fetch_why why)
{
    const struct fetch_waiter *w;

    TAILQ_FOREACH(w, &f->fetch.waiters, next)
        if (w->why == why)
            return w;
    return NULL;
}

static size_t say_who(const struct cache_file *f, const struct fetch_waiter *w, const char *who, char *out, size_t size)
{
    uint64_t to = least(w->to, fetch_reach(f));
    int n = snprintf(out, size, "%s waits for the bytes %" PRIu64 " to %" PRIu64 ", for %" PRId64 " s so far", who,
                     w->from, excess(to, 1), seconds_since(w->since_ns));

    if (w->timer)
        n += snprintf(out + n, size - (size_t)n, " and %" PRId64 " s more at most",
                      seconds_to(w->since_ns + (int64_t)w->ms * 1000000));
    return (size_t)n + (size_t)snprintf(out + n, size - (size_t)n, ". ");
}

/* --- why ---------------------------------------------------------------------------------------------- */

/* The request that brings them, or NULL. */
static const struct cloud_request *request_for(const struct cache_file *f, const struct fetch_waiter *w)
{
    const struct fetch_transfer *t;

    TAILQ_FOREACH(t, &f->fetch.transfers, next)
        if (w->from >= (t->from & ~(uint64_t)(CHUNK_SIZE - 1)) && w->from < t->to)
            return t->request;
    return NULL;
}

typedef bool look_fn(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size);

static bool say_held_up(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size)
{
    bool held_up = r && r->next_try_ns;

    (void)f;
    if (held_up)
        (void)snprintf(out, size, "%s The next attempt is in %" PRId64 " s.", error_text(&r->trouble),
                       seconds_to(r->next_try_ns));
    return held_up;
}

static bool say_coming(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size)
{
    bool coming = r && r->content_length > 0 && !reach_lost(&f->volume->tally->reach);

    if (coming)
        (void)snprintf(out, size, "They are coming: %" PRIu64 " of %" PRIu64 " bytes of the request are here.",
                       r->content_length, r->range_length);
    return coming;
}

static bool say_unanswered(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size)
{
    struct reach *reach = &f->volume->tally->reach;

    if (r && reach_lost(reach))
        (void)snprintf(out, size, "They were asked for %" PRId64 " s ago, and the cloud does not answer. %s",
                       seconds_since(r->submitted_ns), error_text(r->trouble.code ? &r->trouble : &reach->trouble));
    else if (r)
        (void)snprintf(out, size, "They were asked for %" PRId64 " s ago.", seconds_since(r->submitted_ns));
    return r;
}

/* What keeps it from being asked for. */
static bool say_hindered(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size)
{
    const struct {
        bool is;
        const char *text;
    } hindrances[] = {
        { fetch_rests(f), "Its download was paused; it goes on when that is resumed ('landfall transfer resume')." },
        { f->fetch.refreshing, "The cloud is being asked which version of it there is." },
        { f->fetch.superseded, "Its upload, which replaces the version that they are of, has to end first." },
        { f->fetch.space, "The cache has no room for them, and nothing in it can go now." },
    };

    (void)r;
    for (size_t n = 0; n < ARRAY_SIZE(hindrances); n++)
        if (hindrances[n].is) {
            (void)snprintf(out, size, "%s", hindrances[n].text);
            return true;
        }
    return false;
}

static bool say_queued(const struct cache_file *f, const struct cloud_request *r, char *out, size_t size)
{
    (void)r;
    (void)snprintf(out, size, "They are in the queue behind %u requests for other bytes of it.", f->fetch.n_transfers);
    return true;
}

/* The first that has something to say. */
static look_fn *const looks[] = {
    say_held_up, say_coming, say_unanswered, say_hindered, say_queued,
};

void fetch_say(const struct cache_file *f, char *out, size_t size)
{
    const struct fetch_waiter *w = NULL;
    const char *who = NULL;
    size_t used;

    *out = '\0';
    for (size_t n = 0; n < ARRAY_SIZE(waiting) && !w; n++) {
        who = waiting[n].who;
        w = waiter_for(f, waiting[n].why);
    }
    if (!w)
        return;
    used = say_who(f, w, who, out, size);
    for (size_t n = 0; n < ARRAY_SIZE(looks); n++)
        if (looks[n](f, request_for(f, w), out + used, size - used))
            return;
}
