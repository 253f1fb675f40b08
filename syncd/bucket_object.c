/* What people do with one object of a bucket, beside the drives: URLs of it, its end, a folder made. No key and no URL
 * comes into the log. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/text.h"
#include "syncd/account_given.h"
#include "syncd/bucket.h"
#include "syncd/bucket_key.h"
#include "syncd/syncd.h"

enum { HOURS = 24, HOURS_MOST = 7 * 24, HOUR_SECONDS = 3600, TYPE_MAX = 255 };

/* A request about one object. */
struct single {
    struct syncd *d;
    struct ipc_request *req;
    struct account_given *account;
    struct cloud *cloud;
    char *bucket, *key;           /* owned */
};

static struct single *single_new(struct syncd *d, struct ipc_request *req)
{
    struct single *s = xcalloc(1, sizeof(*s));

    s->d = d;
    s->req = req;
    return s;
}

static void end(struct single *s)
{
    account_given_close(s->account);
    free(s->bucket);
    free(s->key);
    free(s);
}

static void fail(struct single *s, const struct error *e)
{
    ipc_fail_error(s->req, e);
    end(s);
}

static int open_account(struct single *s, const Lf__CloudAccount *account, const char *id, const char *bucket,
                        struct error *e)
{
    int r;

    if (!bucket || !*bucket)
        return error_set(e, -EINVAL, "storageName is missing.");
    s->bucket = xstrdup(bucket);
    r = account_given_open(s->d, account, id, &s->account, e);
    return r < 0 ? r : account_given_cloud(s->account, &s->cloud, e);
}

static int set_key(struct single *s, const char *key, struct error *e)
{
    int r = bucket_key_check("key", key, e);

    if (r == 0)
        s->key = xstrdup(key);
    return r;
}

/* --- URLs ------------------------------------------------------------------------------------- */

static int read_hours(bool has, int32_t hours, unsigned *ret_seconds, struct error *e)
{
    if (has && (hours < 1 || hours > HOURS_MOST))
        return error_set(e, -EINVAL, "expireHours must be between 1 and %d.", HOURS_MOST);
    *ret_seconds = (unsigned)(has ? hours : HOURS) * HOUR_SECONDS;
    return 0;
}

/* It becomes a line of a request's head. */
static int check_type(const char *type, struct error *e)
{
    if (strlen(type) > TYPE_MAX || !utf8_valid(type, strlen(type)) || text_has_control(type))
        return error_set(e, -EINVAL, "contentType cannot be the Content-Type of an upload.");
    return 0;
}

static void on_signed(const struct error *e, const char *url, void *arg)
{
    struct single *s = arg;
    Lf__SignedUrl answer = LF__SIGNED_URL__INIT;
    Lf__Envelope reply = IPC_ENVELOPE(SIGNED_URL, signed_url, &answer);

    if (!url) {
        fail(s, e);
        return;
    }
    answer.url = (char *)(uintptr_t)url;
    ipc_reply(s->req, &reply, NULL, 0);
    end(s);
}

static int sign(struct single *s, struct cloud_url *url, struct error *e)
{
    if (!(cloud_capabilities(s->cloud) & CLOUD_CAN_PRESIGN))
        return error_set(e, -EOPNOTSUPP, "The account is a folder of this machine; there are no URLs for what lies in "
                         "it.");
    url->bucket = s->bucket;
    url->key = s->key;
    cloud_presign(s->cloud, url, on_signed, s);
    return 0;
}

void bucket_download_url(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__DownloadUrl *q = env->download_url;
    struct single *s = single_new(daemon, req);
    struct cloud_url url = { .method = "GET", .attachment = q->has_force_to_download && q->force_to_download };
    struct error e = { 0 };

    (void)fds;
    if (read_hours(q->has_expire_hours, q->expire_hours, &url.seconds, &e) < 0 || set_key(s, q->key, &e) < 0 ||
        open_account(s, q->cloud_account, q->cloud_account_id, q->storage_name, &e) < 0 || sign(s, &url, &e) < 0)
        fail(s, &e);
}

void bucket_upload_url(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__UploadUrl *q = env->upload_url;
    struct single *s = single_new(daemon, req);
    struct cloud_url url = { .method = "PUT" };
    struct error e = { 0 };

    (void)fds;
    url.content_type = q->content_type && *q->content_type ? q->content_type : NULL;
    if (read_hours(q->has_expire_hours, q->expire_hours, &url.seconds, &e) < 0 || set_key(s, q->key, &e) < 0 ||
        (url.content_type && check_type(url.content_type, &e) < 0) ||
        open_account(s, q->cloud_account, q->cloud_account_id, q->storage_name, &e) < 0 || sign(s, &url, &e) < 0)
        fail(s, &e);
}

/* --- changes ---------------------------------------------------------------------------------- */

static void changed(struct cloud_request *r, void *arg)
{
    struct single *s = arg;
    struct error e;

    if (r->error.code == 0) {
        ipc_done(s->req);
    } else {
        /* A missing bucket is named by the request's body: not the route's 404. */
        error_set(&e, r->error.code == -ENOENT ? -EINVAL : r->error.code, "%s", error_text(&r->error));
        ipc_fail_error(s->req, &e);
    }
    cloud_request_free(r);
    end(s);
}

static struct cloud_request *new_change(struct single *s, enum cloud_op op)
{
    struct cloud_request *r = cloud_request_new(op, changed, s);

    cloud_request_set(&r->bucket, s->bucket);
    cloud_request_set(&r->key, s->key);
    r->deadline_ms = ACCOUNT_DEADLINE_MS;
    r->trace = ipc_request_trace(s->req);
    return r;
}

void bucket_delete_object(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__CloudObjectDelete *q = env->cloud_object_delete;
    struct single *s = single_new(daemon, req);
    struct error e = { 0 };

    (void)fds;
    if (set_key(s, q->key, &e) < 0 || open_account(s, q->cloud_account, q->cloud_account_id, q->storage_name, &e) < 0)
        fail(s, &e);
    else
        cloud_submit(s->cloud, new_change(s, CLOUD_DELETE));
}

static void put_marker(struct single *s)
{
    struct cloud_request *r = new_change(s, CLOUD_PUT);

    r->meta.has_mode = true;
    r->meta.mode = S_IFDIR | 0755;
    cloud_submit(s->cloud, r);
}

/* A marker that is there already is as good as a new one, and stays as it is. */
static void marker_looked_for(struct cloud_request *r, void *arg)
{
    struct single *s = arg;
    struct error e = { 0 };

    if (r->error.code != -ENOENT) {
        changed(r, s);
        return;
    }
    cloud_request_free(r);
    if (account_given_cloud(s->account, &s->cloud, &e) < 0)
        fail(s, &e);
    else
        put_marker(s);
}

void bucket_create_folder(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    const Lf__CloudFolderCreate *q = env->cloud_folder_create;
    struct single *s = single_new(daemon, req);
    struct cloud_request *r;
    struct error e = { 0 };

    (void)fds;
    if (bucket_key_make("folderName", q->path, q->folder_name, "/", &s->key, &e) < 0 ||
        open_account(s, q->cloud_account, q->cloud_account_id, q->storage_name, &e) < 0) {
        fail(s, &e);
        return;
    }
    r = new_change(s, CLOUD_STAT);
    r->done = marker_looked_for;
    cloud_submit(s->cloud, r);
}
