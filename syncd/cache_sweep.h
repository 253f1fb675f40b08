/* Looks through the cache folder in the background, a folder of names at a time: what no inode owns goes, what the
 * index has wrong about sizes is put right, what it has and is not there is forgotten. */
#pragma once

#include "syncd/cache_use.h"

/* What a crash left in use is measured; without `known` rows everything, at once. Then the rest in the background. */
int sweep_start(struct cache *c, bool known);
void sweep_end(struct cache *c);
