/* Owns what becomes of all that lies below a renamed directory: it is listed where that is still to be done and
 * marked to be moved, a batch of inodes at a time, behind everything else. The rename itself has left a row in the
 * index, which goes when the tree has been walked. A walk that is interrupted begins anew: what is marked already
 * stays as it is. A listing that fails leaves its row for later and does not keep what is known from being marked.
 *
 * The old prefixes are remembered until nothing of the directory is left there.
 *
 * Must not know how anything is moved: that is the uploader's (upload_move.c). */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/volume_internal.h"

enum { BATCH = 500, LISTINGS_AT_ONCE = 8, REST_FIRST_MS = 1000, REST_MAX_MS = 60000, LOOK_MS = 200 };

/* Directories still to be looked at; a stack. */
struct todo {
    struct place {
        uint64_t dir, cookie;      /* entries up to the cookie are done */
    } *places;
    size_t n;
};

struct mover {
    struct volume *volume;
    struct loop_timer *timer;      /* the next step, or the end of a rest */
    bool resting;
    uint64_t ino, turn;            /* the row whose tree is walked; ino 0: none */
    uint64_t after;                /* the row before it */
    bool failed;                   /* something could not be listed in this walk, */
    bool any_failed;               /* or in another one since the first row */
    uint64_t rest_ms;
    struct todo known, unknown;    /* directories that were listed once, and never */
    unsigned n_listing;
    bool listing;                  /* list_some() is on the stack */
    uint64_t n_walked;
    struct loop_timer *look;       /* at the old prefixes */
};

static void step(void *arg);

static void plan(struct mover *m, uint64_t ms)
{
    m->resting = ms > 0;
    loop_timer_free(m->timer);
    m->timer = loop_timer(m->volume->loop, ms, step, m);
}

static void add(struct todo *t, uint64_t dir)
{
    if ((t->n & (t->n - 1)) == 0)
        t->places = reallocarray(t->places, t->n ? t->n * 2 : 1, sizeof(*t->places));
    if (!t->places)
        abort();
    t->places[t->n++] = (struct place){ .dir = dir };
}

/* --- marking -------------------------------------------------------------------------------------- */

static bool find_directory(const struct index_inode *i, void *arg)
{
    struct mover *m = arg;

    m->n_walked++;
    if (S_ISDIR(i->mode))
        add(i->listed_ns ? &m->known : &m->unknown, i->ino);
    return true;
}

/* At most n entries of the directory on top. How many there were, or negative errno. */
static int mark_children(struct mover *m, size_t n)
{
    size_t top = m->known.n - 1;
    struct place at = m->known.places[top];
    int got = index_mark_children(m->volume->index, at.dir, &at.cookie, n, find_directory, m);

    m->known.places[top].cookie = at.cookie;
    if (got == -ENOENT || (got >= 0 && (size_t)got < n))   /* it went, or that was all of it */
        m->known.places[top] = m->known.places[--m->known.n];
    return got == -ENOENT ? 0 : got;
}

/* An empty directory costs something too. */
static int mark_some(struct mover *m)
{
    size_t budget = BATCH;
    int r = index_begin(m->volume->index);

    if (r < 0)
        return r;
    while (r >= 0 && m->known.n > 0 && budget > 0) {
        r = mark_children(m, budget);
        if (r >= 0)
            budget -= r > 0 ? (size_t)r : 1;
    }
    return index_end(m->volume->index, r < 0 ? r : 0);
}

/* --- listing -------------------------------------------------------------------------------------- */

struct branch {
    struct mover *mover;
    uint64_t dir;
};

static void listed(const struct error *e, void *arg);

/* lister_ensure() may answer at once, from inside. */
static void list_some(struct mover *m)
{
    m->listing = true;
    while (m->unknown.n > 0 && m->n_listing < LISTINGS_AT_ONCE && !m->failed) {
        struct branch *b = xcalloc(1, sizeof(*b));

        *b = (struct branch){ m, m->unknown.places[--m->unknown.n].dir };
        m->n_listing++;
        lister_ensure(m->volume->lister, b->dir, listed, b);
    }
    m->listing = false;
}

