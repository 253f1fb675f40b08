/* `landfall account`: cloud accounts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/keys.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"

/* Numbers of the API's cloudType. */
enum { CLOUD_S3_GENERIC = 8, CLOUD_LOCAL_FOLDER = 1048576 };

struct wish {
    const char *name, *folder, *endpoint, *region, *keys_file;
    bool if_absent;
};

static int list(int argc, char **argv)
{
    static const struct target_option none[] = { { 0 } };
    static const char *const keys[] = { "id", "name", "serviceUrl", NULL };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, none, &instance);

    if (r)
        return r;
    r = listing_print(instance, "/cloud/accounts", keys, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("account", &e) : EXIT_SUCCESS;
}

static void put(struct json_object *o, const char *key, const char *value)
{
    json_object_object_add(o, key, json_object_new_string(value));
}

static int add_folder(struct json_object *o, const struct wish *w, struct error *e)
{
    CLEANUP_FREE char *path = realpath(w->folder, NULL), *url = NULL;

    if (!path)
        return error_set(e, -errno, "The folder %s cannot be used: %m.", w->folder);
    if (asprintf(&url, "file://%s", path) < 0)
        return -ENOMEM;
    json_object_object_add(o, "cloudType", json_object_new_int(CLOUD_LOCAL_FOLDER));
    put(o, "serviceUrl", url);
    return 0;
}

static int add_s3(struct json_object *o, const struct wish *w, struct error *e)
{
    struct key_pair k;
    int r = keys_read(w->keys_file, &k, e);

    if (r < 0)
        return r;
    json_object_object_add(o, "cloudType", json_object_new_int(CLOUD_S3_GENERIC));
    put(o, "serviceUrl", w->endpoint);
    if (w->region)
        put(o, "region", w->region);
    put(o, "accessKey", k.access);
    put(o, "secretKey", k.secret);
    keys_wipe(&k);
    return 0;
}

static int insert(struct json_object *instance, const struct wish *w, struct json_object **ret, struct error *e)
{
    struct json_object *o = json_object_new_object();
    int r;

    put(o, "name", w->name);
    r = w->folder ? add_folder(o, w, e) : add_s3(o, w, e);
    if (r == 0)
        r = api_call(instance, "POST", "/cloud/insert_account", o, ret, e);
    json_object_put(o);
    return r;
}

static int add_wish(struct json_object *instance, const struct wish *w, struct error *e)
{
    struct json_object *account = NULL;
    int r = 0;

    if (!w->name || !w->folder == !w->endpoint)
        return error_set(e, -EINVAL, "add needs --name and one of --folder or --s3-endpoint.");
    if (w->if_absent)
        r = listing_find(instance, "/cloud/accounts", w->name, &account, e);
    if (r == 0 && !account)
        r = insert(instance, w, &account, e);
    if (r == 0)
        printf("%s\n", instance_text(account, "id"));
    json_object_put(account);
    return r;
}

static int add(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = {
        { "name", &w.name, NULL },           { "folder", &w.folder, NULL },
        { "s3-endpoint", &w.endpoint, NULL }, { "region", &w.region, NULL },
        { "keys-file", &w.keys_file, NULL }, { "if-absent", NULL, &w.if_absent },
        { 0 },
    };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    int r = target_open(argc, argv, options, &instance);

    if (r)
        return r;
    r = add_wish(instance, &w, &e);
    json_object_put(instance);
    return r < 0 ? target_fail("account", &e) : EXIT_SUCCESS;
}

int command_account(int argc, char **argv)
{
    static const struct command verbs[] = {
        { "list", "[--dir DIR]", "id, name and address of every account", list },
        { "add",
          "--name NAME (--folder PATH | --s3-endpoint URL [--region R] [--keys-file FILE]) [--if-absent] [--dir DIR]",
          "a folder of this machine as a cloud, or an S3 service; its keys come from AWS_ACCESS_KEY_ID and\n"
          "      AWS_SECRET_ACCESS_KEY in the environment or in FILE. Prints the account's id", add },
        { 0 },
    };

    return command_verb(verbs, argc, argv);
}
