/* Who waits for which directory's listing, and which are refreshed by themselves: those visited
 * lately, before they grow older than the drive's sync interval. While the cloud is out of reach nobody waits for one
 * that he has an older one of, and none is begun; when it is back, those that are due are.
 *
 * Must not know what a listing does (listing_run.c, listing_merge.c). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/anchors.h"
#include "syncd/listing.h"
#include "syncd/tally.h"

enum { STALE_WAIT_MS = 2000, INTERVAL_DEFAULT_S = 60, REST = 10, LOOK_AGAIN_MS = 30000 };
#define MS_NS INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)
static const int64_t VISIT_KEPT_NS = 300 * SECOND_NS, FAILURE_KEPT_NS = 10 * SECOND_NS;

/* One who waits for a listing. */
struct waiter {
    TAILQ_ENTRY(waiter) next;
    struct listing *listing;
    lister_done_fn *done;
    void *arg;
    struct loop_timer *patience;     /* only where an older listing can serve */
    bool anew;                       /* none can, for him */
};

struct listing {
    TAILQ_ENTRY(listing) next;
    struct lister *lister;
    uint64_t dir;
    bool known;                      /* an older listing can serve */
    int64_t since_ns;                /* monotonic; when it was first wanted */
    struct listing_run *run;         /* NULL: not begun */
    TAILQ_HEAD(, waiter) waiters;
};

/* --- how old is it ------------------------------------------------------------------------------------ */

static int64_t interval_ns(const struct lister *l)
{
    int32_t seconds = l->v->drive->has_sync_interval_seconds ? l->v->drive->sync_interval_seconds : 0;

    return (seconds > 0 ? seconds : INTERVAL_DEFAULT_S) * SECOND_NS;
}

/* A listing from the future, after the clock was set back, is as good as none. */
static bool younger(const struct index_inode *dir, int64_t age_ns)
{
    int64_t age = loop_wall_ns() - dir->listed_ns;

    return dir->listed_ns && age >= 0 && age < age_ns;
}

static struct visit *find_visit(struct lister *l, uint64_t ino)
{
    for (size_t n = 0; n < l->n_visits; n++)
        if (l->visits[n].ino == ino)
            return &l->visits[n];
    return NULL;
}

static struct visit *visit(struct lister *l, uint64_t ino)
{
    struct visit *v = find_visit(l, ino), *oldest = l->visits;

    if (!v && l->n_visits < VISITS) {
        v = &l->visits[l->n_visits++];
        *v = (struct visit){ .ino = ino };
    }
    for (size_t n = 1; !v && n < l->n_visits; n++)
        if (l->visits[n].last_ns < oldest->last_ns)
            oldest = &l->visits[n];
    if (!v) {
        v = oldest;
        *v = (struct visit){ .ino = ino };
    }
    v->last_ns = loop_now_ns();
    return v;
}

static bool failed_lately(const struct visit *v)
{
    return v->failed_ns && loop_now_ns() - v->failed_ns < FAILURE_KEPT_NS;
}

bool lister_known(struct lister *l, uint64_t dir)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(l->v->index, dir, &i) == 0 && S_ISDIR(i.mode) && i.listed_ns;
}

bool lister_fresh(struct lister *l, uint64_t dir)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (index_get(l->v->index, dir, &i) < 0 || !S_ISDIR(i.mode) || !younger(&i, interval_ns(l)))
        return false;
    visit(l, dir);
    return true;
}

/* --- waiting ------------------------------------------------------------------------------------------ */

static void answer(struct waiter *w, const struct error *e)
{
    loop_timer_free(w->patience);
    w->done(e, w->arg);
    free(w);
}

static struct reach *reach_of(const struct lister *l)
{
    return &l->v->tally->reach;
}

/* A listing of many pages takes its time; that the cloud does not answer is another matter. */
static int64_t left_ms(const struct listing *g)
{
    int64_t own = STALE_WAIT_MS - (loop_now_ns() - g->since_ns) / MS_NS;
    int64_t of_all = reach_patience_ms(reach_of(g->lister));

    return own < of_all ? own : of_all;
}

static void leave(struct waiter *w)
{
    TAILQ_REMOVE(&w->listing->waiters, w, next);
    answer(w, &(struct error){ 0 });
}

static void wait_on(void *arg)
{
    struct waiter *w = arg;
    int64_t ms = left_ms(w->listing);

    loop_timer_free(take_ptr(w->patience));
    if (ms > 0)
        w->patience = loop_timer(w->listing->lister->v->loop, (uint64_t)ms, wait_on, w);
    else
        leave(w);
}

void lister_failed(struct lister *l)
{
    l->failed_ns = loop_now_ns();
}

void lister_answered(struct lister *l)
{
    l->failed_ns = 0;
}

/* One who has waited in vain is enough for a while. */
bool lister_failed_lately(struct lister *l)
{
    return reach_lost(reach_of(l)) || (l->failed_ns && loop_now_ns() - l->failed_ns < FAILURE_KEPT_NS);
}

