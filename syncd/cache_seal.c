/* Owns what is different about a pair of cache files whose bytes are sealed: a third file (common/sealed.h), its key,
 * and a size that stands in the map.
 *
 * Must not know what the bytes are, nor who opens and seals them (content.c, the worker). */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/number.h"
#include "common/punch.h"
#include "syncd/cache.h"
#include "syncd/key_stock.h"
#include "syncd/sealed_head.h"

enum { KEPT_CHUNKS = 64 };

static uint64_t chunks_of(uint64_t size)
{
    return (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
}

/* --- keys -------------------------------------------------------------------------------------------- */

static int put_key(struct cache_file *f, const uint8_t key[CRYPT_KEY])
{
    int r = sealed_head_write(f->sealed.fd, key);

    if (r < 0)
        return r;
    memcpy(f->map->sealed_key, key, CRYPT_KEY);
    return cache_fresh_begin(f);
}

static int new_key(struct cache_file *f)
{
    uint8_t key[CRYPT_KEY];
    int r = f->cache->stock ? key_stock_take(f->cache->stock, key) : -ENOKEY;

    return r < 0 ? r : put_key(f, key);
}

/* Nothing of it is left, and what was there cannot be put back: it was sealed with another key. */
int cache_seal_empty(struct cache_file *f)
{
    uint8_t key[CRYPT_KEY];
    int r;

    memcpy(key, f->map->sealed_key, CRYPT_KEY);
    r = f->cache->stock ? key_stock_take(f->cache->stock, key) : 0;
    if (r < 0)
        return r;
    if (ftruncate(f->sealed.fd, 0) < 0)
        return -errno;
    return put_key(f, key);
}

/* --- what is damaged -------------------------------------------------------------------------------------- */

int cache_seal_put_aside(struct cache_file *f)
{
    char from[CACHE_PATH], to[CACHE_PATH + 32];
    int dir = f->cache->dir_fd, fd;

    if (mkdirat(dir, "lost", 0700) < 0 && errno != EEXIST)
        return -errno;
    (void)snprintf(to, sizeof(to), "lost/%" PRIx64 ".seal.damaged-%" PRIu64, f->ino, (uint64_t)loop_wall_ns());
    (void)cache_file_path(from, f->ino, "seal");
    if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) < 0)
        return -errno;
    cache_seal_detach(f);
    fd = openat(dir, from, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    cache_seal_attach(f, fd);
    return 0;
}

static int copy(int from, uint64_t at, uint64_t n, int to)
{
    off_t offset = (off_t)at;

    while (n > 0) {
        ssize_t r = copy_file_range(from, &offset, to, NULL, n, 0);

        if (r <= 0)
            return r < 0 ? -errno : 0;
        n -= (uint64_t)r;
    }
    return 0;
}

