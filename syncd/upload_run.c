/* Owns one change from its start to its end: its declaration, and what the index says afterwards. Which
 * changes there are is in the table of starts.
 *
 * Must not know what is due next (upload.c). */
#include "syncd/cache_sync.h"
#include "syncd/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "syncd/encrypt.h"
#include "syncd/store_encrypt.h"

static void (*const STARTS[UPLOAD_KINDS])(struct upload *u) = {
    [UPLOAD_MARK] = upload_mark_start,
    [UPLOAD_CONTENT] = upload_content_start,
    [UPLOAD_COPY] = upload_copy_start,
    [UPLOAD_CUT] = upload_cut_start,
    [UPLOAD_CLONE] = upload_clone_start,
};

/* --- life ----------------------------------------------------------------------------------------- */

struct upload *upload_new(struct uploader *u, enum upload_kind kind)
{
    struct upload *up = xcalloc(1, sizeof(*up));

    up->uploader = u;
    up->volume = u->volume;
    up->kind = kind;
    LIST_INIT(&up->asks);
    LIST_INSERT_HEAD(&u->running, up, next);
    u->n_running += kind != UPLOAD_BURY;
    return up;
}

void upload_start_as(struct upload *u, enum upload_kind kind)
{
    u->kind = kind;
    if (!upload_lacks_metadata(u))
        STARTS[kind](u);
}

/* Found below a directory only after that was renamed: what can be known is checked by then. */
static void fail_too_long(struct upload *u)
{
    struct error e;

    error_set(&e, -ENAMETOOLONG, "With its new name %s is too long for the cloud, which keeps what it has under the "
              "old one. Give it or a directory above it a shorter name.", u->key);
    upload_fail(u, &e);
}

void upload_begin(struct upload *u, uint64_t ino)
{
    struct volume *v = u->volume;

    if (index_get(v->index, ino, &u->inode) < 0 || !(u->key = index_key(v->index, ino))) {
        upload_end(u);
        return;
    }
    show_state(u->volume, u->inode.ino, SHOW_UPLOADING);
    if (u->kind == UPLOAD_CONTENT)
        show_upload(u);
    if (strlen(v->prefix) + strlen(u->key) > FS_KEY_MAX_BYTES)
        fail_too_long(u);
    else
        upload_start_as(u, u->kind);
}

void upload_start(struct uploader *u, enum upload_kind kind, uint64_t ino)
{
    upload_begin(upload_new(u, kind), ino);
}

void upload_free(struct upload *u)
{
    index_inode_done(&u->inode);
    for (size_t n = 0; n < u->n_keys; n++)
        free(u->keys[n]);
    free(u->keys);
    free(u->gone);
    upload_parts_free(u->parts);
    cloud_meta_free(&u->kept_meta);
    upload_look_free(u->look);
    upload_seal_free(u->seal);
    free(u->base);
    upload_bind_free(u->bind);
    upload_plain_end(&u->plain);
    upload_clone_free(u->clone);
    free(u->abort_spares);
    free(u->key);
    free(u);
}

static void let_go(struct upload *u)
{
    LIST_REMOVE(u, next);
    show_upload_over(u);
    if (u->clone)
        upload_clone_end(u);
    if (u->file) {
        fetch_forget(u->file, u);
        fetch_superseded(u->file, false);
        cache_release(take_ptr(u->file));
    }
}

void upload_end(struct upload *u)
{
    struct uploader *uploader = u->uploader;

    uploader->n_running -= u->kind != UPLOAD_BURY;
    let_go(u);
    upload_free(u);
    uploader_kick(uploader);
}

void upload_abandon(struct upload *u)
{
    let_go(u);
    u->uploader = NULL;
    if (upload_detach_asks(u))
        upload_free(u);
}

void upload_break_off(struct upload *u)
{
    struct uploader *uploader = u->uploader;

    uploader->n_running -= u->kind != UPLOAD_BURY;
    upload_abandon(u);
    uploader_kick(uploader);
}

/* --- what the index says -------------------------------------------------------------------------- */

static int declare(struct upload *u, bool bury, const struct index_upload *row)
{
    const char *etag = u->kind == UPLOAD_COPY ? u->inode.etag : NULL;   /* by which a copy is known */
    int r = bury ? index_bury_version(u->volume->index, u->key, etag) : 0;

    if (r == 0 && row && u->file && !u->inode.cloud_key)   /* from now on the cloud may have something better */
        r = index_unsynced_put(u->volume->index, u->inode.ino);
    return r == 0 && row ? upload_seal_keep(u, row) : r;
}

