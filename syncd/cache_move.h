/* The files of a cache on their way to another folder, while nobody has the cache open; but a worker may have some of
 * its files open still. Everything here blocks: for loop_work(), but where the drive is not up yet. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

struct cache_move {
    char *id;                     /* of the drive; owned, as are the next three */
    char *from, *to;
    uint64_t *inos;               /* pairs that are not to be left behind, rising: what the cloud lacks, and pins */
    size_t n;
    uint64_t mount_tag;           /* of its mount; 0: not known */
    bool made;                    /* out: `to` was not there */
    bool copies;                  /* out: it is on another file system */
    struct error error;           /* out */
    void *arg;                    /* the caller's */
};

struct cache_move *cache_move_new(const char *id, const char *from, const char *to);
void cache_move_free(struct cache_move *m);

/* Makes `to`, which must be empty if it is there, marks it, and looks whether it is on another file system. */
void cache_move_prepare(void *move);
/* On one file system all goes, name by name, and what went before is fine: so it can be repeated, and undone by
 * exchanging the two. On another one what is to stay is copied: the pairs of `inos`, those that the kernel has open,
 * and what was put aside; what is clean is left behind. First the maps there say that nobody may write any more without
 * asking. -EBUSY: the kernel reads some by itself. */
void cache_move_carry(void *move);
/* Removes `from`, if it has the drive's mark. */
void cache_move_leave(void *move);
