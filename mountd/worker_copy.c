/* copy_file_range(2): the cloud may be able to do it, which syncd knows. In every other case the kernel is told
 * EOPNOTSUPP and copies by itself, this once; ENOSYS would be for good. */
#include <errno.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "mountd/worker_internal.h"

/* What the answer to the older request can say, in whole pages. Some kernels ask for more nevertheless. */
static const uint64_t NARROW_MOST = UINT32_MAX & ~UINT64_C(4095);

static op_done_fn copied;

/* The answer to the copy says what became of it. */
static void hurry(struct op *op)
{
    Lf__FsCopyStop msg = LF__FS_COPY_STOP__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_COPY_STOP, fs_copy_stop, &msg);

    msg.ino = op->ino;
    op_tell(op->worker, &env);
}

/* It lasts as long as it lasts; syncd has an answer in half a deadline. Who was interrupted before does not ask for
 * what nobody would stop. */
static void ask_copy(struct op *op)
{
    Lf__FsCopy msg = LF__FS_COPY__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_COPY, fs_copy, &msg);

    if (op->interrupted) {
        op_error(op, EINTR);
        return;
    }
    msg.ino = op->ino;
    msg.offset = (uint64_t)op->offset;
    msg.source = op->source;
    msg.source_offset = (uint64_t)op->source_offset;
    msg.length = op->end;
    op->hurry = hurry;
    loop_timer_free(take_ptr(op->timer));
    op_ask(op, &env, copied);
}

static void copied(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    (void)e;
    if (!reply) {
        op_error(op, op->interrupted ? EINTR : EOPNOTSUPP);
    } else if (reply->fs_copied->more) {
        ask_copy(op);
    } else {
        op->end = reply->fs_copied->bytes;
        session_reply_copied(op);
        op_free(op);
    }
}

static void copy_file_range_(fuse_req_t req, fuse_ino_t source, off_t source_offset, struct fuse_file_info *from,
                             fuse_ino_t ino, off_t offset, struct fuse_file_info *to, size_t length, int flags)
{
    struct op *op;

    (void)from;
    (void)to;
    if (length < CHUNK_COPIED_LEAST || source_offset < 0 || offset < 0 || flags) {
        (void)fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    op = op_new(req, ino);
    op->source = source;
    op->source_offset = source_offset;
    op->offset = offset;
    op->wide = op->worker->wide;
    op->end = op->wide ? length : least(length, NARROW_MOST);
    open_then(op, FILE_WRITE, ask_copy);
}

void copy_rows(struct fuse_lowlevel_ops *ops)
{
    ops->copy_file_range = copy_file_range_;
}
