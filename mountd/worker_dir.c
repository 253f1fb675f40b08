/* Directories, page by page. A directory has no handle: its position is the cookie of the last entry,
 * which stays valid while entries come and go and when the worker changes. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/number.h"
#include "mountd/worker_internal.h"

/* Offsets as the kernel sees them: 0 the start, 1 behind ".", 2 behind "..", above that cookie + 2. */
enum { AFTER_DOT = 1, AFTER_DOTS = 2 };

enum {
    ENTRY_BYTES = 48,         /* of an entry with a name of ordinary length */
    ENTRY_PLUS_BYTES = 184,   /* the same with its attributes */
    PAGE_ENTRIES_MAX = 512,
    ANSWER_MAX = 256 * 1024,
    LISTED_SECONDS = 10,      /* attributes that syncd corrects soon, if need be */
};

/* What a page of entries is written into. */
struct page {
    struct op *op;
    bool plus;
    char *data;
    size_t used, size;
};

static op_done_fn opendir_done;

static void opendir_(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    Lf__FsOpendir msg = LF__FS_OPENDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_OPENDIR, fs_opendir, &msg);

    (void)fi;
    msg.ino = ino;
    op_ask(op_new(req, ino), &env, opendir_done);
}

static void opendir_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    const struct fuse_file_info fi = { 0 };

    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    (void)fuse_reply_open(op->req, &fi);
    op_free(op);
}

/* --- reading -------------------------------------------------------------------------------------------- */

/* False when it does not fit any more. */
static bool add(struct page *p, const char *name, const struct fuse_entry_param *entry, off_t next)
{
    char *at = p->data + p->used;
    size_t room = p->size - p->used, n;

    n = p->plus ? fuse_add_direntry_plus(p->op->req, at, room, name, entry, next)
                : fuse_add_direntry(p->op->req, at, room, name, &entry->attr, next);
    if (n > room)
        return false;
    p->used += n;
    return true;
}

/* Node id 0 tells the kernel that no lookup was made. The number of the parent is not known here, and nobody
 * takes it from there. */
static void add_dots(struct page *p)
{
    struct fuse_entry_param dot = { .attr = { .st_ino = p->op->ino, .st_mode = S_IFDIR } };

    if (p->op->offset < AFTER_DOT && !add(p, ".", &dot, AFTER_DOT))
        return;
    if (p->op->offset < AFTER_DOTS)
        (void)add(p, "..", &dot, AFTER_DOTS);
}

/* A correction may overtake this answer: while its reader does not run, the kernel knows nothing of the inode and takes
 * the notification for none of its business. So attributes that are to be corrected do not hold long. */
static bool add_entry(struct page *p, const Lf__FsDirent *d)
{
    struct fuse_entry_param entry;
    char name[NAME_MAX + 1];

    if (d->name.len > NAME_MAX || d->cookie > INT64_MAX - AFTER_DOTS)
        return true;   /* not to be shown to a kernel */
    (void)memcpy(name, d->name.data, d->name.len);
    name[d->name.len] = '\0';
    attr_entry(p->op->worker, d->attr, &entry);
    if (!d->attr->settled)
        entry.attr_timeout = LISTED_SECONDS;
    return add(p, name, &entry, (off_t)d->cookie + AFTER_DOTS);
}

static op_done_fn readdir_done;

static void ask_page(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
    Lf__FsReaddir msg = LF__FS_READDIR__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_READDIR, fs_readdir, &msg);
    struct op *op = op_new(req, ino);
    size_t entries = size / (plus ? ENTRY_PLUS_BYTES : ENTRY_BYTES) + 1;

    op->offset = offset;
    op->size = least(size, ANSWER_MAX);
    op->flags = plus;
    msg.ino = ino;
    msg.cookie = offset > AFTER_DOTS ? (uint64_t)offset - AFTER_DOTS : 0;
    msg.entries = (uint32_t)least(entries, PAGE_ENTRIES_MAX);
    op_ask(op, &env, readdir_done);
}

static void readdir_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    struct page p = { .op = op, .plus = op->flags, .size = op->size };

    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    op->data = p.data = xcalloc(1, op->size);
    add_dots(&p);
    for (size_t i = 0; i < reply->fs_listed->n_entries; i++)
        if (!add_entry(&p, reply->fs_listed->entries[i]))
            break;
    (void)fuse_reply_buf(op->req, p.data, p.used);
    op_free(op);
}

static void readdir_(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)fi;
    ask_page(req, ino, size, offset, false);
}

static void readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    (void)fi;
    ask_page(req, ino, size, offset, true);
}

/* --- the rest ------------------------------------------------------------------------------------------- */

static void releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    (void)fuse_reply_err(req, 0);
}

void dir_rows(struct fuse_lowlevel_ops *ops)
{
    ops->opendir = opendir_;
    ops->readdir = readdir_;
    ops->readdirplus = readdirplus;
    ops->releasedir = releasedir;
}
