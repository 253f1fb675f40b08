/* The names half of the file system messages: looking up, listing, making and taking away. Listings
 * come from lister_*, contents are fs_data.c's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/page.h"
#include "syncd/volume_internal.h"

enum { MODE_BITS = 07777, ENTRIES_MAX = 1024 };

/* --- lookup --------------------------------------------------------------------------------------- */

static int find(struct volume *v, uint64_t parent, const ProtobufCBinaryData *name, struct index_inode *ret)
{
    return index_find(v->index, parent, name->data, name->len, ret);
}

static void lookup_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = find(v, env->fs_lookup->parent, &env->fs_lookup->name, &i);

    if (r < 0)
        fs_fail(req, r);
    else
        fs_reply_entry(v, req, &i);
}

static void lookup_fetched(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = find(v, env->fs_lookup->parent, &env->fs_lookup->name, &i);

    if (r < 0)
        fs_fail(req, r);
    else
        fs_when_settled(v, req, env, i.ino, lookup_settled);
}

static void lookup_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f = NULL;

    if (find(v, env->fs_lookup->parent, &env->fs_lookup->name, &i) == 0)
        f = scanner_looked_up(v, &i);
    if (f)
        fs_when_fetched(v, req, env, f, lookup_fetched);
    else
        lookup_fetched(v, req, env);
}

void fs_lookup(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_fresh(fs_volume(req), req, env, env->fs_lookup->parent, lookup_listed);
}

/* --- directories ------------------------------------------------------------------------------------ */

static void opendir_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    (void)v;
    (void)env;
    ipc_done(req);
}

void fs_opendir(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v = fs_volume(req);
    uint64_t ino = env->fs_opendir->ino;
    bool cold = !lister_known(v->lister, ino);

    (void)fds;
    (void)daemon;
    fs_when_fresh(v, req, env, ino, opendir_listed);
    scanner_opened(v, ino, cold);
}

struct reading {
    struct volume *v;
    struct page page;
    size_t most;
    bool full;
};

static Lf__FsDirent *new_dirent(struct volume *v, const struct index_inode *i)
{
    Lf__FsDirent *d = xcalloc(1, sizeof(*d));

    lf__fs_dirent__init(d);
    d->attr = xcalloc(1, sizeof(*d->attr));
    lf__fs_attr__init(d->attr);
    volume_attr(v, i, d->attr);
    d->name = (ProtobufCBinaryData){ i->name_len, (uint8_t *)xstrdup(i->name) };
    d->cookie = i->ino;
    return d;
}

/* What is not settled yet will be looked at behind, and a difference pushed. */
static bool read_entry(const struct index_inode *i, void *arg)
{
    struct reading *r = arg;
    Lf__FsDirent *d;

    if (r->page.n == r->most) {
        r->full = true;
        return false;
    }
    d = new_dirent(r->v, i);
    if (!i->settled)
        lister_settle_later(r->v->lister, i->ino);
    r->full = !page_add(&r->page, &d->base);
    if (r->full)
        lf__fs_dirent__free_unpacked(d, NULL);
    return !r->full;
}

static void readdir_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsReaddir *m = env->fs_readdir;
    struct reading reading = { .v = v, .most = m->entries < ENTRIES_MAX ? m->entries : ENTRIES_MAX };
    Lf__FsListed listed = LF__FS_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_LISTED, fs_listed, &listed);
    int r = index_scan(v->index, m->ino, m->cookie, read_entry, &reading);

    listed.entries = (Lf__FsDirent **)reading.page.items;
    listed.n_entries = reading.page.n;
    listed.end = !reading.full;
    if (r < 0)
        fs_fail(req, r);
    else
        ipc_reply(req, &reply, NULL, 0);
    page_free(&reading.page, true);
}

void fs_readdir(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_readdir->ino, readdir_listed);
}

/* --- making ----------------------------------------------------------------------------------------- */

