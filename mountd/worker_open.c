/* Opening, creating, closing. A handle of the kernel is an open at syncd as long as this worker lives; a
 * handle that is older is opened at syncd when something is asked of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "mountd/worker_internal.h"

static enum file_kind kind_of(int flags)
{
    return (flags & O_ACCMODE) == O_RDONLY ? FILE_READ : FILE_WRITE;
}

static void release_at_syncd(struct worker *w, uint64_t ino, enum file_kind kind)
{
    Lf__FsRelease msg = LF__FS_RELEASE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_RELEASE, fs_release, &msg);

    msg.ino = ino;
    msg.write = kind == FILE_WRITE;
    op_tell(w, &env);
}

static void close_handle(struct worker *w, uint64_t ino, enum file_kind kind)
{
    struct file *f = file_find(&w->files, ino);
    enum file_kind counted;

    if (f && file_close(&w->files, f, kind, &counted))
        release_at_syncd(w, ino, counted);
}

/* Puts what came with an FsOpened into the table and in use by the operation. False when that failed, and with
 * it the operation. */
static bool install(struct op *op, const Lf__FsOpened *reply, int *fds)
{
    const struct file_opened opened = { op->kind, reply->sealed, fds };
    struct worker *w = op->worker;
    struct file *f;
    bool surplus;
    int r = file_install(&w->files, op->ino, &opened, &f, &surplus);

    if (r < 0 || surplus)
        release_at_syncd(w, op->ino, op->kind);
    if (r < 0) {
        LOG(LOG_ERR, "open_unusable", "ino=%llu", (unsigned long long)op->ino, "error=%s", strerror(-r));
        op_error(op, r == -ENOMEM || r == -EMFILE ? -r : EIO);
        return false;
    }
    if (opened.is_sealed)
        session_hold_secrets(w);
    op_use_file(op, f);
    return true;
}

/* The kernel has given up; what syncd opened is closed, and the handle that create() counted. */
void open_late(struct op *op, const Lf__Envelope *reply)
{
    if (reply)
        release_at_syncd(op->worker, reply->fs_opened->attr->ino, op->kind);
    if (op->file)
        close_handle(op->worker, op->ino, op->kind);
}

static void ask_open(struct op *op, bool truncate, bool again, op_done_fn *done)
{
    Lf__FsOpen msg = LF__FS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPEN, fs_open, &msg);

    op->late = open_late;
    msg.ino = op->ino;
    msg.write = op->kind == FILE_WRITE;
    msg.truncate = truncate;
    msg.has_again = msg.again = again;
    op_ask(op, &env, done);
}

/* --- of one's own accord ---------------------------------------------------------------------------------- */

static op_done_fn opened_then;

static void leave_file(struct op *op)
{
    if (op->file)
        file_unuse(&op->worker->files, take_ptr(op->file));
}

/* What can be used as it is. */
static bool has_open(const struct file *f, enum file_kind kind)
{
    return !f->guard.is_lost && (f->held[FILE_WRITE] || (kind == FILE_READ && f->held[FILE_READ]));
}

void open_then(struct op *op, enum file_kind kind, op_step_fn *next)
{
    struct file *f = file_find(&op->worker->files, op->ino);

    if (f && has_open(f, kind)) {
        op_use_file(op, f);
        next(op);
        return;
    }
    op->kind = f && f->held[FILE_WRITE] ? FILE_WRITE : kind;   /* as good as what it takes the place of */
    leave_file(op);   /* what it has would count as a handle to be closed, if the kernel gave up meanwhile */
    op->next = next;
    ask_open(op, false, true, opened_then);
}

/* There is at least the handle that the request came through. */
static void opened_then(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    op->late = NULL;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    if (!install(op, reply->fs_opened, fds))
        return;
    if (op->file->handles[op->kind] == 0)
        op->file->handles[op->kind] = 1;
    op->next(op);
}

/* --- the kernel's ------------------------------------------------------------------------------------------- */

/* The opener is gone, and no release will come. */
static void close_opened(struct op *op, const Lf__Envelope *reply)
{
    (void)reply;
    mode_closed(op->worker, op->file, op->kind);
    close_handle(op->worker, op->file->ino, op->kind);
}

static void reply_open(struct op *op)
{
    if (op->kind == FILE_WRITE)
        session_hold_buffer(op->worker);
    if (session_reply_open(op) == -ENOENT)
        close_opened(op, NULL);
    op_free(op);
}

/* What is written from now on comes after what is on its way to the kernel. */
static void finish_open(struct op *op)
{
    op->late = close_opened;
    push_settle(op, op->kind == FILE_WRITE ? op->file : NULL, reply_open);
}

static op_done_fn open_done;

static void open_(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct op *op = op_new(req, ino);

    op->flags = fi->flags;
    op->kind = fi->flags & O_TRUNC ? FILE_WRITE : kind_of(fi->flags);
    ask_open(op, fi->flags & O_TRUNC, false, open_done);
}

/* What was opened while the kernel is being told of another version is opened anew as well. */
static void open_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    if (!reply && e->code != -ESTALE) {
        op_fail(op, e);
        return;
    }
    if (!reply || notify_refuses(op->worker, op->ino)) {
        if (reply)
            release_at_syncd(op->worker, op->ino, op->kind);
        notify_refuse_stale(op);
        return;
    }
    if (!install(op, reply->fs_opened, fds))
        return;
    op->file->handles[op->kind]++;
    mode_open(op, reply->fs_opened->whole, finish_open);
}

