/* Why content is not here that a program asks for. */
#include "common/number.h"
#include "syncd/fetch_internal.h"

static bool was_evicted(const struct cache_file *f, uint64_t chunk)
{
    struct index_extent e;

    return index_extent_get(f->volume->index, f->ino, chunk / EXTENT_CHUNKS, &e) == 0 && e.queue == EVICT_GHOST;
}

static enum tally_miss reason(const struct cache_file *f, uint64_t chunk)
{
    uint64_t from = chunk << CHUNK_SHIFT;

    if (fetch_concerns(f, from, from + CHUNK_SIZE))
        return MISS_ARRIVING;
    if (f->changed)
        return MISS_CHANGED;
    return was_evicted(f, chunk) ? MISS_EVICTED : MISS_ABSENT;
}

void fetch_count_miss(const struct cache_file *f, uint64_t offset, uint64_t length)
{
    uint64_t chunk = chunk_first_absent(f->map, offset, least(length, excess(fetch_reach(f), offset)));

    if (chunk != UINT64_MAX)
        f->volume->tally->misses[reason(f, chunk)]++;
}
