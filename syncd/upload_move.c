/* Owns what is done with an object that is already in the cloud: copied by the provider to the
 * inode's key or onto itself with new metadata, and taken home into the cache when it stands in a
 * circle of renames or its source is gone.
 *
 * Must not know why the key changed. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "syncd/listing.h"
#include "syncd/object.h"

/* --- home ----------------------------------------------------------------------------------------- */

static void leave(struct upload *u, int code, bool bury)
{
    int r = code < 0 ? code : upload_reload(u);

    if (r == 0)
        r = upload_leave(u, bury);
    if (r < 0) {
        upload_fail_code(u, r);
        return;
    }
    if (u->file)
        atomic_store(&u->file->map->state, CHUNK_MAP_DIRTY);
    upload_end(u);
}

/* From now on the file is what is here; the cloud's version of it no longer counts. */
static void take_home(struct upload *u, int code)
{
    leave(u, code, true);
}

/* What is there now is somebody else's, and stays. */
static void leave_theirs(struct upload *u, int code)
{
    leave(u, code, false);
}

static void sync_home(struct upload *u)
{
    upload_sync_file(u, take_home);
}

void upload_cut_start(struct upload *u)
{
    if (S_ISREG(u->inode.mode))
        upload_gather(u, sync_home);
    else
        take_home(u, 0);
}

/* --- a source that is not what it was --------------------------------------------------------------- */

static int take_over_version(struct upload *u, const struct cloud_object *o, struct news *news)
{
    struct index_inode *i = &u->inode;

    int r;

    i->generation++;
    xstrset(&i->etag, o->etag);
    i->size = i->cloud_size = o->size;
    i->mtime_ns = o->has_meta && o->meta.has_mtime ? o->meta.mtime_ns : o->mtime_ns;
    if (!S_ISREG(i->mode))
        return index_update(u->volume->index, i);
    if (object_told(u->volume, o, &i->size) == INDEX_OBJECT_UNKNOWN)
        i->settled = false;
    r = entry_replace(u->volume, news, i);
    return r < 0 ? r : object_note(u->volume, i, o);
}

void upload_take_over(struct upload *u, const struct cloud_object *o)
{
    struct volume *v = u->volume;
    int code = upload_reload(u);
    struct news news = { 0 };
    struct error e;

    if (code == 0 && cache_busy(v->cache, &u->inode))
        code = -EBUSY;
    if (code == 0)
        code = index_begin(v->index);
    if (code == 0) {
        code = index_end(v->index, take_over_version(u, o, &news));
        news_end(v, &news, code == 0);
    }
    if (code == -EBUSY && u->file && u->inode.pending & INDEX_CONTENT && cache_file_whole(u->file)) {
        upload_sync_file(u, leave_theirs);
    } else if (code == -EBUSY) {
        error_set(&e, -EIO, "%s was changed in the cloud while it is being written here.", u->key);
        upload_fail(u, &e);
    } else if (code < 0) {
        upload_fail_code(u, code);
    } else {
        upload_end(u);   /* and again with the version that is there */
    }
}

static void copy_object(struct upload *u);

/* Some providers compare the source's ETag wrongly (Swift: of an object in parts). */
static void source_seen(struct upload *u, struct cloud_request *r)
{
    const char *etag = r->object.etag;

    if (r->error.code) {
        upload_fail(u, &r->error);
    } else if (!etag || !u->inode.etag || strcmp(etag, u->inode.etag) != 0) {
        upload_take_over(u, &r->object);
    } else {
        u->unconditional = true;
        copy_object(u);
    }
}

void upload_copy_failed(struct upload *u, const struct error *e)
{
    struct error gone;

    if (e->code == -ESTALE && !u->unconditional) {
        upload_submit(u, upload_request(u, CLOUD_STAT, u->inode.cloud_key, source_seen));
    } else if (e->code == -ENOENT && S_ISDIR(u->inode.mode)) {
        take_home(u, 0);   /* and it gets another marker */
    } else if (e->code == -ENOENT && upload_in_place(u)) {
        upload_commit(u, u->inode.etag);   /* whoever removed the file needs no metadata of it */
    } else if (e->code == -ENOENT && u->file && cache_file_whole(u->file)) {
        upload_sync_file(u, take_home);
    } else if (e->code == -ENOENT) {
        error_set(&gone, -EREMOTEIO, "%s was deleted in the cloud under its old name and is not all here.", u->key);
        upload_fail(u, &gone);
    } else {
        upload_fail(u, e);
    }
}

