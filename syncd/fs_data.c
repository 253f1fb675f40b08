/* The contents half of the file system messages: open, create, fetch, dirty, release. The
 * worker gets descriptors and moves the bytes itself; here is only who may, and what the index says
 * afterwards.
 *
 * Must not know how chunks come or go: that is fetch.c's and upload*.c's. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/fetch.h"
#include "syncd/object.h"

/* --- open --------------------------------------------------------------------------------------- */

/* A file in the open table with its descriptors to pass on. */
struct opened {
    struct cache_file *file;   /* held by the open */
    struct ipc_peer *peer;
    bool whole;
    int fds[2];
};

static int open_for(struct volume *v, struct ipc_peer *p, const struct index_inode *i, bool write, struct opened *ret)
{
    struct cache_file *f;
    int r = cache_acquire(v->cache, i, &f);

    if (r < 0)
        return r;
    r = cache_file_lend(v->cache->dir_fd, f, write, ret->fds);
    if (r == 0) {
        ret->file = f;
        ret->peer = p;
        ret->whole = !write && !v->cache->bad && !f->is_sealed && cache_file_size(f) >= CHUNK_PASSED_LEAST &&
            cache_file_whole(f);
        cache_opened(f, p, write, ret->whole);
    }
    cache_release(f);
    return r;
}

static void close_fds(struct opened *o)
{
    (void)close(o->fds[0]);
    (void)close(o->fds[1]);
}

static void answer_opened(struct volume *v, struct ipc_request *req, const struct index_inode *i, struct opened *o)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    Lf__FsOpened opened = LF__FS_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_OPENED, fs_opened, &opened);

    volume_attr(v, i, &attr);
    opened.attr = &attr;
    opened.has_whole = opened.whole = o->whole;
    opened.has_sealed = opened.sealed = o->file->is_sealed;
    ipc_reply(req, &reply, o->fds, 2);
    close_fds(o);
}

static int truncate_inode(struct volume *v, struct index_inode *i)
{
    int r = index_begin(v->index);

    if (r < 0)
        return r;
    r = cache_truncate(v->cache, i, 0);
    if (r == 0)
        r = index_update(v->index, i);
    return index_end(v->index, r);
}

static int get_file(struct volume *v, uint64_t ino, struct index_inode *ret)
{
    int r = fs_inode(v, ino, ret);

    if (r < 0)
        return r;
    if (S_ISDIR(ret->mode))
        return -EISDIR;
    return S_ISREG(ret->mode) ? 0 : -EINVAL;
}

/* Opening alone makes a map, and takes descriptors while it lasts. What is open already needs neither. */
static int check_room(struct volume *v, uint64_t ino, bool again)
{
    bool room = space_prepare(v->cache, SPACE_READ, SPACE_PAIR);

    if (cache_find(v->cache, ino))
        return 0;
    if (!again && cache_may_open(v->cache) < 0)
        return -ENFILE;
    return room || cache_file_exists(v->cache->dir_fd, ino) ? 0 : -ENOSPC;
}

static int open_inode(struct volume *v, const Lf__FsOpen *m, struct ipc_peer *p, struct index_inode *i,
                      struct opened *o)
{
    int r = get_file(v, m->ino, i);

    if (r == 0 && i->nlink == 0 && !m->again && !cache_unlinked(v->cache, m->ino))
        r = -ESTALE;
    if (r == 0 && (m->write || m->truncate))
        r = volume_writable(v);
    if (r == 0)
        r = check_room(v, m->ino, m->again);
    if (r == 0 && !m->truncate)
        r = object_may_open(v, i, m->again);
    if (r == 0)
        r = open_for(v, p, i, m->write, o);
    if (r < 0 || !m->truncate)
        return r;
    r = truncate_inode(v, i);
    if (r < 0) {
        close_fds(o);
        cache_released(o->file, p, m->write);
    }
    return r;
}

static void open_and_answer(struct volume *v, struct ipc_request *req, const Lf__FsOpen *m)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct ipc_peer *p = ipc_request_peer(req);
    struct opened o;
    int r = p ? open_inode(v, m, p, &i, &o) : -ECONNRESET;   /* the worker may have gone while something was fetched */

    if (r < 0)
        fs_fail(req, r);
    else
        answer_opened(v, req, &i, &o);
}

static void open_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (fs_lacks_keys(v))
        fs_when_keys(v, req, env, open_settled);
    else
        open_and_answer(v, req, env->fs_open);
}

static void open_to_write(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    if (env->fs_open->truncate)
        fs_when_marked(v, req, env, env->fs_open->ino, 0, open_settled);
    else
        open_settled(v, req, env);
}

/* What was fetched before anybody wanted it is the cloud's version of then. */
static bool foreseen_long_ago(struct cache_file *f)
{
    int64_t since = f->map->foreseen_ns;

    f->map->foreseen_ns = 0;
    return since > 0 && loop_wall_ns() - since > FORESEEN_MS * INT64_C(1000000);
}

/* The cache file, held, of what is to be opened when the cloud must be asked for its version first. An open file stays
 * with its version: without this, one that was changed a moment ago could not be read until the next listing. */
