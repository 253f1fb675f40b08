/* Trees that tests leave behind. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static inline int files_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* Whether the file has these bytes in it. */
static inline bool file_contains(const char *path, const void *bytes, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *all;
    bool found;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0) {
        (void)close(fd);
        return false;
    }
    all = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    found = all != MAP_FAILED && memmem(all, (size_t)st.st_size, bytes, n);
    (void)munmap(all, (size_t)st.st_size);
    (void)close(fd);
    return found;
}

/* The directory and all that is in it, links as such. 0, or what nftw(3) or remove(3) failed with. */
static inline int files_remove(const char *dir)
{
    return nftw(dir, files_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
