/* Owns one cache file on disk: the data, its map, and what "present" means after a change of size or version.
 *
 * Invariant: no bit is set for a chunk at or above `fetchable`, so raising it never makes stale
 * bytes appear.
 *
 * Must not know who uses the file, nor the index or the cloud. */
#include "syncd/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/punch.h"
#include "common/timespec.h"
#include "syncd/content.h"

_Static_assert(sizeof(struct chunk_map) == CHUNK_MAP_HEADER, "the header of a map is one page");

/* --- chunks ------------------------------------------------------------------------------------- */

/* A worker that scribbles over the map cannot make us walk beyond it. */
static uint64_t bounded(uint64_t size)
{
    return least(size, CHUNK_FILE_MAX);
}

static void clear_from(struct cache_file *f, uint64_t from, uint64_t to)
{
    uint64_t c = (from + CHUNK_SIZE - 1) >> CHUNK_SHIFT, end = (bounded(to) + CHUNK_SIZE - 1) >> CHUNK_SHIFT;

    for (; c < end && c % 64; c++)
        (void)atomic_fetch_and(&f->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    for (; c < end; c += 64)
        atomic_store(&f->map->bits[c / 64], 0);
}

int cache_file_resize(struct cache_file *f, uint64_t size)
{
    uint64_t before = atomic_load(&f->map->fetchable);
    int r = 0;

    if (size > (f->is_sealed ? SEALED_FILE_MAX : CHUNK_FILE_MAX))
        return -EFBIG;
    if (size < atomic_load(&f->map->alike))
        atomic_store(&f->map->alike, size);
    if (size < before) {
        atomic_store(&f->map->fetchable, size);
        clear_from(f, size, before);
    }
    f->map->cut_to = size + 1;
    if (f->is_sealed)
        r = cache_seal_cut(f, size);
    return ftruncate(f->data_fd, (off_t)size) < 0 ? -errno : r;
}

static uint64_t data_size(const struct cache_file *f)
{
    struct stat st;

    return fstat(f->data_fd, &st) < 0 ? 0 : bounded((uint64_t)st.st_size);
}

/* A worker can write anywhere. */
uint64_t cache_file_size(const struct cache_file *f)
{
    return f->is_sealed ? least(atomic_load(&f->map->size), SEALED_FILE_MAX) : data_size(f);
}

int64_t cache_file_written_ns(const struct cache_file *f)
{
    struct stat st;

    if (f->is_sealed)
        return atomic_load(&f->map->written_ns);
    return fstat(f->data_fd, &st) < 0 ? 0 : timespec_ns(st.st_mtim);
}

bool cache_file_whole(const struct cache_file *f)
{
    uint64_t size = cache_file_size(f), fetchable = atomic_load(&f->map->fetchable);

    return chunk_first_absent(f->map, 0, least(size, fetchable)) == UINT64_MAX;
}

/* --- versions ----------------------------------------------------------------------------------- */

void cache_file_rebase(struct cache_file *f, const char *etag)
{
    size_t n = etag ? strlen(etag) : 0;

    if (n >= sizeof(f->map->base)) {    /* does not fit: then it matches nothing, which is slow and right */
        etag = CACHE_OUTDATED;
        n = strlen(CACHE_OUTDATED);
    }
    memset(f->map->base, 0, sizeof(f->map->base));
    if (n)
        memcpy(f->map->base, etag, n);
}

bool cache_file_based(const struct cache_file *f, const char *etag)
{
    return strncmp(f->map->base, etag ? etag : "", sizeof(f->map->base)) == 0;
}

bool cache_file_current(const struct cache_file *f, const struct index_inode *i)
{
    return i->pending & INDEX_CONTENT || (cache_file_based(f, i->etag) && cache_file_size(f) == i->size);
}

/* First nothing is present, then the bits go: a reader never takes an old chunk for a new one. */
static void outdate(struct cache_file *f)
{
    uint64_t before, size = cache_file_size(f);

    (void)atomic_fetch_add(&f->map->lost_seq, 1);
    before = atomic_exchange(&f->map->fetchable, CHUNK_FILE_MAX);
    clear_from(f, 0, least(before, size));   /* beyond the size no bit was ever set */
    cache_file_rebase(f, CACHE_OUTDATED);
    atomic_store(&f->map->alike, 0);
    f->outdated++;
    f->changed |= size > 0;
}

/* Where nothing was fetched there is a hole: by that a power cut is known to have taken something (cache_session.c). */
static int empty(struct cache_file *f)
{
    if (f->is_sealed)
        return cache_seal_empty(f);
    if (punch_hole(f->data_fd, 0, CHUNK_FILE_MAX) == 0)
        return 0;
    return ftruncate(f->data_fd, 0) < 0 ? -errno : 0;
}

static bool can_be_sealed(const struct cache_file *f, const struct index_inode *i)
{
    return f->cache->seals && i->size <= SEALED_FILE_MAX;
}

/* Whether it is to be sealed is looked at when there is nothing of it here and nobody has it open. */
static int choose_form(struct cache_file *f, const struct index_inode *i)
{
    CLEANUP_CLOSE int folder = -1;
    bool wanted = can_be_sealed(f, i);
    char name[32];
    int fd, r;

    if (f->is_sealed == wanted || !SLIST_EMPTY(&f->opens) || chunk_map_counted(f->map, 0) || content_busy(f))
        return 0;
    folder = cache_name_folder(f->cache->dir_fd, f->ino, true);
    if (folder < 0)
        return folder;
    cleanup_close(&f->names_fd);
    f->names_fd = fcntl(folder, F_DUPFD_CLOEXEC, 3);   /* who syncs what comes then syncs that it is there */
    if (!wanted) {
        cache_seal_detach(f);
        cache_fresh_end(f);
        return unlinkat(folder, cache_name(name, f->ino, "seal"), 0) < 0 ? -errno : 0;
    }
    r = punch_hole(f->data_fd, 0, CHUNK_FILE_MAX);   /* what was plain goes first */
    if (r < 0)
        return r;
    fd = cache_name_open(folder, f->ino, "seal", O_RDWR | O_CREAT);
    if (fd < 0)
        return fd;
    cache_seal_attach(f, fd);
    f->sealed.map = f->map;
    return 0;
}

int cache_file_renew(struct cache_file *f, const struct index_inode *i)
{
    int r;

    if (i->size > CHUNK_FILE_MAX)
        return -EFBIG;
    r = cache_file_map_room(f, i->size);
    if (r < 0)
        return r;
    outdate(f);
    r = choose_form(f, i);
    if (r == 0)
        r = empty(f);
    if (r < 0)
        return r;
    atomic_store(&f->map->size, i->size);
    if (ftruncate(f->data_fd, (off_t)i->size) < 0)
        return -errno;
    atomic_store(&f->map->state, CHUNK_MAP_CLEAN);
    atomic_store(&f->map->fetchable, i->size);
    f->map->mtime_seq = f->map->size_seq = atomic_load(&f->map->write_seq);
    cache_file_rebase(f, i->etag);
    cache_file_stamp(f);
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------ */

static bool sound(const struct cache_file *f)
{
    return f->map->magic == CHUNK_MAP_MAGIC && f->map->chunk_shift == CHUNK_SHIFT && f->map->ino == f->ino;
}

int cache_file_map_room(struct cache_file *f, uint64_t size)
{
    uint64_t bits = ((bounded(size) >> CHUNK_SHIFT) / 8 + CHUNK_PAGE) & ~(uint64_t)(CHUNK_PAGE - 1);
    off_t wanted = CHUNK_MAP_HEADER + (off_t)bits;
    struct stat st;

    if (fstat(f->map_fd, &st) < 0)
        return -errno;
    if (st.st_blocks * 512 >= wanted || fallocate(f->map_fd, FALLOC_FL_KEEP_SIZE, 0, wanted) == 0 ||
        errno == EOPNOTSUPP)
        return 0;
    return -errno;
}

/* No program has written so often. */
static const uint64_t NEVER_SEEN = UINT64_MAX / 2;

/* Everything is here and dirty, nothing to be taken over, and another write came in between: so no fetch begins,
 * nothing is given up, and no upload that is under way ends well. */
static void map_lost(void *at)
{
    struct chunk_map *m = at;

    atomic_store(&m->state, CHUNK_MAP_DIRTY);
    atomic_store(&m->write_seq, NEVER_SEEN);
    m->size_seq = m->mtime_seq = NEVER_SEEN;
}

/* Whether the pages that are in use can be read: of the bits, and of the marks where they say something. */
static bool readable(const struct cache_file *f)
{
    uint64_t size = cache_file_size(f), alike = bounded(atomic_load(&f->map->alike));
    const volatile char *map = (const volatile char *)f->map;

    for (uint64_t at = 0; (at * 8) << CHUNK_SHIFT < size; at += CHUNK_PAGE)
        (void)map[CHUNK_MAP_HEADER + at];
    for (uint64_t at = 0; (at * 8) << EXTENT_SHIFT < alike; at += CHUNK_PAGE)
        (void)map[CHUNK_MAP_SIZE_1 + at];
    return !f->guard.is_lost;
}

static void unmap(struct cache_file *f)
{
    map_guard_remove(&f->guard);
    if (f->map)
        (void)munmap(f->map, CHUNK_MAP_SIZE);
    f->map = NULL;
}

static int map_once(struct cache_file *f)
{
    struct stat st;
    void *map;
    int r;

    if (fstat(f->map_fd, &st) < 0)
        return -errno;
    if (st.st_size != (off_t)CHUNK_MAP_SIZE && st.st_size != (off_t)CHUNK_MAP_SIZE_1 && ftruncate(f->map_fd, 0) < 0)
        return -errno;
    if (st.st_size != (off_t)CHUNK_MAP_SIZE && ftruncate(f->map_fd, (off_t)CHUNK_MAP_SIZE) < 0)
        return -errno;
    if ((r = cache_file_map_room(f, data_size(f))) < 0)
        return r;
    map = mmap(NULL, CHUNK_MAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, f->map_fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    (void)madvise(map, CHUNK_MAP_SIZE, MADV_RANDOM);   /* else the first touch reads megabytes of hole ahead */
    f->map = map;
    map_guard_add(&f->guard, map, CHUNK_MAP_SIZE, map_lost);
    return 0;
}

/* One that cannot be read is as good as none. */
static int map_file(struct cache_file *f)
{
    int r = map_once(f);

    if (r == 0 && !readable(f)) {
        unmap(f);
        f->map_unreadable = true;
        r = ftruncate(f->map_fd, 0) < 0 ? -errno : map_once(f);
    }
    if (r == 0)
        atomic_store(&f->map->granted, atomic_load(&f->map->spent));   /* what another syncd promised */
    return r;
}

/* The map says nothing useful. All of what is in the data file counts as present, which is right for a
 * dirty file; a clean one is renewed after. */
static int init_map(struct cache_file *f, bool fresh)
{
    int r;

    if (f->map->magic && punch_hole(f->map_fd, 0, CHUNK_MAP_SIZE) < 0)
        memset(f->map, 0, CHUNK_MAP_SIZE);
    r = cache_file_map_room(f, data_size(f));
    if (r < 0)
        return r;
    f->map->magic = CHUNK_MAP_MAGIC;
    f->map->chunk_shift = CHUNK_SHIFT;
    f->map->ino = f->ino;
    cache_file_rebase(f, CACHE_OUTDATED);
    if (!fresh)
        atomic_store(&f->map->write_seq, 1);   /* ahead of size_seq: the index has not seen this size */
    return 0;
}

/* A map is not changed before the index says so on this disk, nor after it says otherwise, but where truncating was cut
 * short: so the index is older than the map. */
static bool is_unsent(const struct cache_file *f, const struct index_inode *i)
{
    uint64_t size = cache_file_size(f);

    return f->same_session && atomic_load(&f->map->state) == CHUNK_MAP_DIRTY && cache_file_based(f, i->etag) &&
           (size == i->size || f->map->cut_to != size + 1);
}

static int bring_in_line(struct cache_file *f, const struct index_inode *i, uint64_t session, bool fresh)
{
    bool lost = !sound(f);
    int r = lost ? init_map(f, fresh) : 0;

    if (r == 0 && f->is_sealed)
        r = cache_seal_open(f, i, fresh, lost || f->map->session != session);
    else if (r == 0 && !fresh && f->cache->io)
        r = cache_fresh_unsealed(f, i, can_be_sealed(f, i));
    if (r < 0) {
        f->map->magic = lost ? 0 : f->map->magic;   /* the next try is to know it, too */
        return r;
    }
    f->map_remade = lost && !fresh;
    if (!fresh && (lost || f->map->session != session))
        cache_file_after_cut(f, i, lost);
    f->same_session = !fresh && !lost && f->map->session == session;
    f->map->session = session;
    if (i->pending & INDEX_CONTENT) {
        atomic_store(&f->map->state, CHUNK_MAP_DIRTY);
        return 0;
    }
    f->unsent = is_unsent(f, i);
    if (f->unsent)
        return 0;
    if (!cache_file_current(f, i))
        return cache_file_renew(f, i);
    atomic_store(&f->map->state, CHUNK_MAP_CLEAN);
    return 0;
}

static int open_pair(struct cache_file *f, bool *ret_fresh)
{
    CLEANUP_CLOSE int folder = cache_name_folder(f->cache->dir_fd, f->ino, true);
    int seal;

    if (folder < 0)
        return folder;
    f->data_fd = cache_name_open(folder, f->ino, "data", O_RDWR | O_CREAT | O_EXCL);
    *ret_fresh = f->data_fd >= 0;
    if (f->data_fd == -EEXIST)
        f->data_fd = cache_name_open(folder, f->ino, "data", O_RDWR);
    if (f->data_fd == -ENOENT) {   /* something else was in its place */
        f->data_fd = cache_name_open(folder, f->ino, "data", O_RDWR | O_CREAT | O_EXCL);
        *ret_fresh = f->data_fd >= 0;
    }
    if (f->data_fd < 0)
        return f->data_fd;
    f->map_fd = cache_name_open(folder, f->ino, "map", O_RDWR | O_CREAT);
    if (f->map_fd < 0)
        return f->map_fd;
    seal = cache_name_open(folder, f->ino, "seal", O_RDWR | (*ret_fresh && f->cache->seals ? O_CREAT : 0));
    if (seal < 0)
        return seal == -ENOENT ? map_file(f) : seal;
    cache_seal_attach(f, seal);
    *ret_fresh = *ret_fresh && lseek(seal, 0, SEEK_END) == 0;   /* its data may have gone, and this not */
    return map_file(f);
}

int cache_file_open(struct cache *c, const struct index_inode *i, struct cache_file **ret)
{
    struct cache_file *f = xcalloc(1, sizeof(*f));
    bool fresh = false;
    int r;

    f->ino = i->ino;
    f->cache = c;
    f->data_fd = f->map_fd = f->names_fd = -1;
    SLIST_INIT(&f->opens);
    r = open_pair(f, &fresh);
    if (r == 0 && f->is_sealed && !c->io)
        r = -ENOKEY;
    if (r == 0)
        r = bring_in_line(f, i, c->session, fresh);
    if (r == 0 && f->guard.is_lost)
        r = -EIO;
    if (r < 0) {
        cache_file_close(f);
        return r == -EROFS ? -EIO : r;   /* so it became when the disk failed */
    }
    *ret = f;
    return 0;
}

void cache_file_close(struct cache_file *f)
{
    if (!f)
        return;
    unmap(f);
    cache_seal_detach(f);
    cleanup_close(&f->names_fd);
    cleanup_close(&f->map_fd);
    cleanup_close(&f->data_fd);
    free(f);
}

size_t cache_file_fds(const struct cache_file *f, int fds[CACHE_FILES])
{
    size_t n = 0;

    if (f->is_sealed)
        fds[n++] = f->sealed.fd;
    fds[n++] = f->data_fd;
    if (f->names_fd >= 0)
        fds[n++] = f->names_fd;
    fds[n++] = f->map_fd;
    return n;
}

struct cache_point cache_point(const struct cache_file *f)
{
    return (struct cache_point){ atomic_load(&f->map->write_seq), atomic_load(&f->map->generation) };
}

void cache_point_synced(struct cache_file *f, const struct cache_point *point)
{
    if (atomic_load(&f->map->synced) < point->generation)
        atomic_store(&f->map->synced, point->generation);
    if (f->is_sealed && f->map->rewritten)
        cache_fresh_record(f, point->generation);
}

/* Waits for no page: it looks at a place where there is none. */
bool cache_file_refused(const struct cache_file *f)
{
    return sync_file_range(f->is_sealed ? f->sealed.fd : f->data_fd, (off_t)CHUNK_FILE_MAX * 2 - CHUNK_SIZE, 1,
                           SYNC_FILE_RANGE_WAIT_BEFORE) < 0 && errno != ESPIPE;
}

int cache_file_lend(int dir_fd, const struct cache_file *f, bool write, int ret_fds[2])
{
    CLEANUP_CLOSE int folder = cache_name_folder(dir_fd, f->ino, false);

    if (folder < 0)
        return folder;
    ret_fds[0] = cache_name_open(folder, f->ino, f->is_sealed ? "seal" : "data",
                                 write || f->is_sealed ? O_RDWR : O_RDONLY);
    if (ret_fds[0] < 0)
        return ret_fds[0];
    ret_fds[1] = cache_name_open(folder, f->ino, "map", O_RDWR);   /* stays mapped if it is opened for writing */
    if (ret_fds[1] < 0)
        (void)close(ret_fds[0]);
    return ret_fds[1] < 0 ? ret_fds[1] : 0;
}
