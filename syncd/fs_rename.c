/* Rename of files and directories, with RENAME_NOREPLACE and RENAME_EXCHANGE of renameat2(2). One
 * transaction, whatever lies below: the name changes, the inode itself is marked to be moved, and a directory gets a
 * row, by which mover.c finds what is below. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "syncd/volume_internal.h"

/* The parent of what waits while the other takes its place. */
enum { NOWHERE = 0 };

/* Both ends of a rename. */
struct end {
    uint64_t parent;
    const ProtobufCBinaryData *name;
    struct index_inode i;        /* ino 0: nothing there */
    char *key, *prefix;          /* of a directory: its key, and where the cloud has what lies below */
};

static int load(struct volume *v, struct end *end)
{
    int r = index_find(v->index, end->parent, end->name->data, end->name->len, &end->i);

    if (r < 0 || !S_ISDIR(end->i.mode))
        return r == -ENOENT ? 0 : r;
    end->key = index_key(v->index, end->i.ino);
    end->prefix = index_cloud_prefix(v->index, end->i.ino);
    return end->key && end->prefix ? 0 : -ENOENT;
}

static void end_done(struct end *end)
{
    index_inode_done(&end->i);
    free(end->key);
    free(end->prefix);
}

/* --- checks ---------------------------------------------------------------------------------------- */

static bool lies_in(struct volume *v, uint64_t ino, uint64_t directory)
{
    while (ino != 0 && ino != directory) {
        CLEANUP(index_inode_done) struct index_inode i = { 0 };

        if (index_get(v->index, ino, &i) < 0)
            return false;
        ino = i.parent;
    }
    return ino == directory;
}

/* Whether `from` may stand where `to` is: the name, the place, and the keys of all below. */
static int check_place(struct volume *v, const struct end *from, const struct end *to)
{
    CLEANUP_FREE char *key = NULL, *component = NULL;
    size_t len;
    int r = fs_check_name(v, to->parent, to->name, S_ISDIR(from->i.mode), index_component(&from->i), &component);

    if (r < 0 || !S_ISDIR(from->i.mode))
        return r;
    if (lies_in(v, to->parent, from->i.ino))
        return -EINVAL;
    if (index_cut_below(v->index, from->i.ino))   /* what is not known would stay behind */
        return -EOPNOTSUPP;
    key = index_key(v->index, to->parent);
    if (!key)
        return -ENOENT;
    len = strlen(v->prefix) + strlen(key) + strlen(component) + 1;   /* by fs_check_name() not too long */
    return index_room_below(v->index, from->i.ino, FS_KEY_MAX_BYTES - len);
}

static int check_replaced(struct volume *v, const struct index_inode *by, const struct index_inode *i)
{
    if (!S_ISDIR(i->mode))
        return S_ISDIR(by->mode) ? -ENOTDIR : 0;
    if (!S_ISDIR(by->mode))
        return -EISDIR;
    return !i->cut && index_empty(v->index, i->ino) ? 0 : -ENOTEMPTY;
}

static int check(struct volume *v, unsigned flags, const struct end *from, const struct end *to)
{
    if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    if (!from->i.ino)
        return -ENOENT;
    if (to->i.ino && flags & RENAME_NOREPLACE)
        return -EEXIST;
    if (!to->i.ino && flags & RENAME_EXCHANGE)
        return -ENOENT;
    return check_place(v, from, to);
}

/* --- the change -------------------------------------------------------------------------------------- */

/* After it has another name. */
static int mark(struct volume *v, const struct end *end)
{
    int r = index_mark_moved(v->index, end->i.ino);

    if (r < 0 || !end->key)
        return r;
    r = index_moved_put(v->index, end->i.ino, end->prefix);
    return r < 0 ? r : index_renamed_put(v->index, end->key, end->i.ino);
}

static int move(struct volume *v, const struct end *from, const struct end *to)
{
    int r = index_move(v->index, from->i.ino, to->parent, to->name->data, to->name->len);

    return r < 0 ? r : mark(v, from);
}

static int exchange(struct volume *v, const struct end *from, const struct end *to)
{
    int r = check_place(v, to, from);

    if (r == 0)
        r = index_move(v->index, to->i.ino, NOWHERE, to->i.name, to->i.name_len);
    if (r == 0)
        r = index_move(v->index, from->i.ino, to->parent, to->name->data, to->name->len);
    if (r == 0)
        r = move(v, to, from);
    return r < 0 ? r : mark(v, from);
}

/* What was under the new name goes with a grave: the key stays taken, so the grave waits until the new
 * content is there, and works if the file goes on to yet another name. */
static int replace(struct volume *v, const struct end *from, const struct end *to, bool *ret_gone)
{
    int r = to->i.ino ? check_replaced(v, &from->i, &to->i) : 0;

    if (r == 0 && to->i.ino)
        r = fs_unlink_inode(v, &to->i, ret_gone);
    return r < 0 ? r : move(v, from, to);
}

/* An object beside the directory that was here; -EEXIST: the name is a file's now, whose key is that object's. */
static int step_back(struct volume *v, const struct end *end)
{
    return S_ISDIR(end->i.mode) ? fs_step_back(v, end->parent, index_component(&end->i)) : 0;
}

static int rename_ends(struct volume *v, unsigned flags, struct end *from, struct end *to, bool *ret_gone)
{
    int r = load(v, from);

    if (r == 0)
        r = load(v, to);
    if (r == 0)
        r = check(v, flags, from, to);
    if (r < 0 || from->i.ino == to->i.ino)
        return r;
    r = flags & RENAME_EXCHANGE ? exchange(v, from, to) : replace(v, from, to, ret_gone);
    if (r == 0)
        r = step_back(v, from);
    if (r == 0 && flags & RENAME_EXCHANGE)
        r = step_back(v, to);
    if (r == 0)
        r = fs_left(v, from->parent);
    return r < 0 ? r : index_touch(v->index, to->parent, loop_wall_ns());
}

static void rename_ready(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsRename *m = env->fs_rename;
    struct end from = { .parent = m->parent, .name = &m->name }, to = { .parent = m->new_parent, .name = &m->new_name };
    bool gone = false;

    if (!fs_begin(v, req))
        return;
    if (fs_end_done(v, req, rename_ends(v, m->flags, &from, &to, &gone))) {
        if (gone)
            cache_drop(v->cache, to.i.ino);
        if (from.key || to.key)
            mover_kick(v);
    }
    end_done(&from);
    end_done(&to);
}

/* --- what must be known before -------------------------------------------------------------------------- */

/* The inode number under the name if it is a directory, else 0. */
static uint64_t directory_at(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_find(v->index, parent, name->data, name->len, &i) == 0 && S_ISDIR(i.mode) ? i.ino : 0;
}

/* A directory that is to be replaced must be seen to be empty. */
static void know_target(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsRename *m = env->fs_rename;
    uint64_t ino = m->flags & RENAME_EXCHANGE ? 0 : directory_at(v, m->new_parent, &m->new_name);

    if (ino)
        fs_when_fresh(v, req, env, ino, rename_ready);
    else
        rename_ready(v, req, env);
}

static void know_new_parent(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    fs_when_known(v, req, env, env->fs_rename->new_parent, know_target);
}

void fs_rename(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_rename->parent, know_new_parent);
}