bool lister_failing(struct lister *l)
{
    return reach_patience_ms(reach_of(l)) <= 0 || lister_failed_lately(l);
}

static struct waiter *add_waiter(struct listing *g, lister_done_fn *done, void *arg)
{
    struct waiter *w = xcalloc(1, sizeof(*w));

    *w = (struct waiter){ .listing = g, .done = done, .arg = arg };
    TAILQ_INSERT_TAIL(&g->waiters, w, next);
    return w;
}

static void wait_for(struct listing *g, lister_done_fn *done, void *arg)
{
    struct waiter *w;

    if (g->known && (left_ms(g) <= 0 || lister_failing(g->lister))) {
        done(&(struct error){ 0 }, arg);
        return;
    }
    w = add_waiter(g, done, arg);
    if (g->known)
        wait_on(w);
}

/* Takes the listing out and answers all who wait. They may ask for listings again. */
static void end(struct listing *g, const struct error *e)
{
    struct lister *l = g->lister;
    struct error fine = { 0 };
    struct waiter *w;

    TAILQ_REMOVE(&l->listings, g, next);
    l->n_running -= g->run != NULL;
    settle_later_soon(l);
    listing_run_free(g->run);
    while ((w = TAILQ_FIRST(&g->waiters))) {
        TAILQ_REMOVE(&g->waiters, w, next);
        answer(w, g->known && !w->anew && !l->closing ? &fine : e);
    }
    free(g);
}

/* --- listings ------------------------------------------------------------------------------------------ */

static void start_some(struct lister *l);

/* A directory that was removed meanwhile needs no listing. */
static bool is_there(struct lister *l, uint64_t dir)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(l->v->index, dir, &i) == 0 && i.nlink > 0;
}

static void on_listed(const struct error *e, void *arg)
{
    struct listing *g = arg;
    struct lister *l = g->lister;
    struct visit *v = find_visit(l, g->dir);

    if (e->code && is_there(l, g->dir))
        LOG(LOG_WARNING, "listing_failed", "drive=%s", l->v->drive->id, "ino=%" PRIu64, g->dir,
            "error=%s", error_text(e));
    if (!e->code) {
        lister_answered(l);
        uploader_answered(l->v->uploader);
        anchors_look(l->v);
    } else if (e->code == -EHOSTUNREACH || e->code == -ETIMEDOUT) {
        lister_failed(l);
    }
    if (v) {
        v->failed_ns = e->code && !reach_lost(reach_of(l)) ? loop_now_ns() : 0;
        if (!e->code)
            v->took_ns = loop_now_ns() - g->since_ns;
    }
    end(g, e);
    start_some(l);
}

static struct listing *next_wanted(struct lister *l)
{
    struct listing *g;

    TAILQ_FOREACH(g, &l->listings, next)
        if (!g->run)
            return g;
    return NULL;
}

static void start_some(struct lister *l)
{
    struct listing *g;

    while (!l->closing && l->n_running < LISTINGS_AT_ONCE && (g = next_wanted(l))) {
        g->run = listing_run_new(l->v, g->dir, on_listed, g);
        if (g->run)
            l->n_running++;
        else
            end(g, &(struct error){ .code = -ENOENT });
    }
}

static struct listing *find_listing(struct lister *l, uint64_t dir)
{
    struct listing *g;

    TAILQ_FOREACH(g, &l->listings, next)
        if (g->dir == dir)
            return g;
    return NULL;
}

static struct listing *want(struct lister *l, const struct index_inode *dir)
{
    struct listing *g = find_listing(l, dir->ino);

    if (g)
        return g;
    g = xcalloc(1, sizeof(*g));
    g->lister = l;
    g->dir = dir->ino;
    g->known = dir->listed_ns != 0;
    g->since_ns = loop_now_ns();
    TAILQ_INIT(&g->waiters);
    TAILQ_INSERT_TAIL(&l->listings, g, next);
    return g;
}

/* Once a pause. */
static void tell_paused(struct volume *v, uint64_t dir)
{
    if (!v->told_paused)
        LOG(LOG_NOTICE, "paused_and_unlisted", "drive=%s", v->drive->id, "dir=%" PRIu64, dir, "reason=%s",
            "directories that were never listed cannot be shown until the agent is resumed");
    v->told_paused = true;
}

static int check(struct lister *l, uint64_t dir, struct index_inode *ret, struct error *e)
{
    int r = l->closing ? -ECANCELED : index_get(l->v->index, dir, ret);

    if (r == 0 && !S_ISDIR(ret->mode))
        r = -ENOTDIR;
    if (r == 0 && !ret->listed_ns && l->v->paused) {
        tell_paused(l->v, dir);
        return error_set(e, -ENETDOWN, "The drive is paused and this directory was never listed.");
    }
    return r < 0 ? error_set(e, r, "%s", error_meaning(r)->text) : 0;
}

