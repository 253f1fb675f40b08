/* What a worker leaves to its successor on a kernel that does not send requests again (before 6.9): the requests that
 * it has read and not answered, in memory that mountd keeps for the drive. mountd does not look into it.
 *
 * It is a memfd, nearly all of it a hole:
 *   a page              struct owed_head
 *   OWED_PLACE bytes    where the worker reads requests into, so that one is here from the moment the kernel counts it
 *                       as delivered, and some time after it was answered; it begins at OWED_READ_AT
 *   OWED_PLACE bytes    each of a number of places for requests that wait for syncd: struct owed_request
 *
 * What a place says is not to be trusted: whoever had taken over the last worker wrote it. */
#pragma once

#include <linux/fuse.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/chunk_map.h"

enum {
    OWED_WRITE_HEAD = sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in),
    OWED_READ_AT = CHUNK_PAGE - OWED_WRITE_HEAD,    /* so that what is written begins with a page */
    OWED_PLACE = 1024 * 1024 + 2 * CHUNK_PAGE,      /* max_write, and room for all heads */
};

struct owed_head {
    _Atomic uint64_t used;       /* places, all behind are free: looking at those would make pages of them */
};

struct owed_request {
    _Atomic uint64_t unique;     /* the kernel's number; 0: free */
    _Atomic uint64_t tries;      /* workers that began to carry it out, and may have died of it */
    uint64_t size;
    char bytes[];
};

/* Such memory with room for that many requests that wait; it can be neither cut nor grown. A descriptor, owned by the
 * caller, or negative errno. */
int owed_make(size_t requests);
