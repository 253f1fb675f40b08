/* Owns what goes from the cloud: buried keys, in batches, and uploads in parts that no inode goes on
 * with.
 *
 * A grave waits while its key is about to be written again, while a version that is to be moved
 * lies there, or while a deleted file that somebody still has open is not all in the cache. What nobody
 * removed, but moved away or perhaps never put there, is looked at first: somebody else's stays. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/anchors.h"
#include "syncd/await.h"
#include "syncd/store_anchor.h"

enum { BATCH = 1000, SINGLES = 16 };

static const int64_t GRAVES_PAUSE_NS = INT64_C(30000000000);

/* --- which keys may go ------------------------------------------------------------------------------ */

struct key_list {
    char **v;
    size_t n, max;
};

static void keep(struct key_list *l, const char *key)
{
    if (!l->v)
        l->v = xcalloc(l->max, sizeof(*l->v));
    l->v[l->n++] = xstrdup(key);
}

static bool contains(const struct key_list *l, const char *key)
{
    for (size_t n = 0; n < l->n; n++)
        if (strcmp(l->v[n], key) == 0)
            return true;
    return false;
}

static void free_list(struct key_list *l)
{
    for (size_t n = 0; n < l->n; n++)
        free(l->v[n]);
    free(l->v);
}

/* Keys of deleted files that are open and still need bytes from there. */
static void needed_by_orphans(struct cache *c, struct key_list *l)
{
    for (size_t b = 0; b < CACHE_BUCKETS; b++) {
        struct cache_file *f;

        LIST_FOREACH(f, &c->buckets[b], next) {
            CLEANUP(index_inode_done) struct index_inode i = { 0 };

            if (l->n < l->max && !cache_file_whole(f) && index_get(c->volume->index, f->ino, &i) == 0 && i.nlink == 0 &&
                i.cloud_key)
                keep(l, i.cloud_key);
        }
    }
}

/* The inode whose key it is by its name. */
static int find_by_key(struct index *x, const char *key, struct index_inode *ret)
{
    uint64_t parent = INDEX_ROOT;

    for (;;) {
        const char *slash = strchrnul(key, '/');
        CLEANUP_FREE char *component = strndup(key, (size_t)(slash - key));
        int r = component ? index_find_key(x, parent, component, *slash == '/', ret) : -ENOMEM;

        if (r < 0 || *slash == '\0' || slash[1] == '\0')
            return r;
        parent = ret->ino;
        index_inode_done(ret);
        key = slash + 1;
    }
}

static bool about_to_be_written(struct index *x, const char *key)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return find_by_key(x, key, &i) == 0 && i.pending;
}

static bool lived_in(struct index *x, const char *key)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };

    return index_by_cloud_key(x, key, &i) == 0;
}

struct burial_search {
    struct uploader *uploader;
    bool looked;                   /* for what orphans need */
    size_t n_compared;
    struct key_list needed, found;
};

/* The marker of a directory carries nothing that could be lost. */
static bool is_compared(struct index *x, const char *key)
{
    return key[strlen(key) - 1] != '/' && index_grave_compared(x, key);
}

static bool consider(const char *key, void *arg)
{
    struct burial_search *s = arg;
    struct index *x = s->uploader->volume->index;

    if (!s->looked)
        needed_by_orphans(s->uploader->volume->cache, &s->needed);
    s->looked = true;
    if (uploader_key_busy(s->uploader, key) || lived_in(x, key) || about_to_be_written(x, key) ||
        contains(&s->needed, key))
        return true;
    s->n_compared += is_compared(x, key);
    keep(&s->found, key);
    return s->found.n < s->found.max && s->n_compared < SINGLES;
}

/* --- deleting --------------------------------------------------------------------------------------- */

static void rest(struct upload *u, const struct error *e)
{
    if (e->code != -ECANCELED)
        LOG(LOG_WARNING, "delete_failed", "drive=%s", u->volume->drive->id, "error=%s", error_text(e));
    u->uploader->graves_after_ns = loop_now_ns() + GRAVES_PAUSE_NS;
    u->uploader->grave_trouble = *e;
    if (upload_fails_lastingly(e->code))
        await_refused(u->volume);
}

static void finish(struct upload *u)
{
    u->uploader->burying = false;
    upload_end(u);
}

