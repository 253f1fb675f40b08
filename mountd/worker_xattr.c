/* Extended attributes of the user. namespace; there are no others. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/text.h"
#include "mountd/worker_internal.h"

enum { LIST_MAX = 65536, VALUE_MAX = 65536 };   /* XATTR_LIST_MAX, XATTR_SIZE_MAX of linux/limits.h */

/* The kernel asks for security.capability at every write; it is answered here. */
static bool refused(fuse_req_t req, const char *name)
{
    bool ours = strncmp(name, "user.", 5) == 0 && name[5];

    if (!ours)
        (void)fuse_reply_err(req, EOPNOTSUPP);
    return !ours;
}

/* With size 0 the caller wants to know how much room it needs. */
static void give(struct op *op, const void *data, size_t n)
{
    if (op->size == 0)
        (void)fuse_reply_xattr(op->req, n);
    else if (n > op->size)
        (void)fuse_reply_err(op->req, ERANGE);
    else
        (void)fuse_reply_buf(op->req, data, n);
    op_free(op);
}

static op_done_fn getxattr_done;

static void getxattr_(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    Lf__FsXattrGet msg = LF__FS_XATTR_GET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_GET, fs_xattr_get, &msg);
    struct op *op;

    if (refused(req, name))
        return;
    op = op_new(req, ino);
    op->size = size;
    msg.ino = ino;
    msg.name = (char *)name;
    op_ask(op, &env, getxattr_done);
}

static void getxattr_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    (void)fds;
    if (reply)
        give(op, reply->fs_xattr_value->value.data, reply->fs_xattr_value->value.len);
    else
        op_fail(op, e);
}

static void setxattr_(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    Lf__FsXattrSet msg = LF__FS_XATTR_SET__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_SET, fs_xattr_set, &msg);

    if (refused(req, name))
        return;
    if (size > VALUE_MAX) {
        (void)fuse_reply_err(req, E2BIG);
        return;
    }
    msg.ino = ino;
    msg.name = (char *)name;
    msg.value = (ProtobufCBinaryData){ size, (uint8_t *)value };
    msg.flags = (uint32_t)flags;
    op_ask(op_new(req, ino), &env, op_acknowledged);
}

static op_done_fn listxattr_done;

static void listxattr_(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    Lf__FsXattrList msg = LF__FS_XATTR_LIST__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_LIST, fs_xattr_list, &msg);
    struct op *op = op_new(req, ino);

    op->size = size;
    msg.ino = ino;
    op_ask(op, &env, listxattr_done);
}

static void listxattr_done(struct op *op, const struct error *e, const Lf__Envelope *reply, int *fds)
{
    CLEANUP(text_free) struct text names = TEXT_INIT(LIST_MAX);

    (void)fds;
    if (!reply) {
        op_fail(op, e);
        return;
    }
    for (size_t i = 0; i < reply->fs_xattr_names->n_names; i++)
        (void)text_add(&names, reply->fs_xattr_names->names[i], strlen(reply->fs_xattr_names->names[i]) + 1);
    if (names.error)
        op_error(op, E2BIG);
    else
        give(op, names.data, names.len);
}

static void removexattr_(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    Lf__FsXattrRemove msg = LF__FS_XATTR_REMOVE__INIT;
    Lf__Envelope env = IPC_ENVELOPE(FS_XATTR_REMOVE, fs_xattr_remove, &msg);

    if (refused(req, name))
        return;
    msg.ino = ino;
    msg.name = (char *)name;
    op_ask(op_new(req, ino), &env, op_acknowledged);
}

void xattr_rows(struct fuse_lowlevel_ops *ops)
{
    ops->getxattr = getxattr_;
    ops->setxattr = setxattr_;
    ops->listxattr = listxattr_;
    ops->removexattr = removexattr_;
}
