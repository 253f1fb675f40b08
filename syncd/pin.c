/* Owns what is pinned: that it comes into the cache, whole, and what comes below a pinned directory later does too.
 * It looks at all pins after every change of them and once in a sync interval: lists the directories, then fetches
 * what is not whole. That nothing of it goes is evict.c's.
 *
 * Must not know where pins are set (fs_xattr.c, offline.c). */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/fetch_turns.h"

enum { BATCH = 64, INTERVAL_LEAST_S = 10, INTERVAL_S = 300 };

struct keeper {
    struct volume *volume;
    struct loop_timer *timer;      /* until it looks, or goes on: answers that come at once must not nest */
    bool again;                    /* kicked while it looked */
    bool looking;
    bool fetching;                 /* what it found lacking; later than the directories */
    uint64_t at;                   /* the inode looked at last */
    uint64_t lacking[BATCH];       /* files behind it, as they were when the index was asked */
    int n_lacking, next_lacking;
    uint64_t budget;               /* bytes that may still be fetched */
    size_t n_beyond;               /* files beyond it */
    uint64_t *canceled;            /* downloads that somebody has ended: not now */
    size_t n_canceled;
    struct fetch_turns turns;
};

static void look(void *arg);

/* --- when ----------------------------------------------------------------------------------------- */

static void look_in(struct keeper *k, uint64_t ms)
{
    loop_timer_free(k->timer);
    k->timer = loop_timer(k->volume->loop, ms, look, k);
}

void keeper_kick(struct volume *v)
{
    if (!v->keeper)
        return;
    v->keeper->again = v->keeper->looking;
    if (!v->keeper->looking)
        look_in(v->keeper, 0);
}

void keeper_forgive(struct volume *v)
{
    if (!v->keeper)
        return;
    free(take_ptr(v->keeper->canceled));
    v->keeper->n_canceled = 0;
}

static bool is_canceled(const struct keeper *k, uint64_t ino)
{
    for (size_t n = 0; n < k->n_canceled; n++)
        if (k->canceled[n] == ino)
            return true;
    return false;
}

static void looked(struct keeper *k)
{
    const Lf__CloudDrive *d = k->volume->drive;
    int32_t s = d->has_sync_interval_seconds ? d->sync_interval_seconds : INTERVAL_S;

    if (k->n_beyond)
        LOG(LOG_WARNING, "pinned_files_do_not_fit", "drive=%s", k->volume->drive->id, "files=%zu", k->n_beyond);
    k->n_beyond = 0;
    k->looking = k->fetching = false;
    look_in(k, k->again ? 0 : (uint64_t)(s > INTERVAL_LEAST_S ? s : INTERVAL_LEAST_S) * 1000);
    k->again = false;
}

static void go_on(struct keeper *k, void (*step)(void *arg))
{
    if (!k->timer)
        k->timer = loop_timer(k->volume->loop, 0, step, k);
}

/* --- contents ------------------------------------------------------------------------------------- */

static void fetch_more(void *arg);

static void fetched(struct cache_file *f, const struct error *e, void *arg)
{
    struct keeper *k = arg;

    if (e->code)
        LOG(LOG_WARNING, "pinned_file_not_fetched", "drive=%s", k->volume->drive->id, "ino=%" PRIu64, f->ino,
            "error=%s", error_text(e));
    if (e->code == -ECANCELED && !is_canceled(k, f->ino))
        *xadd(k->canceled, k->n_canceled) = f->ino;
    f->keeping = e->code == 0;
}

static void moved(void *arg)
{
    struct keeper *k = arg;

    if (k->fetching)
        go_on(k, fetch_more);
}

static bool keep_no_longer(struct cache_file *f)
{
    if (index_pinned_above(f->volume->index, f->ino))
        return false;
    f->keeping = false;
    return true;
}

void keeper_unpinned(struct volume *v)
{
    if (v->keeper)
        fetch_turns_drop(&v->keeper->turns, keep_no_longer);
    space_changed(v->cache);
}

