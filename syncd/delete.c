/* Owns deletion for the API: the walk through a directory from its leaves to itself, some entries in a transaction, and
 * what is left in place. Each name goes as by unlink(2) or rmdir(2) through the mount (fs_link.c), but that the kernel,
 * which did not ask, is told.
 *
 * What the cloud does not have yet, or what a program is writing, stays: as the contract has it, an object that is
 * being uploaded is left in place. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/cache.h"

enum { BATCH = 64 };

struct deletion {
    LIST_ENTRY(deletion) next;
    struct volume *volume;
    uint64_t root;
    struct loop_timer *timer;
    struct level {
        uint64_t dir, cookie;      /* entries up to that number were looked at */
    } *levels;                     /* from the root down to where it is */
    size_t n_levels;
    uint64_t gone[BATCH + 1];      /* in this transaction; their cache files go after it */
    size_t n_gone;
    uint64_t n_left;
    struct error error;            /* of the first of them */
    volume_offline_fn *done;
    void *arg;
};

/* --- the end ------------------------------------------------------------------------------------- */

static void discard(struct deletion *d)
{
    LIST_REMOVE(d, next);
    loop_timer_free(d->timer);
    free(d->levels);
    free(d);
}

static void finish(struct deletion *d)
{
    struct error e = d->error;

    if (d->n_left > 1)
        error_set(&e, d->error.code, "%.400s And %" PRIu64 " more are left in place.", d->error.text, d->n_left - 1);
    if (e.code)
        d->done(&e, d->arg);
    else
        volume_answer_durably(d->volume, d->done, d->arg);
    discard(d);
}

/* A database that does not answer ends it at once: nothing more would be deleted either. */
static void fail(struct deletion *d, int code)
{
    struct error e = { 0 };

    error_set(&e, code, "%s What was not deleted until then is left in place.", error_meaning(code)->text);
    d->done(&e, d->arg);
    discard(d);
}

/* --- what stays ------------------------------------------------------------------------------------- */

static void leave(struct deletion *d, const struct index_inode *i, int code, const char *why)
{
    CLEANUP_FREE char *path = index_path(d->volume->index, i->ino);

    if (d->n_left++ == 0)
        error_set(&d->error, code, "%.200s is left in place: %s", path ? path : i->name, why);
}

/* Where the upload failed nothing is on its way. */
static bool is_uploading(struct volume *v, const struct index_inode *i)
{
    CLEANUP_FREE char *failure = i->pending ? index_reason(v->index, i->ino) : NULL;

    if (uploader_busy(v->uploader, i->ino) || (S_ISREG(i->mode) && cache_busy(v->cache, i)))
        return true;
    return !failure && i->pending & INDEX_CONTENT;
}

/* --- one name --------------------------------------------------------------------------------------- */

static int take(struct deletion *d, const struct index_inode *i)
{
    struct volume *v = d->volume;
    bool gone;
    int r = fs_unlink_inode(v, i, &gone);

    if (r == 0 && S_ISDIR(i->mode))
        r = fs_step_back(v, i->parent, index_component(i));
    if (r == 0 && gone && !S_ISDIR(i->mode))
        d->gone[d->n_gone++] = i->ino;
    volume_invalidate(v, i->parent, i->name, i->name_len, CHANGED_ATTRIBUTES);
    return r;
}

static int delete_file(struct deletion *d, const struct index_inode *i)
{
    if (!is_uploading(d->volume, i))
        return take(d, i);
    leave(d, i, -EBUSY, "it is being uploaded. Ask again when that is done.");
    return 0;
}

/* All in it that could go has gone. */
static int delete_directory(struct deletion *d, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct volume *v = d->volume;
    int r = index_get(v->index, ino, &i);

    if (r < 0 || i.nlink == 0)
        return r == -ENOENT ? 0 : r;
    if (!i.cut && index_empty(v->index, ino))
        return take(d, &i);
    if (d->n_left == 0)
        leave(d, &i, -ENOTEMPTY, i.cut ? "it has more objects than objectsPerFolder lets be seen."
                                       : "something came into it meanwhile.");
    return fs_left(v, ino);
}

/* --- the walk ---------------------------------------------------------------------------------------- */

struct looking {
    struct index_inode entries[BATCH];   /* as much as is needed of them */
    size_t n;
};

static bool note(const struct index_inode *i, void *arg)
{
    struct looking *l = arg;

    l->entries[l->n].ino = i->ino;
    l->entries[l->n].mode = i->mode;
    return ++l->n < BATCH;
}

