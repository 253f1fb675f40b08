/* Commands that ask one thing of each path. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"

struct question {
    const char *command, *method, *endpoint;
};

static const struct question questions[] = {
    { "accept", "POST", "/management/object_accept" },
    { "evict", "POST", "/management/object_remove_from_cache" },
    { "fetch", "GET", "/management/object_download" },
    { "pin", "GET", "/management/object_make_offline" },
    { "unpin", "POST", "/management/object_remove_offline" },
};

static const struct question *find(const char *command)
{
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
        if (strcmp(questions[i].command, command) == 0)
            return &questions[i];
    return NULL;
}

static int ask(struct json_object *instance, const struct question *q, const char *path, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *reply = NULL;
    int r = place_request(q->endpoint, path, "", &request, e);

    if (r == 0)
        r = api_call(instance, q->method, request, NULL, &reply, e);
    json_object_put(reply);
    return r;
}

/* All of them are asked for; each one that is refused is named. */
static int ask_all(struct json_object *instance, const char *const *paths, size_t n, void *arg, struct error *e)
{
    const struct question *q = arg;
    int status = EXIT_SUCCESS;

    for (size_t i = 0; i < n; i++)
        if (ask(instance, q, paths[i], e) < 0)
            status = target_fail(q->command, e);
    return status;
}

int command_objects(int argc, char **argv)
{
    return target_do(argc, argv, &(struct target_job){ .least = 1, .most = SIZE_MAX,
                                                       .wanted = "Give the paths of files or folders of a drive.",
                                                       .act = ask_all,
                                                       .arg = (void *)(uintptr_t)find(argv[0]) });
}