/* --- copies --------------------------------------------------------------------------------------- */

static void copied(struct upload *u, struct cloud_request *r)
{
    if (r->error.code)
        upload_copy_failed(u, &r->error);
    else
        upload_commit(u, r->object.etag);
}

/* Metadata that is not known is not replaced: the copy has the object's own. */
static bool knows_metadata(const struct index_inode *i)
{
    return !(i->pending & INDEX_CONTENT) && i->settled;
}

static void copy(struct upload *u)
{
    struct cloud_request *r = upload_request(u, CLOUD_COPY, u->key, copied);
    CLEANUP_FREE char *source = volume_full_key(u->volume, u->inode.cloud_key);

    cloud_request_set(&r->source_key, source);
    cloud_request_set(&r->if_match, u->unconditional ? NULL : u->inode.etag);
    r->replace_metadata = knows_metadata(&u->inode) || u->keeps_meta;
    if (r->replace_metadata)
        upload_meta(u, &r->meta);
    upload_submit(u, r);
}

/* Parts have no metadata of their own to keep, and what is encrypted gets some more than it has: so what the object has
 * is asked for and given along. */
static void metadata_kept(struct upload *u, struct cloud_request *r)
{
    if (r->error.code) {
        upload_copy_failed(u, &r->error);
        return;
    }
    u->keeps_meta = true;
    cloud_meta_free(&u->kept_meta);
    if (cloud_meta_copy(&u->kept_meta, &r->object.meta) < 0)
        abort();
    copy_object(u);
}

static bool in_one_piece(const struct upload *u)
{
    uint64_t most = cloud_limits(u->volume->cloud).put_max;

    if (cloud_capabilities(u->volume->cloud) & CLOUD_CAN_COPY_PART && most > UPLOAD_COPY_MAX)
        most = UPLOAD_COPY_MAX;
    return u->size <= most;
}

static void copy_object(struct upload *u)
{
    bool keeps = !knows_metadata(&u->inode) && (u->bind || !in_one_piece(u));

    upload_parts_free(take_ptr(u->parts));
    if (keeps && !u->keeps_meta)
        upload_submit(u, upload_request(u, CLOUD_STAT, u->inode.cloud_key, metadata_kept));
    else if (in_one_piece(u))
        copy(u);
    else
        upload_parts_start(u, true);
}

/* A copy may have another ETag than what was copied: it is known by what is sent along, if anything is. The row of an
 * upload that it came in between stays. */
static int declare_copy(struct upload *u)
{
    CLEANUP(index_upload_done) struct index_upload before = { 0 };
    struct index_upload row = upload_sent(u);

    u->noted = !upload_in_place(u) && in_one_piece(u) && knows_metadata(&u->inode) &&
        index_upload_get(u->volume->index, u->inode.ino, &before) == -ENOENT;
    return upload_declare(u, u->noted ? &row : NULL);
}

static void copy_declared(struct upload *u)
{
    int r;

    if (!in_one_piece(u) && !(cloud_capabilities(u->volume->cloud) & CLOUD_CAN_COPY_PART)) {
        upload_start_as(u, UPLOAD_CONTENT);
        return;
    }
    r = declare_copy(u);
    if (r < 0)
        upload_fail_code(u, r);
    else
        copy_object(u);
}

/* What is in the cache stays good under the new ETag, so the file is held and rebased after. */
static int hold_cached(struct upload *u)
{
    struct cache *c = u->volume->cache;

    if (!cache_find(c, u->inode.ino) && !cache_file_exists(c->dir_fd, u->inode.ino))
        return 0;
    return cache_acquire(c, &u->inode, &u->file);
}

static void guard_copy(struct upload *u)
{
    upload_guard(u, copy_declared);
}

void upload_copy_start(struct upload *u)
{
    bool moves = strcmp(u->inode.cloud_key, u->key) != 0;
    int r = hold_cached(u);

    u->size = u->inode.cloud_size;
    if (r < 0)
        upload_fail_code(u, r);
    else if (!moves && !knows_metadata(&u->inode))
        upload_commit(u, u->inode.etag);   /* it is back where it was */
    else if (S_ISDIR(u->inode.mode))
        copy_declared(u);   /* as upload_put.c's mark() */
    else
        upload_bind_begin(u, guard_copy);
}
