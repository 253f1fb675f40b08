/* The part of the kernel's FUSE interface that is newer than the headers it is built with: FUSE_PASSTHROUGH, kernel 6.9
 * (include/uapi/linux/fuse.h, protocol 7.40). */
#pragma once

#include <linux/fuse.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifndef FOPEN_PASSTHROUGH
#define FOPEN_PASSTHROUGH (1 << 7)

struct fuse_backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define FUSE_DEV_IOC_BACKING_OPEN _IOW(FUSE_DEV_IOC_MAGIC, 1, struct fuse_backing_map)
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(FUSE_DEV_IOC_MAGIC, 2, uint32_t)
#endif

enum {
    PASSTHROUGH_FLAG2 = 1 << 5,    /* FUSE_PASSTHROUGH, in flags2 of both halves of INIT */
    PASSTHROUGH_DEPTH = 1,         /* max_stack_depth: the backing file system stacks on none itself */
};
