/* The kernel's control of FUSE connections (linux: Documentation/filesystems/fuse/fuse.rst, "Control filesystem"). */
#pragma once

#include <stdint.h>

/* Aborts the connection of the FUSE file system with that device number: whatever the kernel waits for there fails,
 * also where nobody is left to answer and who waits has the connection open itself. Root may, and the user who mounted
 * it. 0 or negative errno: -ENOENT when it is gone, or when the control file system is not mounted. */
int fuse_control_abort(uint64_t device);
