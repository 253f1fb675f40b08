/* Owns the wait of whoever reads for what other agents of the drive tell: once, until it was read for the first time,
 * and where it says that a version is not the newest one, until the cloud says that it has no other. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/anchors.h"
#include "syncd/object.h"

struct told {
    struct volume *v;
    uint64_t ino;
    void (*done)(const struct error *e, void *arg);
    void *arg;
};

static bool is_behind(struct volume *v, uint64_t ino, bool refuse)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    bool behind = v->keys && index_get(v->index, ino, &i) == 0 && i.nlink > 0 && object_is_behind(v, &i);

    if (behind && refuse)
        object_refuse_behind(v, &i);
    return behind;
}

static void end(struct told *t, int code)
{
    const struct error e = { .code = code };

    t->done(&e, t->arg);
    free(t);
}

/* Without an answer what is here is as good as what was here before. */
static void refreshed(const struct error *e, void *arg)
{
    struct told *t = arg;
    bool behind = e->code == 0 && is_behind(t->v, t->ino, true);

    end(t, e->code == -ECANCELED ? e->code : behind ? -EIO : 0);
}

static void look(void *arg)
{
    struct told *t = arg;

    if (t->v->paused || lister_failing(t->v->lister) || !is_behind(t->v, t->ino, false))
        end(t, 0);
    else
        lister_refresh(t->v->lister, t->ino, refreshed, t);
}

bool told_lacks(struct volume *v, uint64_t ino)
{
    return anchors_unread(v) || is_behind(v, ino, false);
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

static void wait_done(const struct error *e, void *arg)
{
    fs_wait_end(arg, e);
}

void fs_when_told(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step)
{
    if (told_lacks(v, ino))
        told_await(v, ino, wait_done, fs_wait_begin(v, req, env, step));
    else
        step(v, req, env);
}
