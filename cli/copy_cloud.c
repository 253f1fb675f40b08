/* A transfer of the agent's own, between a folder of this machine and a bucket without a drive: it is begun, watched,
 * and ended when whoever waits for it goes. It names objects and files after each other. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/copy.h"
#include "cli/instance.h"
#include "cli/place.h"
#include "cli/progress.h"
#include "common/cleanup.h"

enum { LOOK_MS = 250 };

static void put(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

/* --- what is asked for -------------------------------------------------------------------------------- */

/* BUCKET/KEY; the key is borrowed. */
static int put_bucket(struct json_object *o, const struct copy *c, const char **ret_key, struct error *e)
{
    size_t n = strcspn(c->remote, "/");
    CLEANUP_FREE char *bucket = strndup(c->remote, n);

    if (!bucket || !*bucket)
        return error_set(e, -EINVAL, "Write ACCOUNT:BUCKET/KEY.");
    put(o, "storageName", bucket);
    put(o, "cloudAccountId", instance_text(c->place, "id"));
    *ret_key = c->remote[n] ? c->remote + n + 1 : "";
    return 0;
}

static int check_names(const char *key, const char *file, struct error *e)
{
    if (strcmp(copy_name(key), copy_name(file)) == 0)
        return 0;
    return error_set(e, -EINVAL, "Between a bucket and this machine a file keeps its name: %.150s cannot become "
                     "%.150s.", copy_name(file), copy_name(key));
}

static int ask_upload(const struct copy *c, struct json_object *o, struct error *e)
{
    CLEANUP_FREE char *path = NULL, *folder = NULL;
    const char *key;
    int r = put_bucket(o, c, &key, e);

    if (r == 0)
        r = place_absolute(c->local, &path, e);
    if (r == 0 && *copy_name(key))
        r = check_names(key, path, e);
    if (r < 0)
        return r;
    if (asprintf(&folder, "/%.*s", (int)(copy_name(key) - key), key) < 0)
        return -ENOMEM;
    put(o, "localFilePath", path);
    put(o, "uploadPath", folder);
    json_object_object_add(o, "overwrite", json_object_new_boolean(c->force));
    return 0;
}

static int ask_download(const struct copy *c, struct json_object *o, struct error *e)
{
    CLEANUP_FREE char *target = NULL, *path = NULL;
    const char *key;
    int r = put_bucket(o, c, &key, e);

    if (r == 0 && c->force)
        r = error_set(e, -EINVAL, "A download from a bucket replaces no file; remove it first.");
    if (r == 0)
        r = copy_target(c->local, copy_name(key), &target, e);
    if (r == 0)
        r = place_absolute(target, &path, e);
    if (r == 0)
        r = check_names(key, path, e);
    if (r == 0 && access(path, F_OK) == 0)   /* the agent would put it beside that, as "name (2)" */
        r = error_set(e, -EEXIST, "%.300s is there already, and it was left as it is; remove it first.", path);
    if (r < 0)
        return r;
    path[copy_name(path) - path - 1] = '\0';
    put(o, "downloadPath", *path ? path : "/");
    put(o, "objectKey", key);
    json_object_object_add(o, "objectType", json_object_new_int(1));
    return 0;
}

/* --- how far it is ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupted = 1;
}

static int ask(const struct copy *c, const char *id, const char *method, const char *what, struct json_object **ret,
               struct error *e)
{
    CLEANUP_FREE char *path = NULL;

    if (asprintf(&path, "/cloud/client_transfer/%s/%s", id, what) < 0)
        return -ENOMEM;
    return api_call(c->instance, method, path, NULL, ret, e);
}

/* 1: it is over; 0: not yet; or negative errno with what went wrong. */
static int look(const struct copy *c, const char *id, struct error *e)
{
    struct json_object *o = NULL;
    int r = ask(c, id, "GET", "status", &o, e);

    if (r == 0) {
        const char *status = instance_text(o, "status");

        progress_show(json_object_get_int64(json_object_object_get(o, "transferredBytes")),
                      json_object_get_int64(json_object_object_get(o, "totalBytes")));
        r = strcmp(status, "completed") == 0;
        if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0)
            r = error_set(e, -EIO, "The transfer %s. %.400s", *status == 'f' ? "failed" : "was cancelled",
                          instance_text(o, "errorMessage"));
    }
    json_object_put(o);
    return r;
}

static int cancel(const struct copy *c, const char *id)
{
    struct json_object *reply = NULL;
    struct error e;

    (void)ask(c, id, "POST", "cancel", &reply, &e);
    json_object_put(reply);
    return EXIT_INTERRUPTED;
}

static int follow(const struct copy *c, const char *id, struct error *e)
{
    const struct sigaction action = { .sa_handler = on_interrupt };
    int r;

    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    while ((r = look(c, id, e)) == 0 && !interrupted)
        (void)poll(NULL, 0, LOOK_MS);
    progress_clear();
    if (r < 0)
        return r;
    return r == 0 ? cancel(c, id) : EXIT_SUCCESS;
}

int copy_cloud(const struct copy *c, struct error *e)
{
    struct json_object *o = json_object_new_object(), *begun = NULL;
    int r = strcmp(c->local, "-") == 0 ? error_set(e, -EINVAL, "Only drives can be copied from stdin and to stdout.")
            : c->up                    ? ask_upload(c, o, e)
                                       : ask_download(c, o, e);

    if (r == 0)
        r = api_call(c->instance, "POST", c->up ? "/cloud/upload_object" : "/cloud/download_object", o, &begun, e);
    if (r == 0)
        r = follow(c, instance_text(begun, "transferId"), e);
    json_object_put(o);
    json_object_put(begun);
    return r;
}
