/* Owns what a change has under way: requests to the cloud and work for the pool, which may come back
 * after the change was abandoned; and what requests carry of the inode.
 *
 * Must not know what the answers mean. */
#include "syncd/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "common/text.h"
#include "syncd/hash.h"

/* A request under way for a change. */
struct upload_ask {
    LIST_ENTRY(upload_ask) next;
    struct upload *upload;
    struct cloud_request *request;
    upload_step_fn *step;
    struct upload_plain body;
};

/* fdatasync of its cache file, or a digest of it, by a pool thread; the descriptors are the job's own. */
struct file_job {
    struct upload *upload;   /* NULL: abandoned */
    int fds[CACHE_FILES];
    size_t n_fds;
    int error;
    void (*synced)(struct upload *u, int code);
    struct hash_extent hash;
    void (*hashed)(struct upload *u, const char *md5);
};

/* --- requests ------------------------------------------------------------------------------------- */

static void answered(struct cloud_request *r, void *arg)
{
    struct upload_ask *ask = arg;
    struct upload *u = ask->upload;

    LIST_REMOVE(ask, next);
    u->n_asks--;
    u->unreadable |= r->unreadable;
    if (r->error.code == 0)
        u->heard_ns = loop_now_ns();
    if (u->uploader)
        ask->step(u, r);
    else if (LIST_EMPTY(&u->asks))
        upload_free(u);
    upload_drop(r);
}

struct upload *upload_of(const void *arg)
{
    const struct upload_ask *ask = arg;

    return ask->upload->uploader ? ask->upload : NULL;
}

struct cloud_request *upload_request(struct upload *u, enum cloud_op op, const char *key, upload_step_fn *step)
{
    struct upload_ask *ask = xcalloc(1, sizeof(*ask));
    CLEANUP_FREE char *full = key ? volume_full_key(u->volume, key) : NULL;

    *ask = (struct upload_ask){ .upload = u, .step = step, .request = cloud_request_new(op, answered, ask) };
    ask->request->yields = !u->clone;
    cloud_request_set(&ask->request->bucket, u->volume->bucket);
    cloud_request_set(&ask->request->key, full);
    return ask->request;
}

void upload_drop(struct cloud_request *r)
{
    struct upload_ask *ask = r->arg;

    upload_plain_end(&ask->body);
    free(ask);
    if (r->body.fd >= 0)
        (void)close(r->body.fd);
    cloud_request_free(r);
}

void upload_submit(struct upload *u, struct cloud_request *r)
{
    struct upload_ask *ask = r->arg;

    if (u->plain.n && u->plain.fd == r->body.fd) {
        ask->body = u->plain;
        u->plain = (struct upload_plain){ .fd = -1 };
    }
    LIST_INSERT_HEAD(&u->asks, ask, next);
    u->n_asks++;
    volume_submit(u->volume, r);
}

uint64_t upload_progress(const struct upload *u)
{
    uint64_t bytes = u->parts ? upload_parts_bytes(u) : 0;
    const struct upload_ask *ask;

    LIST_FOREACH(ask, &u->asks, next)
        bytes += ask->request->sent;
    return least(bytes, u->size);
}

const struct cloud_request *upload_held_up(const struct upload *u)
{
    const struct upload_ask *ask;

    LIST_FOREACH(ask, &u->asks, next)
        if (ask->request->next_try_ns > loop_now_ns())
            return ask->request;
    return NULL;
}

void upload_cancel_asks(struct upload *u)
{
    struct upload_ask *ask;

    LIST_FOREACH(ask, &u->asks, next)
        cloud_cancel(u->volume->cloud, ask->request);
}

bool upload_detach_asks(struct upload *u)
{
    if (u->job)
        u->job->upload = NULL;
    upload_seal_abandon(u);
    upload_unseal_abandon(u);
    upload_bind_abandon(u);
    upload_cancel_asks(u);
    return LIST_EMPTY(&u->asks);
}

/* --- what they carry ------------------------------------------------------------------------------ */

static void add_xattr(const char *name, const void *value, size_t size, void *arg)
{
    struct cloud_meta *m = arg;
    struct cloud_xattr *x = xadd(m->xattrs, m->n_xattrs);

    *x = (struct cloud_xattr){ xstrdup(name), xcalloc(1, size + 1), size };
    memcpy(x->value, value, size);
}

/* DRIVE-INODE-GENERATION. Length and time alone may be another writer's as well: tools set times, and of machines with
 * one clock two write within one tick. */
static char *stamp(const struct volume *v, const struct index_upload *sent)
{
    char *s = NULL;

    if (asprintf(&s, "%s-%" PRIu64 "-%" PRIu64, v->drive->id, sent->ino, sent->generation) < 0)
        abort();
    return s;
}

struct index_upload upload_sent(const struct upload *u)
{
    return (struct index_upload){
        .ino = u->inode.ino, .generation = u->inode.generation, .key = u->key, .upload_id = (char *)(uintptr_t)"",
        .size = u->size, .mtime_ns = u->inode.mtime_ns,
    };
}

bool upload_is_sent(const struct volume *v, const struct index_upload *sent, const struct cloud_object *o)
{
    CLEANUP_FREE char *wanted = stamp(v, sent);
    const struct cloud_meta *m = &o->meta;

    return o->size == sent->size && m->has_mtime && m->mtime_ns == sent->mtime_ns && m->stamp &&
        (!*m->stamp || strcmp(m->stamp, wanted) == 0);
}