void cache_seal_keep_chunk(struct cache_file *f, uint64_t chunk)
{
    struct cache *c = f->cache;
    CLEANUP_CLOSE int fd = -1;
    char name[CACHE_PATH + 32];

    if (c->kept_chunks >= KEPT_CHUNKS || (mkdirat(c->dir_fd, "lost", 0700) < 0 && errno != EEXIST))
        return;
    (void)snprintf(name, sizeof(name), "lost/%" PRIx64 "-%" PRIx64 ".chunk.damaged", f->ino, chunk);
    fd = openat(c->dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    c->kept_chunks++;
    (void)copy(f->sealed.fd, 0, SEALED_HEAD, fd);
    (void)copy(f->sealed.fd, sealed_entry_at(chunk), SEALED_ENTRY, fd);
    for (unsigned s = 0; s < SEALED_SLOTS; s++)
        (void)copy(f->sealed.fd, sealed_slot_at(chunk, s), CHUNK_SIZE, fd);
}

/* --- beginning --------------------------------------------------------------------------------------- */

void cache_seal_attach(struct cache_file *f, int fd)
{
    f->is_sealed = true;
    f->sealed.fd = fd;
}

void cache_seal_detach(struct cache_file *f)
{
    if (f->is_sealed)
        (void)close(f->sealed.fd);
    f->is_sealed = false;
}

int cache_seal_each(const struct cache_file *f, uint64_t size, cache_seal_each_fn *each, void *arg)
{
    uint64_t end = chunks_of(size), extent = sealed_next_entries(f->sealed.fd, 0);
    struct sealed_entry entries[EXTENT_CHUNKS];

    for (; extent < SEALED_CHUNKS_MAX && extent * EXTENT_CHUNKS < end;
         extent = sealed_next_entries(f->sealed.fd, extent + 1)) {
        uint64_t first = extent * EXTENT_CHUNKS;
        size_t n = least(end - first, EXTENT_CHUNKS);
        int r = sealed_entries(f->sealed.fd, first, n, entries);

        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            each(first + i, &entries[i], arg);
    }
    return 0;
}

static void look(uint64_t c, struct sealed_entry *e, void *arg)
{
    (void)c;
    sealed_cut_look(arg, e);
}

/* The counter may be behind what is on the disk, and so may the size; what is newer than the last sync may be torn. */
static int recover(struct cache_file *f)
{
    struct chunk_map *m = f->map;
    struct sealed_cut cut = { .map = m };
    uint64_t end;
    struct stat st;
    int r;

    if (fstat(f->data_fd, &st) < 0)
        return -errno;
    atomic_store(&m->size, least((uint64_t)st.st_size, SEALED_FILE_MAX));
    atomic_store(&m->written_ns, st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec);
    end = chunks_of(atomic_load(&m->size));
    r = sealed_drop(f->sealed.fd, end, SEALED_CHUNKS_MAX - end);
    if (r == 0)
        r = cache_seal_each(f, atomic_load(&m->size), look, &cut);
    atomic_store(&m->generation, most(cut.highest, atomic_load(&m->generation)));
    atomic_store(&m->synced, least(atomic_load(&m->synced), cut.highest));
    sealed_cut_note(&cut);
    return r;
}

/* Neither the time nor the length is another one after it. */
int cache_seal_clear_data(int data_fd)
{
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
    struct stat st;
    int r;

    if (lseek(data_fd, 0, SEEK_DATA) < 0)
        return errno == ENXIO ? 0 : -errno;
    if (fstat(data_fd, &st) < 0)
        return -errno;
    r = punch_hole(data_fd, 0, CHUNK_FILE_MAX);
    if (r < 0)
        return r;
    times[1] = st.st_mtim;
    (void)futimens(data_fd, times);
    return 0;
}

/* It never came further than to be made; or a power cut took its head, before anything of it was synced. */
static bool may_be_empty(const struct cache_file *f, bool fresh, bool cut)
{
    return fresh || !cache_fresh_is_known(f) || (cut && !cache_fresh_has_any(f));
}

int cache_seal_begin(struct cache_file *f, bool fresh, bool cut)
{
    uint8_t key[CRYPT_KEY];
    int r = cache_seal_clear_data(f->data_fd);

    if (r < 0)
        return r;
    r = sealed_head_read(f->sealed.fd, key);
    f->sealed.map = f->map;
    if (r == -ENODATA && !may_be_empty(f, fresh, cut))
        return -EUCLEAN;
    if (r == -ENODATA && !f->cache->stock)
        return r;
    if (r == -ENODATA)   /* new, or it never came further */
        r = new_key(f);
    else if (r == 0)
        memcpy(f->map->sealed_key, key, CRYPT_KEY);
    if (r == 0 && cut && cache_fresh_is_before(f))
        r = cache_seal_empty(f);
    return r == 0 && cut && !fresh ? recover(f) : r;
}

/* --- what is there ----------------------------------------------------------------------------------- */

struct losing {
    struct cache_file *file;
    uint64_t next;               /* the first chunk that was not looked at */
    bool clean;
};

static void lose(struct cache_file *f, uint64_t from, uint64_t to)
{
    for (uint64_t c = from; c < to; c++) {
        if (atomic_load(&f->map->bits[c / 64]) == 0)
            c |= 63;
        else
            (void)atomic_fetch_and(&f->map->bits[c / 64], ~(UINT64_C(1) << (c % 64)));
    }
}

/* A record may have reached the disk alone; what is sealed has no holes. */
static bool has_bytes(const struct cache_file *f, uint64_t c, unsigned slot, const struct cache_record *r)
{
    off_t at = (off_t)sealed_slot_at(c, slot), hole = lseek(f->sealed.fd, at, SEEK_HOLE);

    return hole >= at + (off_t)le32toh(r->length);
}

/* What is changed may have an older record that has its bytes; what is clean is fetched again. */
static bool is_there(const struct losing *l, uint64_t c, const struct sealed_entry *e)
{
    int slot = sealed_newest(e, UINT64_MAX);

    return slot >= 0 && (!l->clean || has_bytes(l->file, c, (unsigned)slot, &e->records[slot]));
}

static void lose_before(uint64_t c, struct sealed_entry *e, void *arg)
{
    struct losing *l = arg;

    if (!is_there(l, c, e))
        return;
    lose(l->file, l->next, c);
    l->next = c + 1;
}

void cache_seal_lose_missing(struct cache_file *f, uint64_t end, bool clean)
{
    struct losing l = { .file = f, .clean = clean };

    (void)cache_seal_each(f, end, lose_before, &l);
    lose(f, l.next, chunks_of(end));
}

/* A worker that is in the midst of a write holds the chunks; it looks again, with them held, whether they are still
 * there. */
static int hold_chunks(const struct cache_file *f, uint64_t first, uint64_t n, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)first, .l_len = (off_t)n };

    return fcntl(f->sealed.fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

int cache_seal_punch(struct cache_file *f, uint64_t first, uint64_t n)
{
    int r = hold_chunks(f, first, n, F_WRLCK);

    if (r < 0)
        return r;
    lose(f, first, first + n);
    r = sealed_drop(f->sealed.fd, first, n);
    (void)hold_chunks(f, first, n, F_UNLCK);
    return r;
}

uint64_t cache_seal_generation(const struct cache_file *f, uint64_t chunk)
{
    struct sealed_entry e;
    int slot = sealed_entries(f->sealed.fd, chunk, 1, &e) < 0 ? -1 : sealed_newest(&e, UINT64_MAX);

    return slot < 0 ? 0 : sealed_generation(&e.records[slot]);
}

int cache_seal_replace(struct cache_file *f, struct sealed_job *j, uint64_t generation)
{
    int r = hold_chunks(f, j->first, 1, F_WRLCK);

    if (r < 0)
        return r == -EACCES ? -EAGAIN : r;
    r = cache_seal_generation(f, j->first) == generation ? sealed_store(j) : -EAGAIN;
    (void)hold_chunks(f, j->first, 1, F_UNLCK);
    return r;
}

int cache_seal_cut(struct cache_file *f, uint64_t size)
{
    uint64_t before = atomic_exchange(&f->map->size, size), end = chunks_of(size);

    return size < before ? sealed_drop(f->sealed.fd, end, SEALED_CHUNKS_MAX - end) : 0;
}

int64_t cache_file_next_bytes(const struct cache_file *f, uint64_t from)
{
    uint64_t extent;
    off_t at;

    if (!f->is_sealed) {
        at = lseek(f->data_fd, (off_t)from, SEEK_DATA);
        return at < 0 ? -errno : at;
    }
    extent = sealed_next_bytes(f->sealed.fd, from >> EXTENT_SHIFT);
    return extent == UINT64_MAX ? -ENXIO : (int64_t)most(from, extent << EXTENT_SHIFT);
}
