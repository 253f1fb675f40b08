#include "common/punch.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/number.h"

/* No file system has larger ones; of one that is punched in part nothing is given back. */
static const uint64_t BLOCK = 64 << 10;

int punch_hole(int fd, uint64_t at, uint64_t n)
{
    off_t size = lseek(fd, 0, SEEK_END);
    uint64_t end = ((uint64_t)size + BLOCK - 1) & ~(BLOCK - 1);

    if (size < 0)
        return -errno;
    if (at >= end)
        return 0;
    n = least(n, end - at);
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n) < 0 ? -errno : 0;
}
