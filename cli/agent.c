/* `landfall agent`: what it does altogether. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/listing.h"
#include "cli/status.h"
#include "cli/target.h"
#include "common/cleanup.h"

static int act_status(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const bool *json = arg;
    struct json_object *status = NULL;
    int r = api_call(instance, "GET", "/management/agent_status", NULL, &status, e);

    (void)words;
    (void)n;
    if (r == 0 && *json)
        listing_json(status);
    else if (r == 0)
        printf("%s\n", status_name(json_object_get_int(status)));
    json_object_put(status);
    return r;
}

static int status(int argc, char **argv)
{
    bool json = false;
    const struct target_option options[] = { { "json", NULL, &json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .wanted = "There is nothing to name.",
                                                       .act = act_status, .arg = &json });
}

/* The API knows them by the same names. */
static int act_command(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    struct json_object *reply = NULL;
    int r;

    (void)words;
    (void)n;
    if (asprintf(&path, "/management/command/%s", (const char *)arg) < 0)
        return -ENOMEM;
    r = api_call(instance, "POST", path, NULL, &reply, e);
    json_object_put(reply);
    return r;
}

static int command(int argc, char **argv)
{
    return target_do(argc, argv, &(struct target_job){ .wanted = "There is nothing to name.", .act = act_command,
                                                       .arg = strrchr(argv[0], ' ') + 1 });
}

const struct command agent_verbs[] = {
    { "status", "[--json] [--dir DIR]", "created, started, stopped, paused or disposed", status, NULL },
    { "start", "[--dir DIR]", "begins again after dispose", command, NULL },
    { "dispose", "[--dir DIR]", "unmounts all drives; they stay unmounted until it is started again", command, NULL },
    { "pause", "[--dir DIR]", "sends and fetches nothing any more; drives can be read as far as they are here", command,
      NULL },
    { "resume", "[--dir DIR]", "ends that", command, NULL },
    { "exit", "[--dir DIR]", "lets what is on its way to the clouds arrive, for a while, and ends all processes",
      command, NULL },
    { 0 },
};
