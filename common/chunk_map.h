/* The map of a cache file: which chunks of it are here. Shared memory between syncd, which owns
 * the file, and the drive's worker, which has it mapped (docs/FORMATS.md has it byte by byte).
 *
 * Rules, which make every byte a reader sees the right one:
 *  - Chunk c is present when its bit is set or c * CHUNK_SIZE >= fetchable.
 *  - Only syncd writes into an absent chunk (a fetch), and sets its bit afterwards. A worker that
 *    wants to write into an absent chunk asks FsFetch first, even to overwrite all of it.
 *  - A worker writes only while state is CHUNK_MAP_DIRTY; otherwise it asks FsDirty first. It adds
 *    to write_seq after every pwrite, so that syncd knows whether an upload read one single state,
 *    and then looks at state again: when it is CHUNK_MAP_CLEAN by now (an upload ended meanwhile),
 *    it asks FsDirty again before the write is acknowledged.
 *  - Only syncd truncates: it ends fetches beyond the new size, then lowers fetchable, then truncates.
 *    The logical size of the file is the cache file's st_size; while fetchable is above it the cloud
 *    has another version whose size is not known here yet, and an FsFetch brings it.
 *  - How the kernel has the file open is the worker's to say (mountd/worker_mode.c) and outlives it; it holds for the
 *    mount whose tag stands beside it. While `passed` is above 0 the kernel reads the data file itself: what is
 *    present stays present, and what another version in the cloud says goes into another inode.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CHUNK_SHIFT = 16,
    CHUNK_SIZE = 1 << CHUNK_SHIFT,
    CHUNK_MAP_HEADER = 4096,
};

/* Largest file: 8 TiB. The map file is sparse and always this long, so it is mapped once. */
#define CHUNK_FILE_MAX (UINT64_C(1) << 43)
#define CHUNK_MAP_SIZE (CHUNK_MAP_HEADER + (CHUNK_FILE_MAX >> CHUNK_SHIFT) / 8)

#define CHUNK_MAP_MAGIC UINT64_C(0x3150414d46444e4c) /* "LNDFMAP1", little endian */

enum chunk_map_state { CHUNK_MAP_CLEAN = 0, CHUNK_MAP_DIRTY = 1 };

struct chunk_map {
    uint64_t magic;
    uint32_t chunk_shift;
    _Atomic uint32_t state;       /* enum chunk_map_state; set by syncd */
    _Atomic uint64_t write_seq;   /* writes done, by the worker */
    _Atomic uint64_t fetchable;   /* bytes at and above which there is nothing to fetch */
    uint64_t ino;
    uint64_t mtime_seq;           /* syncd's: write_seq up to which the mtime of the index is right */
    uint64_t size_seq;            /* syncd's: the same for its size */
    char base[256];               /* syncd's: ETag of the cloud's version that the chunks are of, NUL-terminated */
    uint64_t mount_tag;           /* the mount that the next three are about; 0: none */
    uint32_t backing_id;          /* of that FUSE connection, while passed > 0 */
    _Atomic uint32_t passed;      /* handles the kernel has in passthrough mode */
    _Atomic uint32_t cached;      /* handles it has in its page cache's mode */
    uint8_t reserved[CHUNK_MAP_HEADER - 332];
    _Atomic uint64_t bits[];      /* bit c % 64 of word c / 64, little endian */
};

_Static_assert(offsetof(struct chunk_map, bits) == CHUNK_MAP_HEADER, "the layout of docs/FORMATS.md");

static inline bool chunk_present(const struct chunk_map *m, uint64_t c)
{
    if (c << CHUNK_SHIFT >= atomic_load_explicit(&m->fetchable, memory_order_acquire))
        return true;
    return atomic_load_explicit(&m->bits[c / 64], memory_order_acquire) >> (c % 64) & 1;
}

static inline void chunk_set(struct chunk_map *m, uint64_t c)
{
    atomic_fetch_or_explicit(&m->bits[c / 64], UINT64_C(1) << (c % 64), memory_order_release);
}

/* Whether the kernel reads the data file without asking. `mount_tag` 0: not known, then every mount's word counts. */
static inline bool chunk_map_passed(const struct chunk_map *m, uint64_t mount_tag)
{
    return atomic_load(&m->passed) > 0 && (mount_tag == 0 || m->mount_tag == mount_tag);
}

/* The first absent chunk that overlaps [offset, offset + length), or UINT64_MAX. */
static inline uint64_t chunk_first_absent(const struct chunk_map *m, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return UINT64_MAX;
    for (uint64_t c = offset >> CHUNK_SHIFT; c <= (offset + length - 1) >> CHUNK_SHIFT; c++)
        if (!chunk_present(m, c))
            return c;
    return UINT64_MAX;
}