static void mark_gone(struct upload *u, const char *full_key, bool gone)
{
    const char *key = full_key + strlen(u->volume->prefix);

    for (size_t n = 0; n < u->n_keys; n++)
        if (strcmp(u->keys[n], key) == 0)
            u->gone[n] = gone;
}

static int exhume_gone(struct upload *u)
{
    struct index *x = u->volume->index;
    int r = 0;

    for (size_t n = 0; n < u->n_keys && r == 0; n++) {
        if (u->gone[n])
            r = index_exhume(x, u->keys[n]);
        if (r == 0 && u->gone[n] && u->volume->keys)
            r = index_anchor_gone(x, u->keys[n], loop_wall_ns());
    }
    return r;
}

static void close_graves(struct upload *u)
{
    struct index *x = u->volume->index;
    struct error e;
    int r = index_begin(x);

    if (r == 0)
        r = index_end(x, exhume_gone(u));
    if (r < 0) {
        error_set(&e, r, "%s", error_meaning(r)->text);
        rest(u, &e);
    } else {
        for (size_t n = 0; n < u->n_keys; n++)
            if (u->gone[n])
                show_key(u->volume, u->keys[n], SHOW_DELETED);
        anchors_changed(u->volume);
        uploader_reached(u->uploader);
        mover_look(u->volume);
    }
    finish(u);
}

static void delete_singles(struct upload *u);

/* What a batch leaves is tried alone: XML has no way to say some keys, and one that fails then says why. */
static void deleted_batch(struct upload *u, struct cloud_request *r)
{
    if (r->error.code) {
        rest(u, &r->error);
        finish(u);
        return;
    }
    memset(u->gone, true, u->n_keys * sizeof(*u->gone));
    for (size_t n = 0; n < r->n_failed_keys; n++)
        mark_gone(u, r->failed_keys[n], false);
    if (r->n_failed_keys)
        delete_singles(u);
    else
        close_graves(u);
}

static void delete_batch(struct upload *u)
{
    struct cloud_request *r = upload_request(u, CLOUD_DELETE_BATCH, NULL, deleted_batch);

    r->keys = xcalloc(u->n_keys, sizeof(*r->keys));
    r->n_keys = u->n_keys;
    for (size_t n = 0; n < u->n_keys; n++)
        if (!(r->keys[n] = volume_full_key(u->volume, u->keys[n])))
            abort();
    upload_submit(u, r);
}

static void deleted_single(struct upload *u, struct cloud_request *r)
{
    if (r->error.code == 0 || r->error.code == -ENOENT)
        mark_gone(u, r->key, true);
    else
        rest(u, &r->error);
    if (u->n_asks == 0)
        close_graves(u);
}

static void delete_singles(struct upload *u)
{
    size_t n_asked = 0;

    for (size_t n = 0; n < u->n_keys && n_asked < SINGLES; n++)
        if (!u->gone[n]) {
            n_asked++;
            upload_submit(u, upload_request(u, CLOUD_DELETE, u->keys[n], deleted_single));
        }
}

static void delete_them(struct upload *u)
{
    if (u->n_keys == 0)
        finish(u);
    else if (cloud_capabilities(u->volume->cloud) & CLOUD_CAN_BATCH_DELETE)
        delete_batch(u);
    else
        delete_singles(u);
}

/* --- what may not be ours ----------------------------------------------------------------------------- */

static void take_out(struct upload *u, const char *key)
{
    size_t n = 0;

    while (strcmp(u->keys[n], key) != 0)
        n++;
    free(u->keys[n]);
    memmove(&u->keys[n], &u->keys[n + 1], (--u->n_keys - n) * sizeof(*u->keys));
}

static bool is_what_was_buried(const struct upload *u, const char *key, const struct cloud_object *o)
{
    CLEANUP_FREE char *etag = index_grave_etag(u->volume->index, key);

    return (etag && o->etag && strcmp(etag, o->etag) == 0) || upload_is_ours(u->volume, key, o);
}

/* Somebody has put another version there since, which stays. */
static void spare(struct upload *u, const char *key)
{
    struct index *x = u->volume->index;

    LOG(LOG_NOTICE, "changed_object_stays", "drive=%s", u->volume->drive->id, "key=%s", key);
    if (index_begin(x) == 0)
        (void)index_end(x, index_exhume(x, key));
}

