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
 *    it asks FsDirty again and then writes once more before the write is acknowledged: in between the
 *    chunk may have been given up for space. It adds to write_seq before the pwrite as well: one that is killed in the
 *    middle of it has been seen to write.
 *  - What changes is marked before it does: a worker sets the extent's bit of `changed` before it writes there. Below
 *    `alike` an extent without it has the bytes of the version in `base`; syncd begins that anew when a clean file
 *    becomes dirty, and lowers `alike` when it truncates. Who lets somebody write without asking (a shared mapping
 *    past the worker) sets `alike` to 0 before.
 *  - Chunks go absent again, for space or because the cloud has another version: lost_seq is raised first, then
 *    the bits go, then the bytes. A worker that found a chunk present and then moved bytes looks at lost_seq again, and
 *    begins anew when it moved. (The bit alone would not tell: the chunk may have gone and come back.)
 *  - Space for writes is granted by syncd ahead of them: a worker adds what a write may cost on the disk to
 *    spent and goes on when that is not above granted; else it takes it back and asks FsDirty for more.
 *  - A worker marks the extents that it reads or writes in touched, and syncd takes the marks away.
 *  - Only syncd truncates: it ends fetches beyond the new size, then lowers fetchable, then truncates.
 *    The logical size of the file is the cache file's st_size, or stands in the map if it is sealed; while fetchable is
 *    above it the cloud has another version whose size is not known here yet, and an FsFetch brings it.
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
    EXTENT_SHIFT = 22,                                  /* what is evicted at once: 4 MiB, a word of the bits */
    EXTENT_SIZE = 1 << EXTENT_SHIFT,
    EXTENT_CHUNKS = EXTENT_SIZE / CHUNK_SIZE,
    CHUNK_TOUCHED_WORDS = 256,
    CHUNK_PAGE = 4096,                                  /* what a write of one byte may cost */
    CHUNK_WHYS = 8,
    CHUNK_KEY = 104,
    CHUNK_TORN = 4,
    CHUNK_COPIED_LEAST = 1 << 20,                       /* of less a program makes a copy itself as fast as the cloud */
    CHUNK_PASSED_LEAST = 256 << 10,                     /* below, the kernel's page cache serves a file as well as the
                                                           file itself, and costs no registration */
};

/* Largest file: 8 TiB. The map file is sparse and always this long, so it is mapped once. */
#define CHUNK_FILE_MAX (UINT64_C(1) << 43)
#define CHUNK_MAP_WORDS ((CHUNK_FILE_MAX >> CHUNK_SHIFT) / 64)
#define CHUNK_MAP_CHANGED ((CHUNK_FILE_MAX >> EXTENT_SHIFT) / 64)
#define CHUNK_MAP_SIZE_1 (CHUNK_MAP_HEADER + 8 * CHUNK_MAP_WORDS)   /* of a map from before there was `changed` */
#define CHUNK_MAP_SIZE (CHUNK_MAP_SIZE_1 + 8 * CHUNK_MAP_CHANGED)

#define CHUNK_MAP_MAGIC UINT64_C(0x3150414d46444e4c) /* "LNDFMAP1", little endian */

enum chunk_map_state { CHUNK_MAP_CLEAN = 0, CHUNK_MAP_DIRTY = 1 };

/* A power cut may have taken bytes of what has a generation above the one and up to the other. */
struct chunk_torn {
    uint64_t above, to;
};

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
    uint64_t mount_tag;           /* the mount that the next four are about; 0: none */
    uint32_t backing_id;          /* of that FUSE connection, while passed > 0 */
    _Atomic uint32_t passed;      /* handles the kernel has in passthrough mode */
    _Atomic uint32_t cached;      /* handles it has in its page cache's mode */
    _Atomic uint32_t writers;     /* how many of both may write */
    _Atomic uint64_t lost_seq;    /* syncd's: raised before chunks go absent */
    _Atomic uint64_t granted;     /* syncd's: bytes that may be written, in all; a new syncd sets it to spent */
    _Atomic uint64_t spent;       /* the worker's: bytes that its writes may have cost, in all */
    _Atomic uint64_t any_touched; /* not zero: there may be marks */
    _Atomic uint64_t touched[CHUNK_TOUCHED_WORDS];   /* bit e % 16384: an extent with that remainder */
    uint64_t came[CHUNK_WHYS];    /* syncd's: bytes that were fetched, by what for (enum fetch_why) */
    _Atomic uint64_t alike;       /* bytes below which what is not marked as changed is as in `base`; 0: nothing is */
    uint64_t alike_tag;           /* syncd's: the mount, of this boot, for which that is so */
    uint64_t session;             /* syncd's: the session of the machine since which the pair is known to be right */
    int64_t foreseen_ns;          /* syncd's: when it was fetched before any program opened it; 0: one has since */
    uint64_t cut_to;              /* syncd's: 1 + the size that the file was last to be given by truncating; 0: none */
    _Atomic uint64_t generation;  /* of a sealed file (common/sealed.h): the last one given to a write of a chunk */
    _Atomic uint64_t synced;      /* syncd's: records up to that generation, and their bytes, are on the disk */
    _Atomic uint64_t size;        /* of a sealed file */
    _Atomic int64_t written_ns;   /* of a sealed file: when it was last written, since the epoch */
    uint8_t sealed_key[CHUNK_KEY]; /* syncd's: of a sealed file, wrapped; it changes when all chunks go */
    uint64_t rewritten;           /* syncd's: 1: what was written here since it has its key is recorded in the index */
    struct chunk_torn torn[CHUNK_TORN];   /* syncd's: of a sealed file; from the oldest on, unused ones are zero */
    uint64_t unlinked;            /* syncd's: 1: its name was taken away here, not in the cloud */
    uint8_t reserved[CHUNK_MAP_HEADER - 624 - 8 * CHUNK_TOUCHED_WORDS - 8 * CHUNK_WHYS];
    _Atomic uint64_t bits[];      /* bit c % 64 of word c / 64, little endian; behind CHUNK_MAP_WORDS of them,
                                     `changed`: bit e % 64 of word e / 64 */
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

