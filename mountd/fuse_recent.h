/* The part of the kernel's FUSE interface that is newer than the headers it is built with: passthrough and resending,
 * both from kernel 6.9 on (include/uapi/linux/fuse.h, protocol 7.40), and the wide copy of 6.18. */
#pragma once

#include <linux/fuse.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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
    RESEND_FLAG2 = 1 << 7,         /* FUSE_HAS_RESEND, in flags2 of the kernel's half */
    NOTIFY_RESEND = 7,             /* FUSE_NOTIFY_RESEND */
    COPY_FILE_RANGE_64 = 53,       /* FUSE_COPY_FILE_RANGE_64 */
};

/* FUSE_UNIQUE_RESEND: set in numbers of what is sent again. */
static const uint64_t UNIQUE_RESEND = UINT64_C(1) << 63;

/* Takes back from a whole FUSE_INIT request, `size` bytes, what a kernel before 6.9 would not have offered. */
static inline void fuse_recent_hide(uint8_t *request, size_t size)
{
    struct fuse_init_in in;

    if (size < sizeof(struct fuse_in_header) + sizeof(in))
        return;
    (void)memcpy(&in, request + sizeof(struct fuse_in_header), sizeof(in));
    in.flags2 &= ~(uint32_t)(PASSTHROUGH_FLAG2 | RESEND_FLAG2);
    (void)memcpy(request + sizeof(struct fuse_in_header), &in, sizeof(in));
}
