/* Trees that tests leave behind. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int files_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

/* The directory and all that is in it, links as such. 0, or what nftw(3) or remove(3) failed with. */
static inline int files_remove(const char *dir)
{
    return nftw(dir, files_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
