/* Owns objects that go up or are copied in parts: several on their way at once, from the beginning, which is written
 * down before the cloud is asked for it, to the end. An object comes into being with the last request, which is sent
 * only if the file did not change since the first byte was read, and what was copied is still there.
 *
 * Of a file that was based on a version in the cloud the parts that are as there are copied by the cloud. When it will
 * not copy them, because that version is gone or for whatever reason, all of the file is gathered and sent, and the
 * rules for two versions are those of any other upload.
 *
 * Must not know which parts those are (upload_gather.c), nor what an earlier try has left (upload_resume.c). */
#include "syncd/upload_parts.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/log.h"
#include "common/number.h"

static const int64_t COPIES_PAUSE_NS = INT64_C(3600) * 1000000000;

void upload_parts_free(struct upload_parts *p)
{
    if (!p)
        return;
    for (uint32_t n = 0; n < p->n; n++)
        free(p->parts[n].etag);
    free(p->parts);
    free(p->copied);
    free(p->upload_id);
    free(p);
}

uint64_t upload_part_length(const struct upload *u, uint32_t n)
{
    return least(u->size - n * u->parts->part_size, u->parts->part_size);
}

uint64_t upload_parts_bytes(const struct upload *u)
{
    uint64_t bytes = 0;

    for (uint32_t n = 0; n < u->parts->n; n++)
        bytes += u->parts->parts[n].etag ? upload_part_length(u, n) : 0;
    return bytes;
}

static void forget(struct upload *u)
{
    struct index *x = u->volume->index;

    if (index_begin(x) == 0)
        (void)index_end(x, index_upload_remove(x, u->inode.ino));
}

/* --- giving up ------------------------------------------------------------------------------------ */

static void aborted(struct upload *u, const struct error *e)
{
    if (e->code) {
        upload_fail(u, e);
        return;
    }
    forget(u);
    u->go_on(u);
}

void upload_parts_abort(struct upload *u, const struct index_upload *row, void (*next)(struct upload *u))
{
    u->go_on = next;
    upload_abort(u, row, aborted);
}

static void abort_ours(struct upload *u, void (*next)(struct upload *u))
{
    struct index_upload row = { .key = u->key, .upload_id = u->parts->upload_id };

    upload_parts_abort(u, &row, next);
}

void upload_parts_cancel(struct upload *u)
{
    if (u->parts && u->parts->error.code == 0)
        u->parts->error.code = -ECANCELED;
}

void upload_parts_give_up(struct upload *u, void (*next)(struct upload *u))
{
    if (u->parts && u->parts->upload_id)
        abort_ours(u, next);
    else
        next(u);
}

static void source_lost(struct upload *u)
{
    upload_copy_failed(u, &u->parts->error);
}

/* Parts of two versions must never meet. */
static void lose_source(struct upload *u, const struct error *e)
{
    u->parts->error = *e;
    abort_ours(u, source_lost);
}

/* With another key: what is sent may be something else now. */
static void begin_anew(struct upload *u)
{
    upload_parts_free(take_ptr(u->parts));
    upload_seal_free(take_ptr(u->seal));
    upload_content_start(u);
}

static void send_all(struct upload *u)
{
    upload_parts_free(take_ptr(u->parts));
    upload_content_start(u);
}

/* Who does not copy now will hardly copy the next file; a version that is gone says nothing about others. */
static void note_refusal(struct upload *u)
{
    int code = u->parts->error.code;

    if (code == -ESTALE || code == -ENOENT || code == -ERANGE)
        return;
    LOG(LOG_NOTICE, "parts_not_copied", "drive=%s", u->volume->drive->id, "error=%s", error_text(&u->parts->error));
    u->uploader->copies_after_ns = loop_now_ns() + COPIES_PAUSE_NS;
}

static void lose_base(struct upload *u)
{
    note_refusal(u);
    if (u->clone) {
        upload_fail(u, &u->parts->error);
        return;
    }
    u->base_lost = true;
    abort_ours(u, send_all);
}

/* --- the end -------------------------------------------------------------------------------------- */

static void what_came_of_it(struct upload *u, enum upload_found found)
{
    struct error e;

    if (found == UPLOAD_OURS) {
        upload_commit(u, upload_looked(u)->etag);
        return;
    }
    forget(u);
    error_set(&e, -EIO, "The cloud has forgotten the upload of %s; it begins anew.", u->key);
    upload_fail(u, &e);
}

void upload_parts_unknown(struct upload *u)
{
    struct index_upload sent = upload_sent(u);

    upload_look(u, u->key, &sent, what_came_of_it);
}

static void end_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload sent = upload_sent(u);

    u->heard = r->error.code == 0;
    if (r->error.code == 0)
        upload_commit(u, r->object.etag);
    else if (r->error.code == -ENOENT)
        upload_parts_unknown(u);
    else if (r->error.code == -ESTALE && u->kind == UPLOAD_COPY && upload_in_place(u))
        lose_source(u, &r->error);
    else if (r->error.code == -ESTALE)
        upload_refused(u, &sent, &r->error);   /* by our own object, when the driver tried twice */
    else if (r->error.code == -EREMOTEIO && !u->parts->compared && !u->clone)
        upload_parts_compare(u);   /* perhaps an answer was wrong about a part */
    else
        upload_fail(u, &r->error);
}

