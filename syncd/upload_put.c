/* Owns what goes up in one PUT: contents of moderate size, directory markers, symbolic links; and what has to be known
 * of earlier tries before.
 *
 * Must not know the index's rows beyond its own. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "common/alloc.h"
#include "common/cleanup.h"

/* --- markers of directories --------------------------------------------------------------------------- */

static void mark_done(struct upload *u, struct cloud_request *r)
{
    if (r->error.code)
        upload_fail(u, &r->error);
    else
        upload_commit(u, r->object.etag);
}

/* They carry nothing that could be lost, so no condition. */
static void mark(struct upload *u)
{
    int failed = upload_declare(u, NULL);
    struct cloud_request *r;

    if (failed) {
        upload_fail_code(u, failed);
        return;
    }
    r = upload_request(u, CLOUD_PUT, u->key, mark_done);
    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

/* --- contents and links ------------------------------------------------------------------------------- */

static void put_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload sent = upload_sent(u);

    u->heard = r->error.code == 0;
    if (r->error.code == 0)
        upload_commit(u, r->object.etag);
    else if (r->error.code == -ESTALE)   /* perhaps by our own object, when the driver tried twice */
        upload_refused(u, &sent, &r->error);
    else
        upload_fail(u, &r->error);
}

/* The body is `fd`, or else the file. */
static void put_body(struct upload *u, int fd)
{
    struct index_upload sent = upload_sent(u);
    struct cloud_request *r = upload_request(u, CLOUD_PUT, u->key, put_done);
    int failed = 0;

    if (fd >= 0)
        r->body = (struct cloud_extent){ .fd = fd, .length = u->size };
    else
        failed = upload_body(u, r, 0, u->size);
    upload_condition(u, r);
    if (failed == 0)
        failed = upload_declare(u, &sent);
    if (failed) {
        upload_drop(r);
        upload_fail_code(u, failed);
        return;
    }
    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

static void body_made(struct upload *u, int fd, int code)
{
    if (code < 0 && !upload_unchanged(u))
        upload_again(u);
    else if (code < 0)
        upload_fail_code(u, code);
    else
        put_body(u, fd);
}

static void put(struct upload *u)
{
    if (u->seal)
        upload_seal_body(u, 0, u->size, body_made);
    else if (upload_unseals(u) && u->size > 0)
        upload_unseal_body(u, 0, u->size, body_made);
    else
        put_body(u, -1);
}

static void transmit(struct upload *u)
{
    if (upload_in_parts(u, u->size))
        upload_parts_start(u, false);
    else if (u->size > cloud_limits(u->volume->cloud).put_max)
        upload_fail_code(u, -EFBIG);
    else
        upload_guard(u, put);
}

/* --- what went before ----------------------------------------------------------------------------------- */

/* Parts that nobody will put together. What is sent in parts itself ends them when it begins. */
static void abort_earlier(struct upload *u)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };

    if (!upload_in_parts(u, u->size) && index_upload_get(u->volume->index, u->inode.ino, &row) == 0 && row.part_size)
        upload_parts_abort(u, &row, u->settled);
    else
        u->settled(u);
}

/* Where the next try goes it will see for itself; elsewhere what is not ours must not be removed. */
static void earlier_seen(struct upload *u, enum upload_found found)
{
    const char *key = upload_looked_at(u);
    int r = 0;

    if (found == UPLOAD_OURS)
        r = upload_own_sent(u, key, upload_looked(u));
    else if (found == UPLOAD_THEIRS && strcmp(key, u->key) != 0)
        r = upload_disown(u, key);
    if (r < 0)
        upload_fail_code(u, r);
    else
        abort_earlier(u);
}

/* An earlier change of this inode may have reached the cloud although its answer did not come back. Parts that are
 * still good are gone on with instead; if they were put together already, that comes out then. */
void upload_settle_earlier(struct upload *u, void (*next)(struct upload *u))
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    int r = index_upload_get(u->volume->index, u->inode.ino, &row);

    u->settled = next;
    if (r == -ENOENT || (r == 0 && upload_in_parts(u, u->size) && upload_parts_settles(u, &row)))
        next(u);
    else if (r < 0)
        upload_fail_code(u, r);
    else
        upload_look(u, row.key, &row, earlier_seen);
}

/* --- all that is needed here ----------------------------------------------------------------------------- */

static void settle_earlier(struct upload *u)
{
    upload_settle_earlier(u, transmit);
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
    u->write_seq = upload_reseals(u) ? atomic_load(&u->file->map->write_seq) : u->file->map->size_seq;
    u->size = cache_file_size(u->file);
    if (u->file->guard.is_lost)
        upload_fail_code(u, -EIO);
    else
        upload_seal_begin(u, settle_earlier);
}

/* What is doubtful becomes a conflict copy, perhaps, which has nothing to copy from. */
void upload_content_start(struct upload *u)
{
    if (upload_reseals(u) && !upload_reseal_may(u))
        return;
    u->base_lost |= index_doubtful(u->volume->index, u->inode.ino);
    upload_gather(u, content_ready);
}

void upload_mark_start(struct upload *u)
{
    if (!*u->key)
        upload_commit(u, NULL);   /* the root is no object; its attributes are the index's alone */
    else if (S_ISDIR(u->inode.mode))
        mark(u);
    else
        upload_settle_earlier(u, transmit);
}
