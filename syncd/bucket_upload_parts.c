/* Uploads in parts beside the drives: begun, gone on with, put together, ended. What the cloud was asked to begin is
 * recorded before it is asked, and what it answered before a part is sent; so none is left in a bucket, whatever
 * process dies when. */
#include "syncd/bucket_upload_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/cleanup.h"
#include "common/number.h"

/* S3 refuses requests of clocks that are further off. */
static const int64_t CLOCKS_APART_NS = INT64_C(15) * 60 * 1000000000;

/* --- from the beginning to the end -------------------------------------------------------------------- */

static void heard(struct bucket_upload *u, const char *upload_id)
{
    struct error e = { 0 };

    u->upload_id = xstrdup(upload_id);
    u->listed = true;   /* nothing is there yet */
    if (haul_record_parts(&u->haul, u->parts_begun_ns, upload_id, &e) < 0)
        haul_end(&u->haul, &e);
}

static void begun(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (r->error.code && !halted) {
        haul_end(e, &r->error);
        return;
    }
    if (r->error.code == 0 && !r->unsure)   /* else there may be two, and both are swept */
        heard(u, r->upload_id);
    bucket_upload_go_on(u);
}

void bucket_parts_begin(struct bucket_upload *u)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_PART_BEGIN);
    struct error e = { 0 };

    u->parts_begun_ns = loop_wall_ns();
    if (haul_record_parts(&u->haul, u->parts_begun_ns, NULL, &e) < 0) {
        cloud_request_free(r);
        haul_end(&u->haul, &e);
        return;
    }
    bucket_upload_describe(u, r);
    bucket_upload_submit(u, r, begun, NULL);
}

static void take_listed(struct bucket_upload *u, const struct cloud_part *found)
{
    uint32_t n = found->number - 1;

    if (found->number < 1 || found->number > u->n_parts || !found->etag ||
        found->size != least(u->spec.size - n * u->part_size, u->part_size))
        return;
    xstrset(&u->parts[n].earlier, found->etag);
}

static void listed(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (r->error.code == -ENOENT && !halted) {
        bucket_upload_look_after(u, true);
        return;
    }
    if (r->error.code && !halted) {
        haul_end(e, &r->error);
        return;
    }
    u->listed = !halted;
    for (size_t n = 0; n < r->n_parts && !halted; n++)
        take_listed(u, &r->parts[n]);
    bucket_upload_go_on(u);
}

void bucket_parts_list(struct bucket_upload *u)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_PART_LIST);

    cloud_request_set(&r->upload_id, u->upload_id);
    bucket_upload_submit(u, r, listed, NULL);
}

static void put_together_done(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    u->asking = false;
    if (r->error.code == 0)
        haul_end(e, NULL);
    else if (halted)
        bucket_upload_go_on(u);
    else if (r->error.code == -ESTALE || r->error.code == -ENOENT)
        bucket_upload_look_after(u, false);
    else
        haul_end(e, &r->error);
}

void bucket_parts_put_together(struct bucket_upload *u)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_PART_END);

    cloud_request_set(&r->upload_id, u->upload_id);
    r->parts = xcalloc(u->n_parts, sizeof(*r->parts));
    r->n_parts = u->n_parts;
    for (uint32_t n = 0; n < u->n_parts; n++)
        r->parts[n] = (struct cloud_part){ n + 1, least(u->spec.size - n * u->part_size, u->part_size),
                                           xstrdup(u->parts[n].etag) };
    bucket_upload_condition(u, r);
    bucket_upload_submit(u, r, put_together_done, NULL);
}

/* --- what nobody puts together ------------------------------------------------------------------------- */

/* A cloud that does not let us, or has it no more, will not later either. */
static void note_failure(struct bucket_upload *u, const struct cloud_request *r)
{
    static const int final[] = { 0, -ENOENT, -EACCES, -EKEYREJECTED, -EINVAL, -ENOTSUP };

    for (size_t i = 0; i < ARRAY_SIZE(final); i++)
        if (r->error.code == final[i])
            return;
    u->haul.remains |= u->haul.undone;
}

static void aborted(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    (void)halted, (void)item;
    note_failure(upload_of(e), r);
}

/* For undo, or by the way: then the transfer ends with it. */
static void submit(struct bucket_upload *u, struct cloud_request *r, haul_done_fn *done)
{
    struct error e = { 0 };

    if (haul_submit(&u->haul, r, done, NULL, &e) == 0)
        return;
    u->haul.remains |= e.code == -ECANCELED;
    haul_end(&u->haul, &e);
}

static void end_one(struct bucket_upload *u, const char *upload_id, haul_done_fn *done)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_PART_ABORT);

    cloud_request_set(&r->upload_id, upload_id);
    u->sweeping++;
    submit(u, r, done);
}

static void swept_one(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    (void)item;
    note_failure(u, r);
    u->sweep_halted |= halted;
    if (--u->sweeping > 0)
        return;
    u->asking = false;
    if (!u->sweep_halted)
        u->parts_begun_ns = 0;
    u->sweep_halted = false;
    bucket_upload_go_on(u);
}

static void inspected(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    if (r->error.code == 0 && r->n_parts == 0)
        end_one(u, r->upload_id, swept_one);
    swept_one(e, r, halted, item);
}

static void inspect(struct bucket_upload *u, const char *upload_id)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_PART_LIST);

    cloud_request_set(&r->upload_id, upload_id);
    u->sweeping++;
    submit(u, r, inspected);
}

static void found(struct haul *e, struct cloud_request *r, bool halted, void *item)
{
    struct bucket_upload *u = upload_of(e);

    for (size_t n = 0; n < r->n_objects && r->error.code == 0; n++) {
        const struct cloud_object *o = &r->objects[n];

        if (strcmp(o->key, u->spec.key) == 0 && o->version && o->mtime_ns >= u->parts_begun_ns - CLOCKS_APART_NS)
            inspect(u, o->version);
    }
    swept_one(e, r, halted, item);
}

void bucket_parts_sweep(struct bucket_upload *u)
{
    struct cloud_request *r = bucket_upload_request(u, CLOUD_UPLOADS);

    cloud_request_set(&r->key, NULL);
    cloud_request_set(&r->prefix, u->spec.key);
    u->asking = true;
    u->sweeping = 1;
    submit(u, r, found);
}

void bucket_parts_abort(struct bucket_upload *u)
{
    if (u->upload_id)
        end_one(u, u->upload_id, aborted);
    else if (u->parts_begun_ns)
        bucket_parts_sweep(u);
}
