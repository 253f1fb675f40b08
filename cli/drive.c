/* `landfall drive`: buckets as directories. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/run.h"
#include "cli/target.h"
#include "common/cleanup.h"

enum { DRIVE_VIRTUAL = 1, SYNC_STREAM = 1, PERMISSION_READ = 1, PERMISSION_READ_WRITE = 2, MOUNT_SECONDS = 60 };

struct wish {
    const char *name, *account, *bucket, *prefix;
    bool if_absent, read_only, wait;
};

static int list(int argc, char **argv)
{
    static const struct target_option none[] = { { 0 } };
    static const char *const keys[] = { "id", "name", "storageName", "localPath", NULL };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, none, &instance);

    if (r)
        return r;
    r = listing_print(instance, "/management/clouddrive", keys, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("drive", &e) : EXIT_SUCCESS;
}

static void put(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

static void put_number(struct json_object *o, const char *key, int value)
{
    json_object_object_add(o, key, json_object_new_int(value));
}

static struct json_object *make_drive(const struct wish *w, const char *account_id)
{
    struct json_object *o = json_object_new_object(), *account = json_object_new_object();

    put(account, "id", account_id);
    put(o, "name", w->name);
    put(o, "storageName", w->bucket);
    put(o, "prefix", w->prefix ? w->prefix : "");
    put(o, "permanentLocalPath", "$$$");
    put_number(o, "driveType", DRIVE_VIRTUAL);
    put_number(o, "syncType", SYNC_STREAM);
    put_number(o, "permissionType", w->read_only ? PERMISSION_READ : PERMISSION_READ_WRITE);
    json_object_object_add(o, "allowDelete", json_object_new_boolean(!w->read_only));
    json_object_object_add(o, "account", account);
    return o;
}

static int insert(struct json_object *instance, const struct wish *w, struct json_object **ret, struct error *e)
{
    struct json_object *account = NULL, *o;
    int r = listing_find(instance, "/cloud/accounts", w->account, &account, e);

    if (r < 0)
        return r;
    if (!account)
        return error_set(e, -ENOENT, "There is no account %s; `landfall account list` shows them.", w->account);
    o = make_drive(w, instance_text(account, "id"));
    r = api_call(instance, "POST", "/management/clouddrive", o, ret, e);
    json_object_put(o);
    json_object_put(account);
    return r;
}

/* --- waiting for the mount -------------------------------------------------------------------- */

struct search {
    const char *point;
    bool found;
};

static void compare(const char *source, const char *point, void *arg)
{
    struct search *s = arg;

    (void)source;
    s->found = s->found || strcmp(s->point, point) == 0;
}

static bool mounted(const char *point)
{
    CLEANUP_FREE char *above = strdup(point);
    char *slash = above ? strrchr(above, '/') : NULL;
    struct search s = { point, false };

    if (slash)
        *slash = '\0';
    if (above)
        run_mounts_each(above, compare, &s);
    return s.found;
}

static int await_mount(const char *point, struct error *e)
{
    CLEANUP_CLOSE int watch = run_mounts_watch();
    struct pollfd p = { .fd = watch, .events = POLLIN };
    int64_t until = loop_now_ns() + MOUNT_SECONDS * INT64_C(1000000000), left;

    while (!mounted(point) && (left = (until - loop_now_ns()) / 1000000) > 0) {
        (void)poll(&p, 1, (int)left);
        run_mounts_drain(watch);
    }
    if (mounted(point))
        return 0;
    return error_set(e, -ETIMEDOUT, "The drive is stored, but was not mounted at %s within %d seconds; the logs of "
                     "mountd and syncd say why.", point, MOUNT_SECONDS);
}

static int add_wish(struct json_object *instance, const struct wish *w, struct error *e)
{
    struct json_object *drive = NULL;
    const char *point;
    int r = 0;

    if (!w->name || !w->account || !w->bucket)
        return error_set(e, -EINVAL, "add needs --name, --account and --bucket.");
    if (w->if_absent)
        r = listing_find(instance, "/management/clouddrive", w->name, &drive, e);
    if (r == 0 && !drive)
        r = insert(instance, w, &drive, e);
    point = instance_text(drive, "localPath");
    if (r == 0 && w->wait)
        r = await_mount(point, e);
    if (r == 0)
        printf("%s\n", point);
    json_object_put(drive);
    return r;
}

static int add(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = {
        { "name", &w.name, NULL },           { "account", &w.account, NULL },     { "bucket", &w.bucket, NULL },
        { "prefix", &w.prefix, NULL },       { "if-absent", NULL, &w.if_absent }, { "read-only", NULL, &w.read_only },
        { "wait", NULL, &w.wait },           { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = add_wish(instance, &w, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("drive", &e) : EXIT_SUCCESS;
}

int command_drive(int argc, char **argv)
{
    static const struct command verbs[] = {
        { "list", "[--dir DIR]", "id, name, bucket and mount point of every drive", list },
        { "add",
          "--name NAME --account NAME --bucket BUCKET [--prefix P] [--read-only] [--if-absent] [--wait] [--dir DIR]",
          "mounts a bucket; prints the mount point. --wait returns when it is mounted", add },
        { 0 },
    };

    return command_verb(verbs, argc, argv);
}
