/* A pair on its way to another form: cache_convert_pair.c and cache_convert_commit.c. */
#pragma once

#include "syncd/cache_convert.h"

/* What tells whether a pair still has the bytes that it had. */
struct as_found {
    uint64_t write_seq, lost_seq, generation, size, fetchable, present;
    uint32_t state;
    unsigned outdated;
};

struct conversion {
    struct cache *cache;          /* NULL: closed, and the pool still has it */
    struct cache_file *file;      /* held */
    enum convert_to what;
    struct as_found found;
    struct sealed from, to;       /* what is sealed of it; descriptors of its own, -1 */
    struct chunk_map *map;        /* the head of one, owned: of what is not the pair yet */
    uint64_t at;                  /* the chunk that comes next */
    struct sealed_job *job;
    struct loop_timer *rest;
    int64_t began_ns;
    uint64_t reserved;
    bool stopped, syncing, committed;
    conversion_fn *done;
    void *arg;
};

static inline struct index *conversion_index(const struct conversion *t)
{
    return t->cache->volume->index;
}

static inline bool conversion_seals(const struct conversion *t, uint64_t ino)
{
    return t->file->ino == ino && t->what == CONVERT_SEAL;
}

/* Whether the pair has the bytes and the form that it had, and the conversion is not to stop. */
bool conversion_is_unchanged(const struct conversion *t);
/* Whether but for the conversion nobody has it. */
bool conversion_is_alone(const struct cache_file *f);
/* Ends it, and tells: 0, or why it came to nothing. */
void conversion_finish(struct conversion *t, int code);
/* Of one that let go of all. */
void conversion_free(struct conversion *t);

/* All is written: what follows, until conversion_finish(). */
void conversion_commit(struct conversion *t);
/* It is committed, and the cache is being closed. */
void conversion_settle(struct conversion *t);