void lister_ensure(struct lister *l, uint64_t dir, lister_done_fn *done, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct error e = { 0 };
    struct visit *v;

    if (check(l, dir, &i, &e) < 0) {
        done(&e, arg);
        return;
    }
    v = visit(l, dir);
    if (younger(&i, interval_ns(l)) || (i.listed_ns && (l->v->paused || failed_lately(v)))) {
        done(&e, arg);
        return;
    }
    if (i.listed_ns && reach_lost(reach_of(l))) {
        lister_probe(l);
        done(&e, arg);
        return;
    }
    wait_for(want(l, &i), done, arg);
    start_some(l);
}

void lister_anew(struct lister *l, uint64_t dir, lister_done_fn *done, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct error e = { 0 };

    if (check(l, dir, &i, &e) == 0 && l->v->paused)
        error_set(&e, -ENETDOWN, "The drive is paused.");
    if (e.code) {
        done(&e, arg);
        return;
    }
    add_waiter(want(l, &i), done, arg)->anew = true;
    start_some(l);
}

void lister_recheck(struct lister *l, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 }, dir = { 0 };

    if (l->closing || l->v->paused || index_get(l->v->index, ino, &i) < 0 || i.nlink == 0 ||
        index_get(l->v->index, i.parent, &dir) < 0)
        return;
    (void)want(l, &dir);
    start_some(l);
}

/* --- refreshing ------------------------------------------------------------------------------------------ */

/* A little before it grows stale; a directory whose listing takes long rests longer in between. */
static void refresh(struct lister *l, struct visit *v)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int64_t age = interval_ns(l) / 4 * 3;

    if (age < v->took_ns * REST)
        age = v->took_ns * REST;
    if (index_get(l->v->index, v->ino, &i) < 0 || i.nlink == 0)
        v->last_ns = 0;
    else if (!younger(&i, age) && reach_lost(reach_of(l)))
        lister_probe(l);
    else if (!younger(&i, age) && !failed_lately(v))
        want(l, &i);
}

static void plan_refresh(struct lister *l);

static void refresh_visited(void *arg)
{
    struct lister *l = arg;
    int64_t now = loop_now_ns();

    plan_refresh(l);
    if (l->v->paused)
        return;
    for (size_t n = 0; n < l->n_visits; n++)
        if (l->visits[n].last_ns && now - l->visits[n].last_ns < VISIT_KEPT_NS)
            refresh(l, &l->visits[n]);
    start_some(l);
}

static void plan_refresh(struct lister *l)
{
    loop_timer_free(l->timer);
    l->timer = loop_timer(l->v->loop, (uint64_t)(interval_ns(l) / MS_NS / 4), refresh_visited, l);
}

/* --- a cloud that is out of reach, or back ---------------------------------------------------------------- */

static struct waiter *first_who_need_not_wait(struct lister *l)
{
    struct listing *g;

    TAILQ_FOREACH(g, &l->listings, next)
        if (g->known && !TAILQ_EMPTY(&g->waiters))
            return TAILQ_FIRST(&g->waiters);
    return NULL;
}

static void on_reach(void *arg);

static void look_at_reach(struct lister *l, uint64_t ms)
{
    loop_timer_free(l->reach_timer);
    l->reach_timer = loop_timer(l->v->loop, ms, on_reach, l);
}

/* Out of reach it is asked now and then even if nobody comes by: whoever does then is not shown what is long past. */
static void on_reach(void *arg)
{
    struct lister *l = arg;
    struct waiter *w;

    loop_timer_free(take_ptr(l->reach_timer));
    if (!reach_lost(reach_of(l))) {
        refresh_visited(l);
        uploader_answered(l->v->uploader);
        return;
    }
    look_at_reach(l, l->look_again_ms);
    if (!l->v->paused)
        lister_probe(l);
    while ((w = first_who_need_not_wait(l)))
        leave(w);
}

/* Whoever finds it out may be in the midst of anything. */
static void reach_changed(void *arg)
{
    struct lister *l = arg;

    l->probed_ns = loop_now_ns();   /* as good as a question that has just been asked */
    look_at_reach(l, 0);
}

/* --- life --------------------------------------------------------------------------------------------------- */

int lister_new(struct volume *v, struct lister **ret)
{
    struct lister *l = xcalloc(1, sizeof(*l));

    l->v = v;
    l->look_again_ms = LOOK_AGAIN_MS;
    TAILQ_INIT(&l->listings);
    LIST_INIT(&l->settles);
    plan_refresh(l);
    reach_of(l)->changed = reach_changed;
    reach_of(l)->arg = l;
    *ret = l;
    return 0;
}

void lister_free(struct lister *l)
{
    struct error e = { 0 };
    struct listing *g;

    if (!l)
        return;
    l->closing = true;
    error_set(&e, -ECANCELED, "The drive was closed.");
    reach_of(l)->changed = NULL;
    loop_timer_free(l->timer);
    loop_timer_free(l->reach_timer);
    errand_abandon(l->v, l->probe);
    loop_timer_free(take_ptr(l->settle_timer));
    while ((g = TAILQ_FIRST(&l->listings)))
        end(g, &e);
    settle_cancel_all(l);
    free(l->later);
    free(l);
}
