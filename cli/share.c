/* `landfall share`: URLs that need nothing else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/command.h"
#include "cli/instance.h"
#include "cli/listing.h"
#include "cli/place.h"
#include "cli/target.h"
#include "common/cleanup.h"

struct wish {
    const char *upload;
    bool json;
};

static int find_drive(struct json_object *instance, const char *path, struct json_object **ret, struct error *e)
{
    CLEANUP_FREE char *request = NULL;
    struct json_object *list = NULL;
    int r = place_request("/management/clouddrive", path, "", &request, e);

    if (r == 0)
        r = listing_get(instance, request, &list, e);
    *ret = r == 0 ? json_object_get(json_object_array_get_idx(list, 0)) : NULL;
    json_object_put(list);
    if (r == 0 && !*ret)
        r = error_set(e, -ENOENT, "No drive owns the path %.300s.", path);
    return r;
}

/* Below the mount point; "" is that itself. */
static const char *below(struct json_object *drive, const char *absolute)
{
    const char *point = instance_text(drive, "localPath");
    size_t n = strlen(point);

    if (strncmp(point, absolute, n) != 0)
        return NULL;
    return absolute[n] == '/' ? absolute + n + 1 : absolute[n] ? NULL : "";
}

static struct json_object *make_request(struct json_object *drive, const char *relative, const struct wish *w)
{
    struct json_object *o = json_object_new_object();

    json_object_object_add(o, "driveName", json_object_new_string(instance_text(drive, "name")));
    if (w->upload)
        json_object_object_add(o, "uploadKey", json_object_new_string(w->upload));
    else
        json_object_object_add(o, "relativePath", json_object_new_string(relative));
    return o;
}

static void say(struct json_object *urls, const struct wish *w)
{
    if (w->json)
        listing_json(urls);
    else
        printf("%s\n", instance_text(urls, w->upload ? "uploadUrl" : "downloadUrl"));
}

static int share(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    struct json_object *drive = NULL, *request = NULL, *urls = NULL;
    CLEANUP_FREE char *absolute = NULL;
    int r = place_absolute(words[0], &absolute, e);

    (void)n;
    if (r == 0)
        r = find_drive(instance, absolute, &drive, e);
    if (r == 0 && !below(drive, absolute))
        r = error_set(e, -ENOENT, "No drive owns the path %.300s.", absolute);
    if (r == 0) {
        request = make_request(drive, below(drive, absolute), arg);
        r = api_call(instance, "POST", "/management/generate_presigned_urls", request, &urls, e);
    }
    if (r == 0)
        say(urls, arg);
    json_object_put(drive);
    json_object_put(request);
    json_object_put(urls);
    return r;
}

int command_share(int argc, char **argv)
{
    struct wish w = { 0 };
    const struct target_option options[] = { { "upload", &w.upload, NULL }, { "json", NULL, &w.json }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .least = 1, .most = 1,
                                                       .wanted = "Give one file of a drive; with --upload the drive's "
                                                                 "mount point will do.",
                                                       .act = share, .arg = &w });
}
