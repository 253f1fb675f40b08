/* Where a drive may be mounted: an empty directory of the served user below the mount root that
 * mountd's own configuration names, reached without any symbolic link and without leaving the file
 * system. It is held by descriptor, so that what was checked is what gets mounted on. */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "common/error.h"

struct mount_point {
    int parent;                /* O_PATH; the directory it lies in */
    int dir;                   /* O_PATH; -1 after mount_point_find() */
    char name[NAME_MAX + 1];   /* in the parent */
};

/* Checks everything named above. `root` and `path` are absolute, `path` is strictly below `root`.
 * 0 and *ret (mount_point_close() it); or with a sentence that tells what to do: -EPERM (outside the root, or
 * written oddly), -ELOOP, -ENOENT, -ENOTDIR, -EACCES (not the user's), -ENOTEMPTY, -EBUSY (a mount),
 * -ENOTCONN (a FUSE mount whose server is gone), or another negative errno. */
int mount_point_open(const char *root, const char *path, uid_t owner, struct mount_point *ret, struct error *e);

/* Finds the directory that `path` lies in, by the same rules, whatever is at `path` by now. */
int mount_point_find(const char *root, const char *path, struct mount_point *ret, struct error *e);

/* Closes what it holds. */
void mount_point_close(struct mount_point *p);
