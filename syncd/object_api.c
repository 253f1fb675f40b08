/* Answers for the object endpoints of the HTTP API: the path is resolved to a drive, the drive's volume
 * asked, and its answer put into the contract's terms. */
#include "syncd/object_api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/drive.h"
#include "syncd/page.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

struct ask {
    struct ipc_request *req;
    Lf__ObjectInfo like;          /* drive and bucket of every object; strings owned */
    char *mount_point, *relative;
    struct volume *volume;        /* to be asked again; it answers before it is closed */
    unsigned seconds;             /* to wait */
    struct page page;             /* of a directory */
    bool full;
    char *last;                   /* name of the last one in the page */
};

static void end(struct ask *a)
{
    free(a->like.drive_name);
    free(a->like.bucket_name);
    free(a->mount_point);
    free(a->relative);
    free(a->last);
    page_free(&a->page, true);
    free(a);
}

/* An ask about the path, whose volume is in *ret; or NULL once the request has been failed. */
static struct ask *ask_new(struct syncd *d, struct ipc_request *req, const char *path, struct volume **ret)
{
    struct ask *a = xcalloc(1, sizeof(*a));
    struct drive *drive = NULL;
    struct error e = { 0 };

    a->req = req;
    if (path_resolve(d, path, &drive, &a->relative, &e) < 0 || !drive_running(drive, &e)) {
        ipc_fail_error(req, &e);
        end(a);
        return NULL;
    }
    a->like.drive_name = xstrdup(drive->model->drive_name);
    a->like.bucket_name = xstrdup(drive->model->storage_name);
    a->mount_point = xstrdup(drive->model->local_path);
    *ret = drive->volume;
    return a;
}

/* --- one object ------------------------------------------------------------------------------- */

static void status_done(const struct error *e, const struct volume_node *n, void *arg);

void object_api_status(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v;
    struct ask *a = ask_new(daemon, req, env->object_status_get->path, &v);

    (void)fds;
    if (a)
        volume_stat(v, a->relative, status_done, a);
}

static void status_done(const struct error *e, const struct volume_node *n, void *arg)
{
    struct ask *a = arg;
    Lf__ObjectStatus status = LF__OBJECT_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_STATUS, object_status, &status);

    if (!n) {
        ipc_fail_error(a->req, e);
    } else {
        status.state = n->state_a;
        ipc_reply(a->req, &reply, NULL, 0);
    }
    end(a);
}

void object_api_rename_status(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    Lf__RenameStatus status = LF__RENAME_STATUS__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(RENAME_STATUS, rename_status, &status);
    struct volume *v;
    struct ask *a = ask_new(daemon, req, env->rename_status_get->path, &v);

    (void)fds;
    if (!a)
        return;
    status.finished = volume_rename_finished(v, a->relative);
    ipc_reply(req, &reply, NULL, 0);
    end(a);
}

static char *join(const char *directory, const char *name)
{
    char *path = xcalloc(1, strlen(directory) + strlen(name) + 2);

    strcpy(path, directory);
    if (*directory && *name)
        strcat(path, "/");
    return strcat(path, name);
}

/* The object at `relative`; lf__object_info__free_unpacked() it. */
static Lf__ObjectInfo *new_info(const struct ask *a, const char *relative, const struct volume_node *n)
{
    Lf__ObjectInfo *info = xcalloc(1, sizeof(*info));
    char date[DATE_SIZE];

    lf__object_info__init(info);
    info->drive_name = xstrdup(a->like.drive_name);
    info->bucket_name = xstrdup(a->like.bucket_name);
    info->path = join(a->mount_point, relative);
    info->id = xstrdup(n->id ? n->id : "");
    date_iso(n->mtime_ns, date);
    info->last_modified_date = xstrdup(date);
    info->has_size = info->has_state = info->has_is_directory = true;
    info->size = n->size > INT64_MAX ? INT64_MAX : (int64_t)n->size;
    info->state = n->state_a;
    info->is_directory = n->is_directory;
    info->has_cut = info->cut = n->cut;
    return info;
}

static void info_done(const struct error *e, const struct volume_node *n, void *arg);

void object_api_info(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v;
    struct ask *a = ask_new(daemon, req, env->object_info_get->path, &v);

    (void)fds;
    if (a)
        volume_stat(v, a->relative, info_done, a);
}

