/* Files that are to be on the disk before something else happens. */
#pragma once

#include <stddef.h>

struct loop;

enum { DISK_SYNC_FILES = 4 };

/* fdatasync(2) of the files, DISK_SYNC_FILES at most, one after the other by a thread of the pool; then, from the loop,
 * done(error, arg): 0 or the first negative errno. The descriptors stay the caller's, who may close them at once; a
 * negative one is an errno, and the answer. */
void disk_sync(struct loop *l, const int *fds, size_t n, void (*done)(int error, void *arg), void *arg);
