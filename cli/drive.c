/* `landfall drive`: buckets as directories. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/account.h"
#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/run.h"
#include "cli/target.h"
#include "common/cleanup.h"

enum { DRIVE_VIRTUAL = 1, SYNC_STREAM = 1, PERMISSION_READ = 1, PERMISSION_READ_WRITE = 2 };
enum { MOUNT_SECONDS = 60, LOOK_MS = 500 };

struct wish {
    const char *name, *account, *bucket, *prefix;
    struct account_wish cloud;          /* instead of `account` */
    bool if_absent, read_only, wait, encrypt_cache, encrypt_objects, json;
};

static int list(int argc, char **argv)
{
    static const char *const keys[] = { "id", "name", "storageName", "localPath", NULL };

    return listing_run(argc, argv, "drive", "/management/clouddrive", keys);
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
    json_object_object_add(o, "localCacheEncrypted", json_object_new_boolean(w->encrypt_cache));
    json_object_object_add(o, "cloudObjectsEncrypted", json_object_new_boolean(w->encrypt_objects));
    json_object_object_add(o, "account", account);
    return o;
}

static int insert(struct json_object *instance, const struct wish *w, const char *account_id, struct json_object **ret,
                  struct error *e)
{
    struct json_object *o = make_drive(w, account_id);
    int r = api_call(instance, "POST", "/management/clouddrive", o, ret, e);

    json_object_put(o);
    return r;
}

/* --- its account -------------------------------------------------------------------------------- */

static int take_account(struct json_object *instance, const struct wish *w, struct account *ret, struct error *e)
{
    return w->account ? account_find(instance, w->account, ret, e)
                      : account_ensure(instance, &w->cloud, w->bucket, ret, e);
}