int upload_declare(struct upload *u, const struct index_upload *row)
{
    bool bury = !upload_in_place(u) && !index_buried(u->volume->index, u->key);
    int r;

    if (!bury && !row)
        return 0;
    r = index_begin(u->volume->index);
    if (r < 0)
        return r;
    r = index_end(u->volume->index, declare(u, bury, row));
    u->declared |= bury && r == 0;
    return r;
}

int upload_reload(struct upload *u)
{
    uint64_t ino = u->inode.ino;
    int r;

    index_inode_done(&u->inode);
    r = index_get(u->volume->index, ino, &u->inode);
    u->inode.ino = ino;
    return r;
}

/* Clean is said first and looked at again after: a worker that writes at this moment either is seen here
 * by its write_seq, or sees the file clean and asks for FsDirty. */
static bool unchanged_and_clean(struct upload *u)
{
    atomic_store(&u->file->map->state, CHUNK_MAP_CLEAN);
    if (upload_unchanged(u))
        return true;
    atomic_store(&u->file->map->state, CHUNK_MAP_DIRTY);
    return false;
}

bool upload_unchanged(const struct upload *u)
{
    return atomic_load(&u->file->map->write_seq) == u->write_seq;
}

/* What is left to do. A generation that moved on with the bytes the same means other metadata. */
static unsigned left_to_do(struct upload *u, const struct index_inode *i, const char *key_now)
{
    bool same = i->generation == u->inode.generation;
    unsigned p = i->pending;

    if (u->kind == UPLOAD_MARK)
        p = same ? 0 : p | INDEX_CONTENT;
    if (p & INDEX_CONTENT && (u->kind == UPLOAD_CONTENT || u->clone) && unchanged_and_clean(u))
        p &= ~(unsigned)INDEX_CONTENT;
    if (u->seal)
        p &= ~(unsigned)INDEX_SEAL;
    if (u->metadata_sent && u->kind != UPLOAD_MARK)
        p = same ? p & ~(unsigned)INDEX_META : p | INDEX_META;
    return strcmp(key_now, u->key) == 0 ? p & ~(unsigned)INDEX_MOVE : p | INDEX_MOVE;
}

/* Where the version lies that one at `key` (NULL: none) replaces. */
static int release_old_key(struct upload *u, const struct index_inode *i, const char *key)
{
    if (!i->cloud_key || (key && strcmp(i->cloud_key, key) == 0))
        return 0;
    u->uploader->unsynced = true;
    return index_bury_version(u->volume->index, i->cloud_key, i->etag);
}

/* The bytes may not be on the disk, unless they changed since they were sent and were synced after that. What the disk
 * refused is in the cloud by now, unless it changed. */
static int record_unsynced(struct upload *u, const struct index_inode *i)
{
    bool changed = i->pending & INDEX_CONTENT;
    int r = 0;

    if (!u->file || (changed && u->file->synced_seq > u->write_seq))
        return 0;
    if (!changed)
        r = index_unsynced_anew(u->volume->index, i->ino);
    if (r == 0 && !changed)
        r = cache_fresh_uploaded(u->volume->index, i->ino);
    return r == 0 ? index_unsynced_put(u->volume->index, i->ino) : r;
}

static int record_place(struct upload *u, struct index_inode *i, const char *etag)
{
    CLEANUP_FREE char *key_now = index_key(u->volume->index, i->ino);
    struct index *x = u->volume->index;
    int r = key_now ? release_old_key(u, i, u->key) : -ENOENT;

    if (r < 0)
        return r;
    i->pending = left_to_do(u, i, key_now);
    xstrset(&i->cloud_key, u->key);
    xstrset(&i->etag, etag);
    i->cloud_size = u->size;
    r = upload_record_object(u, etag);
    if (r == 0)
        r = u->clone ? upload_clone_record(u, i) : record_unsynced(u, i);
    if (r == 0)
        r = index_update(x, i);
    if (r == 0 && u->seal)
        r = index_encrypt_done(x, i->ino);
    if (r == 0 && i->pending)
        r = index_retry(x, i->ino, loop_wall_ns() + u->volume->config->settle_milliseconds * 1000000, NULL);
    return r;
}