static struct cache_file *unconfirmed(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;

    if (v->paused || lister_failing(v->lister) || get_file(v, ino, &i) < 0 || i.nlink == 0 || i.pending || !i.cloud_key)
        return NULL;
    if (check_room(v, ino, false) < 0 || cache_acquire(v->cache, &i, &f) < 0)
        return NULL;
    if ((foreseen_long_ago(f) || !cache_file_whole(f) || !object_known(v, &i)) && !cache_written_by_anyone(f))
        return f;
    cache_release(f);
    return NULL;
}

/* What may become dirty had better have its metadata first: what is shown of it meanwhile is a guess. */
static void open_when_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsOpen *m = env->fs_open;

    if ((m->write || m->truncate || !object_known_ino(v, m->ino)) && !fs_settled(v, m->ino))
        fs_when_changeable(v, req, env, m->ino, false, open_to_write);
    else
        open_to_write(v, req, env);
}

/* Who says that the version is still there says its metadata too. */
static void open_told(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsOpen *m = env->fs_open;
    struct cache_file *f = m->again || m->truncate ? NULL : unconfirmed(v, m->ino);
    bool cold = f, scanned = !m->write && !m->again;
    uint64_t ino = m->ino;

    if (cold)
        lister_yield(v->lister);
    if (f)
        fs_when_confirmed(v, req, env, f, !m->write, open_settled);
    else
        open_when_settled(v, req, env);
    if (scanned)
        scanner_opened(v, ino, cold);
}

static void open_with_keys(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsOpen *m = env->fs_open;

    if (m->again || m->truncate)
        open_told(v, req, env);
    else
        fs_when_told(v, req, env, m->ino, open_told);
}

void fs_open(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_keys(fs_volume(req), req, env, open_with_keys);
}

/* --- create ------------------------------------------------------------------------------------- */

static void open_created(struct volume *v, struct ipc_request *req, uint64_t ino)
{
    Lf__FsOpen open = LF__FS_OPEN__INIT;

    open.ino = ino;
    open.write = true;
    open_and_answer(v, req, &open);
}

/* True: the request was answered before and has been answered again. */
static bool repeated(struct volume *v, struct ipc_request *req)
{
    Lf__Envelope *before;

    if (fs_replay(v, req, &before) < 0)
        return false;
    if (before->body_case == LF__ENVELOPE__BODY_FS_OPENED)
        open_created(v, req, before->fs_opened->attr->ino);
    else
        fs_fail(req, -EPROTO);
    lf__envelope__free_unpacked(before, NULL);
    return true;
}

static void commit_created(struct volume *v, struct ipc_request *req, const struct index_inode *i, struct opened *o)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    Lf__FsOpened opened = LF__FS_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_OPENED, fs_opened, &opened);

    volume_attr(v, i, &attr);
    opened.attr = &attr;
    opened.has_sealed = opened.sealed = o->file->is_sealed;
    if (fs_commit(v, req, &reply, o->fds, 2)) {
        uploader_changed(v->uploader);
    } else {
        cache_released(o->file, o->peer, true);
        cache_drop(v->cache, i->ino);
    }
    close_fds(o);
}

static void create(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCreate *m = env->fs_create;
    struct index_inode i = { .mode = S_IFREG | (m->mode & 07777), .uid = m->uid, .gid = m->gid };
    struct opened o;
    int r;

    if (!fs_begin(v, req))
        return;
    r = cache_may_open(v->cache);
    if (r == 0)
        r = fs_link_new(v, m->parent, &m->name, &i);
    if (r == 0) {
        r = open_for(v, ipc_request_peer(req), &i, true, &o);
        if (r < 0)
            cache_drop(v->cache, i.ino);
    }
    if (r < 0)
        fs_abort(v, req, r);
    else
        commit_created(v, req, &i, &o);
    index_inode_done(&i);
}

static void open_existing(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCreate *m = env->fs_create;
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_find(v->index, m->parent, m->name.data, m->name.len, &i);

    if (r < 0)
        fs_fail(req, r);
    else if (fs_lacks_keys(v))
        fs_when_keys(v, req, env, open_existing);
    else
        open_created(v, req, i.ino);
}

static void create_known(struct volume *v, struct ipc_request *req, const Lf__Envelope *env);

/* What happened while it waited is looked at again. */
static void create_with_room(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCreate *m = env->fs_create;
    CLEANUP(index_inode_done) struct index_inode there = { 0 };

    if (fs_lacks_keys(v))
        fs_when_keys(v, req, env, create_known);
    else if (ipc_request_peer(req) && index_find(v->index, m->parent, m->name.data, m->name.len, &there) == -ENOENT)
        create(v, req, env);
    else
        create_known(v, req, env);
}

