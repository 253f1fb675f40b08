/* Owns what follows when the cache's disk does not give back what was written to it: what the cloud has is given up
 * here and fetched anew; what it lacks stays where it is, and nothing is sent in its place.
 *
 * Must not know who met it (fs_data.c, upload_run.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "syncd/cache_space.h"

static void say(const struct cache_file *f, const char *kind, const char *then)
{
    CLEANUP_FREE char *path = index_path(f->volume->index, f->ino), *file = NULL;
    struct stat st = { 0 };
    char disk[32];

    (void)fstat(f->data_fd, &st);
    (void)snprintf(disk, sizeof(disk), "%u:%u", major(st.st_dev), minor(st.st_dev));
    if (asprintf(&file, "%s/%02x/%" PRIx64 ".%s", f->volume->cache_dir, (unsigned)(f->ino & 0xff), f->ino, kind) < 0)
        abort();
    LOG(LOG_ERR, "cache_unreadable", "drive=%s", f->volume->drive->id, "path=%s", path ? path : "", "file=%s", file,
        "disk=%s", disk, "then=%s", then);
}

/* --- giving up ---------------------------------------------------------------------------------------- */

/* Chunks that were here: given up, and not. */
struct outcome {
    uint64_t gone, kept;
};

/* What every chunk of it is asked before: what the kernel reads by itself stays, and so does what an upload reads. */
static bool may_give_up(const struct cache_file *f, const struct index_inode *i)
{
    return i->cloud_key && !cache_lent(f) && cache_file_current(f, i);
}

/* Whether the cloud has these bytes of one chunk as they were here. */
static bool in_the_cloud(struct cache_file *f, const struct index_inode *i, uint64_t from, uint64_t to)
{
    return atomic_load(&f->map->state) == CHUNK_MAP_CLEAN || cache_alike(f, i->etag, from, to);
}

/* Other blocks are taken for what comes in their place, where the file system has any. The chunk goes whole: zeroing a
 * part of a block would read it. */
static bool give_up_chunk(struct cache_file *f, uint64_t c, uint64_t to)
{
    if (atomic_load(&f->map->fetchable) < to) {
        if (cache_file_map_room(f, to) < 0)
            return false;
        cache_file_raise(f, to);
    }
    (void)atomic_fetch_add(&f->map->lost_seq, 1);
    (void)atomic_fetch_and(&f->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    return fallocate(f->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(c << CHUNK_SHIFT),
                     CHUNK_SIZE) == 0;
}

/* What is absent already is on its way to somebody else who met the same. */
static struct outcome give_up(struct cache_file *f, const struct index_inode *i, uint64_t from, uint64_t to)
{
    struct outcome o = { 0 };
    uint64_t size = least(cache_file_size(f), CHUNK_FILE_MAX);
    bool may = may_give_up(f, i);

    for (uint64_t c = from >> CHUNK_SHIFT; c << CHUNK_SHIFT < least(to, size); c++) {
        uint64_t at = c << CHUNK_SHIFT, end = least(at + CHUNK_SIZE, size);

        if (!chunk_present(f->map, c))
            continue;
        if (may && in_the_cloud(f, i, at, end) && give_up_chunk(f, c, end))
            o.gone++;
        else
            o.kept++;
    }
    if (o.gone)
        space_measure(f);
    return o;
}

static void unreadable(struct cache_file *f, struct outcome o)
{
    f->volume->cache->bad = true;
    if (o.gone)
        say(f, "data", "What the cloud has of it is fetched again.");
    else if (o.kept && !f->kept_said)
        say(f, "data", "It is kept as it is: the cloud does not have it, or it is in use.");
    f->kept_said |= o.kept && !o.gone;
}

int cache_unreadable(struct cache_file *f, const struct index_inode *i, uint64_t from, uint64_t length)
{
    struct outcome o = { .kept = 1 };

    if (!uploader_busy(f->volume->uploader, f->ino))
        o = give_up(f, i, from, from + least(length, CHUNK_FILE_MAX));
    unreadable(f, o);
    return o.kept ? -EIO : 0;
}

void cache_unreadable_alike(struct cache_file *f, const struct index_inode *i)
{
    unreadable(f, give_up(f, i, 0, CHUNK_FILE_MAX));
}

/* --- maps ------------------------------------------------------------------------------------------------- */

/* A hole of a changed file may be bytes of the cloud's that were never fetched, or zeros that a program made: nobody
 * knows any more. */
void cache_map_unreadable(struct cache_file *f, const struct index_inode *i)
{
    if (i->pending & INDEX_CONTENT && i->cloud_key && !cache_file_whole(f))
        (void)index_doubt(f->volume->index, f->ino);
    f->volume->cache->bad |= f->map_unreadable;
    say(f, "map", "Its map is made anew.");
}
