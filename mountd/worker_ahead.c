/* Owns one answer that is had before its question. When a directory has got or lost an entry the kernel forgets its
 * attributes and asks for them at the next name in it; so they are asked for at once, while the program does something
 * else.
 *
 * They hold until anything is asked of syncd that may change them, or syncd says that anything has changed. */
#include "mountd/worker_internal.h"

static void answered(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct worker *w = arg;

    (void)e;
    (void)fds;
    w->ahead.call = 0;
    if (!reply)
        return;
    w->ahead.attr = *reply->fs_entry->attr;
    w->ahead.known = true;
}

void ahead_drop(struct worker *w)
{
    if (w->ahead.call)
        ipc_cancel(w->syncd, w->ahead.call);
    w->ahead.call = 0;
    w->ahead.known = false;
}

void ahead_ask(struct worker *w, fuse_ino_t dir)
{
    Lf__FsGetattr msg = LF__FS_GETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_GETATTR, fs_getattr, &msg);

    ahead_drop(w);
    msg.ino = dir;
    w->ahead.call = ipc_call(w->syncd, &env, NULL, 0, 0, answered, w);
}

bool ahead_answer(struct op *op)
{
    struct worker *w = op->worker;

    if (!w->ahead.known || w->ahead.attr.ino != op->ino)
        return false;
    w->ahead.known = false;
    op_attr(op, &w->ahead.attr);
    return true;
}
