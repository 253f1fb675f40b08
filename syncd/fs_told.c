/* Owns the wait of whoever reads for what other agents of the drive tell: once, until it was read for the first time,
 * and where it says that a version is not the newest one, until the cloud says that it has no other. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/anchors.h"
#include "syncd/object.h"

static const struct error none;

struct told {
    struct volume *v;
    uint64_t ino;
    void (*done)(const struct error *e, void *arg);
    void *arg;
};

static bool is_behind(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return v->keys && index_get(v->index, ino, &i) == 0 && i.nlink > 0 && object_is_behind(v, &i);
}

static void end(struct told *t, const struct error *e)
{
    t->done(e, t->arg);
    free(t);
}

static void refuse(struct told *t)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    const char *why = NULL;
    struct error e;

    if (index_get(t->v->index, t->ino, &i) == 0) {
        object_refuse_behind(t->v, &i);
        why = object_fault(t->v, &i);
    }
    error_set(&e, -EREMCHG, "%s", why ? why : "");
    end(t, &e);
}

/* Without an answer what is here is as good as what was here before. */
static void refreshed(const struct error *e, void *arg)
{
    struct told *t = arg;

    if (e->code == 0 && is_behind(t->v, t->ino))
        refuse(t);
    else
        end(t, e->code == -ECANCELED ? e : &none);
}

static void look(void *arg)
{
    struct told *t = arg;

    if (t->v->paused || lister_failing(t->v->lister) || !is_behind(t->v, t->ino))
        end(t, &none);
    else
        lister_refresh(t->v->lister, t->ino, refreshed, t);
}

bool told_lacks(struct volume *v, uint64_t ino)
{
    return anchors_unread(v) || is_behind(v, ino);
}

void told_await(struct volume *v, uint64_t ino, void (*done)(const struct error *e, void *arg), void *arg)
{
    struct told *t = xcalloc(1, sizeof(*t));

    *t = (struct told){ .v = v, .ino = ino, .done = done, .arg = arg };
    if (anchors_unread(v))
        anchors_await(v, look, t);
    else
        look(t);
}

/* Programs know no other word for it. */
static void wait_done(const struct error *e, void *arg)
{
    struct error told = *e;

    if (told.code == -EREMCHG)
        told.code = -EIO;
    fs_wait_end(arg, &told);
}

void fs_when_told(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step)
{
    if (told_lacks(v, ino))
        told_await(v, ino, wait_done, fs_wait_begin(v, req, env, step));
    else
        step(v, req, env);
}