static void info_done(const struct error *e, const struct volume_node *n, void *arg)
{
    struct ask *a = arg;
    Lf__ObjectInfoFound found = LF__OBJECT_INFO_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_INFO_FOUND, object_info_found, &found);

    if (!n) {
        ipc_fail_error(a->req, e);
    } else {
        found.info = new_info(a, a->relative, n);
        ipc_reply(a->req, &reply, NULL, 0);
        lf__object_info__free_unpacked(found.info, NULL);
    }
    end(a);
}

/* --- all about it ------------------------------------------------------------------------------ */

static void explain_done(const struct error *e, const struct volume_node *n, void *arg);

void object_api_explain(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct volume *v;
    struct ask *a = ask_new(daemon, req, env->object_explain->path, &v);

    (void)fds;
    if (!a)
        return;
    a->volume = v;
    volume_stat(v, a->relative, explain_done, a);
}

static void explain_done(const struct error *e, const struct volume_node *n, void *arg)
{
    struct ask *a = arg;
    Lf__ObjectExplained explained = LF__OBJECT_EXPLAINED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_EXPLAINED, object_explained, &explained);

    explained.explanation = n ? volume_explain(a->volume, n->ino) : NULL;
    if (explained.explanation) {
        explained.explanation->path = join(a->mount_point, a->relative);
        explained.explanation->drive_name = xstrdup(a->like.drive_name);
        explained.explanation->bucket_name = xstrdup(a->like.bucket_name);
        ipc_reply(a->req, &reply, NULL, 0);
        lf__explanation__free_unpacked(explained.explanation, NULL);
    } else if (n) {
        ipc_fail(a->req, -ENOENT, "There is no %s on the drive.", a->relative);
    } else {
        ipc_fail_error(a->req, e);
    }
    end(a);
}

/* --- waiting for the cloud --------------------------------------------------------------------- */

static void await_found(const struct error *e, const struct volume_node *n, void *arg);
static void await_done(const struct error *e, const struct volume_arrival *arrival, void *arg);

unsigned object_api_seconds(int32_t given)
{
    return given < 0 ? 0 : given > OBJECT_API_SECONDS_MAX ? OBJECT_API_SECONDS_MAX : (unsigned)given;
}

/* The same object as before, if it is still there. */
static bool await_again(struct ask *a, const char *id)
{
    uint64_t ino = 0;

    if (!id || !text_number(id, UINT64_MAX, &ino) || !volume_has(a->volume, ino))
        return false;
    volume_await(a->volume, ino, a->seconds, await_done, a);
    return true;
}

void object_api_await(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__ObjectAwait *given = env->object_await;
    struct volume *v;
    struct ask *a = ask_new(daemon, req, given->path, &v);

    (void)fds;
    if (!a)
        return;
    a->volume = v;
    a->seconds = given->has_seconds ? object_api_seconds(given->seconds) : OBJECT_API_SECONDS;
    if (!await_again(a, given->id))
        volume_stat(v, a->relative, await_found, a);
}

static void await_found(const struct error *e, const struct volume_node *n, void *arg)
{
    struct ask *a = arg;

    if (n)
        volume_await(a->volume, n->ino, a->seconds, await_done, a);
    else
        await_done(e, NULL, a);
}

static void await_done(const struct error *e, const struct volume_arrival *arrival, void *arg)
{
    struct ask *a = arg;
    Lf__Arrival shown = LF__ARRIVAL__INIT;
    Lf__ObjectAwaited awaited = LF__OBJECT_AWAITED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_AWAITED, object_awaited, &awaited);
    char id[32];

    if (!arrival) {
        ipc_fail_error(a->req, e);
        end(a);
        return;
    }
    snprintf(id, sizeof(id), "%" PRIu64, arrival->ino);
    shown.has_there = shown.has_stuck = shown.has_pending = shown.has_coming = true;
    shown.there = arrival->there;
    shown.stuck = arrival->stuck;
    shown.pending = (int64_t)arrival->pending;
    shown.coming = arrival->coming;
    shown.waits_for = arrival->waits_for && *arrival->waits_for ? (char *)(uintptr_t)arrival->waits_for : NULL;
    shown.id = id;
    awaited.arrival = &shown;
    ipc_reply(a->req, &reply, NULL, 0);
    end(a);
}

/* --- encryption of what is there ----------------------------------------------------------------- */

