/* Owns the beginning and the end of a cache: its folder, and what an earlier run left in it.
 *
 * Must not know what happens in between (cache.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"
#include "common/text.h"
#include "syncd/cache_convert.h"
#include "syncd/cache_space.h"
#include "syncd/cache_sweep.h"
#include "syncd/cache_sync.h"
#include "syncd/content.h"
#include "syncd/fetch.h"
#include "syncd/folder.h"
#include "syncd/key_stock.h"
#include "syncd/object.h"

enum { OTHER_FILES = 64 };   /* databases, pipes, what is opened for a moment */

/* The one that the drive was given, or an empty one that becomes it. Anything else came into its place since,
 * and nothing in it is ours to sweep. */
static int open_folder(const struct volume *v, int *ret_fd, struct error *e)
{
    CLEANUP(folder_close) struct folder folder = FOLDER_NONE;
    int r = folder_open(v->cache_dir, FOLDER_MAKE, &folder, e);

    if (r < 0)
        return r;
    if (!folder_is_marked(folder.fd, v->drive->id)) {
        if (!folder_is_empty(folder.fd))
            return error_set(e, -EPERM, "%s is not the cache folder of this drive but another one in its place. Put "
                             "the right one back, or move this one away to begin with an empty cache.", v->cache_dir);
        r = folder_mark(folder.fd, v->drive->id);
    }
    if (r < 0)
        return error_set(e, r, "The cache folder %s cannot be written: %s.", v->cache_dir, strerror(-r));
    *ret_fd = take_fd(&folder.fd);
    return 0;
}

/* What the index has as changed, file by file. */
struct recovery {
    struct cache *cache;
    uint64_t *inos;
    size_t n, next;
    bool no_keys;                  /* and there will be none for now */
};

static bool collect_dirty(const struct index_inode *i, void *arg)
{
    struct recovery *d = arg;

    if (!(i->pending & INDEX_CONTENT) || !S_ISREG(i->mode))
        return true;
    *xadd(d->inos, d->n) = i->ino;
    return true;
}

/* The bytes are gone, for instance because somebody emptied the folder: the cloud's version is what is
 * left; without one an empty file. */
static int give_up_content(struct volume *v, struct index_inode *i)
{
    int r = index_begin(v->index);

    if (r < 0)
        return r;
    LOG(LOG_CRIT, "unsaved_content_missing", "drive=%s", v->drive->id, "ino=%" PRIu64, i->ino, "name=%s", i->name);
    if (i->cloud_key)
        i->pending &= ~(unsigned)INDEX_CONTENT;
    i->size = i->cloud_key ? object_size(v, i) : 0;
    i->generation++;
    return index_end(v->index, index_update(v->index, i));
}

/* The map has the size as recorded, which it is not. A worker died as it wrote, or it was set in a transaction that did
 * not come to its end. Neither cuts it off without saying so before, and the machine was up all the time. */
static void doubt_size(struct cache_file *f, uint64_t recorded)
{
    uint64_t seq = atomic_load(&f->map->write_seq), size = cache_file_size(f);

    if (f->map->size_seq != seq || size == recorded)
        return;
    if (f->same_session && size < recorded && f->map->cut_to != size + 1)
        cache_cut_short(f);
    f->map->size_seq = f->map->mtime_seq = seq - 1;
}

static int recover(struct cache *c, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    bool in_use = cache_find(c, ino);
    struct cache_file *f;
    int r = index_get(c->volume->index, ino, &i);

    if (r < 0)
        return r == -ENOENT ? 0 : r;   /* removed while keys were waited for */
    if (!(i.pending & INDEX_CONTENT))   /* or sent */
        return 0;
    if (!cache_file_exists(c->dir_fd, ino))
        return i.nlink ? give_up_content(c->volume, &i) : 0;
    r = cache_acquire(c, &i, &f);
    if (r < 0)
        return r;
    if (!in_use)
        doubt_size(f, i.size);
    r = cache_take_over(f, NULL);
    cache_release(f);
    return r;
}

static void recovery_free(struct recovery *d)
{
    free(d->inos);
    free(d);
}

static void go_on(struct recovery *d);

static void has_keys(const struct error *e, void *arg)
{
    struct recovery *d = arg;

    d->no_keys = e->code != 0;
    if (e->code == -ECANCELED)
        recovery_free(d);
    else
        go_on(d);
}

/* One file that resists must not keep the drive from opening: it is met again when it is used. One whose head a power
 * cut took needs another key, and cryptd is just making the first. */
static void go_on(struct recovery *d)
{
    struct cache *c = d->cache;

    for (; d->next < d->n; d->next++) {
        int r = recover(c, d->inos[d->next]);

        if (r == -EAGAIN && c->stock && key_stock_empty(c->stock) && !d->no_keys) {
            key_stock_wait(c->stock, has_keys, d);
            return;
        }
        if (r < 0)
            LOG(LOG_ERR, "cache_file_unusable", "drive=%s", c->volume->drive->id, "ino=%" PRIu64, d->inos[d->next],
                "error=%s", error_meaning(r)->text);
    }
    recovery_free(d);
}

