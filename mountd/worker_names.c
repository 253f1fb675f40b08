/* Names and attributes: each request becomes one question to syncd. */
#include <errno.h>
#include <linux/fs.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "mountd/worker_internal.h"

/* How long the kernel may believe that a name does not exist: names appear in the cloud. */
enum { NEGATIVE_SECONDS = 1 };

/* --- finding ------------------------------------------------------------------------------------------ */

static op_done_fn lookup_done;

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    Lf__FsLookup msg = LF__FS_LOOKUP__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_LOOKUP, fs_lookup, &msg);

    if (strlen(name) > NAME_MAX) {   /* the kernel lets through what is longer */
        (void)fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    msg.parent = parent;
    msg.name = bytes_of(name);
    op_ask(op_new(req, parent), &env, lookup_done);
}

static void lookup_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    const struct fuse_entry_param negative = { .entry_timeout = NEGATIVE_SECONDS };

    (void)fds;
    if (reply) {
        op_entry(op, reply->fs_entry->attr);
    } else if (e->code == -ENOENT) {
        (void)fuse_reply_entry(op->req, &negative);
        op_free(op);
    } else {
        op_fail(op, e);
    }
}

/* An orphan that syncd keeps until the last handle is closed and forgotten. Answered by silence. */
static void forget_one(struct worker *w, fuse_ino_t ino)
{
    Lf__FsForget msg = LF__FS_FORGET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_FORGET, fs_forget, &msg);

    msg.ino = ino;
    if (file_forget(&w->files, ino))
        op_tell(w, &env);
}

static void forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    (void)nlookup;
    forget_one(worker_of(req), ino);
    fuse_reply_none(req);
}

static void forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        forget_one(worker_of(req), forgets[i].ino);
    fuse_reply_none(req);
}

/* --- attributes --------------------------------------------------------------------------------------- */

static op_done_fn attr_done;

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    Lf__FsGetattr msg = LF__FS_GETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_GETATTR, fs_getattr, &msg);

    struct op *op = op_new(req, ino);

    (void)fi;
    msg.ino = ino;
    if (!ahead_answer(op))
        op_ask(op, &env, attr_done);
}

static void attr_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        op_attr(op, reply->fs_entry->attr);
    else
        op_fail(op, e);
}

static void reply_attr(struct op *op)
{
    const struct fuse_entry_param *entry = op->data;

    (void)fuse_reply_attr(op->req, &entry->attr, entry->attr_timeout);
    op_free(op);
}

/* The kernel cuts its pages when it has the answer, and has to have got by then what was before. */
static void size_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    op->data = xcalloc(1, sizeof(struct fuse_entry_param));
    attr_entry(op->worker, reply->fs_entry->attr, op->data);
    push_settle(op, file_find(&op->worker->files, op->ino), reply_attr);
}

static void fill_times(Lf__FsSetattr *msg, const struct stat *st, int set)
{
    msg->has_mtime_ns = (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0;
    msg->mtime_ns = set & FUSE_SET_ATTR_MTIME_NOW ? loop_wall_ns() : timespec_ns(st->st_mtim);
    msg->has_atime_ns = (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0;
    msg->atime_ns = set & FUSE_SET_ATTR_ATIME_NOW ? loop_wall_ns() : timespec_ns(st->st_atim);
}

static void setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, struct fuse_file_info *fi)
{
    Lf__FsSetattr msg = LF__FS_SETATTR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SETATTR, fs_setattr, &msg);

    (void)fi;
    if ((set & FUSE_SET_ATTR_SIZE) && (uint64_t)st->st_size > CHUNK_FILE_MAX) {
        (void)fuse_reply_err(req, EFBIG);
        return;
    }
    msg.ino = ino;
    msg.has_mode = (set & FUSE_SET_ATTR_MODE) != 0;
    msg.mode = st->st_mode;
    msg.has_uid = (set & FUSE_SET_ATTR_UID) != 0;
    msg.uid = st->st_uid;
    msg.has_gid = (set & FUSE_SET_ATTR_GID) != 0;
    msg.gid = st->st_gid;
    msg.has_size = (set & FUSE_SET_ATTR_SIZE) != 0;
    msg.size = (uint64_t)st->st_size;
    fill_times(&msg, st, set);
    op_ask(op_new(req, ino), &env, msg.has_size ? size_done : attr_done);
}

static op_done_fn readlink_done;

static void readlink_(fuse_req_t req, fuse_ino_t ino)
{
    Lf__FsReadlink msg = LF__FS_READLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_READLINK, fs_readlink, &msg);

    msg.ino = ino;
    op_ask(op_new(req, ino), &env, readlink_done);
}

