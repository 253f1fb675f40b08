/* Owns the moment in which a pair of cache files gets another form: what was written is synced; then, if the pair was
 * neither written nor opened since and nobody uses it, one call of rename(2) or unlink(2) makes that the pair. The
 * index knows of a new key before, and of what follows from it once the folder is on the disk, so that neither a crash
 * nor a power cut leaves the two with different opinions. Only then plaintext goes.
 *
 * Must not know how the bytes came there (cache_convert_pair.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/timespec.h"
#include "syncd/cache_convert_internal.h"
#include "syncd/cache_use.h"
#include "syncd/disk_sync.h"
#include "syncd/sealed_head.h"

/* By now the pair is sealed even after a power cut. It may have become a plain one again, with bytes. */
static void clear_plain(struct conversion *t)
{
    struct cache_file *f = t->file;

    if (t->what == CONVERT_SEAL && f->is_sealed)
        (void)cache_seal_clear_data(f->data_fd);
}

/* Not before: a power cut must not leave an index that is ahead of the folder. */
static int tell_index(struct conversion *t)
{
    struct cache_file *f = t->file;
    int r;

    if (f->dropped || f->is_sealed != (t->what != CONVERT_UNSEAL))
        return 0;
    if (t->what == CONVERT_UNSEAL)
        return index_fresh_remove(conversion_index(t), f->ino);
    r = index_fresh_retag(conversion_index(t), f->ino, sealed_key_id(f->map->sealed_key));
    if (r == 0 && f->map->rewritten)
        cache_fresh_record(f, atomic_load(&t->map->generation));
    return r;
}

static void names_synced(int error, void *arg)
{
    struct conversion *t = arg;

    if (!t->cache) {
        conversion_free(t);
        return;
    }
    t->syncing = t->committed = false;
    if (error == 0) {
        cleanup_close(&t->file->names_fd);
        t->file->names_fd = -1;
        error = tell_index(t);
        clear_plain(t);
    }
    use_changed(t->file);
    if (error)   /* what is plain stays until somebody looks again; what the index has to hear it hears then */
        LOG(LOG_ERR, "cache_folder_not_synced", "drive=%s", t->cache->volume->drive->id, "ino=%" PRIu64, t->file->ino,
            "error=%s", error_meaning(error)->text);
    conversion_finish(t, 0);
}

/* Until the names are on the disk, who syncs the file syncs them too. */
static void sync_names(struct conversion *t)
{
    struct cache_file *f = t->file;

    t->committed = t->syncing = true;
    cleanup_close(&f->names_fd);
    f->names_fd = cache_name_folder(t->cache->dir_fd, f->ino, false);
    disk_sync(t->cache->volume->loop, &f->names_fd, 1, names_synced, t);
}

static void take_sealed(struct conversion *t)
{
    struct cache_file *f = t->file;

    cache_seal_detach(f);
    cache_seal_attach(f, take_fd(&t->to.fd));
    f->sealed.map = f->map;
    memcpy(f->map->sealed_key, t->map->sealed_key, CRYPT_KEY);
    atomic_store(&f->map->synced, atomic_load(&f->map->generation));
    memset(f->map->torn, 0, sizeof(f->map->torn));
    f->map->rewritten = (t->what == CONVERT_RESEAL && f->map->rewritten) || t->found.state == CHUNK_MAP_DIRTY;
    f->recorded = 0;
}

/* Nobody looks at size and generation of a plain pair, and those of a sealed one may be ahead of what it has. */
static int exchange(struct conversion *t)
{
    char from[CACHE_PATH], to[CACHE_PATH];
    struct chunk_map *m = t->file->map;
    int dir = t->cache->dir_fd;

    atomic_store(&m->generation, most(atomic_load(&m->generation), atomic_load(&t->map->generation)));
    if (t->what == CONVERT_SEAL) {
        atomic_store(&m->written_ns, cache_file_written_ns(t->file));
        atomic_store(&m->size, t->found.size);
    }
    (void)cache_file_path(from, t->file->ino, "seal.new");
    if (renameat(dir, from, dir, cache_file_path(to, t->file->ino, "seal")) < 0)
        return -errno;
    take_sealed(t);
    return 0;
}

static int unseal(struct conversion *t)
{
    struct cache_file *f = t->file;
    const struct timespec times[2] = { [0].tv_nsec = UTIME_OMIT, [1] = timespec_of(cache_file_written_ns(f)) };
    char path[CACHE_PATH];

    (void)futimens(f->data_fd, times);
    if (unlinkat(t->cache->dir_fd, cache_file_path(path, f->ino, "seal"), 0) < 0)
        return -errno;
    cache_seal_detach(f);
    return 0;
}

static void bytes_synced(int error, void *arg)
{
    struct conversion *t = arg;

    if (!t->cache) {
        conversion_free(t);
        return;
    }
    t->syncing = false;
    if (error == 0 && (!conversion_is_unchanged(t) || !conversion_is_alone(t->file)))
        error = -EBUSY;
    if (error == 0)
        error = t->what == CONVERT_UNSEAL ? unseal(t) : exchange(t);
    if (error == 0)
        sync_names(t);
    else
        conversion_finish(t, error);
}

/* The index knows of the key before a file of that name has it, and of its end. */
static int announce(struct conversion *t)
{
    static const uint8_t none[INDEX_FRESH_TAG];
    const uint8_t *id = t->what == CONVERT_UNSEAL ? none : sealed_key_id(t->map->sealed_key);
    struct index *x = conversion_index(t);
    int r;

    if (index_in_transaction(x))
        return -EBUSY;
    r = index_begin(x);
    if (r < 0)
        return r;
    if (t->what == CONVERT_SEAL)
        r = index_fresh_remove(x, t->file->ino);
    if (r == 0)
        r = index_fresh_announce(x, t->file->ino, id);
    return index_end(x, r);
}

void conversion_commit(struct conversion *t)
{
    const int fds[] = { t->what == CONVERT_UNSEAL ? t->file->data_fd : t->to.fd, index_sync_fd(conversion_index(t)) };
    int r = announce(t);

    if (r < 0) {
        conversion_finish(t, r);
        return;
    }
    t->syncing = true;
    disk_sync(t->cache->volume->loop, fds, ARRAY_SIZE(fds), bytes_synced, t);
}

/* What is plain must not stay because somebody closed the drive. */
void conversion_settle(struct conversion *t)
{
    if (fdatasync(t->file->names_fd) == 0 && tell_index(t) == 0)
        clear_plain(t);
}
