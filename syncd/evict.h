/* Which of the clean content goes when space is needed: S3-FIFO (Yang et al., SOSP 2023) over extents of 4 MiB.
 *
 * What comes is put at the end of the queue `new`; what was used once more when its turn comes there moves to `kept`,
 * the rest goes and leaves its name as a `ghost`. What comes back while its ghost is remembered goes to `kept` at
 * once. In `kept` what was used gets another turn for each use. `new` is cut down to a tenth first. So a scan
 * runs through `new` and out again, however long it is, and nothing of it costs what is used repeatedly its place.
 * Against LRU-like orders (2Q, segmented LRU) it needs no change of order when something is used, only a
 * number that changes at most once in EVICT_APART_S; that is what lets the order live in the index, where it survives
 * restarts and takes no memory. Uses less than EVICT_APART_S apart are one: a program reading through a file.
 *
 * What was fetched before anybody asked for it comes without a use: until it has one it is not moved to `kept`, and
 * with the first it takes its place at the end of its queue. So what came with it and nobody wanted goes before it.
 *
 * A drive that does not rotate keeps what came first and was used, as its setting says: what comes when it is full is
 * `new` and goes first, what came before is `kept` and goes only for dirty data, pins or a smaller limit. */
#pragma once

#include "syncd/cache_space.h"

enum evict_queue { EVICT_NEW, EVICT_KEPT, EVICT_GHOST };

/* What happened to an extent. */
enum evict_use { EVICT_USED, EVICT_CAME, EVICT_CAME_AHEAD };

enum { EVICT_APART_S = 10, EVICT_USES_MAX = 3, EVICT_NEW_SHARE = 10 };

/* --- the order: evict_order.c ---------------------------------------------------------------------- */

struct evict_order {
    struct index *index;
    bool rotates, only_new;
    uint64_t bytes[INDEX_QUEUES], n[INDEX_QUEUES];
    uint64_t skipped[INDEX_QUEUES];   /* since evict_begin() */
};

/* The sums, from the index. */
int evict_load(struct evict_order *o, struct index *x);
/* Inside a transaction of the caller. An extent was used at now_s; or came: was written, fetched because somebody
 * asked for it, or before anybody did, to be kept if `keep`. `bytes` of it are here. */
int evict_used(struct evict_order *o, uint64_t ino, uint64_t extent, uint64_t bytes, enum evict_use use, bool keep,
               int64_t now_s);
void evict_begin(struct evict_order *o, bool only_new);
/* Whose turn it is: 0 or -ENOENT. Then either it is given up, or skipped because it cannot go now. */
int evict_next(struct evict_order *o, struct index_extent *ret);
int evict_gone(struct evict_order *o, struct index_extent *e);
int evict_skip(struct evict_order *o, struct index_extent *e);
/* All of an inode that is no more. */
int evict_forget(struct evict_order *o, uint64_t ino);

/* --- carrying it out: evict.c ---------------------------------------------------------------------- */

/* Whether the cloud has the file as it is here, and nobody needs that; `f` NULL: it is not in use. */
bool evict_may(struct cache *c, const struct cache_file *f, const struct index_inode *i);
/* Gives up clean content that nobody needs at this moment: `bytes` of disk, less where there is no more. How many. */
uint64_t evict_some(struct cache *c, enum space_for what, uint64_t bytes);
/* The same of all that is here of these inodes, whoever's turn it is. */
uint64_t evict_files(struct cache *c, const uint64_t *inos, size_t n);
