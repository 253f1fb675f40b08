/* Owns what is to be fetched once because somebody said so, and need not stay: a file, or all that is below a
 * directory. Requests that nobody waits for take turns; those that somebody waits for begin at once. None outlives the
 * process. What has no room beside the rest is not fetched: else it would displace what has just come.
 *
 * Must not know how names and bytes come (listing.c, fetch.c), nor what goes again when (evict.c). */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/fetch_turns.h"

enum { BATCH = 64, QUEUE_MOST = 10000, WAITING_MOST = 64 };

struct download {
    TAILQ_ENTRY(download) next;
    struct volume *volume;
    uint64_t root;
    bool begun, listing, unwanted;
    volume_offline_fn *done;         /* NULL: nobody waits */
    void *arg;
    struct loop_timer *deadline, *timer;
    struct branch {
        uint64_t dir, cookie;        /* entries up to that number were looked at */
    } *branches;                     /* a stack */
    size_t n_branches;
    uint64_t files[BATCH];           /* looked at and not fetched yet */
    size_t n_files, next_file;
    uint64_t budget;                 /* bytes that still have room beside what came before */
    struct fetch_turns turns;
    uint64_t n_failed;
    struct error error;              /* of the first that failed, with its path */
};

static void start_next(struct volume *v);
static void go_on(void *arg);

/* --- the end ------------------------------------------------------------------------------------- */

static void answer(struct download *d, const struct error *e)
{
    volume_offline_fn *done = d->done;

    loop_timer_free(take_ptr(d->deadline));
    d->done = NULL;
    if (done)
        done(e, d->arg);
}

static void discard(struct download *d)
{
    TAILQ_REMOVE(&d->volume->downloads, d, next);
    fetch_turns_end(&d->turns, d->unwanted);
    loop_timer_free(d->deadline);
    loop_timer_free(d->timer);
    free(d->branches);
    free(d);
}

static void finish(struct download *d)
{
    struct volume *v = d->volume;

    if (d->error.code)
        LOG(LOG_WARNING, "not_all_downloaded", "drive=%s", v->drive->id, "ino=%" PRIu64, d->root,
            "failed=%" PRIu64, d->n_failed, "error=%s", error_text(&d->error));
    answer(d, &d->error);
    discard(d);
    start_next(v);
}

/* How many wait for the paused file for nobody in particular. One is enough, however often it is asked for. */
static size_t asked(const struct cache_file *f)
{
    const struct download *d;
    size_t n = 0;

    if (f->fetch.paused)
        TAILQ_FOREACH(d, &f->volume->downloads, next)
            n += !d->done && fetch_turns_have(&d->turns, f);
    return n;
}

static bool asked_twice(struct cache_file *f)
{
    return asked(f) > 1;
}

static void on_deadline(void *arg)
{
    struct download *d = arg;
    struct error e = { 0 };

    error_set(&e, -ETIMEDOUT, "Not all of it is here yet. It goes on coming; ask again.");
    answer(d, &e);
    fetch_turns_drop(&d->turns, asked_twice);
}

static void note_failure(struct download *d, uint64_t ino, int code, const char *why)
{
    CLEANUP_FREE char *path = index_path(d->volume->index, ino);

    d->n_failed++;
    if (!d->error.code)
        error_set(&d->error, code, "%.200s could not be fetched: %s", path && *path ? path : "It", why);
}

/* --- contents ------------------------------------------------------------------------------------ */

/* Bytes that came may have gone again already, in a cache that is full. */
static void fetched(struct cache_file *f, const struct error *e, void *arg)
{
    struct download *d = arg;

    if (e->code)
        note_failure(d, f->ino, e->code, error_text(e));
    else if (!cache_file_whole(f))
        note_failure(d, f->ino, -ENOSPC, "the cache is full.");
}

static void fetch_one(struct download *d, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = d->volume;
    struct cache_file *f;
    int r = index_get(v->index, ino, &i);

    if (r < 0 || i.nlink == 0 || !S_ISREG(i.mode) || i.size == 0)
        return;
    if (i.size > d->budget) {
        note_failure(d, ino, -ENOSPC, "that is more than the cache may hold (maximumCacheSize).");
        return;
    }
    d->budget -= i.size;
    r = cache_acquire(v->cache, &i, &f);
    if (r < 0)
        note_failure(d, ino, r, error_meaning(r)->text);
    else if (cache_file_whole(f) || (!d->done && asked(f)))
        cache_release(f);
    else
        fetch_turns_add(&d->turns, f, fetch_once);
}

/* --- names --------------------------------------------------------------------------------------- */

struct looking {
    struct download *download;
    size_t n;
    uint64_t dirs[BATCH];
    size_t n_dirs;
    uint64_t last;
};

static bool take_entry(const struct index_inode *i, void *arg)
{
    struct looking *l = arg;

    l->last = i->ino;
    if (S_ISDIR(i->mode))
        l->dirs[l->n_dirs++] = i->ino;
    else
        l->download->files[l->download->n_files++] = i->ino;
    return ++l->n < BATCH;
}

static void push(struct download *d, uint64_t dir)
{
    *xadd(d->branches, d->n_branches) = (struct branch){ dir, 0 };
}

