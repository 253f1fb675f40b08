/* What the file system handlers share: waiting for the cloud with a copy of the request, and the
 * frame of a change, which stores its reply beside its effect so that a repeated request finds it.
 *
 * Knows nothing of what the handlers do. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache_space.h"
#include "syncd/content.h"
#include "syncd/fetch.h"
#include "syncd/key_stock.h"
#include "syncd/object.h"

enum { CONFIRM_MS = 2000 };

struct volume *fs_volume(struct ipc_request *req)
{
    return ipc_peer_data(ipc_request_peer(req));
}

void fs_fail(struct ipc_request *req, int code)
{
    ipc_fail_error(req, &(struct error){ .code = code });
}

int fs_inode(struct volume *v, uint64_t ino, struct index_inode *ret)
{
    int r = index_get(v->index, ino, ret);

    return r == -ENOENT ? -ESTALE : r;
}

int fs_inode_to_change(struct volume *v, uint64_t ino, struct index_inode *ret)
{
    int r = fs_inode(v, ino, ret);

    if (r < 0 || ret->nlink > 0 || !S_ISREG(ret->mode))
        return r;
    return cache_unlinked(v->cache, ino) || cache_busy(v->cache, ret) ? 0 : -ESTALE;
}

/* --- waiting ------------------------------------------------------------------------------------ */

struct fs_wait {
    struct volume *v;
    struct ipc_request *req;
    Lf__Envelope *env;
    fs_step_fn *step;
    bool regardless;         /* of a failure */
    struct cache_file *file; /* held: its version is being confirmed */
    unsigned outdated;       /* of the file, when that began */
    int64_t since_ns;
};

struct fs_wait *fs_wait_begin(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, fs_step_fn *step)
{
    struct fs_wait *w = xcalloc(1, sizeof(*w));

    *w = (struct fs_wait){ v, req, message_copy(&env->base), step, false, NULL, 0, loop_now_ns() };
    return w;
}

void fs_wait_end(struct fs_wait *w, const struct error *e)
{
    ipc_request_waited(w->req, w->since_ns);
    if (e->code && (e->code == -ECANCELED || !w->regardless))
        ipc_fail_error(w->req, e);
    else
        w->step(w->v, w->req, w->env);
    lf__envelope__free_unpacked(w->env, NULL);
    free(w);
}

static void wait_done(const struct error *e, void *arg)
{
    fs_wait_end(arg, e);
}

void fs_when_known(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t dir, fs_step_fn *step)
{
    if (lister_known(v->lister, dir))
        step(v, req, env);
    else
        lister_ensure(v->lister, dir, wait_done, fs_wait_begin(v, req, env, step));
}

void fs_when_fresh(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t dir, fs_step_fn *step)
{
    if (lister_fresh(v->lister, dir))
        step(v, req, env);
    else
        lister_ensure(v->lister, dir, wait_done, fs_wait_begin(v, req, env, step));
}

void fs_when_room(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t bytes, fs_step_fn *step)
{
    if (space_prepare(v->cache, SPACE_KEEP, bytes))
        step(v, req, env);
    else
        (void)space_wait(v->cache, SPACE_KEEP, bytes, wait_done, fs_wait_begin(v, req, env, step));
}

bool fs_lacks_keys(struct volume *v)
{
    return v->cache->stock && key_stock_empty(v->cache->stock);
}

void fs_when_keys(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, fs_step_fn *step)
{
    if (fs_lacks_keys(v))
        key_stock_wait(v->cache->stock, wait_done, fs_wait_begin(v, req, env, step));
    else
        step(v, req, env);
}

/* The cache file, held, if it is sealed and has something beyond its end; else NULL. */
static struct cache_file *untrimmed(struct volume *v, uint64_t ino)
{
    struct cache_file *f = cache_find(v->cache, ino);
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    if (!v->cache->io || (!f && !cache_file_exists(v->cache->dir_fd, ino)) || index_get(v->index, ino, &i) < 0 ||
        cache_acquire(v->cache, &i, &f) < 0)
        return NULL;
    if (f->is_sealed && chunk_present(f->map, cache_file_size(f) >> CHUNK_SHIFT) && sealed_needs_trim(&f->sealed))
        return f;
    cache_release(f);
    return NULL;
}

