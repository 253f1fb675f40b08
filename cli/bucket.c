/* `landfall bucket`: what an account has. */
#include <stdio.h>

#include "cli/account.h"
#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/target.h"

static void print(struct json_object *buckets)
{
    for (size_t i = 0; i < json_object_array_length(buckets); i++) {
        struct json_object *b = json_object_array_get_idx(buckets, i);

        listing_puts(instance_text(b, "name"));
        putchar('\t');
        listing_puts(instance_text(b, "region"));
        putchar('\t');
        listing_puts(instance_text(b, "createDate"));
        putchar('\n');
    }
}

static int act_list(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const bool *json = arg;
    struct json_object *request = json_object_new_object(), *reply = NULL;
    struct account account;
    int r = account_find(instance, words[0], &account, e);

    (void)n;
    json_object_object_add(request, "id", json_object_new_string(account.id));
    if (r == 0)
        r = api_call(instance, "POST", "/cloud/list_buckets?includeRegion=true", request, &reply, e);
    if (r == 0 && *json)
        listing_json(reply);
    else if (r == 0)
        print(json_object_object_get(reply, "data"));
    json_object_put(request);
    json_object_put(reply);
    return r;
}

static int list(int argc, char **argv)
{
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .least = 1, .most = 1,
                                                       .wanted = "Give the name or id of an account.",
                                                       .act = act_list, .arg = &json });
}

const struct command bucket_verbs[] = {
    { "list|ls", "ACCOUNT [--json] [--dir DIR]",
      "name, region and date of every bucket that the account's keys can see", list, NULL },
    { 0 },
};
