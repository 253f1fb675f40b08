/* Finds, checks and makes DIR, as dir.h states the rule. Must not know what lies in it. */
#include "cli/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/exposed.h"

static char *default_dir(void)
{
    const char *home = getenv("HOME"), *data = getenv("XDG_DATA_HOME");
    char *dir = NULL;
    int r;

    if (geteuid() == 0)
        return strdup("/var/lib/landfall-quickstart");
    if (data && *data == '/')
        r = asprintf(&dir, "%s/landfall-quickstart", data);
    else
        r = asprintf(&dir, "%s/.local/share/landfall-quickstart", home ? home : "");
    return r < 0 ? NULL : dir;
}

int dir_resolve(const char *given, char **ret, struct error *e)
{
    CLEANUP_FREE char *chosen = given ? strdup(given) : default_dir(), *here = NULL;

    if (given && !*given)
        return error_set(e, -EINVAL, "--dir needs the name of a directory; leave it out for the usual place.");
    if (chosen && *chosen == '/')
        *ret = take_ptr(chosen);
    else if (!chosen || !(here = get_current_dir_name()) || asprintf(ret, "%s/%s", here, chosen) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    for (size_t n = strlen(*ret); n > 1 && (*ret)[n - 1] == '/'; n--)
        (*ret)[n - 1] = '\0';
    return 0;
}

/* --- the rule --------------------------------------------------------------------------------- */

static int refuse_owner(const char *path, uid_t uid, const char *why, struct error *e)
{
    const struct passwd *pw = getpwuid(uid);

    return error_set(e, -EPERM, "%s belongs to %s (uid %d)%s; choose another place with --dir.", path,
                     pw ? pw->pw_name : "nobody known", (int)uid, why);
}

static bool ours(const struct stat *st)
{
    return st->st_uid == 0 || st->st_uid == geteuid();
}

static int check_kind(const char *path, const struct stat *st, struct error *e)
{
    if (S_ISLNK(st->st_mode))
        return error_set(e, -ELOOP, "%s is a symbolic link; name the directory it leads to with --dir.", path);
    if (!S_ISDIR(st->st_mode))
        return error_set(e, -ENOTDIR, "%s is not a directory; choose another place with --dir.", path);
    return 0;
}

static int check_above(const char *path, struct error *e)
{
    struct stat st;
    int r;

    if (lstat(path, &st) < 0)
        return error_set(e, -errno, "%s cannot be examined: %m.", path);
    r = check_kind(path, &st, e);
    return r < 0 ? r : exposed_check(path, &st, geteuid(), e);
}

static int make_above(const char *path, struct error *e)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_set(e, -errno, "%s cannot be made: %m.", path);
    return check_above(path, e);
}

/* step() for every directory above `dir`, from the top, until it fails. */
static int each_above(const char *dir, int (*step)(const char *path, struct error *e), struct error *e)
{
    CLEANUP_FREE char *path = strdup(dir);
    int r = path ? step("/", e) : -ENOMEM;

    for (char *slash = path ? strchr(path + 1, '/') : NULL; r == 0 && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        r = step(path, e);
        *slash = '/';
    }
    return r;
}

static int check_itself(const char *dir, struct error *e)
{
    struct stat st;
    int r;

    if (lstat(dir, &st) < 0)
        return error_set(e, -errno, "%s cannot be examined: %m.", dir);
    if (!ours(&st))
        return refuse_owner(dir, st.st_uid, "", e);
    r = check_kind(dir, &st, e);
    if (r == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)))
        return error_set(e, -EPERM, "%s has to be writable by nobody else; run chmod go-w %s, or choose another place "
                         "with --dir.", dir, dir);
    return r;
}

int dir_check(const char *dir, struct error *e)
{
    int r = each_above(dir, check_above, e);

    return r < 0 ? r : check_itself(dir, e);
}

/* --- making ----------------------------------------------------------------------------------- */

/* The daemons' users have to reach what is theirs below. What lies there already was perhaps meant to be private. */
static int open_to_daemons(const char *dir, struct error *e)
{
    DIR *d = opendir(dir);
    const struct dirent *entry;
    bool empty = d;

    while (empty && (entry = readdir(d)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (d)
        (void)closedir(d);
    if (!empty)
        return error_set(e, -EPERM, "%s is closed to others and not empty, but the daemons' users have to reach what "
                         "is theirs in it; run chmod 755 %s if it may be open, or choose another place with --dir.",
                         dir, dir);
    return chmod(dir, 0755) < 0 ? error_set(e, -errno, "%s cannot be opened to the daemons: %m.", dir) : 0;
}

int dir_make(const char *dir, struct error *e)
{
    mode_t before = umask(022);
    struct stat st;
    int r = each_above(dir, make_above, e);

    if (r == 0 && mkdir(dir, 0755) < 0 && errno != EEXIST)
        r = error_set(e, -errno, "%s cannot be made: %m.", dir);
    (void)umask(before);
    if (r == 0)
        r = check_itself(dir, e);
    if (r < 0)
        return r;
    if (lstat(dir, &st) < 0)
        return error_set(e, -errno, "%s cannot be examined: %m.", dir);
    if (st.st_uid != geteuid())
        return refuse_owner(dir, st.st_uid, ", not to you", e);
    if (st.st_uid == 0 && (st.st_mode & 0755) != 0755)
        r = open_to_daemons(dir, e);
    if (r < 0)
        return r;
    if (access(dir, W_OK) < 0)
        return error_set(e, -errno, "%s cannot be written: %m; choose another place with --dir.", dir);
    return 0;
}

int dir_make_below(const char *dir, const char *name, mode_t mode, struct error *e)
{
    CLEANUP_FREE char *path = NULL;
    struct stat st;

    if (asprintf(&path, "%s/%s", dir, name) < 0)
        return error_set(e, -ENOMEM, "There is no memory left.");
    if (mkdir(path, mode) < 0 && errno != EEXIST)
        return error_set(e, -errno, "%s cannot be made: %m.", path);
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return error_set(e, -EPERM, "%s is not a directory of yours; move it away.", path);
    return chmod(path, mode) < 0 ? error_set(e, -errno, "%s cannot be given mode %03o: %m.", path, mode) : 0;
}
