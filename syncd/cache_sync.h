/* Content on its way to the disk: what is written is synced in the background soon after it has come to rest, so that
 * a power cut takes little even where no program asked for fsync(2); and what is clean gets its stamp then
 * (cache_session.c). */
#pragma once

#include "syncd/cache.h"

void cache_sync_start(struct cache *c);
/* What is dirty and based on a version of the cloud is synced before this returns. */
void cache_sync_end(struct cache *c);
/* A row was added to those of index_unsynced_put(). */
void cache_sync_soon(struct cache *c);
/* The file is on the disk, as it was at that point. */
void cache_synced(struct cache_file *f, const struct cache_point *point);