static void trimmed(const struct error *e, void *arg)
{
    struct fs_wait *w = arg;

    w->regardless = e->code == -EAGAIN;
    fs_wait_end(w, e);
}

void fs_when_trimmed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, uint64_t size,
                     fs_step_fn *again, fs_step_fn *step)
{
    struct cache_file *f = untrimmed(v, ino);

    if (f && size > cache_file_size(f))
        content_trim(f, trimmed, fs_wait_begin(v, req, env, again));
    else
        step(v, req, env);
    if (f)
        cache_release(f);
}

bool fs_settled(struct volume *v, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(v->index, ino, &i) < 0 || (i.settled && object_known(v, &i));
}

/* A wait that goes on regardless of how it ends, unless `done` says otherwise. */
static struct fs_wait *wait_regardless(struct volume *v, struct ipc_request *req, const Lf__Envelope *env,
                                       fs_step_fn *step)
{
    struct fs_wait *w = fs_wait_begin(v, req, env, step);

    w->regardless = true;
    return w;
}

/* It may be damaged there: what is cut off is gone all the same. */
void fs_when_cut(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step)
{
    struct cache_file *f = untrimmed(v, ino);

    if (f)
        content_trim(f, wait_done, wait_regardless(v, req, env, step));
    else
        step(v, req, env);
    if (f)
        cache_release(f);
}

void fs_when_settled(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino, fs_step_fn *step)
{
    if (fs_settled(v, ino))
        step(v, req, env);
    else
        lister_settle(v->lister, ino, wait_done, wait_regardless(v, req, env, step));
}

/* Of what the cloud has no more nothing is left to be known. */
static void attributes_known(const struct error *e, void *arg)
{
    struct fs_wait *w = arg;

    w->regardless = e->code == -ENOENT;
    fs_wait_end(w, e);
}

void fs_when_changeable(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, uint64_t ino,
                        bool attributes, fs_step_fn *step)
{
    if (fs_settled(v, ino))
        step(v, req, env);
    else
        lister_settle_to_change(v->lister, ino, attributes ? attributes_known : wait_done,
                                wait_regardless(v, req, env, step));
}

/* Whether it is still the version that was to be confirmed. */
static bool same_version(const struct fs_wait *w)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_get(w->v->index, w->file->ino, &i) == 0 && cache_file_current(w->file, &i) &&
           w->file->outdated == w->outdated;
}

/* An object that is gone is no longer opened; what becomes of its name a listing decides. Another failure says nothing
 * about the version. */
static void confirm_done(const struct error *e, void *arg)
{
    static const struct error stale = { .code = -ESTALE };
    struct fs_wait *w = arg;
    struct cache_file *f = w->file;
    struct lister *l = w->v->lister;
    bool same = same_version(w), gone = e->code == -ENOENT;

    if (same && gone)
        lister_recheck(l, f->ino);
    else if (same && e->code && e->code != -ECANCELED && !(w->v->keys && object_is_refusal(e->code)))
        lister_failed(l);
    w->regardless = same && !gone;
    if (!same)
        (void)object_take_correction(w->v, f->ino);
    wait_done(same || e->code == -ECANCELED ? e : &stale, w);
    f->confirming--;
    cache_release(f);
}

void fs_when_confirmed(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, struct cache_file *f,
                       bool read, fs_step_fn *step)
{
    struct fs_wait *w = fs_wait_begin(v, req, env, step);

    w->regardless = true;
    w->file = f;
    w->outdated = f->outdated;
    f->confirming++;
    if (read && !chunk_present(f->map, 0)) {
        fetch_count_miss(f, 0, 1);
        fetch_range(f, FETCH_OPEN, 0, 1, CONFIRM_MS, confirm_done, w);
    } else {
        lister_refresh(v->lister, f->ino, confirm_done, w);
    }
}

static void fetched(const struct error *e, void *arg)
{
    struct fs_wait *w = arg;
    struct cache_file *f = w->file;

    wait_done(e, w);
    cache_release(f);
}

