/* Metadata that listings lack: one HEAD per inode, for whoever waits for it, or behind the others for
 * what readdir showed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"
#include "syncd/object.h"

enum { SETTLE_MS = 2000, LATER_MAX = 65536, FEW = 128, QUIET_MS = 500, PUT_OFF_MS = 10000 };

struct settle_waiter {
    SLIST_ENTRY(settle_waiter) next;
    lister_done_fn *done;
    void *arg;
};

struct settle {
    LIST_ENTRY(settle) next;
    struct lister *lister;
    uint64_t ino;
    char *key;                           /* relative to the drive */
    bool later;                          /* nobody waits: a difference must be pushed */
    struct errand *request;
    struct cloud_request *answer;        /* what it brought, while that is looked into */
    struct object_look *look;
    SLIST_HEAD(, settle_waiter) waiters;
};

static void settle_next_later(struct lister *l);

/* --- into the index ------------------------------------------------------------------------------------ */

/* What a stat(2) would show. */
static bool looks_the_same(const struct index_inode *a, const struct index_inode *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
           a->mtime_ns == b->mtime_ns;
}

/* Without a marker a directory has no metadata but what we gave it. */
static int settle_unmarked(struct volume *v, struct index_inode *i)
{
    free(take_ptr(i->cloud_key));
    free(take_ptr(i->etag));
    i->settled = true;
    return index_update(v->index, i);
}

static int settle_directory(struct volume *v, struct index_inode *i, const char *key, const struct cloud_object *o)
{
    struct index_inode with = *i;
    int r;

    with.cloud_key = (char *)(uintptr_t)key;
    with.etag = o->etag;
    with.cloud_size = o->size;
    r = entry_settle(v, &with, o);
    return r == 0 ? index_mark_moved(v->index, i->ino) : r;
}

/* Metadata is known, and of an object that may be encrypted its size as well: a drive may have got keys since. */
static bool is_settled(struct volume *v, const struct index_inode *i)
{
    return i->settled && object_known(v, i);
}

/* Of a version that is in use and not the cloud's any more nobody else knows the metadata. */
static int settle_file(struct volume *v, struct news *news, struct index_inode *i, const char *key,
                       const struct cloud_object *o)
{
    uint64_t ino;
    int r;

    if (entry_same(i, key, o) && entry_same_type(i, o))
        return is_settled(v, i) ? 0 : entry_settle(v, i, o);
    r = entry_take_over(v, news, i, key, o, &ino);
    if (r == -EBUSY)
        r = i->settled ? 0 : entry_complete(v, i, o);
    return r;
}

/* What is only on its way to another key has its metadata there with it. */
static bool is_changed(const struct index_inode *i)
{
    return i->pending & ~(unsigned)INDEX_MOVE;
}

/* What is changed here counts: bytes and times, since nothing else is changed of what is not settled. */
static int settle_changed(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    if (!i->settled)
        return entry_complete(v, i, o);
    return o && !object_known(v, i) ? entry_size(v, i, o) : 0;
}

static int settle_inode(struct settle *s, const struct cloud_request *r, struct news *news)
{
    struct volume *v = s->lister->v;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int code = index_get(v->index, s->ino, &i);
    bool unmarked;

    if (code < 0 || i.nlink == 0 || (i.cloud_key && strcmp(i.cloud_key, s->key) != 0))
        return code;
    unmarked = r->error.code || (S_ISDIR(i.mode) && entry_marker_leaves(v, i.ino, s->key));
    if (is_changed(&i))
        return settle_changed(v, &i, unmarked ? NULL : &r->object);
    if (unmarked)
        return settle_unmarked(v, &i);
    return S_ISDIR(i.mode) ? settle_directory(v, &i, s->key, &r->object) : settle_file(v, news, &i, s->key, &r->object);
}

/* An answer, good or bad, into the index. `was` and what is there now are compared for those who only saw a listing. */
static int take_answer(struct settle *s, struct cloud_request *r)
{
    struct volume *v = s->lister->v;
    CLEANUP(index_inode_done) struct index_inode was = { 0 }, is = { 0 };
    struct news news = { 0 };
    int code = index_get(v->index, s->ino, &was);

    if (r->error.code && !(r->error.code == -ENOENT && S_ISDIR(was.mode)))
        code = r->error.code;
    if (code == 0)
        code = index_begin(v->index);
    if (code == 0) {
        r->object.has_meta = true;
        code = index_end(v->index, settle_inode(s, r, &news));
        news_end(v, &news, code == 0);
    }
    if (s->later && (code < 0 || index_get(v->index, s->ino, &is) < 0 || !looks_the_same(&was, &is)))
        volume_invalidate(v, s->ino, NULL, 0, CHANGED_ATTRIBUTES);
    return code;
}

