/* What the index knows of cache files: kept behind the files in use, and brought up to them once a second, before
 * anything is given up, and at the end. A pair in use is marked so beforehand; what a crash leaves marked is measured
 * at the next start, so that the sums are right without a look at every file. */
#pragma once

#include "syncd/evict.h"

/* Reads the sums. *ret_known false: there are no rows yet, though there may be files. */
int use_init(struct cache *c, bool *ret_known);
void use_end(struct cache *c);

/* A file came into use, or goes out of it: for cache.c. */
void use_opened(struct cache_file *f);
void use_closed(struct cache_file *f);
/* Its pair was unlinked. */
void use_dropped(struct cache *c, uint64_t ino);
/* A chunk came. */
void use_fetched(struct cache_file *f, uint64_t offset);
/* Contents came otherwise; the worker used it; the kernel may have, from its own pages. */
void use_changed(struct cache_file *f);

/* Brings the index up to date. Not inside a transaction. 0 or negative errno. */
int use_flush(struct cache *c);
/* What was flushed, for evict.c. */
struct evict_order *use_order(struct cache *c);
/* Whether the file is in use, or what is known of it is not in the index yet. */
bool use_behind(struct cache *c, uint64_t ino);
