/* Owns the downloads of absent chunks that are under way. The contract is in fetch.h.
 *
 * Must not know who waits, nor what providers there are. */
#include "syncd/fetch_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

/* --- transfers ---------------------------------------------------------------------------------- */

/* The caller holds the file as well. */
void fetch_detach(struct fetch_transfer *t)
{
    struct cache_file *f = take_ptr(t->file);

    if (t->in)
        fetch_inflow_detached(t, f);
    TAILQ_REMOVE(&f->fetch.transfers, t, next);
    f->fetch.n_transfers--;
    show_fetch_idle(f);
    space_measure(f);
    space_give_back(f->volume->cache, t->reserved);
    cache_release(f);
}

static void stop(struct fetch_transfer *t)
{
    fetch_detach(t);
    if (t->in)
        fetch_inflow_stop(t);
    else
        cloud_cancel(t->cloud, t->request);
}

static void count(const struct fetch_transfer *t, uint64_t to)
{
    enum fetch_why why = t->from < t->asked ? t->why : FETCH_AHEAD;
    uint64_t bytes = least(to - t->from, CHUNK_SIZE);

    t->file->map->came[why] += bytes;
    t->file->volume->tally->fetched[why] += bytes;
    show_fetched(t->file, bytes);
}

void fetch_arrived(struct fetch_transfer *t, uint64_t to)
{
    for (; t->from < to; t->from += CHUNK_SIZE) {
        count(t, to);
        chunk_set(t->file->map, t->from >> CHUNK_SHIFT);
        use_fetched(t->file, t->from);
    }
    uploader_answered(t->file->volume->uploader);
}

/* Before anybody who waits for the bytes goes on: then nobody asks for what came with them. */
void fetch_learn(struct fetch_transfer *t, const struct cloud_request *r)
{
    struct volume *v = t->file->volume;

    if (!t->learned)
        lister_learned(v->lister, t->file->ino, r->key + strlen(v->prefix), &r->object);
    t->learned = true;
}

static void on_progress(struct cloud_request *r, uint64_t bytes, void *arg)
{
    struct fetch_transfer *t = arg;
    struct cache_file *f = t->file;
    uint64_t to = t->start + bytes;

    if (to < t->to)
        to &= ~(uint64_t)(CHUNK_SIZE - 1);
    if (!f || to <= t->from)
        return;
    cache_hold(f);
    fetch_learn(t, r);
    fetch_arrived(t, to);
    fetch_wake(f);
    cache_release(f);
}

static bool gone_or_changed(int code)
{
    return code == -ESTALE || code == -ENOENT || code == -ERANGE;
}

static void refreshed(const struct error *e, void *arg);

/* What the index believes of the cloud is wrong. The version looked up now is tried once; if it is the
 * same again, nothing more can be done. */
void fetch_refresh(struct cache_file *f)
{
    if (f->fetch.refreshing)
        return;
    f->fetch.refreshing = true;
    cache_hold(f);
    lister_refresh(f->volume->lister, f->ino, refreshed, f);
}

/* Takes the file over to the index's version; true when that is not the one that failed. */
static bool renewed(struct cache_file *f)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *same;
    bool current;

    if (index_get(f->volume->index, f->ino, &i) < 0 || cache_file_current(f, &i))
        return false;
    if (cache_acquire(f->volume->cache, &i, &same) < 0)
        return false;
    current = cache_file_current(same, &i);   /* not one that is lent, which stays what it is */
    cache_release(same);
    return current;
}

static void refreshed(const struct error *e, void *arg)
{
    struct cache_file *f = arg;
    struct error gone;

    f->fetch.refreshing = false;
    error_set(&gone, e->code == -ENOENT ? -ENOENT : -EIO,
              "The file's bytes are no longer in the cloud: it was changed or deleted there.");
    if (e->code < 0 && e->code != -ENOENT)
        fetch_fail_all(f, e);
    else if (f->dropped || !renewed(f))
        fetch_fail_all(f, &gone);
    else
        fetch_plan(f);
    cache_release(f);
}

/* Whether the index says something else by now than what was asked for: the file was moved in the cloud. */
bool fetch_asked_for_old(const struct cache_file *f, const struct cloud_request *r)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    CLEANUP_FREE char *key = NULL;

    if (index_get(f->volume->index, f->ino, &i) < 0 || !i.cloud_key)
        return false;
    key = volume_full_key(f->volume, i.cloud_key);
    return strcmp(key, r->key) != 0 || (i.etag && r->if_match && strcmp(i.etag, r->if_match) != 0);
}

