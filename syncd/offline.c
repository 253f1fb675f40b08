/* Owns what the API calls offline: an object, or a directory with all below it, that is here always, and the end of
 * that, when the local copies go too; and local copies that are to go. A pin is set or removed in one transaction;
 * copies are given up behind, some at a time.
 *
 * Must not know how what is pinned comes (pin.c), nor what may not go (evict.c). */
#include <errno.h>
#include <inttypes.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/disk_sync.h"
#include "syncd/evict.h"

enum { BATCH = 64 };

/* --- the answer -------------------------------------------------------------------------------------- */

struct asked {
    volume_offline_fn *done;
    void *arg;
};

static void answer(int error, void *arg)
{
    CLEANUP_FREE struct asked *a = arg;
    struct error e = { 0 };

    if (error)
        error_set(&e, error, "What was asked for could not be written to the disk.");
    a->done(&e, a->arg);
}

void volume_answer_durably(struct volume *v, volume_offline_fn *done, void *arg)
{
    struct asked *a = xcalloc(1, sizeof(*a));

    *a = (struct asked){ done, arg };
    disk_sync(v->loop, (const int[]){ index_sync_fd(v->index) }, 1, answer, a);
}

static void fail(int code, volume_offline_fn *done, void *arg)
{
    struct error e;

    error_set(&e, code, "%s", error_meaning(code)->text);
    done(&e, arg);
}

/* --- copies that go ------------------------------------------------------------------------------------ */

/* Of what is at and below an inode. */
struct release {
    LIST_ENTRY(release) next;
    struct volume *volume;
    uint64_t root, at;               /* the pair looked at last */
    struct loop_timer *timer;
    volume_offline_fn *done;         /* NULL: nobody waits */
    void *arg;
    uint64_t n_lacking, n_used;      /* that stay because the cloud lacks them, or because they are in use */
};

static void end(struct release *r, struct error *e)
{
    if (!e->code && r->n_lacking)
        error_set(e, -EBUSY, "%" PRIu64 " of it stay here because the cloud does not have them yet; once it does, ask "
                  "again.", r->n_lacking);
    else if (!e->code && r->n_used)
        error_set(e, -EBUSY, "%" PRIu64 " of it stay here because a program has them open; close them and ask again.",
                  r->n_used);
    LIST_REMOVE(r, next);
    loop_timer_free(r->timer);
    if (r->done)
        r->done(e, r->arg);
    free(r);
}

/* What somebody has pinned again meanwhile stays. */
static bool concerns(const struct release *r, uint64_t ino)
{
    struct index *x = r->volume->index;

    return index_is_in(x, ino, r->root) && !index_pinned_above(x, ino);
}

/* Whether it can go; if not, it is counted. */
static bool can_go(struct release *r, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache *c = r->volume->cache;

    if (index_get(r->volume->index, ino, &i) < 0 || evict_may(c, cache_find(c, ino), &i))
        return true;
    if (i.nlink && (i.pending & INDEX_CONTENT || !i.cloud_key || cache_busy(c, &i)))
        r->n_lacking++;
    else
        r->n_used++;
    return false;
}

static void release_some(void *arg)
{
    struct release *r = arg;
    uint64_t pairs[BATCH], chosen[BATCH];
    int n = index_cached_all(r->volume->index, r->at, pairs, BATCH);
    size_t n_chosen = 0;

    loop_timer_free(take_ptr(r->timer));
    (void)uploader_sync_now(r->volume->uploader);
    for (int i = 0; i < n; i++) {
        r->at = pairs[i];
        if (concerns(r, pairs[i]) && can_go(r, pairs[i]))
            chosen[n_chosen++] = pairs[i];
    }
    if (n_chosen)
        evict_files(r->volume->cache, chosen, n_chosen);
    if (n == BATCH)
        r->timer = loop_timer(r->volume->loop, 0, release_some, r);
    else
        end(r, &(struct error){ 0 });
}

static void release(struct volume *v, uint64_t root, volume_offline_fn *done, void *arg)
{
    struct release *r = xcalloc(1, sizeof(*r));

    *r = (struct release){ .volume = v, .root = root, .done = done, .arg = arg };
    r->timer = loop_timer(v->loop, 0, release_some, r);
    LIST_INSERT_HEAD(&v->releases, r, next);
}

void offline_end(struct volume *v)
{
    while (!LIST_EMPTY(&v->releases))
        end(LIST_FIRST(&v->releases), &(struct error){ -ECANCELED, "The drive is being closed." });
}

/* --- pins ---------------------------------------------------------------------------------------------- */

void volume_make_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, index_pin(v->index, ino, true));
    if (r < 0) {
        fail(r, done, arg);
        return;
    }
    keeper_forgive(v);
    keeper_kick(v);
    volume_answer_durably(v, done, arg);
}

/* The nearest directory above that is pinned, or 0. */
static uint64_t pinned_with(struct index *x, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    while (index_get(x, ino, &i) == 0 && i.parent) {
        ino = i.parent;
        index_inode_done(&i);
        if (index_pinned(x, ino))
            return ino;
    }
    return 0;
}

static void refuse(struct volume *v, uint64_t above, volume_offline_fn *done, void *arg)
{
    CLEANUP_FREE char *path = index_path(v->index, above);
    struct error e;

    error_set(&e, -EINVAL, "It is offline because all of %s is; only all of that can be removed from offline use.",
              path && *path ? path : "the drive");
    done(&e, arg);
}

static int unpin_all(struct index *x, uint64_t root)
{
    uint64_t ino = 0;
    int r = 0;

    while (r == 0 && index_pins(x, ino, &ino, 1) == 1)
        if (index_is_in(x, ino, root))
            r = index_pin(x, ino, false);
    return r;
}

void volume_remove_offline(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    uint64_t above = pinned_with(v->index, ino);
    int r;

    if (above) {
        refuse(v, above, done, arg);
        return;
    }
    r = index_begin(v->index);
    if (r == 0)
        r = index_end(v->index, unpin_all(v->index, ino));
    if (r < 0) {
        fail(r, done, arg);
        return;
    }
    keeper_unpinned(v);
    downloads_give_up(v, ino);
    release(v, ino, NULL, NULL);
    volume_answer_durably(v, done, arg);
}

/* --- copies alone ---------------------------------------------------------------------------------------- */

/* Whether something at or below the inode is pinned. */
static bool pinned_below(struct index *x, uint64_t root)
{
    uint64_t ino = 0;

    while (index_pins(x, ino, &ino, 1) == 1)
        if (index_is_in(x, ino, root))
            return true;
    return false;
}

void volume_evict(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    struct error e = { 0 };

    if (index_pinned_above(v->index, ino) || pinned_below(v->index, ino)) {
        error_set(&e, -EINVAL, "It, or some of it, is to be here always; end that with object_remove_offline.");
        done(&e, arg);
        return;
    }
    downloads_give_up(v, ino);
    release(v, ino, done, arg);
}