static int settle_learned(struct volume *v, struct index_inode *i, const struct cloud_object *o)
{
    int r = index_begin(v->index);

    return r < 0 ? r : index_end(v->index, entry_settle(v, i, o));
}

void lister_learned(struct lister *l, uint64_t ino, const char *key, const struct cloud_object *o)
{
    CLEANUP(index_inode_done) struct index_inode was = { 0 }, is = { 0 };
    struct index *x = l->v->index;

    if (!o->has_meta || index_get(x, ino, &was) < 0 || is_settled(l->v, &was) || was.nlink == 0 || !S_ISREG(was.mode) ||
        is_changed(&was) || !entry_same(&was, key, o) || !entry_same_type(&was, o) || index_get(x, ino, &is) < 0)
        return;
    if (settle_learned(l->v, &is, o) == 0 && !looks_the_same(&was, &is))
        volume_invalidate(l->v, ino, NULL, 0, CHANGED_ATTRIBUTES);
}

/* --- requests -------------------------------------------------------------------------------------------- */

static void end(struct settle *s, const struct error *e)
{
    struct lister *l = s->lister;
    struct settle_waiter *w;

    LIST_REMOVE(s, next);
    l->n_settling_later -= s->later;
    errand_abandon(l->v, s->request);
    object_look_end(s->look);
    cloud_request_free(s->answer);
    while ((w = SLIST_FIRST(&s->waiters))) {
        SLIST_REMOVE_HEAD(&s->waiters, next);
        w->done(e, w->arg);
        free(w);
    }
    free(s->key);
    free(s);
}

static void take_and_end(struct settle *s)
{
    struct cloud_request *r = s->answer;
    struct lister *l = s->lister;
    struct error e = { .code = take_answer(s, r) };

    if (e.code == r->error.code)
        e = r->error;
    if (e.code && e.code != -ENOENT)
        lister_failed(l);
    else
        lister_answered(l);
    end(s, &e);
    settle_next_later(l);
}

static void looked(const struct error *e, void *arg)
{
    struct settle *s = arg;

    s->answer->error = *e;
    take_and_end(s);
}

/* What only its first bytes tell. */
static bool is_to_be_looked_into(const struct settle *s, struct cloud_request *r)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    r->object.has_meta = true;
    return r->error.code == 0 && index_get(s->lister->v->index, s->ino, &i) == 0 && S_ISREG(i.mode) &&
           object_lacks(s->lister->v, &r->object) && !(entry_same(&i, s->key, &r->object) && i.settled);
}

static void on_stat(struct cloud_request *r, void *owner, size_t n)
{
    struct settle *s = owner;

    (void)n;
    s->request = NULL;
    s->answer = r;
    if (is_to_be_looked_into(s, r))
        s->look = object_look(s->lister->v, s->key, &r->object, looked, s);
    else
        take_and_end(s);
}

/* `key` is taken over. */
static struct settle *settle_new(struct lister *l, uint64_t ino, char *key, bool later)
{
    struct cloud_request *r = cloud_request_new(CLOUD_STAT, NULL, NULL);
    CLEANUP_FREE char *full = volume_full_key(l->v, key);
    struct settle *s = xcalloc(1, sizeof(*s));

    s->lister = l;
    s->ino = ino;
    s->key = key;
    s->later = later;
    l->n_settling_later += later;
    SLIST_INIT(&s->waiters);
    LIST_INSERT_HEAD(&l->settles, s, next);
    cloud_request_set(&r->bucket, l->v->bucket);
    cloud_request_set(&r->key, full);
    r->deadline_ms = SETTLE_MS;
    r->yields = later;
    s->request = errand_submit(l->v, r, on_stat, s, 0);
    return s;
}

static struct settle *find_settle(struct lister *l, uint64_t ino)
{
    struct settle *s;

    LIST_FOREACH(s, &l->settles, next)
        if (s->ino == ino)
            return s;
    return NULL;
}

char *settle_key(struct volume *v, const struct index_inode *i)
{
    if (i->ino == INDEX_ROOT || i->nlink == 0 || (is_changed(i) && is_settled(v, i)))
        return NULL;
    if (i->cloud_key)
        return xstrdup(i->cloud_key);
    if (!S_ISDIR(i->mode))
        return NULL;
    return i->listed_ns ? index_key(v->index, i->ino) : index_cloud_prefix(v->index, i->ino);
}

static void wait_for(struct settle *s, lister_done_fn *done, void *arg)
{
    struct settle_waiter *w = xcalloc(1, sizeof(*w));

    w->done = done;
    w->arg = arg;
    SLIST_INSERT_HEAD(&s->waiters, w, next);
}

/* Who asks: he shows what is known as well, changes it, or has seen to it that he does not wait in vain, or has just
 * been answered otherwise. */
