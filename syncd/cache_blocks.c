/* Owns what cache files cost: the blocks of a pair, of the folders, and giving the blocks of an extent back.
 *
 * Must not know who decides what goes (evict.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/punch.h"
#include "syncd/cache.h"

enum { STAT_BLOCK = 512, FOLDERS = 256 };
/* Of a pair beside its blocks: its names in the folder, and blocks that say where the blocks are. */
enum { SLACK = 4096 };

/* --- measuring ------------------------------------------------------------------------------------ */

static uint64_t blocks(const struct stat *st)
{
    return (uint64_t)st->st_blocks * STAT_BLOCK;
}

uint64_t cache_file_blocks(const struct cache_file *f)
{
    struct stat st;
    uint64_t n = SLACK;

    n += fstat(f->data_fd, &st) == 0 ? blocks(&st) : 0;
    n += fstat(f->map_fd, &st) == 0 ? blocks(&st) : 0;
    n += f->is_sealed && fstat(f->sealed.fd, &st) == 0 ? blocks(&st) : 0;
    return n;
}

static uint64_t blocks_at(int dir_fd, uint64_t ino, const char *kind)
{
    char path[CACHE_PATH];
    struct stat st;

    return fstatat(dir_fd, cache_file_path(path, ino, kind), &st, AT_SYMLINK_NOFOLLOW) == 0 ? blocks(&st) : 0;
}

uint64_t cache_file_blocks_at(int dir_fd, uint64_t ino)
{
    return blocks_at(dir_fd, ino, "data") + blocks_at(dir_fd, ino, "map") + blocks_at(dir_fd, ino, "seal") + SLACK;
}

bool cache_file_has_bytes(int dir_fd, uint64_t ino)
{
    return blocks_at(dir_fd, ino, "data") > 0 || blocks_at(dir_fd, ino, "seal") > CHUNK_PAGE;   /* more than its head */
}

uint64_t cache_file_folder_blocks(int dir_fd)
{
    struct stat st;
    uint64_t n = fstat(dir_fd, &st) == 0 ? blocks(&st) : 0;
    char name[3];

    for (unsigned low = 0; low < FOLDERS; low++) {
        (void)snprintf(name, sizeof(name), "%02x", low);
        n += fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? blocks(&st) : STAT_BLOCK * 8;
    }
    return n;
}

/* --- extents -------------------------------------------------------------------------------------- */

uint64_t cache_file_extent(const struct cache_file *f, uint64_t extent)
{
    uint64_t size = cache_file_size(f), n = 0;

    for (uint64_t c = extent * EXTENT_CHUNKS; c < (extent + 1) * EXTENT_CHUNKS && c << CHUNK_SHIFT < size; c++)
        n += chunk_present(f->map, c);
    return n << CHUNK_SHIFT;
}

void cache_file_raise(struct cache_file *f, uint64_t size)
{
    uint64_t c = (atomic_load(&f->map->fetchable) + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
    uint64_t end = (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;

    for (; c < end; c++) {
        if (c % EXTENT_CHUNKS == 0 && end - c >= EXTENT_CHUNKS) {
            atomic_store(&f->map->bits[c / EXTENT_CHUNKS], UINT64_MAX);
            c += EXTENT_CHUNKS - 1;
        } else {
            chunk_set(f->map, c);
        }
    }
    if (atomic_load(&f->map->fetchable) < size)
        atomic_store(&f->map->fetchable, size);
}

int cache_file_punch(struct cache_file *f, uint64_t extent)
{
    uint64_t size = cache_file_size(f);

    _Static_assert(EXTENT_CHUNKS == 64, "an extent is a word of the bits");
    if (atomic_load(&f->map->fetchable) < size) {
        int r = cache_file_map_room(f, size);

        if (r < 0)
            return r;
        cache_file_raise(f, size);
    }
    (void)atomic_fetch_add(&f->map->lost_seq, 1);
    if (f->is_sealed)
        return cache_seal_punch(f, extent * EXTENT_CHUNKS, EXTENT_CHUNKS);
    atomic_store(&f->map->bits[extent], 0);
    return punch_hole(f->data_fd, extent << EXTENT_SHIFT, EXTENT_SIZE);
}

/* --- out of the way ------------------------------------------------------------------------------- */

static int move(int dir_fd, uint64_t ino, const char *kind)
{
    char from[CACHE_PATH], to[CACHE_PATH];

    (void)snprintf(to, sizeof(to), "lost/%" PRIx64 ".%s", ino, kind);
    if (renameat2(dir_fd, cache_file_path(from, ino, kind), dir_fd, to, RENAME_NOREPLACE) < 0 && errno != ENOENT)
        return -errno;
    return 0;
}

int cache_file_put_aside(int dir_fd, uint64_t ino)
{
    int r;

    if (mkdirat(dir_fd, "lost", 0700) < 0 && errno != EEXIST)
        return -errno;
    r = move(dir_fd, ino, "data");
    if (r == 0)
        r = move(dir_fd, ino, "seal");
    return r < 0 ? r : move(dir_fd, ino, "map");
}
