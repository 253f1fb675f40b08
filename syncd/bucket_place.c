/* Keys as paths of this machine. */
#include "syncd/bucket_place.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/path.h"
#include "syncd/place.h"
#include "syncd/syncd.h"

static int check_component(const char *name, size_t n, struct error *e)
{
    if (n == 0)
        return error_set(e, -EINVAL, "a part of its key between slashes is empty");
    if (n > NAME_MAX)
        return error_set(e, -ENAMETOOLONG, "a part of its key is longer than a name can be here");
    if ((n == 1 || n == 2) && strspn(name, ".") >= n)
        return error_set(e, -EPERM, "a part of its key is \".\" or \"..\"");
    return 0;
}

static int check_components(const char *relative, struct error *e)
{
    for (const char *p = relative; *p;) {
        size_t n = strcspn(p, "/");
        int r = check_component(p, n, e);

        if (r < 0)
            return r;
        p += n + (p[n] == '/');
    }
    return 0;
}

int bucket_place(const char *prefix, const char *key, char **ret_folder, const char **ret_name, struct error *e)
{
    size_t skip = strlen(prefix);
    const char *relative = key + skip, *slash;
    int r = strncmp(key, prefix, skip) == 0 && *relative ? check_components(relative, e)
                                                         : error_set(e, -EINVAL, "it does not lie below the prefix");

    if (r < 0)
        return r;
    slash = strrchr(relative, '/');
    *ret_folder = slash ? strndup(relative, (size_t)(slash - relative)) : xstrdup("");
    if (!*ret_folder)
        return error_set(e, -ENOMEM, "there is no memory left");
    *ret_name = slash ? slash + 1 : relative;
    if (!**ret_name)
        *ret_name = NULL;
    return 0;
}

char *bucket_place_above(const char *key)
{
    size_t n = strlen(key);
    char *above;

    n -= n && key[n - 1] == '/';
    while (n && key[n - 1] != '/')
        n--;
    above = strndup(key, n);
    if (!above)
        abort();
    return above;
}

/* In the home directory itself hidden names are what programs are started with and keep their keys in. It may be the
 * folder, or lie below it. */
static int check_hidden(const struct syncd *d, const char *path, struct error *e)
{
    const char *homes[] = { d->home, d->home_real };

    for (size_t i = 0; i < ARRAY_SIZE(homes); i++) {
        const char *first = homes[i] && path_below(path, homes[i]) ? path + strlen(homes[i]) : "";

        first += strspn(first, "/");
        if (*first == '.')
            return error_set(e, -EPERM, "hidden names are not put into the home directory");
    }
    return 0;
}

/* What lies below the folder may be one of Landfall's own. */
int bucket_place_check(const struct syncd *d, const char *base, const char *folder, const char *name, struct error *e)
{
    CLEANUP_FREE char *above = NULL, *path = NULL;
    int r;

    if (asprintf(&above, "%s/%s", strcmp(base, "/") == 0 ? "" : base, folder) < 0 ||
        asprintf(&path, "%s%s%s", above, *folder ? "/" : "", name ? name : "") < 0)
        abort();
    r = check_hidden(d, path, e);
    return r < 0 ? r : place_check_local(d, above, e);
}