static void put_together(struct upload *u)
{
    const struct upload_parts *p = u->parts;
    struct cloud_request *r = upload_request(u, CLOUD_PART_END, u->key, end_done);

    cloud_request_set(&r->upload_id, p->upload_id);
    r->parts = xcalloc(p->n, sizeof(*r->parts));
    r->n_parts = p->n;
    for (uint32_t n = 0; n < p->n; n++)
        r->parts[n] = (struct cloud_part){ p->parts[n].number, p->parts[n].size, xstrdup(p->parts[n].etag) };
    upload_condition(u, r);
    u->placing = true;
    upload_submit(u, r);
}

static void source_seen(struct upload *u, struct cloud_request *r)
{
    struct upload_source source = upload_source(u);
    struct upload_parts *p = u->parts;

    p->error = r->error;
    if (r->error.code == 0 && (!r->object.etag || strcmp(r->object.etag, source.etag) != 0))
        error_set(&p->error, -ESTALE, "%s was changed in the cloud while it was copied.", source.key);
    if (p->error.code == -ESTALE || p->error.code == -ENOENT)
        lose_base(u);
    else if (p->error.code)
        upload_fail(u, &p->error);
    else
        upload_guard(u, put_together);
}

/* Of a version that is replaced the last request itself says that it is still there. */
static bool copies_from_elsewhere(const struct upload *u)
{
    for (uint32_t n = 0; n < u->parts->n; n++)
        if (u->parts->copied[n])
            return u->clone || !upload_in_place(u);
    return false;
}

static void end(struct upload *u)
{
    if (u->kind == UPLOAD_COPY)
        put_together(u);
    else if (!upload_unchanged(u) && u->clone)
        upload_fail_code(u, -EAGAIN);
    else if (!upload_unchanged(u))
        abort_ours(u, upload_again);
    else if (copies_from_elsewhere(u))
        upload_submit(u, upload_request(u, CLOUD_STAT, upload_source(u).key, source_seen));
    else
        upload_guard(u, put_together);
}

/* --- parts ---------------------------------------------------------------------------------------- */

static void part_done(struct upload *u, struct cloud_request *r)
{
    struct upload_parts *p = u->parts;

    if (r->error.code == 0) {
        p->parts[r->part_number - 1].etag = xstrdup(r->object.etag ? r->object.etag : "");
    } else if (p->error.code == 0) {
        p->error = r->error;
        p->copy_failed = r->op == CLOUD_PART_COPY;
        upload_cancel_asks(u);
    }
    upload_parts_go_on(u);
}

static void copy_piece(struct upload *u, struct cloud_request *r, uint64_t at)
{
    struct upload_source source = upload_piece(u, at, &r->range_offset);
    CLEANUP_FREE char *key = volume_full_key(u->volume, source.key);

    cloud_request_set(&r->source_key, key);
    cloud_request_set(&r->if_match, u->unconditional ? NULL : source.etag);
    r->has_range = true;
}

/* `body` is that of an encrypted part, the request's from here on; -1: none. */
static struct cloud_request *part_request(struct upload *u, uint32_t n, int body, int *ret_code)
{
    const struct upload_parts *p = u->parts;
    struct cloud_request *r = upload_request(u, p->copied[n] ? CLOUD_PART_COPY : CLOUD_PART_PUT, u->key, part_done);

    cloud_request_set(&r->upload_id, p->upload_id);
    r->part_number = n + 1;
    if (p->copied[n]) {
        copy_piece(u, r, n * p->part_size);
        r->range_length = upload_part_length(u, n);
    } else if (body >= 0) {
        r->body = (struct cloud_extent){ .fd = body, .length = upload_part_length(u, n) };
    } else {
        *ret_code = upload_body(u, r, n * p->part_size, upload_part_length(u, n));
    }
    return r;
}

int upload_part_send(struct upload *u, uint32_t n, int body)
{
    int code = 0;
    struct cloud_request *r = part_request(u, n, body, &code);

    u->parts->parts[n] = (struct cloud_part){ .number = n + 1, .size = upload_part_length(u, n) };
    if (code < 0)
        upload_drop(r);
    else
        upload_submit(u, r);
    return code;
}

/* --- all of them ---------------------------------------------------------------------------------- */

/* Nothing more to send or nothing more to hope for. */
static void all_answered(struct upload *u)
{
    struct upload_parts *p = u->parts;

    if (p->changed)
        abort_ours(u, begin_anew);
    else if (p->copy_failed && u->kind != UPLOAD_COPY && !upload_fails_all(p->error.code))
        lose_base(u);
    else if (p->copy && (p->error.code == -ENOENT || p->error.code == -ESTALE))
        lose_source(u, &p->error);
    else if (p->error.code == -ENOENT)
        upload_parts_unknown(u);
    else if (p->error.code)
        upload_fail(u, &p->error);
    else
        end(u);
}

