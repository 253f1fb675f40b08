/* To the cloud and to the disk: what close(2) and fsync(2) say. */
#include "mountd/worker_internal.h"

/* The file is marked as dirty since before its first write was acknowledged, so nothing is lost by not waiting. What
 * the program asks next syncd hears later. */
static void flush_step(struct op *op)
{
    Lf__FsFlush msg = LF__FS_FLUSH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FLUSH, fs_flush, &msg);
    struct file *f = op->file;
    uint64_t seq = atomic_load(&f->map->write_seq);

    msg.ino = op->ino;
    if (file_dirty(f) && f->flushed_seq != seq) {
        f->flushed_seq = seq;
        op_tell(op->worker, &env);
    }
    op_error(op, 0);
}

/* close(2). A file that this worker has not open was queued when the worker that wrote it went. */
static void flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct file *f = file_find(&worker_of(req)->files, ino);
    struct op *op;

    (void)fi;
    if (!f) {
        (void)fuse_reply_err(req, 0);
        return;
    }
    op = op_new(req, ino);
    op_use_file(op, f);
    data_settle(op, flush_step);
}

/* Of a directory too: syncd knows which it is. */
static void fsync_(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    Lf__FsFlush msg = LF__FS_FLUSH__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FLUSH, fs_flush, &msg);

    (void)datasync;
    (void)fi;
    msg.ino = ino;
    msg.sync = true;
    op_ask(op_new(req, ino), &env, op_acknowledged);
}

void sync_rows(struct fuse_lowlevel_ops *ops)
{
    ops->flush = flush;
    ops->fsync = fsync_;
    ops->fsyncdir = fsync_;
}
