/* Owns what follows when the cache's disk does not give back what was written to it, or does not take it: what the
 * cloud has is given up here and fetched anew; what it lacks stays where it is, and nothing is sent in its place.
 *
 * Must not know who met it (fs_data.c, fs_sync.c, cache_sync.c, upload_run.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/punch.h"
#include "syncd/cache_space.h"

/* What happened to which of the two files of the inode. */
static void say(const struct volume *v, uint64_t ino, const char *event, const char *kind, const char *then)
{
    CLEANUP_FREE char *path = index_path(v->index, ino), *file = NULL;
    struct stat st = { 0 };
    char disk[32], below[CACHE_PATH];

    (void)fstat(v->cache->dir_fd, &st);
    (void)snprintf(disk, sizeof(disk), "%u:%u", major(st.st_dev), minor(st.st_dev));
    if (asprintf(&file, "%s/%s", v->cache_dir, cache_file_path(below, ino, kind)) < 0)
        abort();
    LOG(LOG_ERR, event, "drive=%s", v->drive->id, "path=%s", path ? path : "", "file=%s", file, "disk=%s", disk,
        "then=%s", then);
}

static void say_unreadable(const struct cache_file *f, const char *kind, const char *then)
{
    say(f->volume, f->ino, "cache_unreadable", kind, then);
}

/* Of what is sealed it may be the disk, or somebody who changed it: it is not as it was written. */
static void say_content(const struct cache_file *f, const char *then)
{
    if (f->is_sealed)
        say(f->volume, f->ino, "cache_damaged", "seal", then);
    else
        say_unreadable(f, "data", then);
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
    if (f->is_sealed)
        cache_seal_keep_chunk(f, c);
    if (f->is_sealed)
        return cache_seal_punch(f, c, 1) == 0 && cache_fresh_gone(f, c, c + 1) == 0;
    return punch_hole(f->data_fd, c << CHUNK_SHIFT, CHUNK_SIZE) == 0;
}

/* What is absent already is on its way to somebody else who met the same. */
static struct outcome give_up(struct cache_file *f, const struct index_inode *i, uint64_t from, uint64_t to)
{
    struct outcome o = { 0 };
    uint64_t size = cache_file_size(f);
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
        say_content(f, "What the cloud has of it is fetched again.");
    else if (o.kept && !f->kept_said)
        say_content(f, "It is kept as it is: the cloud does not have it, or it is in use.");
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
        (void)index_fault_put(f->volume->index, f->ino, -EIO);
    f->volume->cache->bad |= f->map_unreadable;
    say_unreadable(f, "map", "Its map is made anew.");
}

void cache_found_unsent(struct cache_file *f)
{
    struct index *x = f->volume->index;
    bool inside = index_in_transaction(x);
    int r = inside ? 0 : index_begin(x);

    if (r == 0)
        r = cache_mark(x, f->ino);
    if (!inside)
        r = index_end(x, r);
    atomic_fetch_add(&f->map->write_seq, 1);   /* its size and time are to be taken over, too */
    say(f->volume, f->ino, "unsent_content_found", "data", r < 0 ? error_meaning(r)->text
        : "The index had lost it; it is sent now.");
    if (f->volume->uploader)
        uploader_kick(f->volume->uploader);
}

void cache_cut_short(struct cache_file *f)
{
    (void)index_fault_put(f->volume->index, f->ino, -EIO);
    say(f->volume, f->ino, "cache_cut_short", "data", "It is shorter than it was left. What there is of it is sent, "
        "and replaces nothing.");
}

void cache_make_do(struct cache_file *f)
{
    if (!cache_file_whole(f))
        say(f->volume, f->ino, "cache_lost", "data", "What is missing of it is nowhere any more, and reads as zeros.");
    cache_file_make_do(f);
}

/* --- what the disk did not take --------------------------------------------------------------------------- */

/* It was not the disk. */
static bool only_the_attempt(int code)
{
    static const int others[] = { -EBADF, -EMFILE, -ENFILE, -EINTR };

    for (size_t n = 0; n < ARRAY_SIZE(others); n++)
        if (others[n] == code)
            return true;
    return false;
}

/* Its pages are clean to the kernel, which may drop them at any time: what is not sent soon is lost. */
static void send_first(struct volume *v, uint64_t ino, int code)
{
    bool known = index_fault(v->index, ino);

    (void)index_fault_put(v->index, ino, code == -ENOSPC || code == -EDQUOT ? -ENOSPC : -EIO);
    if (known)
        return;
    (void)index_retry(v->index, ino, loop_wall_ns(), NULL);
    say(v, ino, "content_not_on_disk", "data", "It is sent to the cloud as soon as nobody writes, where it replaces "
        "nothing; until then older bytes may be read.");
    show_state(v, ino, SHOW_ERROR);
    if (v->uploader)
        uploader_kick(v->uploader);
}

/* As if the cloud had another version by now: bytes that the kernel reads by itself stay until it does not any more. */
void cache_forsake(struct cache_file *f)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *same;

    if (index_get(f->volume->index, f->ino, &i) < 0 || i.pending & INDEX_CONTENT || !i.cloud_key)
        return;
    cache_file_unstamp(f);
    cache_file_rebase(f, CACHE_OUTDATED);
    if (cache_acquire(f->volume->cache, &i, &same) == 0)
        cache_release(same);
}

void cache_unsynced(struct cache *c, uint64_t ino, int code)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct cache_file *f;

    if (only_the_attempt(code) || index_get(c->volume->index, ino, &i) < 0)
        return;
    c->bad = true;
    if (i.pending & INDEX_CONTENT) {
        send_first(c->volume, ino, code);
    } else if (cache_acquire(c, &i, &f) == 0) {
        say(c->volume, ino, "content_not_on_disk", "data", "It is fetched again.");
        cache_forsake(f);
        cache_release(f);
    }
}
