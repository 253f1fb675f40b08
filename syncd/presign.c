/* Presigned URLs of objects in a drive. They are never logged, and no key outside the drive's prefix is
 * signed: both paths of the request are taken below it, whatever they look like. */
#include "syncd/presign.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/account.h"
#include "syncd/credential.h"
#include "syncd/drive.h"
#include "syncd/path.h"
#include "syncd/syncd.h"

enum { SECONDS = 24 * 3600, KEY_SIZE = 2048 };

struct presign {
    struct ipc_request *req;
    struct cloud *cloud;
    char *bucket, *download_key, *upload_key;   /* keys NULL: not asked for */
    char *download_url;
};

static void end(struct presign *p)
{
    credential_wipe_text(p->download_url);
    free(p->download_url);
    free(p->download_key);
    free(p->upload_key);
    free(p->bucket);
    free(p);
}

static void fail(struct presign *p, const struct error *e)
{
    ipc_fail_error(p->req, e);
    end(p);
}

static void reply(struct presign *p, const char *upload_url)
{
    Lf__PresignedUrls urls = LF__PRESIGNED_URLS__INIT;
    Lf__Presigned presigned = LF__PRESIGNED__INIT;
    Lf__Envelope answer = IPC_ENVELOPE(PRESIGNED, presigned, &presigned);

    urls.download_url = p->download_url;
    urls.upload_url = (char *)upload_url;
    presigned.urls = &urls;
    ipc_reply(p->req, &answer, NULL, 0);
    end(p);
}

static void upload_done(const struct error *e, const char *url, void *arg);

static void upload(struct presign *p)
{
    const struct cloud_url url = { .method = "PUT", .bucket = p->bucket, .key = p->upload_key, .seconds = SECONDS };

    if (p->upload_key)
        cloud_presign(p->cloud, &url, upload_done, p);
    else
        reply(p, NULL);
}

static void upload_done(const struct error *e, const char *url, void *arg)
{
    if (url)
        reply(arg, url);
    else
        fail(arg, e);
}

static void download_done(const struct error *e, const char *url, void *arg);

static void download(struct presign *p)
{
    const struct cloud_url url = { .method = "GET", .bucket = p->bucket, .key = p->download_key, .seconds = SECONDS };

    if (p->download_key)
        cloud_presign(p->cloud, &url, download_done, p);
    else
        upload(p);
}

static void download_done(const struct error *e, const char *url, void *arg)
{
    struct presign *p = arg;

    if (!url) {
        fail(p, e);
        return;
    }
    p->download_url = xstrdup(url);
    upload(p);
}

static bool given(const char *s)
{
    return s && *s;
}

/* The whole key of a path below the drive's root. An upload key may have been read off the bucket: then it begins with
 * the prefix already. */
static int make_key(const struct drive *drive, const char *path, bool whole, char **ret, struct error *e)
{
    const char *prefix = drive->model->prefix;
    CLEANUP_FREE char *relative = NULL;
    char key[KEY_SIZE];
    int r;

    path += strspn(path, "/");
    if (whole && strncmp(path, prefix, strlen(prefix)) == 0)
        path += strlen(prefix);
    r = path_clean(path, "/", &relative, e);
    if (r < 0)
        return r;
    if (!*relative)
        return error_set(e, -EINVAL, "A URL is for an object, not for the drive itself.");
    r = volume_key(drive->volume, relative, key, sizeof(key));
    if (r < 0)
        return error_set(e, r, "The path %.300s cannot be an object of the drive.", path);
    *ret = xstrdup(key);
    return 0;
}

static int make_keys(struct presign *p, const struct drive *drive, const Lf__Presign *ask, struct error *e)
{
    int r = 0;

    if (!given(ask->relative_path) && !given(ask->upload_key))
        return error_set(e, -EINVAL, "relativePath and uploadKey are both missing.");
    if (given(ask->upload_key) && drive->model->permission_type == 1)
        return error_set(e, -EROFS, "The drive %s is read-only; no upload URL is given out for it.",
                         drive->model->name);
    if (given(ask->upload_key) && drive->model->cloud_objects_encrypted)
        return error_set(e, -EOPNOTSUPP, "The drive %s encrypts its objects; what is uploaded by a URL would not be "
                         "encrypted.", drive->model->name);
    if (given(ask->relative_path))
        r = make_key(drive, ask->relative_path, false, &p->download_key, e);
    if (r == 0 && given(ask->upload_key))
        r = make_key(drive, ask->upload_key, true, &p->upload_key, e);
    return r;
}

static int prepare(struct syncd *d, struct presign *p, const Lf__Presign *ask, struct error *e)
{
    struct drive *drive;
    int r;

    if (!given(ask->drive_name))
        return error_set(e, -EINVAL, "driveName is missing.");
    drive = drive_by_name(d, ask->drive_name);
    if (!drive)
        return error_set(e, -ENOENT, "There is no drive named %.255s.", ask->drive_name);
    if (!drive_running(drive, e))
        return e->code;
    r = make_keys(p, drive, ask, e);
    if (r == 0)
        r = account_cloud(d, drive->model->account->id, &p->cloud, e);
    if (r == 0 && !(cloud_capabilities(p->cloud) & CLOUD_CAN_PRESIGN))
        r = error_set(e, -EOPNOTSUPP, "The provider of the drive %s has no presigned URLs.", drive->model->name);
    p->bucket = xstrdup(drive->model->storage_name);
    return r;
}

void presign_urls(struct ipc_request *req, const Lf__Envelope *env, int *fds, void *daemon)
{
    struct presign *p = xcalloc(1, sizeof(*p));
    struct error e = { 0 };

    (void)fds;
    p->req = req;
    if (prepare(daemon, p, env->presign, &e) < 0)
        fail(p, &e);
    else
        download(p);
}
