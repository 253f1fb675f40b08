/* Owns objects that go up or are copied in parts: the size of parts, several on their way at once, and
 * going on after a restart with only those that are missing. An object comes into being with the
 * last request, which is sent only if the file did not change since the first byte was read. */
#include "syncd/upload.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

static const uint64_t MIB = 1 << 20;
static const uint64_t PART_FILE = 16 << 20;
static const uint64_t PART_COPY = 512 << 20;

struct upload_parts {
    bool copy;
    char *upload_id;
    uint64_t part_size;
    uint32_t n, next;              /* parts in all; the first that was not looked at yet */
    struct cloud_part *parts;      /* etag NULL: not there yet */
    struct error error;            /* the first failure; the rest is canceled */
};

static void send_more(struct upload *u);

void upload_parts_free(struct upload_parts *p)
{
    if (!p)
        return;
    for (uint32_t n = 0; n < p->n; n++)
        free(p->parts[n].etag);
    free(p->parts);
    free(p->upload_id);
    free(p);
}

/* 0: it does not fit at all. */
static uint64_t part_size(const struct upload *u, bool copy)
{
    struct cloud_limits l = cloud_limits(u->volume->cloud);
    uint64_t needed = l.parts_max ? (u->size + l.parts_max - 1) / l.parts_max : u->size;
    uint64_t size = most(most(copy ? PART_COPY : PART_FILE, l.part_min), (needed + MIB - 1) / MIB * MIB);

    return l.part_max && size > l.part_max ? 0 : size;
}

static uint64_t length_of(const struct upload *u, uint32_t n)
{
    return least(u->size - n * u->parts->part_size, u->parts->part_size);
}

uint64_t upload_parts_bytes(const struct upload *u)
{
    uint64_t bytes = 0;

    for (uint32_t n = 0; n < u->parts->n; n++)
        bytes += u->parts->parts[n].etag ? length_of(u, n) : 0;
    return bytes;
}

static void forget(struct upload *u)
{
    struct index *x = u->volume->index;

    if (index_begin(x) == 0)
        (void)index_end(x, index_upload_remove(x, u->inode.ino));
}

/* --- giving up ------------------------------------------------------------------------------------ */

static void abort_done(struct upload *u, struct cloud_request *r)
{
    if (r->error.code && r->error.code != -ENOENT) {
        upload_fail(u, &r->error);
        return;
    }
    forget(u);
    u->aborted(u);
}

void upload_parts_abort(struct upload *u, const struct index_upload *row, void (*next)(struct upload *u))
{
    struct cloud_request *r = upload_request(u, CLOUD_PART_ABORT, row->key, abort_done);

    u->aborted = next;
    cloud_request_set(&r->upload_id, row->upload_id);
    upload_submit(u, r);
}

static void abort_ours(struct upload *u, void (*next)(struct upload *u))
{
    struct index_upload row = { .key = u->key, .upload_id = u->parts->upload_id };

    upload_parts_abort(u, &row, next);
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

/* The upload is unknown: perhaps because an earlier try ended it. */
static void see_what_came_of_it(struct upload *u)
{
    struct index_upload sent = upload_sent(u);

    upload_look(u, u->key, &sent, what_came_of_it);
}

static void end_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload sent = upload_sent(u);

    if (r->error.code == 0)
        upload_commit(u, r->object.etag);
    else if (r->error.code == -ENOENT)
        see_what_came_of_it(u);
    else if (r->error.code == -ESTALE && u->parts->copy && upload_in_place(u))
        lose_source(u, &r->error);
    else if (r->error.code == -ESTALE)
        upload_refused(u, &sent, &r->error);   /* by our own object, when the driver tried twice */
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
    upload_submit(u, r);
}

static void end(struct upload *u)
{
    if (u->parts->copy)
        put_together(u);
    else if (upload_unchanged(u))
        upload_guard(u, put_together);
    else
        abort_ours(u, upload_again);
}

/* --- parts ---------------------------------------------------------------------------------------- */

static void part_done(struct upload *u, struct cloud_request *r)
{
    struct upload_parts *p = u->parts;

    if (r->error.code == 0) {
        p->parts[r->part_number - 1].etag = xstrdup(r->object.etag ? r->object.etag : "");
    } else if (p->error.code == 0) {
        p->error = r->error;
        upload_cancel_asks(u);
    }
    send_more(u);
}

static struct cloud_request *part_request(struct upload *u, uint32_t n, int *ret_code)
{
    const struct upload_parts *p = u->parts;
    struct cloud_request *r = upload_request(u, p->copy ? CLOUD_PART_COPY : CLOUD_PART_PUT, u->key, part_done);
    CLEANUP_FREE char *source = p->copy ? volume_full_key(u->volume, u->inode.cloud_key) : NULL;

