/* Ending FUSE connections from outside. Must not know whose they are. */
#include "common/fuse_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/cleanup.h"

int fuse_control_abort(uint64_t device)
{
    CLEANUP_CLOSE int fd = -1;
    char path[64];

    (void)snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", minor(device));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, "1", 1) < 0 ? -errno : 0;
}