bool upload_is_ours(const struct volume *v, const char *key, const struct cloud_object *o)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };

    return o->meta.has_mtime && index_upload_sent(v->index, key, o->size, o->meta.mtime_ns, &row) == 0 &&
        upload_is_sent(v, &row, o);
}

static void add_sealed(const struct upload *u, struct cloud_meta *m)
{
    if (u->seal)
        upload_seal_meta(u, m);
    else if (u->bind)
        upload_bind_meta(u, m);
}

void upload_meta(struct upload *u, struct cloud_meta *m)
{
    struct index_upload sent = upload_sent(u);
    const struct index_inode *i = &u->inode;

    if (u->keeps_meta) {
        if (cloud_meta_copy(m, &u->kept_meta) < 0)
            abort();
        add_sealed(u, m);
        return;
    }
    m->has_mtime = m->has_mode = m->has_owner = true;
    m->mtime_ns = i->mtime_ns;
    m->mode = i->mode;
    m->uid = i->uid;
    m->gid = i->gid;
    m->symlink = xstrdup(i->target);
    m->stamp = stamp(u->volume, &sent);
    add_sealed(u, m);
    (void)index_xattr_list(u->volume->index, i->ino, add_xattr, m);
    u->metadata_sent = true;
}

int upload_body(struct upload *u, struct cloud_request *r, uint64_t offset, uint64_t length)
{
    int fd = length ? fcntl(u->file->data_fd, F_DUPFD_CLOEXEC, 3) : -1;

    if (length && fd < 0)
        return -errno;
    r->body = (struct cloud_extent){ .fd = fd, .offset = offset, .length = length };
    return 0;
}

bool upload_in_place(const struct upload *u)
{
    return u->inode.cloud_key && strcmp(u->inode.cloud_key, u->key) == 0;
}

/* A copy was told what lies at its target by a look, since the grave there has the ETag by which it is known itself. */
static char *base_of(const struct upload *u)
{
    if (u->kind != UPLOAD_COPY)
        return upload_base(u, u->key);
    if (!upload_in_place(u))
        return xstrdup(upload_looked(u)->etag);
    return u->unconditional ? NULL : xstrdup(u->inode.etag);
}

void upload_condition(struct upload *u, struct cloud_request *r)
{
    CLEANUP_FREE char *base = base_of(u);
    unsigned can = cloud_capabilities(u->volume->cloud);

    if (base && can & CLOUD_CAN_IF_MATCH)
        cloud_request_set(&r->if_match, base);
    r->if_none_match = !base && !upload_in_place(u) && can & CLOUD_CAN_IF_NONE_MATCH;
}

/* --- the disk ------------------------------------------------------------------------------------- */

static struct file_job *job_new(struct upload *u)
{
    struct file_job *j = xcalloc(1, sizeof(*j));

    j->upload = u;
    j->n_fds = cache_file_fds(u->file, j->fds);
    for (size_t n = 0; n < j->n_fds; n++)
        j->fds[n] = fcntl(j->fds[n], F_DUPFD_CLOEXEC, 3);
    u->job = j;
    return j;
}

/* The change it was for, or NULL. */
static struct upload *job_end(struct file_job *j)
{
    for (size_t n = 0; n < j->n_fds; n++)
        if (j->fds[n] >= 0)
            (void)close(j->fds[n]);
    if (j->upload)
        j->upload->job = NULL;
    return j->upload;
}

static void sync_files(void *arg)
{
    struct file_job *j = arg;

    for (size_t n = 0; n < j->n_fds && j->error == 0; n++)
        if (fdatasync(j->fds[n]) < 0)
            j->error = -errno;
}

/* What the disk does not take is better off in the cloud. */
static void files_synced(void *arg)
{
    CLEANUP_FREE struct file_job *j = arg;
    struct upload *u = job_end(j);

    if (!u)
        return;
    if (j->error)
        cache_unsynced(u->volume->cache, u->inode.ino, j->error);
    j->synced(u, index_fault(u->volume->index, u->inode.ino) ? 0 : j->error);
}

void upload_sync_file(struct upload *u, void (*step)(struct upload *u, int code))
{
    struct file_job *j = job_new(u);

    j->synced = step;
    loop_work(u->volume->loop, sync_files, files_synced, j);
}

static void hash_file(void *arg)
{
    struct file_job *j = arg;

    hash_extent(&j->hash);
}

static void file_hashed(void *arg)
{
    CLEANUP_FREE struct file_job *j = arg;
    struct upload *u = job_end(j);
    char md5[HASH_MD5_HEX];

    text_hex(j->hash.md5, sizeof(j->hash.md5), md5);
    if (u)
        j->hashed(u, j->hash.error == 0 ? md5 : NULL);
}

void upload_hash_file(struct upload *u, uint64_t offset, uint64_t length,
                      void (*step)(struct upload *u, const char *md5))
{
    struct file_job *j;

    if (u->file->is_sealed) {
        upload_unseal_hash(u, offset, length, step);
        return;
    }
    j = job_new(u);
    j->hashed = step;
    j->hash = (struct hash_extent){ .fd = j->fds[0], .offset = offset, .length = length, .md5_wanted = true };
    loop_work(u->volume->loop, hash_file, file_hashed, j);
}
