/* What an operation on contents needs of syncd before it can go on: chunks, leave to write, space. */
#include <errno.h>

#include "common/log.h"
#include "mountd/worker_internal.h"

/* Chunks can go again between syncd's answer and the look at them; not for ever. */
enum { TRIES_MAX = 8 };

static void stepped(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        op->next(op);
    else
        op_fail(op, e);
}

void need_failed(struct op *op, const char *why)
{
    const struct chunk_map *map = op->file->map;

    LOG(LOG_ERR, "gave_up", "ino=%llu", (unsigned long long)op->ino, "offset=%lld", (long long)op->offset, "size=%zu",
        op->size, "reason=%s", why, "tries=%u", op->tries, "map_lost=%d", (int)op->file->guard.is_lost,
        "absent_from=%lld", (long long)chunk_first_absent(map, (uint64_t)op->offset, op->size),
        "dirty=%d", (int)file_dirty(op->file));
    op_error(op, EIO);
}

/* Before syncd is asked for what the map does not show. False: the operation goes on without that, or ended. A lost map
 * shows nothing, and another one comes with another open. */
static bool may_ask(struct op *op, op_step_fn *step)
{
    if (op->tries++ == TRIES_MAX)
        need_failed(op, "What syncd did was undone each time before it was of use.");
    else if (op->file->guard.is_lost)
        open_then(op, FILE_READ, step);
    else
        return true;
    return false;
}

void need_bytes(struct op *op, uint64_t length, op_step_fn *step)
{
    Lf__FsFetch msg = LF__FS_FETCH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FETCH, fs_fetch, &msg);

    if (!may_ask(op, step))
        return;
    op->next = step;
    msg.ino = op->ino;
    msg.offset = (uint64_t)op->offset;
    msg.length = length;
    msg.has_write = msg.write = op->bytes != NULL;
    msg.has_unreadable = msg.unreadable = op->unreadable;
    op->unreadable = false;
    op_ask(op, &env, stepped);
}

void need_again(struct op *op, uint64_t length, int error, op_step_fn *step)
{
    if (error != EIO || op->refetched) {
        op_error(op, error);
        return;
    }
    op->refetched = op->unreadable = true;
    need_bytes(op, length, step);
}

void need_space(struct op *op, uint64_t cost, op_step_fn *step)
{
    Lf__FsDirty msg = LF__FS_DIRTY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_DIRTY, fs_dirty, &msg);

    if (!may_ask(op, step))
        return;
    op->next = step;
    msg.ino = op->ino;
    msg.bytes = cost;
    op_ask(op, &env, stepped);
}
