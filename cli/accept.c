/* `landfall accept`: what lies in the cloud was put there on purpose, although something newer was there before. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"

static int accept_path(struct json_object *instance, const char *path, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *o = NULL;
    int r = place_request("/management/object_accept", path, "", &request, e);

    if (r == 0)
        r = api_call(instance, "POST", request, NULL, &o, e);
    json_object_put(o);
    return r;
}

int command_accept(int argc, char **argv)
{
    CLEANUP_FREE const char **paths = calloc((size_t)argc, sizeof(*paths));
    const struct target_option options[] = { { 0 } };
    struct json_object *instance = NULL;
    struct error e = { 0 };
    size_t n = 0;
    int r = paths ? target_open_paths(argc, argv, options, paths, &n, &instance) : EXIT_FAILURE;

    if (r == 0 && n == 0) {
        fprintf(stderr, "landfall accept: give the paths of what was restored.\n");
        r = EXIT_USAGE;
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        if (accept_path(instance, paths[i], &e) < 0)
            r = target_fail(argv[0], &e);
    json_object_put(instance);
    return r;
}