/* Whether what the map says of the kernel's handles is about this mount: another mount's says nothing about this one's
 * kernel. `mount_tag` 0: not known, then every mount's word counts. */
static inline bool chunk_map_about(const struct chunk_map *m, uint64_t mount_tag)
{
    return mount_tag == 0 || m->mount_tag == mount_tag;
}

/* Whether the kernel of that mount has handles that read the data file without asking; whether it has any; any that may
 * write. */
static inline bool chunk_map_passed(const struct chunk_map *m, uint64_t mount_tag)
{
    return atomic_load(&m->passed) > 0 && chunk_map_about(m, mount_tag);
}

static inline bool chunk_map_counted(const struct chunk_map *m, uint64_t mount_tag)
{
    return (atomic_load(&m->passed) > 0 || atomic_load(&m->cached) > 0) && chunk_map_about(m, mount_tag);
}

static inline bool chunk_map_written(const struct chunk_map *m, uint64_t mount_tag)
{
    return atomic_load(&m->writers) > 0 && chunk_map_about(m, mount_tag);
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

/* Marks the extents of [offset, offset + length) as used. Costs a look where they are marked already. */
static inline void chunk_touch(struct chunk_map *m, uint64_t offset, uint64_t length)
{
    uint64_t last = length ? (offset + length - 1) >> EXTENT_SHIFT : offset >> EXTENT_SHIFT;

    for (uint64_t e = offset >> EXTENT_SHIFT; e <= last; e++) {
        _Atomic uint64_t *word = &m->touched[e / 64 % CHUNK_TOUCHED_WORDS];
        uint64_t bit = UINT64_C(1) << (e % 64);

        if (!(atomic_load_explicit(word, memory_order_relaxed) & bit)) {
            atomic_fetch_or(word, bit);
            atomic_store(&m->any_touched, 1);
        }
    }
}

/* The word with the extent's bit of `changed`. */
static inline _Atomic uint64_t *chunk_changed_word(struct chunk_map *m, uint64_t extent)
{
    return &m->bits[CHUNK_MAP_WORDS + extent / 64];
}

/* Says that [offset, offset + length) is about to be written, or to become a hole. Above `alike` marks say nothing, and
 * their page has no blocks on the disk. */
static inline void chunk_change(struct chunk_map *m, uint64_t offset, uint64_t length)
{
    uint64_t alike = atomic_load(&m->alike), end = offset + length < alike ? offset + length : alike;

    for (uint64_t e = offset >> EXTENT_SHIFT; e << EXTENT_SHIFT < end && length; e++) {
        uint64_t bit = UINT64_C(1) << (e % 64);

        if (!(atomic_load(chunk_changed_word(m, e)) & bit))
            atomic_fetch_or(chunk_changed_word(m, e), bit);
    }
    atomic_fetch_add(&m->write_seq, 1);
}

/* Bytes of disk that a write of that length may cost, wherever it begins. */
static inline uint64_t chunk_write_cost(uint64_t length)
{
    return (length + 2 * CHUNK_PAGE - 2) & ~(uint64_t)(CHUNK_PAGE - 1);
}

/* Takes `cost` from the grant; false: there is not so much. The order matters to a syncd that takes a grant
 * back: it lowers granted and looks at spent after. */
static inline bool chunk_spend(struct chunk_map *m, uint64_t cost)
{
    if (atomic_fetch_add(&m->spent, cost) + cost <= atomic_load(&m->granted))
        return true;
    atomic_fetch_sub(&m->spent, cost);
    return false;
}
