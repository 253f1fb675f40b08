/* write(2) until nothing is left. */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

/* All n bytes into fd, wherever it is; fd blocks. 0 or negative errno, with part of them written. */
static inline int write_all(int fd, const void *data, size_t n)
{
    const char *at = data;

    while (n) {
        ssize_t written = write(fd, at, n);

        if (written < 0 && errno != EINTR)
            return -errno;
        at += written > 0 ? written : 0;
        n -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}
