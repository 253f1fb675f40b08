/* Which directories a path may lead through: those that nobody but root and the people concerned can
 * change. One rule, for whoever makes or opens something by its path. */
#pragma once

#include <sys/stat.h>

#include "common/error.h"

/* Whether others than root, ourselves and `served` could replace what is below a directory: it is theirs, or they may
 * write into it and it is not sticky. 0, or -EPERM with a sentence that names `path`. */
int exposed_check(const char *path, const struct stat *st, uid_t served, struct error *e);