void fs_when_fetched(struct volume *v, struct ipc_request *req, const Lf__Envelope *env, struct cache_file *f,
                     fs_step_fn *step)
{
    struct fs_wait *w = fs_wait_begin(v, req, env, step);

    w->regardless = true;
    w->file = f;
    fetch_range(f, FETCH_OPEN, 0, 1, CONFIRM_MS, fetched, w);
}

/* --- the frame of a change ------------------------------------------------------------------------ */

int fs_replay(struct volume *v, struct ipc_request *req, Lf__Envelope **ret)
{
    struct ipc_identity who = ipc_request_identity(req);
    CLEANUP_FREE void *packed = NULL;
    size_t size;
    int r = index_replay_get(v->index, &who, v->mount_tag, &packed, &size);

    if (r < 0)
        return r;
    *ret = lf__envelope__unpack(NULL, size, packed);
    return *ret ? 0 : -EUCLEAN;
}

bool fs_begin(struct volume *v, struct ipc_request *req)
{
    Lf__Envelope *reply = NULL;
    int r = fs_replay(v, req, &reply);

    if (r == 0) {
        ipc_reply(req, reply, NULL, 0);
        lf__envelope__free_unpacked(reply, NULL);
        return false;
    }
    if (r == -ENOENT)
        r = volume_writable(v);
    if (r == 0)
        r = index_begin(v->index);
    if (r < 0)
        fs_fail(req, r);
    return r == 0;
}

int fs_store_reply(struct volume *v, const struct ipc_identity *who, const Lf__Envelope *reply)
{
    size_t size = lf__envelope__get_packed_size(reply);
    CLEANUP_FREE uint8_t *packed = xcalloc(1, size + 1);

    lf__envelope__pack(reply, packed);
    return index_replay_put(v->index, who, v->mount_tag, packed, size);
}

static bool commit(struct volume *v, struct ipc_request *req, const Lf__Envelope *reply)
{
    struct ipc_identity who = ipc_request_identity(req);
    int r = index_end(v->index, fs_store_reply(v, &who, reply));

    show_removals(v, r == 0);
    if (r < 0)
        fs_fail(req, r);
    return r == 0;
}

bool fs_commit(struct volume *v, struct ipc_request *req, Lf__Envelope *reply, const int *fds, size_t n)
{
    bool committed = commit(v, req, reply);

    if (committed)
        ipc_reply(req, reply, fds, n);
    return committed;
}

void fs_abort(struct volume *v, struct ipc_request *req, int code)
{
    index_rollback(v->index);
    show_removals(v, false);
    fs_fail(req, code);
}

static bool end(struct volume *v, struct ipc_request *req, int r, const Lf__Envelope *reply)
{
    if (r < 0) {
        fs_abort(v, req, r);
        return false;
    }
    if (!commit(v, req, reply))
        return false;
    uploader_changed(v->uploader);
    return true;
}

static bool end_entry(struct volume *v, struct ipc_request *req, int r, const struct index_inode *i, bool answer)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    Lf__FsEntry entry = LF__FS_ENTRY__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_ENTRY, fs_entry, &entry);

    if (r == 0)
        volume_attr(v, i, &attr);
    entry.attr = &attr;
    if (!end(v, req, r, &reply))
        return false;
    if (answer)
        ipc_reply(req, &reply, NULL, 0);
    return true;
}

bool fs_end_entry(struct volume *v, struct ipc_request *req, int r, const struct index_inode *i)
{
    return end_entry(v, req, r, i, true);
}

bool fs_keep_entry(struct volume *v, struct ipc_request *req, int r, const struct index_inode *i)
{
    return end_entry(v, req, r, i, false);
}

bool fs_end_done(struct volume *v, struct ipc_request *req, int r)
{
    Lf__Done done = LF__DONE__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(DONE, done, &done);

    if (!end(v, req, r, &reply))
        return false;
    ipc_reply(req, &reply, NULL, 0);
    return true;
}

void fs_reply_entry(struct volume *v, struct ipc_request *req, const struct index_inode *i)
{
    Lf__FsAttr attr = LF__FS_ATTR__INIT;
    Lf__FsEntry entry = LF__FS_ENTRY__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(FS_ENTRY, fs_entry, &entry);

    volume_attr(v, i, &attr);
    (void)object_take_correction(v, i->ino);
    entry.attr = &attr;
    ipc_reply(req, &reply, NULL, 0);
}