void fetch_failed(struct cache_file *f, const struct fetch_transfer *t, const struct error *e, bool late)
{
    f->fetch.window = f->fetch.ahead = 0;
    if (!gone_or_changed(e->code))
        fetch_fail_within(f, t->from, t->to, e);
    else if (late)
        return;
    else if (uploader_places(f->volume->uploader, f->ino))
        fetch_superseded(f, true);
    else
        fetch_refresh(f);
}

static void on_done(struct cloud_request *r, void *arg)
{
    struct fetch_transfer *t = arg;
    struct cache_file *f = t->file;
    struct error e = r->error;

    if (e.code == 0 && r->content_length != r->sink.length)
        error_set(&e, -ESTALE, "The object is shorter than it was.");
    (void)close(r->sink.fd);
    if (f) {
        cache_hold(f);
        fetch_checked(f->volume, r);
        if (e.code == 0) {
            fetch_learn(t, r);
            fetch_arrived(t, t->to);
        }
        fetch_detach(t);
        if (e.code)
            fetch_failed(f, t, &e, fetch_asked_for_old(f, r));
        fetch_wake(f);
        fetch_plan(f);
        cache_release(f);
    }
    cloud_request_free(r);
    free(t);
}

/* All of an object is asked for as such: radosgw reads what is small together with its head then, in half the time. */
static struct cloud_request *make_request(struct fetch_transfer *t, const struct index_inode *i, int sink_fd)
{
    struct cloud_request *r = cloud_request_new(CLOUD_GET, on_done, t);
    struct volume *v = t->file->volume;
    CLEANUP_FREE char *key = volume_full_key(v, i->cloud_key);

    cloud_request_set(&r->bucket, v->bucket);
    cloud_request_set(&r->key, key);
    cloud_request_set(&r->if_match, i->etag);
    r->has_range = t->from > 0 || t->to < i->cloud_size;
    r->range_offset = t->from;
    r->range_length = t->to - t->from;
    r->sink = (struct cloud_extent){ .fd = sink_fd, .offset = t->from, .length = t->to - t->from };
    r->progress = on_progress;
    r->checked = !r->has_range && fetch_checks(v, i->cloud_size);
    return r;
}

/* Space for [from, *to), or for the first part of it. 0 or -EAGAIN. */
static int reserve(struct cache_file *f, enum space_for what, uint64_t from, uint64_t *to, uint64_t *ret)
{
    uint64_t want = *to - from, n;

    n = space_take(f->volume->cache, what, want + FETCH_MAP_BYTES, least(want, FETCH_SPAN_LEAST) + FETCH_MAP_BYTES);
    if (n == 0)
        return -EAGAIN;
    if (n < want + FETCH_MAP_BYTES)
        *to = from + ((n - FETCH_MAP_BYTES) & ~(uint64_t)(CHUNK_SIZE - 1));
    *ret = n;
    return 0;
}

/* The bytes go where they belong as they come. */
static int start_straight(struct fetch_transfer *t, const struct index_inode *i)
{
    int fd = fcntl(t->file->data_fd, F_DUPFD_CLOEXEC, 3);

    if (fd < 0)
        return -errno;
    t->request = make_request(t, i, fd);
    return 0;
}

static struct fetch_transfer *new_transfer(struct cache_file *f, const struct fetch_wish *wish, uint64_t from,
                                           uint64_t to)
{
    struct fetch_transfer *t = xcalloc(1, sizeof(*t));

    *t = (struct fetch_transfer){
        .file = cache_hold(f), .cloud = f->volume->cloud, .start = from, .from = from, .to = to, .why = wish->why,
        .asked = wish->to,
    };
    TAILQ_INSERT_TAIL(&f->fetch.transfers, t, next);
    f->fetch.n_transfers++;
    show_fetch(f);
    return t;
}

int fetch_start(struct cache_file *f, const struct fetch_wish *wish, uint64_t from, uint64_t to)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(f->volume->index, f->ino, &i), way;
    uint64_t reserved = 0;
    struct fetch_transfer *t;

    if (r < 0)
        return r;
    if (!i.cloud_key || !cache_file_current(f, &i))
        return -ESTALE;
    way = fetch_object_ready(f, &i, from);
    if (way < 0)
        return way;
    r = reserve(f, wish->what, from, &to, &reserved);
    if (r < 0)
        return r;
    t = new_transfer(f, wish, from, to);
    t->reserved = reserved;
    if (way == FETCH_CHUNKS) {
        fetch_object_start(t, &i);
        return 0;
    }
    r = start_straight(t, &i);
    if (r == 0) {
        volume_submit(f->volume, t->request);
    } else {
        fetch_detach(t);
        free(t);
    }
    return r;
}