/* What is pinned beyond the limit is fetched when it is read, as all else. */
static void fetch_one(struct keeper *k, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    int r = index_get(k->volume->index, ino, &i);

    if (r < 0 || i.pending & INDEX_CONTENT || !index_pinned_above(k->volume->index, ino) || is_canceled(k, ino))
        return;
    if (i.size > k->budget) {
        k->n_beyond++;
        return;
    }
    if (cache_acquire(k->volume->cache, &i, &f) < 0)
        return;
    k->budget -= i.size;
    if (fetch_turns_have(&k->turns, f)) {   /* paused, when it was looked for before */
        cache_release(f);
        return;
    }
    f->keeping = true;
    fetch_turns_add(&k->turns, f, fetch_whole);
}

/* The index looks at all that is pinned to find some of it. */
static bool next_lacking(struct keeper *k, uint64_t *ret)
{
    if (k->next_lacking == k->n_lacking) {
        k->n_lacking = index_pinned_lacking(k->volume->index, k->at, k->lacking, BATCH);
        k->next_lacking = 0;
    }
    if (k->n_lacking <= 0) {
        k->n_lacking = 0;
        return false;
    }
    *ret = k->at = k->lacking[k->next_lacking++];
    return true;
}

static void fetch_more(void *arg)
{
    struct keeper *k = arg;
    uint64_t ino;
    bool more = true;

    loop_timer_free(take_ptr(k->timer));
    for (unsigned n = 0; n < BATCH && more && fetch_turns_room(&k->turns); n++) {
        more = !k->volume->paused && next_lacking(k, &ino);
        if (more)
            fetch_one(k, ino);
    }
    if (more && fetch_turns_room(&k->turns))
        go_on(k, fetch_more);
    else if (!more && fetch_turns_rest(&k->turns))
        looked(k);
}

/* --- names ---------------------------------------------------------------------------------------- */

static void start_fetching(struct keeper *k)
{
    uint64_t limit = space_kept_limit(k->volume->cache), kept = index_pinned_bytes(k->volume->index);

    (void)use_flush(k->volume->cache);
    k->at = 0;
    k->n_lacking = k->next_lacking = 0;
    k->budget = excess(limit, kept);
    k->fetching = true;
    fetch_more(k);
}

static void list_more(void *arg);

static void listed(const struct error *e, void *arg)
{
    if (e->code != -ECANCELED)
        go_on(arg, list_more);
}

static void list_more(void *arg)
{
    struct keeper *k = arg;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t ino;

    loop_timer_free(take_ptr(k->timer));
    while (index_pins(k->volume->index, k->at, &ino, 1) == 1) {
        k->at = ino;
        index_inode_done(&i);
        if (index_get(k->volume->index, ino, &i) == 0 && S_ISDIR(i.mode)) {
            lister_ensure_tree(k->volume->lister, ino, listed, k);
            return;
        }
    }
    start_fetching(k);
}

static void look(void *arg)
{
    struct keeper *k = arg;

    loop_timer_free(take_ptr(k->timer));
    if (k->volume->paused || !index_pinned_any(k->volume->index)) {
        looked(k);
        return;
    }
    k->looking = true;
    k->at = 0;
    list_more(k);
}

/* --- the contract --------------------------------------------------------------------------------- */

void keeper_new(struct volume *v)
{
    v->keeper = xcalloc(1, sizeof(*v->keeper));
    v->keeper->volume = v;
    v->keeper->turns = (struct fetch_turns){ .done = fetched, .moved = moved, .arg = v->keeper };
    look_in(v->keeper, 0);
}

void keeper_free(struct volume *v)
{
    struct keeper *k = v->keeper;

    if (!k)
        return;
    fetch_turns_end(&k->turns, false);
    loop_timer_free(k->timer);
    keeper_forgive(v);
    free(take_ptr(v->keeper));
}