static void mkdir_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsMkdir *m = env->fs_mkdir;
    CLEANUP(index_inode_done) struct index_inode i = {
        .mode = S_IFDIR | (m->mode & MODE_BITS), .uid = m->uid, .gid = m->gid,
    };

    if (fs_begin(v, req))
        fs_end_entry(v, req, fs_link_new(v, m->parent, &m->name, &i), &i);
}

void fs_mkdir(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_mkdir->parent, mkdir_listed);
}

static void mknod_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsMknod *m = env->fs_mknod;
    CLEANUP(index_inode_done) struct index_inode i = {
        .mode = m->mode & (S_IFMT | MODE_BITS), .uid = m->uid, .gid = m->gid,
    };

    if (fs_begin(v, req))
        fs_end_entry(v, req, S_ISFIFO(m->mode) || S_ISSOCK(m->mode) ? fs_link_new(v, m->parent, &m->name, &i) : -EPERM,
                     &i);
}

void fs_mknod(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_mknod->parent, mknod_listed);
}

static int check_target(const ProtobufCBinaryData *target)
{
    CLEANUP(text_free) struct text encoded = TEXT_INIT(FS_META_MAX_BYTES);

    if (target->len == 0 || memchr(target->data, '\0', target->len))
        return -EINVAL;
    return text_percent_encode(&encoded, target->data, target->len, true) < 0 ? -ENAMETOOLONG : 0;
}

static void symlink_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsSymlink *m = env->fs_symlink;
    CLEANUP(index_inode_done) struct index_inode i = { .mode = S_IFLNK | 0777, .uid = m->uid, .gid = m->gid };
    int r;

    if (!fs_begin(v, req))
        return;
    r = check_target(&m->target);
    if (r == 0) {
        i.target = strndup((const char *)m->target.data, m->target.len);
        r = i.target ? fs_link_new(v, m->parent, &m->name, &i) : -ENOMEM;
    }
    fs_end_entry(v, req, r, &i);
}

void fs_symlink(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_symlink->parent, symlink_listed);
}

/* --- taking away ------------------------------------------------------------------------------------ */

static int take_file(struct volume *v, const Lf__FsUnlink *m, struct index_inode *i, bool *ret_gone)
{
    int r = find(v, m->parent, &m->name, i);

    if (r == 0 && S_ISDIR(i->mode))
        r = -EISDIR;
    if (r == 0)
        r = fs_unlink_inode(v, i, ret_gone);
    return r < 0 ? r : fs_left(v, m->parent);
}

static void unlink_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    const Lf__FsUnlink *m = env->fs_unlink;
    bool gone = false;

    if (!fs_begin(v, req))
        return;
    if (!fs_end_done(v, req, take_file(v, m, &i, &gone)))
        return;
    if (gone)
        cache_drop(v->cache, i.ino);
}

void fs_unlink(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_unlink->parent, unlink_listed);
}

static int take_directory(struct volume *v, const Lf__FsRmdir *m)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = find(v, m->parent, &m->name, &i);
    bool gone;

    if (r < 0)
        return r;
    if (!S_ISDIR(i.mode))
        return -ENOTDIR;
    if (i.cut || !index_empty(v->index, i.ino))
        return -ENOTEMPTY;
    r = fs_unlink_inode(v, &i, &gone);
    if (r == 0)
        r = fs_step_back(v, m->parent, index_component(&i));
    return r < 0 ? r : fs_left(v, m->parent);
}

static void rmdir_checked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (fs_begin(v, req))
        fs_end_done(v, req, take_directory(v, env->fs_rmdir));
}

static void rmdir_listed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (find(v, env->fs_rmdir->parent, &env->fs_rmdir->name, &i) == 0 && S_ISDIR(i.mode))
        fs_when_fresh(v, req, env, i.ino, rmdir_checked);
    else
        rmdir_checked(v, req, env);
}

void fs_rmdir(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_known(fs_volume(req), req, env, env->fs_rmdir->parent, rmdir_listed);
}

void fs_forget(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_purge(fs_volume(req), env->fs_forget->ino);
    ipc_done(req);
}
