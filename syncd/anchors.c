/* Owns when segments are listed, read and written, and who waits for that.
 *
 * Must not know what is in them (anchors_read.c, anchors_write.c), nor what is wrong with them (anchors_fault.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/anchors_internal.h"
#include "syncd/tally.h"

enum { PATIENCE_MS = 2000, RETRY_MS = 2000, PAGE = 1000, INTERVAL_DEFAULT_S = 60, LISTED_MOST = 1 << 20 };
#define MS_NS INT64_C(1000000)

/* --- names ------------------------------------------------------------------------------------------------ */

bool anchors_reserve(const struct volume *v, const char *key)
{
    size_t n = strlen(ANCHORS_FOLDER);

    return v->keys && strncmp(key, ANCHORS_FOLDER, n) == 0 && (key[n] == '/' || key[n] == '\0');
}

char *anchors_key(const struct anchors *a, const uint8_t agent[ANCHOR_AGENT], uint32_t number)
{
    char key[sizeof(ANCHORS_FOLDER) + ANCHOR_NAME] = ANCHORS_FOLDER "/";

    anchor_name(agent, number, key + sizeof(ANCHORS_FOLDER));
    return volume_full_key(a->v, key);
}

/* --- a pass ------------------------------------------------------------------------------------------------- */

static void release(struct anchors *a)
{
    struct anchors_waiter *w;

    loop_timer_free(take_ptr(a->patience));
    while ((w = STAILQ_FIRST(&a->waiters))) {
        STAILQ_REMOVE_HEAD(&a->waiters, next);
        w->fn(w->arg);
        free(w);
    }
}

static void forget_listed(struct anchors *a)
{
    for (size_t n = 0; n < a->n_listed; n++)
        free(a->listed[n].etag);
    free(take_ptr(a->listed));
    a->n_listed = a->n_read = 0;
}

static int keep_passed(struct anchors *a)
{
    struct index_agent own;
    int r = index_agent_get(a->v->index, &own);

    own.passed = true;
    if (r == 0)
        r = index_agent_put(a->v->index, &own);
    return r == 0 && a->accepted ? index_anchor_forgive(a->v->index) : r;
}

static void pass_done(struct anchors *a)
{
    a->passing = false;
    if (!a->failed) {
        anchors_look_for_missing(a);
        if ((!a->passed || a->accepted) && index_begin(a->v->index) == 0)
            a->passed |= index_end(a->v->index, keep_passed(a)) == 0;
    }
    forget_listed(a);
    release(a);
    if (a->closing)
        return;
    if (index_anchors_untold(a->v->index))
        anchors_changed(a->v);
    else
        segments_write(a);
}

static bool is_read(struct anchors *a, const struct listed_segment *l)
{
    CLEANUP(index_segment_done) struct index_segment s = { 0 };

    return index_segment_get(a->v->index, l->agent, l->number, &s) == 0 && strcmp(s.etag, l->etag) == 0;
}

static void read_next(struct anchors *a);

static void one_read(struct anchors *a, int code)
{
    a->failed |= code < 0;
    read_next(a);
}

static void read_next(struct anchors *a)
{
    while (a->n_read < a->n_listed && is_read(a, &a->listed[a->n_read]))
        a->n_read++;
    if (a->n_read == a->n_listed || a->closing)
        pass_done(a);
    else
        segment_read(a, &a->listed[a->n_read++], one_read);
}

static void take_page(struct anchors *a, struct cloud_request *r)
{
    CLEANUP_FREE char *prefix = volume_full_key(a->v, ANCHORS_FOLDER "/");

    for (size_t n = 0; n < r->n_objects && a->n_listed < LISTED_MOST; n++) {
        struct listed_segment l = { .size = r->objects[n].size };

        if (strncmp(r->objects[n].key, prefix, strlen(prefix)) != 0 ||
            !anchor_name_read(r->objects[n].key + strlen(prefix), l.agent, &l.number))
            continue;
        l.etag = xstrdup(r->objects[n].etag ? r->objects[n].etag : "");
        *xadd(a->listed, a->n_listed) = l;
    }
}

static void ask_page(struct anchors *a, const char *token);

static void page_done(struct cloud_request *r, void *owner, size_t n)
{
    struct anchors *a = owner;
    CLEANUP_FREE char *token = NULL;

    (void)n;
    a->listing = NULL;
    if (r->error.code && r->error.code != -ENOENT)
        a->failed = true;
    else
        take_page(a, r);
    token = r->error.code || a->n_listed >= LISTED_MOST ? NULL : xstrdup(r->next_token);
    cloud_request_free(r);
    if (token) {
        ask_page(a, token);
        return;
    }
    if (a->n_listed)
        qsort(a->listed, a->n_listed, sizeof(*a->listed), anchors_compare);
    if (a->failed)
        pass_done(a);
    else
        read_next(a);
}

