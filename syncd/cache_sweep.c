/* Owns the comparison of what lies in the cache folder with what the index says.
 *
 * Must not know why they may differ. */
#include "syncd/cache_sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"

enum { STEP_MS = 20, FOLDERS = 256, ROWS = 256 };

struct sweep {
    struct cache *cache;
    struct loop_timer *timer;
    uint64_t low;                  /* the next folder; above FOLDERS rows are looked at */
    uint64_t row;
    uint64_t *inos;                /* of the folder; owned */
    size_t n;
};

/* --- one pair --------------------------------------------------------------------------------------- */

/* Measured as it is opened and closed. */
static void examine(struct cache *c, const struct index_inode *i)
{
    struct cache_file *f;
    int r = cache_acquire(c, i, &f);

    if (r == -EAGAIN)   /* it has no key yet, and nothing in it: it is measured once it has */
        return;
    if (r < 0) {
        LOG(LOG_ERR, "cache_file_unusable", "drive=%s", c->volume->drive->id, "ino=%" PRIu64, i->ino, "error=%s",
            error_meaning(r)->text);
        return;
    }
    use_changed(f);
    cache_release(f);
}

static bool dirty(struct cache *c, uint64_t ino)
{
    struct chunk_map head;

    return cache_file_peek(c->dir_fd, ino, &head) && atomic_load(&head.state) == CHUNK_MAP_DIRTY;
}

/* For one that the index does not know. Without a map it is the stamp that tells what the cloud has. */
static bool unsent(struct cache *c, uint64_t ino)
{
    struct chunk_map head;

    if (cache_file_peek(c->dir_fd, ino, &head))
        return atomic_load(&head.state) == CHUNK_MAP_DIRTY;
    return cache_file_exists(c->dir_fd, ino) && !cache_file_stamped_at(c->dir_fd, ino);
}

static void say_kept(const struct cache *c, uint64_t ino, int r)
{
    CLEANUP_FREE char *file = NULL;

    if (asprintf(&file, "%s/lost/%" PRIx64 ".data", c->volume->cache_dir, ino) < 0)
        abort();
    LOG(LOG_CRIT, "unsaved_content_of_nobody", "drive=%s", c->volume->drive->id, "ino=%" PRIx64, ino, "file=%s", file,
        "error=%s", r < 0 ? error_meaning(r)->text : "", "then=%s",
        "It was written here, was not sent, and belongs to an index that is gone. Look what it is, copy it to where it "
        "belongs, and remove it and the file .map beside it.");
}

/* Of a file that was deleted while we crashed; or, when this index never gave the number out, of another index that
 * was lost: then what nobody has sent is not ours to delete. */
static void stranger(struct cache *c, uint64_t ino)
{
    if (index_gave(c->volume->index, ino) || !unsent(c, ino)) {
        cache_file_unlink(c->dir_fd, ino);
        use_dropped(c, ino);
        return;
    }
    say_kept(c, ino, cache_file_put_aside(c->dir_fd, ino));
}

static void check(struct cache *c, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct index_cached row;
    int r;

    if (use_behind(c, ino))
        return;
    r = index_get(c->volume->index, ino, &i);
    if (r == -ENOENT || (r == 0 && !S_ISREG(i.mode))) {
        stranger(c, ino);
        return;
    }
    if (r == 0 && (index_cached_get(c->volume->index, ino, &row) < 0 ||
                   row.bytes != cache_file_blocks_at(c->dir_fd, ino) ||
                   (!(i.pending & INDEX_CONTENT) && dirty(c, ino))))
        examine(c, &i);
}

/* --- a folder at a time ------------------------------------------------------------------------------- */

static void collect(uint64_t ino, void *arg)
{
    struct sweep *s = arg;

    *xadd(s->inos, s->n) = ino;
}

static void check_folder(struct sweep *s)
{
    while (s->n == 0 && s->low < FOLDERS) {
        if (!s->cache->convert)
            cache_file_clear_new(s->cache->dir_fd, s->low);
        cache_file_walk(s->cache->dir_fd, s->low++, collect, s);
    }
    for (size_t n = 0; n < s->n; n++)
        check(s->cache, s->inos[n]);
    free(take_ptr(s->inos));
    s->n = 0;
}

/* False: that was all. */
static bool check_rows(struct sweep *s)
{
    uint64_t inos[ROWS];
    int n = index_cached_all(s->cache->volume->index, s->row, inos, ROWS);

    for (int i = 0; i < n; i++)
        if (!use_behind(s->cache, inos[i]) && !cache_file_exists(s->cache->dir_fd, inos[i]))
            use_dropped(s->cache, inos[i]);
    s->row = n > 0 ? inos[n - 1] : s->row;
    return n == ROWS;
}

static bool step(struct sweep *s)
{
    if (s->low < FOLDERS) {
        check_folder(s);
        return true;
    }
    return check_rows(s);
}

static void on_step(void *arg)
{
    struct sweep *s = arg;
    struct cache *c = s->cache;

    loop_timer_free(take_ptr(s->timer));
    if (step(s))
        s->timer = loop_timer(c->volume->loop, STEP_MS, on_step, s);
    else
        sweep_end(c);
}

static int measure_in_use(struct cache *c)
{
    uint64_t inos[ROWS], after = 0;
    int n;

    while ((n = index_cached_in_use(c->volume->index, after, inos, ROWS)) > 0) {
        for (int k = 0; k < n; k++) {
            CLEANUP(index_inode_done) struct index_inode i = { 0 };

            if (index_get(c->volume->index, inos[k], &i) == 0 && S_ISREG(i.mode) &&
                cache_file_exists(c->dir_fd, inos[k]))
                examine(c, &i);
        }
        after = inos[n - 1];
    }
    return n;
}

int sweep_start(struct cache *c, bool known)
{
    struct sweep *s = xcalloc(1, sizeof(*s));
    int r = measure_in_use(c);

    s->cache = c;
    c->sweep = s;
    while (!known && s->low < FOLDERS)
        check_folder(s);
    if (r == 0)
        r = use_flush(c);
    s->timer = loop_timer(c->volume->loop, STEP_MS, on_step, s);
    return r;
}

void sweep_end(struct cache *c)
{
    struct sweep *s = take_ptr(c->sweep);

    if (!s)
        return;
    loop_timer_free(s->timer);
    free(s->inos);
    free(s);
}