static void readlink_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    (void)fuse_reply_buf(op->req, (const char *)reply->fs_target->target.data, reply->fs_target->target.len);
    op_free(op);
}

static op_done_fn statfs_done;

static void statfs_(fuse_req_t req, fuse_ino_t ino)
{
    Lf__FsStatfs msg = LF__FS_STATFS__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_STATFS, fs_statfs, &msg);

    op_ask(op_new(req, ino), &env, statfs_done);
}

static void statfs_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    const Lf__FsSpace *s;
    struct statvfs st;

    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    s = reply->fs_space;
    st = (struct statvfs){
        .f_bsize = s->block_size, .f_frsize = s->block_size, .f_blocks = s->blocks, .f_bfree = s->blocks_free,
        .f_bavail = s->blocks_free, .f_files = s->files + UINT32_MAX, .f_ffree = UINT32_MAX, .f_favail = UINT32_MAX,
        .f_namemax = NAME_MAX,
    };
    (void)fuse_reply_statfs(op->req, &st);
    op_free(op);
}

/* --- changing ------------------------------------------------------------------------------------------- */

static void made(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    ahead_ask(op->worker, op->ino);
    op_entry(op, reply->fs_entry->attr);
}

static void removed(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    if (reply)
        ahead_ask(op->worker, op->ino);
    op_acknowledged(op, e, reply, fds);
}

static void mkdir_(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    Lf__FsMkdir msg = LF__FS_MKDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_MKDIR, fs_mkdir, &msg);

    msg.parent = parent;
    msg.name = bytes_of(name);
    msg.mode = mode;
    msg.uid = fuse_req_ctx(req)->uid;
    msg.gid = fuse_req_ctx(req)->gid;
    op_ask(op_new(req, parent), &env, made);
}

/* What mknod(2) makes of FIFOs and sockets; files are worker_open.c's. Devices cannot be: EPERM is what mknod(2) says
 * where they are not. */
void names_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    Lf__FsMknod msg = LF__FS_MKNOD__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_MKNOD, fs_mknod, &msg);

    if (!S_ISFIFO(mode) && !S_ISSOCK(mode)) {
        (void)fuse_reply_err(req, EPERM);
        return;
    }
    msg.parent = parent;
    msg.name = bytes_of(name);
    msg.mode = mode;
    msg.uid = fuse_req_ctx(req)->uid;
    msg.gid = fuse_req_ctx(req)->gid;
    op_ask(op_new(req, parent), &env, made);
}

static void symlink_(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    Lf__FsSymlink msg = LF__FS_SYMLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_SYMLINK, fs_symlink, &msg);

    msg.parent = parent;
    msg.name = bytes_of(name);
    msg.target = bytes_of(target);
    msg.uid = fuse_req_ctx(req)->uid;
    msg.gid = fuse_req_ctx(req)->gid;
    op_ask(op_new(req, parent), &env, made);
}

static void unlink_(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    Lf__FsUnlink msg = LF__FS_UNLINK__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_UNLINK, fs_unlink, &msg);

    msg.parent = parent;
    msg.name = bytes_of(name);
    op_ask(op_new(req, parent), &env, removed);
}

static void rmdir_(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    Lf__FsRmdir msg = LF__FS_RMDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RMDIR, fs_rmdir, &msg);

    msg.parent = parent;
    msg.name = bytes_of(name);
    op_ask(op_new(req, parent), &env, removed);
}

static void rename_(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                    unsigned flags)
{
    Lf__FsRename msg = LF__FS_RENAME__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RENAME, fs_rename, &msg);

    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
        (void)fuse_reply_err(req, EINVAL);
        return;
    }
    msg.parent = parent;
    msg.name = bytes_of(name);
    msg.new_parent = new_parent;
    msg.new_name = bytes_of(new_name);
    msg.flags = flags;
    op_ask(op_new(req, parent), &env, op_acknowledged);
}

/* Objects have one name. EPERM is what link(2) documents for that. */
static void link_(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino;
    (void)parent;
    (void)name;
    (void)fuse_reply_err(req, EPERM);
}

void names_rows(struct fuse_lowlevel_ops *ops)
{
    ops->lookup = lookup;
    ops->forget = forget;
    ops->forget_multi = forget_multi;
    ops->getattr = getattr;
    ops->setattr = setattr;
    ops->readlink = readlink_;
    ops->statfs = statfs_;
    ops->mkdir = mkdir_;
    ops->symlink = symlink_;
    ops->unlink = unlink_;
    ops->rmdir = rmdir_;
    ops->rename = rename_;
    ops->link = link_;
}
