/* From a path as given to the path that a drive owns. */
#include "cli/place.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/text.h"

enum { REQUEST_MAX = 4 * PATH_MAX };

/* The directory of the path, without links. One that is not there may be a drive's that is not mounted: then the
 * path is taken as it stands. */
static int put_folder(struct text *out, const char *path, size_t len)
{
    char folder[PATH_MAX], here[PATH_MAX];
    CLEANUP_FREE char *real = NULL;

    if (len >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, len);
    folder[len] = '\0';
    real = realpath(len ? folder : *path == '/' ? "/" : ".", NULL);
    if (real)
        return text_puts(out, real);
    if (*path == '/')
        return text_puts(out, folder);
    return getcwd(here, sizeof(here)) ? text_printf(out, "%s/%s", here, folder) : -errno;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Absolute; a last component that is "." or ".." belongs to its directory. */
static int make_absolute(const char *path, struct text *out)
{
    CLEANUP_FREE char *clean = strdup(path);
    size_t len = clean ? strlen(clean) : 0;
    const char *name;
    int r;

    while (len > 1 && clean[len - 1] == '/')
        clean[--len] = '\0';
    if (len == 0)
        return clean ? -ENOENT : -ENOMEM;
    name = strrchr(clean, '/') ? strrchr(clean, '/') + 1 : clean;
    if (is_dots(name) || !*name)
        return put_folder(out, clean, len);
    r = put_folder(out, clean, (size_t)(name - clean));
    if (r == 0 && out->data[out->len - 1] != '/')
        r = text_puts(out, "/");
    return r == 0 ? text_puts(out, name) : r;
}

int place_absolute(const char *path, char **ret, struct error *e)
{
    struct text absolute = TEXT_INIT(2 * PATH_MAX);
    int r = make_absolute(path, &absolute);

    if (r < 0) {
        text_free(&absolute);
        return error_set(e, r, "The path %.300s cannot be used: %s.", *path ? path : "\"\"", strerror(-r));
    }
    *ret = absolute.data;
    return 0;
}

int place_request(const char *endpoint, const char *path, const char *more, char **ret, struct error *e)
{
    CLEANUP_FREE char *absolute = NULL;
    struct text request = TEXT_INIT(REQUEST_MAX);
    int r = place_absolute(path, &absolute, e);

    if (r < 0)
        return r;
    (void)text_printf(&request, "%s?path=", endpoint);
    (void)text_percent_encode(&request, absolute, strlen(absolute), true);
    (void)text_puts(&request, more);
    if (request.error) {
        text_free(&request);
        return error_set(e, -ENAMETOOLONG, "The path %.300s is too long.", path);
    }
    *ret = request.data;
    return 0;
}