enum asker { VIEWER, CHANGER, ANYWAY };

static bool in_vain(struct lister *l, enum asker who)
{
    return who == VIEWER ? lister_failing(l) : who == CHANGER && lister_failed_lately(l);
}

static int check(struct lister *l, uint64_t ino, enum asker who, struct index_inode *ret, struct error *e)
{
    int r = l->closing ? -ECANCELED : index_get(l->v->index, ino, ret);

    if (r < 0)
        return error_set(e, r, "%s", error_meaning(r)->text);
    if (l->v->paused)
        return error_set(e, -EHOSTUNREACH, "The drive is paused.");
    if (in_vain(l, who))
        return error_set(e, -EHOSTUNREACH, "The cloud did not answer a moment ago.");
    return 0;
}

static void ask(struct lister *l, uint64_t ino, enum asker who, lister_done_fn *done, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct error e = { 0 };
    struct settle *s = find_settle(l, ino);
    char *key = NULL;

    if (!s && check(l, ino, who, &i, &e) == 0 && (who == ANYWAY || !is_settled(l->v, &i)))
        key = settle_key(l->v, &i);
    if (key)
        s = settle_new(l, ino, key, false);
    if (s)
        wait_for(s, done, arg);
    else
        done(&e, arg);
}

void lister_settle(struct lister *l, uint64_t ino, lister_done_fn *done, void *arg)
{
    ask(l, ino, VIEWER, done, arg);
}

void lister_settle_to_change(struct lister *l, uint64_t ino, lister_done_fn *done, void *arg)
{
    ask(l, ino, CHANGER, done, arg);
}

void lister_refresh(struct lister *l, uint64_t ino, lister_done_fn *done, void *arg)
{
    ask(l, ino, ANYWAY, done, arg);
}

/* --- behind the others -------------------------------------------------------------------------------------- */

static void settle_one_later(struct lister *l, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    char *key = NULL;

    if (index_get(l->v->index, ino, &i) == 0 && !is_settled(l->v, &i) && !find_settle(l, ino))
        key = settle_key(l->v, &i);
    if (key)
        (void)settle_new(l, ino, key, true);
}

static void quiet(void *arg)
{
    struct lister *l = arg;

    loop_timer_free(take_ptr(l->settle_timer));
    settle_next_later(l);
}

/* Whoever walks a tree waits for listings, whoever reads file after file for those; a request for each of many names
 * would be in the way. When that goes on for long, a few are asked now and then. */
static bool in_the_way(struct lister *l)
{
    int64_t now = loop_now_ns(), left = l->settle_after_ns - now;

    if (l->n_running == 0 && left > 0 && !l->settle_timer)
        l->settle_timer = loop_timer(l->v->loop, (uint64_t)left / 1000000 + 1, quiet, l);
    if (l->n_running == 0 && left <= 0) {
        l->settle_put_off_ns = 0;
        return false;
    }
    if (!l->settle_put_off_ns || l->settle_few == 0) {
        l->settle_put_off_ns = now;
        l->settle_few = FEW;
    }
    if (now - l->settle_put_off_ns < PUT_OFF_MS * INT64_C(1000000))
        return true;
    l->settle_few--;
    return false;
}

/* What is read tells its metadata itself, so then even a few wait. */
static bool may_ask(struct lister *l)
{
    return (l->n_later <= FEW && l->content_until_ns <= loop_now_ns()) || !in_the_way(l);
}

static void settle_next_later(struct lister *l)
{
    while (!l->closing && !l->v->paused && l->n_later > 0 && l->n_settling_later < LATER_AT_ONCE && may_ask(l)) {
        uint64_t ino = l->later[l->later_first];

        l->later_first = (l->later_first + 1) % LATER_MAX;
        l->n_later--;
        settle_one_later(l, ino);
    }
}

void lister_settle_later(struct lister *l, uint64_t ino)
{
    if (l->closing || l->v->paused || l->n_later == LATER_MAX)
        return;
    if (!l->later)
        l->later = xcalloc(LATER_MAX, sizeof(*l->later));
    l->later[(l->later_first + l->n_later++) % LATER_MAX] = ino;
    settle_next_later(l);
}

static int64_t when_quiet(void)
{
    return loop_now_ns() + QUIET_MS * INT64_C(1000000);
}

void lister_yield(struct lister *l)
{
    l->settle_after_ns = l->content_until_ns = when_quiet();
}

void settle_later_soon(struct lister *l)
{
    l->settle_after_ns = when_quiet();
    settle_next_later(l);
}

void settle_cancel_all(struct lister *l)
{
    struct error e = { 0 };
    struct settle *s;

    error_set(&e, -ECANCELED, "The drive was closed.");
    while ((s = LIST_FIRST(&l->settles)))
        end(s, &e);
}
