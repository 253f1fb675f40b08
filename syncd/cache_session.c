/* Owns what a pair of cache files is worth after the machine went down: nothing that was written without being synced
 * needs to be there, and what is there came in any order.
 *
 * Two things are relied on, which ext4 (data=ordered), XFS and btrfs give: blocks are not part of a file before their
 * bytes are on the disk, and changes of one file's metadata (its holes, its extended attributes) come back in the order
 * in which they were made. So a chunk that was fetched and has a hole never arrived; and the data file bears in an
 * extended attribute, the stamp, of which version its bytes are, set when nothing else is in it and taken away
 * before it becomes something else.
 *
 * Must not know when the machine went down (cache_open.c). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache.h"

static const char STAMP[] = "user.landfall.version";

void cache_file_stamp(struct cache_file *f)
{
    (void)fsetxattr(f->data_fd, STAMP, f->map->base, strnlen(f->map->base, sizeof(f->map->base)), 0);
}

void cache_file_unstamp(struct cache_file *f)
{
    (void)fremovexattr(f->data_fd, STAMP);
}

static bool stamped(const struct cache_file *f, const char *etag)
{
    char stamp[sizeof(f->map->base)];
    ssize_t n = fgetxattr(f->data_fd, STAMP, stamp, sizeof(stamp));
    size_t wanted = etag ? strlen(etag) : 0;

    return n >= 0 && (size_t)n == wanted && memcmp(stamp, etag ? etag : "", wanted) == 0;
}

bool cache_file_stamped_at(int dir_fd, uint64_t ino)
{
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(dir_fd, cache_file_path(path, ino, "data"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    return fd >= 0 && fgetxattr(fd, STAMP, NULL, 0) >= 0;
}

/* Writes to no page of the map that has no bits: most of it is a hole. */
static void lose(struct cache_file *f, uint64_t from, uint64_t to)
{
    for (uint64_t c = from >> CHUNK_SHIFT; c << CHUNK_SHIFT < to; c++) {
        if (atomic_load(&f->map->bits[c / 64]) == 0)
            c |= 63;
        else
            (void)atomic_fetch_and(&f->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    }
}

/* Of a chunk that reaches beyond `end` only what lies below counts: the rest was never fetched. */
static void lose_holes(struct cache_file *f, uint64_t end, bool clean)
{
    off_t hole = 0, data;

    if (f->is_sealed) {
        cache_seal_lose_missing(f, end, clean);
        return;
    }
    while ((hole = lseek(f->data_fd, hole, SEEK_HOLE)) >= 0 && (uint64_t)hole < end) {
        data = lseek(f->data_fd, hole, SEEK_DATA);
        lose(f, (uint64_t)hole, data < 0 ? end : least((uint64_t)data, end));
        if (data < 0)
            return;
        hole = data;
    }
}

/* It was cut off, and the map that knew it never arrived. */
static void lose_from(struct cache_file *f, uint64_t size)
{
    uint64_t fetchable = atomic_load(&f->map->fetchable);

    if (fetchable <= size)
        return;
    lose(f, (size + CHUNK_SIZE - 1) & ~(uint64_t)(CHUNK_SIZE - 1), least(fetchable, CHUNK_FILE_MAX));
    atomic_store(&f->map->fetchable, size);
}

void cache_file_make_do(struct cache_file *f)
{
    uint64_t before = atomic_exchange(&f->map->fetchable, 0);

    lose(f, 0, least(before, cache_file_size(f)));
}

/* Its map never arrived. Where it has no bytes of its own it has those of the version that it is based on. */
static void guess(struct cache_file *f, const struct index_inode *i)
{
    uint64_t size = cache_file_size(f);

    cache_file_raise(f, i->cloud_key ? least(size, i->cloud_size) : 0);
}

void cache_file_after_cut(struct cache_file *f, const struct index_inode *i, bool map_lost)
{
    bool dirty = i->pending & INDEX_CONTENT;

    if (!dirty && !stamped(f, i->etag)) {
        cache_file_rebase(f, CACHE_OUTDATED);
        return;
    }
    if (!dirty)
        cache_file_raise(f, cache_file_size(f));
    else if (map_lost)
        guess(f, i);
    lose_from(f, cache_file_size(f));
    if (dirty && f->is_sealed)
        lose_from(f, cache_fresh_cut_at(f));   /* it may have grown since, whose bytes came later */
    lose_holes(f, least(atomic_load(&f->map->fetchable), cache_file_size(f)), !dirty);
}
