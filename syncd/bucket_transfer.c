/* /cloud/upload_object and /cloud/download_object: what was asked for is looked at and opened, then answered; the rest
 * is a haul's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/bucket.h"
#include "syncd/bucket_download.h"
#include "syncd/bucket_key.h"
#include "syncd/bucket_upload.h"
#include "syncd/local_path.h"
#include "syncd/path.h"
#include "syncd/place.h"
#include "syncd/syncd.h"

enum { TYPE_OBJECT = 1, TYPE_FOLDER = 2 };

/* Until the answer. */
struct asked {
    struct ipc_request *req;
    struct haul *haul;
    char *id, *path, *key;        /* owned; id may be NULL */
    char origin[HAUL_ORIGIN_SIZE];
    bool overwrite, tree;
    int fd;                       /* of the file or the folder */
    haul_kept_fn *begin;
    struct stat st;
    struct error error;
};

static struct asked *asked_new(struct ipc_request *req, struct haul *haul, const char *id, haul_kept_fn *begin)
{
    struct asked *a = xcalloc(1, sizeof(*a));

    a->req = req;
    a->haul = haul;
    a->id = xstrdup(id);
    haul_origin(req, a->origin);
    a->fd = -1;
    a->begin = begin;
    return a;
}

static void end(struct asked *a)
{
    cleanup_close(&a->fd);
    free(a->id);
    free(a->path);
    free(a->key);
    free(a);
}

static void fail(struct asked *a, const struct error *e)
{
    struct haul *haul = a->haul;

    ipc_fail_error(a->req, e);
    end(a);
    haul_drop(haul);
}

static void reply(struct asked *a)
{
    haul_begun(a->req, haul_id(a->haul));
    end(a);
}

static void opened(struct haul *haul, void *arg)
{
    struct asked *a = arg;

    if (a->fd < 0)
        fail(a, &a->error);
    else
        haul_keep_account(haul, a->begin, a);
}

/* --- up ----------------------------------------------------------------------------------------------------- */

static void open_file(void *arg)
{
    struct asked *a = arg;

    a->fd = local_file_open(a->path, &a->st, &a->error);
}

static void begin_upload(struct haul *haul, const struct error *why, void *arg)
{
    struct asked *a = arg;
    struct bucket_upload_spec spec = { .id = a->id, .path = a->path, .key = a->key, .overwrite = a->overwrite,
                                       .size = (uint64_t)a->st.st_size, .origin = a->origin };

    if (why || bucket_upload_begin(haul, take_fd(&a->fd), &spec, &a->error) < 0)
        fail(a, why ? why : &a->error);
    else
        reply(a);
}

static int prepare_upload(struct asked *a, const Lf__CloudUpload *q, struct error *e)
{
    const struct syncd *d = a->haul->d;
    int r = local_path("localFilePath", q->local_file_path, &a->path, e);

    a->overwrite = q->has_overwrite && q->overwrite;
    if (r == 0)
        r = bucket_key_make("localFilePath", q->upload_path, strrchr(a->path, '/') + 1, "", &a->key, e);
    if (r == 0)
        r = place_check_haul(d, a->path, false, e);
    return r < 0 ? r : haul_open(a->haul, q->cloud_account, q->cloud_account_id, q->storage_name, e);
}

void bucket_upload_object(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct error e = { 0 };
    struct haul *haul;
    struct asked *a;

    (void)fds;
    if (haul_answered(daemon, req))
        return;
    haul = bucket_upload_new(daemon, ipc_request_trace(req));
    a = asked_new(req, haul, env->cloud_upload->id, begin_upload);
    if (prepare_upload(a, env->cloud_upload, &e) < 0)
        fail(a, &e);
    else
        haul_work(haul, open_file, opened, a);
}

/* --- down ----------------------------------------------------------------------------------------------------- */

static void open_folder(void *arg)
{
    struct asked *a = arg;

    a->fd = local_folder_open(a->path, &a->error);
}

static void begin_download(struct haul *haul, const struct error *why, void *arg)
{
    struct asked *a = arg;
    struct bucket_download_spec spec = { .id = a->id, .folder = a->path, .key = a->key, .tree = a->tree,
                                         .origin = a->origin };

    if (why || bucket_download_begin(haul, take_fd(&a->fd), &spec, &a->error) < 0)
        fail(a, why ? why : &a->error);
    else
        reply(a);
}

static int set_object(struct asked *a, const Lf__CloudDownload *q, struct error *e)
{
    int type = q->has_object_type ? q->object_type : TYPE_OBJECT, r = 0;

    if (type != TYPE_OBJECT && type != TYPE_FOLDER)
        return error_set(e, -EINVAL, "objectType is 1 for an object and 2 for all below a prefix.");
    a->tree = type == TYPE_FOLDER;
    a->key = a->tree ? path_prefix(q->object_key) : xstrdup(q->object_key ? q->object_key : "");
    if (*a->key || !a->tree)
        r = bucket_key_check("objectKey", a->key, e);
    if (r == 0 && !a->tree && a->key[strlen(a->key) - 1] == '/')
        r = error_set(e, -EINVAL, "objectKey is that of a folder; objectType 2 downloads all below it.");
    return r;
}

static int prepare_download(struct asked *a, const Lf__CloudDownload *q, struct error *e)
{
    const struct syncd *d = a->haul->d;
    int r = set_object(a, q, e);

    if (r == 0)
        r = local_path("downloadPath", q->download_path, &a->path, e);
    if (r == 0)
        r = place_check_haul(d, a->path, true, e);
    return r < 0 ? r : haul_open(a->haul, q->cloud_account, q->cloud_account_id, q->storage_name, e);
}

void bucket_download_object(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct error e = { 0 };
    struct haul *haul;
    struct asked *a;

    (void)fds;
    if (haul_answered(daemon, req))
        return;
    haul = bucket_download_new(daemon, ipc_request_trace(req));
    a = asked_new(req, haul, env->cloud_download->id, begin_download);
    if (prepare_download(a, env->cloud_download, &e) < 0)
        fail(a, &e);
    else
        haul_work(haul, open_folder, opened, a);
}
