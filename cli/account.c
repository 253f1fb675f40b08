/* `landfall account`: cloud accounts, and the account a new drive needs. */
#include "cli/account.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"
#include "common/text.h"

/* Numbers of the API's cloudType. */
enum { CLOUD_S3_GENERIC = 8, CLOUD_LOCAL_FOLDER = 1048576, NAME_PLACE_MAX = 32 };

static int list(int argc, char **argv)
{
    static const char *const keys[] = { "id", "name", "serviceUrl", NULL };

    return listing_run(argc, argv, "account", "/cloud/accounts", keys);
}

static void put(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

static int add_folder(struct json_object *o, const struct account_wish *w)
{
    CLEANUP_FREE char *url = NULL;

    if (asprintf(&url, "file://%s", w->folder) < 0)
        return -ENOMEM;
    json_object_object_add(o, "cloudType", json_object_new_int(CLOUD_LOCAL_FOLDER));
    put(o, "serviceUrl", url);
    return 0;
}

static void add_s3(struct json_object *o, const struct account_wish *w, const struct key_pair *k)
{
    json_object_object_add(o, "cloudType", json_object_new_int(CLOUD_S3_GENERIC));
    put(o, "serviceUrl", w->endpoint);
    if (w->region)
        put(o, "region", w->region);
    put(o, "accessKey", k->access);
    put(o, "secretKey", k->secret);
}

/* `k` is for an S3 service. */
static int insert(struct json_object *instance, const struct account_wish *w, const struct key_pair *k,
                  struct json_object **ret, struct error *e)
{
    struct json_object *o = json_object_new_object();
    int r = w->folder ? add_folder(o, w) : 0;

    put(o, "name", w->name);
    if (w->endpoint)
        add_s3(o, w, k);
    if (r == 0)
        r = api_call(instance, "POST", "/cloud/insert_account", o, ret, e);
    json_object_put(o);
    return r;
}

/* Once: what a keys file names may be a pipe. */
static int read_keys(const struct account_wish *w, struct key_pair *ret, struct error *e)
{
    *ret = (struct key_pair){ 0 };
    if (!w->folder == !w->endpoint)
        return error_set(e, -EINVAL, "One of --folder or --s3-endpoint is needed, to say which cloud.");
    return w->endpoint ? keys_read(w->keys_file, ret, e) : 0;
}

/* From here on the wish has the folder's own path, which the caller frees. */
static int find_folder(struct account_wish *w, char **ret, struct error *e)
{
    *ret = w->folder ? realpath(w->folder, NULL) : NULL;
    if (w->folder && !*ret)
        return error_set(e, -errno, "The folder %s cannot be used: %m.", w->folder);
    w->folder = *ret;
    return 0;
}

/* --- the account of a drive --------------------------------------------------------------------- */

int account_find(struct json_object *instance, const char *name, struct account *ret, struct error *e)
{
    struct json_object *account = NULL;
    int r = listing_find(instance, "/cloud/accounts", listing_named, (void *)name, &account, e);

    if (r == 0 && !account)
        r = error_set(e, -ENOENT, "There is no account %s; `landfall account list` shows them.", name);
    *ret = (struct account){ 0 };
    (void)snprintf(ret->id, sizeof(ret->id), "%s", instance_text(account, "id"));
    json_object_put(account);
    return r;
}

static int drop(struct json_object *instance, const char *id, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    struct json_object *reply = NULL;
    int r;

    if (asprintf(&path, "/cloud/delete?id=%s", id) < 0)
        return -ENOMEM;
    r = api_call(instance, "DELETE", path, NULL, &reply, e);
    json_object_put(reply);
    return r;
}

/* FNV-1a. It tells accounts apart and protects nothing. */
static void mix(uint64_t *hash, const char *text)
{
    for (size_t n = text ? strlen(text) + 1 : 0, i = 0; i < n; i++)
        *hash = (*hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
}

static const char *shown_of(const struct account_wish *w)
{
    const char *host = w->folder ? NULL : strstr(w->endpoint, "://");

    if (w->folder)
        return strrchr(w->folder, '/') + 1;
    return host ? host + strlen("://") : w->endpoint;
}

char *account_name(const struct account_wish *w, const struct key_pair *k)
{
    const char *shown = shown_of(w);
    uint64_t hash = UINT64_C(14695981039346656037);
    char *name = NULL;
    int fits;

    mix(&hash, w->folder ? w->folder : w->endpoint);
    mix(&hash, w->region);
    mix(&hash, k->access);
    fits = (int)utf8_cut(shown, strlen(shown), NAME_PLACE_MAX);
    return asprintf(&name, "%.*s %012" PRIx64, fits, shown, hash >> 16) < 0 ? NULL : name;
}

/* A look into the bucket with the keys as given; nothing is stored. */
static int try_keys(struct json_object *instance, const struct account_wish *w, const struct key_pair *k,
                    const char *bucket, struct error *e)
{
    struct json_object *o = json_object_new_object(), *account = json_object_new_object();
    struct json_object *request = json_object_new_object(), *reply = NULL;
    int r;

    add_s3(account, w, k);
    put(request, "bucketName", bucket);
    json_object_object_add(request, "count", json_object_new_int(1));
    json_object_object_add(o, "account", account);
    json_object_object_add(o, "request", request);
    r = api_call(instance, "POST", "/cloud/list_objects", o, &reply, e);
    json_object_put(o);
    json_object_put(reply);
    return r;
}

/* The account of that name, *ret NULL when there is none that can be taken: one that no drive uses gives way to a new
 * one, since it may hold an older secret. */
static int take_stored(struct json_object *instance, const struct account_wish *w, const struct key_pair *k,
                       const char *bucket, struct json_object **ret, struct error *e)
{
    struct error used = { 0 };
    int r = listing_find(instance, "/cloud/accounts", listing_named, (void *)w->name, ret, e);

    if (r < 0 || !*ret)
        return r;
    r = w->endpoint ? try_keys(instance, w, k, bucket, e) : 0;
    if (r < 0 || drop(instance, instance_text(*ret, "id"), &used) == 0) {
        json_object_put(*ret);
        *ret = NULL;
    }
    return r;
}

static int ensure(struct json_object *instance, const struct account_wish *w, const struct key_pair *k,
                  const char *bucket, struct account *ret, struct error *e)
{
    struct json_object *account = NULL;
    int r = take_stored(instance, w, k, bucket, &account, e);

    ret->made = !account;
    if (r == 0 && !account)
        r = insert(instance, w, k, &account, e);
    (void)snprintf(ret->id, sizeof(ret->id), "%s", instance_text(account, "id"));
    json_object_put(account);
    return r;
}

int account_ensure(struct json_object *instance, const struct account_wish *given, const char *bucket,
                   struct account *ret, struct error *e)
{
    CLEANUP_FREE char *name = NULL, *folder = NULL;
    struct account_wish w = *given;
    struct key_pair k;
    int r = read_keys(given, &k, e);

    if (r == 0)
        r = find_folder(&w, &folder, e);
    if (r == 0)
        r = (w.name = name = account_name(&w, &k)) ? ensure(instance, &w, &k, bucket, ret, e) : -ENOMEM;
    keys_wipe(&k);
    return r;
}

void account_undo(struct json_object *instance, struct account *a)
{
    struct error e = { 0 };

    if (a->made && drop(instance, a->id, &e) < 0)
        (void)target_fail("account", &e);
    a->made = false;
}

/* --- commands ----------------------------------------------------------------------------------- */

static int add_wish(struct json_object *instance, struct account_wish *w, bool json, struct error *e)
{
    CLEANUP_FREE char *folder = NULL;
    struct json_object *account = NULL;
    struct key_pair k;
    int r = w->name ? read_keys(w, &k, e) : error_set(e, -EINVAL, "add needs --name.");

    if (r < 0)
        return r;
    r = find_folder(w, &folder, e);
    if (r == 0)
        r = insert(instance, w, &k, &account, e);
    keys_wipe(&k);
    if (r == 0 && json)
        listing_json(account);
    else if (r == 0)
        printf("%s\n", instance_text(account, "id"));
    json_object_put(account);
    return r;
}

static int add(int argc, char **argv)
{
    struct account_wish w = { 0 };
    bool json = false;
    const struct target_option options[] = {
        { "name", &w.name, NULL }, { "json", NULL, &json }, ACCOUNT_OPTIONS(&w), { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = add_wish(instance, &w, json, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("account", &e) : EXIT_SUCCESS;
}

static int remove_named(struct json_object *instance, const char *name, struct error *e)
{
    struct account a;
    int r = name ? account_find(instance, name, &a, e) : error_set(e, -EINVAL, "remove needs --name.");

    return r < 0 ? r : drop(instance, a.id, e);
}

static int remove_account(int argc, char **argv)
{
    const char *name = NULL;
    const struct target_option options[] = { { "name", &name, NULL }, { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = remove_named(instance, name, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("account", &e) : EXIT_SUCCESS;
}

const struct command account_verbs[] = {
    { "list|ls", "[--json] [--dir DIR]", "id, name and address of every account", list, NULL },
    { "add",
      "--name NAME (--folder PATH | --s3-endpoint URL [--region R] [--keys-file FILE]) [--json] [--dir DIR]",
      "a folder of this machine as a cloud, or an S3 service; its keys come from AWS_ACCESS_KEY_ID and\n"
      "      AWS_SECRET_ACCESS_KEY in the environment or in FILE. Prints the account's id", add, NULL },
    { "remove|rm", "--name NAME [--dir DIR]", "forgets an account that no drive uses", remove_account, NULL },
    { 0 },
};
