/* Owns one cache file on disk: the data, its map, their names, and what "present" means after a
 * change of size or version. Everything is reached below one directory descriptor and never
 * through a symbolic link.
 *
 * Invariant: no bit is set for a chunk at or above `fetchable`, so raising it never makes stale
 * bytes appear.
 *
 * Must not know who uses the file, nor the index or the cloud. */
#include "syncd/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

_Static_assert(sizeof(struct chunk_map) == CHUNK_MAP_HEADER, "the header of a map is one page");

/* --- names -------------------------------------------------------------------------------------- */

static int open_folder(int dir_fd, uint64_t ino, bool create)
{
    char name[3];
    int fd;

    (void)snprintf(name, sizeof(name), "%02x", (unsigned)(ino & 0xff));
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT || !create)
        return fd < 0 ? -errno : fd;
    if (mkdirat(dir_fd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static const char *file_name(char out[32], uint64_t ino, const char *kind)
{
    (void)snprintf(out, 32, "%" PRIx64 ".%s", ino, kind);
    return out;
}

/* A file is ours, whatever became of its mode; a directory in its place is put out of the way. */
static bool clear_way(int folder, const char *name, int error)
{
    char aside[64];

    if (error == EACCES)
        return fchmodat(folder, name, 0600, 0) == 0;
    if (error != EISDIR)
        return false;
    (void)snprintf(aside, sizeof(aside), "%s.aside", name);
    return unlinkat(folder, name, AT_REMOVEDIR) == 0 || renameat2(folder, name, folder, aside, RENAME_NOREPLACE) == 0;
}

static int open_one(int folder, uint64_t ino, const char *kind, int flags)
{
    char name[32];
    int fd = openat(folder, file_name(name, ino, kind), flags | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0 && clear_way(folder, name, errno))
        fd = openat(folder, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

void cache_file_unlink(int dir_fd, uint64_t ino)
{
    CLEANUP_CLOSE int folder = open_folder(dir_fd, ino, false);
    char name[32];

    if (folder < 0)
        return;
    (void)unlinkat(folder, file_name(name, ino, "data"), 0);
    (void)unlinkat(folder, file_name(name, ino, "map"), 0);
}

bool cache_file_exists(int dir_fd, uint64_t ino)
{
    CLEANUP_CLOSE int folder = open_folder(dir_fd, ino, false);
    struct stat st;
    char name[32];

    return folder >= 0 && fstatat(folder, file_name(name, ino, "data"), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode);
}

static void cleanup_closedir(DIR **d)
{
    if (*d)
        (void)closedir(*d);
}

static void walk_folder(int folder, void (*each)(uint64_t ino, void *arg), void *arg)
{
    CLEANUP(cleanup_closedir) DIR *d = fdopendir(folder);
    struct dirent *entry;
    char *end;

    if (!d) {
        (void)close(folder);
        return;
    }
    while ((entry = readdir(d))) {
        uint64_t ino = strtoull(entry->d_name, &end, 16);

        if (ino && (!strcmp(end, ".data") || !strcmp(end, ".map")))
            each(ino, arg);
    }
}

void cache_file_walk(int dir_fd, uint64_t low, void (*each)(uint64_t ino, void *arg), void *arg)
{
    int folder = open_folder(dir_fd, low, false);

    if (folder >= 0)
        walk_folder(folder, each, arg);
}

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

    if (size > CHUNK_FILE_MAX)
        return -EFBIG;
    if (size < atomic_load(&f->map->alike))
        atomic_store(&f->map->alike, size);
    if (size < before) {
        atomic_store(&f->map->fetchable, size);
        clear_from(f, size, before);
    }
    f->map->cut_to = size + 1;
    return ftruncate(f->data_fd, (off_t)size) < 0 ? -errno : 0;
}

uint64_t cache_file_size(const struct cache_file *f)
{
    struct stat st;

    return fstat(f->data_fd, &st) < 0 ? 0 : bounded((uint64_t)st.st_size);   /* a worker can write anywhere */
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
    if (fallocate(f->data_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)CHUNK_FILE_MAX) == 0)
        return 0;
    return ftruncate(f->data_fd, 0) < 0 ? -errno : 0;
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
    if (empty(f) < 0 || ftruncate(f->data_fd, (off_t)i->size) < 0)
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
    if ((r = cache_file_map_room(f, cache_file_size(f))) < 0)
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

    if (f->map->magic && fallocate(f->map_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)CHUNK_MAP_SIZE) < 0)
        memset(f->map, 0, CHUNK_MAP_SIZE);
    r = cache_file_map_room(f, cache_file_size(f));
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

    if (r < 0)
        return r;
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

static int open_pair(struct cache_file *f, int dir_fd, bool *ret_fresh)
{
    CLEANUP_CLOSE int folder = open_folder(dir_fd, f->ino, true);

    if (folder < 0)
        return folder;
    f->data_fd = open_one(folder, f->ino, "data", O_RDWR | O_CREAT | O_EXCL);
    *ret_fresh = f->data_fd >= 0;
    if (f->data_fd == -EEXIST)
        f->data_fd = open_one(folder, f->ino, "data", O_RDWR);
    if (f->data_fd == -ENOENT) {   /* something else was in its place */
        f->data_fd = open_one(folder, f->ino, "data", O_RDWR | O_CREAT | O_EXCL);
        *ret_fresh = f->data_fd >= 0;
    }
    if (f->data_fd < 0)
        return f->data_fd;
    f->map_fd = open_one(folder, f->ino, "map", O_RDWR | O_CREAT);
    return f->map_fd < 0 ? f->map_fd : map_file(f);
}

int cache_file_open(int dir_fd, const struct index_inode *i, uint64_t session, struct cache_file **ret)
{
    struct cache_file *f = xcalloc(1, sizeof(*f));
    bool fresh = false;
    int r;

    f->ino = i->ino;
    f->data_fd = f->map_fd = -1;
    r = open_pair(f, dir_fd, &fresh);
    if (r == 0)
        r = bring_in_line(f, i, session, fresh);
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
    if (f->map_fd >= 0)
        (void)close(f->map_fd);
    if (f->data_fd >= 0)
        (void)close(f->data_fd);
    free(f);
}

/* Waits for no page: it looks at a place where there is none. */
bool cache_file_refused(const struct cache_file *f)
{
    return sync_file_range(f->data_fd, (off_t)CHUNK_FILE_MAX, 1, SYNC_FILE_RANGE_WAIT_BEFORE) < 0 && errno != ESPIPE;
}

int cache_file_lend(int dir_fd, const struct cache_file *f, bool write, int ret_fds[2])
{
    CLEANUP_CLOSE int folder = open_folder(dir_fd, f->ino, false);

    if (folder < 0)
        return folder;
    ret_fds[0] = open_one(folder, f->ino, "data", write ? O_RDWR : O_RDONLY);
    if (ret_fds[0] < 0)
        return ret_fds[0];
    ret_fds[1] = open_one(folder, f->ino, "map", O_RDWR);   /* stays mapped when the file is opened for writing later */
    if (ret_fds[1] < 0)
        (void)close(ret_fds[0]);
    return ret_fds[1] < 0 ? ret_fds[1] : 0;
}