static void enter(struct deletion *d, uint64_t dir)
{
    *xadd(d->levels, d->n_levels) = (struct level){ dir, 0 };
}

static int delete_entry(struct deletion *d, uint64_t ino)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(d->volume->index, ino, &i);

    if (r < 0 || i.nlink == 0)
        return r == -ENOENT ? 0 : r;
    return delete_file(d, &i);
}

/* Entries up to the first directory, which is entered, or to the end, when the directory itself goes. */
static int delete_some(struct deletion *d)
{
    struct level *at = &d->levels[d->n_levels - 1];
    struct looking l = { .n = 0 };
    int r = index_scan(d->volume->index, at->dir, at->cookie, note, &l);

    for (size_t n = 0; r == 0 && n < l.n; n++) {
        at->cookie = l.entries[n].ino;
        if (S_ISDIR(l.entries[n].mode)) {
            enter(d, l.entries[n].ino);
            return 0;
        }
        r = delete_entry(d, l.entries[n].ino);
    }
    if (r < 0 || l.n == BATCH)
        return r;
    d->n_levels--;
    return delete_directory(d, at->dir);
}

/* The directory above is touched once. */
static int delete_turn(struct deletion *d)
{
    CLEANUP(index_inode_done) struct index_inode root = { 0 };
    struct volume *v = d->volume;
    int r = index_get(v->index, d->root, &root);

    if (r == 0 && d->n_levels == 0)
        r = delete_file(d, &root);
    else if (r == 0)
        r = delete_some(d);
    if (r == 0 && d->n_levels == 0 && !volume_has(v, d->root)) {
        r = fs_left(v, root.parent);
        volume_invalidate(v, root.parent, NULL, 0, CHANGED_ATTRIBUTES);
    }
    return r;
}

static void go_on(void *arg)
{
    struct deletion *d = arg;
    struct volume *v = d->volume;
    int r = volume_writable(v);

    loop_timer_free(take_ptr(d->timer));
    d->n_gone = 0;
    if (r == 0)
        r = index_begin(v->index);
    if (r == 0)
        r = index_end(v->index, delete_turn(d));
    show_removals(v, r == 0);
    for (size_t n = 0; r == 0 && n < d->n_gone; n++)
        cache_drop(v->cache, d->gone[n]);
    uploader_changed(v->uploader);
    if (r < 0)
        fail(d, r);
    else if (d->n_levels)
        d->timer = loop_timer(v->loop, 0, go_on, d);
    else
        finish(d);
}

static void listed(const struct error *e, void *arg)
{
    struct deletion *d = arg;

    if (e->code == -ECANCELED)
        return;
    if (e->code) {
        d->done(e, d->arg);
        discard(d);
        return;
    }
    enter(d, d->root);
    d->timer = loop_timer(d->volume->loop, 0, go_on, d);
}

/* --- the contract --------------------------------------------------------------------------------------- */

static int check(const struct volume *v, const struct index_inode *i, struct error *e)
{
    if (!v->drive->allow_delete)
        return error_set(e, -EACCES, "The drive %s does not allow that objects are deleted (allowDelete).",
                         v->drive->name);
    if (v->read_only)
        return error_set(e, -EROFS, "The drive %s may be read only.", v->drive->name);
    if (v->paused)
        return error_set(e, -ENETDOWN, "The drive is paused; nothing can be deleted until it is resumed.");
    if (i->ino == INDEX_ROOT)
        return error_set(e, -EINVAL, "The path names the drive itself; name what is on it.");
    return 0;
}

void volume_delete(struct volume *v, uint64_t ino, volume_offline_fn *done, void *arg)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    struct error e = { 0 };
    struct deletion *d;
    int r = index_get(v->index, ino, &i);

    if (r < 0)
        error_set(&e, r, "%s", error_meaning(r)->text);
    else
        r = check(v, &i, &e);
    if (r < 0) {
        done(&e, arg);
        return;
    }
    d = xcalloc(1, sizeof(*d));
    *d = (struct deletion){ .volume = v, .root = ino, .done = done, .arg = arg };
    LIST_INSERT_HEAD(&v->deletions, d, next);
    if (S_ISDIR(i.mode))
        lister_ensure_tree(v->lister, ino, listed, d);
    else
        d->timer = loop_timer(v->loop, 0, go_on, d);
}

void deletions_end(struct volume *v)
{
    static const struct error closed = { -ECANCELED, "The drive is being closed; what is left is left in place." };

    while (!LIST_EMPTY(&v->deletions)) {
        struct deletion *d = LIST_FIRST(&v->deletions);

        d->done(&closed, d->arg);
        discard(d);
    }
}
