/* Attributes of an inode: getattr, setattr, readlink. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "syncd/object.h"

enum { MODE_BITS = 07777 };

static void getattr_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = fs_inode(v, env->fs_getattr->ino, &i);

    if (r < 0)
        fs_fail(req, r);
    else
        fs_reply_entry(v, req, &i);
}

void fs_getattr(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_settled(fs_volume(req), req, env, env->fs_getattr->ino, getattr_settled);
}

static int set_size(struct volume *v, struct index_inode *i, uint64_t size)
{
    if (S_ISDIR(i->mode))
        return -EISDIR;
    if (S_ISREG(i->mode) && size && !object_known(v, i))
        return -EHOSTUNREACH;
    return S_ISREG(i->mode) ? cache_truncate(v->cache, i, size) : -EINVAL;
}

static bool changes_rights(const Lf__FsSetattr *m)
{
    return m->has_mode || m->has_uid || m->has_gid;
}

/* What the cloud keeps; the time of the last access is ours alone. */
static bool changes_meta(const Lf__FsSetattr *m)
{
    return changes_rights(m) || m->has_mtime_ns;
}

static int set_attributes(struct volume *v, const Lf__FsSetattr *m, struct index_inode *i)
{
    int r = fs_inode_to_change(v, m->ino, i);

    if (r == 0 && m->has_size)
        r = set_size(v, i, m->size);
    if (r < 0)
        return r;
    if (m->has_mode)
        i->mode = (i->mode & S_IFMT) | (m->mode & MODE_BITS);
    if (m->has_uid)
        i->uid = m->uid;
    if (m->has_gid)
        i->gid = m->gid;
    if (m->has_mtime_ns)
        i->mtime_ns = m->mtime_ns;
    if (m->has_atime_ns)
        i->atime_ns = m->atime_ns;
    i->ctime_ns = loop_wall_ns();
    i->settled |= changes_rights(m);
    if (changes_meta(m))
        fs_mark_meta(i);
    if (m->has_mtime_ns)
        cache_touched(v->cache, i->ino);
    return index_update(v->index, i);
}

static void answer_again(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    (void)env;
    if (fs_begin(v, req))
        fs_abort(v, req, -EIO);
}

/* What is cut off is not to come back after a power cut, in a file that was synced and has grown again since: the chunk
 * in which it lies is written anew at once. */
static void setattr_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsSetattr *m = env->fs_setattr;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (m->has_size && fs_lacks_keys(v))
        fs_when_keys(v, req, env, setattr_settled);
    else if (!fs_begin(v, req))
        return;
    else if (!m->has_size)
        fs_end_entry(v, req, set_attributes(v, m, &i), &i);
    else if (fs_keep_entry(v, req, set_attributes(v, m, &i), &i))
        fs_when_cut(v, req, env, m->ino, answer_again);
}

static void setattr_marked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    fs_when_trimmed(v, req, env, env->fs_setattr->ino, env->fs_setattr->size, setattr_marked, setattr_settled);
}

static void setattr_known(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsSetattr *m = env->fs_setattr;

    if (m->has_size)
        fs_when_marked(v, req, env, m->ino, m->size, setattr_marked);
    else
        setattr_settled(v, req, env);
}

static void setattr_with_keys(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    fs_when_changeable(v, req, env, env->fs_setattr->ino, changes_rights(env->fs_setattr), setattr_known);
}

/* What is cut has a cache file from then on. */
void fs_setattr(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    if (env->fs_setattr->has_size)
        fs_when_keys(fs_volume(req), req, env, setattr_with_keys);
    else
        setattr_with_keys(fs_volume(req), req, env);
}

void fs_readlink(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__FsTarget target = LF__FS_TARGET__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_TARGET, fs_target, &target);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = fs_inode(fs_volume(req), env->fs_readlink->ino, &i);

    (void)fds;
    (void)daemon;
    if (r == 0 && !i.target)
        r = -EINVAL;
    if (r < 0) {
        fs_fail(req, r);
        return;
    }
    target.target = (ProtobufCBinaryData){ strlen(i.target), (uint8_t *)i.target };
    ipc_reply(req, &reply, NULL, 0);
}
