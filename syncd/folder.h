/* Folders that syncd makes, opens, empties and removes by their path: its state, the caches of drives, mount
 * points. A path is walked from "/" one name at a time, no symbolic link is followed, and every directory on
 * the way passes exposed_check(): so nobody else can put another folder in the place of the one that is meant. From
 * then on the held descriptor counts, not the path. Everything here blocks. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

/* A folder that is held. */
struct folder {
    int fd, parent;                /* O_PATH; -1: not open */
    char name[NAME_MAX + 1];       /* in parent */
    bool made;                     /* by folder_open(), just now */
};
#define FOLDER_NONE { .fd = -1, .parent = -1 }

enum folder_make {
    FOLDER_AS_IT_IS,               /* make nothing */
    FOLDER_MAKE,                   /* the folder itself, mode 0700 */
    FOLDER_MAKE_ALL,               /* and those above it */
};

/* Opens the folder at an absolute path. It is ours, and nobody else may write into it. 0; -ENOENT; -EPERM for a
 * folder that others could replace; -ENOTDIR; else -EINVAL; always with a sentence. Closed again on failure. */
int folder_open(const char *path, enum folder_make make, struct folder *ret, struct error *e);
/* NULL is fine, and one that is not open. Use as CLEANUP(folder_close). */
void folder_close(struct folder *f);

/* These take any descriptor of a folder. Whether nothing is in it; false also when it cannot be read. */
bool folder_is_empty(int fd);
/* Writes a mark into the folder: it is that of `id`. Whatever else stands at the same path later has another mark
 * or none. 0 or negative errno. FORMATS.md has its form. */
int folder_mark(int fd, const char *id);
bool folder_is_marked(int fd, const char *id);

/* Removes all that is in the folder: no link is followed, nothing beyond a mount is touched. 0, or the first
 * failure; the rest is removed nevertheless. */
int folder_empty(int fd);
/* Removes the folder itself, which is empty. 0 or negative errno. */
int folder_remove(const struct folder *f);

/* A folder of whomever by its absolute path, reached through no symbolic link. A descriptor or negative errno. */
int folder_find(const char *path, int flags);
/* openat2(2) that stays beneath `dir`, follows no link and crosses no mount; "" is the folder itself. A descriptor or
 * negative errno, -EXDEV where something is mounted. */
int folder_at(int dir, const char *path, int flags, mode_t mode);
