/* `landfall transfer`: what moves bytes to and from clouds, and what can be asked of it. */
#include <inttypes.h>
#include <limits.h>
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

struct wish {
    bool all, json;
};

static bool goes_on(struct json_object *transfer)
{
    const char *status = instance_text(transfer, "status");

    return strcmp(status, "running") == 0 || strcmp(status, "paused") == 0;
}

static void print(struct json_object *transfer)
{
    bool up = *instance_text(transfer, "targetBucket");
    const char *error = instance_text(transfer, "errorMessage");

    printf("%s\t%s\t%s\t%" PRId64 "%%\t", instance_text(transfer, "transferId"), instance_text(transfer, "status"),
           up ? "up" : "down", json_object_get_int64(json_object_object_get(transfer, "progress")));
    listing_puts(instance_text(transfer, up ? "targetBucket" : "sourceBucket"));
    putchar('/');
    listing_puts(instance_text(transfer, up ? "targetPath" : "sourcePath"));
    if (*error) {
        putchar('\t');
        listing_puts(error);
    }
    putchar('\n');
}

static int act_list(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const struct wish *w = arg;
    struct json_object *list = NULL;
    int r = listing_get(instance, "/cloud/client_transfer/all", &list, e);

    (void)words;
    (void)n;
    if (r == 0 && w->json)
        listing_json(list);
    for (size_t i = 0; r == 0 && !w->json && i < json_object_array_length(list); i++)
        if (w->all || goes_on(json_object_array_get_idx(list, i)))
            print(json_object_array_get_idx(list, i));
    json_object_put(list);
    return r;
}

static int list(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = { { "all", NULL, &w.all }, { "json", NULL, &w.json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .wanted = "There is nothing to name.",
                                                       .act = act_list, .arg = &w });
}

/* --- asked of one ------------------------------------------------------------------------------------- */

static int ask(struct json_object *instance, const char *id, const char *what, struct error *e)
{
    CLEANUP(text_free) struct text path = TEXT_INIT(PATH_MAX);
    struct json_object *reply = NULL;
    int r;

    (void)text_puts(&path, "/cloud/client_transfer/");
    (void)text_percent_encode(&path, id, strlen(id), false);
    (void)text_printf(&path, "/%s", what);
    r = path.error ? error_set(e, path.error, "%.100s is no transfer.", id)
                   : api_call(instance, "POST", path.data, NULL, &reply, e);
    json_object_put(reply);
    return r;
}

/* All of them are asked; each one that refuses is named. */
static int act_ask(struct json_object *instance, const char *const *ids, size_t n, void *arg, struct error *e)
{
    const char *command = arg, *what = strrchr(command, ' ') + 1;
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < n; i++)
        if (ask(instance, ids[i], what, e) < 0)
            status = target_fail(command, e);
    return status;
}

/* The API knows them by the same names. */
static int command(int argc, char **argv)
{
    return target_do(argc, argv, &(struct target_job){ .least = 1, .most = SIZE_MAX,
                                                       .wanted = "Give the ids of transfers; 'landfall transfer list' "
                                                                 "shows them.",
                                                       .act = act_ask, .arg = argv[0] });
}

const struct command transfer_verbs[] = {
    { "list|ls", "[--all] [--json] [--dir DIR]",
      "id, status, direction, how much of it and object of every transfer that goes on or is paused; --all: also of\n"
      "      the last ones that have ended, with the reason of those that failed", list, NULL },
    { "pause", "ID... [--dir DIR]", "have them wait; what a program reads comes all the same", command, NULL },
    { "resume", "ID... [--dir DIR]", "have them go on", command, NULL },
    { "cancel", "ID... [--dir DIR]",
      "end them; what a drive was sending stays here, and is sent when it is written again or the drive is\n"
      "      synchronised", command, NULL },
    { 0 },
};
