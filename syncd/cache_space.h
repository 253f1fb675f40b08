/* How much of the disk a cache takes: what is used, what is promised, and who waits.
 *
 * maximumCacheSize is a hard cap on the blocks of the cache folder: space is reserved before it is written, and what
 * is reserved is measured once it was written. CacheFreePercent of the file system stay free in the same way.
 * The last eighth of the cap (at least 4, at most 32 MiB, at most half) is not for what stays, dirty data and pins: so
 * reads always find content to displace and are answered however full the cache is of unsent data. */
#pragma once

#include "syncd/cache.h"

enum {
    SPACE_PAIR = 16384,                 /* bytes of disk that a new pair costs at most before it has contents */
    SPACE_GRANT_FIRST = 256 << 10,
    SPACE_GRANT_MAX = 8 << 20,
    SPACE_PLENTY = 64 << 20,
};

void space_init(struct cache *c);
void space_end(struct cache *c);
/* The drive's limits may be others: what is above them goes, soon. */
void space_configure(struct cache *c);

/* Bytes that may be taken by what stays. */
uint64_t space_kept_limit(const struct cache *c);
/* Whether content that comes now is beyond the limit, so that without rotation it is not to stay. */
bool space_full(const struct cache *c);

/* How far ahead of a reader it makes sense to fetch, in bytes: where that costs the place of other content, not so far
 * that what comes displaces what has not been read yet. */
uint64_t space_ahead(const struct cache *c);

/* Makes room by giving up clean content, except inside a transaction. Whether there is. */
bool space_prepare(struct cache *c, enum space_for what, uint64_t bytes);
/* Reserves at least `least` (0: only what is there anyway) and at most `want` bytes; how many, or 0. */
uint64_t space_take(struct cache *c, enum space_for what, uint64_t want, uint64_t least);
void space_give_back(struct cache *c, uint64_t bytes);

/* The file's blocks have changed. */
void space_measure(struct cache_file *f);
/* Blocks that came into use or went by other ways. */
void space_charge(struct cache *c, uint64_t more, uint64_t less);

/* The file's writers may write `least` bytes more (0: as much as costs nobody anything), rather several MiB, without
 * asking. False: there is no space. */
bool space_grant(struct cache_file *f, uint64_t least);
/* Takes back what they did not use. */
void space_regain(struct cache_file *f);
/* The file goes out of use: what is granted still, to a worker that has not opened it again after a restart, counts as
 * written. */
void space_settle(struct cache_file *f);

/* Calls done once space_prepare() holds, or with -ENOSPC and a sentence after WriteWaitSeconds. In turn. */
typedef void space_done_fn(const struct error *e, void *arg);
struct space_waiter *space_wait(struct cache *c, enum space_for what, uint64_t bytes, space_done_fn *done, void *arg);
void space_forget(struct space_waiter *w);   /* done will not run */
/* Something that was held back may go now: waiters look again. */
void space_changed(struct cache *c);