static int recover_all(struct cache *c)
{
    struct recovery *d = xcalloc(1, sizeof(*d));
    int r;

    d->cache = c;
    r = index_due(c->volume->index, INT64_MAX, INT64_MAX, collect_dirty, d);
    if (r == 0)
        r = index_orphans(c->volume->index, 0, collect_dirty, d);   /* which are open yet, or will go */
    go_on(d);
    return r;
}

/* Which start of the machine it is. When nobody can tell it is another one each time, which costs a look at every
 * file. */
static void boot_id(const struct volume *v, char out[64])
{
    CLEANUP_CLOSE int fd = -1;
    ssize_t n;

    (void)snprintf(out, 64, "%s", v->config->boot_id);
    if (*out)
        return;
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, out, 63);
    if (n <= 0)
        id_new(out);
    else
        out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

/* Numbers that the index forgot in a power cut it will give out again: by then nothing of them may be left, on the disk
 * either. */
static int sweep_after_cut(struct cache *c)
{
    CLEANUP_CLOSE int fd = openat(c->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : sweep_start(c, false);

    LOG(LOG_NOTICE, "cache_checked_after_restart_of_machine", "drive=%s", c->volume->drive->id, "session=%" PRIu64,
        c->session);
    return r == 0 && syncfs(fd) < 0 ? -errno : r;
}

/* However few descriptors there are, half of them are for programs; a file takes two. */
static unsigned opens_most(const struct config *c)
{
    rlim_t others = (rlim_t)(c->cloud_connections + c->ipc_connections + 2 * c->upload_slots) + OTHER_FILES;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > (rlim_t)c->open_files)
        limit.rlim_cur = (rlim_t)c->open_files;
    return (unsigned)(limit.rlim_cur - least(others, limit.rlim_cur / 2)) / 2;
}

static int open_parts(struct cache *c)
{
    bool known = false, cut = false;
    char boot[64];
    int r;

    space_init(c);
    boot_id(c->volume, boot);
    r = index_session(c->volume->index, boot, &c->session, &cut);
    c->alike_tag = cache_alike_tag(c->dir_fd, c->session);
    if (r == 0)
        r = use_init(c, &known);
    if (r == 0)
        r = recover_all(c);
    if (r == 0)
        r = cut ? sweep_after_cut(c) : sweep_start(c, known);
    if (r == 0)
        cache_sync_start(c);
    return r;
}

/* What comes from now on has that form. */
static bool choose_form(struct cache *c)
{
    bool before = c->seals;

    c->seals = c->io && c->volume->drive->local_cache_encrypted;
    if (c->seals && !c->stock)
        c->stock = key_stock_new(c->volume->loop, c->io);
    return c->seals != before;
}

void cache_configure(struct cache *c)
{
    space_configure(c);
    if (choose_form(c))
        convert_look(c, NULL, NULL);
}

int cache_new(struct volume *v, struct cache **ret, struct error *e)
{
    struct cache *c = xcalloc(1, sizeof(*c));
    int r;

    c->volume = v;
    v->cache = c;
    LIST_INIT(&c->contents);
    LIST_INIT(&c->unsealings);
    c->dir_fd = -1;
    c->opens_most = opens_most(v->config);
    if (v->keys) {
        c->keys_io = (struct sealed_io){ keys_crypt(v->keys), keys_asker(v->keys) };
        c->io = &c->keys_io;
    }
    choose_form(c);
    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        LIST_INIT(&c->buckets[b]);
    r = open_folder(v, &c->dir_fd, e);
    if (r == 0) {
        r = open_parts(c);
        if (r < 0)
            error_set(e, r, "The cache folder %s cannot be used: %s", v->cache_dir, error_meaning(r)->text);
    }
    if (r < 0) {
        cache_free(c);
        v->cache = NULL;
        return r;
    }
    *ret = c;
    space_changed(c);
    convert_start(c);
    return 0;
}

void cache_free(struct cache *c)
{
    struct error e = { 0 };
    struct cache_file *f;

    if (!c)
        return;
    error_set(&e, -ECANCELED, "The drive was closed.");
    content_end_all(c);
    object_unseal_end_all(c);
    convert_end(c);
    sweep_end(c);
    cache_sync_end(c);
    space_end(c);
    for (size_t b = 0; b < CACHE_BUCKETS; b++)
        while ((f = LIST_FIRST(&c->buckets[b]))) {
            cache_hold(f);
            fetch_end(f, &e);
            cache_discard(f);
        }
    use_end(c);
    key_stock_free(c->stock);
    if (c->dir_fd >= 0)
        (void)close(c->dir_fd);
    free(c);
}
