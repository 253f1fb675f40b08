/* Which side is what. A word before a colon is a drive or an account where nothing before it has a slash. */
#include "cli/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/command.h"
#include "cli/listing.h"
#include "cli/target.h"
#include "common/cleanup.h"

const char *copy_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

int copy_target(const char *target, const char *name, char **ret, struct error *e)
{
    size_t n = strlen(target);
    struct stat st;
    bool folder = (n && target[n - 1] == '/') || (stat(target, &st) == 0 && S_ISDIR(st.st_mode));

    if (folder && !*name)
        return error_set(e, -EINVAL, "Say what the file is to be called in %.300s.", target);
    while (folder && n > 1 && target[n - 1] == '/')
        n--;
    if (asprintf(ret, "%.*s%s%s", (int)n, target, folder && target[n - 1] != '/' ? "/" : "", folder ? name : "") < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    return 0;
}

/* The part behind the colon, NULL: it is a path of this machine. */
static const char *remote_part(const char *side)
{
    const char *colon = strchr(side, ':'), *slash = strchr(side, '/');

    return colon && colon > side && (!slash || colon < slash) ? colon + 1 : NULL;
}

static int copy_with(struct copy *c, const char *name, struct error *e)
{
    int r = listing_find(c->instance, "/management/clouddrive", listing_named, (void *)(uintptr_t)name, &c->place, e);

    if (r == 0 && c->place)
        return copy_drive(c, e);
    if (r == 0)
        r = listing_find(c->instance, "/cloud/accounts", listing_named, (void *)(uintptr_t)name, &c->place, e);
    if (r == 0 && c->place)
        return copy_cloud(c, e);
    return r < 0 ? r : error_set(e, -ENOENT, "There is neither a drive nor an account %.200s; a file of this machine "
                                 "with a colon in its name is written ./%.200s:...", name, name);
}

static int act(struct json_object *instance, const char *const *words, size_t n, void *arg, struct error *e)
{
    const char *from = remote_part(words[0]), *to = remote_part(words[1]), *side = from ? words[0] : words[1];
    struct copy c = { .instance = instance, .remote = from ? from : to, .local = from ? words[1] : words[0],
                      .up = !from, .force = *(bool *)arg };
    CLEANUP_FREE char *name = NULL;
    int r;

    (void)n;
    if (!from == !to)
        return error_set(e, -EINVAL, "Exactly one of both sides has to be DRIVE:PATH or ACCOUNT:BUCKET/KEY.");
    name = strndup(side, (size_t)(c.remote - side) - 1);
    r = name ? copy_with(&c, name, e) : -ENOMEM;
    json_object_put(c.place);
    return r;
}

int command_cp(int argc, char **argv)
{
    bool force = false;
    const struct target_option options[] = { { "force", NULL, &force }, { 0 } };

    return target_do(argc, argv, &(struct target_job){ .options = options, .least = 2, .most = 2,
                                                       .wanted = "Give what is to be copied, and where to.",
                                                       .act = act, .arg = &force });
}
