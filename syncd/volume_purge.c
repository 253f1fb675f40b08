/* What is gone and still in the index: orphans whose last user went, and directories that vanished in
 * the cloud with all below them. Removed in small steps, since there may be very many. */
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "syncd/volume_internal.h"

enum { STEP = 256 };
/* What a lost worker or an earlier run had open may still be open in the kernel; a new worker has said so by then. */
enum { GRACE_MS = 60 * 1000 };

struct step {
    struct {
        uint64_t ino;
        bool directory, gone;
    } inodes[STEP];
    size_t n;
};

static bool collect(const struct index_inode *i, void *arg)
{
    struct step *s = arg;

    s->inodes[s->n].ino = i->ino;
    s->inodes[s->n].directory = S_ISDIR(i->mode);
    return ++s->n < STEP;
}

/* --- orphans ---------------------------------------------------------------------------------------- */

static void purge_some(void *arg);

static void plan_purge(struct volume *v, uint64_t delay_ms)
{
    loop_timer_free(v->purge);
    v->purge = loop_timer(v->loop, delay_ms, purge_some, v);
}

static void purge_some(void *arg)
{
    struct volume *v = arg;
    struct step s = { .n = 0 };

    loop_timer_free(v->purge);
    v->purge = NULL;
    if (index_orphans(v->index, v->purged_up_to, collect, &s) < 0 || s.n == 0)
        return;
    for (size_t n = 0; n < s.n; n++)
        fs_purge(v, s.inodes[n].ino);
    v->purged_up_to = s.inodes[s.n - 1].ino;
    plan_purge(v, 0);
}

void volume_purge(struct volume *v)
{
    v->purged_up_to = 0;
    plan_purge(v, 0);
}

void volume_purge_later(struct volume *v)
{
    v->purged_up_to = 0;
    plan_purge(v, GRACE_MS);
}

/* --- directories -------------------------------------------------------------------------------------- */

static void push(struct volume *v, uint64_t dir)
{
    *xadd(v->dismantle, v->n_dismantle) = dir;
}

static int take_apart(struct volume *v, uint64_t dir, struct step *s)
{
    int r = index_scan(v->index, dir, 0, collect, s);

    for (size_t n = 0; r == 0 && n < s->n; n++) {
        s->inodes[n].gone = !s->inodes[n].directory && !cache_is_open(v->cache, s->inodes[n].ino);
        r = s->inodes[n].gone ? index_remove(v->index, s->inodes[n].ino) : index_orphan(v->index, s->inodes[n].ino);
    }
    return r == 0 && s->n < STEP ? index_remove(v->index, dir) : r;
}

static void dismantle_some(void *arg)
{
    struct volume *v = arg;
    uint64_t dir = v->dismantle[--v->n_dismantle];
    struct step s = { .n = 0 };
    int r = index_begin(v->index);

    loop_timer_free(v->dismantling);
    v->dismantling = NULL;
    if (r == 0)
        r = index_end(v->index, take_apart(v, dir, &s));
    if (r == 0 && s.n == STEP)
        push(v, dir);
    for (size_t n = 0; r == 0 && n < s.n; n++) {
        if (s.inodes[n].gone)
            cache_drop(v->cache, s.inodes[n].ino);
        else if (s.inodes[n].directory)
            push(v, s.inodes[n].ino);
    }
    if (v->n_dismantle > 0)
        v->dismantling = loop_timer(v->loop, 0, dismantle_some, v);
}

void volume_dismantle(struct volume *v, uint64_t dir)
{
    push(v, dir);
    if (!v->dismantling)
        v->dismantling = loop_timer(v->loop, 0, dismantle_some, v);
}

void volume_purge_free(struct volume *v)
{
    loop_timer_free(v->purge);
    loop_timer_free(v->dismantling);
    free(v->dismantle);
}