/* When the name was taken meanwhile it is an open, unless only a new file would do. */
static void create_known(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    const Lf__FsCreate *m = env->fs_create;
    CLEANUP(index_inode_done) struct index_inode there = { 0 };
    int r = index_find(v->index, m->parent, m->name.data, m->name.len, &there);

    if (!ipc_request_peer(req))   /* gone while the listing was fetched */
        fs_fail(req, -ECONNRESET);
    else if (repeated(v, req))
        return;
    else if (r == -ENOENT)
        fs_when_room(v, req, env, SPACE_PAIR, create_with_room);
    else if (r < 0 || m->exclusive)
        fs_fail(req, r < 0 ? r : -EEXIST);
    else
        fs_when_changeable(v, req, env, there.ino, false, open_existing);
}

static void create_with_keys(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    fs_when_known(v, req, env, env->fs_create->parent, create_known);
}

void fs_create(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    fs_when_keys(fs_volume(req), req, env, create_with_keys);
}

/* --- fetch -------------------------------------------------------------------------------------- */

struct wanted {
    struct ipc_request *request;
    struct cache_file *file;   /* held */
    int64_t since_ns;
};

static void fetched(const struct error *e, void *arg);

void fs_fetch(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    const Lf__FsFetch *m = env->fs_fetch;
    struct volume *v = fs_volume(req);
    struct cache_file *f;
    struct wanted *w;
    int r = m->offset <= CHUNK_FILE_MAX ? get_file(v, m->ino, &i) : -EFBIG;

    (void)fds;
    (void)daemon;
    if (r == 0)
        r = cache_acquire(v->cache, &i, &f);
    if (r == 0 && m->unreadable && (r = cache_unreadable(f, &i, m->offset, least(m->length, EXTENT_SIZE))) < 0)
        cache_release(f);
    if (r < 0) {
        fs_fail(req, r);
        return;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct wanted){ .request = req, .file = f, .since_ns = loop_now_ns() };
    lister_yield(v->lister);
    fetch_count_miss(f, m->offset, m->length);
    fetch_range(f, m->write ? FETCH_WRITE : FETCH_READ, m->offset, m->length,
                (uint64_t)v->config->read_deadline_seconds * 1000, fetched, w);
}

/* Of a file that is open it would be wrong to say that there is none. */
static void fetched(const struct error *e, void *arg)
{
    struct wanted *w = arg;

    ipc_request_waited(w->request, w->since_ns);
    if (e->code == 0) {
        ipc_done(w->request);
    } else {
        struct error told = *e;

        told.code = e->code == -ENOENT || (w->file->volume->keys && object_is_refusal(e->code)) ? -EIO : e->code;
        LOG_TRACE(LOG_WARNING, ipc_request_trace(w->request), "fetch_failed", "drive=%s", w->file->volume->drive->id,
                  "ino=%" PRIu64, w->file->ino, "error=%s", error_text(e));
        ipc_fail_error(w->request, &told);
    }
    cache_release(w->file);
    free(w);
}

/* --- write -------------------------------------------------------------------------------------- */

static int make_dirty(struct volume *v, const Lf__FsDirty *m)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    int r = volume_writable(v);
    bool dirty;

    if (r == 0)
        r = get_file(v, m->ino, &i);
    if (r == 0)
        r = cache_acquire(v->cache, &i, &f);
    if (r < 0)
        return r;
    dirty = atomic_load(&f->map->state) == CHUNK_MAP_DIRTY;
    r = space_grant(f, m->bytes) ? cache_dirty(f) : -ENOSPC;
    if (r == 0 && !dirty && cache_written_by_anyone(f))
        uploader_changed(v->uploader);   /* of a file that stays open nothing else may ever be heard */
    cache_release(f);
    return r;
}

static void dirty_marked(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    int r = make_dirty(v, env->fs_dirty);

    if (r < 0)
        fs_fail(req, r);
    else
        ipc_done(req);
}

static void dirty_with_room(struct volume *v, struct ipc_request *req, const Lf__Envelope *env)
{
    fs_when_marked(v, req, env, env->fs_dirty->ino, CHUNK_FILE_MAX, dirty_marked);
}

void fs_dirty(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    (void)fds;
    (void)daemon;
    if (env->fs_dirty->bytes > CHUNK_FILE_MAX)
        fs_fail(req, -EFBIG);
    else
        fs_when_room(fs_volume(req), req, env, env->fs_dirty->bytes, dirty_with_room);
}

/* --- release ------------------------------------------------------------------------------------ */

static void take_over(struct cache_file *f)
{
    int r = cache_take_over(f, NULL);

    if (r < 0 && r != -ENOENT)
        LOG(LOG_ERR, "written_file_not_recorded", "drive=%s", f->volume->drive->id, "ino=%" PRIu64, f->ino, "error=%s",
            error_meaning(r)->text);
}

void fs_release(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__FsRelease *m = env->fs_release;
    struct volume *v = fs_volume(req);
    struct cache_file *f = cache_find(v->cache, m->ino);

    (void)fds;
    (void)daemon;
    if (f) {
        if (m->write)
            take_over(f);
        cache_released(f, ipc_request_peer(req), m->write);
        uploader_kick(v->uploader);
    }
    fs_purge(v, m->ino);
    ipc_done(req);
}

void fs_data_lost(struct volume *v, struct ipc_peer *p)
{
    cache_peer_lost(v->cache, p, take_over);
    uploader_kick(v->uploader);
}
