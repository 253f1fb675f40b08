/* Resolution of paths to drives, on the text alone. */
#include "syncd/path.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/drive.h"
#include "syncd/syncd.h"

bool path_below(const char *path, const char *root)
{
    size_t n = strlen(root);

    while (n > 0 && root[n - 1] == '/')
        n--;
    return strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

char *path_prefix(const char *folder)
{
    size_t n;
    char *prefix;

    folder = folder ? folder + strspn(folder, "/") : "";
    n = strlen(folder);
    prefix = xcalloc(1, n + 2);
    memcpy(prefix, folder, n);
    if (n && folder[n - 1] != '/')
        prefix[n] = '/';
    return prefix;
}

int path_clean(const char *path, const char *separators, char **ret, struct error *e)
{
    char *clean = xcalloc(1, strlen(path) + 1), *end = clean;

    for (const char *p = path; *p;) {
        size_t n;

        p += strspn(p, separators);
        n = strcspn(p, separators);
        if (n == 2 && strncmp(p, "..", 2) == 0) {
            free(clean);
            return error_set(e, -EPERM, "The path %.300s has a component \"..\", which could leave its drive.", path);
        }
        if (n > 0 && !(n == 1 && *p == '.')) {
            if (end != clean)
                *end++ = '/';
            memcpy(end, p, n);
            end += n;
        }
        p += n;
    }
    *ret = clean;
    return 0;
}

/* What follows `root` in `path`, both without leading slash; NULL when the path is not below it. */
static const char *behind(const char *path, const char *root)
{
    size_t n;

    root += *root == '/';
    n = strlen(root);
    if (n == 0 || strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    return path + n + (path[n] == '/');
}

/* Below the mount point, also when the mount root is reached without its symbolic links. */
static const char *behind_mount(const struct syncd *d, const struct drive *drive, const char *path)
{
    const char *rest = behind(path, drive->model->local_path), *name;

    if (rest || !d->mount_root_real)
        return rest;
    name = behind(path, d->mount_root_real);
    return name ? behind(name, drive->model->name) : NULL;
}

static const char *behind_drive(const struct syncd *d, const struct drive *drive, const char *path)
{
    const char *rest = behind_mount(d, drive, path);

    return rest ? rest : behind(path, drive->model->permanent_local_path);
}

static struct drive *by_letter(struct syncd *d, char letter)
{
    for (struct drive *drive = d->drives; drive; drive = drive->next)
        if (drive->phase != DRIVE_HIDDEN && *drive->model->drive_name &&
            tolower((unsigned char)*drive->model->drive_name) == tolower((unsigned char)letter))
            return drive;
    return NULL;
}

static int not_owned(const char *path, struct error *e)
{
    return error_set(e, -ENOENT, "No drive owns the path %.300s.", path);
}

static int resolve_letter(struct syncd *d, const char *path, struct drive **ret, char **ret_relative, struct error *e)
{
    CLEANUP_FREE char *relative = NULL;
    int r = path_clean(path + 2, "/\\", &relative, e);

    if (r < 0)
        return r;
    *ret = by_letter(d, path[0]);
    if (!*ret)
        return not_owned(path, e);
    *ret_relative = take_ptr(relative);
    return 0;
}

static int resolve_absolute(struct syncd *d, const char *path, struct drive **ret, char **ret_relative, struct error *e)
{
    CLEANUP_FREE char *clean = NULL;
    int r = path_clean(path, "/", &clean, e);

    if (r < 0)
        return r;
    for (struct drive *drive = d->drives; drive; drive = drive->next) {
        const char *rest = drive->phase == DRIVE_HIDDEN ? NULL : behind_drive(d, drive, clean);

        if (!rest)
            continue;
        *ret = drive;
        *ret_relative = xstrdup(rest);
        return 0;
    }
    return not_owned(path, e);
}

static bool has_letter(const char *path)
{
    return isalpha((unsigned char)path[0]) && path[1] == ':' && (path[2] == '/' || path[2] == '\\' || path[2] == '\0');
}

int path_resolve(struct syncd *d, const char *path, struct drive **ret, char **ret_relative, struct error *e)
{
    if (has_letter(path))
        return resolve_letter(d, path, ret, ret_relative, e);
    if (path[0] == '/')
        return resolve_absolute(d, path, ret, ret_relative, e);
    return not_owned(path, e);
}

int path_owner(struct syncd *d, const char *path, struct drive **ret)
{
    CLEANUP_FREE char *relative = NULL;

    return path_resolve(d, path, ret, &relative, NULL);
}
