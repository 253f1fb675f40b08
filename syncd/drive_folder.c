/* The folders of a drive: index, cache, mount point. Runs in the pool; knows nothing of the daemon
 * but what struct drive_folders carries. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "syncd/drive.h"
#include "syncd/syncd.h"

/* Nobody but root can write into a mount point while nothing is mounted on it: what would lie there is not in the
 * cloud, and would keep the drive from being mounted. mountd lends fusermount3 the bit for writing. */
enum { TREE_FDS = 32, POINT_MODE = 0500 };

struct drive_folders *drive_folders_new(struct syncd *d, const Lf__CloudDrive *m)
{
    struct drive_folders *f = xcalloc(1, sizeof(*f));

    f->mount_root = xstrdup(d->mount_root);
    f->mount_point = xstrdup(m->local_path);
    f->state_dir = drive_state_dir(d, m->id);
    f->cache_dir = xstrdup(m->permanent_local_path);
    f->uid = d->uid;
    return f;
}

void drive_folders_free(struct drive_folders *f)
{
    if (!f)
        return;
    free(f->mount_root);
    free(f->mount_point);
    free(f->state_dir);
    free(f->cache_dir);
    free(f);
}

/* --- making ----------------------------------------------------------------------------------- */

/* The directory and those above it, as far as they are missing. */
static int make_parents(const char *path, struct error *e)
{
    char part[PATH_MAX];

    if (strlen(path) >= sizeof(part))
        return error_set(e, -ENAMETOOLONG, "The path %.200s is too long.", path);
    for (const char *p = strchr(path + 1, '/');; p = strchr(p + 1, '/')) {
        size_t n = p ? (size_t)(p - path) : strlen(path);

        memcpy(part, path, n);
        part[n] = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return error_set(e, -EINVAL, "The folder %s cannot be made: %s.", part, strerror(errno));
        if (!p)
            return 0;
    }
}

static int check_empty(const char *path, struct error *e)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int r = 0;

    if (!dir)
        return error_set(e, -EINVAL, "The folder %s cannot be read: %s.", path, strerror(errno));
    while (r == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = error_set(e, -ENOTEMPTY, "The folder %s is not empty; empty it or choose another name.", path);
    (void)closedir(dir);
    return r;
}

/* What is there must be of use: an empty directory of the served user, and not by way of a symbolic link. */
static int check_folder(const char *path, uint32_t uid, struct error *e)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return error_set(e, -EINVAL, "The folder %s cannot be looked at: %s.", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(e, -ENOTDIR, "%s is there already and is not a directory.", path);
    if (st.st_uid != uid)
        return error_set(e, -EINVAL, "The folder %s belongs to another user.", path);
    return check_empty(path, e);
}

static int make_folder(const char *path, uint32_t uid, bool *ret_made, struct error *e)
{
    if (mkdir(path, 0700) == 0) {
        *ret_made = true;
        return 0;
    }
    if (errno != EEXIST)
        return error_set(e, -EINVAL, "The folder %s cannot be made: %s.", path, strerror(errno));
    return check_folder(path, uid, e);
}

static int make_below(const char *path, uint32_t uid, bool *ret_made, struct error *e)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int r = 0;

    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    if (*parent)
        r = make_parents(parent, e);
    return r < 0 ? r : make_folder(path, uid, ret_made, e);
}

static int make_point(struct drive_folders *f, struct error *e)
{
    struct stat st;
    int r = make_parents(f->mount_root, e);

    if (r == 0)
        r = make_folder(f->mount_point, f->uid, &f->made_mount_point, e);
    if (r < 0)
        return r;
    if (lstat(f->mount_point, &st) < 0 || chmod(f->mount_point, POINT_MODE) < 0)
        return error_set(e, -EINVAL, "The folder %s cannot be closed: %s.", f->mount_point, strerror(errno));
    f->mode_before = f->made_mount_point ? 0 : st.st_mode & 07777;
    return 0;
}

void drive_folders_make(void *folders)
{
    struct drive_folders *f = folders;
    int r = 0;

    f->error = (struct error){ 0 };
    if (f->mount_point)
        r = make_point(f, &f->error);
    if (r == 0 && f->state_dir)
        r = make_below(f->state_dir, f->uid, &f->made_state_dir, &f->error);
    if (r == 0 && f->cache_dir)
        r = make_below(f->cache_dir, f->uid, &f->made_cache_dir, &f->error);
    if (r < 0) {
        struct error kept = f->error;

        drive_folders_remove(f);
        f->error = kept;
    }
}

/* --- removing --------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)at;
    return (type == FTW_DP || type == FTW_DNR ? rmdir(path) : unlink(path)) < 0 ? errno : 0;
}

static int remove_below(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return at->level > 0 ? remove_one(path, st, type, at) : 0;
}

static void remove_tree(const char *path, bool itself, struct error *e)
{
    int code = nftw(path, itself ? remove_one : remove_below, TREE_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

    if (code < 0)
        code = errno;
    if (code && code != ENOENT)
        error_set(e, -code, "The folder %s could not be removed: %s.", path, strerror(code));
}

void drive_folders_remove(void *folders)
{
    struct drive_folders *f = folders;

    f->error = (struct error){ 0 };
    if (f->state_dir && f->made_state_dir)
        remove_tree(f->state_dir, true, &f->error);
    if (f->cache_dir && (f->made_cache_dir || f->used))
        remove_tree(f->cache_dir, f->made_cache_dir, &f->error);
    if (f->mount_point && f->made_mount_point)
        (void)rmdir(f->mount_point);   /* one that is in use or not empty stays */
    else if (f->mount_point && f->mode_before)
        (void)chmod(f->mount_point, f->mode_before);
}
