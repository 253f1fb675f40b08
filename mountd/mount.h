/* Mounting and unmounting one drive: the only file that asks the kernel (as root) or fusermount3
 * (without root) to change what is mounted. Both calls block and belong into the pool. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

/* Bytes of one read or write request; the worker negotiates the same. */
enum { MOUNT_MAX_IO = 1024 * 1024 };

/* Largest FUSE_INIT request kept. It has 104 bytes today; the kernel demands room for 8 KiB per read. */
enum { MOUNT_INIT_MAX = 8192 };

struct mount_spec {
    bool privileged;        /* mount(2) ourselves; else fusermount3 */
    const char *root;       /* drives are mounted below */
    const char *path;
    const char *name;       /* of the drive; becomes the mount's source, harmless characters only */
    uid_t uid;              /* the served user */
    gid_t gid;
    bool read_only;
};

struct mount_made {
    int fuse;               /* the FUSE connection, non-blocking */
    uint64_t device;        /* st_dev of what was mounted */
    uint8_t init[MOUNT_INIT_MAX];
    size_t init_size;       /* the FUSE_INIT request, read but not answered */
};

/* Mounts at the checked mount point: nosuid, nodev, default_permissions; as root with allow_other and a root
 * directory of mode 0700. A dead FUSE mount at the same place is taken away first. 0 and *ret (fuse is
 * the caller's), or a negative errno with a sentence and nothing mounted. */
int mount_make(const struct mount_spec *spec, struct mount_made *ret, struct error *e);

/* Unmounts what mount_make() mounted. When it is in use it is detached all the same and the connection
 * aborted: names are gone at once, open files fail; *ret_busy says so. 0 also when it is not there any more. */
int mount_remove(const struct mount_spec *spec, uint64_t device, bool *ret_busy, struct error *e);

/* Whether the connection is still mounted somewhere. */
bool mount_alive(int fuse);