static void listed(const struct error *e, void *arg)
{
    CLEANUP_FREE struct branch *b = arg;
    struct mover *m = b->mover;

    m->n_listing--;
    if (e->code == 0)
        add(&m->known, b->dir);
    else if (e->code != -ENOENT)   /* what vanished meanwhile takes nothing along */
        m->failed = true;
    if (!m->listing)
        plan(m, 0);
}

/* --- walks ---------------------------------------------------------------------------------------- */

static void start_walk(struct mover *m)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    m->failed = false;
    m->n_walked = 0;
    m->known.n = m->unknown.n = 0;
    if (index_get(m->volume->index, m->ino, &i) == 0)
        add(i.listed_ns ? &m->known : &m->unknown, m->ino);
    plan(m, 0);
}

/* After the last row comes the first again, as long as there is one. */
static void next_walk(struct mover *m)
{
    int r = index_moved_next(m->volume->index, m->after, &m->ino, &m->turn);

    if (r == 0) {
        m->after = m->ino;
        start_walk(m);
        return;
    }
    m->ino = m->after = 0;
    if (r != -ENOENT || m->any_failed) {
        m->rest_ms = m->rest_ms ? m->rest_ms * 2 : REST_FIRST_MS;
        m->rest_ms = m->rest_ms < REST_MAX_MS ? m->rest_ms : REST_MAX_MS;
        plan(m, m->rest_ms);
    } else if (index_moved_any(m->volume->index)) {
        plan(m, 0);
    } else {
        m->rest_ms = 0;
    }
    m->any_failed = false;
}

static int forget_row(struct mover *m)
{
    int r = index_begin(m->volume->index);

    return r == 0 ? index_end(m->volume->index, index_moved_end(m->volume->index, m->ino, m->turn)) : r;
}

static void end_walk(struct mover *m)
{
    if (!m->failed && forget_row(m) == 0)
        LOG(LOG_INFO, "renamed_directory_walked", "drive=%s", m->volume->drive->id, "ino=%" PRIu64, m->ino,
            "objects=%" PRIu64, m->n_walked);
    m->any_failed |= m->failed;
    m->ino = 0;
    uploader_kick(m->volume->uploader);
    mover_look(m->volume);
    plan(m, 0);
}

static void step(void *arg)
{
    struct mover *m = arg;

    loop_timer_free(take_ptr(m->timer));
    m->resting = false;
    if (m->ino == 0) {
        next_walk(m);
        return;
    }
    if (m->known.n > 0 && mark_some(m) < 0) {
        m->failed = true;
        m->known.n = m->unknown.n = 0;
    }
    uploader_kick(m->volume->uploader);
    list_some(m);
    if (m->known.n > 0)
        plan(m, 0);
    else if (m->n_listing == 0)
        end_walk(m);
}

void mover_kick(struct volume *v)
{
    struct mover *m = v->mover;

    if (m && m->ino == 0)
        plan(m, 0);
}

/* --- what is left under old prefixes -------------------------------------------------------------- */

static int forget_prefix(struct volume *v, const char *prefix)
{
    int r = index_begin(v->index);

    return r == 0 ? index_end(v->index, index_renamed_end(v->index, prefix)) : r;
}

static void look(void *arg)
{
    CLEANUP_FREE char *at = xstrdup("");
    struct mover *m = arg;
    struct volume *v = m->volume;
    char *next;

    loop_timer_free(take_ptr(m->look));
    while (index_renamed_next(v->index, at, &next) == 0) {
        free(at);
        at = next;
        if (!index_renamed_left(v->index, at) && forget_prefix(v, at) == 0)
            LOG(LOG_INFO, "directory_rename_finished", "drive=%s", v->drive->id, "from=%s", at);
    }
}

void mover_look(struct volume *v)
{
    struct mover *m = v->mover;

    if (m && !m->look)
        m->look = loop_timer(v->loop, LOOK_MS, look, m);
}

/* --- life ----------------------------------------------------------------------------------------- */

void mover_new(struct volume *v)
{
    v->mover = xcalloc(1, sizeof(*v->mover));
    v->mover->volume = v;
    plan(v->mover, 0);
    mover_look(v);
}

void mover_free(struct volume *v)
{
    struct mover *m = v->mover;

    if (!m)
        return;
    loop_timer_free(m->timer);
    loop_timer_free(m->look);
    free(m->known.places);
    free(m->unknown.places);
    free(take_ptr(v->mover));
}
