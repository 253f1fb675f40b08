/* Owns the question which bytes of a dirty file are still those of the version that it is based on, so that the cloud
 * can copy them and they need not even be here.
 *
 * Two things answer it. A chunk that is absent was never written to. And while a file is dirty, `changed` of the map
 * says where it was written, by extents, below `alike`. The marks are shared memory: they outlive every process, but
 * of a power cut nobody knows which of their pages came to the disk. So they hold for one mount of one boot; after that
 * whatever is here counts as changed.
 *
 * What holds from the moment a file becomes dirty goes on to hold for each version that is made of it: their bytes are
 * the same there. So nothing is to be done when an upload gives the file another base.
 *
 * Must not know what is done with the answer. */
#include "syncd/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/number.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x00004000U   /* Linux 6.8 */
#endif

/* FNV-1a. */
static uint64_t mix(uint64_t h, uint64_t number)
{
    for (unsigned n = 0; n < sizeof(number); n++, number >>= 8)
        h = (h ^ (number & 0xff)) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t cache_alike_tag(int dir_fd, uint64_t session)
{
    struct statx st;
    uint64_t tag = mix(UINT64_C(0xcbf29ce484222325), session);

    if (statx(dir_fd, "", AT_EMPTY_PATH, STATX_MNT_ID_UNIQUE, &st) == 0 && st.stx_mask & STATX_MNT_ID_UNIQUE)
        tag = mix(tag, st.stx_mnt_id);
    return tag ? tag : 1;
}

static void forget_marks(struct chunk_map *m, uint64_t size)
{
    for (uint64_t e = 0; e << EXTENT_SHIFT < size; e += 64)
        if (atomic_load(chunk_changed_word(m, e)))
            atomic_store(chunk_changed_word(m, e), 0);
}

/* Blocks for the marks: without them a full disk would be told by SIGBUS, to whoever sets one. */
static bool make_room(struct cache_file *f, uint64_t size)
{
    off_t bytes = (off_t)(((size >> EXTENT_SHIFT) / 8 + CHUNK_PAGE) & ~(uint64_t)(CHUNK_PAGE - 1));

    return fallocate(f->map_fd, FALLOC_FL_KEEP_SIZE, (off_t)CHUNK_MAP_SIZE_1, bytes) == 0 || errno == EOPNOTSUPP;
}

void cache_alike_begin(struct cache_file *f)
{
    uint64_t size = cache_file_size(f), tag = f->volume->mount_tag;

    atomic_store(&f->map->alike, 0);
    if (size == 0 || !make_room(f, size))
        return;
    forget_marks(f->map, size);
    f->map->alike_tag = f->volume->cache->alike_tag;
    atomic_store(&f->map->alike, size);
    if (chunk_map_passed(f->map, tag) && chunk_map_written(f->map, tag))
        atomic_store(&f->map->alike, 0);   /* stored first: a mapping that is being made now sees to it itself */
}

static bool unchanged(struct cache_file *f, uint64_t from, uint64_t to)
{
    uint64_t e = from >> EXTENT_SHIFT;

    return f->map->alike_tag == f->volume->cache->alike_tag && to <= atomic_load(&f->map->alike) &&
           !(atomic_load(chunk_changed_word(f->map, e)) >> (e % 64) & 1);
}

bool cache_alike(struct cache_file *f, const char *etag, uint64_t from, uint64_t to)
{
    if (!etag || !*etag || !cache_file_based(f, etag))
        return false;
    for (uint64_t at = from; at < to;) {
        uint64_t c = at >> CHUNK_SHIFT, end = least((c + 1) << CHUNK_SHIFT, to);
        bool absent = !chunk_present(f->map, c) && end <= atomic_load(&f->map->fetchable);

        if (!absent && !unchanged(f, at, end))
            return false;
        at = end;
    }
    return true;
}