static void compared(struct upload *u, struct cloud_request *r)
{
    const char *key = r->key + strlen(u->volume->prefix);
    bool there = r->error.code == 0, same = there && is_what_was_buried(u, key, &r->object);

    if (there && !same)
        spare(u, key);
    else if (!there && r->error.code != -ENOENT)
        rest(u, &r->error);
    if (!same && r->error.code != -ENOENT)
        take_out(u, key);
    if (u->n_asks == 0)
        delete_them(u);
}

static void bury(struct uploader *u, struct key_list *keys)
{
    struct upload *up = upload_new(u, UPLOAD_BURY);

    up->keys = take_ptr(keys->v);
    up->n_keys = keys->n;
    up->gone = xcalloc(up->n_keys, sizeof(*up->gone));
    u->burying = true;
    u->grave_trouble.code = 0;
    for (size_t n = 0; n < up->n_keys; n++)
        if (is_compared(u->volume->index, up->keys[n]))
            upload_submit(up, upload_request(up, CLOUD_STAT, up->keys[n], compared));
    if (up->n_asks == 0)
        delete_them(up);
}

static void bury_some(struct uploader *u)
{
    bool batch = cloud_capabilities(u->volume->cloud) & CLOUD_CAN_BATCH_DELETE;
    struct burial_search s = { .uploader = u, .needed.max = BATCH, .found.max = batch ? BATCH : SINGLES };

    if (index_graves(u->volume->index, NULL, INT64_MAX, consider, &s) < 0)
        LOG(LOG_ERR, "index_unreadable", "drive=%s", u->volume->drive->id);
    if (s.found.n && uploader_synced(u))
        bury(u, &s.found);
    if (s.found.v)
        free_list(&s.found);
    free_list(&s.needed);
}

/* --- uploads nobody goes on with ---------------------------------------------------------------------- */

struct row_search {
    struct uploader *uploader;
    struct index_upload found;
};

/* Of a file that is still to be sent, but not now. */
static bool is_canceled(struct index *x, const struct index_upload *row)
{
    return row->part_size && index_held(x, row->ino) == INDEX_CANCELED;
}

/* A grave at the key needs the row: it tells whose the object is that may be there. */
static bool is_needed(struct index *x, const struct index_upload *row)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(x, row->ino, &i);

    return (r == 0 && i.nlink && i.pending) || (r < 0 && r != -ENOENT) || index_buried(x, row->key);
}

static bool is_forgotten(const struct index_upload *row, void *arg)
{
    struct row_search *s = arg;
    struct index *x = s->uploader->volume->index;

    if (uploader_busy(s->uploader, row->ino) || (is_needed(x, row) && !is_canceled(x, row)))
        return true;
    s->found = *row;
    s->found.key = xstrdup(row->key);
    s->found.upload_id = xstrdup(row->upload_id);
    return false;
}

/* The row of one that is canceled goes on telling what was sent, as that of one in a single piece: perhaps it was put
 * together before, unheard. */
static int end_row(struct index *x, uint64_t ino)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    int r = index_upload_get(x, ino, &row);

    if (r < 0 || !is_needed(x, &row))
        return index_upload_remove(x, ino);
    row.part_size = 0;
    *row.upload_id = '\0';
    r = index_upload_put(x, &row);
    return r == 0 ? index_sealing_remove(x, ino) : r;
}

static void forget(struct upload *u)
{
    struct index *x = u->volume->index;

    if (index_begin(x) == 0)
        (void)index_end(x, end_row(x, u->inode.ino));
    finish(u);
}

static void aborted(struct upload *u, const struct error *e)
{
    if (e->code == 0) {
        forget(u);
        return;
    }
    rest(u, e);
    finish(u);
}

static void abort_one(struct uploader *u)
{
    struct row_search s = { .uploader = u };
    struct upload *up;

    if (index_uploads(u->volume->index, 0, is_forgotten, &s) < 0 || !s.found.key)
        return;
    u->burying = true;
    up = upload_new(u, UPLOAD_BURY);
    up->inode.ino = s.found.ino;
    if (s.found.part_size)
        upload_abort(up, &s.found, aborted);
    else
        forget(up);
    index_upload_done(&s.found);
}

void upload_bury_more(struct uploader *u)
{
    if (u->burying)
        return;
    if (loop_now_ns() < u->graves_after_ns) {
        uploader_look_at(u, u->graves_after_ns);
        return;
    }
    bury_some(u);
    if (!u->burying)
        abort_one(u);
}