/* A drive that is there already is the wanted one only if it leads to the same bucket, with the same account. */
static int check_same(struct json_object *drive, const struct wish *w, const char *account_id, struct error *e)
{
    struct json_object *account = json_object_object_get(drive, "account");

    if (strcmp(instance_text(drive, "storageName"), w->bucket) != 0)
        return error_set(e, -EEXIST, "There is a drive %s on another bucket, %s; give this one another --name.",
                         w->name, instance_text(drive, "storageName"));
    if (strcmp(instance_text(account, "id"), account_id) != 0)
        return error_set(e, -EEXIST, "There is a drive %s already, with other keys or at another endpoint; it was left "
                         "as it is. To change it: `landfall drive remove --name %s`, which leaves alone what is in the "
                         "cloud, and then this again.", w->name, w->name);
    return 0;
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

/* Why mountd could not mount it, as the list of drives says; 0 while nothing is known against it. */
static int check_mount(struct json_object *instance, const char *id, struct error *e)
{
    struct json_object *drive = NULL;
    const char *why;
    int r = listing_find(instance, "/management/clouddrive", listing_named, (void *)id, &drive, e);

    why = r == 0 ? instance_text(drive, "mountError") : "";
    if (*why)
        r = error_set(e, -EIO, "%s", why);
    json_object_put(drive);
    return r;
}

static int await_mount(struct json_object *instance, struct json_object *drive, struct error *e)
{
    const char *point = instance_text(drive, "localPath");
    CLEANUP_CLOSE int watch = run_mounts_watch();
    struct pollfd p = { .fd = watch, .events = POLLIN };
    int64_t until = loop_now_ns() + MOUNT_SECONDS * INT64_C(1000000000);
    int r = 0;

    while (!mounted(point) && r == 0 && loop_now_ns() < until) {
        (void)poll(&p, 1, LOOK_MS);
        run_mounts_drain(watch);
        r = mounted(point) ? 0 : check_mount(instance, instance_text(drive, "id"), e);
    }
    if (r < 0 || mounted(point))
        return r;
    return error_set(e, -ETIMEDOUT, "The drive is stored, but was not mounted at %s within %d seconds; the logs of "
                     "mountd and syncd say why.", point, MOUNT_SECONDS);
}

/* --- commands ----------------------------------------------------------------------------------- */

/* The drive of this name, if --if-absent lets it count, or a new one. An account made on the way goes when it fails. */
static int find_or_insert(struct json_object *instance, const struct wish *w, struct json_object **ret, struct error *e)
{
    struct account a;
    int r = take_account(instance, w, &a, e);

    if (r < 0)
        return r;
    if (w->if_absent)
        r = listing_find(instance, "/management/clouddrive", listing_named, (void *)w->name, ret, e);
    if (r == 0)
        r = *ret ? check_same(*ret, w, a.id, e) : insert(instance, w, a.id, ret, e);
    if (r < 0)
        account_undo(instance, &a);
    return r;
}

static void say_drive(struct json_object *drive, const char *member, bool json)
{
    if (json) {
        listing_json(drive);
        return;
    }
    listing_puts(instance_text(drive, member));
    putchar('\n');
}

/* The exit status, with a sentence in *e when it is no success. */
static int add_wish(struct json_object *instance, const struct wish *w, struct error *e)
{
    struct json_object *drive = NULL;
    int status = EXIT_FAILURE;

    if (!w->name || !w->bucket)
        (void)error_set(e, -EINVAL, "add needs --name and --bucket.");
    else if (find_or_insert(instance, w, &drive, e) == 0) {
        say_drive(drive, "localPath", w->json);
        status = w->wait && await_mount(instance, drive, e) < 0 ? EXIT_UNMOUNTED : EXIT_SUCCESS;
    }
    json_object_put(drive);
    return status;
}

static int add(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = {
        { "name", &w.name, NULL },           { "account", &w.account, NULL },     { "bucket", &w.bucket, NULL },
        { "prefix", &w.prefix, NULL },       { "if-absent", NULL, &w.if_absent }, { "read-only", NULL, &w.read_only },
        { "wait", NULL, &w.wait },           { "encrypt-cache", NULL, &w.encrypt_cache },
        { "encrypt-objects", NULL, &w.encrypt_objects }, { "json", NULL, &w.json }, ACCOUNT_OPTIONS(&w.cloud), { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = add_wish(instance, &w, &e);
    json_object_put(instance);
    if (r == EXIT_SUCCESS)
        return r;
    return target_fail("drive", &e) == EXIT_USAGE ? EXIT_USAGE : r;
}

/* Whoever removes a drive may mean to keep what is in the cloud, or to have it read by nobody. */
static void say_kept_keys(struct json_object *instance, const char *id)
{
    CLEANUP_FREE char *path = NULL;
    struct json_object *info = NULL;
    struct error e;

    if (asprintf(&path, "/management/drive_keys/%s", id) >= 0 &&
        api_call(instance, "GET", path, NULL, &info, &e) == 0 && *instance_text(info, "deleted"))
        printf("What it encrypted in the cloud stays, so its keys are kept: `landfall key export %s` prints them, "
               "`landfall key destroy %s --yes` destroys them.\n", id, id);
    json_object_put(info);
}

static int remove_named(struct json_object *instance, const char *name, bool force, struct error *e)
{
    struct json_object *drive = NULL, *reply = NULL;
    CLEANUP_FREE char *path = NULL;
    int r = name ? listing_find(instance, "/management/clouddrive", listing_named, (void *)name, &drive, e)
                 : error_set(e, -EINVAL, "remove needs --name.");

    if (r == 0 && !drive)
        r = error_set(e, -ENOENT, "There is no drive %s; `landfall drive list` shows them.", name);
    if (r == 0 && asprintf(&path, "/management/clouddrive/%s%s", instance_text(drive, "id"),
                           force ? "?force=true" : "") < 0)
        r = -ENOMEM;
    if (r == 0)
        r = api_call(instance, "DELETE", path, NULL, &reply, e);
    if (r == 0)
        say_kept_keys(instance, instance_text(drive, "id"));
    json_object_put(drive);
    json_object_put(reply);
    return r;
}

static int remove_drive(int argc, char **argv)
{
    const char *name = NULL;
    bool force = false;
    const struct target_option options[] = { { "name", &name, NULL }, { "force", NULL, &force }, { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = remove_named(instance, name, force, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("drive", &e) : EXIT_SUCCESS;
}

/* --- its cache ----------------------------------------------------------------------------------- */

struct cache_wish {
    const char *name, *folder, *size;
    bool encrypt, plain, json;
};

static int check_cache(const struct cache_wish *w, struct error *e)
{
    if (!w->name)
        return error_set(e, -EINVAL, "cache needs --name.");
    if (w->encrypt && w->plain)
        return error_set(e, -EINVAL, "The cache is either to be encrypted or to be plain.");
    if (!w->encrypt && !w->plain && !w->folder && !w->size)
        return error_set(e, -EINVAL, "Say what is to change: --encrypt, --plain, --folder or --size.");
    if (w->size && (!*w->size || strspn(w->size, "0123456789") != strlen(w->size)))
        return error_set(e, -EINVAL, "--size is a number of bytes; 0: no limit.");
    return 0;
}

static struct json_object *make_cache(const struct cache_wish *w)
{
    struct json_object *o = json_object_new_object();

    if (w->encrypt || w->plain)
        json_object_object_add(o, "localCacheEncrypted", json_object_new_boolean(w->encrypt));
    if (w->folder)
        put(o, "permanentLocalPath", w->folder);
    if (w->size)
        json_object_object_add(o, "maximumCacheSize", json_object_new_int64(strtoll(w->size, NULL, 10)));
    return o;
}

static int change_cache(struct json_object *instance, const struct cache_wish *w, struct error *e)
{
    struct json_object *drive = NULL, *reply = NULL, *cache = make_cache(w);
    CLEANUP_FREE char *path = NULL;
    int r = listing_find(instance, "/management/clouddrive", listing_named, (void *)w->name, &drive, e);

    if (r == 0 && !drive)
        r = error_set(e, -ENOENT, "There is no drive %s; `landfall drive list` shows them.", w->name);
    if (r == 0 && asprintf(&path, "/management/clouddrive_change_cache/%s", instance_text(drive, "id")) < 0)
        r = -ENOMEM;
    if (r == 0)
        r = api_call(instance, "PUT", path, cache, &reply, e);
    if (r == 0)
        say_drive(reply, "permanentLocalPath", w->json);
    json_object_put(cache);
    json_object_put(drive);
    json_object_put(reply);
    return r;
}

static int cache(int argc, char **argv)
{
    struct cache_wish w = { 0 };
    const struct target_option options[] = {
        { "name", &w.name, NULL }, { "folder", &w.folder, NULL }, { "size", &w.size, NULL },
        { "encrypt", NULL, &w.encrypt }, { "plain", NULL, &w.plain }, { "json", NULL, &w.json }, { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = check_cache(&w, &e);
    if (r == 0)
        r = change_cache(instance, &w, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("drive", &e) : EXIT_SUCCESS;
}

/* --- at once ------------------------------------------------------------------------------------- */

static int call_named(struct json_object *instance, const char *name, const char *method, const char *endpoint,
                      struct error *e)
{
    struct json_object *drive = NULL, *reply = NULL;
    CLEANUP_FREE char *path = NULL;
    int r = listing_find(instance, "/management/clouddrive", listing_named, (void *)(uintptr_t)name, &drive, e);

    if (r == 0 && !drive)
        r = error_set(e, -ENOENT, "There is no drive %s; `landfall drive list` shows them.", name);
    if (r == 0 && asprintf(&path, "%s/%s", endpoint, instance_text(drive, "id")) < 0)
        r = -ENOMEM;
    if (r == 0)
        r = api_call(instance, method, path, NULL, &reply, e);
    json_object_put(drive);
    json_object_put(reply);
    return r;
}

static int act_sync(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    (void)n;
    (void)arg;
    return call_named(instance, words[0], "GET", "/management/clouddrive/sync", e);
}

static int sync_drive(int argc, char **argv)
{
    return target_do(argc, argv, &(struct target_job){ .least = 1, .most = 1, .wanted = "Say which drive.",
                                                       .act = act_sync });
}

static int act_open(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    (void)n;
    (void)arg;
    return call_named(instance, words[0], "POST", "/management/clouddrive_open", e);
}

static int open_drive(int argc, char **argv)
{
    return target_do(argc, argv, &(struct target_job){ .least = 1, .most = 1, .wanted = "Say which drive.",
                                                       .act = act_open });
}

const struct command drive_verbs[] = {
    { "list|ls", "[--json] [--dir DIR]", "id, name, bucket and mount point of every drive", list, NULL },
    { "add",
      "--name NAME --bucket BUCKET (--account NAME | --s3-endpoint URL [--region R] [--keys-file FILE] |\n"
      "      --folder PATH) [--prefix P] [--read-only] [--encrypt-cache] [--encrypt-objects]\n"
      "      [--if-absent] [--wait] [--json] [--dir DIR]",
      "mounts a bucket; prints the mount point. With an endpoint or folder its account is made on the way. --wait\n"
      "      returns when it is mounted, or with the reason why it is not", add, NULL },
    { "cache", "--name NAME [--encrypt | --plain] [--folder PATH] [--size BYTES] [--json] [--dir DIR]",
      "changes the cache of a drive that is in use: encrypts it or no more, moves it, limits it; prints its folder",
      cache, NULL },
    { "remove|rm", "--name NAME [--force] [--dir DIR]",
      "unmounts and forgets a drive; what is in the cloud stays. --force: also with changes that are not there yet",
      remove_drive, NULL },
    { "sync", "NAME [--dir DIR]",
      "looks into the bucket, and sends what waits, at once; also files whose upload was canceled", sync_drive, NULL },
    { "open", "NAME [--dir DIR]", "shows the drive in the file manager of the desktop", open_drive, NULL },
    { 0 },
};
