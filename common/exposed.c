/* The rule of exposed.h. Looks at nothing by itself: the caller has opened or examined the directory. */
#include "common/exposed.h"

#include <errno.h>
#include <unistd.h>

int exposed_check(const char *path, const struct stat *st, uid_t served, struct error *e)
{
    if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != served)
        return error_set(e, -EPERM, "%s belongs to uid %d, who could replace what is below it; choose another place.",
                         path, (int)st->st_uid);
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !(st->st_mode & S_ISVTX))
        return error_set(e, -EPERM, "%s can be written by others, who could replace what is below it; choose another "
                         "place.", path);
    return 0;
}