static void ask_create(struct op *op, fuse_ino_t parent, const char *name, mode_t mode, bool exclusive,
                       op_done_fn *done)
{
    Lf__FsCreate msg = LF__FS_CREATE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_CREATE, fs_create, &msg);

    op->kind = FILE_WRITE;
    op->late = open_late;
    msg.parent = parent;
    msg.name = bytes_of(name);
    msg.mode = mode;
    msg.uid = fuse_req_ctx(op->req)->uid;
    msg.gid = fuse_req_ctx(op->req)->gid;
    msg.exclusive = exclusive;
    op_ask(op, &env, done);
}

static op_done_fn create_done;

static void create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
    struct op *op = op_new(req, parent);

    op->flags = fi->flags;
    ask_create(op, parent, name, mode, (fi->flags & O_EXCL) != 0, create_done);
}

static void reply_created(struct op *op, const Lf__FsAttr *attr)
{
    op->data = xcalloc(1, sizeof(struct fuse_entry_param));
    attr_entry(op->worker, attr, op->data);
    mode_open(op, false, finish_open);
}

static op_done_fn create_truncated;

/* The kernel creates what it believes is not there; when it was, O_TRUNC still holds. */
static void create_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    const Lf__FsAttr *attr;

    if (!reply) {
        op_fail(op, e);
        return;
    }
    ahead_ask(op->worker, op->ino);
    attr = reply->fs_opened->attr;
    op->ino = attr->ino;
    if (!install(op, reply->fs_opened, fds))
        return;
    op->file->handles[FILE_WRITE]++;
    if ((op->flags & O_TRUNC) && attr->size > 0)
        ask_open(op, true, true, create_truncated);
    else
        reply_created(op, attr);
}

static void create_truncated(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    if (!reply) {
        close_handle(op->worker, op->ino, FILE_WRITE);
        op_fail(op, e);
        return;
    }
    if (install(op, reply->fs_opened, fds))
        reply_created(op, reply->fs_opened->attr);
}

static op_done_fn mknod_done;

static void mknod_(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)device;
    if (S_ISREG(mode))
        ask_create(op_new(req, parent), parent, name, mode, true, mknod_done);
    else
        names_mknod(req, parent, name, mode);
}

static void mknod_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;   /* closed by the caller */
    if (!reply) {
        op_fail(op, e);
        return;
    }
    release_at_syncd(op->worker, reply->fs_opened->attr->ino, FILE_WRITE);
    op_entry(op, reply->fs_opened->attr);
}

static void close_now(struct op *op)
{
    struct worker *w = op->worker;

    (void)fuse_reply_err(op->req, 0);
    kept_drop(w, op->file);
    early_drop(w, op->file);
    mode_closed(w, op->file, op->kind);
    close_handle(w, op->ino, op->kind);
    op_free(op);
}

static void settle_then_close(struct op *op)
{
    data_settle(op, close_now);
}

/* A handle from before this worker is opened to be closed: where it is counted must be known. */
static void release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct op *op = op_new(req, ino);
    struct file *f = file_find(&op->worker->files, ino);

    file_touch(&op->worker->files, ino);
    if (!f) {
        open_then(op, kind_of(fi->flags), settle_then_close);
        return;
    }
    op->kind = kind_of(fi->flags);
    op_use_file(op, f);
    settle_then_close(op);
}

/* --- a new syncd ---------------------------------------------------------------------------------------------- */

struct reopening {
    struct worker *worker;
    uint64_t ino;
    enum file_kind kind;
};

static void reopened(const struct error *e, const Lf__Envelope *reply, int *fds, void *arg)
{
    struct reopening *o = arg;
    const struct file_opened opened = { o->kind, reply && reply->fs_opened->sealed, fds };
    struct file *f;
    bool surplus;

    if (!reply) {
        if (e->code != -ECANCELED)
            LOG(LOG_ERR, "reopen_failed", "ino=%llu", (unsigned long long)o->ino, "error=%s", error_text(e));
    } else if (!file_find(&o->worker->files, o->ino)) {
        release_at_syncd(o->worker, o->ino, o->kind);   /* closed meanwhile */
    } else if (file_install(&o->worker->files, o->ino, &opened, &f, &surplus) < 0 || surplus) {
        release_at_syncd(o->worker, o->ino, o->kind);
    }
    free(o);
}

static void reopen(struct worker *w, uint64_t ino, enum file_kind kind)
{
    Lf__FsOpen msg = LF__FS_OPEN__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPEN, fs_open, &msg);
    struct reopening *o = xcalloc(1, sizeof(*o));

    *o = (struct reopening){ .worker = w, .ino = ino, .kind = kind };
    msg.ino = ino;
    msg.write = kind == FILE_WRITE;
    msg.has_again = msg.again = true;
    (void)ipc_call(w->syncd, &env, NULL, 0, 0, reopened, o);
}

static void reopen_file(struct file *f, void *arg)
{
    for (enum file_kind k = FILE_READ; k < FILE_KINDS; k++) {
        if (f->held[k])
            reopen(arg, f->ino, k);
        f->held[k] = false;
    }
}

void open_again(struct worker *w)
{
    file_each(&w->files, reopen_file, w);
}

void open_rows(struct fuse_lowlevel_ops *ops)
{
    ops->open = open_;
    ops->create = create;
    ops->mknod = mknod_;
    ops->release = release;
}
