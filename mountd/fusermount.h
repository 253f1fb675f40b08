/* fusermount3, the set-user-ID program by which an ordinary user mounts FUSE file systems. Blocks. */
#pragma once

#include <stdbool.h>

/* Mounts at `path` with these options (comma separated). The FUSE connection, non-blocking and
 * close-on-exec, or negative errno: -ENOENT without fusermount3, -EPERM when it refused (its reason is on stderr). */
int fusermount_mount(const char *path, const char *options);

/* 0; -EBUSY when it would not let go, only without `lazy`; or another negative errno. */
int fusermount_unmount(const char *path, bool lazy);
