/* Owns what a change has under way: requests to the cloud and work for the pool, which may come back
 * after the change was abandoned; and what requests carry of the inode.
 *
 * Must not know what the answers mean. */
#include "syncd/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* A request under way for a change. */
struct upload_ask {
    LIST_ENTRY(upload_ask) next;
    struct upload *upload;
    struct cloud_request *request;
    upload_step_fn *step;
};

/* fdatasync of its cache file by a pool thread; the descriptors are the job's own. */
struct file_syncing {
    struct upload *upload;   /* NULL: abandoned */
    int fds[2];
    int error;
    void (*step)(struct upload *u, int code);
};

/* --- requests ------------------------------------------------------------------------------------- */

static void answered(struct cloud_request *r, void *arg)
{
    struct upload_ask *ask = arg;
    struct upload *u = ask->upload;

    LIST_REMOVE(ask, next);
    u->n_asks--;
    if (u->uploader)
        ask->step(u, r);
    else if (LIST_EMPTY(&u->asks))
        upload_free(u);
    upload_drop(r);
}

struct cloud_request *upload_request(struct upload *u, enum cloud_op op, const char *key, upload_step_fn *step)
{
    struct upload_ask *ask = xcalloc(1, sizeof(*ask));
    CLEANUP_FREE char *full = key ? volume_full_key(u->volume, key) : NULL;

    *ask = (struct upload_ask){ .upload = u, .step = step, .request = cloud_request_new(op, answered, ask) };
    cloud_request_set(&ask->request->bucket, u->volume->bucket);
    cloud_request_set(&ask->request->key, full);
    return ask->request;
}

void upload_drop(struct cloud_request *r)
{
    free(r->arg);
    if (r->body.fd >= 0)
        (void)close(r->body.fd);
    cloud_request_free(r);
}

void upload_submit(struct upload *u, struct cloud_request *r)
{
    struct upload_ask *ask = r->arg;

    LIST_INSERT_HEAD(&u->asks, ask, next);
    u->n_asks++;
    cloud_submit(u->volume->cloud, r);
}

void upload_cancel_asks(struct upload *u)
{
    struct upload_ask *ask;

    LIST_FOREACH(ask, &u->asks, next)
        cloud_cancel(u->volume->cloud, ask->request);
}

bool upload_detach_asks(struct upload *u)
{
    if (u->syncing)
        u->syncing->upload = NULL;
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

void upload_meta(struct upload *u, struct cloud_meta *m)
{
    const struct index_inode *i = &u->inode;

    if (u->keeps_meta) {
        if (cloud_meta_copy(m, &u->kept_meta) < 0)
            abort();
        return;
    }
    m->has_mtime = m->has_mode = m->has_owner = true;
    m->mtime_ns = i->mtime_ns;
    m->mode = i->mode;
    m->uid = i->uid;
    m->gid = i->gid;
    m->symlink = xstrdup(i->target);
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

void upload_condition(struct upload *u, struct cloud_request *r)
{
    CLEANUP_FREE char *base = upload_base(u, u->key);
    unsigned can = cloud_capabilities(u->volume->cloud);

    if (base && can & CLOUD_CAN_IF_MATCH)
        cloud_request_set(&r->if_match, base);
    r->if_none_match = !base && !upload_in_place(u) && can & CLOUD_CAN_IF_NONE_MATCH;
}

/* --- the disk ------------------------------------------------------------------------------------- */

static void sync_files(void *arg)
{
    struct file_syncing *s = arg;

    for (size_t n = 0; n < ARRAY_SIZE(s->fds) && s->error == 0; n++)
        if (fdatasync(s->fds[n]) < 0)
            s->error = -errno;
}

static void files_synced(void *arg)
{
    struct file_syncing *s = arg;

    for (size_t n = 0; n < ARRAY_SIZE(s->fds); n++)
        if (s->fds[n] >= 0)
            (void)close(s->fds[n]);
    if (s->upload) {
        s->upload->syncing = NULL;
        s->step(s->upload, s->error);
    }
    free(s);
}

void upload_sync_file(struct upload *u, void (*step)(struct upload *u, int code))
{
    struct file_syncing *s = xcalloc(1, sizeof(*s));
    int from[2] = { u->file->data_fd, u->file->map_fd };

    s->upload = u;
    s->step = step;
    for (size_t n = 0; n < ARRAY_SIZE(from); n++)
        s->fds[n] = fcntl(from[n], F_DUPFD_CLOEXEC, 3);
    u->syncing = s;
    loop_work(u->volume->loop, sync_files, files_synced, s);
}
