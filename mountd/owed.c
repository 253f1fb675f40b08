/* Makes the memory; what is in it is the worker's (worker_owed.c). */
#include "mountd/owed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/cleanup.h"

/* Written, not ftruncate(2), which mountd may not call. */
static int set_size(int fd, off_t size)
{
    return pwrite(fd, "", 1, size - 1) == 1 ? 0 : -1;
}

int owed_make(size_t requests)
{
    CLEANUP_CLOSE int fd = memfd_create("landfall-owed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0 || set_size(fd, CHUNK_PAGE + (off_t)(requests + 1) * OWED_PLACE) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return -errno;
    return take_fd(&fd);
}
