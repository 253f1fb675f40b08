/* Owns a pair of cache files on its way to another form, run by run of chunks: read as it is, written as it shall be.
 * It comes to nothing when somebody writes to the pair or opens it meanwhile.
 *
 * Must not know which pairs there are, nor when (cache_convert.c), nor how what was written becomes the pair
 * (cache_convert_commit.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"
#include "syncd/cache_convert_internal.h"
#include "syncd/cache_space.h"
#include "syncd/evict.h"
#include "syncd/key_stock.h"
#include "syncd/keys.h"
#include "syncd/sealed_head.h"

/* A run takes that much twice of the memory that programs' requests wait for. Between two it rests as long as the run
 * took, or some times as long. */
enum { RUN = 8, REST = 1, REST_LONG = 8 };

static uint64_t chunks_of(uint64_t size)
{
    return (size + CHUNK_SIZE - 1) >> CHUNK_SHIFT;
}

/* --- what it lacks --------------------------------------------------------------------------------------- */

uint32_t convert_newest_epoch(const struct cache *c)
{
    const struct keys_facts *facts = c->volume->keys ? keys_facts(c->volume->keys) : NULL;

    return facts && facts->n_epochs ? facts->epochs[facts->n_epochs - 1] : 0;
}

enum convert_to conversion_of(struct cache *c, uint64_t ino, uint8_t old_key[CRYPT_KEY], bool *ret_old)
{
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = openat(c->dir_fd, cache_file_path(path, ino, "seal"), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    uint32_t made = UINT32_MAX;

    *ret_old = false;
    if (fd < 0)
        return errno == ENOENT && c->seals ? CONVERT_SEAL : CONVERT_NOTHING;
    if (sealed_head_made(fd, old_key, &made) == 0)
        *ret_old = sealed_key_epoch(old_key) < convert_newest_epoch(c);
    if (!c->seals)
        return CONVERT_UNSEAL;
    return made < convert_newest_epoch(c) ? CONVERT_RESEAL : CONVERT_NOTHING;
}

void conversion_clear(struct cache *c, uint64_t ino)
{
    char path[CACHE_PATH];
    CLEANUP_CLOSE int fd = -1;

    if (cache_find(c, ino) || faccessat(c->dir_fd, cache_file_path(path, ino, "seal"), F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    fd = openat(c->dir_fd, cache_file_path(path, ino, "data"), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        (void)cache_seal_clear_data(fd);
}

/* --- whether it may go on ----------------------------------------------------------------------------------- */

static uint64_t count_present(const struct cache_file *f, uint64_t end)
{
    uint64_t n = 0, chunks = chunks_of(end);

    for (uint64_t w = 0; w * 64 < chunks; w++) {
        uint64_t bits = atomic_load(&f->map->bits[w]);

        if (chunks - w * 64 < 64)
            bits &= (UINT64_C(1) << (chunks - w * 64)) - 1;
        n += (uint64_t)__builtin_popcountll(bits);
    }
    return n;
}

static struct as_found look(const struct cache_file *f)
{
    const struct chunk_map *m = f->map;
    struct as_found a;

    memset(&a, 0, sizeof(a));
    a.write_seq = atomic_load(&m->write_seq);
    a.lost_seq = atomic_load(&m->lost_seq);
    a.generation = atomic_load(&m->generation);
    a.size = cache_file_size(f);
    a.fetchable = atomic_load(&m->fetchable);
    a.present = count_present(f, least(a.size, a.fetchable));
    a.state = atomic_load(&m->state);
    a.outdated = f->outdated;
    return a;
}

bool conversion_is_unchanged(const struct conversion *t)
{
    const struct cache_file *f = t->file;
    struct as_found now;

    if (t->stopped || f->guard.is_lost || f->dropped || f->is_sealed != (t->what != CONVERT_SEAL))
        return false;
    now = look(f);
    return memcmp(&now, &t->found, sizeof(now)) == 0;
}

/* But for the conversion nobody has it. */
bool conversion_is_alone(const struct cache_file *f)
{
    return f->refs == 1 && SLIST_EMPTY(&f->opens) && !cache_counted(f);
}

/* --- the end --------------------------------------------------------------------------------------------------- */

static void remove_new(struct conversion *t)
{
    char path[CACHE_PATH];

    (void)unlinkat(t->cache->dir_fd, cache_file_path(path, t->file->ino, "seal.new"), 0);
}

void conversion_free(struct conversion *t)
{
    if (t->from.fd >= 0)
        (void)close(t->from.fd);
    if (t->to.fd >= 0)
        (void)close(t->to.fd);
    free(t->map);
    free(t);
}

/* What was begun of another form goes; of a sealed pair that is bytes where none may be. */
static void give_up(struct conversion *t)
{
    if (t->what != CONVERT_UNSEAL)
        remove_new(t);
    else if (t->file->is_sealed && !t->file->dropped)
        (void)cache_seal_clear_data(t->file->data_fd);
}

static void let_go(struct conversion *t)
{
    struct cache *c = t->cache;

    loop_timer_free(take_ptr(t->rest));
    sealed_job_end(take_ptr(t->job));
    space_measure(t->file);
    space_give_back(c, t->reserved);
    t->reserved = 0;
    cache_release(take_ptr(t->file));
    t->cache = NULL;
}

void conversion_finish(struct conversion *t, int code)
{
    conversion_fn *done = t->done;
    uint64_t ino = t->file->ino;
    void *arg = t->arg;

    if (code)
        give_up(t);
    let_go(t);
    conversion_free(t);
    done(ino, code, arg);
}

void conversion_stop(struct conversion *t)
{
    t->stopped = true;
}

/* --- which chunks ---------------------------------------------------------------------------------------------- */

/* The first one from c on that may have bytes on the disk. */
static uint64_t skip_hole(const struct conversion *t, uint64_t c, uint64_t end)
{
    uint64_t extent;
    off_t at;

    if (t->what != CONVERT_SEAL) {
        extent = sealed_next_entries(t->from.fd, c / EXTENT_CHUNKS);
        return extent == UINT64_MAX ? end : least(end, most(c, extent * EXTENT_CHUNKS));
    }
    at = lseek(t->file->data_fd, (off_t)(c << CHUNK_SHIFT), SEEK_DATA);
    if (at < 0)
        return errno == ENXIO ? end : c;
    return least(end, most(c, (uint64_t)at >> CHUNK_SHIFT));
}

/* Whether there are bytes to be taken along: what was fetched or written; but no hole above that. */
static bool has_bytes(const struct conversion *t, uint64_t c)
{
    struct sealed_entry e;

    if (c << CHUNK_SHIFT < t->found.fetchable)
        return chunk_present(t->file->map, c);
    if (t->what == CONVERT_SEAL)
        return skip_hole(t, c, c + 1) == c;
    return sealed_entries(t->from.fd, c, 1, &e) < 0 || sealed_newest(&e, UINT64_MAX) >= 0;
}

static uint64_t skip_absent(const struct conversion *t, uint64_t c, uint64_t end)
{
    while (c < end && !has_bytes(t, c)) {
        if (c << CHUNK_SHIFT >= t->found.fetchable)
            c = skip_hole(t, c + 1, end);
        else if (c % 64 == 0 && atomic_load(&t->file->map->bits[c / 64]) == 0)
            c = least(c + 64, chunks_of(t->found.fetchable));
        else
            c++;
    }
    return least(c, end);
}

static size_t run_from(const struct conversion *t, uint64_t c, uint64_t end)
{
    size_t n = 1;

    while (n < RUN && c + n < end && has_bytes(t, c + n))
        n++;
    return n;
}

/* --- a run ------------------------------------------------------------------------------------------------------ */

static void step(struct conversion *t);

static void on_rested(void *arg)
{
    struct conversion *t = arg;

    loop_timer_free(take_ptr(t->rest));
    step(t);
}

static void rest(struct conversion *t)
{
    uint64_t ms = (uint64_t)(loop_now_ns() - t->began_ns) / 1000000;

    t->rest = loop_timer(t->cache->volume->loop, ms * (t->what == CONVERT_RESEAL ? REST_LONG : REST), on_rested, t);
}

/* What the disk does not give, or was changed, is had again if the cloud has it. */
static void fail(struct conversion *t, int code)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    uint64_t from = t->job->first << CHUNK_SHIFT, n = t->job->n << CHUNK_SHIFT;

    if ((code == -EIO || code == -EBADE) && conversion_is_unchanged(t) &&
        index_get(conversion_index(t), t->file->ino, &i) == 0)
        (void)cache_unreadable(t->file, &i, from, n);
    conversion_finish(t, code);
}

static void went(struct conversion *t, int code)
{
    if (code < 0) {
        fail(t, code);
        return;
    }
    t->at = t->job->first + t->job->n;
    sealed_job_end(take_ptr(t->job));
    rest(t);
}

static void sealed(struct sealed_job *j, const struct error *e)
{
    went(j->arg, e->code ? e->code : sealed_store(j));
}

static uint64_t length_of(const struct conversion *t)
{
    uint64_t begins = t->job->first << CHUNK_SHIFT;

    return least(t->found.size - begins, t->job->n << CHUNK_SHIFT);
}

static void seal(struct conversion *t)
{
    uint32_t lengths[RUN];
    uint64_t length = length_of(t);

    for (size_t i = 0; i < t->job->n; i++)
        lengths[i] = (uint32_t)least(length - i * CHUNK_SIZE, CHUNK_SIZE);
    t->job->sealed = &t->to;
    sealed_seal(t->job, lengths, sealed);
}

static int move_plain(const struct conversion *t, bool in)
{
    uint64_t done = 0, length = length_of(t), begins = t->job->first << CHUNK_SHIFT;

    while (done < length) {
        uint8_t *at = t->job->outer + done;
        ssize_t n = in ? pread(t->file->data_fd, at, length - done, (off_t)(begins + done))
                       : pwrite(t->file->data_fd, at, length - done, (off_t)(begins + done));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -EBUSY;   /* cut shorter meanwhile */
        done += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

static void opened(struct sealed_job *j, const struct error *e)
{
    struct conversion *t = j->arg;

    if (e->code)
        fail(t, e->code);
    else if (!conversion_is_unchanged(t))
        conversion_finish(t, -EBUSY);
    else if (t->what == CONVERT_UNSEAL)
        went(t, move_plain(t, false));
    else
        seal(t);
}

static void work(struct sealed_job *j, const struct error *e)
{
    struct conversion *t = j->arg;
    int r;

    (void)e;
    if (!conversion_is_unchanged(t)) {
        conversion_finish(t, -EBUSY);
    } else if (t->what != CONVERT_SEAL) {
        sealed_open(j, t->found.size, opened);
    } else {
        r = move_plain(t, true);
        if (r < 0)
            fail(t, r);
        else
            seal(t);
    }
}

/* Somebody who came to use it has it as it is. */
static void step(struct conversion *t)
{
    uint64_t end_chunk = chunks_of(t->found.size), c;

    if (!conversion_is_unchanged(t) || !conversion_is_alone(t->file)) {
        conversion_finish(t, -EBUSY);
        return;
    }
    c = skip_absent(t, t->at, end_chunk);
    if (c >= end_chunk) {
        conversion_commit(t);
        return;
    }
    t->began_ns = loop_now_ns();
    t->job = sealed_job_new(t->cache->io, t->what == CONVERT_SEAL ? &t->to : &t->from, c, run_from(t, c, end_chunk));
    t->job->arg = t;
    sealed_job_begin(t->job, work);
}

/* --- beginning ---------------------------------------------------------------------------------------------------- */

static int make_new(struct conversion *t)
{
    CLEANUP_CLOSE int folder = cache_name_folder(t->cache->dir_fd, t->file->ino, true);
    uint8_t key[CRYPT_KEY];
    int r;

    if (folder < 0)
        return folder;
    r = t->cache->stock ? key_stock_take(t->cache->stock, key) : -EAGAIN;
    if (r < 0)
        return r;
    remove_new(t);
    t->to.fd = cache_name_open(folder, t->file->ino, "seal.new", O_RDWR | O_CREAT | O_EXCL);
    if (t->to.fd < 0)
        return t->to.fd;
    t->map = xcalloc(1, CHUNK_MAP_HEADER);
    t->to.map = t->map;
    memcpy(t->map->sealed_key, key, CRYPT_KEY);
    atomic_store(&t->map->generation, t->found.generation);   /* the index wants no older ones */
    return sealed_head_write(t->to.fd, key);
}

static int prepare(struct conversion *t)
{
    struct cache_file *f = t->file;
    int r = 0;

    if (t->what != CONVERT_SEAL) {
        t->from = (struct sealed){ fcntl(f->sealed.fd, F_DUPFD_CLOEXEC, 3), f->map };
        r = t->from.fd < 0 ? -errno : 0;
    }
    if (r == 0 && t->what == CONVERT_UNSEAL)
        r = cache_seal_clear_data(f->data_fd);
    if (r == 0 && t->what == CONVERT_UNSEAL && ftruncate(f->data_fd, (off_t)t->found.size) < 0)
        r = -errno;
    return r == 0 && t->what != CONVERT_UNSEAL ? make_new(t) : r;
}

static int begin(struct cache_file *f, enum convert_to what, uint64_t reserved, struct conversion **ret)
{
    struct conversion *t = xcalloc(1, sizeof(*t));
    int r;

    *t = (struct conversion){
        .cache = f->cache, .file = cache_hold(f), .what = what, .found = look(f), .from.fd = -1, .to.fd = -1,
        .reserved = reserved, .began_ns = loop_now_ns(),
    };
    r = prepare(t);
    if (r < 0) {
        give_up(t);
        let_go(t);
        conversion_free(t);
        return r;
    }
    rest(t);
    *ret = t;
    return 0;
}

/* Twice as much as it is for a while. Where there is no room for that, what the cloud has goes instead. */
static int with_room(struct cache_file *f, const struct index_inode *i, enum convert_to what, struct conversion **ret)
{
    struct cache *c = f->cache;
    bool clean = !(i->pending & INDEX_CONTENT);
    uint64_t bytes = cache_file_blocks(f), reserved = space_take(c, clean ? SPACE_READ : SPACE_KEEP, bytes, bytes);
    int r;

    if (reserved)
        return begin(f, what, reserved, ret);
    if (!evict_may(c, f, i))
        return -ENOSPC;
    r = cache_file_renew(f, i);
    space_measure(f);
    return r < 0 ? r : -EALREADY;
}

static bool in_use(struct cache *c, uint64_t ino)
{
    return cache_find(c, ino) || cache_is_open(c, ino) || index_fault(c->volume->index, ino) ||
           index_in_transaction(c->volume->index);
}

/* What lies in the folder may be of another form than what it lacks tells, once it was opened. */
static int begin_alone(struct cache_file *f, const struct index_inode *i, struct conversion **ret)
{
    uint8_t key[CRYPT_KEY];
    bool old;
    enum convert_to what = conversion_of(f->cache, f->ino, key, &old);

    if (what == CONVERT_NOTHING || f->is_sealed != (what != CONVERT_SEAL) || i->size > SEALED_FILE_MAX)
        return -EALREADY;
    return conversion_is_alone(f) ? with_room(f, i, what, ret) : -EBUSY;
}

int conversion_begin(struct cache *c, uint64_t ino, conversion_fn *done, void *arg, struct conversion **ret)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;
    int r;

    if (in_use(c, ino))
        return -EBUSY;
    r = index_get(c->volume->index, ino, &i);
    if (r == -ENOENT || (r == 0 && (!S_ISREG(i.mode) || !cache_file_exists(c->dir_fd, ino))))
        return -EALREADY;
    if (r == 0)
        r = cache_acquire(c, &i, &f);
    if (r < 0)
        return r;
    r = begin_alone(f, &i, ret);
    cache_release(f);
    if (r < 0)
        return r;
    (*ret)->done = done;
    (*ret)->arg = arg;
    return 0;
}

void conversion_end(struct conversion *t)
{
    bool syncing = t->syncing;

    if (t->committed)
        conversion_settle(t);
    else
        give_up(t);
    let_go(t);
    if (!syncing)
        conversion_free(t);
}