/* --- the contract ------------------------------------------------------------------------------- */

void fetch_init(struct cache_file *f)
{
    TAILQ_INIT(&f->fetch.waiters);
    TAILQ_INIT(&f->fetch.transfers);
}

void fetch_discard(struct cache_file *f)
{
    show_fetch_over(f);
    fetch_object_forget(f);
}

/* NULL: it has been answered. */
static struct fetch_waiter *read_wait(struct cache_file *f, enum fetch_why why, uint64_t offset, uint64_t length,
                                      fetch_done_fn *done, void *arg)
{
    struct fetch_waiter *w;
    struct error e;

    if (fetch_object_refuses(f, offset, offset + least(length, excess(fetch_reach(f), offset)), &e)) {
        done(&e, arg);
        return NULL;
    }
    w = fetch_wait(f, offset, offset + least(length, CHUNK_FILE_MAX), done, arg);
    if (w)
        w->why = why;
    return w;
}

static void read_plan(struct fetch_waiter *w)
{
    fetch_note_reader(w->file, w->from, least(w->to, fetch_reach(w->file)));
    fetch_plan(w->file);
}

void fetch_range(struct cache_file *f, enum fetch_why why, uint64_t offset, uint64_t length, uint64_t deadline_ms,
                 fetch_done_fn *done, void *arg)
{
    struct fetch_waiter *w = read_wait(f, why, offset, length, done, arg);

    if (!w)
        return;
    w->patient = why == FETCH_SCAN;
    if (deadline_ms)
        fetch_wait_until(w, deadline_ms);
    read_plan(w);
}

void fetch_whole(struct cache_file *f, fetch_done_fn *done, void *arg)
{
    struct fetch_waiter *w = fetch_wait(f, 0, CHUNK_FILE_MAX, done, arg);

    if (!w)
        return;
    w->what = SPACE_KEEP;
    w->why = FETCH_PIN;
    w->patient = true;
    fetch_plan(f);
}

void fetch_once(struct cache_file *f, fetch_done_fn *done, void *arg)
{
    struct fetch_waiter *w = read_wait(f, FETCH_STREAM, 0, CHUNK_FILE_MAX, done, arg);

    if (!w)
        return;
    w->patient = true;
    read_plan(w);
}

bool fetch_concerns(const struct cache_file *f, uint64_t from, uint64_t to)
{
    const struct fetch_transfer *t;

    TAILQ_FOREACH(t, &f->fetch.transfers, next)
        if (t->from < to && t->to > from)
            return true;
    return false;
}

void fetch_stop_beyond(struct cache_file *f, uint64_t size)
{
    struct fetch_transfer *t = TAILQ_FIRST(&f->fetch.transfers), *next;

    for (; t; t = next) {
        next = TAILQ_NEXT(t, next);
        if (t->to > size)
            stop(t);
    }
}

void fetch_stop(struct cache_file *f)
{
    fetch_stop_beyond(f, 0);
}

static void go_on(void *arg)
{
    struct cache_file *f = arg;

    loop_timer_free(take_ptr(f->fetch.going_on));
    fetch_wake(f);
    fetch_plan(f);
    cache_release(f);
}

void fetch_go_on(struct cache_file *f)
{
    if (f->fetch.going_on || TAILQ_EMPTY(&f->fetch.waiters))
        return;
    f->fetch.going_on = loop_timer(f->volume->loop, 0, go_on, f);
    if (!f->fetch.going_on)
        abort();
    cache_hold(f);
}

void fetch_superseded(struct cache_file *f, bool yes)
{
    if (f->fetch.superseded && !yes)
        fetch_go_on(f);
    f->fetch.superseded = yes;
}

void fetch_end(struct cache_file *f, const struct error *e)
{
    fetch_stop(f);
    fetch_fail_all(f, e);
    fetch_object_forget(f);
    if (f->fetch.space) {
        space_forget(take_ptr(f->fetch.space));
        cache_release(f);
    }
    if (!f->fetch.going_on)
        return;
    loop_timer_free(take_ptr(f->fetch.going_on));
    cache_release(f);
}