static void look_at_some(struct download *d)
{
    struct branch *b = &d->branches[d->n_branches - 1];
    struct looking l = { .download = d };

    d->n_files = d->next_file = 0;
    (void)index_scan(d->volume->index, b->dir, b->cookie, take_entry, &l);
    b->cookie = l.last;
    if (l.n < BATCH)
        d->n_branches--;
    for (size_t n = 0; n < l.n_dirs; n++)
        push(d, l.dirs[n]);
}

/* --- in turn -------------------------------------------------------------------------------------- */

static bool is_more(const struct download *d)
{
    return d->next_file < d->n_files || d->n_branches;
}

static bool may_begin(const struct download *d)
{
    return is_more(d) && fetch_turns_room(&d->turns);
}

/* What is left of it is paused. */
static bool rests(const struct download *d)
{
    return d->turns.n && fetch_turns_rest(&d->turns) && !may_begin(d);
}

static void fetch_more(void *arg)
{
    struct download *d = arg;

    loop_timer_free(take_ptr(d->timer));
    for (unsigned n = 0; n < BATCH && may_begin(d); n++)
        if (d->next_file < d->n_files)
            fetch_one(d, d->files[d->next_file++]);
        else
            look_at_some(d);
    if (may_begin(d))
        go_on(d);
    else if (!is_more(d) && d->turns.n == 0)
        finish(d);
    else if (rests(d))
        start_next(d->volume);
}

/* Answers that come at once must not nest. */
static void go_on(void *arg)
{
    struct download *d = arg;

    if (!d->timer)
        d->timer = loop_timer(d->volume->loop, 0, fetch_more, d);
}

static void listed(const struct error *e, void *arg)
{
    struct download *d = arg;

    if (e->code == -ECANCELED)
        return;
    d->listing = false;
    if (d->unwanted) {
        discard(d);
        return;
    }
    if (e->code)
        note_failure(d, d->root, e->code, error_text(e));
    push(d, d->root);
    go_on(d);
}

static void begin(struct download *d)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    d->begun = true;
    d->budget = space_kept_limit(d->volume->cache);
    if (index_get(d->volume->index, d->root, &i) == 0 && S_ISDIR(i.mode)) {
        d->listing = true;
        lister_ensure_tree(d->volume->lister, d->root, listed, d);
        return;
    }
    d->files[d->n_files++] = d->root;
    go_on(d);
}

/* Files that are paused are open, so those of all that rest are no more than one may have. */
static void start_next(struct volume *v)
{
    struct download *d;
    size_t n = 0;

    TAILQ_FOREACH(d, &v->downloads, next) {
        if (d->begun && !d->done && !d->unwanted && !rests(d))
            return;
        n += d->turns.n;
    }
    if (n >= FETCH_TURNS_MOST)
        return;
    d = TAILQ_FIRST(&v->downloads);
    while (d && d->begun)
        d = TAILQ_NEXT(d, next);
    if (d)
        begin(d);
}

/* --- the contract --------------------------------------------------------------------------------- */

/* -EAGAIN: there are too many; 1: there is one already. */
static int look_for_room(const struct volume *v, uint64_t ino, bool waiting)
{
    const struct download *d;
    size_t n = 0;

    TAILQ_FOREACH(d, &v->downloads, next) {
        if (!waiting && !d->done && d->root == ino && !d->begun)
            return 1;
        n += waiting == (d->done != NULL);
    }
    return n < (waiting ? WAITING_MOST : QUEUE_MOST) ? 0 : -EAGAIN;
}

static struct download *download_new(struct volume *v, uint64_t ino)
{
    struct download *d = xcalloc(1, sizeof(*d));

    d->volume = v;
    d->root = ino;
    d->turns = (struct fetch_turns){ .done = fetched, .moved = go_on, .arg = d };
    TAILQ_INSERT_TAIL(&v->downloads, d, next);
    return d;
}

void volume_download(struct volume *v, uint64_t ino, unsigned seconds, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };
    struct download *d;
    int r = look_for_room(v, ino, seconds > 0);

    if (!seconds && v->paused)
        error_set(&e, -ENETDOWN, "The drive is paused; nothing can be fetched until it is resumed.");
    else if (r < 0)
        error_set(&e, r, "Too much is waiting to be fetched already; try again.");
    if (e.code || (!seconds && r > 0)) {
        done(&e, arg);
        return;
    }
    d = download_new(v, ino);
    if (!seconds) {
        start_next(v);
        done(&e, arg);
        return;
    }
    d->done = done;
    d->arg = arg;
    d->deadline = loop_timer(v->loop, (uint64_t)seconds * 1000, on_deadline, d);
    begin(d);
}

/* One whose listing is under way is freed by the end of that. */
static void give_up(struct download *d)
{
    static const struct error unwanted = { -ECANCELED, "It is not to be here any more." };

    d->unwanted = true;
    answer(d, &unwanted);
    if (!d->listing)
        discard(d);
}

void downloads_give_up(struct volume *v, uint64_t ino)
{
    struct download *d, *next;

    for (d = TAILQ_FIRST(&v->downloads); d; d = next) {
        next = TAILQ_NEXT(d, next);
        if (!d->unwanted && index_is_in(v->index, d->root, ino))
            give_up(d);
    }
    start_next(v);
}

void downloads_end(struct volume *v)
{
    static const struct error closed = { -ECANCELED, "The drive is being closed." };

    while (!TAILQ_EMPTY(&v->downloads)) {
        answer(TAILQ_FIRST(&v->downloads), &closed);
        discard(TAILQ_FIRST(&v->downloads));
    }
}