    cloud_request_set(&r->upload_id, p->upload_id);
    r->part_number = n + 1;
    if (!p->copy) {
        *ret_code = upload_body(u, r, n * p->part_size, length_of(u, n));
        return r;
    }
    cloud_request_set(&r->source_key, source);
    cloud_request_set(&r->if_match, u->unconditional ? NULL : u->inode.etag);
    r->has_range = true;
    r->range_offset = n * p->part_size;
    r->range_length = length_of(u, n);
    return r;
}

static int send_part(struct upload *u, uint32_t n)
{
    int code = 0;
    struct cloud_request *r = part_request(u, n, &code);

    u->parts->parts[n] = (struct cloud_part){ .number = n + 1, .size = length_of(u, n) };
    if (code < 0)
        upload_drop(r);
    else
        upload_submit(u, r);
    return code;
}

/* Nothing more to send or nothing more to hope for. */
static void all_answered(struct upload *u)
{
    struct upload_parts *p = u->parts;

    if (p->copy && (p->error.code == -ENOENT || p->error.code == -ESTALE))
        lose_source(u, &p->error);
    else if (p->error.code == -ENOENT)
        see_what_came_of_it(u);
    else if (p->error.code)
        upload_fail(u, &p->error);
    else
        end(u);
}

static void send_more(struct upload *u)
{
    struct upload_parts *p = u->parts;
    int code;

    if (u->volume->paused && p->error.code == 0)
        error_set(&p->error, -ECANCELED, "The drive is paused.");
    while (p->error.code == 0 && p->next < p->n && u->n_asks < UPLOAD_PARALLEL) {
        if (!p->parts[p->next].etag && (code = send_part(u, p->next)) < 0)
            error_set(&p->error, code, "%s", error_meaning(code)->text);
        p->next++;
    }
    if (u->n_asks == 0)
        all_answered(u);
}

/* --- the beginning -------------------------------------------------------------------------------- */

static void begin_done(struct upload *u, struct cloud_request *r)
{
    struct index_upload row = {
        .ino = u->inode.ino, .generation = u->inode.generation, .part_size = u->parts->part_size, .key = u->key,
        .upload_id = r->upload_id, .size = u->size, .mtime_ns = u->inode.mtime_ns,
    };
    int failed;

    if (r->error.code) {
        upload_fail(u, &r->error);
        return;
    }
    u->parts->upload_id = xstrdup(r->upload_id);
    failed = upload_declare(u, &row);
    if (failed)
        upload_fail_code(u, failed);
    else
        send_more(u);
}

static void begin(struct upload *u)
{
    struct cloud_request *r = upload_request(u, CLOUD_PART_BEGIN, u->key, begin_done);

    upload_meta(u, &r->meta);
    upload_submit(u, r);
}

static void take_part(struct upload *u, const struct cloud_part *part)
{
    struct upload_parts *p = u->parts;
    uint32_t n = part->number - 1;

    if (part->number < 1 || part->number > p->n || part->size != length_of(u, n) || !part->etag || p->parts[n].etag)
        return;
    p->parts[n] = (struct cloud_part){ part->number, part->size, xstrdup(part->etag) };
}

static void listed(struct upload *u, struct cloud_request *r)
{
    if (r->error.code == -ENOENT) {
        see_what_came_of_it(u);
        return;
    }
    if (r->error.code) {
        upload_fail(u, &r->error);
        return;
    }
    for (size_t n = 0; n < r->n_parts; n++)
        take_part(u, &r->parts[n]);
    send_more(u);
}

static void resume(struct upload *u, const struct index_upload *row)
{
    int failed = upload_declare(u, NULL);
    struct cloud_request *r;

    if (failed) {
        upload_fail_code(u, failed);
        return;
    }
    u->parts->upload_id = xstrdup(row->upload_id);
    u->metadata_sent = !u->keeps_meta;
    r = upload_request(u, CLOUD_PART_LIST, u->key, listed);
    cloud_request_set(&r->upload_id, row->upload_id);
    upload_submit(u, r);
}

static bool goes_on(const struct upload *u, const struct index_upload *row, uint64_t size_of_parts)
{
    return row->part_size && strcmp(row->key, u->key) == 0 && row->part_size == size_of_parts &&
        row->size == u->size && row->generation == u->inode.generation && row->mtime_ns == u->inode.mtime_ns;
}

bool upload_parts_resumes(const struct upload *u, const struct index_upload *row)
{
    return goes_on(u, row, part_size(u, false));
}

void upload_parts_start(struct upload *u, bool copy)
{
    CLEANUP(index_upload_done) struct index_upload row = { 0 };
    struct upload_parts *p = xcalloc(1, sizeof(*p));
    int r;

    u->parts = p;
    p->copy = copy;
    p->part_size = part_size(u, copy);
    if (p->part_size == 0) {
        upload_fail_code(u, -EFBIG);
        return;
    }
    p->n = (uint32_t)((u->size + p->part_size - 1) / p->part_size);
    p->parts = xcalloc(p->n, sizeof(*p->parts));
    r = index_upload_get(u->volume->index, u->inode.ino, &row);
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