static void ask_page(struct anchors *a, const char *token)
{
    CLEANUP_FREE char *prefix = volume_full_key(a->v, ANCHORS_FOLDER "/");
    struct cloud_request *r = cloud_request_new(CLOUD_LIST, NULL, NULL);

    cloud_request_set(&r->bucket, a->v->bucket);
    cloud_request_set(&r->prefix, prefix);
    cloud_request_set(&r->token, token);
    r->limit = PAGE;
    r->deadline_ms = (uint64_t)a->v->config->read_deadline_seconds * 1000;
    a->listing = errand_submit(a->v, r, page_done, a, 0);
}

static void begin_pass(struct anchors *a)
{
    a->passing = true;
    a->failed = a->accepted = a->wrote = false;
    a->passed_ns = loop_now_ns();
    ask_page(a, NULL);
}

static int64_t interval_ns(const struct volume *v)
{
    int32_t seconds = v->drive->has_sync_interval_seconds ? v->drive->sync_interval_seconds : 0;

    return (seconds > 0 ? seconds : INTERVAL_DEFAULT_S) * 1000 * MS_NS;
}

void anchors_look(struct volume *v)
{
    struct anchors *a = v->anchors;
    int64_t rest = a && (!a->passed || a->failed) ? RETRY_MS * MS_NS : interval_ns(v);

    if (a && !a->passing && !a->closing && !v->paused && (!a->passed_ns || loop_now_ns() - a->passed_ns >= rest))
        begin_pass(a);
}

/* --- waiting for the first one ------------------------------------------------------------------------------ */

bool anchors_unread(const struct volume *v)
{
    const struct anchors *a = v->anchors;

    return a && !a->passed && !a->closing && !v->paused && (a->passing || !a->failed) && !lister_failing(v->lister);
}

static void lose_patience(void *arg)
{
    release(arg);
}

void anchors_await(struct volume *v, void (*fn)(void *arg), void *arg)
{
    struct anchors *a = v->anchors;
    struct anchors_waiter *w = xcalloc(1, sizeof(*w));

    *w = (struct anchors_waiter){ .fn = fn, .arg = arg };
    STAILQ_INSERT_TAIL(&a->waiters, w, next);
    if (!a->patience)
        a->patience = loop_timer(v->loop, a->patience_ms, lose_patience, a);
    if (!a->passing)
        begin_pass(a);
}

void anchors_keys_changed(struct volume *v)
{
    struct anchors *a = v->anchors;

    if (!a || index_segments_faulty(v->index) == 0 || index_begin(v->index) < 0 ||
        index_end(v->index, index_segments_forgive(v->index)) < 0)
        return;
    a->passed = false;
    a->failed = a->passing;   /* the present pass has passed over some */
    a->passed_ns = 0;
}

/* --- life --------------------------------------------------------------------------------------------------- */

void anchors_changed(struct volume *v)
{
    struct anchors *a = v->anchors;

    if (a && !a->closing && !a->timer && object_seals(v))
        segments_write_in(a, (uint64_t)v->config->anchor_seconds * 1000);
}

void anchors_let_go(struct anchors *a)
{
    struct anchors_waiter *w;

    loop_timer_free(take_ptr(a->leaving));
    while ((w = STAILQ_FIRST(&a->leavers))) {
        STAILQ_REMOVE_HEAD(&a->leavers, next);
        loop_defer(a->v->loop, w->fn, w->arg);
        free(w);
    }
}

static void leave_it(void *arg)
{
    anchors_let_go(arg);
}

void anchors_tell(struct volume *v, void (*done)(void *arg), void *arg)
{
    struct anchors *a = v->anchors;
    struct anchors_waiter *w;

    if (!a || a->closing || !object_seals(v) || v->read_only || lister_failing(v->lister) ||
        !index_anchors_untold(v->index)) {
        loop_defer(v->loop, done, arg);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct anchors_waiter){ .fn = done, .arg = arg };
    STAILQ_INSERT_TAIL(&a->leavers, w, next);
    if (!a->leaving)
        a->leaving = loop_timer(v->loop, PATIENCE_MS, leave_it, a);
    segments_write_now(a);
}

static int open_agent(struct anchors *a, struct index_agent *own)
{
    int r = index_begin(a->v->index);

    return r == 0 ? index_end(a->v->index, index_agent_get(a->v->index, own)) : r;
}

void anchors_new(struct volume *v)
{
    struct anchors *a;
    struct index_agent own = { 0 };

    if (!v->keys)
        return;
    a = xcalloc(1, sizeof(*a));
    a->v = v;
    a->patience_ms = PATIENCE_MS;
    a->segments_most = 64;
    a->entries_most = ANCHOR_ENTRIES;
    STAILQ_INIT(&a->waiters);
    STAILQ_INIT(&a->leavers);
    a->passed = open_agent(a, &own) == 0 && own.passed;
    v->anchors = a;
    if (index_anchors_untold(v->index))
        anchors_changed(v);
}

void anchors_free(struct volume *v)
{
    struct anchors *a = v->anchors;

    if (!a)
        return;
    a->closing = true;
    errand_abandon(v, take_ptr(a->listing));
    segment_read_end(a);
    segments_write_end(a);
    loop_timer_free(take_ptr(a->timer));
    release(a);
    anchors_let_go(a);
    forget_listed(a);
    free(take_ptr(v->anchors));
}
