/* `landfall ls`: a folder of a drive as the cloud and the cache together have it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/states.h"
#include "cli/target.h"
#include "common/cleanup.h"

struct wish {
    bool details, json;
};

static bool is_directory(struct json_object *o)
{
    return json_object_get_boolean(json_object_object_get(o, "isDirectory"));
}

static void print_object(struct json_object *o, const struct wish *w)
{
    const char *path = instance_text(o, "path"), *slash = strrchr(path, '/');

    if (w->details)
        printf("%-11s %15" PRId64 "  %-20s  ", states_object(json_object_get_int64(json_object_object_get(o, "state"))),
               json_object_get_int64(json_object_object_get(o, "size")), instance_text(o, "lastModifiedDate"));
    listing_puts(slash ? slash + 1 : path);
    printf(is_directory(o) ? "/\n" : "\n");
}

static int get(struct json_object *instance, const char *endpoint, const char *path, struct json_object **ret,
               struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    int r = place_request(endpoint, path, "", &request, e);

    return r < 0 ? r : api_call(instance, "GET", request, NULL, ret, e);
}

/* What is in a folder; of anything else itself. */
static int find_objects(struct json_object *instance, const char *path, struct json_object **ret, struct error *e)
{
    struct json_object *one = NULL;
    int r = get(instance, "/management/object_info", path, &one, e);

    if (r == 0 && is_directory(one)) {
        json_object_put(one);
        return get(instance, "/management/objects_info", path, ret, e);
    }
    *ret = json_object_new_array();
    if (r == 0)
        json_object_array_add(*ret, one);
    return r;
}

static int list(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    struct json_object *objects = NULL;
    const struct wish *w = arg;
    int r = find_objects(instance, n ? words[0] : ".", &objects, e);

    if (r == 0 && w->json)
        listing_json(objects);
    for (size_t i = 0; r == 0 && !w->json && i < json_object_array_length(objects); i++)
        print_object(json_object_array_get_idx(objects, i), w);
    json_object_put(objects);
    return r;
}

int command_ls(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = { { "l", NULL, &w.details }, { "json", NULL, &w.json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .most = 1,
                                                       .wanted = "Give one folder of a drive.", .act = list,
                                                       .arg = &w });
}
