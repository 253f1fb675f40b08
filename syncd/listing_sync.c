/* A pass at once instead of in a while, because somebody asked for it: all directories that were ever listed are listed
 * anew, a few at a time, and uploads that rest or failed begin. What was never listed is listed when it is looked at,
 * as ever.
 *
 * The walk is by the index: a directory's listing comes before those of the directories in it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/listing.h"

enum { BRANCHES_AT_ONCE = 8 };

struct sync_pass {
    struct volume *volume;
    uint64_t root;
    bool again;                      /* asked for while it ran */
    bool walking;                    /* walk() is on the stack */
    uint64_t *dirs;                  /* still to be listed */
    size_t n;
    unsigned n_active;
    struct error error;              /* it is of no use to go on */
};

struct branch {
    struct sync_pass *pass;
    uint64_t dir;
};

static void walk(struct sync_pass *p);

static bool add_listed(const struct index_inode *i, void *arg)
{
    struct sync_pass *p = arg;

    if (S_ISDIR(i->mode) && i->listed_ns)
        *xadd(p->dirs, p->n) = i->ino;
    return true;
}

/* What vanished meanwhile is no failure; another one all others will have, too. */
static void listed(const struct error *e, void *arg)
{
    CLEANUP_FREE struct branch *b = arg;
    struct sync_pass *p = b->pass;

    p->n_active--;
    if (e->code == 0)
        (void)index_list(p->volume->index, b->dir, NULL, 0, add_listed, p);
    else if (e->code != -ENOENT && e->code != -ENOTDIR && p->error.code != -ECANCELED)
        p->error = *e;
    walk(p);
}

static void list_next(struct sync_pass *p)
{
    struct branch *b = xcalloc(1, sizeof(*b));

    *b = (struct branch){ p, p->dirs[--p->n] };
    p->n_active++;
    lister_anew(p->volume->lister, b->dir, listed, b);
}

static void begin(struct sync_pass *p)
{
    p->again = false;
    p->n = 0;
    *xadd(p->dirs, p->n) = p->root;
    walk(p);
}

/* The volume is there for as long as a listing has to end. */
static void finish(struct sync_pass *p)
{
    if (p->error.code && p->error.code != -ECANCELED)
        LOG(LOG_NOTICE, "sync_ended_early", "drive=%s", p->volume->drive->id, "error=%s", error_text(&p->error));
    p->volume->pass = NULL;
    free(p->dirs);
    free(p);
}

/* lister_anew() may answer at once, from inside: then the loop here goes on, not the stack. */
static void walk(struct sync_pass *p)
{
    if (p->walking)
        return;
    p->walking = true;
    while (p->n > 0 && !p->error.code && p->n_active < BRANCHES_AT_ONCE)
        list_next(p);
    p->walking = false;
    if (p->n_active > 0)
        return;
    if (p->again && !p->error.code)
        begin(p);
    else
        finish(p);
}

static void start_pass(struct volume *v, uint64_t root)
{
    if (v->pass) {
        v->pass->root = v->pass->root == root ? root : INDEX_ROOT;
        v->pass->again = true;
        return;
    }
    v->pass = xcalloc(1, sizeof(*v->pass));
    *v->pass = (struct sync_pass){ .volume = v, .root = root };
    begin(v->pass);
}

/* What was canceled is among it; what is paused is not. */
static int begin_all(struct index *x)
{
    int r = index_retry_failed(x);

    return r == 0 ? index_hold_end(x, INDEX_CANCELED) : r;
}

/* A server that was asked for too much is not asked the more for that: such a rest goes on. */
static int begin_uploads(struct volume *v)
{
    int r = index_begin(v->index);

    if (r == 0)
        r = index_end(v->index, begin_all(v->index));
    uploader_answered(v->uploader);
    uploader_kick(v->uploader);
    keeper_forgive(v);
    keeper_kick(v);
    return r;
}

int volume_sync(struct volume *v, const char *path, struct error *e)
{
    int r = v->paused ? -ENETDOWN : begin_uploads(v);

    if (r < 0)
        return error_set(e, r, "%s", v->paused ? "The drive is paused; it is synchronised when it is resumed."
                                               : error_meaning(r)->text);
    start_pass(v, *v->prefix ? INDEX_ROOT : volume_find_directory(v, path));
    return 0;
}
