/* The kernel's mount table, as text: whoever looks here asks no file system, so nothing that is mounted can hold
 * the caller up. */
#pragma once

#include <stdbool.h>

/* The type of a drive's mount, as mountd makes it. */
#define MOUNT_TABLE_DRIVE "fuse.landfall"

struct mount_entry {
    const char *point, *type, *source;   /* borrowed for the call; without escapes */
    const char *device, *root;           /* the same of one file system; which part of it this is */
};

/* All mounts in the table's order: what is mounted over another comes later. */
void mount_table_each(void (*fn)(const struct mount_entry *m, void *arg), void *arg);
/* Whether the file system that an absolute path lies on is of this type. The path has no symbolic links, "." and "..",
 * and need not be there. */
bool mount_table_on(const char *path, const char *type);