static void encryption_done(const struct error *e, const Lf__Encryption *p, void *arg)
{
    Lf__EncryptionFound found = LF__ENCRYPTION_FOUND__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(ENCRYPTION_FOUND, encryption_found, &found);
    struct ask *a = arg;

    found.progress = p ? (Lf__Encryption *)message_copy(&p->base) : NULL;
    for (size_t n = 0; p && n < p->n_failures; n++) {
        char **path = &found.progress->failures[n]->path, *relative = *path;

        *path = join(a->mount_point, relative);
        free(relative);
    }
    if (p)
        ipc_reply(a->req, &reply, NULL, 0);
    else
        ipc_fail_error(a->req, e);
    if (p)
        lf__encryption__free_unpacked(found.progress, NULL);
    end(a);
}

void object_api_encryption(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__EncryptionGet *given = env->encryption_get;
    struct volume *v;
    struct ask *a = ask_new(daemon, req, given->path, &v);

    (void)fds;
    if (a)
        volume_encryption(v, given->has_seconds ? object_api_seconds(given->seconds) : 0, encryption_done, a);
}

/* --- a directory ------------------------------------------------------------------------------ */

static bool list_each(const struct volume_node *n, void *arg)
{
    struct ask *a = arg;
    CLEANUP_FREE char *relative = join(a->relative, n->name);
    Lf__ObjectInfo *info = new_info(a, relative, n);

    a->full = !page_add(&a->page, &info->base);
    if (a->full)
        lf__object_info__free_unpacked(info, NULL);
    else
        xstrset(&a->last, n->name);
    return !a->full;
}

static void list_done(const struct error *e, bool more, void *arg);

void object_api_list(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__ObjectInfoList *given = env->object_info_list;
    struct volume *v;
    struct ask *a = ask_new(daemon, req, given->path, &v);

    (void)fds;
    if (a)
        volume_list(v, a->relative, given->page ? given->page : "", list_each, list_done, a);
}

static void list_done(const struct error *e, bool more, void *arg)
{
    struct ask *a = arg;
    Lf__ObjectInfoListed listed = LF__OBJECT_INFO_LISTED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(OBJECT_INFO_LISTED, object_info_listed, &listed);

    listed.objects = (Lf__ObjectInfo **)a->page.items;
    listed.n_objects = a->page.n;
    listed.next_page = more || a->full ? a->last : NULL;
    if (e && e->code)
        ipc_fail_error(a->req, e);
    else
        ipc_reply(a->req, &reply, NULL, 0);
    end(a);
}

/* --- contents --------------------------------------------------------------------------------- */

/* Inclusive at both ends; either may be absent. */
static int read_range(const Lf__StreamOpen *given, uint64_t *ret_first, uint64_t *ret_last, struct error *e)
{
    int64_t start = given->has_start ? given->start : 0, last = given->has_end ? given->end : INT64_MAX;

    if (start < 0 || last < start)
        return error_set(e, -ERANGE, "The range from %lld to %lld is not one.", (long long)start, (long long)last);
    *ret_first = (uint64_t)start;
    *ret_last = given->has_end ? (uint64_t)last : UINT64_MAX;
    return 0;
}

static void stream_done(const struct error *e, const struct volume_stream *s, void *arg);

void object_api_stream(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__StreamOpen *given = env->stream_open;
    uint64_t first = 0, last = 0;
    struct error e = { 0 };
    struct volume *v;
    struct ask *a;

    (void)fds;
    if (read_range(given, &first, &last, &e) < 0) {
        ipc_fail_error(req, &e);
        return;
    }
    a = ask_new(daemon, req, given->path, &v);
    if (a)
        volume_stream_open(v, a->relative, given->has_start || given->has_end, first, last, stream_done, a);
}

static void stream_done(const struct error *e, const struct volume_stream *s, void *arg)
{
    struct ask *a = arg;
    CLEANUP_CLOSE int fd = s ? s->fd : -1;
    char date[DATE_SIZE];
    Lf__StreamOpened opened = LF__STREAM_OPENED__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(STREAM_OPENED, stream_opened, &opened);

    if (!s) {
        ipc_fail_error(a->req, e);
        end(a);
        return;
    }
    opened.size = (int64_t)s->size;
    opened.first = (int64_t)s->first;
    opened.last = (int64_t)s->last;     /* of an empty object: 0 - 1 */
    opened.etag = s->etag && *s->etag ? (char *)s->etag : NULL;
    date_iso(s->mtime_ns, date);
    opened.last_modified = date;
    ipc_reply(a->req, &reply, &fd, 1);
    end(a);
}
