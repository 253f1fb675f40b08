/* Owns what goes up in one PUT: contents of moderate size, directory markers, symbolic links; and
 * telling our own object from somebody else's after an answer was lost.
 *
 * Must not know the index's rows beyond its own. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* --- markers and links ------------------------------------------------------------------------------ */

static void mark_done(struct upload *u, struct cloud_request *r)
{
    if (r->error.code)
        upload_fail(u, &r->error);
    else
        upload_commit(u, r->object.etag);
}

/* They carry nothing that could be lost, so no condition. */
void upload_mark_start(struct upload *u)
{
    struct cloud_request *r;
    int failed;

    if (!*u->key) {     /* the root is no object; its attributes are the index's alone */
        upload_commit(u, NULL);
        return;
    }
    failed = upload_declare(u, NULL);
    if (failed) {
        upload_fail_code(u, failed);
        return;
    }
    r = upload_request(u, CLOUD_PUT, u->key, mark_done);
    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

/* --- ours or somebody else's ------------------------------------------------------------------------ */

/* What is asked about, kept while the answer is on its way. */
struct recognition {
    uint64_t size;
    int64_t mtime_ns;
    upload_recognised_fn *step;
};

static void recognised(struct upload *u, struct cloud_request *r)
{
    struct recognition *asked = u->recognition;
    const struct cloud_object *o = &r->object;
    bool ours = r->error.code == 0 && o->size == asked->size && o->has_meta && o->meta.has_mtime &&
        o->meta.mtime_ns == asked->mtime_ns;
    upload_recognised_fn *step = asked->step;

    free(take_ptr(u->recognition));
    if (r->error.code && r->error.code != -ENOENT)
        upload_fail(u, &r->error);
    else
        step(u, ours ? r->object.etag : NULL);
}

void upload_recognise(struct upload *u, const struct index_upload *row, upload_recognised_fn *step)
{
    u->recognition = xcalloc(1, sizeof(*u->recognition));
    *u->recognition = (struct recognition){ row->size, row->mtime_ns, step };
    upload_submit(u, upload_request(u, CLOUD_STAT, row->key, recognised));
}

void upload_conflict(struct upload *u)
{
    struct error e;

    error_set(&e, -ESTALE, "Somebody else changed %s in the cloud meanwhile, so this version stays here. Copy it to "
              "another name to keep both.", u->key);
    upload_fail(u, &e);
}

/* --- contents --------------------------------------------------------------------------------------- */

static void what_came_of_it(struct upload *u, const char *etag)
{
    if (etag)
        upload_commit(u, etag);
    else
        upload_conflict(u);
}

static void put_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload sent = { .key = u->key, .size = u->size, .mtime_ns = u->inode.mtime_ns };

    if (r->error.code == 0)
        upload_commit(u, r->object.etag);
    else if (r->error.code == -ESTALE)   /* or our own, when the driver tried twice */
        upload_recognise(u, &sent, what_came_of_it);
    else if (r->error.code == -EBADE && !upload_unchanged(u))
        upload_again(u);
    else
        upload_fail(u, &r->error);
}

static void put(struct upload *u)
{
    struct index_upload sent = {
        .ino = u->inode.ino, .generation = u->inode.generation, .key = u->key, .upload_id = (char *)(uintptr_t)"",
        .size = u->size, .mtime_ns = u->inode.mtime_ns,
    };
    struct cloud_request *r = upload_request(u, CLOUD_PUT, u->key, put_done);
    int failed = upload_body(u, r, 0, u->size);

    upload_condition(u, r);
    if (failed == 0)
        failed = upload_declare(u, r->if_match ? &sent : NULL);
    if (failed) {
        upload_drop(r);
        upload_fail_code(u, failed);
        return;
    }
    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

static bool in_parts(const struct upload *u)
{
    return u->size >= UPLOAD_SINGLE_MAX && cloud_capabilities(u->volume->cloud) & CLOUD_CAN_MULTIPART;
}

static void transmit(struct upload *u)
{
    if (in_parts(u))
        upload_parts_start(u, false);
    else if (u->size > cloud_limits(u->volume->cloud).put_max)
        upload_fail_code(u, -EFBIG);
    else
        put(u);
}

/* The version that the next one replaces is now known, the remembered one is history. */
static void build_on(struct upload *u, const char *etag)
{
    struct index *x = u->volume->index;
    int r = index_begin(x);

    if (r == 0 && etag) {
        xstrset(&u->inode.etag, etag);
        r = index_update(x, &u->inode);
    }
    if (r == 0)
        r = index_upload_remove(x, u->inode.ino);
    r = index_end(x, r);
    if (r < 0)
        upload_fail_code(u, r);
    else
        transmit(u);
}

/* An earlier change of this inode may have reached the cloud although its answer did not come back. */
static void settle_earlier(struct upload *u)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    int r = index_upload_get(u->volume->index, u->inode.ino, &row);

    if (r == -ENOENT || (r == 0 && row.part_size && in_parts(u)))
        transmit(u);
    else if (r < 0)
        upload_fail_code(u, r);
    else if (row.part_size)
        upload_parts_abort(u, &row, transmit);
    else if (u->inode.cloud_key && strcmp(u->inode.cloud_key, row.key) == 0)
        upload_recognise(u, &row, build_on);
    else
        build_on(u, NULL);
}

/* --- all of it here ----------------------------------------------------------------------------------- */

static void gathered(const struct error *e, void *arg)
{
    struct upload *u = arg;

    if (e->code && u->volume->paused)
        upload_end(u);
    else if (e->code)
        upload_fail(u, e);
    else if (!cache_file_whole(u->file))
        upload_again(u);   /* truncated to more, or outdated, meanwhile */
    else
        u->gathered(u);
}

void upload_gather(struct upload *u, void (*next)(struct upload *u))
{
    int r = 0;

    if (!u->file)
        r = cache_acquire(u->volume->cache, &u->inode, &u->file);
    if (r < 0) {
        upload_fail_code(u, r);
        return;
    }
    u->gathered = next;
    fetch_range(u->file, 0, cache_file_size(u->file), 0, gathered, u);
}

/* It may have been renamed or deleted while bytes were fetched; then its next turn knows better. */
static bool still_there(const struct upload *u)
{
    CLEANUP_FREE char *key = index_key(u->volume->index, u->inode.ino);

    return key && strcmp(key, u->key) == 0;
}

/* From here on what is read belongs to this write_seq and this generation. */
static void content_ready(struct upload *u)
{
    int r = cache_take_over(u->file, NULL);

    if (r == 0)
        r = upload_reload(u);
    if (r < 0) {
        upload_fail_code(u, r);
        return;
    }
    if (!still_there(u)) {
        upload_end(u);
        return;
    }
    u->write_seq = u->file->map->size_seq;
    u->size = cache_file_size(u->file);
    settle_earlier(u);
}

void upload_content_start(struct upload *u)
{
    upload_gather(u, content_ready);
}