void upload_parts_go_on(struct upload *u)
{
    struct upload_parts *p = u->parts;
    int code;

    if (u->volume->paused && p->error.code == 0)
        error_set(&p->error, -ECANCELED, "The drive is paused.");
    if (upload_parts_are_made(u) && upload_parts_make(u))
        return;   /* it may have ended */
    while (!upload_parts_are_made(u) && p->error.code == 0 && p->next < p->n && u->n_asks < UPLOAD_PARALLEL) {
        if (!p->parts[p->next].etag && (code = upload_part_send(u, p->next, -1)) < 0)
            error_set(&p->error, code, "%s", error_meaning(code)->text);
        p->next++;
    }
    if (u->n_asks == 0)
        all_answered(u);
}

/* --- the beginning -------------------------------------------------------------------------------- */

static struct index_upload row_of(const struct upload *u)
{
    struct index_upload row = upload_sent(u);

    row.part_size = u->parts->part_size;
    row.begun_ns = u->begun_ns;
    if (u->parts->upload_id)
        row.upload_id = u->parts->upload_id;
    return row;
}

static void swept(struct upload *u, const struct error *e)
{
    if (e->code)
        upload_fail(u, e);
    else
        upload_parts_go_on(u);
}

static void begin_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload row;
    int failed;

    if (r->error.code) {
        upload_fail(u, &r->error);
        return;
    }
    u->parts->upload_id = xstrdup(r->upload_id);
    row = row_of(u);
    failed = upload_declare(u, &row);
    if (failed)
        upload_fail_code(u, failed);
    else if (r->unsure)   /* the driver asked more than once */
        upload_abort_unheard(u, u->key, u->begun_ns, u->parts->upload_id, swept);
    else
        upload_parts_go_on(u);
}

/* Written down first: an upload whose beginning is not heard of can be found by that. */
static void begin(struct upload *u)
{
    struct index_upload row;
    struct cloud_request *r;
    int failed;

    u->begun_ns = loop_wall_ns();
    row = row_of(u);
    failed = upload_declare(u, &row);
    if (failed) {
        upload_fail_code(u, failed);
        return;
    }
    r = upload_request(u, CLOUD_PART_BEGIN, u->key, begin_done);
    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

static void resume(struct upload *u, const struct index_upload *row)
{
    int failed = upload_declare(u, NULL);

    if (failed) {
        upload_fail_code(u, failed);
        return;
    }
    u->parts->upload_id = xstrdup(row->upload_id);
    u->metadata_sent = !u->keeps_meta;
    upload_parts_compare(u);
}

static bool goes_on(const struct upload *u, const struct index_upload *row, uint64_t size_of_parts)
{
    return (!u->seal || upload_seal_kept(u)) && row->part_size && *row->upload_id &&
        strcmp(row->key, u->key) == 0 && row->part_size == size_of_parts &&
        row->size == u->size && row->generation == u->inode.generation && row->mtime_ns == u->inode.mtime_ns;
}

bool upload_parts_settles(const struct upload *u, const struct index_upload *row)
{
    return (row->part_size && !*row->upload_id) || goes_on(u, row, upload_part_size(u, u->size, false));
}

/* Which of the parts are copied. False: bytes of others are not here any more, though they were gathered. */
static bool divide(struct upload *u)
{
    struct upload_parts *p = u->parts;

    p->n = (uint32_t)((u->size + p->part_size - 1) / p->part_size);
    p->parts = xcalloc(p->n, sizeof(*p->parts));
    p->copied = xcalloc(p->n, sizeof(*p->copied));
    for (uint32_t n = 0; n < p->n; n++) {
        uint64_t from = n * p->part_size, length = upload_part_length(u, n);

        p->copied[n] = p->copy || upload_copies(u, from, from + length);
        if (!p->copied[n] && chunk_first_absent(u->file->map, from, length) != UINT64_MAX)
            return false;
    }
    return true;
}

/* A head whose upload is not gone on with is never used again. */
static void forsake_seal(struct upload *u, const struct index_upload *row)
{
    if (row && row->part_size) {
        upload_parts_abort(u, row, begin_anew);
        return;
    }
    forget(u);
    begin_anew(u);
}

void upload_parts_start(struct upload *u, bool copy)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    struct upload_parts *p = xcalloc(1, sizeof(*p));
    int r;

    u->parts = p;
    p->copy = copy;
    p->part_size = upload_part_size(u, u->size, copy);
    if (p->part_size == 0) {
        upload_fail_code(u, -EFBIG);
        return;
    }
    if (!divide(u)) {
        upload_again(u);
        return;
    }
    r = index_upload_get(u->volume->index, u->inode.ino, &row);
    if (u->seal && upload_seal_kept(u) && !(r == 0 && goes_on(u, &row, p->part_size))) {
        forsake_seal(u, r == 0 ? &row : NULL);
        return;
    }
    if (r == -ENOENT)
        begin(u);
    else if (r < 0)
        upload_fail_code(u, r);
    else if (goes_on(u, &row, p->part_size))
        resume(u, &row);
    else if (row.part_size)
        upload_parts_abort(u, &row, begin);
    else
        begin(u);
}