/* The row is of this change, unless it is a copy in one piece that came in between. */
int upload_forget_row(struct upload *u)
{
    return u->kind != UPLOAD_COPY || u->parts || u->noted ? index_upload_remove(u->volume->index, u->inode.ino) : 0;
}

/* An inode that was deleted while its object was sent leaves a grave. */
static int record(struct upload *u, const char *etag)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(u->volume->index, u->inode.ino, &i);

    if (r == -ENOENT || (r == 0 && i.nlink == 0))
        r = index_bury(u->volume->index, u->key, etag);
    else if (r == 0)
        r = record_place(u, &i, etag);
    return r == 0 ? upload_forget_row(u) : r;
}

void upload_commit(struct upload *u, const char *etag)
{
    bool refused = u->file && index_fault(u->volume->index, u->inode.ino);
    int r = index_begin(u->volume->index);

    /* Before the commit: as long as the file is dirty, nobody asks for its version. */
    if (u->file && !u->clone)
        cache_file_rebase(u->file, refused ? CACHE_OUTDATED : etag);
    if (r == 0)
        r = index_end(u->volume->index, record(u, etag));
    if (r < 0) {
        if ((u->kind == UPLOAD_CONTENT && !upload_reseals(u)) || u->clone)
            atomic_store(&u->file->map->state, CHUNK_MAP_DIRTY);
        upload_fail_code(u, r);
        return;
    }
    if (u->file)
        uploader_note_sent(u->uploader, u->inode.ino);
    if (refused && !u->clone)
        cache_forsake(u->file);
    if (u->clone)
        upload_clone_made(u);
    cache_sync_soon(u->volume->cache);
    encrypter_kick(u->volume);
    uploader_reached(u->uploader);
    u->volume->tally->uploads[tally_kind(0)]++;
    LOG(LOG_DEBUG, "uploaded", "drive=%s", u->volume->drive->id, "key=%s", u->key, "size=%" PRIu64, u->size);
    show_state(u->volume, u->inode.ino, SHOW_NORMAL);
    show_uploaded(u, NULL);
    upload_end(u);
}

/* --- another version to build on ------------------------------------------------------------------ */

static int change_base(struct upload *u, const char *key, const struct cloud_object *o)
{
    CLEANUP(index_inode_done) struct index_inode i = { 0 };
    int r = index_get(u->volume->index, u->inode.ino, &i);

    xstrset(&i.cloud_key, key);
    xstrset(&i.etag, o->etag);
    i.cloud_size = o->size;
    if (!key)
        i.pending = (i.pending | INDEX_CONTENT) & ~(unsigned)INDEX_MOVE;
    return r == 0 ? index_update(u->volume->index, &i) : r;
}

static int end_and_reload(struct upload *u, int r)
{
    r = index_end(u->volume->index, r);
    return r == 0 ? upload_reload(u) : r;
}

int upload_own(struct upload *u, const char *key, const struct cloud_object *o)
{
    bool base = u->inode.cloud_key && strcmp(u->inode.cloud_key, key) == 0;
    int r = index_begin(u->volume->index);

    if (r < 0)
        return r;
    return end_and_reload(u, base ? change_base(u, key, o) : index_bury_version(u->volume->index, key, o->etag));
}

int upload_own_sent(struct upload *u, const char *key, const struct cloud_object *o)
{
    bool base = u->file && u->inode.etag && u->inode.cloud_key && strcmp(u->inode.cloud_key, key) == 0 &&
                cache_file_based(u->file, u->inode.etag);
    int r = upload_own(u, key, o);

    if (r == 0 && base)
        cache_file_rebase(u->file, o->etag);
    return r;
}

int upload_leave(struct upload *u, bool bury)
{
    int r = index_begin(u->volume->index);

    if (r < 0)
        return r;
    if (bury)
        r = release_old_key(u, &u->inode, NULL);
    return end_and_reload(u, r == 0 ? change_base(u, NULL, &(struct cloud_object){ 0 }) : r);
}

int upload_disown(struct upload *u, const char *key)
{
    int r = index_begin(u->volume->index);

    return r == 0 ? end_and_reload(u, index_exhume(u->volume->index, key)) : r;
}
